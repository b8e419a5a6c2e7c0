/**
 * Instructions that a PV guest kernel may use as if it had the privilege, and
 * same-privilege far transfers, which need the descriptor tables. Everything
 * else is #GP or #UD, as on the processor (arch/x86/pv/emul-priv-op.c).
 */
import { type Exit, Flag, Gpr, type PrivilegedInstruction, Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest, writeGuest } from '../guest-memory.js';
import { setCr3 } from '../mm/index.js';
import { hex, trace } from '../trace.js';
import { deliverDebugTrap, injectException, injectPageFault } from '../traps/exceptions.js';
import { codeModeOf, descriptor, isCode, loadSegment } from '../traps/segments.js';
import { readDebugRegister, writeDebugRegister } from '../traps/set.js';
import { compatFarTransfer, compatNativeIret, compatSegmentLoad } from './compat-control.js';
import { queryDescriptor, storeSystemRegister, storeTableRegister } from './descriptor-queries.js';
import { emulateInOut, emulateStringIo, ioplAllows } from './io.js';
import { emulateRdmsr, emulateWrmsr } from './msr.js';

const CR0_TS = 8;
/** PG AM WP NE ET MP PE. */
const CR0_FIXED = 0x80050033;
/** TSD DE FSGSBASE OSXSAVE: what a guest may change in CR4. */
const CR4_TSD = 4;
const CR4_DE = 8;
const CR4_FSGSBASE = 0x10000;
const CR4_OSXSAVE = 0x40000;
/** PAE MCE OSFXSR OSXMMEXCPT. */
export const CR4_FIXED = 0x660;
const FSGSBASE_BIT = 1;
const XSAVE_BIT = 1 << 26;
/** Page faults of ring 3 on a page that is not there. */
const PF_READ = 4;
const PF_WRITE = 6;

type Outcome =
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
      if ((Number(value & 0xffffffffn) ^ CR0_FIXED) & ~CR0_TS) return false;
      core.cr0 = value & BigInt(CR0_TS) ? core.cr0 | CR0_TS : core.cr0 & ~CR0_TS;
      return true;
    case 2:
      vcpu.cr2 = value;
      return true;
    case 4:
      setGuestCr4(vcpu, Number(value & 0xffffffffn));
      return true;
    default:
      return false;
  }
}

/** Takes the bits of CR4 that a guest may choose and the processor has. */
export function setGuestCr4(vcpu: XenVcpu, claimed: number): void {
  const { features } = vcpu.domain.cpu;
  let allowed = CR4_TSD | CR4_DE;
  if (features.leaf7Ebx & FSGSBASE_BIT) allowed |= CR4_FSGSBASE;
  if (features.leaf1Ecx & XSAVE_BIT) allowed |= CR4_OSXSAVE;
  vcpu.guestCr4 = CR4_FIXED | (claimed & allowed);
  vcpu.core.cr4 = vcpu.guestCr4;
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
  return writeDebugRegister(vcpu, register, regs[gpr]) === 0 ? 'next' : 'general-protection';
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

/** IRET within ring 3: the frame is popped, the event mask is not touched. */
function nativeIret(vcpu: XenVcpu, { width }: PrivilegedInstruction): Outcome {
  const { core } = vcpu;
  const { regs } = core;
  const size = width === 64 ? 8 : width === 32 ? 4 : 2;
  // 64-bit code always pops SS:RSP; within 32-bit code only an outer ring does.
  const words = core.mode === 64 ? 5 : 3;
  const sp = core.mode === 64 ? regs[Gpr.rsp] : BigInt.asUintN(32, regs[Gpr.rsp]);
  const bytes = readGuest(vcpu, sp, size * words);
  if (!bytes) {
    injectPageFault(vcpu, PF_READ, sp);
    return 'stay';
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number): bigint =>
    size === 8
      ? view.getBigUint64(index * 8, true)
      : BigInt(size === 4 ? view.getUint32(index * 4, true) : view.getUint16(index * 2, true));
  const cs = Number(word(1) & 0xffffn);
  const code = descriptor(vcpu, cs);
  if ((cs & 3) !== 3 || code === null || !isCode(code)) return 'general-protection';
  const keep = Flag.IF | Flag.IOPL | Flag.VIF | Flag.VIP;
  core.rip = word(0);
  core.rflags = (Number(word(2) & 0xffffffffn) & ~(keep | Flag.VM)) | (core.rflags & keep) | 2;
  core.selectors[Seg.cs] = cs;
  if (words === 5) {
    regs[Gpr.rsp] = word(3);
    core.selectors[Seg.ss] = Number(word(4) & 0xffffn);
  } else {
    regs[Gpr.rsp] = BigInt.asUintN(32, sp + BigInt(size * words));
  }
  core.mode = codeModeOf(vcpu, cs);
  return 'stay';
}

/** The bytes that tell the forms of an instruction apart: opcode, with 0x0F00 for the second map, and ModRM. */
function opcodeAt(vcpu: XenVcpu, length: number): { opcode: number; modrm: number; bytes: Uint8Array } | null {
  const { core } = vcpu;
  const bytes = readGuest(vcpu, core.rip, length);
  if (!bytes) return null;
  let at = 0;
  while (at < length - 1 && isPrefix(bytes[at], core.mode === 64)) at++;
  let opcode = bytes[at];
  if (opcode === 0x0f) opcode = 0x0f00 | bytes[++at];
  return { opcode, modrm: bytes[at + 1] ?? 0, bytes };
}
const isPrefix = (byte: number, long: boolean): boolean =>
  [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3].includes(byte) || (long && (byte & 0xf0) === 0x40);

const opcodeOf = (vcpu: XenVcpu, { length }: PrivilegedInstruction): number => opcodeAt(vcpu, length)?.opcode ?? 0;
const LSS = 0x0fb2;

const stackPointer = (vcpu: XenVcpu): bigint =>
  vcpu.core.mode === 64 ? vcpu.core.regs[Gpr.rsp] : BigInt.asUintN(32, vcpu.core.regs[Gpr.rsp]);

/** Enters code of the same ring through a selector; false means #GP of it. */
function enterCode(vcpu: XenVcpu, selector: number, offset: bigint): boolean {
  const { core } = vcpu;
  const code = descriptor(vcpu, selector);
  if (code === null || !isCode(code)) return false;
  core.selectors[Seg.cs] = selector | 3;
  core.mode = codeModeOf(vcpu, selector | 3);
  core.rip = core.mode === 64 ? offset : BigInt.asUintN(32, offset);
  return true;
}

/** Far jump, call or return to code of the same ring. */
function farTransfer(vcpu: XenVcpu, instruction: PrivilegedInstruction): Outcome {
  const { regs } = vcpu.core;
  const found = opcodeAt(vcpu, instruction.length);
  if (!found) return 'general-protection';
  if (!vcpu.domain.is64) return compatFarTransfer(vcpu, found, instruction);
  const { opcode, modrm, bytes } = found;
  const size = instruction.width / 8;
  const sp = stackPointer(vcpu);
  const refuse = (selector: number): Outcome => {
    injectException(vcpu, Vector.GP, selector & 0xfffc);
    return 'stay';
  };
  if (opcode === 0xcb || opcode === 0xca) {
    const frame = readGuest(vcpu, sp, size * 2);
    if (!frame) {
      injectPageFault(vcpu, PF_READ, sp);
      return 'stay';
    }
    const word = (at: number): bigint => {
      let value = 0n;
      for (let byte = size - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(frame[at * size + byte]);
      return value;
    };
    const selector = Number(word(1) & 0xffffn);
    if ((selector & 3) !== 3 || !enterCode(vcpu, selector, word(0))) return refuse(selector);
    const drop = opcode === 0xca ? bytes[bytes.length - 2] | (bytes[bytes.length - 1] << 8) : 0;
    regs[Gpr.rsp] = sp + BigInt(size * 2 + drop);
    return 'stay';
  }
  const { selector, offset } = instruction;
  const isCall = opcode === 0x9a || (opcode === 0xff && ((modrm >> 3) & 7) === 3);
  if (!isCall) return enterCode(vcpu, selector, offset) ? 'stay' : refuse(selector);
  const frame = new Uint8Array(size * 2);
  const returnTo = vcpu.core.rip + BigInt(instruction.length);
  for (let byte = 0; byte < size; byte++) {
    frame[byte] = Number((returnTo >> BigInt(8 * byte)) & 0xffn);
    frame[size + byte] = byte < 2 ? (vcpu.core.selectors[Seg.cs] >> (8 * byte)) & 0xff : 0;
  }
  const code = descriptor(vcpu, selector);
  if (code === null || !isCode(code)) return refuse(selector);
  if (!writeGuest(vcpu, sp - BigInt(frame.length), frame)) {
    injectPageFault(vcpu, PF_WRITE, sp - BigInt(frame.length));
    return 'stay';
  }
  regs[Gpr.rsp] = sp - BigInt(frame.length);
  enterCode(vcpu, selector, offset);
  return 'stay';
}

/** MOV, POP and the LDS family into a segment register. */
function segmentLoad(vcpu: XenVcpu, instruction: PrivilegedInstruction): Outcome {
  const { selector, register, gpr, offset, width } = instruction;
  const opcode = opcodeAt(vcpu, instruction.length)?.opcode ?? 0x8e;
  if (!vcpu.domain.is64) {
    if (compatSegmentLoad(vcpu, register, selector) === 'stay') return 'stay';
  } else if (!loadSegment(vcpu, register, selector)) {
    injectException(vcpu, Vector.GP, selector & 0xfffc);
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
      return ok(emulateInOut(vcpu, instruction));
    case 'INS':
    case 'OUTS': {
      const outcome = emulateStringIo(vcpu, instruction);
      return outcome === 'done' ? 'next' : outcome === 'refused' ? 'general-protection' : 'stay';
    }
    case 'CLI':
    case 'STI':
      // Allowed by virtual IOPL, and without effect on the event mask.
      return ok(ioplAllows(vcpu));
    case 'IRET':
      return vcpu.domain.is64 ? nativeIret(vcpu, instruction) : compatNativeIret(vcpu, instruction);
    case 'FAR_TRANSFER':
      return farTransfer(vcpu, instruction);
    case 'LOAD_SEGMENT':
      return segmentLoad(vcpu, instruction);
    case 'LAR':
    case 'LSL':
    case 'VERR':
    case 'VERW':
      queryDescriptor(vcpu, instruction);
      return 'next';
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
  switch (emulate(vcpu, instruction)) {
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
  // Of an instruction that faulted nothing is due.
  deliverDebugTrap(vcpu, loadedSs);
}
