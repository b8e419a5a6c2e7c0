/**
 * Changing one entry of a validated table: `mod_l1_entry` … `mod_l4_entry` of
 * xen/arch/x86/mm.c. The new entry gets its references before the old one loses
 * its own, so a failure changes nothing.
 */
import { Errno } from '@paravane/abi-xen';
import { Pte } from '@paravane/mmu';
import { l1Changed, upperChanged } from './flush.js';
import {
  adjustedUpper,
  getL1Entry,
  getUpperEntry,
  isXenSlot,
  PAE_LAST,
  putL1Entry,
  putUpperEntry,
  upperBitsOk,
} from './page-type.js';
import { adjustedHi, adjustedLo, entryFrame, entryWord, L1_DISALLOWED, writeEntry } from './pte.js';
import type { MmState } from './state.js';

/** Where neither these nor the frame change, no reference does (Xen's fast path). */
const MATTERS = Pte.present | Pte.rw;
const KEPT = Pte.accessed | Pte.dirty;

/**
 * Sets entry `index` of an L1 table. `owner`: whose frames it may map. `anew`: as if the entry led elsewhere before, so
 * that one that may stand but not be made (of a grant) is refused.
 */
export function updateL1(
  mm: MmState,
  table: number,
  index: number,
  claimedLo: number,
  claimedHi: number,
  keepAccessedDirty: boolean,
  owner: number,
  anew = false,
): number {
  const { u32 } = mm.mmu.machine;
  const word = entryWord(mm, table, index);
  let lo = claimedLo;
  let hi = claimedHi;
  let same = false;
  if (lo & Pte.present) {
    if (lo & L1_DISALLOWED) return -Errno.EINVAL;
    const isLike = ((lo ^ u32[word]!) & MATTERS) === 0 && entryFrame(lo, hi) === entryFrame(u32[word]!, u32[word + 1]!);
    same = isLike && !anew;
    if (!same) {
      const rc = getL1Entry(mm, lo, hi, owner);
      if (rc !== 0) return rc;
    }
    if (!mm.pae) {
      hi = adjustedHi(lo, hi);
      lo = adjustedLo(lo, hi);
    }
  }
  const oldLo = u32[word]!;
  const oldHi = u32[word + 1]!;
  if (keepAccessedDirty) lo = (lo | (oldLo & KEPT)) >>> 0;
  writeEntry(mm, table, index, lo, hi);
  l1Changed(mm, oldLo, oldHi, lo, hi);
  if (!same) putL1Entry(mm, oldLo, oldHi);
  return 0;
}

/** Sets entry `index` of an L2, L3 or L4 table. */
export function updateUpper(
  mm: MmState,
  table: number,
  level: number,
  index: number,
  claimedLo: number,
  hi: number,
  keepAccessedDirty: boolean,
): number {
  if (isXenSlot(mm, table, level, index)) return level === 2 ? -Errno.EPERM : -Errno.EINVAL;
  // Xen's area must stay where it is while the table may be in use.
  if (mm.pae && level === 3 && index >= PAE_LAST) return -Errno.EINVAL;
  const { u32 } = mm.mmu.machine;
  const word = entryWord(mm, table, index);
  const oldLo = u32[word]!;
  const oldHi = u32[word + 1]!;
  let lo = claimedLo;
  let same = false;
  if (lo & Pte.present) {
    if (!upperBitsOk(mm, level, lo, hi)) return -Errno.EINVAL;
    same = ((lo ^ oldLo) & MATTERS) === 0 && entryFrame(lo, hi) === entryFrame(oldLo, oldHi);
    if (!same) {
      const rc = getUpperEntry(mm, table, level, index, lo, hi);
      if (rc !== 0) return rc;
    }
    lo = adjustedUpper(mm, level, lo);
  }
  if (keepAccessedDirty) lo = (lo | (oldLo & KEPT)) >>> 0;
  writeEntry(mm, table, index, lo, hi);
  upperChanged(mm, oldLo, oldHi, lo, hi);
  if (!same) putUpperEntry(mm, table, level, oldLo, oldHi);
  return 0;
}
