/**
 * L1 entries made and removed by the grant-table calls
 * (xen/arch/x86/pv/grant_table.c).
 *
 * An entry of this kind may lead to another domain's frame. The caller holds the
 * references: it takes one (and a writable one, if the mapping is writable)
 * before `mapGrant`, and gives them back after `unmapGrant`. A guest that
 * overwrites such an entry by other means gives them back itself.
 */
import { GNTMAP, GNTST } from '@paravane/abi-xen';
import { FrameType, Pte } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { XenVcpu } from '../domain.js';
import { l1Changed } from './flush.js';
import { addressOk } from './guest.js';
import { leafEntry } from './mmu-update.js';
import { inTypedUse, putL1Entry } from './page-type.js';
import { adjustedHi, adjustedLo, entryFrame, entryWord, writeEntry } from './pte.js';

/** Bits 16 and 17 of the flags go to the software bits 9 and 10 (`_GNTMAP_guest_avail0`). */
const AVAILABLE_SHIFT = 16;
const AVAILABLE_MASK = 7;

/** The L1 entry that a grant call names: by machine address of the entry, or by linear address. */
function entryOf(vcpu: XenVcpu, address: bigint, flags: number): { table: number; index: number } | null {
  const { mm } = vcpu.domain;
  if (!(flags & GNTMAP.contains_pte)) return addressOk(vcpu, address) ? leafEntry(vcpu, address) : null;
  const claimedTable = Number(address >> 12n);
  if ((address & 7n) !== 0n || !(claimedTable < mm.frames.frames)) return null;
  const isL1 =
    mm.frames.owner[claimedTable] === mm.domid &&
    mm.frames.type[claimedTable] === FrameType.l1 &&
    inTypedUse(mm, claimedTable);
  return isL1 ? { table: claimedTable, index: Number((address >> 3n) & 511n) } : null;
}

/** Maps a granted frame; `flags` are `GNTMAP_*`. Returns a `GNTST_*`. */
export function mapGrant(vcpu: XenVcpu, address: bigint, frame: Mfn, flags: number): number {
  const { mm } = vcpu.domain;
  const place = entryOf(vcpu, address, flags);
  if (!place) return GNTST.general_error;
  let bits = Pte.present | Pte.accessed | Pte.dirty | (((flags >>> AVAILABLE_SHIFT) & AVAILABLE_MASK) << 9);
  if (flags & GNTMAP.application_map) bits |= Pte.user;
  if (!(flags & GNTMAP.readonly)) bits |= Pte.rw;
  const lo = ((frame << 12) | bits) >>> 0;
  const hi = mm.pae ? frame >>> 20 : adjustedHi(lo, frame >>> 20);
  replace(vcpu, place, mm.pae ? lo : adjustedLo(lo, hi), hi);
  mm.mmu.tlb.dropFrame(frame);
  return GNTST.okay;
}

/** Removes the entry that maps a granted frame, or replaces it by the one of `newAddress`. */
export function unmapGrant(vcpu: XenVcpu, address: bigint, frame: Mfn, flags: number, newAddress = 0n): number {
  const { mm } = vcpu.domain;
  const { u32 } = mm.mmu.machine;
  if (newAddress !== 0n && flags & GNTMAP.contains_pte) return GNTST.general_error;
  const place = entryOf(vcpu, address, flags);
  if (!place) return GNTST.general_error;
  const word = entryWord(mm, place.table, place.index);
  const lo = u32[word]!;
  const writable = (lo & Pte.rw) !== 0;
  const expected = !(flags & GNTMAP.readonly);
  if (!(lo & Pte.present) || writable !== expected || entryFrame(lo, u32[word + 1]!) !== frame) {
    return GNTST.general_error;
  }
  let newLo = 0;
  let newHi = 0;
  if (newAddress !== 0n) {
    const source = addressOk(vcpu, newAddress) ? leafEntry(vcpu, newAddress) : null;
    if (!source || (source.table === place.table && source.index === place.index)) return GNTST.general_error;
    // The entry moves with the references it holds.
    const from = entryWord(mm, source.table, source.index);
    newLo = u32[from]!;
    newHi = u32[from + 1]!;
    writeEntry(mm, source.table, source.index, 0, 0);
    l1Changed(mm, newLo, newHi, 0, 0);
  }
  writeEntry(mm, place.table, place.index, newLo, newHi);
  mm.mmu.tlb.dropFrame(frame);
  return GNTST.okay;
}

function replace(vcpu: XenVcpu, place: { table: number; index: number }, lo: number, hi: number): void {
  const { mm } = vcpu.domain;
  const { u32 } = mm.mmu.machine;
  const word = entryWord(mm, place.table, place.index);
  const oldLo = u32[word]!;
  const oldHi = u32[word + 1]!;
  writeEntry(mm, place.table, place.index, lo, hi);
  l1Changed(mm, oldLo, oldHi, lo, hi);
  putL1Entry(mm, oldLo, oldHi);
}
