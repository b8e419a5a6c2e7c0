/**
 * The tables of an open qcow2 file, in memory, and the order in which they reach the file.
 *
 * Requests change memory only; an entry of an L2 table appears when the data that it names was written. A commit takes
 * a copy of what changed and stores it in stages, with a flush after each, so that whatever is in the file refers only
 * to what is durable:
 *  1. counts of new clusters, and new tables that nothing refers to yet (data was written before);
 *  2. references to new refcount blocks, or to a new refcount table;
 *  3. entries of L2 tables, of the L1 table, the header's fields.
 * Only then are clusters that lost their last reference counted down, with the next commit. A crash between any two
 * writes leaves clusters that are counted and not used: leaks, no more.
 */
import { type ImageFile, imageError, type Soon } from '@paravane/image-api';
import type { Qcow2Header } from './header.js';
import { COMPRESSED, COPIED, compressedRun, entryOffset, highHalf, lowHalf, writeU64 } from './layout.js';
import { Refcounts } from './refcounts.js';
import { type Parts, type Piece, Table } from './table.js';

interface Unlinked {
  readonly cluster: number;
  /** Requests up to this one may still use it. */
  readonly request: number;
}

export interface MetadataOptions {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  readonly l1: Table;
  readonly reftable: Table;
  /** How many bytes of L2 tables are kept. */
  readonly cacheBytes: number;
}

export class Metadata {
  readonly file: ImageFile;
  readonly clusterBits: number;
  readonly clusterSize: number;
  /** Bytes of what an L2 entry tells of apart: a 32nd of the cluster in extended entries, else all of it. */
  readonly partSize: number;
  /** Entries of an L2 table, and the bytes of disk that it maps. */
  readonly l2Entries: number;
  readonly l2Span: number;
  readonly l2EntryBytes: 8 | 16;
  readonly refcounts: Refcounts;
  l1: Table;
  #tables = new Map<number, Table>();
  #loading = new Map<number, Promise<void>>();
  #making = new Map<number, Promise<Table>>();
  #dirtyTables = new Set<Table>();
  #fields: Piece[] = [];
  #mostTables: number;

  #request = 0;
  #active = new Set<number>();
  /** Lost their reference in memory. */
  #unlinked: Unlinked[] = [];
  /** Lost it in the file as well. */
  #forgotten: Unlinked[] = [];
  /** Where the refcount table was put last. */
  #reftablePlace: { readonly offset: number; readonly clusters: number };
  #commits: Promise<void> = Promise.resolve();
  #committing = 0;
  #queued: Promise<void> | undefined;

  constructor({ file, header, l1, reftable, cacheBytes }: MetadataOptions) {
    this.file = file;
    this.clusterBits = header.clusterBits;
    this.clusterSize = 2 ** header.clusterBits;
    this.l2EntryBytes = header.l2EntryBytes;
    this.partSize = header.l2EntryBytes === 16 ? this.clusterSize / 32 : this.clusterSize;
    this.l2Entries = this.clusterSize / header.l2EntryBytes;
    this.l2Span = this.l2Entries * this.clusterSize;
    this.l1 = l1;
    this.refcounts = new Refcounts(file, header.clusterBits, header.refcountOrder, reftable);
    this.#reftablePlace = { offset: reftable.offset, clusters: header.reftableClusters };
    this.#mostTables = Math.max(8, Math.floor(cacheBytes / this.clusterSize));
  }

  // Requests, so that no cluster gets a new use while an old request may still read or write it.

  begin(): number {
    this.#active.add(++this.#request);
    return this.#request;
  }

  end(request: number): void {
    this.#active.delete(request);
  }

  /** The L2 table, null where there is none, undefined where it must be loaded first. */
  table(index: number): Table | null | undefined {
    const table = this.#tables.get(index);
    if (table === undefined) return this.tableOffset(index) === 0 ? null : undefined;
    table.used = true;
    return table;
  }

  tableOffset(index: number): number {
    return entryOffset(this.l1.high(index), this.l1.low(index));
  }

  load(index: number): Promise<void> {
    let loading = this.#loading.get(index);
    if (loading === undefined) {
      loading = this.#read(index).finally(() => this.#loading.delete(index));
      this.#loading.set(index, loading);
    }
    return loading;
  }

  async #read(index: number): Promise<void> {
    const offset = this.tableOffset(index);
    if (offset === 0 || this.#tables.has(index)) return;
    if (offset % this.clusterSize !== 0 || offset >= this.file.size) {
      throw imageError(
        'image-invalid',
        `entry ${index} of the L1 table names an L2 table at ${offset}, not in the file`,
      );
    }
    const bytes = new Uint8Array(this.clusterSize);
    await this.file.read(offset, bytes);
    // A table made meanwhile is the newer one.
    if (!this.#tables.has(index) && this.tableOffset(index) === offset)
      this.#keep(index, new Table(offset, bytes, this.l2EntryBytes));
  }

  #keep(index: number, table: Table): void {
    this.#tables.set(index, table);
    table.request = this.#request;
    if (this.#tables.size <= this.#mostTables) return;
    const [oldest = Number.POSITIVE_INFINITY] = this.#active;
    for (const [other, candidate] of this.#tables) {
      if (candidate === table) break;
      const stored = candidate.pins === 0 && !candidate.fresh && candidate.dirty.size === 0;
      // Requests that throw out each other's tables before they use them would never end.
      if (stored && !candidate.used && candidate.request < oldest) {
        this.#tables.delete(other);
        if (this.#tables.size <= this.#mostTables) break;
      } else {
        candidate.used = false;
        this.#tables.delete(other);
        this.#tables.set(other, candidate);
      }
    }
  }

  /** The L2 table if it may be written as it is. */
  writable(index: number): Table | undefined {
    if ((this.l1.high(index) & COPIED) === 0) return undefined;
    return this.table(index) ?? undefined;
  }

  /** The L2 table, to be written: made where there is none, copied where a snapshot shares it. */
  makeWritable(index: number): Promise<Table> {
    let making = this.#making.get(index);
    if (making === undefined) {
      making = this.#makeWritable(index).finally(() => this.#making.delete(index));
      this.#making.set(index, making);
    }
    return making;
  }

  async #makeWritable(index: number): Promise<Table> {
    for (;;) {
      const ready = this.writable(index);
      if (ready !== undefined) return ready;
      const shared = this.table(index);
      if (shared === undefined) {
        await this.load(index);
        continue;
      }
      const { cluster } = await this.refcounts.allocate(1);
      const bytes = shared?.bytes.slice() ?? new Uint8Array(this.clusterSize);
      const table = new Table(cluster * this.clusterSize, bytes, this.l2EntryBytes);
      table.fresh = true;
      this.#tables.delete(index);
      this.#keep(index, table);
      this.#dirtyTables.add(table);
      if (shared !== null) this.unlink(shared.offset);
      this.l1.set(index, highHalf(table.offset) | COPIED, lowHalf(table.offset));
      return table;
    }
  }

  setEntry(table: Table, index: number, high: number, low: number): void {
    table.set(index, high, low);
    this.#dirtyTables.add(table);
  }

  setCluster(table: Table, index: number, high: number, low: number, parts: Parts): void {
    table.setCluster(index, high, low, parts);
    this.#dirtyTables.add(table);
  }

  /** Stores bytes of the header with the next commit, after all that they refer to. */
  setField(offset: number, bytes: Uint8Array): void {
    this.#fields.push({ offset, bytes });
  }

  /** The cluster at `offset` lost a reference; it is free when the file knows. */
  unlink(offset: number): void {
    this.#unlinked.push({ cluster: Math.floor(offset / this.clusterSize), request: this.#request });
  }

  /** All that an old L2 entry referred to. */
  unlinkEntry(high: number, low: number): void {
    if ((high & COMPRESSED) !== 0) {
      const { offset, length } = compressedRun(high, low, this.clusterBits);
      const last = Math.floor((offset + length - 1) / this.clusterSize);
      for (let cluster = Math.floor(offset / this.clusterSize); cluster <= last; cluster++) {
        this.unlink(cluster * this.clusterSize);
      }
    } else {
      const offset = entryOffset(high, low);
      if (offset !== 0) this.unlink(offset);
    }
  }

  /** More is waiting for a commit than should be kept. */
  get overdue(): boolean {
    return this.#dirtyTables.size + this.refcounts.dirtyBlocks.size > this.#mostTables || this.#unlinked.length > 65536;
  }

  get clean(): boolean {
    return (
      this.#committing === 0 &&
      this.#dirtyTables.size === 0 &&
      this.refcounts.dirtyBlocks.size === 0 &&
      this.refcounts.table.dirty.size === 0 &&
      this.l1.dirty.size === 0 &&
      !this.l1.fresh &&
      this.#fields.length === 0 &&
      this.#unlinked.length === 0 &&
      this.#forgotten.length === 0
    );
  }

  /** Answers when what was written and answered before this call is durable, and found again after a crash. */
  flush(): Soon {
    return this.clean ? this.file.flush() : this.commit();
  }

  commit(): Promise<void> {
    if (this.#queued !== undefined) return this.#queued;
    const queued = this.#commits.then(async () => {
      this.#queued = undefined;
      await this.#commitNow();
    });
    this.#queued = queued;
    this.#committing++;
    this.#commits = queued.then(
      () => void this.#committing--,
      () => void this.#committing--,
    );
    return queued;
  }

  async #commitNow(): Promise<void> {
    await this.#reclaim();
    while (this.refcounts.table.offset === 0) await this.#placeReftable();

    // From here to the first write nothing is awaited: the copies are of one moment.
    const tables = [...this.#dirtyTables];
    const fresh = tables.filter((table) => table.fresh);
    const blocks = [...this.refcounts.dirtyBlocks];
    const { l1 } = this;
    const { table: reftable } = this.refcounts;
    const unlinked = this.#unlinked.splice(0);
    const fields = this.#fields.splice(0);
    const newL1 = l1.fresh;
    const newReftable = reftable.fresh;
    const counts = blocks.flatMap((block) => block.takeDirty());
    const made = [...fresh, ...(newL1 ? [l1] : []), ...(newReftable ? [reftable] : [])];
    const content = made.flatMap((table) => table.takeAll());
    const regions = newReftable ? [this.#reftableField(reftable)] : reftable.takeDirty();
    const entries = tables.filter((table) => !table.fresh).flatMap((table) => table.takeDirty());
    const roots = newL1 ? [] : l1.takeDirty();
    for (const table of made) table.fresh = false;
    // A table that is being stored must not be read again from the file meanwhile.
    for (const table of tables) table.pins++;
    this.#dirtyTables.clear();
    this.refcounts.dirtyBlocks.clear();

    let stage = 1;
    try {
      await this.#store([...counts, ...content]);
      stage = 2;
      if (regions.length > 0) {
        await this.file.flush();
        await this.#store(regions);
      }
      stage = 3;
      const links = [...entries, ...roots, ...fields];
      if (links.length > 0) {
        await this.file.flush();
        await this.#store(links);
      }
      await this.file.flush();
    } catch (error) {
      // All of it is due again. What no stage could have linked yet may still be written whole.
      for (const table of made) if (stage === 1) table.fresh = true;
      for (const table of [...made, ...tables, ...blocks]) table.touchAll();
      if (roots.length > 0 || newL1) l1.touchAll();
      if (regions.length > 0) {
        reftable.touchAll();
        if (newReftable) reftable.fresh = true;
      }
      for (const table of tables) this.#dirtyTables.add(table);
      for (const block of blocks) this.refcounts.dirtyBlocks.add(block);
      this.#fields.unshift(...fields);
      this.#unlinked.unshift(...unlinked);
      throw error;
    } finally {
      for (const table of tables) table.pins--;
    }
    this.#forgotten.push(...unlinked);
    await this.#reclaim();
  }

  async #store(pieces: readonly Piece[]): Promise<void> {
    const answers = pieces.map(async ({ offset, bytes }) => this.file.write(offset, bytes));
    for (const outcome of await Promise.allSettled(answers)) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** Frees clusters that the file does not refer to any more, as far as no request may still be at them. */
  async #reclaim(): Promise<void> {
    const [oldest = Number.POSITIVE_INFINITY] = this.#active;
    const due = this.#forgotten;
    this.#forgotten = [];
    for (let at = 0; at < due.length; at++) {
      const unlinked = due[at]!;
      if (unlinked.request >= oldest) this.#forgotten.push(unlinked);
      else await this.refcounts.release(unlinked.cluster);
    }
  }

  /** A refcount table that outgrew its clusters gets new ones; the old are free when the header names the new. */
  async #placeReftable(): Promise<void> {
    const { refcounts } = this;
    const clusters = refcounts.table.bytes.length / this.clusterSize;
    const cluster = await refcounts.allocateTable(clusters);
    const { bytes } = refcounts.table;
    if (bytes.length / this.clusterSize !== clusters) {
      // It grew meanwhile: this place is too small as well.
      for (let index = 0; index < clusters; index++) await refcounts.release(cluster + index);
      return;
    }
    refcounts.table = new Table(cluster * this.clusterSize, bytes);
    refcounts.table.fresh = true;
    const old = this.#reftablePlace;
    for (let index = 0; index < old.clusters; index++) this.unlink(old.offset + index * this.clusterSize);
    this.#reftablePlace = { offset: refcounts.table.offset, clusters };
  }

  #reftableField(table: Table): Piece {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    writeU64(view, 0, table.offset);
    view.setUint32(8, table.bytes.length / this.clusterSize);
    return { offset: 48, bytes };
  }

  /** Gives the file its last cluster whole. Not while a request may write: the file could lose what it adds. */
  async squareOff(): Promise<void> {
    const size = this.refcounts.end * this.clusterSize;
    if (this.#active.size === 0 && this.file.size < size) await this.file.setSize(size);
  }

  /** Waits for commits under way, and commits until nothing is left to be stored or freed. */
  async settle(): Promise<void> {
    do await this.commit();
    while (!this.clean && this.#active.size === 0);
  }
}
