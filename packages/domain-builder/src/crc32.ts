/** CRC32 as in IEEE 802.3, with the polynomial 0xEDB88320 (reflected): eight bytes a step from eight tables. */

const TABLES = makeTables();

function makeTables(): Uint32Array {
  const tables = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
    tables[byte] = remainder;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256];
    tables[at] = (before >>> 8) ^ tables[before & 255];
  }
  return tables;
}

/** The checksum of all bytes, as 32 unsigned bits. */
export function crc32(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let crc = 0xffffffff;
  let at = 0;
  for (; at + 8 <= bytes.length; at += 8) {
    const low = crc ^ view.getInt32(at, true);
    const high = view.getInt32(at + 4, true);
    crc =
      TABLES[0x700 + (low & 255)] ^
      TABLES[0x600 + ((low >>> 8) & 255)] ^
      TABLES[0x500 + ((low >>> 16) & 255)] ^
      TABLES[0x400 + (low >>> 24)] ^
      TABLES[0x300 + (high & 255)] ^
      TABLES[0x200 + ((high >>> 8) & 255)] ^
      TABLES[0x100 + ((high >>> 16) & 255)] ^
      TABLES[high >>> 24];
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ TABLES[(crc ^ bytes[at]) & 255];
  return ~crc >>> 0;
}
