// A repeatable sequence of choices: the same seed makes the same program on every host.
export function choices(seed) {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x85ebca6b) | 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  for (let i = 0; i < 8; i++) next();
  const below = (n) => next() % n;
  return {
    next,
    below,
    /** From `low` to `high`, both possible. */
    between: (low, high) => low + below(high - low + 1),
    one: (list) => list[below(list.length)],
    /** True in one of `n` cases. */
    rarely: (n) => below(n) === 0,
    wide: () => (BigInt(next()) << 32n) | BigInt(next()),
  };
}
