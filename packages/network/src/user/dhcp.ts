/** A DHCP server (RFC 2131, 2132) for one subnet. A station keeps its address as long as it renews it. */
import { type IpAddress, ipAddress } from '../address.js';
import { concat, get16, get32, put16, put32 } from '../bytes.js';
import type { NetworkClock } from '../clock.js';
import { macKey } from '../ethernet.js';
import type { Neighbors } from './neighbors.js';
import { leaseAddress, plan } from './plan.js';

export interface DhcpReply {
  /** The whole BOOTP message. */
  readonly message: Uint8Array;
  /** 255.255.255.255, or the client's own address. */
  readonly destination: IpAddress;
}

export interface Dhcp {
  /** Answers a message that came to port 67; undefined where there is nothing to say. */
  receive(message: Uint8Array, fromMac: Uint8Array): DhcpReply | undefined;
  /** The address of a station. */
  leaseOf(mac: Uint8Array): IpAddress | undefined;
}

const Message = { discover: 1, offer: 2, request: 3, decline: 4, ack: 5, nak: 6, release: 7, inform: 8 } as const;
const Option = {
  subnetMask: 1,
  router: 3,
  dns: 6,
  mtu: 26,
  broadcast: 28,
  requestedAddress: 50,
  leaseTime: 51,
  messageType: 53,
  serverId: 54,
  renewal: 58,
  rebinding: 59,
  end: 255,
} as const;

const headerBytes = 236;
const cookie = 0x63825363;
const leaseSeconds = 86_400;
/** An offer that nobody takes, and an address that a guest found in use, come back after this. */
const offerMilliseconds = 60_000;
const declinedMilliseconds = 600_000;
const broadcastAll = ipAddress(Uint8Array.of(255, 255, 255, 255));

interface Lease {
  readonly last: number;
  readonly station: number;
  until: number;
  confirmed: boolean;
}

/** The options of a message by number, up to the first that makes no sense. */
function parseOptions(message: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = headerBytes + 4; at < message.length; ) {
    const code = message[at] as number;
    if (code === Option.end) break;
    if (code === 0) {
      at++;
      continue;
    }
    const length = message[at + 1];
    if (length === undefined || at + 2 + length > message.length) break;
    options.set(code, message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

export interface DhcpOptions {
  readonly clock: NetworkClock;
  readonly neighbors: Neighbors;
  readonly mtu: number;
  /** Addresses that are kept for a station: their last byte, and the station's key. */
  readonly kept: ReadonlyMap<number, number>;
}

export function createDhcp({ clock, neighbors, mtu, kept }: DhcpOptions): Dhcp {
  const leases = new Map<number, Lease>();

  function forget(lease: Lease): void {
    leases.delete(lease.last);
    neighbors.release(leaseAddress(lease.last));
  }

  function expire(): void {
    for (const lease of leases.values()) if (lease.until <= clock.now()) forget(lease);
  }

  const leaseOf = (station: number): Lease | undefined =>
    [...leases.values()].find((lease) => lease.station === station);

  /** The station's lease, or a free address: the one kept for it, the one it wants, else the first. */
  function choose(station: number, wanted: Uint8Array | undefined): Lease | undefined {
    const old = leaseOf(station);
    if (old) return old;
    const prefers =
      wanted?.length === 4 && wanted.subarray(0, 3).every((byte, i) => byte === plan.prefix4.bytes[i])
        ? wanted[3]
        : undefined;
    const isFree = (last: number): boolean =>
      !leases.has(last) &&
      (kept.has(last) ? kept.get(last) === station : last >= plan.firstLease && last <= plan.lastLease);
    const [own] = [...kept].find(([at, keeper]) => keeper === station && isFree(at)) ?? [];
    let last = own ?? (prefers !== undefined && isFree(prefers) ? prefers : plan.firstLease);
    while (last <= plan.lastLease && !isFree(last)) last++;
    if (last > plan.lastLease) {
      const unconfirmed = [...leases.values()].find(({ confirmed }) => !confirmed);
      if (!unconfirmed) return undefined;
      forget(unconfirmed);
      last = unconfirmed.last;
    }
    const lease = { last, station, until: clock.now() + offerMilliseconds, confirmed: false };
    leases.set(last, lease);
    return lease;
  }

  function reply(request: Uint8Array, type: number, given: IpAddress | undefined): DhcpReply {
    const head = new Uint8Array(headerBytes + 4);
    head.set([2, 1, 6, 0]);
    head.set(request.subarray(4, 8), 4);
    head.set(request.subarray(10, 12), 10);
    const client = ipAddress(request.subarray(12, 16));
    const hasAddress = get32(request, 12) !== 0;
    if (hasAddress && type !== Message.nak) head.set(request.subarray(12, 16), 12);
    if (given) head.set(given.bytes, 16);
    if (type !== Message.nak) head.set(plan.gateway4.bytes, 20);
    head.set(request.subarray(24, 44), 24);
    put32(head, headerBytes, cookie);
    const options: Uint8Array[] = [
      Uint8Array.of(Option.messageType, 1, type),
      Uint8Array.of(Option.serverId, 4, ...plan.gateway4.bytes),
    ];
    const seconds = (code: number, value: number): Uint8Array => {
      const option = Uint8Array.of(code, 4, 0, 0, 0, 0);
      put32(option, 2, value);
      return option;
    };
    if (type !== Message.nak) {
      const mtuOption = Uint8Array.of(Option.mtu, 2, 0, 0);
      put16(mtuOption, 2, mtu);
      options.push(
        Uint8Array.of(Option.subnetMask, 4, ...plan.mask4.bytes),
        Uint8Array.of(Option.router, 4, ...plan.gateway4.bytes),
        Uint8Array.of(Option.dns, 4, ...plan.dns4.bytes),
        Uint8Array.of(Option.broadcast, 4, ...plan.broadcast4.bytes),
        mtuOption,
      );
    }
    if (given) {
      options.push(
        seconds(Option.leaseTime, leaseSeconds),
        seconds(Option.renewal, leaseSeconds / 2),
        seconds(Option.rebinding, (leaseSeconds * 7) / 8),
      );
    }
    options.push(Uint8Array.of(Option.end));
    const message = concat(head, ...options);
    const padded = new Uint8Array(Math.max(300, message.length));
    padded.set(message);
    return { message: padded, destination: hasAddress && type !== Message.nak ? client : broadcastAll };
  }

  function request(
    message: Uint8Array,
    station: number,
    mac: Uint8Array,
    options: Map<number, Uint8Array>,
  ): DhcpReply | undefined {
    const server = options.get(Option.serverId);
    const lease = choose(station, options.get(Option.requestedAddress) ?? message.subarray(12, 16));
    if (server && (server.length !== 4 || get32(server, 0) !== get32(plan.gateway4.bytes, 0))) {
      // The client took another server's offer.
      if (lease && !lease.confirmed) forget(lease);
      return undefined;
    }
    const claimed = options.get(Option.requestedAddress) ?? message.subarray(12, 16);
    const given = lease && leaseAddress(lease.last);
    if (!lease || !given || claimed.length !== 4 || get32(claimed, 0) !== get32(given.bytes, 0)) {
      return reply(message, Message.nak, undefined);
    }
    lease.confirmed = true;
    lease.until = clock.now() + leaseSeconds * 1000;
    neighbors.lease(given, mac);
    return reply(message, Message.ack, given);
  }

  return {
    receive(message, fromMac) {
      const valid =
        message.length >= headerBytes + 4 &&
        message[0] === 1 &&
        get16(message, 1) === 0x0106 &&
        get32(message, headerBytes) === cookie;
      if (!valid) return undefined;
      const mac = message.slice(28, 34);
      // A station speaks for itself only.
      if (macKey(mac, 0) !== macKey(fromMac, 0)) return undefined;
      expire();
      const station = macKey(mac, 0);
      const options = parseOptions(message);
      const type = options.get(Option.messageType)?.[0];
      if (type === Message.discover) {
        const lease = choose(station, options.get(Option.requestedAddress));
        return lease && reply(message, Message.offer, leaseAddress(lease.last));
      }
      if (type === Message.request) return request(message, station, mac, options);
      if (type === Message.inform) return reply(message, Message.ack, undefined);
      const lease = leaseOf(station);
      if (lease && type === Message.release) forget(lease);
      if (lease && type === Message.decline) {
        forget(lease);
        leases.set(lease.last, { ...lease, station: -1, until: clock.now() + declinedMilliseconds, confirmed: true });
      }
      return undefined;
    },
    leaseOf(mac) {
      const lease = leaseOf(macKey(mac, 0));
      return lease?.confirmed ? leaseAddress(lease.last) : undefined;
    },
  };
}
