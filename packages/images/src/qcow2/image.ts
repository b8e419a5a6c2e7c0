/**
 * An open qcow2 image as a disk. Reads, and writes to clusters that are in place, go to the file at once, as long as
 * their L2 table is in memory; all that changes a table goes through `Metadata`.
 *
 * A cluster is claimed while it gets a new place or one of its parts is stored that was not: a second request that
 * changes it waits for the first. What is in place already is written without a claim, so that nothing else may store
 * the bytes beside a write there.
 */
import {
  type Buffers,
  byteLength,
  checkImageRange,
  checkImageWritable,
  copyInto,
  type DiscardOptions,
  type DiskImage,
  fillZero,
  type ImageCheck,
  type ImageCheckOptions,
  type ImageInfo,
  imageApiVersion,
  imageError,
  type Soon,
  sliceBuffers,
} from '@paravane/image-api';
import { join, start } from '../soon.js';
import { checkQcow2 } from './check.js';
import { firstBit, hostOffset, isOwn, movingParts, partsWithin, type Run, runAt } from './clusters.js';
import type { CompressedClusters } from './compressed.js';
import { COMPRESSED, COPIED, entryOffset, highHalf, lowHalf } from './layout.js';
import type { Metadata } from './metadata.js';
import type { Opened } from './opened.js';
import { resizeQcow2 } from './resize.js';
import type { Table } from './table.js';

/** Longer runs of new clusters are written in parts. */
const longestNewRun = 2 ** 20;
const zeroes = new Uint8Array(65536);

type Clearing = 'discard' | 'secure' | 'zero';

/** Bytes of the disk. */
interface Extent {
  readonly begin: number;
  readonly end: number;
}

/** Where clusters of the disk, one after another, are in the file. */
interface Place {
  readonly host: number;
  readonly clusters: number;
  /** Nothing was ever written there: it reads as zeroes. */
  readonly fresh: boolean;
  /** They are there already. */
  readonly own: boolean;
}

export class Qcow2Image implements DiskImage {
  readonly apiVersion = imageApiVersion;
  readonly format = 'qcow2';
  readonly readOnly: boolean;
  readonly logicalBlockSize: number;
  readonly metadata: Metadata;
  readonly backing: DiskImage | undefined;
  #opened: Opened;
  #size: number;
  #compressed: CompressedClusters;
  #claims = new Map<number, Promise<void>>();
  #closed: Promise<void> | undefined;

  constructor(opened: Opened) {
    this.#opened = opened;
    this.metadata = opened.metadata;
    this.readOnly = opened.readOnly;
    this.logicalBlockSize = opened.logicalBlockSize;
    this.backing = opened.backing;
    this.#size = opened.size;
    this.#compressed = opened.compressed;
  }

  get size(): number {
    return this.#size;
  }

  read(offset: number, into: Buffers): Soon {
    const length = byteLength(into);
    checkImageRange(this, offset, length);
    return this.#request(() => this.#read(offset, length, into));
  }

  write(offset: number, from: Buffers): Soon {
    const length = byteLength(from);
    checkImageRange(this, offset, length);
    checkImageWritable(this);
    return this.#request(() => this.#write(offset, length, from));
  }

  flush(): Soon {
    this.#checkOpen();
    return this.readOnly ? undefined : this.metadata.flush();
  }

  writeZeroes(offset: number, length: number): Soon {
    checkImageRange(this, offset, length);
    checkImageWritable(this);
    return this.#request(() => this.#clear(offset, length, 'zero'));
  }

  discard(offset: number, length: number, { secure = false }: DiscardOptions = {}): Soon {
    checkImageRange(this, offset, length);
    checkImageWritable(this);
    return this.#request(() => this.#clear(offset, length, secure ? 'secure' : 'discard'));
  }

  async resize(size: number): Promise<void> {
    this.#checkOpen();
    checkImageWritable(this);
    checkImageRange({ size: Number.MAX_SAFE_INTEGER, logicalBlockSize: this.logicalBlockSize }, 0, size);
    await resizeQcow2(this, this.#opened.header, size, (next) => {
      this.#size = next;
    });
  }

  info(): ImageInfo {
    const { header, snapshots } = this.#opened;
    return {
      format: this.format,
      size: this.#size,
      clusterSize: this.metadata.clusterSize,
      ...(header.backing === undefined ? {} : { backing: header.backing }),
      snapshots,
      details: {
        version: header.version,
        refcountBits: 2 ** header.refcountOrder,
        compression: header.compression,
        extendedL2: header.l2EntryBytes === 16,
        lazyRefcounts: (header.compatible & 1) !== 0,
        dirty: (header.incompatible & 1) !== 0,
        corrupt: (header.incompatible & 2) !== 0,
      },
    };
  }

  async check(options: ImageCheckOptions = {}): Promise<ImageCheck> {
    this.#checkOpen();
    if (options.repair === true) checkImageWritable(this);
    if (!this.readOnly) await this.metadata.settle();
    return checkQcow2(this.metadata, this.#opened, options);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    try {
      if (!this.readOnly) {
        await this.metadata.squareOff();
        await this.metadata.settle();
      }
    } finally {
      await this.backing?.close();
      await this.metadata.file.close();
    }
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw imageError('closed', 'the image is closed: open it again');
  }

  #request(work: () => Soon): Soon {
    this.#checkOpen();
    const request = this.metadata.begin();
    let answer: Soon;
    try {
      answer = work();
    } catch (error) {
      this.metadata.end(request);
      throw error;
    }
    if (answer === undefined) {
      this.metadata.end(request);
      return undefined;
    }
    return answer.finally(() => this.metadata.end(request));
  }

  // Reads

  #read(offset: number, length: number, into: Buffers): Soon {
    const { metadata } = this;
    const answers: Promise<void>[] = [];
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const l1Index = Math.floor(at / metadata.l2Span);
      const table = metadata.table(l1Index);
      if (table === undefined) {
        const part = Math.min(length - done, (l1Index + 1) * metadata.l2Span - at);
        const buffers = sliceBuffers(into, done, done + part);
        start(answers, () => metadata.load(l1Index).then(() => this.#read(at, part, buffers)));
        done += part;
      } else {
        // An entry that is damaged fails the request, after its other parts answered.
        let part = length - done;
        start(answers, () => {
          const run = runAt(table, at, part, metadata);
          part = run.length;
          return this.#readRun(table, run, at, sliceBuffers(into, done, done + part));
        });
        done += part;
      }
    }
    return join(answers);
  }

  #readRun(table: Table | null, run: Run, at: number, into: Buffers): Soon {
    switch (run.kind) {
      case 'own':
      case 'shared':
        return this.metadata.file.read(run.host, into);
      case 'zero':
        return fillZero(into);
      case 'unallocated':
        return this.#readBacking(at, run.length, into);
      case 'compressed': {
        const inside = at % this.metadata.clusterSize;
        const cluster = this.#compressed.read(table!.high(run.index), table!.low(run.index));
        return cluster.then((bytes) => copyInto(into, bytes.subarray(inside, inside + run.length)));
      }
    }
  }

  #readBacking(at: number, length: number, into: Buffers): Soon {
    const size = this.backing?.size ?? 0;
    const under = Math.min(Math.max(size - at, 0), length);
    if (under < length) fillZero(sliceBuffers(into, under, length));
    return under === 0 ? undefined : this.backing!.read(at, sliceBuffers(into, 0, under));
  }

  // Writes

  #write(offset: number, length: number, from: Buffers): Soon {
    const { metadata } = this;
    const answers: Promise<void>[] = [];
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const l1Index = Math.floor(at / metadata.l2Span);
      const rest = Math.min(length - done, (l1Index + 1) * metadata.l2Span - at);
      let part = rest;
      start(answers, () => {
        const table = metadata.writable(l1Index);
        const run = table === undefined ? undefined : runAt(table, at, rest, metadata);
        if (run?.kind === 'own') {
          part = run.length;
          this.#expectInFile(run.host);
          return metadata.file.write(run.host, sliceBuffers(from, done, done + part));
        }
        part = this.#newRun(table, at, rest);
        return this.#writeNew(at, part, sliceBuffers(from, done, done + part));
      });
      done += part;
    }
    return join(answers);
  }

  /** An entry that is damaged must not make the file as long as it says. */
  #expectInFile(host: number): void {
    const { refcounts, clusterSize } = this.metadata;
    if (host < refcounts.end * clusterSize) return;
    throw imageError('image-invalid', `the image has a cluster at ${host}, beyond its file: it is damaged, check it`);
  }

  /** How many bytes from `at` are in clusters that all have a place of their own, or all need one. */
  #newRun(table: Table | undefined, at: number, most: number): number {
    const { clusterSize, l2Entries } = this.metadata;
    const limit = Math.min(most, longestNewRun);
    const isOwnAt = (where: number): boolean =>
      table !== undefined && isOwn(table, Math.floor(where / clusterSize) % l2Entries);
    const own = isOwnAt(at);
    let length = Math.min(clusterSize - (at % clusterSize), limit);
    while (length < limit && isOwnAt(at + length) === own) length = Math.min(length + clusterSize, limit);
    return length;
  }

  /** Writes to parts of clusters, all under one L2 table, that the file does not have yet, or not in a place of ours. */
  async #writeNew(offset: number, length: number, from: Buffers): Promise<void> {
    const { metadata } = this;
    const { clusterSize } = metadata;
    const l1Index = Math.floor(offset / metadata.l2Span);
    if (metadata.overdue) await metadata.commit();
    const release = await this.#claim(offset, length);
    try {
      const table = await metadata.makeWritable(l1Index);
      table.pins++;
      try {
        for (let done = 0; done < length; ) {
          const at = offset + done;
          // Another request may have written it while this one waited.
          const run = runAt(table, at, length - done, metadata);
          if (run.kind === 'own') {
            this.#expectInFile(run.host);
            await metadata.file.write(run.host, sliceBuffers(from, done, done + run.length));
            done += run.length;
            continue;
          }
          const wanted = Math.ceil(((at % clusterSize) + this.#newRun(table, at, length - done)) / clusterSize);
          const place = await this.#place(table, run.index, wanted);
          const part = Math.min(place.clusters * clusterSize - (at % clusterSize), length - done);
          const extent = this.#extentOf(table, at, at + part, place);
          try {
            await this.#fill(place, extent, at, part, sliceBuffers(from, done, done + part));
          } catch (error) {
            if (!place.own) await this.#giveBack(place);
            throw error;
          }
          this.#relink(table, run.index, extent, place);
          done += part;
        }
      } finally {
        table.pins--;
      }
    } finally {
      release();
    }
  }

  /** Where clusters from `index` on are written: where they are if that is a place of their own, else in new clusters. */
  async #place(table: Table, index: number, wanted: number): Promise<Place> {
    const { clusterSize, refcounts } = this.metadata;
    if (!isOwn(table, index)) {
      const { cluster, count, fresh } = await refcounts.allocate(wanted);
      return { host: cluster * clusterSize, clusters: count, fresh, own: false };
    }
    const host = hostOffset(table, index, clusterSize);
    this.#expectInFile(host);
    let clusters = 1;
    while (clusters < wanted) {
      const next = index + clusters;
      if (entryOffset(table.high(next), table.low(next)) !== host + clusters * clusterSize) break;
      clusters++;
    }
    return { host, clusters, fresh: false, own: true };
  }

  async #giveBack({ host, clusters }: Place): Promise<void> {
    const { clusterSize, refcounts } = this.metadata;
    for (let given = 0; given < clusters; given++) await refcounts.release(host / clusterSize + given);
  }

  /** What is stored with a write: its parts whole, and in new clusters what of their first and last one has to move. */
  #extentOf(table: Table, begin: number, end: number, { own }: Place): Extent {
    const { clusterSize, partSize, l2Entries } = this.metadata;
    const whole = { begin: begin - (begin % partSize), end: Math.ceil(end / partSize) * partSize };
    if (own) {
      // What is beside the write in a part that is in place is not ours to store: others write there meanwhile.
      return runAt(table, end - 1, 1, this.metadata).kind === 'own' ? { ...whole, end } : whole;
    }
    const [first, last] = [Math.floor(begin / clusterSize), Math.floor((end - 1) / clusterSize)];
    const before = movingParts(table, first % l2Entries);
    const after = movingParts(table, last % l2Entries);
    return {
      begin: Math.min(whole.begin, first * clusterSize + firstBit(before) * partSize),
      end: Math.max(whole.end, last * clusterSize + (32 - Math.clz32(after)) * partSize),
    };
  }

  /** Stores `from`, and what is around it in its extent. */
  #fill({ host, fresh }: Place, { begin, end }: Extent, at: number, length: number, from: Buffers): Soon {
    const head = at - begin;
    const tail = end - (at + length);
    const inside = host + (at % this.metadata.clusterSize);
    const skipHead = head === 0 || (fresh && this.#isZero(begin, head));
    const skipTail = tail === 0 || (fresh && this.#isZero(at + length, tail));
    if (skipHead && skipTail) return this.metadata.file.write(inside, from);
    return this.#fillAround(inside, skipHead ? 0 : head, skipTail ? 0 : tail, at, length, from);
  }

  async #fillAround(
    host: number,
    head: number,
    tail: number,
    at: number,
    length: number,
    from: Buffers,
  ): Promise<void> {
    const before = new Uint8Array(head);
    const after = new Uint8Array(tail);
    // What is beyond the end of the disk stays zero.
    const inDisk = Math.min(tail, Math.max(this.#size - (at + length), 0));
    if (head > 0) await this.#read(at - head, head, before);
    if (inDisk > 0) await this.#read(at + length, inDisk, after.subarray(0, inDisk));
    const run = from instanceof Uint8Array ? [from] : from;
    await this.metadata.file.write(host - head, [before, ...run, after]);
  }

  /** Whether a range within one cluster is known to read as zeroes. Its table is in memory: the cluster is claimed. */
  #isZero(at: number, length: number): boolean {
    const table = this.metadata.table(Math.floor(at / this.metadata.l2Span));
    if (table === undefined) return false;
    const run = runAt(table, at, length, this.metadata);
    return run.length === length && this.#readsZero(run, at);
  }

  #readsZero({ kind }: Run, at: number): boolean {
    return kind === 'zero' || (kind === 'unallocated' && at >= (this.backing?.size ?? 0));
  }

  /** Has the entries from `index` on say that the extent is at its place. */
  #relink(table: Table, index: number, { begin, end }: Extent, { host, clusters, own }: Place): void {
    const { clusterSize, partSize } = this.metadata;
    const disk = begin - (begin % clusterSize);
    for (let given = 0; given < clusters; given++) {
      const [entry, from, to] = [index + given, disk + given * clusterSize, host + given * clusterSize];
      const high = table.high(entry);
      const low = table.low(entry);
      const written = partsWithin(Math.max(begin - from, 0), Math.min(end - from, clusterSize), partSize);
      const parts = { zero: table.zeroParts(entry) & ~written, stored: table.storedParts(entry) | written };
      if ((high & COMPRESSED) !== 0) this.#compressed.forget();
      this.metadata.setCluster(table, entry, highHalf(to) | COPIED, lowHalf(to), parts);
      if (!own) this.metadata.unlinkEntry(high, low);
    }
  }

  /** Waits until no one else changes the clusters of a range, and keeps others from it until the result is called. */
  async #claim(offset: number, length: number): Promise<() => void> {
    const { clusterSize } = this.metadata;
    const first = Math.floor(offset / clusterSize);
    const last = Math.floor((offset + length - 1) / clusterSize);
    for (let cluster = first; cluster <= last; cluster++) {
      const other = this.#claims.get(cluster);
      if (other === undefined) continue;
      await other;
      cluster = first - 1;
    }
    let settle = (): void => undefined;
    const claim = new Promise<void>((resolve) => {
      settle = resolve;
    });
    for (let cluster = first; cluster <= last; cluster++) this.#claims.set(cluster, claim);
    return () => {
      for (let cluster = first; cluster <= last; cluster++) this.#claims.delete(cluster);
      settle();
    };
  }

  // Discards and zeroes

  async #clear(offset: number, length: number, how: Clearing): Promise<void> {
    const { clusterSize, partSize, l2Span } = this.metadata;
    const end = offset + length;
    const begin = Math.ceil(offset / partSize) * partSize;
    // What is behind the end of the disk goes with its last cluster.
    const wholeEnd = end === this.#size ? Math.ceil(end / clusterSize) * clusterSize : end - (end % partSize);
    if (begin >= end || begin >= wholeEnd) return this.#clearPart(offset, length, how);
    await this.#clearPart(offset, begin - offset, how);
    for (let at = begin; at < wholeEnd; ) {
      const next = Math.min((Math.floor(at / l2Span) + 1) * l2Span, wholeEnd);
      await this.#clearWhole(at, next, how);
      at = next;
    }
    if (end > wholeEnd) await this.#clearPart(wholeEnd, end - wholeEnd, how);
  }

  /** Less than a part of a cluster: its bytes are written, and a discard does nothing unless they must go. */
  async #clearPart(offset: number, length: number, how: Clearing): Promise<void> {
    if (how === 'discard') return;
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const run = await this.#runAt(at, Math.min(length - done, zeroes.length));
      if (!this.#readsZero(run, at)) await this.#write(at, run.length, zeroes.subarray(0, run.length));
      done += run.length;
    }
  }

  async #runAt(at: number, most: number): Promise<Run> {
    const { metadata } = this;
    for (;;) {
      const index = Math.floor(at / metadata.l2Span);
      const table = metadata.table(index);
      if (table !== undefined) return runAt(table, at, most, metadata);
      await metadata.load(index);
    }
  }

  /** Whole parts of clusters, all under one L2 table. */
  async #clearWhole(begin: number, end: number, how: Clearing): Promise<void> {
    const { metadata } = this;
    const { clusterSize, l2Span } = metadata;
    const l1Index = Math.floor(begin / l2Span);
    const release = await this.#claim(begin, end - begin);
    const asData: Extent[] = [];
    try {
      if (metadata.table(l1Index) === undefined) await metadata.load(l1Index);
      const nothing = metadata.table(l1Index) === null;
      if (nothing && (how !== 'zero' || begin >= (this.backing?.size ?? 0))) return;
      if (metadata.overdue) await metadata.commit();
      const table = await metadata.makeWritable(l1Index);
      table.pins++;
      try {
        for (let at = begin; at < end; ) {
          const next = Math.min(at - (at % clusterSize) + clusterSize, end);
          if (!(await this.#clearCluster(table, at, next, how))) asData.push({ begin: at, end: next });
          at = next;
        }
      } finally {
        table.pins--;
      }
    } finally {
      release();
    }
    for (const { begin, end } of asData) await this.#clearPart(begin, Math.min(end, this.#size) - begin, how);
  }

  /**
   * Parts of one cluster; a cluster that keeps none is free. False where the format has no way to say it: version 2,
   * over a backing image, and a part of a compressed cluster.
   */
  async #clearCluster(table: Table, begin: number, end: number, how: Clearing): Promise<boolean> {
    const { metadata } = this;
    const { clusterSize, partSize } = metadata;
    const index = Math.floor(begin / clusterSize) % metadata.l2Entries;
    const inside = begin % clusterSize;
    const high = table.high(index);
    const low = table.low(index);
    const compressed = (high & COMPRESSED) !== 0;
    if (compressed && end - begin < clusterSize) return false;
    const covered = begin < (this.backing?.size ?? 0);
    const range = partsWithin(inside, inside + end - begin, partSize);
    const zero = table.zeroParts(index);
    const stored = compressed ? range : table.storedParts(index);
    const cleared = how === 'zero' && covered ? range : range & (zero | stored);
    if (cleared !== 0 && covered && this.#opened.header.version === 2) return false;
    if (how === 'secure' && isOwn(table, index)) {
      await this.#wipe(hostOffset(table, index, clusterSize) + inside, end - begin);
    }
    const kept = stored & ~cleared;
    const parts = { zero: covered ? zero | cleared : zero & ~cleared, stored: kept };
    if (kept !== 0) {
      if (cleared !== 0) metadata.setCluster(table, index, high, low, parts);
    } else if (cleared !== 0 || entryOffset(high, low) !== 0) {
      if (compressed) this.#compressed.forget();
      metadata.setCluster(table, index, 0, 0, parts);
      metadata.unlinkEntry(high, low);
    }
    return true;
  }

  async #wipe(host: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += zeroes.length) {
      await this.metadata.file.write(host + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
    }
  }
}
