/**
 * The receiving half of a connection: what is next, the window that was announced, data out of order, the FIN.
 * The right edge of the window never moves back (RFC 9293, 3.8.6).
 */
import { createReassembly } from './reassembly.js';
import { Flag, type SackBlock, type Segment } from './segment.js';
import { advance, distance } from './sequence.js';

export interface Receiver {
  /** The sequence number of the next byte. */
  readonly next: number;
  /** Bytes held: not consumed, or ahead of their turn. */
  readonly held: number;
  /** Whether data is ahead of its turn. */
  readonly gap: boolean;
  /** Bytes that were delivered since the last `announce`. */
  readonly unacknowledged: number;
  /** The peer's SYN has this sequence number. */
  start(sequence: number): void;
  /** The window field for a header that is about to go out. */
  announce(scale: number): number;
  acceptable(segment: Segment): boolean;
  /**
   * Takes an acceptable segment's data and delivers what is in order.
   * - `fin`: the peer's FIN is next, and is taken;
   * - `now`: it must be acknowledged at once (RFC 5681, 4.2); `later`: it may be acknowledged later.
   */
  take(segment: Segment): 'fin' | 'now' | 'later' | 'nothing';
  /** Whether the window that this opens is worth a segment. */
  consumed(bytes: number, mss: number): boolean;
  sacks(most: number): SackBlock[];
}

export interface ReceiverOptions {
  readonly capacity: number;
  readonly mostRanges: number;
  deliver(data: Uint8Array): void;
  /** False once nothing is to be delivered any more. */
  open(): boolean;
}

export function createReceiver({ capacity, mostRanges, deliver, open }: ReceiverOptions): Receiver {
  let next = 0;
  let edge = 0;
  let unconsumed = 0;
  let unacknowledged = 0;
  let finAt: number | undefined;
  const reassembly = createReassembly(mostRanges);

  const window = (): number => Math.max(0, distance(edge, next));

  function pass(data: Uint8Array): void {
    next = advance(next, data.length);
    unconsumed += data.length;
    unacknowledged += data.length;
    deliver(data);
  }

  return {
    get next() {
      return next;
    },
    get held() {
      return unconsumed + reassembly.bytes;
    },
    get gap() {
      return reassembly.bytes > 0;
    },
    get unacknowledged() {
      return unacknowledged;
    },
    start(sequence) {
      next = advance(sequence, 1);
      edge = next;
    },
    announce(scale) {
      const unit = 2 ** scale;
      const size = Math.max(capacity - unconsumed, window());
      const field = Math.min(Math.floor(size / unit), 0xffff);
      const announced = advance(next, field * unit);
      if (distance(announced, edge) > 0) edge = announced;
      unacknowledged = 0;
      return field;
    },
    acceptable({ sequence, data, flags }) {
      const length = data.length + (flags & Flag.fin ? 1 : 0);
      const size = window();
      const from = distance(sequence, next);
      if (length === 0) return size === 0 ? from === 0 : from >= 0 && from <= size;
      const last = from + length - 1;
      return from < size && last >= 0 && size > 0;
    },
    take({ sequence: claimedSequence, data: claimedData, flags }) {
      const fin = (flags & Flag.fin) !== 0;
      if (claimedData.length === 0 && !fin) return 'nothing';
      const end = advance(claimedSequence, claimedData.length);
      const old = Math.max(0, distance(next, claimedSequence));
      const sequence = old > 0 ? next : claimedSequence;
      const data = claimedData
        .subarray(Math.min(old, claimedData.length))
        .subarray(0, Math.max(0, distance(edge, sequence)));
      if (fin && distance(end, next) >= 0 && distance(end, edge) <= 0) finAt ??= end;
      const inOrder = sequence === next;
      const filled = reassembly.bytes > 0;
      if (data.length > 0 && inOrder) {
        pass(data);
        for (let more = reassembly.take(next); more && open(); more = reassembly.take(next)) pass(more);
      } else if (data.length > 0) {
        reassembly.insert(sequence, data);
      }
      if (finAt === next) {
        finAt = undefined;
        next = advance(next, 1);
        if (distance(edge, next) < 0) edge = next;
        return 'fin';
      }
      return !inOrder || old > 0 || filled || data.length < claimedData.length ? 'now' : 'later';
    },
    consumed(bytes, mss) {
      unconsumed = Math.max(0, unconsumed - bytes);
      const growth = distance(advance(next, capacity - unconsumed), edge);
      return growth >= mss && (growth >= Math.min(capacity / 4, 0xffff) || window() === 0);
    },
    sacks: (most) => reassembly.sacks(most),
  };
}
