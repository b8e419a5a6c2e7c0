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

interface Descriptor {
  lo: number;
  hi: number;
}

/** With its DPL raised to the ring of the guest's kernel. */
const withDpl = (hi: number, kernelRing: number): number =>
  ((hi & ~DPL) | (Math.max((hi & DPL) >>> 13, kernelRing) << 13)) >>> 0;

/**
 * A call gate gets DPL 0, so that its use faults and is emulated; the DPL it had goes to the RPL of its target. `hi` has
 * its DPL set right. Null if it may not lead to its code selector, or has one of the `reserved` bits.
 */
function checkedGate(lo: number, hi: number, kernelCs: number, reserved: number): Descriptor | null {
  const target = lo >>> 16;
  const targetOk = target >> 3 < FIRST_RESERVED_GDT_ENTRY || target === kernelCs || (target & 4) !== 0;
  if ((hi & TYPE) !== CALL_GATE || !targetOk || hi & reserved) return null;
  const rpl = (hi & DPL) >>> 13;
  return { lo: ((lo & 0xfffcffff) | (rpl << 16)) >>> 0, hi: (hi & ~DPL) >>> 0 };
}

/** Of type 0: the second half of a gate, which nothing can be loaded from. It stays as it is. */
const isUpperHalf = (hi: number): boolean => (hi & TYPE) === 0;

/** The descriptor as it may stand in a table of a 64-bit guest, its DPL set right, or null if it may not. */
function checkedLong(lo: number, hi: number): Descriptor | null {
  if (!(hi & PRESENT)) return { lo, hi };
  const raised = withDpl(hi, 3);
  if (hi & CODE_OR_DATA) return { lo, hi: raised };
  return isUpperHalf(hi) ? { lo, hi } : checkedGate(lo, raised, FLAT_KERNEL[64].CS, 0xff);
}

const LONG = 1 << 21;
const GRANULARITY = 1 << 23;

/** As `checkedLong`, for a table of a 32-bit guest: its kernel's ring is 1, and it has no 64-bit code. */
function checkedCompat(lo: number, hi: number): Descriptor | null {
  if (!(hi & PRESENT)) return { lo, hi };
  const raised = withDpl(hi, 1);
  if (hi & CODE_OR_DATA) {
    if (hi & LONG) return null;
    const base = (hi & 0xff000000) | ((hi & 0xff) << 16) | (lo >>> 16);
    const limit = ((hi & 0xf0000) | (lo & 0xffff)) + 1;
    // Old kernels end their flat segments below a hypervisor that began higher up.
    const reaches = limit * (hi & GRANULARITY ? 4096 : 1) > HYPERVISOR_VIRT_START_PAE;
    if (base === 0 && reaches) return { lo: (lo | 0xffff) >>> 0, hi: (raised | 0xf0000) >>> 0 };
    return { lo, hi: raised };
  }
  return isUpperHalf(hi) ? { lo, hi } : checkedGate(lo, raised, FLAT_KERNEL[32].CS, 0xe0);
}

/** The descriptor as it may stand in a table of the domain, or null. */
export function checkedDescriptor(mm: MmState, lo: number, hi: number): Descriptor | null {
  return mm.pae ? checkedCompat(lo, hi) : checkedLong(lo, hi);
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
