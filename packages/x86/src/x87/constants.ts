/** What FLDL2T and its kin load: exponent, and 66 bits of significand, of which the last two decide the rounding. */
export const CONSTANTS: Readonly<Record<string, readonly [exponent: number, wide: bigint]>> = {
  FLDL2T: [1, (0xd49a784bcd1b8afen << 2n) | 1n],
  FLDL2E: [0, (0xb8aa3b295c17f0bbn << 2n) | 3n],
  FLDPI: [1, (0xc90fdaa22168c234n << 2n) | 3n],
  FLDLG2: [-2, (0x9a209a84fbcff798n << 2n) | 3n],
  FLDLN2: [-1, (0xb17217f7d1cf79abn << 2n) | 3n],
};
/** A constant's significand; `up`: rounded up, not to nearest. */
export const significandOf = (wide: bigint, up: boolean, nearest: boolean): bigint =>
  (wide >> 2n) + (up || (nearest && (wide & 3n) >= 2n) ? 1n : 0n);
