/** GNTTABOP_copy, and the same for a back end of the host. */
import { DOMID_SELF, GNTCOPY, GNTST } from '@paravane/abi-xen';
import { FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { HOST_DOMAIN, type XenDomain } from '../domain.js';
import { getPageType, putPageType } from '../mm/index.js';
import { hostEntry } from './map.js';
import { beginUse, endUse } from './table.js';

const PAGE = 4096;

interface Pointer {
  readonly u: bigint;
  readonly domid: number;
  readonly offset: number;
}

export interface CopyRequest {
  readonly source: Pointer;
  readonly dest: Pointer;
  readonly len: number;
  readonly flags: number;
}

/** One side of a copy while it lasts. */
interface Buffer {
  frame: Mfn;
  start: number;
  length: number;
  release(): void;
}

/** Whose page one side is: `null` is the host's. A number is a `GNTST_*`. */
function ownerOf(domain: XenDomain, { domid }: Pointer, byRef: boolean): XenDomain | null | number {
  if (domid === DOMID_SELF) return domain;
  // Another's page can be named by reference only.
  if (!byRef) return GNTST.permission_denied;
  return domain.machine.domain(domid) ?? (domid === HOST_DOMAIN ? null : GNTST.bad_domain);
}

/** The frame of one side, held; or a `GNTST_*`. */
function claim(
  domain: XenDomain,
  owner: XenDomain | null,
  pointer: Pointer,
  byRef: boolean,
  write: boolean,
): Buffer | number {
  if (!owner) return hostEntry(Number(BigInt.asUintN(32, pointer.u)));
  const { frames } = domain.mmu;
  let buffer: Buffer;
  if (byRef) {
    const ref = Number(BigInt.asUintN(32, pointer.u));
    const use = beginUse(owner, ref, domain.id, write, false);
    if (!use.active) return use.status;
    const { frame, start, length } = use.active;
    buffer = { frame, start, length, release: () => endUse(owner, ref, write) };
  } else {
    if (pointer.u >= BigInt(frames.frames) || !frames.getRef(Number(pointer.u), owner.id)) return GNTST.bad_page;
    const frame = Number(pointer.u) as Mfn;
    buffer = { frame, start: 0, length: PAGE, release: () => frames.putRef(frame) };
  }
  if (!write) return buffer;
  const holder = domain.machine.domain(frames.owner[buffer.frame]) ?? owner;
  if (getPageType(holder.mm, buffer.frame, FrameType.writable) !== 0) {
    buffer.release();
    return GNTST.general_error;
  }
  const { release } = buffer;
  buffer.release = () => {
    putPageType(holder.mm, buffer.frame);
    release();
  };
  return buffer;
}

const outside = (pointer: Pointer, length: number, buffer: Buffer): boolean =>
  pointer.offset < buffer.start || pointer.offset + length > buffer.start + buffer.length;

export function copyGrant(domain: XenDomain, request: CopyRequest): number {
  const { source, dest, len, flags } = request;
  const fromRef = (flags & GNTCOPY.source_gref) !== 0;
  const toRef = (flags & GNTCOPY.dest_gref) !== 0;
  const giver = ownerOf(domain, source, fromRef);
  if (typeof giver === 'number') return giver;
  const taker = ownerOf(domain, dest, toRef);
  if (typeof taker === 'number') return taker;
  const from = claim(domain, giver, source, fromRef, false);
  if (typeof from === 'number') return from;
  const to = claim(domain, taker, dest, toRef, true);
  if (typeof to === 'number') {
    from.release();
    return to;
  }
  let status: number = GNTST.okay;
  if (source.offset + len > PAGE || dest.offset + len > PAGE) status = GNTST.bad_copy_arg;
  else if (outside(source, len, from) || outside(dest, len, to)) status = GNTST.general_error;
  else domain.mmu.write(to.frame, dest.offset, domain.mmu.read(from.frame, source.offset, len));
  to.release();
  from.release();
  return status;
}
