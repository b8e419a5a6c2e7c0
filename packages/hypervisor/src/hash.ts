/**
 * A 64-bit hash of our own for comparing machine states: two 32-bit lanes of
 * multiply and rotate over words. It tells runs apart; it is no defence against
 * someone who wants two states to collide.
 */
export interface StateHash {
  word(value: number): void;
  bytes(data: Uint8Array): void;
  /** `length` words of `words` from `start`. */
  words(words: Uint32Array, start: number, length: number): void;
  /** As `words`, of words that are all zero. */
  zeroes(length: number): void;
  /** Sixteen hexadecimal digits. */
  digest(): string;
}

export function createStateHash(): StateHash {
  let a = 0x9e3779b1 | 0;
  let b = 0x85ebca77 | 0;
  let count = 0;
  function word(value: number): void {
    a = Math.imul(a ^ value, 0x01000193);
    a ^= a >>> 15;
    b = Math.imul((b << 13) | (b >>> 19), 5) + Math.imul(value, 0xcc9e2d51) + 0x2545f491;
    b |= 0;
    count = (count + 1) | 0;
  }
  const finish = (value: number): string => {
    let x = value ^ count;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0).toString(16).padStart(8, '0');
  };
  return {
    word,
    bytes(data) {
      word(data.length);
      for (const byte of data) word(byte);
    },
    words(words, start, length) {
      for (let index = start; index < start + length; index++) word(words[index]!);
    },
    zeroes(length) {
      for (let index = 0; index < length; index++) word(0);
    },
    digest: () => finish(a) + finish(b ^ a),
  };
}
