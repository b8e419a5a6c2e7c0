/**
 * One ring of a disk: takes requests, checks them, has them done and answers them.
 *
 * The front end is not trusted. A request is copied out of the ring before anything in it is looked at, and so are
 * indirect segments out of their pages; each request that was taken gets exactly one response, unless the ring is
 * closed before; all pages that a request took are given back when it is done, whatever became of the ring.
 */
import {
  BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST,
  BLKIF_MAX_SEGMENTS_PER_REQUEST,
  BLKIF_OP,
  BLKIF_RSP,
} from '@paravane/abi-xen';
import type { EventPort, HostWork, MappedPage, Peer } from '@paravane/driver-api';
import { type BackRing, createBackRing } from '@paravane/ring';
import type { Disk } from './disk.js';
import { createGathering } from './gathering.js';
import { createGrantedPages, type GrantedBuffer } from './grants.js';
import {
  type BlockRequest,
  type BlockSegment,
  decodeRequest,
  ENTRY_BYTES,
  type Protocol,
  readSegment,
  SEGMENT_BYTES,
  writeResponse,
} from './layout.js';

const PAGE = 4096;
const SECTOR = 512;
const SECTORS_PER_PAGE = PAGE / SECTOR;
const SEGMENTS_PER_PAGE = PAGE / SEGMENT_BYTES;

export interface BlockQueueOptions {
  readonly peer: Peer;
  readonly work: HostWork;
  readonly disk: Disk;
  readonly readOnly: boolean;
  readonly protocol: Protocol;
  /** As the front end claims them. */
  readonly ringRefs: readonly number[];
  readonly port: number;
  readonly persistent: boolean;
  readonly mostIndirect: number;
  /** The ring can't be served any more. */
  onBroken(why: string): void;
}

export interface BlockQueue {
  close(): void;
}

/** Opens a ring; a text where what the front end names is no ring. */
export function openBlockQueue(options: BlockQueueOptions): BlockQueue | string {
  const pages: MappedPage[] = [];
  const unmap = (): void => pages.forEach((page) => page.unmap());
  for (const ref of options.ringRefs) {
    const page = options.peer.map(ref, 'write');
    if (typeof page === 'number') {
      unmap();
      return `the page of ring-ref ${ref} cannot be mapped (status ${page})`;
    }
    pages.push(page);
  }
  const queue = new Queue(options, pages);
  const wrong = queue.open();
  if (wrong === undefined) return queue;
  unmap();
  return wrong;
}

class Queue implements BlockQueue {
  private readonly granted;
  private ring!: BackRing;
  private port: EventPort | undefined;
  private closed = false;
  private pumping = false;
  private again = false;
  private readonly gathering = createGathering();
  /** Requests are waited for; the ring is served soon. */
  private waiting = false;
  /** Requests, from the beginning on. */
  private taken = 0;
  /** The ring's bytes, as long as a call of ours lasts. */
  private memory: readonly Uint8Array[] | undefined;

  constructor(
    private readonly options: BlockQueueOptions,
    private readonly pages: readonly MappedPage[],
  ) {
    this.granted = createGrantedPages(options.peer, options.persistent);
  }

  open(): string | undefined {
    const { options, pages } = this;
    const ring = this.withMemory(() =>
      createBackRing({
        pages: () => this.memory,
        pageCount: pages.length,
        entryBytes: ENTRY_BYTES[options.protocol],
      }),
    );
    if (!ring) return 'the indices of the ring cannot be';
    this.ring = ring;
    this.port = options.peer.bind(options.port, () => {
      options.disk.stats.eventsIn++;
      this.announced();
    });
    return this.port ? undefined : `event-channel ${options.port} is not left for us`;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.port?.close();
    this.granted.close();
    for (const page of this.pages) page.unmap();
  }

  private withMemory<T>(body: () => T): T {
    const outer = this.memory;
    this.memory ??= this.closed ? undefined : this.pages.map((page) => page.bytes());
    try {
      return body();
    } finally {
      this.memory = outer;
    }
  }

  /** There are requests. More may be on their way: then they are served together, and the front end hears of it once. */
  private announced(): void {
    const { work } = this.options;
    if (this.waiting) return;
    const waits = work.later !== undefined && this.gathering.pays();
    const serve = (): void => {
      this.waiting = false;
      if (this.closed) return;
      const { taken } = this;
      this.pump();
      this.gathering.learn(this.taken - taken, waits);
    };
    this.waiting = waits;
    if (waits) work.later?.(serve);
    else serve();
  }

  /** Serves what is in the ring, and answers what is done at once. */
  private pump(): void {
    if (this.pumping) {
      this.again = true;
      return;
    }
    this.pumping = true;
    do {
      this.again = false;
      this.withMemory(() => this.serve());
    } while (this.again && !this.closed);
    this.pumping = false;
  }

  private serve(): void {
    const { ring, options } = this;
    const { disk } = options;
    // A front end on another thread could keep us here for ever.
    let budget = ring.entries * 2;
    do {
      while (!this.closed && !disk.blocked && budget > 0) {
        const view = ring.take();
        if (!view) break;
        budget--;
        this.taken++;
        this.handle(decodeRequest(view, options.protocol));
      }
      disk.start();
    } while (!this.closed && !disk.blocked && budget > 0 && ring.rest());
    this.publish();
    if (this.closed) return;
    if (ring.broken) options.onBroken('the ring claims more requests than it holds');
    else if (disk.blocked) disk.whenFree(() => this.pump());
    else if (budget === 0)
      options.work.run(
        () => Promise.resolve(),
        () => this.pump(),
      );
  }

  private publish(): void {
    if (this.closed || !this.ring.publish()) return;
    this.options.disk.stats.eventsOut++;
    this.port?.notify();
  }

  private handle(request: BlockRequest): void {
    const { stats } = this.options.disk;
    stats.inFlight++;
    stats.mostInFlight = Math.max(stats.mostInFlight, stats.inFlight);
    switch (request.operation) {
      case BLKIF_OP.READ:
        stats.reads++;
        return this.transfer(request, false);
      case BLKIF_OP.WRITE:
        stats.writes++;
        return this.transfer(request, true);
      case BLKIF_OP.FLUSH_DISKCACHE:
        if (request.indirect) break;
        stats.flushes++;
        return this.flush(request);
      case BLKIF_OP.WRITE_BARRIER:
        stats.barriers++;
        return this.barrier(request);
      case BLKIF_OP.DISCARD:
        if (request.indirect) break;
        stats.discards++;
        return this.discard(request);
    }
    this.respond(request, BLKIF_RSP.EOPNOTSUPP);
  }

  private respond(request: BlockRequest, status: number): void {
    const { stats } = this.options.disk;
    stats.inFlight--;
    if (status !== BLKIF_RSP.OKAY) stats.errors++;
    if (this.closed) return;
    this.withMemory(() => {
      this.ring.respond((view) => writeResponse(view, request, status));
      if (!this.pumping) this.publish();
    });
    // The answer made room in a ring that may have been full.
    if (!this.pumping) this.pump();
  }

  private answer(request: BlockRequest): (ok: boolean) => void {
    return (ok) => this.respond(request, ok ? BLKIF_RSP.OKAY : BLKIF_RSP.ERROR);
  }

  private transfer(request: BlockRequest, write: boolean): void {
    if (!this.startTransfer(request, write, this.answer(request))) this.respond(request, BLKIF_RSP.ERROR);
  }

  private flush(request: BlockRequest): void {
    const { disk, readOnly } = this.options;
    if (readOnly) return this.respond(request, request.segmentCount === 0 ? BLKIF_RSP.OKAY : BLKIF_RSP.ERROR);
    disk.start();
    disk.flush((ok) => {
      if (!ok || request.segmentCount === 0) return this.answer(request)(ok);
      this.transfer(request, true);
      disk.start();
    });
  }

  /** All before it is done and durable, then it, then all after it. */
  private barrier(request: BlockRequest): void {
    const { disk, readOnly } = this.options;
    if (readOnly) return this.respond(request, BLKIF_RSP.ERROR);
    disk.barrier((end) => {
      const finish = (ok: boolean): void => {
        this.answer(request)(ok);
        end();
      };
      disk.flush((ok) => {
        if (!ok || request.segmentCount === 0) return finish(ok);
        const written = (wrote: boolean): void => (wrote ? disk.flush(finish) : finish(false));
        if (!this.startTransfer(request, true, written)) return finish(false);
        disk.start();
      });
    });
  }

  private discard(request: BlockRequest): void {
    const { disk, readOnly } = this.options;
    const { image } = disk;
    const range = rangeOf(image, request.sector, request.sectorCount);
    if (readOnly || !image.discard) return this.respond(request, BLKIF_RSP.EOPNOTSUPP);
    if (!range) return this.respond(request, BLKIF_RSP.ERROR);
    disk.start();
    disk.discard(range.offset, range.length, request.secure, this.answer(request));
  }

  /** Takes the request's pages and adds it to what the disk is to do. False, with nothing taken, if it can't be. */
  private startTransfer(request: BlockRequest, write: boolean, done: (ok: boolean) => void): boolean {
    const { disk, readOnly } = this.options;
    if (this.closed || (write && readOnly)) return false;
    const segments = this.segmentsOf(request);
    if (!segments) return false;
    let sectors = 0;
    for (const { first, last } of segments) {
      if (last >= SECTORS_PER_PAGE || first > last) return false;
      sectors += last - first + 1;
    }
    const range = rangeOf(disk.image, request.sector, sectors);
    if (!range) return false;
    const buffers = this.buffersOf(segments, write);
    if (!buffers) return false;
    const { offset, length } = range;
    const { stats } = disk;
    disk.add({
      write,
      offset,
      length,
      buffers: buffers.map(({ bytes }) => bytes),
      done: (ok) => {
        let arrived = ok;
        for (const buffer of buffers) arrived = buffer.release(ok && !write) && arrived;
        if (arrived) stats[write ? 'bytesWritten' : 'bytesRead'] += length;
        done(arrived);
      },
    });
    return true;
  }

  private buffersOf(segments: readonly BlockSegment[], write: boolean): GrantedBuffer[] | undefined {
    const buffers: GrantedBuffer[] = [];
    for (const { ref, first, last } of segments) {
      const buffer = this.granted.open(ref, write ? 'read' : 'write', first * SECTOR, (last + 1) * SECTOR);
      if (typeof buffer === 'number') {
        for (const opened of buffers) opened.release(false);
        return undefined;
      }
      buffers.push(buffer);
    }
    return buffers;
  }

  private segmentsOf(request: BlockRequest): readonly BlockSegment[] | undefined {
    const { segmentCount } = request;
    if (segmentCount === 0) return undefined;
    if (!request.indirect) return segmentCount <= BLKIF_MAX_SEGMENTS_PER_REQUEST ? request.segments : undefined;
    const { mostIndirect } = this.options;
    const pages = Math.ceil(segmentCount / SEGMENTS_PER_PAGE);
    if (segmentCount > mostIndirect || pages > BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST) return undefined;
    const segments: BlockSegment[] = [];
    for (let page = 0; page < pages; page++) {
      const count = Math.min(segmentCount - page * SEGMENTS_PER_PAGE, SEGMENTS_PER_PAGE);
      const bytes = this.readGranted(request.indirectRefs[page]!, count * SEGMENT_BYTES);
      if (!bytes) return undefined;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let index = 0; index < count; index++) segments.push(readSegment(view, index * SEGMENT_BYTES));
    }
    return segments;
  }

  /** A copy of the beginning of a granted page, read once. */
  private readGranted(ref: number, length: number): Uint8Array | undefined {
    const buffer = this.granted.open(ref, 'read', 0, length);
    if (typeof buffer === 'number') return undefined;
    const bytes = buffer.bytes.slice();
    buffer.release(false);
    return bytes;
  }
}

/** Bytes on the image; undefined for what is not whole blocks of it. */
function rangeOf(
  image: { readonly size: number; readonly logicalBlockSize: number },
  sector: number,
  count: number,
): { offset: number; length: number } | undefined {
  const [offset, length] = [sector * SECTOR, count * SECTOR];
  // Written so that no sum of large claims is taken for a small one.
  if (!(count > 0) || offset > image.size || length > image.size - offset) return undefined;
  if (offset % image.logicalBlockSize !== 0 || length % image.logicalBlockSize !== 0) return undefined;
  return { offset, length };
}
