/**
 * Modules of compiled code as bytes, to be kept between runs.
 *
 * All numbers are little-endian. A text first (length, u32, then ASCII) that names what the code was made for; then the
 * number of modules, u32. A module: lengths of its bytes and of its list of regions, u32 each, the bytes, and for each
 * region the page offset of its entry, u16; 64 or 32 for its mode, u8; 0, or 1 or 255 where it has code in the page
 * behind or before, u8; the number of its pieces, u16. A piece: its offset from the start of the entry's page, i16,
 * the length, u16, and the bytes.
 */
import type { CodeMode } from '@paravane/engine-api';

/** Guest code that a region was made from, within one page: the entry's, or one beside it. */
export interface CodePiece {
  /** From the start of the entry's page: -4096 to 8191. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface StoredRegion {
  /** Page offset. */
  readonly entry: number;
  readonly mode: CodeMode;
  /** Where the other page with code of it lies; 0 where there is none. */
  readonly side: -1 | 0 | 1;
  readonly pieces: readonly CodePiece[];
}

export interface StoredModule {
  readonly bytes: Uint8Array;
  readonly regions: readonly StoredRegion[];
}

const MODULE_HEAD = 8;
const REGION_HEAD = 6;
const PIECE_HEAD = 4;

const lengthOfRegions = (regions: readonly StoredRegion[]): number =>
  regions.reduce(
    (sum, { pieces }) => pieces.reduce((bytes, piece) => bytes + PIECE_HEAD + piece.bytes.length, sum + REGION_HEAD),
    0,
  );

/** Bytes that a module takes. */
export const storedLength = ({ bytes, regions }: StoredModule): number =>
  MODULE_HEAD + bytes.length + lengthOfRegions(regions);

export function encodeCode(madeFor: string, modules: readonly StoredModule[]): Uint8Array {
  const name = Uint8Array.from(madeFor, (character) => character.charCodeAt(0));
  const out = new Uint8Array(modules.reduce((sum, module) => sum + storedLength(module), name.length + 8));
  const view = new DataView(out.buffer);
  let at = 0;
  const u16 = (value: number): void => {
    view.setUint16(at, value, true);
    at += 2;
  };
  const u32 = (value: number): void => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const raw = (bytes: Uint8Array): void => {
    out.set(bytes, at);
    at += bytes.length;
  };
  u32(name.length);
  raw(name);
  u32(modules.length);
  for (const { bytes, regions } of modules) {
    u32(bytes.length);
    u32(lengthOfRegions(regions));
    raw(bytes);
    for (const { entry, mode, side, pieces } of regions) {
      u16(entry);
      out[at++] = mode;
      out[at++] = side;
      u16(pieces.length);
      for (const { offset, bytes } of pieces) {
        u16(offset);
        u16(bytes.length);
        raw(bytes);
      }
    }
  }
  return out;
}

class Malformed extends Error {}

/** The modules; none where the bytes are not whole, not such modules, or made for something else. */
export function decodeCode(madeFor: string, bytes: Uint8Array): StoredModule[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const take = (length: number, end = bytes.length): number => {
    if (at + length > end) throw new Malformed();
    at += length;
    return at - length;
  };
  const u16 = (): number => view.getUint16(take(2), true);
  const u32 = (): number => view.getUint32(take(4), true);
  const raw = (length: number): Uint8Array => bytes.subarray(take(length), at);
  const piece = (side: number): CodePiece => {
    const offset = view.getInt16(take(2), true);
    const length = u16();
    const page = offset >> 12;
    if (length === 0 || (page !== 0 && page !== side) || (offset + length - 1) >> 12 !== page) throw new Malformed();
    return { offset, bytes: raw(length) };
  };
  const region = (): StoredRegion => {
    const entry = u16();
    const mode = bytes[take(1)]!;
    const side = view.getInt8(take(1));
    if (entry > 4095 || (mode !== 64 && mode !== 32) || (side !== 0 && side !== 1 && side !== -1)) {
      throw new Malformed();
    }
    const pieces = Array.from({ length: u16() }, () => piece(side));
    // What has no code at its entry could stand for any code.
    if (!pieces.some(({ offset, bytes }) => offset <= entry && entry < offset + bytes.length)) throw new Malformed();
    return { entry, mode, side, pieces };
  };
  try {
    const name = raw(u32());
    if (name.length !== madeFor.length || name.some((code, i) => code !== madeFor.charCodeAt(i))) return [];
    const modules: StoredModule[] = [];
    for (let left = u32(); left > 0; left--) {
      const length = u32();
      const regionsLength = u32();
      const module = raw(length);
      const end = at + regionsLength;
      const regions: StoredRegion[] = [];
      while (at < end) regions.push(region());
      if (at !== end) throw new Malformed();
      modules.push({ bytes: module, regions });
    }
    return at === bytes.length ? modules : [];
  } catch (error) {
    if (error instanceof Malformed) return [];
    throw error;
  }
}
