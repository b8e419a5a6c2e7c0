/**
 * The Linux x86 boot protocol's setup header, as far as a loader needs it that never runs the real-mode code:
 * where the compressed kernel lies in a bzImage. (Linux, Documentation/arch/x86/boot.rst, protocol 2.08 and later.)
 */
import { hex, invalid } from './failure.js';

const SETUP_SECTS = 0x1f1;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const PAYLOAD_OFFSET = 0x248;
const PAYLOAD_LENGTH = 0x24c;
const HEADER_END = 0x250;
const HDRS = 0x53726448;
const SECTOR = 512;

/** True for bytes that carry the setup header of a Linux x86 kernel. */
export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER_END) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return view.getUint16(BOOT_FLAG, true) === 0xaa55 && view.getUint32(HEADER_MAGIC, true) === HDRS;
}

/** The compressed kernel in a bzImage, sharing its memory. */
export function bzImagePayload(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint16(VERSION, true);
  if (version < 0x208) {
    throw invalid(
      `the bzImage has boot protocol ${version >> 8}.${version & 255}, which does not say where its kernel is; give the unpacked vmlinux instead`,
    );
  }
  const claimedStart = (view.getUint8(SETUP_SECTS) || 4) * SECTOR + SECTOR + view.getUint32(PAYLOAD_OFFSET, true);
  const claimedLength = view.getUint32(PAYLOAD_LENGTH, true);
  if (claimedLength < 8 || claimedStart + claimedLength > bytes.length) {
    throw invalid(
      `the bzImage claims its kernel at bytes ${hex(claimedStart)} to ${hex(claimedStart + claimedLength)}, the file has ${hex(bytes.length)}; it is cut short or damaged, get it again`,
    );
  }
  return bytes.subarray(claimedStart, claimedStart + claimedLength);
}
