/**
 * The ring on which the guest sends. A frame is a request with the size of the whole, any further information, and
 * requests for the rest of its bytes. All of it is copied out of the ring, and the bytes out of the guest's pages,
 * before anything is believed; every slot gets its response.
 *
 * What only a broken front end does (a frame that ends behind the ring's producer, sizes that don't add up, bytes
 * beyond their page) stops the interface, as there is no telling where the next frame begins; so do Linux's and
 * FreeBSD's back ends.
 */
import { NETIF_RSP, XEN_NETIF_EXTRA_FLAG_MORE, XEN_NETIF_EXTRA_TYPE } from '@paravane/abi-xen';
import type { Peer } from '@paravane/driver-api';
import type { Frame } from '@paravane/link-api';
import type { BackRing } from '@paravane/ring';
import {
  type ExtraInfo,
  GSO_TYPE,
  NETTXF,
  readExtraInfo,
  readTxRequest,
  type TxRequest,
  writeTxResponse,
} from './layout.js';

/** Slots of a frame at most: Linux's front ends use up to 18; the margin is that of XEN_NETBK's. */
const MOST_SLOTS = 20;
const PAGE = 4096;
const SMALLEST_FRAME = 14;
const MOST_EXTRAS = 8;

export interface Transmitted {
  /** Absent where the slots held no frame, or a wrong one. */
  readonly frame?: Frame;
  /** Groups to be heard, or not any more. */
  readonly groups: readonly { readonly add: boolean; readonly address: Uint8Array }[];
  /** The statuses of the slots' responses, in their order. */
  readonly responses: readonly { readonly id: number; readonly status: number }[];
}

/** The next frame's slots; undefined if there are none; a text where the ring can't be served any more. */
export function takeTransmit(ring: BackRing, peer: Peer): Transmitted | string | undefined {
  const head = ring.take();
  if (!head) return undefined;
  const first = readTxRequest(head);
  const extras = takeExtras(ring, first);
  if (typeof extras === 'string') return extras;
  const parts = takeParts(ring, first);
  if (typeof parts === 'string') return parts;
  const groups = extras
    .filter(({ type }) => type === XEN_NETIF_EXTRA_TYPE.MCAST_ADD || type === XEN_NETIF_EXTRA_TYPE.MCAST_DEL)
    .map(({ type, address }) => ({ add: type === XEN_NETIF_EXTRA_TYPE.MCAST_ADD, address }));
  const frame = groups.length > 0 ? 'none' : frameOf(peer, parts, extras);
  const status = frame === undefined ? NETIF_RSP.ERROR : NETIF_RSP.OKAY;
  const [headPart, ...rest] = parts;
  const responses = [
    { id: headPart?.id ?? 0, status },
    ...extras.map(() => ({ id: 0, status: NETIF_RSP.NULL })),
    ...rest.map(({ id }) => ({ id, status })),
  ];
  return { groups, responses, ...(typeof frame === 'object' && { frame }) };
}

/** What a frame's slots are answered with. */
export function respondTransmit(ring: BackRing, { responses }: Transmitted): void {
  for (const { id, status } of responses) ring.respond((view) => writeTxResponse(view, id, status));
}

function takeExtras(ring: BackRing, first: TxRequest): ExtraInfo[] | string {
  const extras: ExtraInfo[] = [];
  let more = (first.flags & NETTXF.extra_info) !== 0;
  while (more) {
    const slot = ring.take();
    if (!slot) return 'a frame to be sent lacks its extra information';
    const extra = readExtraInfo(slot);
    if (
      extra.type === XEN_NETIF_EXTRA_TYPE.NONE ||
      extra.type > XEN_NETIF_EXTRA_TYPE.HASH ||
      extras.length === MOST_EXTRAS
    ) {
      return `a frame to be sent has extra information of type ${extra.type}`;
    }
    extras.push(extra);
    more = (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
  }
  return extras;
}

/** The requests of a frame, the first with the size of its own part. */
function takeParts(ring: BackRing, first: TxRequest): TxRequest[] | string {
  const rest: TxRequest[] = [];
  let { flags } = first;
  let firstSize = first.size;
  while (flags & NETTXF.more_data) {
    const slot = ring.take();
    if (!slot) return 'a frame to be sent lacks its last part';
    const part = readTxRequest(slot);
    if (part.size > firstSize) return 'the parts of a frame to be sent are longer than it';
    firstSize -= part.size;
    rest.push(part);
    if (rest.length >= MOST_SLOTS) return 'a frame to be sent has too many parts';
    flags = part.flags;
  }
  const parts = [{ ...first, size: firstSize }, ...rest];
  const beyond = parts.some(({ offset, size }) => offset + size > PAGE);
  return beyond ? 'a frame to be sent reaches beyond a page' : parts;
}

function frameOf(peer: Peer, parts: readonly TxRequest[], extras: readonly ExtraInfo[]): Frame | undefined {
  const gso = extras.find(({ type }) => type === XEN_NETIF_EXTRA_TYPE.GSO);
  const gsoType = gso?.gsoType === GSO_TYPE.tcp4 ? 'tcp4' : gso?.gsoType === GSO_TYPE.tcp6 ? 'tcp6' : undefined;
  if (gso && (gso.size === 0 || !gsoType)) return undefined;
  const length = parts.reduce((sum, { size }) => sum + size, 0);
  if (length < SMALLEST_FRAME) return undefined;
  const pieces: Uint8Array[] = [];
  for (const { gref, offset, size } of parts) {
    if (size === 0) continue;
    const piece = peer.copyFrom(gref, offset, size);
    if (typeof piece === 'number') return undefined;
    pieces.push(piece);
  }
  const flags = parts[0]?.flags ?? 0;
  const blank = (flags & NETTXF.csum_blank) !== 0 || gso !== undefined;
  return {
    bytes: joined(pieces, length),
    ...(blank
      ? { checksum: 'blank' as const }
      : flags & NETTXF.data_validated
        ? { checksum: 'verified' as const }
        : {}),
    ...(gso && gsoType && { gso: { type: gsoType, size: gso.size } }),
  };
}

function joined(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = pieces;
  if (only && pieces.length === 1) return only;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
