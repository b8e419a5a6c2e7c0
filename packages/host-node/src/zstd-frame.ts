/** Where a Zstandard frame ends (RFC 8878, section 3.1.1), for those who keep other bytes behind it. */

export function zstdFrameLength(bytes: Uint8Array): number {
  const descriptor = bytes[4] ?? 0;
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  const contentSize = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag;
  const checksum = (descriptor & 4) !== 0 ? 4 : 0;
  let at = 5 + (singleSegment ? 0 : 1) + dictionary + contentSize;
  while (at + 3 <= bytes.length) {
    const header = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    const repeated = ((header >>> 1) & 3) === 1;
    at += 3 + (repeated ? 1 : header >>> 3);
    if ((header & 1) === 1) return at + checksum;
  }
  return bytes.length;
}
