/** A network front end without a CPU: a store, a peer made of memory, rings, and a link that records. */
import { createHostWork } from '@paravane/driver-api';
import { createMemoryPeer, type MemoryPeer } from '@paravane/driver-api/conformance';
import { allOffloads, type Frame, type Link, type LinkUser, linkApiVersion } from '@paravane/link-api';
import { createFrontRing, type FrontRing } from '@paravane/ring';
import { addDevice, createFrontendDevice, type FrontendDevice } from '@paravane/xenbus';
import { createXenstore, type Xenstore } from '@paravane/xenstore';
import { createNetBackend, type NetBackend } from '../backend.js';
import type { RateLimit } from '../credit.js';
import { NETRXF, RX_ENTRY_BYTES, TX_ENTRY_BYTES, type TxRequest } from '../layout.js';

export interface TestLink extends Link {
  readonly taken: Frame[];
  /** Frames that it takes from now on. */
  room: number;
  resumes: number;
  /** Gives frames to the back end: how many it took. */
  give(...frames: Frame[]): number;
  user: LinkUser | undefined;
}

export function createTestLink(): TestLink {
  return {
    apiVersion: linkApiVersion,
    name: 'test link',
    mtu: 1500,
    carrier: true,
    offloads: allOffloads,
    taken: [],
    room: Number.POSITIVE_INFINITY,
    resumes: 0,
    user: undefined,
    attach(user) {
      this.user = user;
    },
    send(frames) {
      const count = Math.min(frames.length, this.room);
      this.room -= count;
      this.taken.push(...frames.slice(0, count));
      return count;
    },
    resume() {
      this.resumes++;
    },
    close: () => undefined,
    give(...frames) {
      return this.user?.send(frames) ?? 0;
    },
  };
}

export interface FrontOptions {
  readonly split?: boolean;
  readonly queues?: number;
  readonly offeredQueues?: number;
  readonly rate?: RateLimit;
  /** The machine tells when the guest has nothing to do: at `idle`. */
  readonly gathers?: boolean;
  /** Nodes in addition to, or in place of, those that the front end would write. */
  readonly nodes?: Readonly<Record<string, string | number>>;
}

export interface Slot {
  readonly bytes: Uint8Array;
  readonly flags?: number;
  readonly offset?: number;
}

export interface Received {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly gso?: { readonly size: number; readonly type: number };
}

export interface ScriptedFront {
  readonly store: Xenstore;
  readonly back: string;
  readonly front: string;
  readonly guest: MemoryPeer;
  readonly link: TestLink;
  readonly backend: NetBackend;
  readonly device: FrontendDevice;
  readonly log: string[];
  readonly tx: readonly FrontRing[];
  readonly rx: readonly FrontRing[];
  readonly ports: readonly { readonly tx: number; readonly rx: number }[];
  readonly ringBytes: readonly (() => Uint8Array)[];
  /** Puts a raw request into the transmit ring. */
  put(request: Partial<TxRequest>, queue?: number): void;
  putExtra(bytes: readonly number[], queue?: number): void;
  /** Publishes, and raises the event. */
  kick(queue?: number): void;
  /** Sends a frame in one page. */
  sendFrame(bytes: Uint8Array, flags?: number, queue?: number): void;
  /** Responses of the transmit ring: id and status. */
  txResponses(queue?: number): [number, number][];
  /** Leaves pages to receive into, and raises the event. */
  leave(count: number, queue?: number): void;
  /** Frames that came. */
  received(queue?: number): Received[];
  page(content?: Uint8Array, access?: 'read' | 'write'): { readonly ref: number; bytes(): Uint8Array };
  /** The guest has nothing to do. How many had waited for it. */
  idle(): number;
}

export function createScriptedFront(options: FrontOptions = {}): ScriptedFront {
  const { queues = 1, split = true } = options;
  const store = createXenstore();
  store.mkdir('/local/domain/1', ['n0', 'r1']);
  const guest = createMemoryPeer(4096);
  const waiting: (() => void)[] = [];
  const work = createHostWork(
    (id) => queueMicrotask(() => work.deliver(id)),
    options.gathers ? (action) => void waiting.push(action) : undefined,
  );
  const nodes = addDevice(store, { type: 'vif', id: 0, frontendId: 1 });
  const log: string[] = [];
  const link = createTestLink();
  const backend = createNetBackend({
    store,
    ...(options.rate === undefined ? {} : { rate: options.rate }),
    ...nodes,
    peer: guest.peer,
    link,
    work,
    queues: options.offeredQueues ?? queues,
    log: (message) => log.push(message),
  });
  let tx: FrontRing[] = [];
  let rx: FrontRing[] = [];
  let ports: { tx: number; rx: number }[] = [];
  let ringBytes: (() => Uint8Array)[] = [];
  const left = new Map<number, { readonly ref: number; bytes(): Uint8Array }>();
  let lastId = 0;

  function setUp(): Record<string, string | number> {
    tx = [];
    rx = [];
    ports = [];
    ringBytes = [];
    const written: Record<string, string | number> = {
      'request-rx-copy': 1,
      'feature-rx-notify': 1,
      'feature-sg': 1,
      'feature-gso-tcpv4': 1,
      'feature-gso-tcpv6': 1,
      'feature-ipv6-csum-offload': 1,
    };
    if (queues > 1) written['multi-queue-num-queues'] = queues;
    for (let queue = 0; queue < queues; queue++) {
      const prefix = queues > 1 ? `queue-${queue}/` : '';
      const [txPage, rxPage] = [guest.grant('write'), guest.grant('write')];
      written[`${prefix}tx-ring-ref`] = txPage.ref;
      written[`${prefix}rx-ring-ref`] = rxPage.ref;
      ringBytes.push(txPage.bytes, rxPage.bytes);
      tx.push(createFrontRing(() => [txPage.bytes()], 1, TX_ENTRY_BYTES));
      rx.push(createFrontRing(() => [rxPage.bytes()], 1, RX_ENTRY_BYTES));
      const txPort = guest.allocatePort();
      const rxPort = split ? guest.allocatePort() : txPort;
      ports.push({ tx: txPort, rx: rxPort });
      if (split) {
        written[`${prefix}event-channel-tx`] = txPort;
        written[`${prefix}event-channel-rx`] = rxPort;
      } else {
        written[`${prefix}event-channel`] = txPort;
      }
    }
    return {
      ...written,
      ...options.nodes,
    };
  }
  const device = createFrontendDevice({
    store,
    ...nodes,
    driver: { setUp, connected: () => undefined, closing: () => undefined },
  });
  guest.settle();

  const front: ScriptedFront = {
    store,
    ...nodes,
    guest,
    link,
    backend,
    device,
    log,
    get tx() {
      return tx;
    },
    get rx() {
      return rx;
    },
    get ports() {
      return ports;
    },
    get ringBytes() {
      return ringBytes;
    },
    put(request, queue = 0) {
      tx[queue]?.put((view) => {
        view.setUint32(0, request.gref ?? 0, true);
        view.setUint16(4, request.offset ?? 0, true);
        view.setUint16(6, request.flags ?? 0, true);
        view.setUint16(8, request.id ?? 0, true);
        view.setUint16(10, request.size ?? 0, true);
      });
    },
    putExtra(bytes, queue = 0) {
      tx[queue]?.put((view) => bytes.forEach((byte, at) => view.setUint8(at, byte)));
    },
    kick(queue = 0) {
      tx[queue]?.publish();
      guest.send(ports[queue]?.tx ?? 0);
    },
    sendFrame(bytes, flags = 0, queue = 0) {
      const page = front.page(bytes);
      front.put({ gref: page.ref, size: bytes.length, flags, id: ++lastId & 0xffff }, queue);
      front.kick(queue);
    },
    txResponses(queue = 0) {
      const answers: [number, number][] = [];
      for (let view = tx[queue]?.take(); view; view = tx[queue]?.take()) {
        answers.push([view.getUint16(0, true), view.getInt16(2, true)]);
      }
      tx[queue]?.rest();
      return answers;
    },
    leave(count, queue = 0) {
      for (let i = 0; i < count; i++) {
        const page = guest.grant('write');
        const id = ++lastId & 0xffff;
        left.set(id, page);
        rx[queue]?.put((view) => {
          view.setUint16(0, id, true);
          view.setUint32(4, page.ref, true);
        });
      }
      rx[queue]?.publish();
      guest.send(ports[queue]?.rx ?? 0);
    },
    received(queue = 0) {
      const frames: Received[] = [];
      const next = (): DataView | undefined => rx[queue]?.take();
      for (let view = next(); view; view = next()) {
        const flags = view.getUint16(4, true);
        let gso: Received['gso'];
        const pieces: Uint8Array[] = [];
        for (let part: DataView = view, first = true; ; first = false) {
          const status = part.getInt16(6, true);
          const page = left.get(part.getUint16(0, true));
          if (status < 0 || !page) throw new Error(`a response has the status ${status}`);
          pieces.push(page.bytes().slice(part.getUint16(2, true), part.getUint16(2, true) + status));
          if (first && flags & NETRXF.extra_info) {
            const extra = next();
            gso = { size: extra?.getUint16(2, true) ?? 0, type: extra?.getUint8(4) ?? 0 };
          }
          if (!(part.getUint16(4, true) & NETRXF.more_data)) break;
          part = next() ?? part;
        }
        frames.push({ bytes: Uint8Array.from(pieces.flatMap((piece) => [...piece])), flags, ...(gso && { gso }) });
      }
      rx[queue]?.rest();
      return frames;
    },
    page(content, access = 'write') {
      const page = guest.grant(access);
      if (content) page.bytes().set(content);
      return page;
    },
    idle() {
      const actions = waiting.splice(0);
      for (const action of actions) action();
      return actions.length;
    },
  };
  return front;
}
