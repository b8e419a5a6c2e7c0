/**
 * Requests and responses in the layouts of 32- and 64-bit front ends (public/io/blkif.h): they differ by the alignment
 * of 64-bit fields. "Native" is the 64-bit one.
 *
 * What is decoded here is a claim in every field; nothing is checked but that it can be read.
 */
import { BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST, BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP } from '@paravane/abi-xen';

export type Protocol = 'x86_32-abi' | 'x86_64-abi';

/** Bytes of a ring entry: of a request, the larger of the two. */
export const ENTRY_BYTES: Readonly<Record<Protocol, number>> = { 'x86_32-abi': 108, 'x86_64-abi': 112 };

/** Bytes of a segment's record, in requests and in indirect pages. */
export const SEGMENT_BYTES = 8;

interface Offsets {
  readonly id: number;
  readonly sector: number;
  /** Direct segments; of a discard, the number of sectors. */
  readonly body: number;
  readonly indirectHandle: number;
  readonly indirectRefs: number;
}

const layouts: Readonly<Record<Protocol, Offsets>> = {
  'x86_32-abi': { id: 4, sector: 12, body: 20, indirectHandle: 20, indirectRefs: 24 },
  'x86_64-abi': { id: 8, sector: 16, body: 24, indirectHandle: 24, indirectRefs: 28 },
};

/** The layout that a front end's `protocol` node names; the native one where it names none. */
export function parseProtocol(claimedName: string | undefined): Protocol | undefined {
  if (claimedName === undefined || claimedName === '' || claimedName === 'native') return 'x86_64-abi';
  return claimedName === 'x86_32-abi' || claimedName === 'x86_64-abi' ? claimedName : undefined;
}

export interface BlockSegment {
  readonly ref: number;
  /** In units of 512 bytes, both included. */
  readonly first: number;
  readonly last: number;
}

export interface BlockRequest {
  /** `BLKIF_OP_*`; of an indirect request the one that it stands for. */
  readonly operation: number;
  readonly indirect: boolean;
  /** 64 bits that come back in the response. */
  readonly idLo: number;
  readonly idHi: number;
  /** In units of 512 bytes; inexact above 2^53, which no disk reaches. */
  readonly sector: number;
  readonly segmentCount: number;
  /** Of a direct request; never more than it holds. */
  readonly segments: readonly BlockSegment[];
  /** Of an indirect request: the pages with the segments. */
  readonly indirectRefs: readonly number[];
  /** Of a discard. */
  readonly sectorCount: number;
  readonly secure: boolean;
}

const u64 = (view: DataView, at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;

export const readSegment = (view: DataView, at: number): BlockSegment => ({
  ref: view.getUint32(at, true),
  first: view.getUint8(at + 4),
  last: view.getUint8(at + 5),
});

const none: readonly never[] = [];

/** Decodes a request that has been copied out of the ring. */
export function decodeRequest(view: DataView, protocol: Protocol): BlockRequest {
  const at = layouts[protocol];
  const operation = view.getUint8(0);
  const indirect = operation === BLKIF_OP.INDIRECT;
  const discard = operation === BLKIF_OP.DISCARD;
  const segmentCount = indirect ? view.getUint16(2, true) : discard ? 0 : view.getUint8(1);
  const direct = indirect || discard ? 0 : Math.min(segmentCount, BLKIF_MAX_SEGMENTS_PER_REQUEST);
  return {
    operation: indirect ? view.getUint8(1) : operation,
    indirect,
    idLo: view.getUint32(at.id, true),
    idHi: view.getUint32(at.id + 4, true),
    sector: u64(view, at.sector),
    segmentCount,
    segments:
      direct === 0
        ? none
        : Array.from({ length: direct }, (_, index) => readSegment(view, at.body + index * SEGMENT_BYTES)),
    indirectRefs: indirect
      ? Array.from({ length: BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST }, (_, index) =>
          view.getUint32(at.indirectRefs + index * 4, true),
        )
      : none,
    sectorCount: discard ? u64(view, at.body) : 0,
    secure: discard && (view.getUint8(1) & 1) !== 0,
  };
}

/** A request as a front end writes it; what is not given is 0. For tests, and for front ends in the host. */
export function encodeRequest(
  view: DataView,
  protocol: Protocol,
  request: Partial<BlockRequest> & { readonly operation: number },
): void {
  const at = layouts[protocol];
  const { indirect = false, operation, segments = none, segmentCount = segments.length, sector = 0 } = request;
  view.setUint8(0, indirect ? BLKIF_OP.INDIRECT : operation);
  if (indirect) {
    view.setUint8(1, operation);
    view.setUint16(2, segmentCount, true);
  } else {
    view.setUint8(1, operation === BLKIF_OP.DISCARD ? Number(request.secure ?? false) : segmentCount);
  }
  view.setUint32(at.id, request.idLo ?? 0, true);
  view.setUint32(at.id + 4, request.idHi ?? 0, true);
  view.setUint32(at.sector, sector % 2 ** 32, true);
  view.setUint32(at.sector + 4, sector / 2 ** 32, true);
  if (operation === BLKIF_OP.DISCARD && !indirect) {
    const count = request.sectorCount ?? 0;
    view.setUint32(at.body, count % 2 ** 32, true);
    view.setUint32(at.body + 4, count / 2 ** 32, true);
  }
  if (!indirect) segments.forEach((segment, index) => writeSegment(view, at.body + index * SEGMENT_BYTES, segment));
  (request.indirectRefs ?? none).forEach((ref, index) => view.setUint32(at.indirectRefs + index * 4, ref, true));
}

export function writeSegment(view: DataView, at: number, { ref, first, last }: BlockSegment): void {
  view.setUint32(at, ref, true);
  view.setUint8(at + 4, first);
  view.setUint8(at + 5, last);
}

/**
 * Responses have one layout; only their distance in the ring differs. The answer to an indirect request names the
 * operation that it stood for, as front ends check.
 */
export function writeResponse(
  view: DataView,
  { idLo, idHi, operation }: Pick<BlockRequest, 'idLo' | 'idHi' | 'operation'>,
  status: number,
): void {
  view.setUint32(0, idLo, true);
  view.setUint32(4, idHi, true);
  view.setUint8(8, operation);
  view.setInt16(10, status, true);
}

export const readResponse = (view: DataView): { idLo: number; idHi: number; operation: number; status: number } => ({
  idLo: view.getUint32(0, true),
  idHi: view.getUint32(4, true),
  operation: view.getUint8(8),
  status: view.getInt16(10, true),
});
