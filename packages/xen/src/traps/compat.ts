/**
 * Entering and leaving the kernel of a 32-bit PV guest, which runs in ring 1:
 * the frames that Xen builds on its stack, and the iret hypercall
 * (compat_create_bounce_frame of arch/x86/x86_64/compat/entry.S; pv/iret.c).
 *
 * Frame, lowest address first: [DS, ES, FS, GS for the failsafe callback],
 * [error code], EIP, CS with the saved event mask in bits 16–23, EFLAGS, and
 * ESP, SS where the kernel was entered from a program.
 */
import { VMASST_TYPE } from '@paravane/abi-xen';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest, writeGuest } from '../guest-memory.js';
import { loadRoots } from '../mm/index.js';
import { NO_ERROR_CODE, setUpcallMask, upcallMask } from './bounce.js';
import { codeSegmentFault, loadDataSegments, setCodeSegment } from './compat-segments.js';
import { injectException } from './exceptions.js';

/** Flags that entry to a handler clears; AC is left, as Xen leaves it here. */
const CLEARED = Flag.VM | Flag.RF | Flag.NT | Flag.TF;
const IRET_BYTES = 16;

/** Where the guest is now: in its kernel unless CS says ring 3. */
export function setRing(vcpu: XenVcpu, cs: number): void {
  const inKernel = (cs & 3) !== 3;
  if (inKernel === vcpu.guestKernel) return;
  vcpu.guestKernel = inKernel;
  loadRoots(vcpu);
}

/** Enters the guest kernel at `cs`:`address`. A stack that can't be written, or a null CS, ends the domain. */
export function enterCompatKernel(
  vcpu: XenVcpu,
  cs: number,
  address: bigint,
  masksEvents: boolean,
  errorCode = NO_ERROR_CODE,
  failsafe = false,
): void {
  const { core, domain } = vcpu;
  const { regs, selectors } = core;
  if ((cs & 0xfffc) === 0) {
    domain.crash('entry into the guest kernel with a null code segment: no handler was set', vcpu);
    return;
  }
  const words: number[] = [];
  if (failsafe) words.push(selectors[Seg.ds]!, selectors[Seg.es]!, selectors[Seg.fs]!, selectors[Seg.gs]!);
  if (errorCode >= 0) words.push(errorCode);
  const mask = upcallMask(vcpu);
  let flags = core.rflags & ~(Flag.IF | Flag.IOPL);
  if (mask === 0) flags |= Flag.IF;
  if (domain.vmAssist & (1 << VMASST_TYPE.architectural_iopl)) flags |= vcpu.iopl << 12;
  words.push(Number(core.rip & 0xffffffffn), selectors[Seg.cs]! | (mask << 16), flags);
  let sp = Number(regs[Gpr.rsp]! & 0xffffffffn);
  let ss: number = selectors[Seg.ss]!;
  if (!vcpu.guestKernel) {
    words.push(sp, ss);
    sp = Number(vcpu.kernelSp & 0xffffffffn);
    ss = vcpu.kernelSs;
  }
  sp = (sp - 4 * words.length) >>> 0;
  setRing(vcpu, cs);
  if (!writeGuest(vcpu, BigInt(sp), new Uint8Array(Uint32Array.from(words).buffer))) {
    domain.crash(`fault while writing the guest kernel's stack at ${sp.toString(16)}`, vcpu);
    return;
  }
  if (masksEvents) setUpcallMask(vcpu, 1);
  core.rflags = (core.rflags & ~CLEARED) | Flag.IF;
  core.rip = address & 0xffffffffn;
  regs[Gpr.rsp] = BigInt(sp);
  selectors[Seg.ss] = ss;
  selectors[Seg.cs] = cs;
  core.mode = 32;
}

/** The failsafe callback: a segment register could not be loaded. */
export function enterFailsafe(vcpu: XenVcpu): void {
  const { failsafe } = vcpu.callbacks;
  enterCompatKernel(vcpu, failsafe.cs ?? 0, failsafe.address, failsafe.masksEvents, NO_ERROR_CODE, true);
}

/** Hypercall 23: EAX, EIP, CS, EFLAGS and, to a program, ESP and SS are on the stack. */
export function compatIret(vcpu: XenVcpu): void {
  const { core, domain } = vcpu;
  const { regs, selectors } = core;
  const sp = regs[Gpr.rsp]! & 0xffffffffn;
  const frame = readGuest(vcpu, sp, IRET_BYTES);
  const crash = (): void => domain.crash(`fault while reading the iret frame at ${sp.toString(16)}`, vcpu);
  if (!frame) return crash();
  const [eax, eip, csWord, eflags] = new Uint32Array(
    frame.buffer.slice(frame.byteOffset, frame.byteOffset + IRET_BYTES),
  );
  const cs = csWord! & 0xffff;
  if (eflags! & Flag.VM) {
    injectException(vcpu, 13, 0);
    return;
  }
  if ((cs & 3) === 0) {
    domain.crash('return to ring 0', vcpu);
    return;
  }
  let outer: Uint32Array | null = null;
  if ((cs & 3) !== 1) {
    const rest = readGuest(vcpu, sp + 16n, 8);
    if (!rest) return crash();
    outer = new Uint32Array(rest.buffer.slice(rest.byteOffset, rest.byteOffset + 8));
  }
  if (domain.vmAssist & (1 << VMASST_TYPE.architectural_iopl)) vcpu.iopl = (eflags! & Flag.IOPL) >> 12;
  regs[Gpr.rax] = BigInt(eax!);
  regs[Gpr.rsp] = outer ? BigInt(outer[0]!) : (sp + 16n) & 0xffffffffn;
  core.rip = BigInt(eip!);
  core.rflags = (eflags! & ~(Flag.IOPL | Flag.VM)) | Flag.IF | 2;
  setUpcallMask(vcpu, eflags! & Flag.IF ? 0 : 1);
  vcpu.nmiInProgress = false;
  // What the processor checks when it returns: the fault is reported where the return leads to.
  const fault = codeSegmentFault(vcpu, cs, cs & 3);
  if (outer) selectors[Seg.ss] = outer[1]! & 0xffff;
  if (fault !== null) {
    injectException(vcpu, fault.vector, fault.errorCode);
    return;
  }
  setCodeSegment(vcpu, cs);
  if (outer) loadDataSegments(vcpu);
}
