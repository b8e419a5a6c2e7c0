/**
 * An open qcow2 image as a disk. Reads, and writes to clusters that are in place, go to the file at once, as long as
 * their L2 table is in memory; all that changes a table goes through `Metadata`.
 *
 * A cluster that gets a new place is claimed meanwhile: a second request that changes it waits for the first.
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
import { hostOffset, inPlace, kindOf, type Run, runAt, writableRun } from './clusters.js';
import type { CompressedClusters } from './compressed.js';
import { COPIED, highHalf, lowHalf, ZERO } from './layout.js';
import type { Metadata } from './metadata.js';
import type { Opened } from './opened.js';
import { resizeQcow2 } from './resize.js';
import type { Table } from './table.js';

/** Longer runs of new clusters are written in parts. */
const longestNewRun = 2 ** 20;
const zeroes = new Uint8Array(65536);

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
      case 'data':
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
        const run = table === undefined ? undefined : writableRun(table, at, rest, metadata);
        if (run !== undefined) {
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

  /** How many bytes from `at` need new clusters. */
  #newRun(table: Table | undefined, at: number, most: number): number {
    const { clusterSize, l2Entries } = this.metadata;
    const limit = Math.min(most, longestNewRun);
    let length = Math.min(clusterSize - (at % clusterSize), limit);
    while (length < limit) {
      if (table !== undefined && inPlace(table, Math.floor((at + length) / clusterSize) % l2Entries)) break;
      length = Math.min(length + clusterSize, limit);
    }
    return length;
  }

  /** Writes to clusters, all under one L2 table, that need a new place in the file. */
  async #writeNew(offset: number, length: number, from: Buffers): Promise<void> {
    const { metadata } = this;
    const { clusterSize, l2Entries } = metadata;
    const l1Index = Math.floor(offset / metadata.l2Span);
    if (metadata.overdue) await metadata.commit();
    const release = await this.#claim(offset, length);
    try {
      const table = await metadata.makeWritable(l1Index);
      table.pins++;
      try {
        for (let done = 0; done < length; ) {
          const at = offset + done;
          const index = Math.floor(at / clusterSize) % l2Entries;
          // Another request may have given it a place while this one waited.
          const placed = writableRun(table, at, length - done, metadata);
          if (placed !== undefined) {
            this.#expectInFile(placed.host);
            await metadata.file.write(placed.host, sliceBuffers(from, done, done + placed.length));
            done += placed.length;
            continue;
          }
          const wanted = Math.ceil(((at % clusterSize) + this.#newRun(table, at, length - done)) / clusterSize);
          const { cluster, count, fresh } = await metadata.refcounts.allocate(wanted);
          const part = Math.min(count * clusterSize - (at % clusterSize), length - done);
          try {
            await this.#fill(cluster * clusterSize, fresh, at, part, sliceBuffers(from, done, done + part));
          } catch (error) {
            for (let given = 0; given < count; given++) await metadata.refcounts.release(cluster + given);
            throw error;
          }
          for (let given = 0; given < count; given++) {
            this.#relink(table, index + given, (cluster + given) * clusterSize);
          }
          done += part;
        }
      } finally {
        table.pins--;
      }
    } finally {
      release();
    }
  }

  /** Stores `from`, and what was around it in its first and last cluster, in new clusters at `host`. */
  #fill(host: number, fresh: boolean, at: number, length: number, from: Buffers): Soon | Promise<void> {
    const { clusterSize } = this.metadata;
    const head = at % clusterSize;
    const end = at + length;
    const tail = (clusterSize - (end % clusterSize)) % clusterSize;
    if (head === 0 && tail === 0) return this.metadata.file.write(host, from);
    const skipHead = head === 0 || (fresh && this.#isZero(at - head, head));
    const skipTail = tail === 0 || (fresh && this.#isZero(end, tail));
    if (skipHead && skipTail) return this.metadata.file.write(host + head, from);
    return this.#fillAround(host, skipHead ? 0 : head, skipTail ? 0 : tail, at, length, from);
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
    const inside = (at % this.metadata.clusterSize) - head;
    await this.metadata.file.write(host + inside, [before, ...run, after]);
  }

  /** Whether a part of one cluster is known to read as zeroes. Its table is in memory: the cluster is claimed. */
  #isZero(at: number, length: number): boolean {
    const table = this.metadata.table(Math.floor(at / this.metadata.l2Span));
    if (table === undefined) return false;
    const { kind } = runAt(table, at, length, this.metadata);
    return kind === 'zero' || (kind === 'unallocated' && at >= (this.backing?.size ?? 0));
  }

  #relink(table: Table, index: number, host: number): void {
    const high = table.high(index);
    const low = table.low(index);
    if (kindOf(high, low) === 'compressed') this.#compressed.forget();
    this.metadata.setEntry(table, index, highHalf(host) | COPIED, lowHalf(host));
    this.metadata.unlinkEntry(high, low);
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

  async #clear(offset: number, length: number, how: 'discard' | 'secure' | 'zero'): Promise<void> {
    const { clusterSize, l2Span } = this.metadata;
    const end = offset + length;
    // The last cluster of the disk may be a part of one.
    const wholeEnd =
      end === this.#size ? Math.ceil(end / clusterSize) * clusterSize : Math.floor(end / clusterSize) * clusterSize;
    const wholeBegin = Math.min(Math.ceil(offset / clusterSize) * clusterSize, Math.max(wholeEnd, offset));
    if (wholeEnd <= wholeBegin) return this.#clearPart(offset, length, how);
    await this.#clearPart(offset, wholeBegin - offset, how);
    for (let at = wholeBegin; at < wholeEnd; ) {
      const next = Math.min((Math.floor(at / l2Span) + 1) * l2Span, wholeEnd);
      await this.#clearWhole(at, next, how);
      at = next;
    }
    if (end > wholeEnd) await this.#clearPart(wholeEnd, end - wholeEnd, how);
  }

  /** A discard of less than a cluster does nothing, unless its bytes must go. */
  async #clearPart(offset: number, length: number, how: 'discard' | 'secure' | 'zero'): Promise<void> {
    if (length === 0 || how === 'discard') return;
    for (let done = 0; done < length; ) {
      const part = Math.min(
        length - done,
        zeroes.length,
        this.metadata.clusterSize - ((offset + done) % this.metadata.clusterSize),
      );
      if (!(await this.#readsZero(offset + done, part))) {
        await this.#write(offset + done, part, zeroes.subarray(0, part));
      }
      done += part;
    }
  }

  async #readsZero(at: number, length: number): Promise<boolean> {
    const index = Math.floor(at / this.metadata.l2Span);
    if (this.metadata.table(index) === undefined) await this.metadata.load(index);
    return this.#isZero(at, length);
  }

  /** Whole clusters, all under one L2 table. */
  async #clearWhole(begin: number, end: number, how: 'discard' | 'secure' | 'zero'): Promise<void> {
    const { metadata } = this;
    const { clusterSize, l2Entries, l2Span } = metadata;
    const l1Index = Math.floor(begin / l2Span);
    const release = await this.#claim(begin, end - begin);
    const asData: number[] = [];
    try {
      if (metadata.table(l1Index) === undefined) await metadata.load(l1Index);
      const nothing = metadata.table(l1Index) === null;
      if (nothing && (how !== 'zero' || begin >= (this.backing?.size ?? 0))) return;
      if (metadata.overdue) await metadata.commit();
      const table = await metadata.makeWritable(l1Index);
      table.pins++;
      try {
        for (let at = begin; at < end; at += clusterSize) {
          const index = Math.floor(at / clusterSize) % l2Entries;
          const kind = kindOf(table.high(index), table.low(index));
          if (how === 'secure' && inPlace(table, index)) await this.#wipe(hostOffset(table, index, clusterSize));
          if (!this.#unlinkCluster(table, index, at, kind, how) && how !== 'discard') asData.push(at);
        }
      } finally {
        table.pins--;
      }
    } finally {
      release();
    }
    for (const at of asData) await this.#clearPart(at, Math.min(clusterSize, this.#size - at), how);
  }

  /** False where the format has no way to say it: version 2, over a backing image. */
  #unlinkCluster(table: Table, index: number, at: number, kind: Run['kind'], how: string): boolean {
    if (kind === 'unallocated' && (how !== 'zero' || at >= (this.backing?.size ?? 0))) return true;
    const high = table.high(index);
    const low = table.low(index);
    const covered = at < (this.backing?.size ?? 0);
    if (covered && this.#opened.header.version === 2) return false;
    if (kind === 'compressed') this.#compressed.forget();
    this.metadata.setEntry(table, index, 0, covered ? ZERO : 0);
    this.metadata.unlinkEntry(high, low);
    return true;
  }

  async #wipe(host: number): Promise<void> {
    const { clusterSize, file } = this.metadata;
    for (let done = 0; done < clusterSize; done += zeroes.length) {
      await file.write(host + done, zeroes.subarray(0, Math.min(zeroes.length, clusterSize - done)));
    }
  }
}
