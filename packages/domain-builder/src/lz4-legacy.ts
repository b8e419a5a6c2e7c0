/**
 * The LZ4 legacy frame, as Linux compresses its kernel with (`lz4 -l`): a magic number, then blocks of up to 8 MiB of
 * plain text, each preceded by its compressed length and independent of the others. (LZ4 frame format, "Legacy frame";
 * LZ4 block format.)
 *
 * The input is not trusted: each length is checked against the block and each match against what was written so far.
 */
import { hex, invalid, megabytes } from './failure.js';

export const LZ4_LEGACY_MAGIC = 0x184c2102;
const BLOCK_LIMIT = 8 << 20;
/** A block grows by less than this factor: one more byte of length adds at most 255 bytes of text. */
const EXPANSION_LIMIT = 255;
/** Shorter copies are faster one by one than through a call. */
const SHORT = 24;

/** Unpacks a legacy frame. Fails where it is damaged or would unpack to more than `maxBytes`. */
export function unpackLz4Legacy(frame: Uint8Array, maxBytes: number): Uint8Array {
  const blocks = blockBounds(frame);
  const bound = blocks.reduce((sum, [start, end]) => sum + Math.min((end - start) * EXPANSION_LIMIT, BLOCK_LIMIT), 0);
  // The bound is at most one block above the size, except for a frame made to look bigger than it is.
  if (bound > maxBytes + BLOCK_LIMIT) throw invalid(`the LZ4 payload may unpack to more than ${megabytes(maxBytes)}`);
  const text = new Uint8Array(bound);
  let at = 0;
  for (const [start, end] of blocks) at = unpackBlock(frame, start, end, text, at);
  if (at > maxBytes) throw invalid(`the LZ4 payload unpacks to more than ${megabytes(maxBytes)}`);
  return text.subarray(0, at);
}

/** Start and end of each block. What follows the last whole block (padding, a size) is not the frame's. */
function blockBounds(frame: Uint8Array): (readonly [number, number])[] {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 4 || view.getUint32(0, true) !== LZ4_LEGACY_MAGIC) throw invalid('no LZ4 legacy frame');
  const blocks: (readonly [number, number])[] = [];
  let at = 4;
  while (at + 4 < frame.length) {
    const claimedLength = view.getUint32(at, true);
    at += 4;
    if (claimedLength === LZ4_LEGACY_MAGIC) continue; // frames may follow each other
    if (claimedLength === 0) break;
    if (at + claimedLength > frame.length) {
      throw invalid(
        `LZ4 block ${blocks.length} claims ${hex(claimedLength)} bytes, ${hex(frame.length - at)} are left; the file is cut short or damaged`,
      );
    }
    blocks.push([at, at + claimedLength]);
    at += claimedLength;
  }
  return blocks;
}

const damaged = (at: number): Error => invalid(`the LZ4 payload is damaged at byte ${hex(at)}`);

function unpackBlock(source: Uint8Array, start: number, end: number, text: Uint8Array, textStart: number): number {
  const textEnd = Math.min(textStart + BLOCK_LIMIT, text.length);
  let at = start;
  let to = textStart;
  while (at < end) {
    const token = source[at++];
    let literals = token >> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255 && at < end) literals += more = source[at++];
    }
    if (at + literals > end || to + literals > textEnd) throw damaged(at);
    if (literals > SHORT) {
      text.set(source.subarray(at, at + literals), to);
      at += literals;
      to += literals;
    } else {
      for (let left = literals; left > 0; left--) text[to++] = source[at++];
    }
    if (at === end) return to;

    if (at + 2 > end) throw damaged(at);
    const distance = source[at] | (source[at + 1] << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more = 255;
      while (more === 255 && at < end) length += more = source[at++];
    }
    if (distance === 0 || distance > to - textStart || to + length > textEnd) throw damaged(at);
    if (length > SHORT && distance >= length) {
      text.copyWithin(to, to - distance, to - distance + length);
      to += length;
    } else {
      // A match may overlap what it writes; byte by byte repeats it as it must.
      for (let left = length; left > 0; left--, to++) text[to] = text[to - distance];
    }
  }
  return to;
}
