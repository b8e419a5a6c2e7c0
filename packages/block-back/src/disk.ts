/**
 * The image's side of a disk: starts transfers, joins those that follow each other on the disk, and keeps barriers.
 * All queues of a device share one.
 *
 * Order: requests in progress have none, as the protocol promises none. A barrier waits for all before it, is durable
 * before it is answered, and holds back all after it.
 */
import type { HostWork } from '@paravane/driver-api';
import type { DiskImage } from '@paravane/image-api';
import type { BlockStats } from './stats.js';

/** Bytes of joined transfers at most: what one call of an image should take. */
const MOST_JOINED = 4 << 20;

export interface Transfer {
  readonly write: boolean;
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  readonly buffers: readonly Uint8Array[];
  done(ok: boolean): void;
}

export interface Disk {
  readonly image: DiskImage;
  readonly stats: BlockStats;
  /** A barrier is waited for: no request is to be taken. `whenFree` callers are told. */
  readonly blocked: boolean;
  whenFree(action: () => void): void;
  /** Takes a transfer; it begins with the next `start`. */
  add(transfer: Transfer): void;
  start(): void;
  flush(done: (ok: boolean) => void): void;
  /** Runs `body` when all before is done; what comes after waits until it calls its argument. */
  barrier(body: (end: () => void) => void): void;
  discard(offset: number, length: number, secure: boolean, done: (ok: boolean) => void): void;
}

export interface DiskOptions {
  readonly image: DiskImage;
  readonly work: HostWork;
  readonly stats: BlockStats;
  /** The image failed. */
  onError(what: string, error: unknown): void;
}

/** Views that follow each other in memory become one. */
export function joinViews(views: readonly Uint8Array[]): Uint8Array[] {
  const joined: Uint8Array[] = [];
  for (const next of views) {
    const last = joined[joined.length - 1];
    if (last && last.buffer === next.buffer && last.byteOffset + last.length === next.byteOffset) {
      joined[joined.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + next.length);
    } else {
      joined.push(next);
    }
  }
  return joined;
}

export function createDisk({ image, work, stats, onError }: DiskOptions): Disk {
  let pending: Transfer[] = [];
  /** Calls of the image that have not answered. */
  let calls = 0;
  let blocked = false;
  let drained: (() => void) | undefined;
  let waiting: (() => void)[] = [];

  function call(what: string, start: () => void | Promise<void>, done: (ok: boolean) => void): void {
    calls++;
    stats.imageCalls++;
    work.run(start, (answer) => {
      if (!answer.ok) onError(what, answer.error);
      done(answer.ok);
      // After `done`, which may have begun others in its place: a barrier waits for those, too.
      calls--;
      if (calls === 0 && drained) {
        const action = drained;
        drained = undefined;
        action();
      }
    });
  }

  function begin(group: readonly Transfer[]): void {
    const [first] = group;
    const { write, offset } = first!;
    const buffers = joinViews(group.length === 1 ? first!.buffers : group.flatMap((transfer) => transfer.buffers));
    const into = buffers.length === 1 ? buffers[0]! : buffers;
    call(
      `${write ? 'write' : 'read'} at byte ${offset}`,
      () => (write ? image.write(offset, into) : image.read(offset, into)),
      (ok) => {
        // Which of them it was is found out one by one.
        if (!ok && group.length > 1) for (const transfer of group) begin([transfer]);
        else for (const transfer of group) transfer.done(ok);
      },
    );
  }

  function start(): void {
    const transfers = pending;
    pending = [];
    for (let at = 0; at < transfers.length; ) {
      const group = [transfers[at++]!];
      const { write, offset } = group[0]!;
      let { length } = group[0]!;
      for (; at < transfers.length; at++) {
        const next = transfers[at]!;
        if (next.write !== write || next.offset !== offset + length || length + next.length > MOST_JOINED) break;
        group.push(next);
        length += next.length;
        stats.merges++;
      }
      begin(group);
    }
  }

  function free(): void {
    blocked = false;
    const actions = waiting;
    waiting = [];
    for (const action of actions) {
      // One of them may have come upon the next barrier.
      if (blocked) waiting.push(action);
      else action();
    }
  }

  return {
    image,
    stats,
    get blocked() {
      return blocked;
    },
    whenFree: (action) => void waiting.push(action),
    add: (transfer) => void pending.push(transfer),
    start,
    flush(done) {
      call('flush', () => image.flush(), done);
    },
    barrier(body) {
      start();
      blocked = true;
      if (calls === 0) body(free);
      else drained = () => body(free);
    },
    discard(offset, length, secure, done) {
      call(`discard at byte ${offset}`, () => image.discard!(offset, length, { secure }), done);
    },
  };
}
