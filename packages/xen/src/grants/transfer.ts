/**
 * GNTTABOP_transfer: a page that nothing uses goes, contents and all, to a domain
 * that left an entry for it (common/grant_table.c, `gnttab_transfer`).
 */
import { GNTST } from '@paravane/abi-xen';
import type { Mfn } from '@paravane/types';
import { isDomain, type XenDomain } from '../domain.js';
import { isUnused } from '../mm/index.js';
import { acceptTransfer, completeTransfer } from './table.js';

/** Passes a page on; a `GNTST_*`. A page that its taker refuses is gone all the same, as on Xen. */
export function transferPage(domain: XenDomain, request: { mfn: bigint; domid: number; ref: number }): number {
  const claimedFrame = Number(request.mfn);
  if (!isUnused(domain, claimedFrame)) return GNTST.bad_page;
  const frame = claimedFrame as Mfn;
  const { mmu, machine } = domain;
  const taker = machine.domain(request.domid);
  const room = taker && !taker.dying && taker.totPages < taker.maxPages;
  const gpfn = room ? acceptTransfer(taker, request.ref, domain.id) : null;
  if (!taker || gpfn === null) {
    mmu.free(frame);
    return isDomain(machine, request.domid) ? GNTST.general_error : GNTST.bad_domain;
  }
  mmu.give(frame, taker.id);
  domain.totPages--;
  taker.totPages++;
  taker.mm.machine.m2p.set(frame, gpfn);
  completeTransfer(taker, request.ref, frame);
  return GNTST.okay;
}
