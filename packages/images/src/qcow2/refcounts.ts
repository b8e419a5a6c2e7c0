/**
 * Which clusters of the file are in use, and by how many. The reference counts are in blocks, found through a table; a
 * block is read when it is first asked for and stays. Only memory changes here: `Metadata` writes it, in the order that
 * a crash can't hurt.
 */
import { type ImageFile, imageError } from '@paravane/image-api';
import { readU64, writeU64 } from './layout.js';
import { Table } from './table.js';

export interface ClusterRun {
  readonly cluster: number;
  readonly count: number;
  /** Nothing was ever written there: it reads as zeroes. */
  readonly fresh: boolean;
}

export class Refcounts {
  /** How many clusters one block counts. */
  readonly perBlock: number;
  readonly clusterSize: number;
  readonly most: number;
  /** One past the last cluster that the file has, or that was given out. */
  end: number;
  readonly dirtyBlocks = new Set<Table>();
  #blocks = new Map<number, Table>();
  #loading = new Map<number, Promise<void>>();
  /** No cluster below this one is free. */
  #hint = 1;

  constructor(
    readonly file: ImageFile,
    readonly clusterBits: number,
    readonly order: number,
    public table: Table,
  ) {
    this.clusterSize = 2 ** clusterBits;
    this.perBlock = (this.clusterSize * 8) / 2 ** order;
    this.most = order >= 6 ? Number.MAX_SAFE_INTEGER : 2 ** (2 ** order) - 1;
    this.end = Math.ceil(file.size / this.clusterSize);
  }

  get #capacity(): number {
    return this.table.bytes.length / 8;
  }

  blockOffset(region: number): number {
    return region < this.#capacity ? readU64(this.table.view, region * 8) : 0;
  }

  get regions(): number {
    return this.#capacity;
  }

  /** The block, null where there is none, undefined where it must be loaded first. */
  block(region: number): Table | null | undefined {
    return this.#blocks.get(region) ?? (this.blockOffset(region) === 0 ? null : undefined);
  }

  load(region: number): Promise<void> {
    let loading = this.#loading.get(region);
    if (loading === undefined) {
      loading = this.#read(region).finally(() => this.#loading.delete(region));
      this.#loading.set(region, loading);
    }
    return loading;
  }

  async #read(region: number): Promise<void> {
    const offset = this.blockOffset(region);
    if (offset === 0 || this.#blocks.has(region)) return;
    if (!Number.isSafeInteger(offset) || offset % this.clusterSize !== 0 || offset >= this.file.size) {
      throw imageError('image-invalid', `the refcount table names a block at ${offset}, which is not in the file`);
    }
    const bytes = new Uint8Array(this.clusterSize);
    await this.file.read(offset, bytes);
    if (!this.#blocks.has(region)) this.#blocks.set(region, new Table(offset, bytes));
  }

  regionOf(cluster: number): number {
    return Math.floor(cluster / this.perBlock);
  }

  /** Of a cluster whose block is loaded (`load`), or does not exist. */
  get(cluster: number): number {
    const block = this.#blocks.get(this.regionOf(cluster));
    return block === undefined ? 0 : this.#getIn(block, cluster % this.perBlock);
  }

  #getIn({ bytes, view }: Table, index: number): number {
    if (this.order === 4) return view.getUint16(index * 2);
    if (this.order === 3) return bytes[index]!;
    if (this.order === 5) return view.getUint32(index * 4);
    if (this.order === 6) return readU64(view, index * 8);
    const bits = 1 << this.order;
    const bit = index * bits;
    return (bytes[bit >>> 3]! >>> (bit & 7)) & ((1 << bits) - 1);
  }

  /** The cluster's block is loaded, or is made. */
  set(cluster: number, value: number): void {
    if (value > this.most || value < 0) {
      throw imageError(
        'no-space',
        `cluster ${cluster} can't be counted ${value} times: the image has too many snapshots`,
      );
    }
    const region = this.regionOf(cluster);
    const block = this.#blocks.get(region) ?? this.#makeBlock(region);
    this.#setIn(block, cluster % this.perBlock, value);
    if (value === 0 && cluster < this.#hint) this.#hint = cluster;
    if (value > 0 && cluster >= this.end) this.end = cluster + 1;
  }

  #setIn(block: Table, index: number, value: number): void {
    const { bytes, view } = block;
    const bits = 1 << this.order;
    if (this.order === 4) view.setUint16(index * 2, value);
    else if (this.order === 3) bytes[index] = value;
    else if (this.order === 5) view.setUint32(index * 4, value);
    else if (this.order === 6) writeU64(view, index * 8, value);
    else {
      const bit = index * bits;
      const mask = ((1 << bits) - 1) << (bit & 7);
      bytes[bit >>> 3] = (bytes[bit >>> 3]! & ~mask) | (value << (bit & 7));
    }
    block.touch(Math.floor((index * bits) / 8));
    this.dirtyBlocks.add(block);
  }

  /** A block for a region that has none, in the region's own first cluster: nothing of the region is in use. */
  #makeBlock(region: number): Table {
    const cluster = region * this.perBlock;
    this.#checkReach(cluster);
    const block = this.#makeBlockAt(region, cluster);
    this.set(cluster, 1);
    return block;
  }

  #makeBlockAt(region: number, cluster: number): Table {
    const block = new Table(cluster * this.clusterSize, new Uint8Array(this.clusterSize));
    block.touchAll();
    this.dirtyBlocks.add(block);
    this.#blocks.set(region, block);
    this.#growTable(region + 1);
    writeU64(this.table.view, region * 8, block.offset);
    this.table.touch(region * 8);
    return block;
  }

  /** In memory; `Metadata` finds a place for a table that is longer than the one in the file. */
  #growTable(regions: number): void {
    if (regions <= this.#capacity) return;
    const sectors = Math.ceil((Math.max(regions, this.#capacity * 1.5) * 8) / this.clusterSize);
    const grown = new Table(0, new Uint8Array(sectors * this.clusterSize));
    grown.bytes.set(this.table.bytes);
    grown.fresh = true;
    this.table = grown;
  }

  #checkReach(cluster: number): void {
    if (Number.isSafeInteger((cluster + 1) * this.clusterSize)) return;
    throw imageError('no-space', 'the file of the image can grow no further');
  }

  /** Up to `most` free clusters in a row, counted as used from now on; or the region that must be loaded first. */
  tryAllocate(most: number): ClusterRun | number {
    for (let cluster = this.#hint; ; cluster++) {
      const region = this.regionOf(cluster);
      const block = this.block(region);
      if (block === undefined) return region;
      if (block === null) {
        this.#hint = Math.max(this.#hint, cluster);
        this.#makeBlock(region);
        continue;
      }
      if (this.#getIn(block, cluster % this.perBlock) !== 0) continue;
      const regionEnd = (region + 1) * this.perBlock;
      const fresh = cluster >= this.end;
      let next = cluster;
      while (next < cluster + most && next < regionEnd && this.#getIn(block, next % this.perBlock) === 0) {
        if (next >= this.end !== fresh) break;
        next++;
      }
      this.#checkReach(next);
      this.#hint = next;
      for (let taken = cluster; taken < next; taken++) this.set(taken, 1);
      return { cluster, count: next - cluster, fresh };
    }
  }

  async allocate(most: number): Promise<ClusterRun> {
    for (;;) {
      const found = this.tryAllocate(most);
      if (typeof found !== 'number') return found;
      await this.load(found);
    }
  }

  /** Exactly `count` clusters in a row, at the end of the file, for tables that must not be in pieces. */
  async allocateTable(count: number): Promise<number> {
    for (;;) {
      const begin = this.end;
      // The blocks that the new clusters need come first; they need to be counted themselves.
      let missing: number[] = [];
      for (let before = -1; before !== missing.length; ) {
        before = missing.length;
        missing = this.#regionsBetween(begin, begin + before + count).filter((region) => this.block(region) === null);
      }
      const unread = this.#regionsBetween(begin, begin + missing.length + count).find(
        (region) => this.block(region) === undefined,
      );
      if (unread !== undefined) {
        await this.load(unread);
        continue;
      }
      const taken = this.#firstTaken(begin, begin + missing.length + count);
      if (taken !== undefined) {
        this.end = taken + 1;
        continue;
      }
      this.#checkReach(begin + missing.length + count);
      this.end = begin + missing.length + count;
      for (const [index, region] of missing.entries()) this.#makeBlockAt(region, begin + index);
      for (let cluster = begin; cluster < this.end; cluster++) this.set(cluster, 1);
      return begin + missing.length;
    }
  }

  #regionsBetween(begin: number, end: number): number[] {
    const first = this.regionOf(begin);
    return Array.from({ length: this.regionOf(end - 1) - first + 1 }, (_, index) => first + index);
  }

  #firstTaken(begin: number, end: number): number | undefined {
    for (let cluster = begin; cluster < end; cluster++) if (this.get(cluster) !== 0) return cluster;
    return undefined;
  }

  /** Takes back what nothing refers to, in memory or in the file. */
  async release(cluster: number): Promise<void> {
    await this.load(this.regionOf(cluster));
    const count = this.get(cluster);
    if (count > 0) this.set(cluster, count - 1);
  }
}
