/**
 * TCP between guests and the host's sockets. A guest's connection ends here and goes on in a host's stream; nothing is
 * answered to its SYN before the host's connection stands. What one side does not read, the other is not sent: bytes
 * count against the guest's window until the host has taken them, and the host's stream pauses while the guest's is
 * full. The number of connections and of those half open is bounded, for each guest station and in all.
 */
import type { Frame, Offloads } from '@paravane/link-api';
import type { IpAddress } from '../address.js';
import { put16 } from '../bytes.js';
import { pseudoHeaderSum } from '../checksum.js';
import type { NetworkClock } from '../clock.js';
import { ethernetHeaderBytes, macKey } from '../ethernet.js';
import type { HostEndpoint, HostListener, HostNet, HostStream, HostStreamUser } from '../host-net.js';
import { ipHeaderBytes, newPacket, Protocol } from '../ip.js';
import { writeChecksum } from '../offload.js';
import type { Outbox } from '../outbox.js';
import { createTcpConnection, type TcpConnection } from '../tcp/connection.js';
import { Flag, type NewSegment, putSegment, type Segment, tcpHeaderBytes } from '../tcp/segment.js';
import { createSpareRings } from '../tcp/send-buffer.js';
import { advance } from '../tcp/sequence.js';
import type { Lan } from './lan.js';
import { plan } from './plan.js';

export interface TcpRelay {
  fromGuest(arrival: TcpArrival): void;
  publish(at: HostEndpoint, guest: { readonly address: IpAddress; readonly port: number }): Promise<HostListener>;
  /** The link has room again. */
  pump(): void;
  /** Sends the acknowledgments that a batch left due. */
  flushAcks(): void;
  readonly connections: number;
  /** Bytes held in all buffers. */
  readonly held: number;
  close(): void;
}

export interface TcpArrival {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly segment: Segment;
  readonly mac: Uint8Array;
  /** Opens the host's side; undefined where the guest may not go there. */
  readonly open: ((user: HostStreamUser) => HostStream) | undefined;
}

export interface TcpRelayOptions {
  readonly clock: NetworkClock;
  readonly lan: Lan;
  readonly outbox: Outbox;
  readonly host: HostNet;
  random(): number;
  offloads(): Offloads;
  batch(run: () => void): void;
  readonly limits?: Partial<TcpLimits>;
}

export interface TcpLimits {
  readonly connections: number;
  readonly connectionsOfOne: number;
  readonly halfOpenOfOne: number;
}

const defaultLimits: TcpLimits = { connections: 2048, connectionsOfOne: 768, halfOpenOfOne: 256 };
/** With more connections than this, later ones get smaller buffers. */
const manyConnections = 64;
const buffers = { few: 256 << 10, many: 64 << 10 } as const;
const firstGatewayPort = 32768;
const largestPayload = 65535 - 60;

interface Entry {
  readonly key: string;
  readonly station: number;
  readonly connection: TcpConnection;
  stream: HostStream | undefined;
  /** From the host, not yet taken by the connection. */
  readonly pending: Uint8Array[];
  hostEnded: boolean;
  halfOpen: boolean;
}

interface Ends {
  readonly guest: IpAddress;
  readonly guestPort: number;
  readonly far: IpAddress;
  readonly farPort: number;
}

const keyOf = ({ guest, guestPort, far, farPort }: Ends): string => `${guest.text} ${guestPort} ${far.text} ${farPort}`;

export function createTcpRelay(options: TcpRelayOptions): TcpRelay {
  const { clock, lan, outbox, host, batch } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const entries = new Map<string, Entry>();
  const touched = new Set<Entry>();
  const spareRings = createSpareRings();
  const listeners = new Set<HostListener>();
  let nextGatewayPort = firstGatewayPort + Math.floor(options.random() * 16384);
  let closed = false;

  /** A segment as a frame for the guest. */
  function frameOf(ends: Ends, segment: NewSegment, toMac: Uint8Array): Frame {
    const { frame, payload } = newPacket({
      toMac,
      fromMac: lan.mac,
      source: ends.far,
      destination: ends.guest,
      protocol: Protocol.tcp,
      payloadBytes: tcpHeaderBytes(segment) + segment.length,
    });
    putSegment(frame, payload, { source: ends.farPort, destination: ends.guestPort }, segment);
    const size = segment.segmentSize;
    if (!options.offloads().blankChecksum && size === undefined) {
      writeChecksum(frame, ethernetHeaderBytes, payload, frame.length, Protocol.tcp);
      return { bytes: frame, checksum: 'verified' };
    }
    put16(frame, payload + 16, pseudoHeaderSum(frame, ethernetHeaderBytes, Protocol.tcp, frame.length - payload));
    const type = ends.guest.version === 4 ? 'tcp4' : 'tcp6';
    return { bytes: frame, checksum: 'blank', ...(size !== undefined && { gso: { type, size } }) };
  }

  function countOf(station: number): { all: number; halfOpen: number } {
    let all = 0;
    let halfOpen = 0;
    for (const entry of entries.values()) {
      if (entry.station !== station) continue;
      all++;
      if (entry.halfOpen) halfOpen++;
    }
    return { all, halfOpen };
  }

  /** Whether there is room for one more; a connection that only waits for stray segments makes room. */
  function hasRoom(station: number): boolean {
    const { all, halfOpen } = countOf(station);
    if (halfOpen >= limits.halfOpenOfOne) return false;
    if (all < limits.connectionsOfOne && entries.size < limits.connections) return true;
    for (const entry of entries.values()) {
      if (entry.connection.state !== 'time-wait' || entry.station !== station) continue;
      entry.connection.abort();
      return true;
    }
    return false;
  }

  /** Hands what the host sent to the connection, as far as it goes. */
  function push(entry: Entry): void {
    const { pending, connection, stream } = entry;
    while (pending.length > 0) {
      const first = pending[0] as Uint8Array;
      const taken = connection.write(first);
      if (taken < first.length) {
        pending[0] = first.subarray(taken);
        stream?.pause();
        return;
      }
      pending.shift();
    }
    if (entry.hostEnded) connection.end();
    else stream?.resume();
  }

  function newEntry(ends: Ends, station: number, mac: Uint8Array | undefined): Entry {
    const key = keyOf(ends);
    const size = entries.size < manyConnections ? buffers.few : buffers.many;
    const mss = lan.mtu - ipHeaderBytes(ends.guest.version) - 20;
    const gso = ends.guest.version === 4 ? 'gso4' : 'gso6';
    const connection = createTcpConnection({
      clock,
      initialSequence: Math.floor(options.random() * 0x100000000),
      mss,
      largestSend: () => (options.offloads()[gso] ? largestPayload : mss),
      receiveBuffer: size,
      sendBuffer: size,
      spareRings,
      path: {
        get ready() {
          return outbox.hasRoom;
        },
        send(segment) {
          if (mac) outbox.push([frameOf(ends, segment, mac)]);
          else lan.sendTo(ends.guest, (found) => frameOf(ends, segment, found));
        },
      },
      user: {
        connected() {
          entry.halfOpen = false;
          push(entry);
        },
        data(bytes) {
          entry.stream?.write(bytes, () => batch(() => connection.consumed(bytes.length)));
        },
        ended: () => entry.stream?.end(),
        writable: () => push(entry),
        closed(reason) {
          if (entries.get(key) === entry) entries.delete(key);
          touched.delete(entry);
          entry.pending.length = 0;
          // In the end of both halves the host's stream finishes by itself.
          if (reason !== 'done') entry.stream?.destroy();
        },
      },
    });
    const entry: Entry = { key, station, connection, stream: undefined, pending: [], hostEnded: false, halfOpen: true };
    entries.set(key, entry);
    return entry;
  }

  /** What the host's stream tells goes to the connection. */
  function streamUser(entry: Entry): HostStreamUser {
    const { connection } = entry;
    return {
      connected: () => batch(() => connection.accept()),
      data: (bytes) =>
        batch(() => {
          if (connection.state === 'closed') return;
          entry.pending.push(bytes);
          if (entry.pending.length === 1) push(entry);
          else entry.stream?.pause();
        }),
      ended: () =>
        batch(() => {
          entry.hostEnded = true;
          if (entry.pending.length === 0 && !entry.halfOpen) connection.end();
        }),
      closed: (failure) =>
        batch(() => {
          if (failure) connection.abort();
          else connection.release();
        }),
    };
  }

  /** The answer to a segment for nobody (RFC 9293, 3.10.7.1). */
  function refuse({ source, destination, segment, mac }: TcpArrival): void {
    if (segment.flags & Flag.rst) return;
    const acknowledges = (segment.flags & Flag.ack) !== 0;
    const length = segment.data.length + (segment.flags & Flag.syn ? 1 : 0) + (segment.flags & Flag.fin ? 1 : 0);
    const ends = { guest: source, guestPort: segment.sourcePort, far: destination, farPort: segment.destinationPort };
    const answer: NewSegment = {
      sequence: acknowledges ? segment.acknowledgment : 0,
      acknowledgment: acknowledges ? 0 : advance(segment.sequence, length),
      flags: Flag.rst | (acknowledges ? 0 : Flag.ack),
      window: 0,
      length: 0,
    };
    outbox.push([frameOf(ends, answer, mac)]);
  }

  function openFromGuest(arrival: TcpArrival, ends: Ends): void {
    const { segment, mac, open } = arrival;
    const station = macKey(mac, 0);
    if ((segment.flags & (Flag.syn | Flag.ack | Flag.rst)) !== Flag.syn || !open || segment.destinationPort === 0) {
      return refuse(arrival);
    }
    // A SYN that finds no room is dropped: the guest sends it again.
    if (!hasRoom(station)) return;
    const entry = newEntry(ends, station, mac);
    entry.connection.hold(segment);
    entry.stream = open(streamUser(entry));
  }

  function gatewayPort(guest: IpAddress, port: number): number | undefined {
    for (let tries = 0; tries < 32768; tries++) {
      nextGatewayPort = nextGatewayPort >= 65535 ? firstGatewayPort : nextGatewayPort + 1;
      const ends = { guest, guestPort: port, far: plan.gateway4, farPort: nextGatewayPort };
      if (!entries.has(keyOf(ends))) return nextGatewayPort;
    }
    return undefined;
  }

  const nobody: HostStreamUser = {
    connected: () => undefined,
    data: () => undefined,
    ended: () => undefined,
    closed: () => undefined,
  };

  return {
    fromGuest(arrival) {
      if (closed) return;
      const { source, destination, segment } = arrival;
      const ends = { guest: source, guestPort: segment.sourcePort, far: destination, farPort: segment.destinationPort };
      const key = keyOf(ends);
      let entry = entries.get(key);
      if (entry?.connection.state === 'time-wait' && (segment.flags & (Flag.syn | Flag.ack)) === Flag.syn) {
        entry.connection.abort();
        entry = undefined;
      }
      if (!entry) return openFromGuest(arrival, ends);
      touched.add(entry);
      entry.connection.segment(segment);
    },
    async publish(at, guest) {
      const listener = await host.listenTcp(at, (stream) => {
        const port = gatewayPort(guest.address, guest.port);
        if (closed || port === undefined || entries.size >= limits.connections) {
          stream.destroy();
          return nobody;
        }
        const ends = { guest: guest.address, guestPort: guest.port, far: plan.gateway4, farPort: port };
        const entry = newEntry(ends, -1, undefined);
        entry.stream = stream;
        stream.pause();
        batch(() => entry.connection.open());
        return streamUser(entry);
      });
      listeners.add(listener);
      return {
        port: listener.port,
        close() {
          listeners.delete(listener);
          listener.close();
        },
      };
    },
    pump() {
      for (const [key, entry] of entries) {
        if (!outbox.hasRoom) return;
        entry.connection.pump();
        // Who was served goes to the end of the line.
        if (!outbox.hasRoom && entries.delete(key)) entries.set(key, entry);
      }
    },
    flushAcks() {
      for (const { connection } of touched) connection.flushAck();
      touched.clear();
    },
    get connections() {
      return entries.size;
    },
    get held() {
      let sum = 0;
      for (const { connection, pending } of entries.values()) {
        sum += connection.held + pending.reduce((bytes, { length }) => bytes + length, 0);
      }
      return sum;
    },
    close() {
      closed = true;
      for (const listener of listeners) listener.close();
      listeners.clear();
      for (const entry of [...entries.values()]) entry.connection.abort();
    },
  };
}
