/**
 * ELF notes (System V ABI, "Note Section"): owner, type, description, each padded to four bytes.
 * Kernels pad to four whatever the segment's alignment says, and so do Xen's own readers.
 */
import { hex, truncated } from './failure.js';
import { cString, Fields } from './fields.js';

export interface ElfNote {
  /** The owner's name without its NUL, e.g. "Xen". Empty where the name is not a terminated string. */
  readonly owner: string;
  readonly type: number;
  /** Shares the file's memory. Shorter than it claims where the notes end before it does. */
  readonly desc: Uint8Array;
}

const pad4 = (length: number): number => Math.ceil(length / 4) * 4;

/** The notes in the bytes of one note segment or section. */
export function parseNotes(bytes: Uint8Array, where: string): ElfNote[] {
  const fields = new Fields(bytes);
  const notes: ElfNote[] = [];
  let at = 0;
  while (at + 12 <= bytes.length) {
    const claimedNameLength = fields.u32(at);
    const claimedDescLength = fields.u32(at + 4);
    const type = fields.u32(at + 8);
    const nameStart = at + 12;
    const descStart = nameStart + pad4(claimedNameLength);
    if (descStart > bytes.length) {
      throw truncated(
        `truncated note ${notes.length} of ${where}: claims ${hex(descStart - at)} bytes before its description, ${hex(bytes.length - at)} are left`,
      );
    }
    // GRUB's i386 image claims eight bytes too many in its last note, and Xen loads it: a description may end early.
    const end = Math.min(descStart + claimedDescLength, bytes.length);
    const owner = cString(bytes.subarray(nameStart, nameStart + claimedNameLength), 0) ?? '';
    notes.push({ owner, type, desc: bytes.subarray(descStart, end) });
    at = descStart + pad4(claimedDescLength);
  }
  return notes;
}

/** A numeric description of 1, 2, 4 or 8 bytes, or undefined for any other length. */
export function noteNumber(desc: Uint8Array): bigint | undefined {
  if (![1, 2, 4, 8].includes(desc.length)) return undefined;
  let value = 0n;
  for (let at = desc.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(desc[at]);
  return value;
}

/** A description that is text: up to its NUL, or all of it where the NUL was left out. */
export function noteText(desc: Uint8Array): string {
  return cString(desc, 0) ?? String.fromCharCode(...desc.subarray(0, 256));
}
