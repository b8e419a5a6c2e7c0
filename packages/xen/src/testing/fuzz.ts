/** For tests: random numbers that are the same each time, and how many runs of them there is time for. */

/** xorshift: the same numbers every time. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The seed of a fuzzer and, with PARAVANE_FUZZ_SEEDS=N, N − 1 more. */
export function seedsFrom(first: number): number[] {
  const count = Number(process.env.PARAVANE_FUZZ_SEEDS ?? 1);
  return Array.from({ length: count }, (_, at) => (first + at * 0x9e3779b1) >>> 0 || 1);
}
