/**
 * One pair of rings of an interface, and its event channels: one for both, or one for each. Memory of the rings is
 * reached only during a call of ours.
 */
import type { EventPort, HostWork, MappedPage, Peer } from '@paravane/driver-api';
import type { Frame } from '@paravane/link-api';
import { type BackRing, createBackRing } from '@paravane/ring';
import type { Credit } from './credit.js';
import { RX_ENTRY_BYTES, TX_ENTRY_BYTES } from './layout.js';
import { createReceiver, type Receiver } from './receive.js';
import type { NetStats } from './stats.js';
import { respondTransmit, takeTransmit } from './transmit.js';

export interface NetQueueOptions {
  readonly peer: Peer;
  readonly work: HostWork;
  readonly stats: NetStats;
  readonly credit: Credit;
  /** As the front end claims them. */
  readonly txRef: number;
  readonly rxRef: number;
  readonly txPort: number;
  /** Absent where one channel serves both. */
  readonly rxPort?: number;
  /** Hands frames to the link: returns how many it took, and will call `transmit` when it takes more. */
  send(frames: readonly Frame[]): number;
  onGroup(add: boolean, address: Uint8Array): void;
  /** The guest has left pages, after `receive` took fewer than all. */
  onRoom(): void;
  onBroken(why: string): void;
}

export interface NetQueue {
  /** Gives frames to the guest, as far as it has left pages: how many. */
  receive(frames: readonly Frame[], count: number): number;
  /** Takes what the guest sends. */
  transmit(): void;
  close(): void;
}

/** Frames that are handed to the link together. */
const BATCH = 64;

/** Opens a pair of rings; a text where what the front end names is none. */
export function openNetQueue(options: NetQueueOptions): NetQueue | string {
  const { peer } = options;
  const tx = peer.map(options.txRef, 'write');
  if (typeof tx === 'number') return `the page of tx-ring-ref ${options.txRef} cannot be mapped (status ${tx})`;
  const rx = peer.map(options.rxRef, 'write');
  if (typeof rx === 'number') {
    tx.unmap();
    return `the page of rx-ring-ref ${options.rxRef} cannot be mapped (status ${rx})`;
  }
  const queue = new Queue(options, tx, rx);
  const wrong = queue.open();
  if (wrong === undefined) return queue;
  queue.close();
  return wrong;
}

class Queue implements NetQueue {
  private txRing!: BackRing;
  private rxRing!: BackRing;
  private receiver!: Receiver;
  private txPort: EventPort | undefined;
  private rxPort: EventPort | undefined;
  private closed = false;
  private transmitting = false;
  private again = false;
  private readonly goOn = (): void => this.transmit();
  private wantsRoom = false;
  /** The transmit ring is served soon. */
  private waitsForMore = false;
  /** The guest is to hear of responses in the transmit ring, with the next frame or soon. */
  private owesEvent = false;
  /** Frames that the link has not taken. */
  private waiting: Frame[] = [];
  /** The rings' bytes, as long as a call of ours lasts. */
  private memory: { readonly tx: readonly Uint8Array[]; readonly rx: readonly Uint8Array[] } | undefined;

  constructor(
    private readonly options: NetQueueOptions,
    private readonly tx: MappedPage,
    private readonly rx: MappedPage,
  ) {}

  open(): string | undefined {
    const { peer, txPort, rxPort } = this.options;
    const rings = this.withMemory(() => [
      createBackRing({ pages: () => this.memory?.tx, pageCount: 1, entryBytes: TX_ENTRY_BYTES }),
      createBackRing({ pages: () => this.memory?.rx, pageCount: 1, entryBytes: RX_ENTRY_BYTES }),
    ]);
    const [txRing, rxRing] = rings;
    if (!txRing || !rxRing) return 'the indices of a ring cannot be';
    this.txRing = txRing;
    this.rxRing = rxRing;
    this.receiver = createReceiver(rxRing, peer);
    const onTx = (): void => {
      this.options.stats.eventsIn++;
      this.announced();
      if (rxPort === undefined) this.roomMade();
    };
    this.txPort = peer.bind(txPort, onTx);
    if (!this.txPort) return `event channel ${txPort} is not left for us`;
    if (rxPort === undefined) {
      this.rxPort = this.txPort;
      return undefined;
    }
    this.rxPort = peer.bind(rxPort, () => {
      this.options.stats.eventsIn++;
      this.roomMade();
    });
    return this.rxPort ? undefined : `event channel ${rxPort} is not left for us`;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.waiting = [];
    this.txPort?.close();
    if (this.rxPort !== this.txPort) this.rxPort?.close();
    this.tx.unmap();
    this.rx.unmap();
  }

  private withMemory<T>(body: () => T): T {
    const outer = this.memory;
    this.memory ??= this.closed ? undefined : { tx: [this.tx.bytes()], rx: [this.rx.bytes()] };
    try {
      return body();
    } finally {
      this.memory = outer;
    }
  }

  /** There is something to send. More may be on its way: then all of it is taken together. */
  private announced(): void {
    const { work } = this.options;
    if (work.later === undefined) return this.transmit();
    if (this.waitsForMore) return;
    this.waitsForMore = true;
    work.later(() => {
      this.waitsForMore = false;
      this.transmit();
    });
  }

  transmit(): void {
    if (this.closed) return;
    if (this.transmitting) {
      this.again = true;
      return;
    }
    this.transmitting = true;
    do {
      this.again = false;
      this.withMemory(() => this.serve());
    } while (this.again && !this.closed);
    this.transmitting = false;
  }

  /** Whether the link has taken all that waits. */
  private flush(): boolean {
    while (this.waiting.length > 0 && !this.closed) {
      const taken = this.options.send(this.waiting);
      if (taken < this.waiting.length) {
        this.waiting.splice(0, taken);
        return false;
      }
      this.waiting = [];
    }
    return true;
  }

  private serve(): void {
    const { txRing, options } = this;
    const { stats, peer } = options;
    // A front end on another thread could keep us here for ever.
    let budget = txRing.entries * 2;
    let open = this.flush();
    do {
      while (open && budget > 0 && !this.closed) {
        if (!options.credit.may(this.goOn)) {
          this.flush();
          open = false;
          break;
        }
        const taken = takeTransmit(txRing, peer);
        if (taken === undefined) break;
        if (typeof taken === 'string') {
          options.onBroken(taken);
          return;
        }
        budget -= taken.responses.length;
        respondTransmit(txRing, taken);
        for (const { add, address } of taken.groups) options.onGroup(add, address);
        if (taken.frame) {
          stats.framesSent++;
          options.credit.take(taken.frame.bytes.length);
          stats.bytesSent += taken.frame.bytes.length;
          this.waiting.push(taken.frame);
        } else if (taken.groups.length === 0) {
          stats.errors++;
        }
        if (this.waiting.length >= BATCH) open = this.flush();
      }
      open &&= this.flush();
    } while (!this.closed && open && budget > 0 && txRing.rest());
    this.publishTx();
    if (this.closed) return;
    if (txRing.broken) options.onBroken('the transmit ring claims more requests than it holds');
    else if (open && budget <= 0) {
      options.work.run(
        () => Promise.resolve(),
        () => this.transmit(),
      );
    }
  }

  private publishTx(): void {
    if (this.closed || !this.txRing.publish() || this.owesEvent) return;
    const { work } = this.options;
    this.owesEvent = true;
    if (work.later) work.later(() => this.payEvent());
    else this.payEvent();
  }

  private payEvent(): void {
    if (!this.owesEvent || this.closed) return;
    this.owesEvent = false;
    this.options.stats.eventsOut++;
    this.txPort?.notify();
  }

  receive(frames: readonly Frame[], count: number): number {
    if (this.closed) return count;
    return this.withMemory(() => {
      const { receiver, rxRing } = this;
      const { stats } = this.options;
      let given = 0;
      for (; given < count; given++) {
        const frame = frames[given] as Frame;
        if (!receiver.hasRoom(frame) && !(receiver.rest() && receiver.hasRoom(frame))) break;
        if (receiver.give(frame)) {
          stats.framesReceived++;
          stats.bytesReceived += frame.bytes.length;
        } else {
          stats.errors++;
        }
      }
      if (rxRing.publish()) {
        // One event serves both where there is one channel for both.
        if (this.rxPort === this.txPort) this.owesEvent = false;
        else this.payEvent();
        stats.eventsOut++;
        this.rxPort?.notify();
      }
      if (rxRing.broken) this.options.onBroken('the receive ring claims more requests than it holds');
      this.wantsRoom = given < count;
      return given;
    });
  }

  private roomMade(): void {
    if (!this.wantsRoom || this.closed) return;
    this.wantsRoom = false;
    this.options.onRoom();
  }
}
