/**
 * Pages of a guest that the hypervisor writes into for as long as they are
 * registered (vcpu_info, FIFO control blocks and event arrays): each holds a
 * reference of the page and one of its type, so that it can neither be freed
 * nor become a page table meanwhile.
 */
import { FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { XenDomain } from '../domain.js';
import { getPageAndType, putPageAndType } from '../mm/index.js';

/** The frame, held, or null: not the domain's, or not writable. */
export function mapWritable(domain: XenDomain, claimedFrame: bigint): Mfn | null {
  if (claimedFrame <= 0n || claimedFrame >= BigInt(domain.mmu.frames.frames)) return null;
  const frame = Number(claimedFrame) as Mfn;
  return getPageAndType(domain.mm, frame, FrameType.writable) === 0 ? frame : null;
}

export function unmapWritable(domain: XenDomain, frame: Mfn): void {
  putPageAndType(domain.mm, frame);
}
