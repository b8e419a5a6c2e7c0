/**
 * Bits of page-table entries as Xen rules them for a 64-bit PV domain without
 * I/O rights (xen/arch/x86/pv/mm.h, `adjust_guest_l1e`; asm-x86/x86_64/page.h),
 * and the one way an entry is written.
 *
 * Entries are handled as two 32-bit halves.
 */
import { FrameFlag, Pte } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { MmState } from './state.js';

/** Low-half bits a guest may not set in an L1 entry: PWT, PCD, PAT. */
export const L1_DISALLOWED = 0x098;
/** The same of L2 to L4: also PSE (in the place of PAT) and global. */
export const UPPER_DISALLOWED = 0x198;
/** Bit 52 in the high half: a page of the guest kernel (`_PAGE_GUEST_KERNEL`). */
export const HI_GUEST_KERNEL = 0x100000;
/** The frame number of all ones, which Xen tells apart from an I/O frame. */
export const ALL_ONES_FRAME = 0xffffffffff;

/** Frame number of an entry, up to 2^40: a claim until it is looked up in the frame table. */
export const entryFrame = (lo: number, hi: number): number => (hi & 0xfffff) * 0x100000 + (lo >>> 12);

/** Index in `u32` of entry `index` of a table. */
export const entryWord = (mm: MmState, table: number, index: number): number =>
  (mm.mmu.machine.frameBase + table * 4096 + index * 8) >>> 2;

/** Low half of a present L1 entry as the guest gets to see it. `hi` must be the adjusted one. */
export const adjustedLo = (lo: number, hi: number): number =>
  (lo | Pte.user | (hi & HI_GUEST_KERNEL ? 0 : Pte.global)) >>> 0;
/** High half of a present L1 entry: a page without USER is marked as the kernel's. */
export const adjustedHi = (lo: number, hi: number): number => (lo & Pte.user ? hi : hi | HI_GUEST_KERNEL) >>> 0;

/** A table was written: for the dirty log, and for code in it. */
export function markWritten(mm: MmState, table: number, offset: number, length: number): void {
  const { mmu, frames } = mm;
  frames.flags[table] = frames.flags[table]! | FrameFlag.dirty;
  if (mmu.hasCode[table] !== 0) mmu.onCodeWrite?.(table as Mfn, offset, length);
}

/** Writes one entry. */
export function writeEntry(mm: MmState, table: number, index: number, lo: number, hi: number): void {
  const { u32 } = mm.mmu.machine;
  const word = entryWord(mm, table, index);
  u32[word] = lo;
  u32[word + 1] = hi;
  markWritten(mm, table, index * 8, 8);
}
