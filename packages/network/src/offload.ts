/**
 * What hardware would do to frames on their way out: completes checksums and cuts segments for an end that can't take
 * them as they are. Frames are claims of a guest; one that isn't what its offload says is dropped or left as it is.
 */
import type { Frame, Offloads } from '@paravane/link-api';
import { get16, get32, put16, put32 } from './bytes.js';
import { checksum, pseudoHeaderSum, udpChecksumField } from './checksum.js';
import { EtherType, ethernetHeaderBytes } from './ethernet.js';
import { type IpPacket, Protocol, parseIp } from './ip.js';

const isIp = (etherType: number): boolean => etherType === EtherType.ipv4 || etherType === EtherType.ipv6;

function ipOf({ bytes }: Frame): IpPacket | undefined {
  if (bytes.length < ethernetHeaderBytes || !isIp(get16(bytes, 12))) return undefined;
  return parseIp(bytes, ethernetHeaderBytes);
}

/** Where the checksum field of a transport header is, within it. */
const checksumField: Readonly<Record<number, number>> = { [Protocol.tcp]: 16, [Protocol.udp]: 6 };

/** Writes the checksum of a TCP or UDP packet whose bytes are ours to change. */
export function writeChecksum(bytes: Uint8Array, ip: number, payload: number, end: number, protocol: number): void {
  const field = payload + (checksumField[protocol] as number);
  put16(bytes, field, 0);
  const value = checksum(bytes, payload, end, pseudoHeaderSum(bytes, ip, protocol, end - payload));
  put16(bytes, field, protocol === Protocol.udp ? udpChecksumField(value) : value);
}

/** The frame with its checksum in it. */
function completed(frame: Frame): Frame {
  const packet = ipOf(frame);
  const field = packet && checksumField[packet.protocol];
  if (!packet || field === undefined || packet.fragment || packet.payload + field + 2 > packet.end) {
    return { bytes: frame.bytes };
  }
  const bytes = frame.bytes.slice();
  writeChecksum(bytes, packet.header, packet.payload, packet.end, packet.protocol);
  return { bytes, checksum: 'verified' };
}

/** A segment smaller than this makes more headers than payload: no stack asks for it. */
const smallestSegment = 64;

const Fin = 0x01;
const Psh = 0x08;
const Cwr = 0x80;

/** The segments of a frame with `gso`; none where it isn't a TCP packet of its type. */
function segmented(frame: Frame, size: number): Frame[] {
  const packet = ipOf(frame);
  if (!packet || packet.protocol !== Protocol.tcp || packet.fragment || packet.end - packet.payload < 20) return [];
  const { bytes, header, payload, end } = packet;
  const tcpBytes = ((bytes[payload + 12] as number) >> 4) * 4;
  const data = payload + tcpBytes;
  if (tcpBytes < 20 || data > end || size < smallestSegment) return [];
  const frames: Frame[] = [];
  const sequence = get32(bytes, payload + 4);
  const flags = bytes[payload + 13] as number;
  for (let at = data; at < end; at += size) {
    const length = Math.min(size, end - at);
    const segment = new Uint8Array(data + length);
    segment.set(bytes.subarray(0, data));
    segment.set(bytes.subarray(at, at + length), data);
    if (packet.version === 4) {
      put16(segment, header + 2, segment.length - header);
      put16(segment, header + 4, get16(bytes, header + 4) + frames.length);
      put16(segment, header + 10, 0);
      put16(segment, header + 10, checksum(segment, header, payload));
    } else {
      put16(segment, header + 4, segment.length - header - 40);
    }
    put32(segment, payload + 4, sequence + (at - data));
    const last = at + length === end;
    segment[payload + 13] = flags & ~(last ? 0 : Fin | Psh) & ~(at === data ? 0 : Cwr);
    writeChecksum(segment, header, payload, segment.length, Protocol.tcp);
    frames.push({ bytes: segment, checksum: 'verified' });
  }
  return frames.length > 0 ? frames : [completed(frame)];
}

/** What an end with these offloads takes in the place of a frame. */
export function adaptFrame(frame: Frame, offloads: Offloads): readonly Frame[] {
  if (frame.gso && !(frame.gso.type === 'tcp4' ? offloads.gso4 : offloads.gso6)) {
    return segmented(frame, frame.gso.size);
  }
  if (frame.checksum === 'blank' && !offloads.blankChecksum) return [completed(frame)];
  return [frame];
}

/** The batch as an end with these offloads takes it; the batch itself where nothing is to be done. */
export function adaptFrames(frames: readonly Frame[], offloads: Offloads): readonly Frame[] {
  const fits = frames.every(
    ({ gso, checksum: state }) =>
      (!gso || (gso.type === 'tcp4' ? offloads.gso4 : offloads.gso6)) && (state !== 'blank' || offloads.blankChecksum),
  );
  return fits ? frames : frames.flatMap((frame) => adaptFrame(frame, offloads));
}
