/**
 * Segment descriptors that a guest may have in its GDT and LDT
 * (xen/arch/x86/pv/descriptor-tables.c, `check_descriptor`; Intel SDM vol. 3, 3.4.5).
 */

import { FIRST_RESERVED_GDT_ENTRY, FLAT_KERNEL, HYPERVISOR_VIRT_START_PAE } from '@paravane/abi-xen';
import type { Mfn } from '@paravane/types';
import { entryWord, writeEntry } from './pte.js';
import type { MmState } from './state.js';

const PRESENT = 1 << 15;
const DPL = 3 << 13;
/** S: a code or data segment. */
const CODE_OR_DATA = 1 << 12;
const TYPE = 0xf << 8;
const CALL_GATE = 0xc << 8;

/** Whether a gate may lead to this code selector. */
const gateSelectorOk = (selector: number): boolean =>
  selector >> 3 < FIRST_RESERVED_GDT_ENTRY || selector === FLAT_KERNEL[64].CS || (selector & 4) !== 0;

/**
 * The high word of the descriptor as it may stand in a table of a 64-bit guest, its DPL
 * set right, or null if it may not. (Call gates get DPL 0: their use faults and is emulated.)
 */
export function checkedDescriptorHigh(lo: number, hi: number): number | null {
  if (!(hi & PRESENT)) return hi;
  const raised = (hi | DPL) >>> 0;
  if (hi & CODE_OR_DATA || (hi & TYPE) === 0) return raised;
  if ((hi & TYPE) !== CALL_GATE || !gateSelectorOk(lo >>> 16) || hi & 0xff) return null;
  return (hi & ~DPL) >>> 0;
}

const LONG = 1 << 21;
const GRANULARITY = 1 << 23;

/** As `checkedDescriptorHigh`, for a table of a 32-bit guest: its kernel's ring is 1, and it has no 64-bit code. */
function checkedCompat(lo: number, hi: number): { lo: number; hi: number } | null {
  if (!(hi & PRESENT)) return { lo, hi };
  const raised = ((hi & DPL) === 0 ? hi | (1 << 13) : hi) >>> 0;
  if (hi & CODE_OR_DATA) {
    if (hi & LONG) return null;
    const base = (hi & 0xff000000) | ((hi & 0xff) << 16) | (lo >>> 16);
    const limit = ((hi & 0xf0000) | (lo & 0xffff)) + 1;
    // Old kernels end their flat segments below a hypervisor that began higher up.
    const reaches = limit * (hi & GRANULARITY ? 4096 : 1) > HYPERVISOR_VIRT_START_PAE;
    if (base === 0 && reaches) return { lo: (lo | 0xffff) >>> 0, hi: (raised | 0xf0000) >>> 0 };
    return { lo, hi: raised };
  }
  if ((hi & TYPE) === 0) return { lo, hi: raised };
  const target = lo >>> 16;
  const targetOk = target >> 3 < FIRST_RESERVED_GDT_ENTRY || target === FLAT_KERNEL[32].CS || (target & 4) !== 0;
  return (hi & TYPE) === CALL_GATE && targetOk ? { lo, hi: (hi & ~DPL) >>> 0 } : null;
}

/** The descriptor as it may stand in a table of the domain, or null. */
export function checkedDescriptor(mm: MmState, lo: number, hi: number): { lo: number; hi: number } | null {
  if (mm.pae) return checkedCompat(lo, hi);
  const checked = checkedDescriptorHigh(lo, hi);
  return checked === null ? null : { lo, hi: checked };
}

/** Checks all descriptors of a page, setting DPLs right as it goes. */
export function descriptorPageOk(mm: MmState, mfn: number): boolean {
  const { u32 } = mm.mmu.machine;
  const base = entryWord(mm, mfn, 0);
  for (let index = 0; index < 512; index++) {
    const lo = u32[base + 2 * index]!;
    const hi = u32[base + 2 * index + 1]!;
    if (!(hi & PRESENT)) continue;
    const checked = checkedDescriptor(mm, lo, hi);
    if (checked === null) return false;
    if (checked.hi !== hi || checked.lo !== lo) writeEntry(mm, mfn as Mfn, index, checked.lo, checked.hi);
  }
  return true;
}
