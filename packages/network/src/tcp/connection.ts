/**
 * One end of a TCP connection (RFC 9293): handshake from either side, sliding windows with scaling (RFC 7323),
 * selective acknowledgments (RFC 2018), retransmission by timeout (RFC 6298) and by duplicates (RFC 5681, 6582),
 * delayed acknowledgments, probes of closed windows, keep-alive, half-closes, resets.
 *
 * Segments are claims of the peer, valid in form only. Memory is bounded: what is not acknowledged by `sendBuffer`, what
 * the user has not consumed and what waits for its turn by `receiveBuffer`. Nothing here knows IP.
 */
import type { NetworkClock } from '../clock.js';
import { createCongestion, duplicatesForLoss } from './congestion.js';
import { createReceiver } from './receiver.js';
import { createRoundTrip } from './round-trip.js';
import { createScoreboard } from './scoreboard.js';
import { Flag, type NewSegment, type Segment } from './segment.js';
import { createSendBuffer, type SpareRings } from './send-buffer.js';
import { advance, distance } from './sequence.js';

export type TcpState =
  /** A SYN has arrived, and the user has not decided yet. */
  | 'held'
  | 'syn-sent'
  | 'syn-received'
  | 'established'
  | 'fin-wait-1'
  | 'fin-wait-2'
  | 'close-wait'
  | 'closing'
  | 'last-ack'
  | 'time-wait'
  | 'closed';

export type CloseReason = 'done' | 'reset' | 'refused' | 'timeout' | 'aborted';

/** Called while a segment or a timer is being worked on; they may call the connection back. */
export interface TcpUser {
  connected?(): void;
  /** Bytes in order. The window closes by their number until `consumed`. */
  data(bytes: Uint8Array): void;
  /** The peer will send no more. */
  ended(): void;
  /** `write` takes bytes again. */
  writable?(): void;
  /** The end, once; nothing follows. */
  closed(reason: CloseReason): void;
}

export interface TcpPath {
  /** While false, data waits for `pump`. */
  readonly ready: boolean;
  send(segment: NewSegment): void;
}

export interface TcpOptions {
  readonly clock: NetworkClock;
  readonly path: TcpPath;
  readonly user: TcpUser;
  readonly initialSequence: number;
  /** The largest data of a segment that the path carries. */
  readonly mss: number;
  /** The largest data of a segment to be cut later; `mss` where nobody cuts. */
  readonly largestSend: () => number;
  /** Bytes. */
  readonly receiveBuffer?: number;
  /** Bytes; a power of two. */
  readonly sendBuffer?: number;
  /** Shared by connections. */
  readonly spareRings?: SpareRings;
}

export const TcpTimes = {
  /** Longer than a program on the host needs to answer; while it lasts, Nagle's rule holds the guest's small writes back. */
  delayedAck: 10,
  timeWait: 10_000,
  /** Silence after both sides of the user are done, before the peer's FIN. */
  finWait2: 60_000,
  keepAliveIdle: 7_200_000,
  keepAliveProbe: 75_000,
} as const;

const mostRetransmissions = 12;
const mostSynRetransmissions = 6;
const mostKeepAliveProbes = 9;
const silenceMilliseconds = TcpTimes.keepAliveProbe * mostKeepAliveProbes;
const mostOutOfOrderRanges = 256;
const windowScale = 7;
const fallbackMss = 536;
const leastMss = 64;
const noBytes = new Uint8Array(0);

export interface TcpConnection {
  readonly state: TcpState;
  /** When the last segment of the peer came. */
  readonly lastHeard: number;
  /** Bytes held in buffers. */
  readonly held: number;
  /** Sends a SYN. */
  open(): void;
  /** Takes a SYN, as a listener does; nothing is answered until `accept`. */
  hold(syn: Segment): void;
  accept(): void;
  segment(segment: Segment): void;
  /** Takes bytes from the front of `bytes`; returns how many. Fewer than all: `writable` will be called. */
  write(bytes: Uint8Array): number;
  /** The user is done with so many bytes of what `data` gave. */
  consumed(bytes: number): void;
  /** No more is written: a FIN follows the data. */
  end(): void;
  /** The user reads no more either: a peer that does not finish by itself is not waited for long. */
  release(): void;
  /** Ends at once, with a RST where the peer knows of the connection. */
  abort(): void;
  /** The path is ready again. */
  pump(): void;
  /** Sends an acknowledgment that is due, at the end of a batch. */
  flushAck(): void;
}

export function createTcpConnection(options: TcpOptions): TcpConnection {
  const { clock, path, user, sendBuffer = 256 << 10 } = options;
  let state: TcpState = 'closed';
  let mss = options.mss;

  // Sending. `nextToSend` goes back to `una` on a timeout; `max` does not.
  const initial = options.initialSequence >>> 0;
  let una = initial;
  let nextToSend = initial;
  let max = initial;
  let sendWindow = 0;
  let sendScale = 0;
  let receiveScale = 0;
  let sackAllowed = false;
  let windowSequence = 0;
  let windowAck = 0;
  let duplicates = 0;
  let holeFrom = initial;
  let finQueued = false;
  let finSent = false;
  let wantsRoom = false;
  let released = false;
  const unsent = createSendBuffer(sendBuffer, options.spareRings);
  const scoreboard = createScoreboard();
  const roundTrip = createRoundTrip();
  const congestion = createCongestion();
  let timed: { readonly sequence: number; readonly at: number } | undefined;
  let retransmissions = 0;
  let probes = 0;

  const receiver = createReceiver({
    capacity: options.receiveBuffer ?? 256 << 10,
    mostRanges: mostOutOfOrderRanges,
    deliver: (data) => user.data(data),
    open: () => receiving(),
  });

  // Time. One wake-up for all; a deadline that moves away does not move it.
  const never = Number.POSITIVE_INFINITY;
  let lastHeard = clock.now();
  let retransmitAt = never;
  let ackAt = never;
  let endAt = never;
  let keepAliveAt = never;
  let persisting = false;
  let wakeAt = never;
  let cancelWake: (() => void) | undefined;

  const flight = (): number => distance(nextToSend, una);
  /** Read anew each time: what was called in between may have ended the connection. */
  const live = (): boolean => state !== 'closed';
  const synchronized = (): boolean => !['closed', 'held', 'syn-sent', 'syn-received'].includes(state);
  const maySend = (): boolean => ['established', 'close-wait', 'fin-wait-1', 'closing', 'last-ack'].includes(state);
  const receiving = (): boolean => state === 'established' || state === 'fin-wait-1' || state === 'fin-wait-2';

  function arm(): void {
    const due = Math.min(retransmitAt, ackAt, endAt, keepAliveAt);
    if (due >= wakeAt || !live()) return;
    cancelWake?.();
    wakeAt = due;
    cancelWake = clock.schedule(Math.max(0, due - clock.now()), wake);
  }

  function wake(): void {
    wakeAt = never;
    cancelWake = undefined;
    const now = clock.now();
    if (endAt <= now) return finish('done');
    if (ackAt <= now) acknowledge();
    if (retransmitAt <= now) retransmissionTimeout();
    if (keepAliveAt <= now && live()) keepAlive();
    arm();
  }

  function finish(reason: CloseReason): void {
    if (!live()) return;
    state = 'closed';
    cancelWake?.();
    cancelWake = undefined;
    unsent.drop(unsent.length);
    user.closed(reason);
  }

  function startRetransmission(): void {
    retransmitAt = clock.now() + roundTrip.timeout;
    arm();
  }

  function waitForEnd(milliseconds: number): void {
    endAt = clock.now() + milliseconds;
    arm();
  }

  function send(flags: number, sequence: number, length: number, more: Partial<NewSegment> = {}): void {
    ackAt = never;
    const sacks = sackAllowed && receiver.gap ? receiver.sacks(3) : [];
    path.send({
      sequence,
      acknowledgment: flags & Flag.ack ? receiver.next : 0,
      flags,
      window: receiver.announce(flags & Flag.syn ? 0 : receiveScale),
      length,
      ...(sacks.length > 0 && { sacks }),
      ...more,
    });
  }

  const acknowledge = (): void => send(Flag.ack, nextToSend, 0);

  /** Refuses a segment that acknowledges what was never sent. */
  function reset(sequence: number): void {
    path.send({ sequence, acknowledgment: 0, flags: Flag.rst, window: 0, length: 0 });
  }

  function sendSyn(): void {
    const answering = state === 'syn-received';
    send(Flag.syn | (answering ? Flag.ack : 0), initial, 0, {
      mss: options.mss,
      ...((!answering || receiveScale > 0) && { windowScale }),
      ...((!answering || sackAllowed) && { sackPermitted: true }),
    });
    nextToSend = max = advance(initial, 1);
    startRetransmission();
  }

  /** Sends `length` bytes of data from `sequence` on, and the FIN where it follows them. */
  function sendData(sequence: number, length: number): void {
    const offset = distance(sequence, una);
    const last = offset + length === unsent.length;
    const fin = finQueued && last;
    const end = advance(sequence, length + (fin ? 1 : 0));
    if (fin) finSent = true;
    if (distance(end, nextToSend) > 0) nextToSend = end;
    if (distance(end, max) > 0) {
      timed ??= { sequence: end, at: clock.now() };
      max = end;
    } else if (timed && distance(timed.sequence, sequence) > 0) {
      // Karn: what was sent twice is not measured.
      timed = undefined;
    }
    if (retransmitAt === never || persisting) {
      persisting = false;
      startRetransmission();
    }
    send(Flag.ack | (last && length > 0 ? Flag.psh : 0) | (fin ? Flag.fin : 0), sequence, length, {
      ...(length > 0 && { copyData: (target, at) => unsent.copy(offset, length, target, at) }),
      ...(length > mss && { segmentSize: mss }),
    });
  }

  function largestSend(): number {
    const largest = options.largestSend();
    return largest > mss ? largest - (largest % mss) : mss;
  }

  function pump(): void {
    if (!maySend()) return;
    while (path.ready) {
      const offset = flight();
      const available = unsent.length - offset;
      if (available < 0 || (available === 0 && !finQueued)) return;
      const window = Math.max(0, Math.min(sendWindow, congestion.window) - offset);
      const length = Math.min(available, window, largestSend());
      // Silly windows: less than a segment goes out only where it is all there is, or nothing is in flight.
      if (length < available && length < mss && (offset > 0 || length === 0)) break;
      sendData(nextToSend, length);
    }
    if (flight() === 0 && unsent.length > 0 && sendWindow === 0 && !persisting) {
      persisting = true;
      startRetransmission();
    }
  }

  function retransmissionTimeout(): void {
    retransmitAt = never;
    if (state === 'syn-sent' || state === 'syn-received') {
      if (++retransmissions > mostSynRetransmissions) return finish('timeout');
      roundTrip.backOff();
      return sendSyn();
    }
    // A closed window is probed for as long as the peer answers.
    const silent = clock.now() - lastHeard > silenceMilliseconds;
    if (persisting) {
      if (silent) return finish('timeout');
      roundTrip.backOff();
      send(Flag.ack, advance(una, -1), 0);
      return startRetransmission();
    }
    if (max === una) return;
    if ((sendWindow > 0 || silent) && ++retransmissions > mostRetransmissions) {
      send(Flag.rst | Flag.ack, nextToSend, 0);
      return finish('timeout');
    }
    congestion.timeout(distance(max, una));
    duplicates = 0;
    scoreboard.clear();
    timed = undefined;
    roundTrip.backOff();
    nextToSend = una;
    sendData(una, Math.min(unsent.length, mss, Math.max(sendWindow, 1)));
    startRetransmission();
  }

  function keepAlive(): void {
    if (clock.now() - lastHeard < TcpTimes.keepAliveIdle) {
      keepAliveAt = lastHeard + TcpTimes.keepAliveIdle;
      return;
    }
    if (probes++ >= mostKeepAliveProbes) return finish('timeout');
    send(Flag.ack, advance(una, -1), 0);
    keepAliveAt = clock.now() + TcpTimes.keepAliveProbe;
  }

  /** Sends again the first hole that was not sent again in this recovery; where none is known, the first bytes. */
  function retransmitHole(orFirst: boolean): void {
    const hole = scoreboard.hole(distance(holeFrom, una) > 0 ? holeFrom : una);
    if (!hole && !orFirst) return;
    const sequence = hole?.sequence ?? una;
    const length = Math.max(0, Math.min(mss, hole?.length ?? mss, unsent.length - distance(sequence, una)));
    if (length === 0 && !finSent) return;
    sendData(sequence, length);
    holeFrom = advance(sequence, Math.max(length, 1));
  }

  function newAcknowledgment(ack: number): void {
    const acknowledged = distance(ack, una);
    unsent.drop(Math.min(acknowledged, unsent.length));
    una = ack;
    if (distance(nextToSend, una) < 0) nextToSend = una;
    retransmissions = 0;
    duplicates = 0;
    roundTrip.recovered();
    if (timed && distance(ack, timed.sequence) >= 0) {
      roundTrip.sample(clock.now() - timed.at);
      timed = undefined;
    }
    scoreboard.acknowledge(una);
    if (congestion.recover === undefined) {
      congestion.acknowledged(acknowledged);
    } else if (distance(una, congestion.recover) < 0) {
      congestion.partial(acknowledged);
      retransmitHole(true);
    } else {
      congestion.recovered();
    }
    retransmitAt = never;
    if (max !== una) startRetransmission();
    else if (finSent) finAcknowledged();
  }

  function finAcknowledged(): void {
    if (state === 'closing') timeWait();
    else if (state === 'last-ack') finish('done');
    else if (state === 'fin-wait-1') {
      state = 'fin-wait-2';
      if (released) waitForEnd(TcpTimes.finWait2);
    }
  }

  function takeWindow(segment: Segment): void {
    const newer =
      distance(segment.sequence, windowSequence) > 0 ||
      (segment.sequence === windowSequence && distance(segment.acknowledgment, windowAck) >= 0);
    if (!newer) return;
    sendWindow = segment.window * 2 ** sendScale;
    windowSequence = segment.sequence;
    windowAck = segment.acknowledgment;
    if (sendWindow > 0 && persisting) {
      persisting = false;
      retransmitAt = never;
      roundTrip.recovered();
    }
  }

  function processAck(segment: Segment): void {
    const ack = segment.acknowledgment;
    if (distance(ack, max) > 0) return acknowledge();
    if (distance(ack, una) < 0) return;
    if (sackAllowed) scoreboard.add(segment.sacks, una, max);
    const oldWindow = sendWindow;
    takeWindow(segment);
    const duplicate = segment.data.length === 0 && max !== una && !(segment.flags & Flag.fin);
    if (distance(ack, una) > 0) {
      newAcknowledgment(ack);
    } else if (duplicate && (oldWindow === sendWindow || segment.sacks.length > 0)) {
      duplicates++;
      if (congestion.recover !== undefined) {
        congestion.duplicate();
        retransmitHole(false);
      } else if (duplicates === duplicatesForLoss) {
        congestion.lost(distance(max, una), max);
        holeFrom = una;
        retransmitHole(true);
        startRetransmission();
      }
    }
    pump();
    if (live() && wantsRoom && unsent.room >= sendBuffer / 2) {
      wantsRoom = false;
      user.writable?.();
    }
  }

  function timeWait(): void {
    state = 'time-wait';
    retransmitAt = never;
    waitForEnd(TcpTimes.timeWait);
  }

  function processData(segment: Segment): void {
    if (!receiving()) {
      if (segment.data.length > 0 || segment.flags & Flag.fin) acknowledge();
      return;
    }
    const result = receiver.take(segment);
    if (!live()) return;
    if (result === 'fin') receiveFin();
    else if (result === 'now') acknowledge();
    else if (result === 'later' && ackAt === never && receiver.unacknowledged > 0) {
      ackAt = clock.now() + TcpTimes.delayedAck;
      arm();
    }
  }

  function receiveFin(): void {
    acknowledge();
    if (state === 'established') state = 'close-wait';
    else if (state === 'fin-wait-1') state = 'closing';
    else timeWait();
    user.ended();
  }

  function takeSyn(syn: Segment): void {
    mss = Math.max(leastMss, Math.min(options.mss, syn.mss ?? fallbackMss));
    if (syn.windowScale !== undefined) {
      sendScale = syn.windowScale;
      receiveScale = windowScale;
    }
    sackAllowed = syn.sackPermitted;
    receiver.start(syn.sequence);
    sendWindow = syn.window;
    windowSequence = syn.sequence;
    windowAck = syn.acknowledgment;
    congestion.start(mss);
  }

  function establish(segment: Segment): void {
    una = segment.acknowledgment;
    state = finQueued ? 'fin-wait-1' : 'established';
    retransmitAt = never;
    retransmissions = 0;
    roundTrip.recovered();
    keepAliveAt = clock.now() + TcpTimes.keepAliveIdle;
    arm();
    user.connected?.();
  }

  function answerToSyn(segment: Segment): void {
    const { flags } = segment;
    const acknowledges = (flags & Flag.ack) !== 0;
    if (acknowledges && segment.acknowledgment !== max) {
      if (!(flags & Flag.rst)) reset(segment.acknowledgment);
      return;
    }
    if (flags & Flag.rst) {
      if (acknowledges) finish('refused');
      return;
    }
    if (!(flags & Flag.syn)) return;
    takeSyn(segment);
    if (!acknowledges) {
      state = 'syn-received';
      return sendSyn();
    }
    establish(segment);
    if (!live()) return;
    acknowledge();
    pump();
  }

  function unacceptable(segment: Segment): void {
    const { flags } = segment;
    if (flags & Flag.rst) return;
    // A closed window still lets acknowledgments through.
    if (flags & Flag.ack && !(flags & Flag.syn) && synchronized()) processAck({ ...segment, data: noBytes });
    if (!live()) return;
    acknowledge();
    if (state === 'time-wait' && flags & Flag.fin) waitForEnd(TcpTimes.timeWait);
  }

  function take(segment: Segment): void {
    const { flags } = segment;
    const repeatedSyn = (flags & (Flag.syn | Flag.ack)) === Flag.syn && advance(segment.sequence, 1) === receiver.next;
    if (state === 'syn-received' && repeatedSyn) return sendSyn();
    if (!receiver.acceptable(segment)) return unacceptable(segment);
    // RFC 5961: only a RST that names the very next byte counts, and a SYN is only answered.
    if (flags & Flag.rst && segment.sequence === receiver.next) {
      return finish(state === 'syn-received' ? 'refused' : 'reset');
    }
    if (flags & (Flag.rst | Flag.syn)) return acknowledge();
    if (!(flags & Flag.ack)) return;
    if (state === 'syn-received') {
      if (segment.acknowledgment !== max) return reset(segment.acknowledgment);
      establish(segment);
      takeWindow(segment);
    }
    if (live()) processAck(segment);
    if (live()) processData(segment);
  }

  return {
    get state() {
      return state;
    },
    get lastHeard() {
      return lastHeard;
    },
    get held() {
      return unsent.length + receiver.held;
    },
    open() {
      state = 'syn-sent';
      sendSyn();
    },
    hold(syn) {
      state = 'held';
      takeSyn(syn);
    },
    accept() {
      if (state !== 'held') return;
      state = 'syn-received';
      sendSyn();
    },
    segment(segment) {
      if (!live()) return;
      if (state === 'held') {
        if (segment.flags & Flag.rst && segment.sequence === receiver.next) finish('reset');
        return;
      }
      lastHeard = clock.now();
      probes = 0;
      if (state === 'syn-sent') answerToSyn(segment);
      else take(segment);
    },
    write(bytes) {
      if (!live() || finQueued) return bytes.length;
      const taken = unsent.append(bytes);
      if (taken < bytes.length) wantsRoom = true;
      pump();
      return taken;
    },
    consumed(bytes) {
      if (receiver.consumed(bytes, mss) && receiving()) acknowledge();
    },
    end() {
      if (finQueued || !live()) return;
      if (state === 'held' || state === 'syn-sent') return finish('aborted');
      finQueued = true;
      if (state === 'established') state = 'fin-wait-1';
      else if (state === 'close-wait') state = 'last-ack';
      pump();
    },
    release() {
      released = true;
      if (state === 'fin-wait-2' && endAt === never) waitForEnd(TcpTimes.finWait2);
    },
    abort() {
      if (!live()) return;
      if (state === 'held') {
        // RFC 9293, 3.10.7.1: the answer to a SYN for nobody.
        path.send({ sequence: 0, acknowledgment: receiver.next, flags: Flag.rst | Flag.ack, window: 0, length: 0 });
      } else if (state !== 'syn-sent' && state !== 'time-wait') {
        send(Flag.rst | Flag.ack, max, 0);
      }
      // Before the end of `time-wait` nothing is left to be cut off.
      finish(state === 'time-wait' ? 'done' : 'aborted');
    },
    pump,
    flushAck() {
      if (ackAt !== never && receiver.unacknowledged >= 2 * mss) acknowledge();
    },
  };
}
