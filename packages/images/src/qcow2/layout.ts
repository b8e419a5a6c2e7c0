/**
 * The numbers of the qcow2 format (QEMU's docs/interop/qcow2.rst). Entries of tables are 64 bits, big-endian; they are
 * handled as two halves, and offsets as numbers: a file beyond 2^53 bytes does not exist.
 */

export const magic = 0x514649fb;
export const sectorSize = 512;

/** Upper half of an entry of the L1 or L2 table: exactly one reference, it may be written in place. */
export const COPIED = 0x80000000;
/** Upper half of an L2 entry: a compressed cluster. */
export const COMPRESSED = 0x40000000;
/** Lower half of an L2 entry, version 3: reads as zeroes. */
export const ZERO = 1;

export const incompatible = { dirty: 1, corrupt: 2, externalData: 4, compressionType: 8, extendedL2: 16 } as const;
export const lazyRefcounts = 1;

/** Bits that are reserved in an entry that is not compressed: 1 to 8 of the lower half, 56 to 61 of the upper. */
export const reservedHigh = 0x3f000000;

const twoTo32 = 2 ** 32;

/** Bits 9 to 55 of an entry. */
export function entryOffset(high: number, low: number): number {
  return (high & 0x00ffffff) * twoTo32 + ((low & ~511) >>> 0);
}

export function highHalf(offset: number): number {
  return Math.floor(offset / twoTo32) >>> 0;
}

export function lowHalf(offset: number): number {
  return (offset % twoTo32) >>> 0;
}

/** 64 bits as a number; beyond 2^53 it is inexact, and larger than every limit. */
export function readU64(view: DataView, at: number): number {
  return view.getUint32(at) * twoTo32 + view.getUint32(at + 4);
}

export function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, highHalf(value));
  view.setUint32(at + 4, lowHalf(value));
}

export interface CompressedRun {
  readonly offset: number;
  readonly length: number;
}

/** Where the bytes of a compressed cluster are: they end with a sector, and need not fill it. */
export function compressedRun(high: number, low: number, clusterBits: number): CompressedRun {
  const sectorBits = clusterBits - 8;
  const offsetBitsHigh = 62 - sectorBits - 32;
  const offset = (high & ((1 << offsetBitsHigh) - 1)) * twoTo32 + low;
  const sectors = ((high >>> offsetBitsHigh) & ((1 << sectorBits) - 1)) + 1;
  return { offset, length: sectors * sectorSize - (offset % sectorSize) };
}
