/**
 * Hypercall 23, iret: back to where an event or exception came from, or out to
 * a user program. The frame on the guest kernel's stack, lowest address first:
 * RAX, R11, RCX, flags, RIP, CS, RFLAGS, RSP, SS (struct iret_context).
 */
import { FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS64, VGCF_IN_SYSCALL } from '@paravane/abi-xen';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { viewGuest } from '../guest-memory.js';
import { bounceSegmentFault, returnBySysret } from './exceptions.js';
import { setUpcallMask } from './frame.js';
import { switchMode } from './mode.js';
import { dropNullSelectors, isCanonical, returnFault, setCodeSegment } from './segments.js';

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
  const [rip, rsp, rflags] = [32, 56, 48].map((at) => view.getBigUint64(at, true)) as [bigint, bigint, bigint];
  const [rax, r11, rcx] = [0, 8, 16].map((at) => view.getBigUint64(at, true)) as [bigint, bigint, bigint];
  const ss = view.getUint16(64, true) | 3;
  const inSyscall = (view.getUint32(24, true) & VGCF_IN_SYSCALL) !== 0;
  core.rip = rip;
  core.rflags = (flags & ~FILTERED) | Flag.IF | 2;
  regs[Gpr.rax] = rax;
  regs[Gpr.rsp] = rsp;
  regs[Gpr.rcx] = inSyscall ? rip : rcx;
  regs[Gpr.r11] = inSyscall ? (rflags & ~BigInt(FILTERED)) | BigInt(Flag.IF) : r11;
  setUpcallMask(vcpu, flags & Flag.IF ? 0 : 1);
  vcpu.nmiInProgress = false;
  if (inSyscall && isCanonical(rip)) bySysret(vcpu, cs | 3);
  else byIret(vcpu, cs | 3, ss);
}

/** SYSRET has selectors of its own, whatever the frame says; only the 32-bit one is told apart. */
function bySysret(vcpu: XenVcpu, cs: number): void {
  const { core } = vcpu;
  core.rflags &= ~Flag.RF;
  core.selectors[Seg.ss] = FLAT_RING3_SS64;
  setCodeSegment(vcpu, cs === FLAT_RING3_CS32 ? cs : FLAT_RING3_CS64);
  if (cs === FLAT_RING3_CS32) core.rip = BigInt.asUintN(32, core.rip);
  returnBySysret(vcpu);
}

/** The processor's own return, which may fault: the guest hears of it at the place that it leads to. */
function byIret(vcpu: XenVcpu, cs: number, ss: number): void {
  const { core } = vcpu;
  const { regs, selectors } = core;
  const fault = returnFault(vcpu, cs, ss, 3, core.rip);
  if (fault !== null) {
    selectors[Seg.cs] = cs;
    selectors[Seg.ss] = ss;
    bounceSegmentFault(vcpu, fault);
    return;
  }
  selectors[Seg.ss] = ss;
  setCodeSegment(vcpu, cs);
  if (core.mode === 32) regs[Gpr.rsp] = BigInt.asUintN(32, regs[Gpr.rsp]);
  dropNullSelectors(vcpu);
}
