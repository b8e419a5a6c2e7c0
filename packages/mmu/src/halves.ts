const wide = new BigUint64Array(1);
const halves = new Int32Array(wide.buffer);

/**
 * A linear address as walks take it: its low and its high 32 bits, signed, without arithmetic on bigints. The array is
 * the same at each call.
 */
export function halvesOf(address: bigint): Int32Array {
  wide[0] = address;
  return halves;
}
