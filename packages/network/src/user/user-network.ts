/**
 * A network for guests that an ordinary program can give them: everything beyond the guests' Ethernet is a socket of
 * the host. Frames are claims of guests, checked here layer by layer; what makes no sense is dropped. Nothing on the
 * host is reachable but what the options allow. All memory is bounded, see the constants of each part.
 */
import {
  type Frame,
  formatMac,
  type Link,
  type LinkUser,
  linkApiVersion,
  linkInUse,
  maxFrameBytes,
  noOffloads,
  parseMac,
} from '@paravane/link-api';
import { type IpAddress, isMulticast, parseIpAddress } from '../address.js';
import { equalBytes, get16 } from '../bytes.js';
import { checksumHolds, pseudoHeaderSum } from '../checksum.js';
import type { NetworkClock } from '../clock.js';
import { EtherType, ethernetHeaderBytes, isGroup, macKey } from '../ethernet.js';
import type { HostNet } from '../host-net.js';
import { type IpPacket, Protocol, parseIp } from '../ip.js';
import { createOutbox } from '../outbox.js';
import { parseSegment } from '../tcp/segment.js';
import { receiveArp } from './arp.js';
import { createDhcp } from './dhcp.js';
import { createDnsForwarder, fitUdp } from './dns.js';
import { createDnsStream } from './dns-stream.js';
import { createFragments } from './fragments.js';
import { createIcmp, icmp6Holds } from './icmp.js';
import { createLan } from './lan.js';
import { advertiseRouter, receiveNdp } from './ndp.js';
import { createNeighbors } from './neighbors.js';
import { type AccessRules, hostAddress, isGuestAddress, leaseAddress, plan } from './plan.js';
import { type Forward, forwardGuest } from './publish.js';
import { createTcpRelay, type TcpLimits } from './tcp-relay.js';
import { createUdpRelay, udpPayload } from './udp-relay.js';

export interface UserNetworkOptions {
  readonly clock: NetworkClock;
  readonly host: HostNet;
  /** 0 to 1. */
  random(): number;
  /** Whether the gateway's ports are the host's loopback services. Default: yes. */
  readonly hostAccess?: boolean;
  /** Whether addresses beyond the host can be reached. Default: yes. */
  readonly outsideAccess?: boolean;
  readonly mtu?: number;
  /** Our own station. */
  readonly mac?: string;
  readonly limits?: Partial<TcpLimits>;
  /**
   * Stations whose DHCP leases are decided beforehand: the address given with it, or the first that is left, in this
   * order. Addresses that are no guest's decide nothing.
   */
  readonly stations?: readonly Station[];
}

export interface Station {
  readonly mac: string;
  readonly address?: string;
}

export interface UserNetworkStats {
  readonly tcpConnections: number;
  readonly udpFlows: number;
  /** Bytes in the buffers of TCP connections. */
  readonly heldBytes: number;
  /** Frames of guests that made no sense or were not for us. */
  readonly ignored: number;
  /** Frames for guests that found no room. */
  readonly dropped: number;
}

export interface UserNetwork extends Link {
  /** Opens a port of the host that leads to a guest's. Rejects with a `ParavaneError` where it can't be had. */
  publish(forward: Forward): Promise<{ readonly port: number; close(): void }>;
  /** The address that DHCP gave to a station. */
  leaseOf(mac: string): string | undefined;
  /** Whether something of the host may yet answer: a connection, a flow or a question to the name server is open. */
  readonly waitsForHost: boolean;
  stats(): UserNetworkStats;
}

/** Of an address that DHCP can give. */
function lastByteOf(text: string): number | undefined {
  const wanted = parseIpAddress(text);
  return wanted?.version === 4 && isGuestAddress(wanted) ? wanted.bytes[3] : undefined;
}

/** Whether a `Station` can have this address: IPv4, and of the network's. Another one is passed over. */
export const canBeLeased = (address: string): boolean => lastByteOf(address) !== undefined;

/** The leases that are kept, by the last byte of the address, with the key of the station. */
function stationsOf(stations: readonly Station[]): Map<number, number> {
  const kept = new Map<number, number>();
  const keyOf = ({ mac }: Station): number => macKey(parseMac(mac), 0);
  for (const station of stations) {
    const last = station.address === undefined ? undefined : lastByteOf(station.address);
    if (last !== undefined && !kept.has(last)) kept.set(last, keyOf(station));
  }
  const named = new Set(kept.values());
  let next: number = plan.firstLease;
  for (const key of stations.map(keyOf)) {
    if (named.has(key)) continue;
    while (kept.has(next)) next++;
    if (next <= plan.lastLease) kept.set(next, key);
  }
  return kept;
}

const defaultMac = '52:54:00:12:35:02';
const advertiseMilliseconds = 600_000;

export function createUserNetwork(options: UserNetworkOptions): UserNetwork {
  const { host, mtu = 1500, hostAccess = true, outsideAccess = true } = options;
  const mac = parseMac(options.mac ?? defaultMac);
  let user: LinkUser | undefined;
  let closed = false;
  let ignored = 0;
  let depth = 0;

  /** What is sent while `run` runs goes out together. */
  function batch(run: () => void): void {
    if (closed) return;
    depth++;
    run();
    if (--depth === 0) outbox.flush();
  }

  const clock: NetworkClock = {
    now: () => options.clock.now(),
    schedule: (delay, run) => options.clock.schedule(delay, () => batch(run)),
  };
  const outbox = createOutbox(() => user, { onRoom: () => batch(() => tcp.pump()) });
  const rules: AccessRules = { hostAccess, outsideAccess, ownAddresses: () => host.ownAddresses() };
  const neighbors = createNeighbors();
  const lan = createLan({ mac, mtu, neighbors, outbox });
  const icmp = createIcmp(lan, clock);
  const dhcp = createDhcp({ clock, neighbors, mtu, kept: stationsOf(options.stations ?? []) });
  const dns = createDnsForwarder(clock, (query) => host.resolve(query));
  const fragments = createFragments(clock);
  const offloads = () => user?.offloads ?? noOffloads;
  const udp = createUdpRelay({ clock, lan, host, batch });
  const tcp = createTcpRelay({
    clock,
    lan,
    outbox,
    host,
    batch,
    offloads,
    random: () => options.random(),
    ...(options.limits && { limits: options.limits }),
  });
  let cancelAdvertising: (() => void) | undefined;

  function advertise(): void {
    advertiseRouter(lan);
    cancelAdvertising = clock.schedule(advertiseMilliseconds, advertise);
  }

  const isDns = (where: IpAddress, port: number): boolean =>
    port === 53 && (where.text === plan.dns4.text || where.text === plan.dns6.text);

  /** Whether a transport checksum is right, or needs not be looked at. */
  function holds(frame: Frame, packet: IpPacket, payload: Uint8Array): boolean {
    if (frame.checksum !== undefined && !packet.fragment) return true;
    const pseudo = pseudoHeaderSum(packet.bytes, packet.header, packet.protocol, payload.length);
    return checksumHolds(payload, 0, payload.length, pseudo);
  }

  function receiveDhcp(message: Uint8Array, fromMac: Uint8Array): void {
    const reply = dhcp.receive(message, fromMac);
    if (!reply) return;
    // Nobody knows the client's address yet, so the frame goes to its station.
    lan.sendIp({
      source: plan.gateway4,
      destination: reply.destination,
      protocol: Protocol.udp,
      payload: udpPayload(67, 68, reply.message),
      toMac: fromMac,
    });
  }

  function receiveUdp(
    frame: Frame,
    packet: IpPacket,
    payload: Uint8Array,
    fromMac: Uint8Array,
    known: boolean,
  ): boolean {
    if (payload.length < 8) return false;
    const claimedLength = get16(payload, 4);
    if (claimedLength < 8 || claimedLength > payload.length) return false;
    const datagram = payload.subarray(0, claimedLength);
    const unchecked = packet.version === 4 && get16(datagram, 6) === 0;
    if (!unchecked && !holds(frame, packet, datagram)) return false;
    const [sourcePort, destinationPort] = [get16(datagram, 0), get16(datagram, 2)];
    const { source, destination } = packet;
    const data = datagram.subarray(8);
    if (packet.version === 4 && sourcePort === 68 && destinationPort === 67) {
      receiveDhcp(data, fromMac);
      return true;
    }
    if (!known || sourcePort === 0 || isMulticast(destination) || destination.text === plan.broadcast4.text)
      return false;
    if (isDns(destination, destinationPort)) {
      dns.query(data, (answer) =>
        batch(() =>
          lan.sendIp({
            source: destination,
            destination: source,
            protocol: Protocol.udp,
            payload: udpPayload(53, sourcePort, fitUdp(data, answer)),
          }),
        ),
      );
      return true;
    }
    const [from, to] = [
      { address: source, port: sourcePort },
      { address: destination, port: destinationPort },
    ];
    const taken = udp.fromGuest(from, to, hostAddress(destination, rules), data);
    if (taken === 'refused') icmp.unreachable(packet, 'prohibited');
    return true;
  }

  function receiveTcp(frame: Frame, packet: IpPacket, payload: Uint8Array, fromMac: Uint8Array): boolean {
    const { source, destination } = packet;
    if (isMulticast(destination) || destination.text === plan.broadcast4.text || !holds(frame, packet, payload))
      return false;
    const segment = parseSegment(payload, 0, payload.length);
    if (!segment) return false;
    const port = segment.destinationPort;
    const outer = hostAddress(destination, rules);
    const toDns = isDns(destination, port);
    tcp.fromGuest({
      source,
      destination,
      segment,
      mac: fromMac,
      open: toDns
        ? (streamUser) => {
            const stream = createDnsStream(dns, streamUser);
            clock.schedule(0, () => streamUser.connected());
            return stream;
          }
        : outer === undefined
          ? undefined
          : (streamUser) => host.connectTcp({ address: outer, port }, streamUser),
    });
    return true;
  }

  /** Whether a guest may send from this address; where it has none yet, it can only ask for one. */
  function receiveIp(frame: Frame, packet: IpPacket, fromMac: Uint8Array): boolean {
    const known = isGuestAddress(packet.source) && neighbors.learn(packet.source, fromMac);
    const unspecified = packet.source.bytes.every((byte) => byte === 0);
    if (!known && !unspecified) return false;
    if (packet.hopLimit === 0) return false;
    const payload = fragments.add(packet);
    if (!payload) return true;
    if (packet.protocol === Protocol.udp) return receiveUdp(frame, packet, payload, fromMac, known);
    if (packet.version === 6 && packet.protocol === Protocol.icmp6) {
      if (payload.length < 4 || !icmp6Holds(packet, payload)) return false;
      if (!receiveNdp(packet, payload, lan, neighbors) && known) icmp.receive(packet, payload);
      return true;
    }
    if (!known) return false;
    if (packet.protocol === Protocol.tcp) return receiveTcp(frame, packet, payload, fromMac);
    if (packet.version === 4 && packet.protocol === Protocol.icmp) {
      icmp.receive(packet, payload);
      return true;
    }
    return false;
  }

  function receive(frame: Frame): boolean {
    const { bytes } = frame;
    if (bytes.length < ethernetHeaderBytes || bytes.length > maxFrameBytes || isGroup(bytes, 6)) return false;
    if (!isGroup(bytes, 0) && !equalBytes(bytes.subarray(0, 6), mac)) return false;
    const etherType = get16(bytes, 12);
    if (etherType === EtherType.arp) {
      receiveArp(bytes, lan, neighbors);
      return true;
    }
    if (etherType !== EtherType.ipv4 && etherType !== EtherType.ipv6) return false;
    const packet = parseIp(bytes, ethernetHeaderBytes);
    if (!packet || (packet.version === 4) !== (etherType === EtherType.ipv4)) return false;
    return receiveIp(frame, packet, bytes.slice(6, 12));
  }

  return {
    apiVersion: linkApiVersion,
    name: 'user network',
    mtu,
    mac: formatMac(mac),
    get carrier() {
      return !closed;
    },
    offloads: { blankChecksum: true, gso4: true, gso6: true },
    attach(newUser) {
      if (user || closed) throw linkInUse('the user network');
      user = newUser;
      batch(advertise);
    },
    send(frames) {
      batch(() => {
        for (const frame of frames) if (!receive(frame)) ignored++;
        tcp.flushAcks();
      });
      return frames.length;
    },
    resume() {
      if (!closed) outbox.resume();
    },
    async publish(forward) {
      const guest = forwardGuest(forward) ?? leaseAddress(plan.firstLease);
      const at = { address: forward.hostAddress, port: forward.hostPort };
      const target = { address: guest, port: forward.guestPort };
      return forward.protocol === 'udp' ? udp.publish(at, target) : tcp.publish(at, target);
    },
    leaseOf: (station) => dhcp.leaseOf(parseMac(station))?.text,
    get waitsForHost() {
      return tcp.connections > 0 || udp.flows > 0 || dns.pending > 0;
    },
    stats: () => ({
      tcpConnections: tcp.connections,
      udpFlows: udp.flows,
      heldBytes: tcp.held,
      ignored,
      dropped: outbox.dropped,
    }),
    close() {
      if (closed) return;
      tcp.close();
      udp.close();
      closed = true;
      cancelAdvertising?.();
      user = undefined;
      outbox.clear();
    },
  };
}
