/**
 * IP headers, version 4 (RFC 791) and 6 (RFC 8200). What `parseIp` returns is validated: all offsets lie within the
 * bytes. Options and extension headers are stepped over, not followed.
 */
import { type IpAddress, ipAddress } from './address.js';
import { get16, put16 } from './bytes.js';
import { checksum, checksumHolds } from './checksum.js';
import { EtherType, ethernetHeaderBytes, putEthernet } from './ethernet.js';

export const Protocol = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;

export interface FragmentPlace {
  readonly id: number;
  /** Bytes. */
  readonly offset: number;
  readonly more: boolean;
}

export interface IpPacket {
  readonly version: 4 | 6;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly hopLimit: number;
  readonly bytes: Uint8Array;
  /** Where the header starts in `bytes`. */
  readonly header: number;
  /** Where the payload starts in `bytes`, and ends. */
  readonly payload: number;
  readonly end: number;
  /** Present where it is a fragment. */
  readonly fragment?: FragmentPlace;
}

/** The packet that starts at `at`; undefined if its header makes no sense. */
export function parseIp(bytes: Uint8Array, at: number): IpPacket | undefined {
  const version = (bytes[at] ?? 0) >> 4;
  if (version === 4) return parseIpv4(bytes, at);
  if (version === 6) return parseIpv6(bytes, at);
  return undefined;
}

function parseIpv4(bytes: Uint8Array, at: number): IpPacket | undefined {
  if (bytes.length - at < 20) return undefined;
  const headerBytes = ((bytes[at] as number) & 15) * 4;
  const claimedLength = get16(bytes, at + 2);
  if (headerBytes < 20 || claimedLength < headerBytes || claimedLength > bytes.length - at) return undefined;
  if (!checksumHolds(bytes, at, at + headerBytes)) return undefined;
  const placement = get16(bytes, at + 6);
  const offset = (placement & 0x1fff) * 8;
  const more = (placement & 0x2000) !== 0;
  return {
    version: 4,
    source: ipAddress(bytes.subarray(at + 12, at + 16)),
    destination: ipAddress(bytes.subarray(at + 16, at + 20)),
    protocol: bytes[at + 9] as number,
    hopLimit: bytes[at + 8] as number,
    bytes,
    header: at,
    payload: at + headerBytes,
    end: at + claimedLength,
    ...((more || offset > 0) && { fragment: { id: get16(bytes, at + 4), offset, more } }),
  };
}

const extensionHeaders = new Set([0, 43, 60]);
const fragmentHeader = 44;
const mostExtensionHeaders = 8;

function parseIpv6(bytes: Uint8Array, at: number): IpPacket | undefined {
  if (bytes.length - at < 40) return undefined;
  const end = at + 40 + get16(bytes, at + 4);
  if (end > bytes.length) return undefined;
  let protocol = bytes[at + 6] as number;
  let payload = at + 40;
  let fragment: FragmentPlace | undefined;
  for (let count = 0; extensionHeaders.has(protocol) || protocol === fragmentHeader; count++) {
    if (count === mostExtensionHeaders || payload + 8 > end) return undefined;
    if (protocol === fragmentHeader) {
      if (fragment) return undefined;
      const placement = get16(bytes, payload + 2);
      const id = get16(bytes, payload + 4) * 0x10000 + get16(bytes, payload + 6);
      fragment = { id, offset: placement & 0xfff8, more: (placement & 1) === 1 };
    }
    const headerBytes = protocol === fragmentHeader ? 8 : 8 + (bytes[payload + 1] as number) * 8;
    protocol = bytes[payload] as number;
    payload += headerBytes;
    if (payload > end) return undefined;
    // Behind the header of a later fragment come bytes of the middle of something.
    if (fragment && fragment.offset > 0) break;
  }
  return {
    version: 6,
    source: ipAddress(bytes.subarray(at + 8, at + 24)),
    destination: ipAddress(bytes.subarray(at + 24, at + 40)),
    protocol,
    hopLimit: bytes[at + 7] as number,
    bytes,
    header: at,
    payload,
    end,
    // An atomic fragment (RFC 6946) is a whole packet.
    ...(fragment && (fragment.more || fragment.offset > 0) && { fragment }),
  };
}

export interface NewPacket {
  readonly toMac: Uint8Array;
  readonly fromMac: Uint8Array;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly payloadBytes: number;
  readonly hopLimit?: number;
  /** IPv4: the identification, and where in the datagram its payload belongs (the flags and offset word). */
  readonly id?: number;
  readonly placement?: number;
}

export const ipHeaderBytes = (version: 4 | 6): number => (version === 4 ? 20 : 40);

/** A frame with its Ethernet and IP headers complete; the payload, from the returned offset on, is zero. */
export function newPacket(packet: NewPacket): { frame: Uint8Array; payload: number } {
  const { source, destination, payloadBytes } = packet;
  const at = ethernetHeaderBytes;
  const payload = at + ipHeaderBytes(source.version);
  const frame = new Uint8Array(payload + payloadBytes);
  putEthernet(frame, packet.toMac, packet.fromMac, source.version === 4 ? EtherType.ipv4 : EtherType.ipv6);
  if (source.version === 4) {
    frame[at] = 0x45;
    put16(frame, at + 2, 20 + payloadBytes);
    put16(frame, at + 4, packet.id ?? 0);
    put16(frame, at + 6, packet.placement ?? 0x4000);
    frame[at + 8] = packet.hopLimit ?? 64;
    frame[at + 9] = packet.protocol;
    frame.set(source.bytes, at + 12);
    frame.set(destination.bytes, at + 16);
    put16(frame, at + 10, checksum(frame, at, payload));
  } else {
    frame[at] = 0x60;
    put16(frame, at + 4, payloadBytes);
    frame[at + 6] = packet.protocol;
    frame[at + 7] = packet.hopLimit ?? 64;
    frame.set(source.bytes, at + 8);
    frame.set(destination.bytes, at + 24);
  }
  return { frame, payload };
}
