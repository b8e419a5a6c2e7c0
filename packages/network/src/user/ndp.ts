/** Neighbor discovery (RFC 4861): answers for our addresses, and advertises the prefix and the name server (RFC 8106). */
import { address, type IpAddress, ipAddress } from '../address.js';
import { concat, put16, put32 } from '../bytes.js';
import { checksum, pseudoHeaderSum } from '../checksum.js';
import { ethernetHeaderBytes, isGroup } from '../ethernet.js';
import { type IpPacket, newPacket, Protocol } from '../ip.js';
import type { Lan } from './lan.js';
import type { Neighbors } from './neighbors.js';
import { isGuestAddress, ours6, plan } from './plan.js';

const Type = {
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighborSolicitation: 135,
  neighborAdvertisement: 136,
} as const;
const Option = { sourceMac: 1, targetMac: 2, prefix: 3, mtu: 5, dnsServer: 25 } as const;
const unspecified = address('::').text;
const lifetimeSeconds = 86_400;
const routerLifetimeSeconds = 9000;

const macOption = (type: number, mac: Uint8Array): Uint8Array => Uint8Array.of(type, 1, ...mac);

/** Asks for the station of a guest; to its solicited-node group. */
export function neighborSolicitation(mac: Uint8Array, who: IpAddress): Uint8Array {
  const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...who.bytes.subarray(13));
  const body = concat(
    Uint8Array.of(Type.neighborSolicitation, 0, 0, 0, 0, 0, 0, 0),
    who.bytes,
    macOption(Option.sourceMac, mac),
  );
  const { frame, payload } = newPacket({
    toMac: Uint8Array.of(0x33, 0x33, ...group.subarray(12)),
    fromMac: mac,
    source: plan.linkLocal6,
    destination: ipAddress(group),
    protocol: Protocol.icmp6,
    payloadBytes: body.length,
    hopLimit: 255,
  });
  frame.set(body, payload);
  const pseudo = pseudoHeaderSum(frame, ethernetHeaderBytes, Protocol.icmp6, body.length);
  put16(frame, payload + 2, checksum(frame, payload, frame.length, pseudo));
  return frame;
}

function routerAdvertisement(lan: Lan): Uint8Array {
  const head = new Uint8Array(16);
  head[0] = Type.routerAdvertisement;
  head[4] = 64;
  put16(head, 6, routerLifetimeSeconds);
  const mtu = Uint8Array.of(Option.mtu, 1, 0, 0, 0, 0, 0, 0);
  put32(mtu, 4, lan.mtu);
  const prefix = new Uint8Array(32);
  // On-link and autonomous: guests make their own addresses (RFC 4862).
  prefix.set([Option.prefix, 4, plan.prefix6Bits, 0xc0]);
  put32(prefix, 4, lifetimeSeconds);
  put32(prefix, 8, lifetimeSeconds);
  prefix.set(plan.prefix6.bytes, 16);
  const dns = new Uint8Array(24);
  dns.set([Option.dnsServer, 3]);
  put32(dns, 4, lifetimeSeconds);
  dns.set(plan.dns6.bytes, 8);
  return concat(head, macOption(Option.sourceMac, lan.mac), mtu, prefix, dns);
}

export function advertiseRouter(lan: Lan): void {
  lan.sendIp({
    source: plan.linkLocal6,
    destination: plan.allNodes6,
    protocol: Protocol.icmp6,
    payload: routerAdvertisement(lan),
    hopLimit: 255,
  });
}

/** The address option of a message, from `at` on. */
function findMac(message: Uint8Array, at: number, type: number): Uint8Array | undefined {
  for (let option = at; option + 8 <= message.length; ) {
    const length = (message[option + 1] as number) * 8;
    if (length === 0) return undefined;
    if (message[option] === type && !isGroup(message, option + 2)) return message.slice(option + 2, option + 8);
    option += length;
  }
  return undefined;
}

/** Takes a neighbor discovery message whose checksum holds; false if it is none. */
export function receiveNdp(packet: IpPacket, message: Uint8Array, lan: Lan, neighbors: Neighbors): boolean {
  const type = message[0] as number;
  if (type < Type.routerSolicitation || type > 137) return false;
  // Only a direct neighbor can send 255 (RFC 4861, 11.2).
  if (packet.hopLimit !== 255 || packet.fragment) return true;
  if (type === Type.routerSolicitation) advertiseRouter(lan);
  if (message.length < 24) return true;
  const target = ipAddress(message.subarray(8, 24));
  if (type === Type.neighborAdvertisement) {
    const mac = findMac(message, 24, Option.targetMac);
    if (mac && isGuestAddress(target)) neighbors.learn(target, mac);
  }
  if (type !== Type.neighborSolicitation) return true;
  const asked = packet.source.text !== unspecified;
  const mac = findMac(message, 24, Option.sourceMac);
  if (asked && mac && isGuestAddress(packet.source)) neighbors.learn(packet.source, mac);
  const own = ours6.find(({ text }) => text === target.text);
  if (!own) return true;
  // Router, solicited (where somebody asked in its own name), override.
  const flags = 0x80 | (asked ? 0x40 : 0) | 0x20;
  lan.sendIp({
    source: own,
    destination: asked ? packet.source : plan.allNodes6,
    protocol: Protocol.icmp6,
    payload: concat(
      Uint8Array.of(Type.neighborAdvertisement, 0, 0, 0, flags, 0, 0, 0),
      own.bytes,
      macOption(Option.targetMac, lan.mac),
    ),
    hopLimit: 255,
  });
  return true;
}
