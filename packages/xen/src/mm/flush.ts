/**
 * Keeping the TLB honest.
 *
 * What must never be reached any more (a frame that is free, or that became a
 * table while write translations to it exist) is dropped by the frame table and
 * by `retype` at once. The rest is as on hardware: a guest that changes a
 * present entry sees the old translation until it flushes or loads a base
 * pointer. To make loading a base pointer cheap, changes of single entries drop
 * their frame's translations at once, and only what that can't cover sets
 * `stale`, which makes the next flush or load a real one.
 */
import { PTE_HI_NX, Pte } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { entryFrame } from './pte.js';
import type { MmState } from './state.js';

/** What is dropped between two flushes; beyond this many, emptying the TLB when the guest flushes costs less. */
const MAX_DROPS = 512;

function drop(mm: MmState, frame: number, writesOnly: boolean): void {
  if (mm.stale) return;
  if (mm.drops++ >= MAX_DROPS) mm.stale = true;
  else if (writesOnly) mm.mmu.tlb.dropWrites(frame as Mfn);
  else mm.mmu.tlb.dropFrame(frame as Mfn);
}

/** An L1 entry was changed. */
export function l1Changed(mm: MmState, oldLo: number, oldHi: number, lo: number, hi: number): void {
  if (!(oldLo & Pte.present)) return;
  const frame = entryFrame(oldLo, oldHi);
  const lost = oldLo & ~lo;
  if (!(lo & Pte.present) || entryFrame(lo, hi) !== frame || hi & ~oldHi & PTE_HI_NX) drop(mm, frame, false);
  else if (lost & Pte.user) drop(mm, frame, false);
  else if (lost & (Pte.rw | Pte.dirty)) drop(mm, frame, true);
  else if (lost & Pte.accessed) mm.stale = true;
}

/** An entry of a higher table was changed. */
export function upperChanged(mm: MmState, oldLo: number, oldHi: number, lo: number, hi: number): void {
  if (!(oldLo & Pte.present)) return;
  const same = lo & Pte.present && entryFrame(lo, hi) === entryFrame(oldLo, oldHi);
  if (!same || oldLo & ~lo & (Pte.rw | Pte.accessed | Pte.user) || hi & ~oldHi & PTE_HI_NX) mm.stale = true;
}

/** The guest flushes, or loads a base pointer: nothing is done where nothing can be stale. */
export function flushTlb(mm: MmState): void {
  if (mm.stale) mm.mmu.tlb.flushAll();
  mm.stale = false;
  mm.drops = 0;
}

export function flushPage(mm: MmState, address: bigint): void {
  mm.mmu.tlb.flushPage(Number(address & 0xffffffffn) | 0, Number((address >> 32n) & 0xffffffffn) | 0);
}
