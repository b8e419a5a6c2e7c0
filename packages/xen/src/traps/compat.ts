/**
 * Entering the kernel of a 32-bit PV guest, which runs in ring 1: the frames that
 * Xen builds on its stack (compat_create_bounce_frame of
 * arch/x86/x86_64/compat/entry.S). `compat-iret.ts` has the way back.
 *
 * Frame, lowest address first: [DS, ES, FS, GS for the failsafe callback],
 * [error code], EIP, CS with the saved event mask in bits 16–23, EFLAGS, and
 * ESP, SS where the kernel was entered from a program.
 */
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { writeGuest } from '../guest-memory.js';
import { NO_ERROR_CODE, setUpcallMask, upcallMask } from './frame.js';
import { setRing } from './mode.js';
import { descriptor, segmentOf, setCodeSegment, setStackSegment } from './segments.js';

/** Flags that entry to a handler clears; AC is left, as Xen leaves it here. */
const CLEARED = Flag.VM | Flag.RF | Flag.NT | Flag.TF;

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
  if (vcpu.showsIopl) flags |= vcpu.iopl << 12;
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
  // Xen writes through the segment's base, without a look at its limit.
  const stack = descriptor(vcpu, ss);
  const at = BigInt.asUintN(32, BigInt(sp) + (stack === null ? 0n : segmentOf(stack).base));
  if (!writeGuest(vcpu, at, new Uint8Array(Uint32Array.from(words).buffer))) {
    domain.crash(`fault while writing the guest kernel's stack at ${sp.toString(16)}`, vcpu);
    return;
  }
  if (masksEvents) setUpcallMask(vcpu, 1);
  core.rflags = (core.rflags & ~CLEARED) | Flag.IF;
  core.rip = address & 0xffffffffn;
  regs[Gpr.rsp] = BigInt(sp);
  setStackSegment(vcpu, ss);
  setCodeSegment(vcpu, cs);
}
