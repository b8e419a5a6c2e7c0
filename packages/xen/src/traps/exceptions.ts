/**
 * Exceptions and software interrupts of a PV guest: what Xen handles itself,
 * and what goes to the guest's handler through its trap table.
 */
import { FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS64, FLAT_USER, XEN_EMULATE_PREFIX } from '@paravane/abi-xen';
import { type Exit, Flag, Gpr, Seg, Vector } from '@paravane/engine-api';
import type { Callback, XenVcpu } from '../domain.js';
import { emulateForcedCpuid } from '../emulate/cpuid.js';
import { emulateTimeStamp } from '../emulate/time-stamp.js';
import { readGuest } from '../guest-memory.js';
import { handlePageFault } from '../mm/index.js';
import { hex, trace } from '../trace.js';
import { enterKernel } from './bounce.js';
import { NO_ERROR_CODE, pageFaultCode, setCr2 } from './frame.js';
import { setRing } from './mode.js';
import { isCanonical, type SegmentFault } from './segments.js';

const CR0_TS = 8;
/** Vectors whose entry pushes an error code (Intel SDM vol. 3, table 6-1). */
const HAS_CODE = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);

/** Vectors that report a fault: the instruction will run again, and the flags saved have RF set (17.3.1.1). */
const isFault = (vector: number): boolean => !TRAPS.has(vector);
const TRAPS: ReadonlySet<number> = new Set([Vector.DB, Vector.NMI, Vector.BP, Vector.OF, Vector.DF, Vector.MC]);

/** Delivers an exception that an instruction of the guest has raised; a domain without a handler ends. */
export function injectException(vcpu: XenVcpu, vector: number, errorCode = NO_ERROR_CODE, address = 0n): void {
  bounceException(vcpu, vector, errorCode, address, isFault(vector) ? Flag.RF : 0);
}

/** The same for one that no instruction of the guest has raised, but Xen on its way back to it: RF is as it is. */
function bounceException(
  vcpu: XenVcpu,
  vector: number,
  errorCode = NO_ERROR_CODE,
  address = 0n,
  resume = vcpu.core.rflags & Flag.RF,
): void {
  const trap = vcpu.traps[vector];
  // The instruction did not complete: nothing is due behind it.
  vcpu.core.debugTrap();
  vcpu.core.rflags |= resume;
  if (vcpu.domain.trace) {
    trace(vcpu, `T ${vector} ${hex(Math.max(errorCode, 0))} cr2 ${hex(address)} @${hex(vcpu.core.rip)}`);
  }
  if (isUnset(vcpu, trap)) {
    vcpu.domain.crash(`${described(vector, errorCode, address)}, and the guest has no handler for it`, vcpu);
    return;
  }
  const code = HAS_CODE & (1 << vector) ? Math.max(errorCode, 0) : NO_ERROR_CODE;
  enterKernel(vcpu, trap.address, trap.masksEvents, code, false, trap.cs);
}

/** For people: `exception 14 (#PF) at address 10, error code 2`. */
function described(vector: number, errorCode: number, address: bigint): string {
  const name = Object.entries(Vector).find(([, number]) => number === vector)?.[0];
  const where = vector === Vector.PF ? ` at address ${hex(address)}` : '';
  const code = HAS_CODE & (1 << vector) ? `, error code ${hex(Math.max(errorCode, 0))}` : '';
  return `exception ${vector}${name === undefined ? '' : ` (#${name})`}${where}${code}`;
}

const isUnset = ({ domain }: XenVcpu, { address, cs = 0 }: Callback): boolean =>
  domain.is64 ? address === 0n : (cs & 0xfffc) === 0;

export function injectPageFault(vcpu: XenVcpu, errorCode: number, address: bigint): void {
  setCr2(vcpu, address);
  injectException(vcpu, Vector.PF, pageFaultCode(vcpu, errorCode), address);
}

/** What a load of a segment register raised. */
export function injectSegmentFault(vcpu: XenVcpu, { vector, errorCode, address }: SegmentFault): void {
  if (address !== undefined) injectPageFault(vcpu, errorCode, address);
  else injectException(vcpu, vector, errorCode);
}

/** What Xen's own return to the guest raised. */
export function bounceSegmentFault(vcpu: XenVcpu, { vector, errorCode, address }: SegmentFault): void {
  if (address !== undefined) setCr2(vcpu, address);
  bounceException(vcpu, vector, address === undefined ? errorCode : pageFaultCode(vcpu, errorCode), address);
}

/** #DB; DR6 gathers what happened until the guest clears it. */
export function injectDebugTrap(vcpu: XenVcpu, dr6: number): void {
  vcpu.core.debug[6] |= BigInt(dr6);
  injectException(vcpu, Vector.DB);
}

/** An instruction was carried out here instead of in the core: the trap that single-step or a breakpoint asks for. */
export function deliverDebugTrap(vcpu: XenVcpu, loadedSs = false, hits = 0): void {
  const due = vcpu.core.debugTrap(loadedSs) | hits;
  if (due !== 0) injectDebugTrap(vcpu, due);
}

/**
 * Back in the guest behind a SYSCALL. Xen returns by SYSRET, which traps at once when it sets TF, where IRET traps
 * behind the next instruction; where no code can be it uses IRET, which faults.
 */
export function returnBySysret(vcpu: XenVcpu): void {
  if (!isCanonical(vcpu.core.rip)) bounceException(vcpu, Vector.GP, 0);
  else if (vcpu.core.rflags & Flag.TF) injectDebugTrap(vcpu, DR6_SINGLE_STEP);
}
const DR6_SINGLE_STEP = 0x4000;

export function handleException(vcpu: XenVcpu, exit: Exit): void {
  const { core } = vcpu;
  switch (exit.vector) {
    case Vector.PF:
      if (handlePageFault(vcpu, exit) === 'bounce') injectPageFault(vcpu, exit.errorCode, exit.address);
      else deliverDebugTrap(vcpu);
      return;
    case Vector.UD:
      handleUndefined(vcpu);
      return;
    case Vector.GP:
      if (exit.errorCode === 0 && emulateTimeStamp(vcpu)) deliverDebugTrap(vcpu);
      else injectException(vcpu, Vector.GP, exit.errorCode);
      return;
    case Vector.NM:
      core.cr0 &= ~CR0_TS;
      injectException(vcpu, Vector.NM);
      return;
    case Vector.DB:
      injectDebugTrap(vcpu, exit.dr6);
      return;
    default:
      injectException(vcpu, exit.vector, exit.errorCode);
  }
}

const CPUID = [0x0f, 0xa2];

/**
 * Xen looks for its prefix, `ud2; "xen"`, wherever an instruction is undefined, and for CPUID behind it. Where so many
 * bytes can't be read, that is the fault that the guest hears of.
 */
function handleUndefined(vcpu: XenVcpu): void {
  const { core } = vcpu;
  let at = core.rip;
  for (const expected of [XEN_EMULATE_PREFIX, CPUID]) {
    const bytes = readGuest(vcpu, at, expected.length);
    if (!bytes) return injectPageFault(vcpu, 0, firstUnreadable(vcpu, at));
    if (!expected.every((byte, i) => bytes[i] === byte)) return injectException(vcpu, Vector.UD);
    at = BigInt.asUintN(core.mode === 64 ? 64 : 32, at + BigInt(expected.length));
  }
  if (emulateForcedCpuid(vcpu)) deliverDebugTrap(vcpu);
  else injectException(vcpu, Vector.GP, 0);
}
const firstUnreadable = (vcpu: XenVcpu, at: bigint): bigint =>
  readGuest(vcpu, at, 1) ? BigInt.asUintN(64, (at | 0xfffn) + 1n) : at;

const SYSTEM_CALL = 0x80;
/** Whether the instruction before RIP is INT1 (F1), which asks for no DPL, and not INT 1 (CD 01). */
const isIcebp = (vcpu: XenVcpu): boolean =>
  readGuest(vcpu, BigInt.asUintN(64, vcpu.core.codeAddress - 1n), 1)?.[0] === 0xf1;

/** Bytes of INT n, without prefixes. */
const INT_BYTES = 2;

/**
 * INT n, with RIP behind it. INT3, INTO and INT1 are open to all; others are #GP on the processor, and Xen, which asks the
 * trap table's DPL, takes them for two bytes long, whatever prefixes they have.
 */
export function handleInterrupt(vcpu: XenVcpu, exit: Exit): void {
  const { core } = vcpu;
  const { vector, length } = exit;
  if (vector === Vector.BP || vector === Vector.OF || (vector === Vector.DB && isIcebp(vcpu))) {
    injectException(vcpu, vector);
    return;
  }
  const trap = vcpu.traps[vector];
  const move = (bytes: number): void => {
    core.rip = BigInt.asUintN(core.mode === 64 ? 64 : 32, core.rip + BigInt(bytes));
  };
  const enter = (): void => enterKernel(vcpu, trap.address, trap.masksEvents, NO_ERROR_CODE, false, trap.cs);
  // Vector 80 has a gate of its own, which all may use: its fault is Xen's, behind the instruction.
  const isOpen = vector === SYSTEM_CALL;
  if (isOpen && !isUnset(vcpu, trap)) return enter();
  move(isOpen ? -INT_BYTES : -length);
  if (trap.dpl >= (vcpu.guestKernel ? 1 : 3)) {
    move(INT_BYTES);
    return enter();
  }
  (isOpen ? bounceException : injectException)(vcpu, Vector.GP, vector * 8 + 2);
}

/** SYSCALL of a user program, with RIP behind it; the kernel's own from 32-bit code, too. */
export function handleUserSyscall(vcpu: XenVcpu): void {
  const { core } = vcpu;
  const { syscall, syscall32 } = vcpu.callbacks;
  const compat = core.mode === 32;
  const callback = compat ? syscall32 : syscall;
  const { is64 } = vcpu.domain;
  core.regs[Gpr.rcx] = core.rip;
  core.regs[Gpr.r11] = BigInt(core.rflags);
  core.selectors[Seg.cs] = is64 ? (compat ? FLAT_RING3_CS32 : FLAT_RING3_CS64) : FLAT_USER[32].CS;
  core.selectors[Seg.ss] = is64 ? FLAT_RING3_SS64 : FLAT_USER[32].SS;
  // Xen can't tell which ring of a 32-bit guest a SYSCALL came from.
  if (!is64) setRing(vcpu, FLAT_USER[32].CS);
  if (isUnset(vcpu, callback)) {
    core.rip = BigInt.asUintN(compat ? 32 : 64, core.rip - 2n);
    if (is64) bounceException(vcpu, Vector.UD);
    else bounceException(vcpu, Vector.GP, 0);
    return;
  }
  // Of a 64-bit guest one flag is for both callbacks.
  const { masksEvents } = is64 ? syscall : callback;
  enterKernel(vcpu, callback.address, masksEvents, NO_ERROR_CODE, false, callback.cs);
  // The one flag that the virtual SYSCALL_MASK clears; the frame has it as it was.
  if (is64) core.rflags &= ~Flag.DF;
}
