/** A table of the file as it is in memory, with what of it the file does not have yet. */
import { COMPRESSED, entryOffset, sectorSize, ZERO } from './layout.js';

/** What is in the parts of a cluster, a bit for each. */
export interface Parts {
  /** Those that read as zeroes. */
  readonly zero: number;
  /** Those that are in the file. */
  readonly stored: number;
}

/** Bytes to be stored at an offset of the file; a copy, so that the table may change meanwhile. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class Table {
  readonly view: DataView;
  /** Sectors that changed. Sectors are what storage replaces whole or not at all. */
  readonly dirty = new Set<number>();
  /** Nothing in the file refers to it yet: it may be written before what it refers to. */
  fresh = false;
  /** Requests that hold on to it: it is not evicted. */
  pins = 0;
  /** The last request that had begun when it was read: those up to it may be about to use it. */
  request = 0;
  /** Looked at since the last round of evictions. */
  used = true;

  /** `entryBytes` is 16 for L2 tables with extended entries: the entry, and what is in each 32nd of its cluster. */
  constructor(
    readonly offset: number,
    readonly bytes: Uint8Array,
    readonly entryBytes: 8 | 16 = 8,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  high(index: number): number {
    return this.view.getUint32(index * this.entryBytes);
  }

  low(index: number): number {
    return this.view.getUint32(index * this.entryBytes + 4);
  }

  /** A bit for each part of a cluster that reads as zeroes. Entries of 8 bytes are of clusters with one part. */
  zeroParts(index: number): number {
    if (this.entryBytes === 16) return this.view.getUint32(index * 16 + 8);
    return (this.high(index) & COMPRESSED) === 0 ? this.low(index) & ZERO : 0;
  }

  /** A bit for each part of a cluster that is in the file. None of a compressed one is. */
  storedParts(index: number): number {
    if (this.entryBytes === 16) return this.view.getUint32(index * 16 + 12);
    const [high, low] = [this.high(index), this.low(index)];
    return (high & COMPRESSED) === 0 && (low & ZERO) === 0 && entryOffset(high, low) !== 0 ? 1 : 0;
  }

  set(index: number, high: number, low: number): void {
    this.view.setUint32(index * this.entryBytes, high);
    this.view.setUint32(index * this.entryBytes + 4, low);
    this.touch(index * this.entryBytes);
  }

  /** An entry of an L2 table, with the bits of its cluster's parts. */
  setCluster(index: number, high: number, low: number, { zero, stored }: Parts): void {
    this.set(index, high, this.entryBytes === 8 ? low | zero : low);
    if (this.entryBytes === 8) return;
    this.view.setUint32(index * 16 + 8, zero);
    this.view.setUint32(index * 16 + 12, stored);
  }

  touch(at: number): void {
    this.dirty.add(Math.floor(at / sectorSize));
  }

  touchAll(): void {
    for (let at = 0; at < this.bytes.length; at += sectorSize) this.touch(at);
  }

  /** Takes what changed: runs of sectors, copied. */
  takeDirty(): Piece[] {
    const sectors = [...this.dirty].sort((a, b) => a - b);
    this.dirty.clear();
    const pieces: Piece[] = [];
    for (let at = 0; at < sectors.length; ) {
      let next = at + 1;
      while (next < sectors.length && sectors[next] === sectors[next - 1]! + 1) next++;
      const begin = sectors[at]! * sectorSize;
      const end = (sectors[next - 1]! + 1) * sectorSize;
      pieces.push({ offset: this.offset + begin, bytes: this.bytes.slice(begin, end) });
      at = next;
    }
    return pieces;
  }

  takeAll(): Piece[] {
    this.dirty.clear();
    return [{ offset: this.offset, bytes: this.bytes.slice() }];
  }
}
