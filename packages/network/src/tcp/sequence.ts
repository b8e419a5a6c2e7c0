/** Sequence numbers (RFC 9293, 3.4): 32 bits that wrap. A comparison is right while two are less than 2^31 apart. */

/** How far `a` is ahead of `b`; negative if it is behind. */
export const distance = (a: number, b: number): number => (a - b) | 0;

export const advance = (sequence: number, by: number): number => (sequence + by) >>> 0;
