/** The Internet checksum (RFC 1071), and the pseudo headers of TCP, UDP (RFC 9293, 768) and ICMPv6 (RFC 8200, 8.1). */

/** The sum of the 16-bit words, carries folded in: 0 to 0xffff. An odd last byte counts as a high one. */
export function sum16(bytes: Uint8Array, from = 0, to = bytes.length, initial = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Sums of 32-bit words stay exact in a double for far more words than a packet has, and fold to the same.
  let sum = initial;
  let at = from;
  for (; at + 4 <= to; at += 4) sum += view.getUint32(at);
  if (at + 2 <= to) {
    sum += view.getUint16(at);
    at += 2;
  }
  if (at < to) sum += view.getUint8(at) << 8;
  return fold(sum);
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The checksum to write for these bytes, whose own checksum field is 0. */
export function checksum(bytes: Uint8Array, from = 0, to = bytes.length, initial = 0): number {
  return ~sum16(bytes, from, to, initial) & 0xffff;
}

/** The sum of the pseudo header of an IP packet that starts at `ip`; its addresses are complete. */
export function pseudoHeaderSum(bytes: Uint8Array, ip: number, protocol: number, length: number): number {
  const addresses = (bytes[ip] as number) >> 4 === 4 ? sum16(bytes, ip + 12, ip + 20) : sum16(bytes, ip + 8, ip + 40);
  return fold(addresses + protocol + length);
}

/** Whether bytes with their checksum in them add up. */
export function checksumHolds(bytes: Uint8Array, from: number, to: number, initial = 0): boolean {
  return sum16(bytes, from, to, initial) === 0xffff;
}

/** RFC 1624: the checksum after a word of what it covers has changed. */
export function updatedChecksum(old: number, oldWord: number, newWord: number): number {
  return ~fold((~old & 0xffff) + (~oldWord & 0xffff) + newWord) & 0xffff;
}

/** The checksum field of a UDP header: 0 says that there is none, so a sum of 0 is sent as its equal. */
export const udpChecksumField = (value: number): number => value || 0xffff;
