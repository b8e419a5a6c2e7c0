/**
 * Compares the reference counts of a qcow2 file with the references that are in it. A cluster counted more often than
 * it is used is a leak; one counted less often, or a reference that makes no sense, is a corruption.
 */
import { type ImageCheck, type ImageCheckOptions, imageError } from '@paravane/image-api';
import { arePartsSound, soundParts } from './clusters.js';
import { COMPRESSED, COPIED, compressedRun, entryOffset, incompatible, readU64 } from './layout.js';
import type { Metadata } from './metadata.js';
import { type Opened, readTable, setIncompatible } from './opened.js';
import type { Table } from './table.js';

const mostProblems = 100;
/** A count takes 4 bytes of memory here. */
const mostClusters = 2 ** 28;

class Check {
  readonly problems: string[] = [];
  readonly counts: Uint32Array;
  corruptions = 0;
  leaks = 0;
  repaired = 0;

  constructor(
    readonly metadata: Metadata,
    readonly opened: Opened,
    readonly progress: (part: number) => void,
    clusters: number,
  ) {
    this.counts = new Uint32Array(clusters);
  }

  report(problem: string): void {
    if (this.problems.length < mostProblems) this.problems.push(problem);
  }

  corrupt(problem: string): void {
    this.corruptions++;
    this.report(problem);
  }

  /** Counts the clusters of a run. False, and a corruption, where it is not in the file. */
  use(what: string, offset: number, length: number, aligned = true): boolean {
    const { clusterSize } = this.metadata;
    if (aligned && offset % clusterSize !== 0) {
      this.corrupt(`${what} is at ${offset}, within a cluster`);
      return false;
    }
    const first = Math.floor(offset / clusterSize);
    const last = Math.floor((offset + length - 1) / clusterSize);
    if (!(last < this.counts.length)) {
      this.corrupt(`${what} is at ${offset}, beyond the end of the file`);
      return false;
    }
    for (let cluster = first; cluster <= last; cluster++) this.counts[cluster]!++;
    return true;
  }

  useEntries(name: string, table: Table): void {
    const { clusterSize, l2Entries, clusterBits } = this.metadata;
    for (let index = 0; index < l2Entries; index++) {
      const high = table.high(index);
      const low = table.low(index);
      if ((high & COMPRESSED) !== 0) {
        const { offset, length } = compressedRun(high, low, clusterBits);
        if ((high & COPIED) !== 0) this.corrupt(`entry ${index} of ${name} is compressed, and may not be in place`);
        // The last sectors of a compressed cluster need not be in the file.
        const inFile = Math.min(length, Math.max(this.counts.length * clusterSize - offset, 1));
        this.use(`the compressed cluster of entry ${index} of ${name}`, offset, inFile, false);
      } else if (entryOffset(high, low) !== 0) {
        this.use(`the cluster of entry ${index} of ${name}`, entryOffset(high, low), clusterSize);
      }
      if (table.entryBytes === 16 && !arePartsSound(table, index)) {
        this.corrupt(`the parts of the cluster of entry ${index} of ${name} contradict each other`);
      }
    }
  }

  async useTree(name: string, l1: Table, entries: number, load: (index: number) => Promise<Table>): Promise<void> {
    const { clusterSize } = this.metadata;
    if (entries > 0) this.use(`the L1 table${name}`, l1.offset, entries * 8);
    for (let index = 0; index < entries; index++) {
      const offset = entryOffset(l1.high(index), l1.low(index));
      if (offset === 0) continue;
      // Reading the tables is nearly all of the work.
      this.progress(index / entries);
      const title = `L2 table ${index}${name}`;
      if (this.use(title, offset, clusterSize)) this.useEntries(title, await load(index));
    }
  }

  async useBitmaps(): Promise<void> {
    const { header, metadata } = this.opened;
    const { bitmaps } = header;
    // Without their bit they are of an older state of the disk, and nobody's.
    if (bitmaps === undefined || (header.autoclear & 1) === 0) return;
    if (!this.use('the directory of bitmaps', bitmaps.offset, bitmaps.length)) return;
    const directory = (await readTable(metadata.file, bitmaps.offset, bitmaps.length)).view;
    for (let at = 0, index = 0; index < bitmaps.count && at + 24 <= bitmaps.length; index++) {
      const offset = readU64(directory, at);
      const entries = directory.getUint32(at + 8);
      const length = 24 + directory.getUint32(at + 20) + directory.getUint16(at + 18);
      at += Math.ceil(length / 8) * 8;
      if (!this.use(`bitmap ${index}`, offset, entries * 8)) continue;
      const table = await readTable(metadata.file, offset, entries * 8);
      for (let entry = 0; entry < entries; entry++) {
        const data = entryOffset(table.high(entry), table.low(entry));
        if (data !== 0) this.use(`entry ${entry} of bitmap ${index}`, data, metadata.clusterSize);
      }
    }
  }

  async useAll(): Promise<void> {
    const { metadata, opened } = this;
    const { clusterSize, refcounts, file } = metadata;
    this.use('the header', 0, clusterSize);
    await this.useTree('', metadata.l1, metadata.l1.bytes.length / 8, (index) => this.activeTable(index));
    let end = opened.header.snapshotsOffset;
    for (const snapshot of opened.snapshots) {
      const l1 = await readTable(file, snapshot.l1Offset, snapshot.l1Entries * 8);
      await this.useTree(` of snapshot ${snapshot.id}`, l1, snapshot.l1Entries, (index) =>
        readTable(file, entryOffset(l1.high(index), l1.low(index)), clusterSize, metadata.l2EntryBytes),
      );
      end += snapshot.entryLength;
    }
    if (opened.snapshots.length > 0) {
      this.use('the snapshot table', opened.header.snapshotsOffset, end - opened.header.snapshotsOffset);
    }
    await this.useBitmaps();
    this.use('the refcount table', refcounts.table.offset, refcounts.table.bytes.length);
    for (let region = 0; region < refcounts.regions; region++) {
      const offset = refcounts.blockOffset(region);
      if (offset !== 0) this.use(`refcount block ${region}`, offset, clusterSize);
    }
  }

  async activeTable(index: number): Promise<Table> {
    for (;;) {
      const table = this.metadata.table(index);
      if (table !== undefined && table !== null) return table;
      await this.metadata.load(index);
    }
  }

  /** Not in tables of snapshots, unless the disk shares them. */
  async mendParts(): Promise<void> {
    const { metadata } = this;
    if (metadata.l2EntryBytes === 8) return;
    for (let index = 0; index < metadata.l1.bytes.length / 8; index++) {
      if (!this.isInFile(metadata.tableOffset(index))) continue;
      const table = await this.activeTable(index);
      for (let entry = 0; entry < metadata.l2Entries; entry++) {
        if (arePartsSound(table, entry)) continue;
        this.report(`the parts of the cluster of entry ${entry} of L2 table ${index} contradict each other`);
        metadata.setCluster(table, entry, table.high(entry), table.low(entry), soundParts(table, entry));
        this.repaired++;
      }
    }
    await metadata.settle();
  }

  async compareCounts(repair: boolean): Promise<void> {
    const { refcounts } = this.metadata;
    for (let cluster = 0; cluster < this.counts.length; cluster++) {
      const region = refcounts.regionOf(cluster);
      if (refcounts.block(region) === undefined) await refcounts.load(region);
      const counted = refcounts.get(cluster);
      const used = this.counts[cluster]!;
      if (counted === used) continue;
      if (counted > used) {
        this.leaks++;
        this.report(`cluster ${cluster} is counted ${counted} times and used ${used} times: a leak`);
      } else {
        this.corrupt(`cluster ${cluster} is counted ${counted} times and used ${used} times`);
      }
      if (repair) {
        refcounts.set(cluster, used);
        if (counted < used) this.corruptions--;
        this.repaired++;
      }
    }
  }

  /** In the tables in use, an entry may be written in place if and only if it is the only reference. */
  async compareFlags(repair: boolean): Promise<void> {
    const { metadata } = this;
    const { l1, l2Entries, refcounts } = metadata;
    for (let index = 0; index < l1.bytes.length / 8; index++) {
      const offset = metadata.tableOffset(index);
      if (!this.isInFile(offset)) continue;
      const table = await this.activeTable(index);
      const single = await this.isSingle(offset);
      if (single !== ((l1.high(index) & COPIED) !== 0)) {
        this.flagged(`entry ${index} of the L1 table`, repair);
        if (repair) l1.set(index, flagged(l1.high(index), single), l1.low(index));
      }
      for (let entry = 0; entry < l2Entries; entry++) {
        const high = table.high(entry);
        const data = entryOffset(high, table.low(entry));
        if ((high & COMPRESSED) !== 0 || !this.isInFile(data)) continue;
        if (refcounts.block(refcounts.regionOf(data / metadata.clusterSize)) === undefined) await this.isSingle(data);
        const own = refcounts.get(data / metadata.clusterSize) === 1;
        if (own === ((high & COPIED) !== 0)) continue;
        this.flagged(`entry ${entry} of L2 table ${index}`, repair);
        if (repair) metadata.setEntry(table, entry, flagged(high, own), table.low(entry));
      }
    }
  }

  flagged(what: string, repair: boolean): void {
    this.report(`${what} is wrong about being the only reference`);
    if (repair) this.repaired++;
    else this.corruptions++;
  }

  isInFile(offset: number): boolean {
    const { clusterSize } = this.metadata;
    return offset !== 0 && offset % clusterSize === 0 && offset / clusterSize < this.counts.length;
  }

  async isSingle(offset: number): Promise<boolean> {
    const { refcounts, clusterSize } = this.metadata;
    await refcounts.load(refcounts.regionOf(offset / clusterSize));
    return refcounts.get(offset / clusterSize) === 1;
  }
}

function flagged(high: number, single: boolean): number {
  return (single ? high | COPIED : high & ~COPIED) >>> 0;
}

export async function checkQcow2(
  metadata: Metadata,
  opened: Opened,
  { repair = false, progress = () => undefined }: ImageCheckOptions,
): Promise<ImageCheck> {
  const { refcounts, clusterSize, file } = metadata;
  const clusters = Math.max(Math.ceil(file.size / clusterSize), refcounts.end);
  if (clusters > mostClusters) {
    throw imageError('image-unsupported', `an image of ${clusters} clusters is too large to be checked here`);
  }
  const check = new Check(metadata, opened, progress, clusters);
  if (repair) await check.mendParts();
  await check.useAll();
  await check.compareCounts(repair);
  await check.compareFlags(repair);
  progress(1);
  if (repair) {
    await metadata.settle();
    const marks = incompatible.dirty | incompatible.corrupt;
    if (check.corruptions === 0 && (opened.header.incompatible & marks) !== 0) {
      await setIncompatible(opened, opened.header.incompatible & ~marks);
    }
  }
  return {
    problems: check.problems,
    corruptions: check.corruptions,
    leaks: repair ? 0 : check.leaks,
    repaired: check.repaired,
    allocatedClusters: check.counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0),
    totalClusters: Math.ceil(opened.header.size / clusterSize),
  };
}
