/**
 * Undoes the x86 branch filter of xz (BCJ x86): before packing, the relative targets of CALL and JMP (E8, E9) were made
 * absolute, so that calls of one function look alike. Which of the bytes E8 and E9 are such instructions was guessed
 * from the bytes around them, and is guessed in the same way here.
 */

/** Bytes before the present one, up to three, that could be an opcode too: bit 0 for the nearest. */
type Mask = number;

/** Masks under which the filter takes a byte for an opcode at all. */
const ALLOWED: readonly boolean[] = [true, true, true, false, true, false, false, false];
/** How many bytes from the operand's top the nearest doubtful one is. */
const DOUBTFUL_BYTE: readonly number[] = [0, 1, 2, 2, 3, 3, 3, 3];

/** A displacement whose top byte is 0 or FF: a target within 16 MB. */
const isNear = (byte: number): boolean => byte === 0 || byte === 0xff;

/** Changes `bytes` in place; `start` is the address that the first one had for the filter. */
export function undoX86Filter(bytes: Uint8Array, start: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - 4;
  let mask: Mask = 0;
  let last = -5;
  for (let at = 0; at < end; at++) {
    if ((bytes[at] & 0xfe) !== 0xe8) continue;
    const distance = at - last;
    last = at;
    mask = distance > 3 ? 0 : (mask << (distance - 1)) & 7;
    const doubtful = mask !== 0 && (!ALLOWED[mask] || isNear(bytes[at + 4 - DOUBTFUL_BYTE[mask]]));
    if (doubtful || !isNear(bytes[at + 4])) {
      mask = ((mask << 1) | 1) & 0xf;
      continue;
    }
    view.setUint32(at + 1, relative(view.getUint32(at + 1, true), start + at + 5, mask), true);
    at += 4;
  }
}

/** The displacement that leads from `next` to the absolute target, as 25 bits with sign. */
function relative(target: number, next: number, mask: Mask): number {
  let source = target;
  for (;;) {
    const displacement = (source - next) >>> 0;
    const shift = 24 - DOUBTFUL_BYTE[mask] * 8;
    if (mask === 0 || !isNear((displacement >>> shift) & 255)) return (displacement << 7) >> 7;
    source = (displacement ^ (2 ** (shift + 8) - 1)) >>> 0;
  }
}
