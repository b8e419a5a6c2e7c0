/** Our end of the guests' Ethernet: builds frames from our station, finds guests' stations, cuts large datagrams. */
import type { Frame } from '@paravane/link-api';
import { type IpAddress, isMulticast } from '../address.js';
import { put16, put32 } from '../bytes.js';
import { checksum, pseudoHeaderSum } from '../checksum.js';
import { broadcastMac, ethernetHeaderBytes } from '../ethernet.js';
import { ipHeaderBytes, newPacket, Protocol } from '../ip.js';
import { writeChecksum } from '../offload.js';
import type { Outbox } from '../outbox.js';
import { arpFrame } from './arp.js';
import { neighborSolicitation } from './ndp.js';
import type { Neighbors } from './neighbors.js';
import { plan } from './plan.js';

export interface Lan {
  readonly mac: Uint8Array;
  readonly mtu: number;
  /** Queues a frame for the station of `to`; while it is not known, asks for it and loses the frame. */
  sendTo(to: IpAddress, build: (mac: Uint8Array) => Frame): void;
  sendFrame(frame: Frame): void;
  /** An IP packet with this payload, in fragments where it is too long. ICMPv6 and UDP checksums are written. */
  sendIp(packet: OutPacket): void;
}

export interface OutPacket {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  /** The payload; its checksum field is 0 for UDP and ICMPv6. */
  readonly payload: Uint8Array;
  readonly hopLimit?: number;
  /** The station to send to, where it is known already. */
  readonly toMac?: Uint8Array;
}

export function multicastMac(to: IpAddress): Uint8Array {
  const { bytes } = to;
  if (to.version === 6) return Uint8Array.of(0x33, 0x33, ...bytes.subarray(12));
  return Uint8Array.of(1, 0, 0x5e, (bytes[1] as number) & 0x7f, bytes[2] as number, bytes[3] as number);
}

export interface LanOptions {
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly neighbors: Neighbors;
  readonly outbox: Outbox;
}

export function createLan({ mac, mtu, neighbors, outbox }: LanOptions): Lan {
  let lastId = 0;

  function station(to: IpAddress): Uint8Array | undefined {
    if (isMulticast(to)) return multicastMac(to);
    if (to.text === plan.broadcast4.text || to.text === '255.255.255.255') return broadcastMac;
    return neighbors.find(to);
  }

  function ask(who: IpAddress): void {
    const frame =
      who.version === 4 ? arpFrame('request', mac, plan.gateway4, broadcastMac, who) : neighborSolicitation(mac, who);
    outbox.push([{ bytes: frame }]);
  }

  function sendTo(to: IpAddress, build: (mac: Uint8Array) => Frame): void {
    const found = station(to);
    if (found) outbox.push([build(found)]);
    else ask(to);
  }

  /** The pieces of a payload that is too long for one packet, each in a packet of its own. */
  function fragments(packet: OutPacket, payload: Uint8Array, toMac: Uint8Array): Frame[] {
    const { source, destination, protocol } = packet;
    const version6 = source.version === 6;
    const extra = version6 ? 8 : 0;
    const room = (mtu - ipHeaderBytes(source.version) - extra) & ~7;
    const id = ++lastId & 0xffff;
    const frames: Frame[] = [];
    for (let at = 0; at < payload.length; at += room) {
      const piece = payload.subarray(at, at + room);
      const more = at + piece.length < payload.length;
      const { frame, payload: start } = newPacket({
        toMac,
        fromMac: mac,
        source,
        destination,
        protocol: version6 ? 44 : protocol,
        payloadBytes: piece.length + extra,
        id,
        placement: (more ? 0x2000 : 0) | (at / 8),
      });
      if (version6) {
        frame[start] = protocol;
        put16(frame, start + 2, at | (more ? 1 : 0));
        put32(frame, start + 4, id);
      }
      frame.set(piece, start + extra);
      frames.push({ bytes: frame });
    }
    return frames;
  }

  function sendIp(packet: OutPacket): void {
    const { source, destination, protocol, payload } = packet;
    const toMac = packet.toMac ?? station(destination);
    if (!toMac) return ask(destination);
    const { frame, payload: at } = newPacket({
      toMac,
      fromMac: mac,
      source,
      destination,
      protocol,
      payloadBytes: payload.length,
      ...(packet.hopLimit !== undefined && { hopLimit: packet.hopLimit }),
      id: ++lastId & 0xffff,
    });
    frame.set(payload, at);
    if (protocol === Protocol.udp) writeChecksum(frame, ethernetHeaderBytes, at, frame.length, protocol);
    if (protocol === Protocol.icmp6) {
      const pseudo = pseudoHeaderSum(frame, ethernetHeaderBytes, protocol, payload.length);
      put16(frame, at + 2, checksum(frame, at, frame.length, pseudo));
    }
    if (frame.length - ethernetHeaderBytes <= mtu) outbox.push([{ bytes: frame }]);
    else outbox.push(fragments(packet, frame.subarray(at), toMac));
  }

  return { mac, mtu, sendTo, sendFrame: (frame) => outbox.push([frame]), sendIp };
}
