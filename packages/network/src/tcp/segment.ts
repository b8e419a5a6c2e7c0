/** TCP segments (RFC 9293, 3.1) and the options that we use: MSS, window scale (RFC 7323), SACK (RFC 2018). */
import { get16, get32, put16, put32 } from '../bytes.js';

export const Flag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

export interface SackBlock {
  readonly from: number;
  readonly to: number;
}

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  /** As in the header, not scaled. */
  readonly window: number;
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted: boolean;
  readonly sacks: readonly SackBlock[];
  readonly data: Uint8Array;
}

const headerBytes = 20;
const Option = { end: 0, nop: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5 } as const;
const noSacks: readonly SackBlock[] = [];

/** The segment in these bytes; undefined if its header makes no sense. The checksum is the caller's to check. */
export function parseSegment(bytes: Uint8Array, from: number, to: number): Segment | undefined {
  if (to - from < headerBytes) return undefined;
  const data = from + ((bytes[from + 12] as number) >> 4) * 4;
  if (data < from + headerBytes || data > to) return undefined;
  return {
    sourcePort: get16(bytes, from),
    destinationPort: get16(bytes, from + 2),
    sequence: get32(bytes, from + 4),
    acknowledgment: get32(bytes, from + 8),
    flags: (bytes[from + 13] as number) & 0x3f,
    window: get16(bytes, from + 14),
    sackPermitted: false,
    sacks: noSacks,
    ...(data > from + headerBytes && parseOptions(bytes, from + headerBytes, data)),
    data: bytes.subarray(data, to),
  };
}

interface Options {
  mss?: number;
  windowScale?: number;
  sackPermitted: boolean;
  sacks: SackBlock[];
}

/** Options up to the first that makes no sense. */
function parseOptions(bytes: Uint8Array, from: number, to: number): Options {
  const options: Options = { sackPermitted: false, sacks: [] };
  for (let at = from; at < to; ) {
    const kind = bytes[at];
    if (kind === Option.end) break;
    if (kind === Option.nop) {
      at++;
      continue;
    }
    const length = at + 1 < to ? (bytes[at + 1] as number) : 0;
    if (length < 2 || at + length > to) break;
    if (kind === Option.mss && length === 4) options.mss = get16(bytes, at + 2);
    // RFC 7323, 2.3: more than 14 counts as 14.
    if (kind === Option.windowScale && length === 3) options.windowScale = Math.min(bytes[at + 2] as number, 14);
    if (kind === Option.sackPermitted && length === 2) options.sackPermitted = true;
    if (kind === Option.sack) {
      for (let block = at + 2; block + 8 <= at + length; block += 8) {
        options.sacks.push({ from: get32(bytes, block), to: get32(bytes, block + 4) });
      }
    }
    at += length;
  }
  return options;
}

export interface NewSegment {
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly mss?: number;
  readonly windowScale?: number;
  readonly sackPermitted?: boolean;
  readonly sacks?: readonly SackBlock[];
  /** How many bytes of data follow, and who writes them; to be called before `send` returns. */
  readonly length: number;
  copyData?(target: Uint8Array, at: number): void;
  /** Bytes of data for each packet, where there are more than fit one. */
  readonly segmentSize?: number;
}

export function tcpHeaderBytes(segment: NewSegment): number {
  const options =
    (segment.mss === undefined ? 0 : 4) +
    (segment.windowScale === undefined ? 0 : 4) +
    (segment.sackPermitted ? 4 : 0) +
    (segment.sacks && segment.sacks.length > 0 ? 4 + 8 * segment.sacks.length : 0);
  return headerBytes + options;
}

/** Writes header, options and data at `at`; the checksum stays 0. */
export function putSegment(
  bytes: Uint8Array,
  at: number,
  ports: { readonly source: number; readonly destination: number },
  segment: NewSegment,
): void {
  put16(bytes, at, ports.source);
  put16(bytes, at + 2, ports.destination);
  put32(bytes, at + 4, segment.sequence);
  put32(bytes, at + 8, segment.acknowledgment);
  const length = tcpHeaderBytes(segment);
  bytes[at + 12] = (length / 4) << 4;
  bytes[at + 13] = segment.flags;
  put16(bytes, at + 14, segment.window);
  let option = at + headerBytes;
  if (segment.mss !== undefined) {
    bytes.set([Option.mss, 4, segment.mss >> 8, segment.mss & 0xff], option);
    option += 4;
  }
  if (segment.windowScale !== undefined) {
    bytes.set([Option.nop, Option.windowScale, 3, segment.windowScale], option);
    option += 4;
  }
  if (segment.sackPermitted) {
    bytes.set([Option.nop, Option.nop, Option.sackPermitted, 2], option);
    option += 4;
  }
  if (segment.sacks && segment.sacks.length > 0) {
    bytes.set([Option.nop, Option.nop, Option.sack, 2 + 8 * segment.sacks.length], option);
    option += 4;
    for (const { from, to } of segment.sacks) {
      put32(bytes, option, from);
      put32(bytes, option + 4, to);
      option += 8;
    }
  }
  segment.copyData?.(bytes, at + length);
}
