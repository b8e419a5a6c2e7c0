/** A guest for tests: a station that sends what it is told and reads what comes. Its TCP is ours, or made by hand. */
import { allOffloads, type Frame, type Link, type LinkUser, noOffloads, parseMac } from '@paravane/link-api';
import { address, type IpAddress } from '../address.js';
import { get16, put16 } from '../bytes.js';
import { checksumHolds, pseudoHeaderSum } from '../checksum.js';
import { EtherType, ethernetHeaderBytes } from '../ethernet.js';
import { type IpPacket, newPacket, Protocol, parseIp } from '../ip.js';
import { writeChecksum } from '../offload.js';
import { createTcpConnection, type TcpConnection, type TcpOptions, type TcpUser } from '../tcp/connection.js';
import { type NewSegment, parseSegment, putSegment, type Segment, tcpHeaderBytes } from '../tcp/segment.js';
import type { ManualClock } from './manual-clock.js';

export interface TestGuestOptions {
  readonly link: Link;
  readonly clock: ManualClock;
  readonly mac?: string;
  readonly ip?: string;
  readonly gatewayMac?: Uint8Array;
  readonly offloads?: boolean;
  /** Says whether a frame is lost on its way. */
  lose?(frame: Frame): boolean;
}

export interface TestGuest {
  readonly mac: Uint8Array;
  readonly ip: IpAddress;
  readonly frames: Frame[];
  /** What came, as IP packets. */
  packets(): IpPacket[];
  send(...frames: Frame[]): void;
  ip4(protocol: number, to: string, payload: Uint8Array, from?: string): Uint8Array;
  udp(to: string, port: number, data: Uint8Array, sourcePort?: number): void;
  /** Datagrams that came: from where, to which port, what. */
  datagrams(): { from: string; sourcePort: number; port: number; data: Uint8Array }[];
  segment(
    to: string,
    ports: { source: number; destination: number },
    segment: Partial<NewSegment>,
    data?: Uint8Array,
  ): void;
  segments(): Segment[];
  /** A connection of our own TCP. */
  connect(to: string, port: number, user: TcpUser, more?: Partial<TcpOptions>): TcpConnection;
  /** Listens: SYNs to the port make connections. */
  listen(port: number, onConnection: (connection: TcpConnection) => TcpUser): void;
  /** Frames taken from now on; undefined is all. */
  room: number | undefined;
}

export function createTestGuest(options: TestGuestOptions): TestGuest {
  const { link, clock } = options;
  const mac = parseMac(options.mac ?? '00:16:3e:00:00:01');
  const ip = address(options.ip ?? '10.0.2.15');
  const gatewayMac = options.gatewayMac ?? parseMac(link.mac ?? '52:54:00:12:35:02');
  const frames: Frame[] = [];
  const connections = new Map<string, TcpConnection>();
  const listeners = new Map<number, (connection: TcpConnection) => TcpUser>();
  let nextPort = 40000;

  const lost = (frame: Frame): boolean => options.lose?.(frame) ?? false;
  const send = (...batch: Frame[]): void => void link.send(batch.filter((frame) => !lost(frame)));

  function ipFrame(protocol: number, to: IpAddress, payload: Uint8Array, from = ip): { frame: Uint8Array; at: number } {
    const { frame, payload: at } = newPacket({
      toMac: gatewayMac,
      fromMac: mac,
      source: from,
      destination: to,
      protocol,
      payloadBytes: payload.length,
    });
    frame.set(payload, at);
    return { frame, at };
  }

  function tcpFrame(to: IpAddress, ports: { source: number; destination: number }, segment: NewSegment): Frame {
    const payload = new Uint8Array(tcpHeaderBytes(segment) + segment.length);
    putSegment(payload, 0, ports, segment);
    const { frame, at } = ipFrame(Protocol.tcp, to, payload);
    if (segment.segmentSize === undefined) {
      writeChecksum(frame, ethernetHeaderBytes, at, frame.length, Protocol.tcp);
      return { bytes: frame };
    }
    put16(frame, at + 16, pseudoHeaderSum(frame, ethernetHeaderBytes, Protocol.tcp, payload.length));
    return {
      bytes: frame,
      checksum: 'blank',
      gso: { type: to.version === 4 ? 'tcp4' : 'tcp6', size: segment.segmentSize },
    };
  }

  function connection(
    to: IpAddress,
    ports: { source: number; destination: number },
    user: TcpUser,
    more: Partial<TcpOptions> = {},
  ): TcpConnection {
    const key = `${to.text} ${ports.destination} ${ports.source}`;
    const made = createTcpConnection({
      clock,
      initialSequence: 0xfffff000 + nextPort,
      mss: 1460,
      largestSend: () => (options.offloads ? 64000 : 1460),
      path: {
        ready: true,
        send(segment) {
          const frame = tcpFrame(to, ports, segment);
          clock.schedule(0, () => send(frame));
        },
      },
      user: {
        ...user,
        closed(reason) {
          connections.delete(key);
          user.closed(reason);
        },
      },
      ...more,
    });
    connections.set(key, made);
    return made;
  }

  function receiveTcp(packet: IpPacket): void {
    const segment = parseSegment(packet.bytes, packet.payload, packet.end);
    if (!segment) return;
    const ports = { source: segment.destinationPort, destination: segment.sourcePort };
    const key = `${packet.source.text} ${segment.sourcePort} ${segment.destinationPort}`;
    const known = connections.get(key);
    if (known) {
      known.segment(segment);
      known.flushAck();
      return;
    }
    const listener = listeners.get(segment.destinationPort);
    if (!listener || segment.flags !== 2) return;
    const heir: { user?: TcpUser } = {};
    const made = connection(packet.source, ports, {
      data: (bytes) => heir.user?.data(bytes),
      ended: () => heir.user?.ended(),
      connected: () => heir.user?.connected?.(),
      writable: () => heir.user?.writable?.(),
      closed: (reason) => heir.user?.closed(reason),
    });
    heir.user = listener(made);
    made.hold(segment);
    made.accept();
  }

  /** What a driver would not believe: a frame that claims more than is true of it. */
  function check(frame: Frame): void {
    const packet = get16(frame.bytes, 12) === EtherType.arp ? undefined : parseIp(frame.bytes, ethernetHeaderBytes);
    if (!packet || packet.fragment || (packet.protocol !== Protocol.tcp && packet.protocol !== Protocol.udp)) return;
    const pseudo = pseudoHeaderSum(packet.bytes, packet.header, packet.protocol, packet.end - packet.payload);
    const holds = checksumHolds(packet.bytes, packet.payload, packet.end, pseudo);
    if (frame.checksum !== 'blank' && !holds) throw new Error('a frame with a wrong checksum came');
  }

  const guest: TestGuest = {
    mac,
    ip,
    frames,
    room: undefined,
    send,
    packets: () => frames.flatMap(({ bytes }) => parseIp(bytes, ethernetHeaderBytes) ?? []),
    ip4: (protocol, to, payload, from) => ipFrame(protocol, address(to), payload, from ? address(from) : ip).frame,
    udp(to, port, data, sourcePort = 5555) {
      const payload = new Uint8Array(8 + data.length);
      put16(payload, 0, sourcePort);
      put16(payload, 2, port);
      put16(payload, 4, payload.length);
      payload.set(data, 8);
      const { frame, at } = ipFrame(Protocol.udp, address(to), payload);
      writeChecksum(frame, ethernetHeaderBytes, at, frame.length, Protocol.udp);
      send({ bytes: frame });
    },
    datagrams: () =>
      guest
        .packets()
        .filter(({ protocol, fragment }) => protocol === Protocol.udp && !fragment)
        .map(({ bytes, payload, end, source }) => ({
          from: source.text,
          sourcePort: get16(bytes, payload),
          port: get16(bytes, payload + 2),
          data: bytes.slice(payload + 8, end),
        })),
    segment(to, ports, segment, data = new Uint8Array(0)) {
      const whole: NewSegment = {
        sequence: 0,
        acknowledgment: 0,
        flags: 0,
        window: 65535,
        length: data.length,
        copyData: (target, at) => target.set(data, at),
        ...segment,
      };
      send(tcpFrame(address(to), ports, whole));
    },
    segments: () =>
      guest
        .packets()
        .filter(({ protocol }) => protocol === Protocol.tcp)
        .flatMap(({ bytes, payload, end }) => parseSegment(bytes, payload, end) ?? []),
    connect(to, port, user, more) {
      const made = connection(address(to), { source: ++nextPort, destination: port }, user, more);
      made.open();
      return made;
    },
    listen: (port, onConnection) => void listeners.set(port, onConnection),
  };
  const user: LinkUser = {
    offloads: options.offloads ? allOffloads : noOffloads,
    send(batch) {
      const taken = batch.slice(0, guest.room ?? batch.length);
      if (guest.room !== undefined) guest.room -= taken.length;
      for (const frame of taken) {
        check(frame);
        frames.push(frame);
        if (lost(frame)) continue;
        const packet = get16(frame.bytes, 12) === EtherType.arp ? undefined : parseIp(frame.bytes, ethernetHeaderBytes);
        if (packet?.protocol === Protocol.tcp) clock.schedule(0, () => receiveTcp(packet));
      }
      return taken.length;
    },
    resume: () => undefined,
  };
  link.attach(user);
  return guest;
}
