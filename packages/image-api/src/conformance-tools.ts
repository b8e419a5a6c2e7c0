/** Random numbers and bytes that are the same in every run. */

/** Bytes that depend on `seed` and are no repetition of a short row. */
export function patternOf(length: number, seed: number): Uint8Array {
  const next = randomOf(seed);
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let at = 0; at < words.length; at++) words[at] = next(2 ** 32);
  return new Uint8Array(words.buffer, 0, length);
}

/** Numbers below a limit, the same for the same seed (xorshift32). */
export function randomOf(seed: number): (limit: number) => number {
  let state = (Math.imul(seed + 1, 0x9e3779b1) | 1) >>> 0;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state % limit;
  };
}
