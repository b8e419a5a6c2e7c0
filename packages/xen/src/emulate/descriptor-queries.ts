/**
 * Instructions that only look: LAR, LSL, VERR and VERW at a descriptor of the
 * guest's tables, SLDT, STR, SMSW, SGDT and SIDT at registers that are Xen's. None needs a
 * privilege (Intel SDM vol. 2; vol. 3, 5.10).
 */
import { Flag, type PrivilegedInstruction, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { writeGuest } from '../guest-memory.js';
import { absentPage, descriptor, type SegmentFault } from '../traps/segments.js';

/** Xen's TSS and LDT in its part of the GDT (x86/include/asm/desc.h). */
const TSS_SELECTOR = 0xe040;
const LDT_SELECTOR = 0xe050;
/**
 * Types of system descriptors that LAR and LSL know in long mode: LDT, TSS and call gate, none of 16 bits; LSL only those
 * with a limit (AMD APM vol. 3, LAR; Intel's manual has LAR know no LDT there).
 */
const LAR_SYSTEM = (1 << 2) | (1 << 9) | (1 << 11) | (1 << 12);
const LSL_SYSTEM = (1 << 2) | (1 << 9) | (1 << 11);

/** The descriptor that a selector names, if code of this privilege may ask about it. */
function visible(vcpu: XenVcpu, selector: number, system: number): { lo: number; hi: number } | null {
  const value = descriptor(vcpu, selector);
  if (value === null) return null;
  const lo = Number(value & 0xffffffffn);
  const hi = Number(value >> 32n);
  const type = (hi >>> 8) & 15;
  if (!(hi & 0x1000)) {
    if (!(system & (1 << type))) return null;
  } else if ((type & 0xc) === 0xc) {
    // Conforming code is there for every ring.
    return { lo, hi };
  }
  const ring = vcpu.core.selectors[Seg.cs]! & 3;
  return ((hi >>> 13) & 3) >= Math.max(ring, selector & 3) ? { lo, hi } : null;
}

/** Answers LAR, LSL, VERR or VERW; or the fault of a page of the LDT that is not there. */
export function queryDescriptor(
  vcpu: XenVcpu,
  { mnemonic, selector, gpr, width }: PrivilegedInstruction,
): SegmentFault | null {
  const { core } = vcpu;
  const fault = absentPage(vcpu, selector);
  if (fault !== null) return fault;
  const found = visible(vcpu, selector, mnemonic === 'LAR' ? LAR_SYSTEM : mnemonic === 'LSL' ? LSL_SYSTEM : 0);
  let holds = found !== null;
  if (found) {
    const { lo, hi } = found;
    const isCode = (hi & 0x800) !== 0;
    const readOrWrite = (hi & 0x200) !== 0;
    if (mnemonic === 'VERR') holds = !isCode || readOrWrite;
    else if (mnemonic === 'VERW') holds = !isCode && readOrWrite;
    else if (mnemonic === 'LAR') setRegister(vcpu, gpr, hi & 0x00ffff00, width);
    else {
      const limit = ((hi & 0xf0000) | (lo & 0xffff)) >>> 0;
      setRegister(vcpu, gpr, hi & 0x800000 ? limit * 4096 + 4095 : limit, width);
    }
  }
  core.rflags = (core.rflags & ~Flag.ZF) | (holds ? Flag.ZF : 0);
  return null;
}

function setRegister({ core }: XenVcpu, gpr: number, value: number, width: number): void {
  const wide = BigInt(value >>> 0);
  core.regs[gpr] = width === 16 ? (core.regs[gpr]! & ~0xffffn) | (wide & 0xffffn) : wide;
}

/** Limits and addresses of Xen's own tables: GDTR in the per-domain area, a part for each vCPU; IDTR in its image. */
const GDT = { base: 0xffff820000000000n, perVcpu: 1n << 17n, limit: 0xefff };
const IDT = { base: 0xffff82d040000000n, limit: 0xfff };

/** Answers SGDT and SIDT, which store Xen's registers; the address of a store that faults, or null. */
export function storeTableRegister(vcpu: XenVcpu, { mnemonic, offset }: PrivilegedInstruction): bigint | null {
  const isGdt = mnemonic === 'SGDT';
  const bytes = new Uint8Array(vcpu.core.mode === 64 ? 10 : 6);
  const base = isGdt ? GDT.base + GDT.perVcpu * BigInt(vcpu.id) : IDT.base;
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = at < 2 ? (isGdt ? GDT : IDT).limit >> (8 * at) : Number((base >> BigInt(8 * (at - 2))) & 0xffn);
  }
  return writeGuest(vcpu, offset, bytes) ? null : offset;
}

/** Answers SLDT, STR or SMSW; the address of a store that faults, or null. */
export function storeSystemRegister(vcpu: XenVcpu, instruction: PrivilegedInstruction, cr0: number): bigint | null {
  const { mnemonic, gpr, offset, width } = instruction;
  const ldt = vcpu.mm.ldtEntries > 0 ? LDT_SELECTOR : 0;
  const value = mnemonic === 'SMSW' ? cr0 : mnemonic === 'STR' ? TSS_SELECTOR : ldt;
  if (gpr >= 0) {
    setRegister(vcpu, gpr, value, width);
    return null;
  }
  return writeGuest(vcpu, offset, Uint8Array.of(value & 255, (value >> 8) & 255)) ? null : offset;
}
