/**
 * Hypercall 23, iret: back to where an event or exception came from, or out to
 * a user program. The frame on the guest kernel's stack, lowest address first:
 * RAX, R11, RCX, flags, RIP, CS, RFLAGS, RSP, SS (struct iret_context).
 */
import { VGCF_IN_SYSCALL } from '@paravane/abi-xen';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { viewGuest } from '../guest-memory.js';
import { enterKernel } from './bounce.js';
import { returnBySysret } from './exceptions.js';
import { NO_ERROR_CODE, setUpcallMask } from './frame.js';
import { switchMode } from './mode.js';
import { canReturnTo, dropNullSelectors, setCodeSegment } from './segments.js';

const FRAME_BYTES = 72;
/** RFLAGS bits that a guest can't set through a return. */
const FILTERED = Flag.IOPL | Flag.VM;

export function iret(vcpu: XenVcpu): void {
  const { core, domain } = vcpu;
  const { regs } = core;
  const view = viewGuest(vcpu, regs[Gpr.rsp], FRAME_BYTES);
  if (!view) {
    domain.crash(`fault while reading the iret frame at ${regs[Gpr.rsp].toString(16)}`, vcpu);
    return;
  }
  const cs = view.getUint16(40, true);
  const flags = view.getUint32(48, true);
  if ((cs & 3) === 3) {
    if (vcpu.userRoot === 0) {
      domain.crash('return to user mode without user page tables', vcpu);
      return;
    }
    switchMode(vcpu);
  }
  if (vcpu.showsIopl) vcpu.iopl = (flags & Flag.IOPL) >> 12;
  const rip = view.getBigUint64(32, true);
  core.rip = rip;
  core.selectors[Seg.ss] = view.getUint16(64, true) | 3;
  setCodeSegment(vcpu, cs | 3);
  core.rflags = (flags & ~FILTERED) | Flag.IF | 2;
  const rsp = view.getBigUint64(56, true);
  regs[Gpr.rsp] = core.mode === 32 ? BigInt.asUintN(32, rsp) : rsp;
  regs[Gpr.rax] = view.getBigUint64(0, true);
  if (view.getUint32(24, true) & VGCF_IN_SYSCALL) {
    regs[Gpr.rcx] = rip;
    regs[Gpr.r11] = BigInt(core.rflags);
  } else {
    dropNullSelectors(vcpu);
    regs[Gpr.r11] = view.getBigUint64(8, true);
    regs[Gpr.rcx] = view.getBigUint64(16, true);
  }
  setUpcallMask(vcpu, flags & Flag.IF ? 0 : 1);
  vcpu.nmiInProgress = false;
  if (!canReturnTo(vcpu, core.selectors[Seg.cs], core.selectors[Seg.ss])) {
    // The processor's own return would fault: the guest hears of it through its failsafe callback.
    const { failsafe } = vcpu.callbacks;
    enterKernel(vcpu, failsafe.address, failsafe.masksEvents, NO_ERROR_CODE, true);
  } else if (view.getUint32(24, true) & VGCF_IN_SYSCALL) returnBySysret(vcpu);
}
