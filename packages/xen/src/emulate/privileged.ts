/**
 * Instructions that a PV guest kernel may use as if it had the privilege, and
 * same-privilege far transfers, which need the descriptor tables. Everything
 * else is #GP or #UD, as on the processor (arch/x86/pv/emul-priv-op.c).
 */
import { Errno } from '@paravane/abi-xen';
import { type Exit, Gpr, type PrivilegedInstruction, Seg, Vector } from '@paravane/engine-api';
import type { XenDomain, XenVcpu } from '../domain.js';
import { setCr3 } from '../mm/index.js';
import { hex, trace } from '../trace.js';
import { deliverDebugTrap, injectException, injectPageFault, injectSegmentFault } from '../traps/exceptions.js';
import { setCr2 } from '../traps/frame.js';
import { loadSegment } from '../traps/segments.js';
import { readDebugRegister, writeDebugRegister } from '../traps/set.js';
import { farTransfer, nativeIret } from './control-transfer.js';
import { queryDescriptor, storeSystemRegister, storeTableRegister } from './descriptor-queries.js';
import { instructionAt } from './instruction.js';
import { emulateInOut, emulateStringIo, ioplAllows, type PortOutcome } from './io.js';
import { emulateRdmsr, emulateWrmsr } from './msr.js';

const CR0_TS = 8;
/** PG AM WP NE ET MP PE. */
const CR0_FIXED = 0x80050033;
const CONTROL_REGISTERS = [0, 2, 3, 4, 8];
/** TSD DE FSGSBASE OSXSAVE: what a guest may change in CR4. */
const CR4_TSD = 4;
const CR4_DE = 8;
const CR4_FSGSBASE = 0x10000;
const CR4_OSXSAVE = 0x40000;
/** PAE MCE OSFXSR OSXMMEXCPT. */
export const CR4_FIXED = 0x660;
const FSGSBASE_BIT = 1;
const XSAVE_BIT = 1 << 26;
/** Page fault of a write in ring 3 on a page that is not there. */
const PF_WRITE = 6;

type Outcome =
  /** An access to ports. */
  | PortOutcome
  /** Go on behind the instruction. */
  | 'next'
  /** RIP is where it shall be. */
  | 'stay'
  | 'general-protection'
  | 'undefined';

function readControl(vcpu: XenVcpu, register: number): bigint | null {
  switch (register) {
    case 0:
      return BigInt(CR0_FIXED + (vcpu.core.cr0 & CR0_TS));
    case 2:
      return vcpu.cr2;
    case 3:
      return vcpu.domain.is64
        ? BigInt(vcpu.kernelRoot) << 12n
        : BigInt.asUintN(32, BigInt(vcpu.kernelRoot) << 12n) | BigInt(vcpu.kernelRoot >>> 20);
    case 4:
      return BigInt(vcpu.guestCr4);
    default:
      return null;
  }
}

function writeControl(vcpu: XenVcpu, register: number, value: bigint): boolean {
  const { core } = vcpu;
  switch (register) {
    case 0:
      if ((value ^ BigInt(CR0_FIXED)) & ~BigInt(CR0_TS)) return false;
      core.cr0 = value & BigInt(CR0_TS) ? core.cr0 | CR0_TS : core.cr0 & ~CR0_TS;
      return true;
    case 2:
      setCr2(vcpu, value);
      return true;
    case 4:
      setGuestCr4(vcpu, Number(value & 0xffffffffn));
      return true;
    default:
      return false;
  }
}

/** What Xen has set in the processor's CR4 for all guests: XSAVE is there whether a guest's kernel has set OSXSAVE or not. */
export const hypervisorCr4 = ({ cpu }: XenDomain): number => (cpu.features.leaf1Ecx & XSAVE_BIT ? CR4_OSXSAVE : 0);

/** Takes the bits of CR4 that a guest may choose and the processor has. */
export function setGuestCr4(vcpu: XenVcpu, claimed: number): void {
  const { features } = vcpu.domain.cpu;
  let allowed = CR4_TSD | CR4_DE;
  if (features.leaf7Ebx & FSGSBASE_BIT) allowed |= CR4_FSGSBASE;
  if (features.leaf1Ecx & XSAVE_BIT) allowed |= CR4_OSXSAVE;
  vcpu.guestCr4 = CR4_FIXED | (claimed & allowed);
  vcpu.core.cr4 = vcpu.guestCr4 | hypervisorCr4(vcpu.domain);
}

function moveControl(vcpu: XenVcpu, { mnemonic, register, gpr }: PrivilegedInstruction): Outcome {
  const { regs } = vcpu.core;
  if (mnemonic === 'MOV_FROM_CR') {
    const value = readControl(vcpu, register);
    if (vcpu.domain.trace) trace(vcpu, `CRr ${register} ${hex(value ?? 0n)} rc${value === null ? 1 : 0}`);
    if (value === null) return 'general-protection';
    regs[gpr] = value;
    return 'next';
  }
  const value = regs[gpr];
  const cr3 = register === 3 ? setCr3(vcpu, value) : 'refused';
  if (cr3 === 'again') return 'stay';
  const done = cr3 === 'done' || writeControl(vcpu, register, value);
  if (vcpu.domain.trace) trace(vcpu, `CRw ${register} ${hex(value)} rc${done ? 0 : 1}`);
  return done ? 'next' : 'general-protection';
}

function moveDebug(vcpu: XenVcpu, { mnemonic, register, gpr }: PrivilegedInstruction): Outcome {
  const { regs } = vcpu.core;
  if (mnemonic === 'MOV_FROM_DR') {
    const value = readDebugRegister(vcpu, register);
    if (value === null) return 'undefined';
    regs[gpr] = value;
    return 'next';
  }
  const rc = writeDebugRegister(vcpu, register, regs[gpr]);
  if (rc === -Errno.ENODEV) return 'undefined';
  return rc === 0 ? 'next' : 'general-protection';
}

function setXcr0(vcpu: XenVcpu): Outcome {
  const { regs } = vcpu.core;
  const { features } = vcpu.domain.cpu;
  if (!(features.leaf1Ecx & XSAVE_BIT) || !(vcpu.guestCr4 & CR4_OSXSAVE)) return 'undefined';
  const value = (BigInt.asUintN(32, regs[Gpr.rdx]) << 32n) | BigInt.asUintN(32, regs[Gpr.rax]);
  const wanted = Number(value & 0xffffffffn);
  const valid =
    BigInt.asUintN(32, regs[Gpr.rcx]) === 0n &&
    value >> 32n === 0n &&
    (wanted & ~features.xcr0) === 0 &&
    (wanted & 1) !== 0 &&
    (!(wanted & 4) || (wanted & 2) !== 0);
  if (!valid) return 'general-protection';
  vcpu.core.xcr0 = wanted;
  return 'next';
}

const opcodeOf = (vcpu: XenVcpu, { length }: PrivilegedInstruction): number => instructionAt(vcpu, length)?.opcode ?? 0;
const LSS = 0x0fb2;

/** MOV, POP and the LDS family into a segment register. */
function segmentLoad(vcpu: XenVcpu, instruction: PrivilegedInstruction): Outcome {
  const { selector, register, gpr, offset, width } = instruction;
  const opcode = instructionAt(vcpu, instruction.length)?.opcode ?? 0x8e;
  const fault = loadSegment(vcpu, register, selector);
  if (fault) {
    injectSegmentFault(vcpu, fault);
    return 'stay';
  }
  if (opcode === 0x8e) return 'next';
  const { regs } = vcpu.core;
  if (gpr === Gpr.rsp || width !== 16) regs[gpr] = offset;
  else regs[gpr] = (regs[gpr] & ~0xffffn) | (offset & 0xffffn);
  return 'next';
}

function emulate(vcpu: XenVcpu, instruction: PrivilegedInstruction): Outcome {
  const { core, guestKernel } = vcpu;
  const ok = (done: boolean): Outcome => (done ? 'next' : 'general-protection');
  switch (instruction.mnemonic) {
    case 'IN':
    case 'OUT':
      return emulateInOut(vcpu, instruction);
    case 'INS':
    case 'OUTS':
      return emulateStringIo(vcpu, instruction);
    case 'CLI':
    case 'STI':
      // Allowed by virtual IOPL, and without effect on the event mask.
      return ok(ioplAllows(vcpu));
    case 'IRET':
      nativeIret(vcpu, instruction);
      return 'stay';
    case 'FAR_TRANSFER': {
      const found = instructionAt(vcpu, instruction.length);
      if (!found) return 'general-protection';
      farTransfer(vcpu, found, instruction);
      return 'stay';
    }
    case 'LOAD_SEGMENT':
      return segmentLoad(vcpu, instruction);
    case 'LAR':
    case 'LSL':
    case 'VERR':
    case 'VERW': {
      const fault = queryDescriptor(vcpu, instruction);
      if (fault === null) return 'next';
      injectSegmentFault(vcpu, fault);
      return 'stay';
    }
    case 'SLDT':
    case 'STR':
    case 'SMSW': {
      const fault = storeSystemRegister(vcpu, instruction, CR0_FIXED + (core.cr0 & CR0_TS));
      if (fault === null) return 'next';
      injectPageFault(vcpu, PF_WRITE, fault);
      return 'stay';
    }
    case 'SGDT':
    case 'SIDT': {
      const fault = storeTableRegister(vcpu, instruction);
      if (fault === null) return 'next';
      injectPageFault(vcpu, PF_WRITE, fault);
      return 'stay';
    }
    case 'SYSENTER':
    case 'SYSEXIT':
    case 'VMCALL':
    case 'VMMCALL':
    case 'MONITOR':
    case 'MWAIT':
      return 'undefined';
    case 'XSETBV':
      return guestKernel || !(vcpu.guestCr4 & CR4_OSXSAVE) ? setXcr0(vcpu) : 'general-protection';
    case 'MOV_FROM_CR':
    case 'MOV_TO_CR':
      // No privilege makes a register that there is not.
      if (!CONTROL_REGISTERS.includes(instruction.register)) return 'undefined';
      break;
    default:
      break;
  }
  if (!guestKernel) return 'general-protection';
  switch (instruction.mnemonic) {
    case 'CLTS':
      core.cr0 &= ~CR0_TS;
      return 'next';
    case 'WBINVD':
      return 'next';
    case 'MOV_FROM_CR':
    case 'MOV_TO_CR':
      return moveControl(vcpu, instruction);
    case 'MOV_FROM_DR':
    case 'MOV_TO_DR':
      return moveDebug(vcpu, instruction);
    case 'RDMSR':
      return ok(emulateRdmsr(vcpu));
    case 'WRMSR':
      return ok(emulateWrmsr(vcpu));
    default:
      return 'general-protection';
  }
}

export function handlePrivileged(vcpu: XenVcpu, exit: Exit): void {
  const { core } = vcpu;
  const { instruction } = exit;
  if (!instruction) {
    injectException(vcpu, Vector.GP, 0);
    return;
  }
  // LSS is the one load of SS that holds nothing back.
  const loadedSs =
    instruction.mnemonic === 'LOAD_SEGMENT' && instruction.register === Seg.ss && opcodeOf(vcpu, instruction) !== LSS;
  const outcome = emulate(vcpu, instruction);
  const { way, hits } = typeof outcome === 'object' ? outcome : { way: outcome, hits: 0 };
  switch (way) {
    case 'next':
      core.rip = BigInt.asUintN(core.mode === 64 ? 64 : 32, core.rip + BigInt(instruction.length));
      break;
    case 'general-protection':
      injectException(vcpu, Vector.GP, 0);
      break;
    case 'undefined':
      injectException(vcpu, Vector.UD);
      break;
    case 'stay':
      break;
  }
  // Of an instruction that faulted nothing is due, and it holds nothing back.
  deliverDebugTrap(vcpu, loadedSs && way === 'next', hits);
}
