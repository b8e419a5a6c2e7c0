/**
 * Long operations in pieces. A hypercall may look at a bounded number of table
 * entries; then it asks to be re-issued.
 *
 * Taking apart: `putPageAndType` puts tables off when the budget is used up, and
 * the next call takes them first (Xen's `old_guest_table`). Validating: before an
 * operation validates a tree, `validateAhead` does so from the leaves up, each
 * table with a reference of its own, as far as the budget goes; the operation
 * itself then finds little left to do. What the operation reports does not
 * change by this, as the order of visits is the same.
 */
import { FrameType, Pte } from '@paravane/mmu';
import type { HypercallResult, XenVcpu } from '../domain.js';
import { getPageAndType, isXenSlot, PAE_LAST, putPageAndType } from './page-type.js';
import { entryFrame, entryWord } from './pte.js';
import type { MmState } from './state.js';

/** Table entries looked at per call: 128 tables, some milliseconds. */
const BUDGET = 0x10000;

/** Starts a hypercall; false if it must first be re-issued to finish what an earlier one put off. */
export function begin(mm: MmState, budget = BUDGET): boolean {
  mm.budget = budget;
  drain(mm);
  return mm.deferred.length === 0;
}

/** Takes tables apart that were put off, as far as the budget goes. */
function drain(mm: MmState): void {
  while (mm.budget > 0 && mm.deferred.length > 0) putPageAndType(mm, mm.deferred.pop()!);
}

/** Ends a hypercall or a part of it. */
export function end<T extends HypercallResult>(mm: MmState, result: T): T {
  mm.budget = Infinity;
  return result;
}

/** Whether the hypercall should stop here and be re-issued. */
export const preempted = (mm: MmState): boolean => mm.budget <= 0 || mm.deferred.length > 0;

/** Validates below and including `mfn`, children first. False: out of budget, call again. */
export function validateAhead(vcpu: XenVcpu, mfn: number, level: number): boolean {
  const { mm } = vcpu.domain;
  const { frames } = mm;
  if (frames.typeCount[mfn] !== 0) return true;
  const { u32 } = mm.mmu.machine;
  // A failure ends the search: the operation itself will find and report it.
  let failed = false;
  const seen = new Set<number>();

  /** `alone`: takes what lies below, not the table itself, which must not be held twice. */
  function visit(table: number, tableLevel: number, alone = false): boolean {
    if (failed || !(table > 0 && table < frames.frames) || frames.owner[table] !== mm.domid) return true;
    if (frames.typeCount[table] !== 0 || seen.has(table)) return true;
    if (tableLevel > 1) {
      seen.add(table);
      const base = entryWord(mm, table, 0);
      for (let index = 0; index < 512 && !failed; index++) {
        const lo = u32[base + 2 * index]!;
        if (!(lo & Pte.present) || isXenSlot(mm, table, tableLevel, index)) continue;
        const last = mm.pae && tableLevel === 3 && index === PAE_LAST;
        if (!visit(entryFrame(lo, u32[base + 2 * index + 1]!), tableLevel - 1, last)) return false;
      }
    }
    if (alone) return true;
    if (mm.budget <= 0) return false;
    if (failed || frames.typeCount[table] !== 0) return true;
    if (getPageAndType(mm, table, tableLevel as FrameType) === 0) vcpu.mm.ahead.push(table);
    else failed = true;
    return true;
  }
  return visit(mfn, level);
}

/** The operation is done: what was validated ahead stands or falls with its own references. */
export function dropAhead(vcpu: XenVcpu): void {
  const { ahead } = vcpu.mm;
  while (ahead.length > 0) putPageAndType(vcpu.domain.mm, ahead.pop()!);
}
