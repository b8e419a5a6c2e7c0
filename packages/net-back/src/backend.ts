/**
 * A PV network interface's back end: what it offers in the store, and the rings that it serves while a front end is
 * connected (public/io/netif.h). It knows its front end as a `Peer`, the world as a `Link`, and nothing of the machine.
 */
import type { DeviceStore, HostWork, Peer } from '@paravane/driver-api';
import { type Frame, type Link, noOffloads, type Offloads } from '@paravane/link-api';
import { type BackendDevice, createBackendDevice, readNumber } from '@paravane/xenbus';
import { createCredit, noLimit, type RateLimit } from './credit.js';
import { type NetQueue, openNetQueue } from './queue.js';
import { createNetStats, type NetStats } from './stats.js';

export interface NetBackendOptions {
  readonly store: DeviceStore;
  /** Paths of the device's two sets of nodes, which are there. */
  readonly back: string;
  readonly front: string;
  readonly peer: Peer;
  /** Has no user yet. */
  readonly link: Link;
  readonly work: HostWork;
  /** Pairs of rings at most; 1 if not given. */
  readonly queues?: number;
  /** Of what the guest sends, all queues together; none if not given. */
  readonly rate?: RateLimit;
  /** The front end has closed, and the toolstack wants the device gone. */
  readonly onRemoved?: () => void;
  readonly log?: (message: string) => void;
}

export interface NetBackend {
  readonly device: BackendDevice;
  readonly stats: Readonly<NetStats>;
  /** Whether a front end is connected. */
  readonly connected: boolean;
  /** Ends the service. The link stays open. */
  close(): void;
}

const MOST_REF = 0xffffffff;
/** What a front end does wrong that is told; a guest can cause as much as it likes. */
const MOST_LOGGED = 20;
const MOST_GROUPS = 64;
/** Bytes of a frame whose front end has no scatter-gather: what a page holds. */
const MOST_UNSPLIT = 4096;

const offer = (queues: number): Record<string, string | number> => ({
  'feature-sg': 1,
  'feature-gso-tcpv4': 1,
  'feature-gso-tcpv6': 1,
  'feature-ipv6-csum-offload': 1,
  'feature-rx-copy': 1,
  'feature-rx-flip': 0,
  'feature-split-event-channels': 1,
  'feature-multicast-control': 1,
  'multi-queue-max-queues': queues,
});

type Read = (name: string) => string | undefined;

function offloadsOf(read: Read): Offloads {
  const sg = read('feature-sg') === '1';
  const blankChecksum = read('feature-no-csum-offload') !== '1' && read('feature-ipv6-csum-offload') === '1';
  const gso = (name: string): boolean => sg && blankChecksum && read(name) === '1';
  return { blankChecksum, gso4: gso('feature-gso-tcpv4'), gso6: gso('feature-gso-tcpv6') };
}

const hex = (bytes: Uint8Array, length: number): string => Array.from(bytes.subarray(0, length)).join(' ');

export function createNetBackend(options: NetBackendOptions): NetBackend {
  const { store, back, front, peer, link, work, queues: mostQueues = 1 } = options;
  const stats = createNetStats();
  const credit = options.rate === undefined ? noLimit : createCredit(options.rate);
  let logged = 0;
  const log = (message: string): void => {
    if (logged++ < MOST_LOGGED) options.log?.(message);
  };
  let queues: NetQueue[] = [];
  let offloads = noOffloads;
  let scatterGather = false;
  /** The groups that the front end wants; undefined for all. */
  let groups: Set<string> | undefined;
  let connecting = false;
  let brokenEarly: string | undefined;
  let closed = false;

  function onGroup(add: boolean, address: Uint8Array): void {
    const group = hex(address, 6);
    if (!add) groups?.delete(group);
    else if (groups && groups.size < MOST_GROUPS) groups.add(group);
  }

  function broken(why: string): void {
    if (connecting) brokenEarly = why;
    else device.fail(why);
  }

  function disconnect(): void {
    for (const queue of queues) queue.close();
    queues = [];
    offloads = noOffloads;
    // Whoever waits for room here need not wait any more: frames are dropped now.
    link.resume();
  }

  function connect(read: Read): string | undefined {
    connecting = true;
    brokenEarly = undefined;
    const wrong = openQueues(read) ?? brokenEarly;
    connecting = false;
    return wrong;
  }

  function openQueues(read: Read): string | undefined {
    if (read('request-rx-copy') !== '1')
      return 'the front end asks for pages to be exchanged: it must set request-rx-copy';
    const claimedQueues = read('multi-queue-num-queues');
    const count = claimedQueues === undefined ? 1 : readNumber(claimedQueues, mostQueues);
    if (count === undefined || count === 0) return 'multi-queue-num-queues is not among what was offered';
    offloads = offloadsOf(read);
    scatterGather = read('feature-sg') === '1';
    groups = read('request-multicast-control') === '1' ? new Set() : undefined;
    for (let index = 0; index < count; index++) {
      const prefix = count === 1 && read('queue-0/tx-ring-ref') === undefined ? '' : `queue-${index}/`;
      const number = (name: string): number | undefined => readNumber(read(`${prefix}${name}`), MOST_REF);
      const [txRef, rxRef] = [number('tx-ring-ref'), number('rx-ring-ref')];
      const split = read(`${prefix}event-channel-tx`) !== undefined;
      const txPort = number(split ? 'event-channel-tx' : 'event-channel');
      const rxPort = split ? number('event-channel-rx') : undefined;
      if (txRef === undefined || rxRef === undefined || txPort === undefined || (split && rxPort === undefined)) {
        return `${prefix}tx-ring-ref, rx-ring-ref and event channels are not all there`;
      }
      const queue = openNetQueue({
        peer,
        work,
        stats,
        credit,
        txRef,
        rxRef,
        txPort,
        ...(rxPort !== undefined && { rxPort }),
        send: (frames) => link.send(frames),
        onGroup,
        onRoom: () => link.resume(),
        onBroken: broken,
      });
      if (typeof queue === 'string') return queue;
      queues.push(queue);
    }
    return undefined;
  }

  /** Whether the guest can take the frame, and wants it. */
  function wanted({ bytes }: Frame): boolean {
    if (bytes.length > MOST_UNSPLIT && !scatterGather) return false;
    const isGroup = ((bytes[0] ?? 0) & 1) === 1 && !bytes.subarray(0, 6).every((byte) => byte === 0xff);
    return !isGroup || !groups || groups.has(hex(bytes, 6));
  }

  /** The queue of a frame's flow: frames of one flow keep their order. */
  function queueOf({ bytes }: Frame): number {
    if (queues.length === 1) return 0;
    let sum = 0;
    for (let at = 26; at < 38 && at < bytes.length; at++) sum = (sum * 31 + (bytes[at] as number)) >>> 0;
    return sum % queues.length;
  }

  function receive(frames: readonly Frame[]): number {
    for (let at = 0; at < frames.length; ) {
      if (queues.length === 0) return frames.length;
      const frame = frames[at] as Frame;
      if (!wanted(frame)) {
        stats.dropped++;
        at++;
        continue;
      }
      const index = queueOf(frame);
      let end = at + 1;
      while (end < frames.length && wanted(frames[end] as Frame) && queueOf(frames[end] as Frame) === index) end++;
      const given = queues[index]?.receive(frames.slice(at, end), end - at) ?? 0;
      at += given;
      if (at < end) return at;
    }
    return frames.length;
  }

  const device = createBackendDevice({
    store,
    back,
    front,
    offer: () => offer(mostQueues),
    driver: { connect, disconnect },
    log,
    ...(options.onRemoved === undefined ? {} : { onRemoved: options.onRemoved }),
  });
  const stopListening = peer.onGone(() => device.close());
  link.attach({
    get offloads() {
      return offloads;
    },
    send: (frames) => (closed ? frames.length : receive(frames)),
    resume() {
      for (const queue of queues) queue.transmit();
    },
  });

  return {
    device,
    stats,
    get connected() {
      return queues.length > 0;
    },
    close() {
      closed = true;
      credit.close();
      stopListening();
      device.close();
    },
  };
}
