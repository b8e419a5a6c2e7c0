/**
 * A vCPU's state as `vcpu_guest_context` carries it: how a guest describes a
 * vCPU it wants started (public/arch-x86/xen.h).
 */
import {
  Errno,
  TI_DPL_MASK,
  TI_EVENT_MASK,
  type ValueOf,
  VGCF_FAILSAFE_DISABLES_EVENTS,
  VGCF_I387_VALID,
  VGCF_IN_KERNEL,
  VGCF_ONLINE,
  VGCF_SYSCALL_DISABLES_EVENTS,
  type vcpu_guest_context,
} from '@paravane/abi-xen';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import { compatSelector } from './calls/compat.js';
import type { XenVcpu } from './domain.js';
import { setGuestCr4 } from './emulate/privileged.js';
import { addressOk } from './guest-memory.js';
import { installGdt, rootOf, setKernelRoot, setUserRoot } from './mm/index.js';
import { enterKernel } from './traps/bounce.js';
import { NO_ERROR_CODE } from './traps/frame.js';
import { dropInnerSegments, isCanonical, loadSegment, setCodeSegment, setStackSegment } from './traps/segments.js';
import { writeDebugRegister } from './traps/set.js';

type Context = ValueOf<typeof vcpu_guest_context>;

const LDT_LIMIT = 8192n;
const CR0_TS = 8;

/** Takes a context; 0, or what is wrong with it. A vCPU is initialised once. */
export function loadContext(vcpu: XenVcpu, context: Context): number {
  const { core } = vcpu;
  const { is64 } = vcpu.domain;
  const flags = Number(context.flags & 0xffffn);
  const { user_regs: user } = context;
  if ((is64 && !addressesOk(vcpu, context)) || context.ldt_ents > LDT_LIMIT || (context.ldt_base & 0xfffn) !== 0n) {
    return -Errno.EINVAL;
  }

  const rc = loadTables(vcpu, context);
  if (rc !== 0) return rc;
  if (flags & VGCF_I387_VALID) core.writeFxState(context.fpu_ctxt);
  loadRegisters(vcpu, user);
  context.trap_ctxt.forEach((trap) => {
    Object.assign(vcpu.traps[trap.vector], {
      dpl: trap.flags & TI_DPL_MASK,
      masksEvents: (trap.flags & TI_EVENT_MASK) !== 0,
      cs: is64 ? trap.cs | 3 : compatSelector(trap.cs),
      address: trap.address,
    });
  });
  const kernelSs = Number(context.kernel_ss & 0xffffn);
  vcpu.kernelSs = is64 ? kernelSs | 3 : compatSelector(kernelSs);
  vcpu.kernelSp = context.kernel_sp;
  core.cr0 = (core.cr0 & ~CR0_TS) | Number(context.ctrlreg[0]! & BigInt(CR0_TS));
  vcpu.cr2 = context.ctrlreg[2]!;
  setGuestCr4(vcpu, Number(context.ctrlreg[4]! & 0xffffffffn));
  context.debugreg.forEach((value, register) => {
    if (register < 4 || register > 5) writeDebugRegister(vcpu, register, value);
  });
  vcpu.callbacks.event = {
    address: context.event_callback_eip,
    cs: compatSelector(Number(context.event_callback_cs & 0xffffn)),
    masksEvents: true,
  };
  vcpu.callbacks.failsafe = {
    address: context.failsafe_callback_eip,
    cs: compatSelector(Number(context.failsafe_callback_cs & 0xffffn)),
    masksEvents: (flags & VGCF_FAILSAFE_DISABLES_EVENTS) !== 0,
  };
  vcpu.callbacks.syscall = {
    address: context.syscall_callback_eip,
    masksEvents: (flags & VGCF_SYSCALL_DISABLES_EVENTS) !== 0,
  };
  vcpu.initialised = true;
  loadSegments(vcpu, context);
  if (flags & VGCF_ONLINE) {
    vcpu.online = true;
    vcpu.hv.online();
  }
  return 0;
}

/** Of a 64-bit vCPU: whether all addresses are ones. */
function addressesOk(vcpu: XenVcpu, context: Context): boolean {
  const { user_regs: user } = context;
  const addresses = [
    user.rip,
    user.rsp,
    context.kernel_sp,
    context.event_callback_eip,
    context.syscall_callback_eip,
    context.failsafe_callback_eip,
    context.fs_base,
    context.gs_base_kernel,
    context.gs_base_user,
    ...context.trap_ctxt.map((trap) => trap.address),
  ];
  return addresses.every(isCanonical) && addressOk(vcpu, context.ldt_base);
}

/** GDT, LDT and the two roots. What was taken before a failure is given back with the domain. */
function loadTables(vcpu: XenVcpu, context: Context): number {
  const entries = Number(context.gdt_ents);
  if (entries > 8192) return -Errno.EINVAL;
  const frames = context.gdt_frames.slice(0, Math.ceil(entries / 512)).map(Number);
  let rc = installGdt(vcpu, frames, entries);
  if (rc !== 0) return rc;
  vcpu.mm.ldtBase = context.ldt_base;
  vcpu.mm.ldtEntries = Number(context.ldt_ents);
  const { is64, mm } = vcpu.domain;
  vcpu.guestKernel = is64
    ? (Number(context.flags & 0xffffn) & VGCF_IN_KERNEL) !== 0
    : (compatSelector(context.user_regs.cs) & 3) !== 3;
  const user = is64 ? Number(context.ctrlreg[1] >> 12n) : 0;
  if (!is64) return setKernelRoot(vcpu, rootOf(mm, context.ctrlreg[3]));
  if (!vcpu.guestKernel && user === 0) return -Errno.EINVAL;
  rc = setKernelRoot(vcpu, Number(context.ctrlreg[3] >> 12n));
  if (rc === 0 && user !== 0) rc = setUserRoot(vcpu, user);
  return rc;
}

function loadRegisters(vcpu: XenVcpu, user: Context['user_regs']): void {
  const { core } = vcpu;
  const { regs } = core;
  regs[Gpr.rax] = user.rax;
  regs[Gpr.rcx] = user.rcx;
  regs[Gpr.rdx] = user.rdx;
  regs[Gpr.rbx] = user.rbx;
  regs[Gpr.rsp] = user.rsp;
  regs[Gpr.rbp] = user.rbp;
  regs[Gpr.rsi] = user.rsi;
  regs[Gpr.rdi] = user.rdi;
  regs[Gpr.r8] = user.r8;
  regs[Gpr.r9] = user.r9;
  regs[Gpr.r10] = user.r10;
  regs[Gpr.r11] = user.r11;
  regs[Gpr.r12] = user.r12;
  regs[Gpr.r13] = user.r13;
  regs[Gpr.r14] = user.r14;
  regs[Gpr.r15] = user.r15;
  core.rip = user.rip;
  // The IOPL is virtual: what the context says counts, and the processor never sees it.
  vcpu.iopl = Number((user.rflags >> 12n) & 3n);
  core.rflags = (Number(user.rflags & 0xffffffffn) & ~(Flag.IOPL | Flag.VM)) | Flag.IF | 2;
}

/** Segments, and the bases of a 64-bit vCPU. Where a data segment can't be loaded it starts in its failsafe callback. */
function loadSegments(vcpu: XenVcpu, context: Context): void {
  const { core, domain } = vcpu;
  const { user_regs: user } = context;
  if (domain.is64) {
    core.selectors[Seg.ss] = user.ss | 3;
    setCodeSegment(vcpu, user.cs | 3);
  } else {
    setCodeSegment(vcpu, compatSelector(user.cs));
    setStackSegment(vcpu, compatSelector(user.ss));
  }
  const wanted = [
    [Seg.ds, user.ds],
    [Seg.es, user.es],
    [Seg.fs, user.fs],
    [Seg.gs, user.gs],
  ] as const;
  // Xen loads them with its own rights, and takes away what the ring of the vCPU has none to as it enters it.
  const failed = wanted.filter(([register, selector]) => loadSegment(vcpu, register, selector, 0) !== null);
  if (domain.is64) {
    const inKernel = vcpu.guestKernel;
    core.fsBase = context.fs_base;
    core.gsBase = inKernel ? context.gs_base_kernel : context.gs_base_user;
    vcpu.gsBaseOther = inKernel ? context.gs_base_user : context.gs_base_kernel;
  } else if (failed.length === 0) dropInnerSegments(vcpu);
  if (failed.length === 0) return;
  // The frame shows what was wanted.
  for (const [register, selector] of failed) core.selectors[register] = selector;
  const { failsafe } = vcpu.callbacks;
  enterKernel(vcpu, failsafe.address, failsafe.masksEvents, NO_ERROR_CODE, true, failsafe.cs);
  for (const [register] of failed) core.selectors[register] = 0;
}
