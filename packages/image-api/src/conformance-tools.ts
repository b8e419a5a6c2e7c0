/** Random numbers and bytes that are the same in every run. */

/** Bytes that depend on `seed` and are no repetition of a short row. */
export function patternOf(length: number, seed: number): Uint8Array {
  const next = randomOf(seed);
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = next(256);
  return bytes;
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
