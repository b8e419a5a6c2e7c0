/**
 * The usual cases of what a 64-bit guest does with every system call and switch of processes, without a stop of the
 * core: a program's SYSCALL (`exceptions.ts` and `bounce.ts` have all cases), and its kernel's hypercalls iret
 * (`iret.ts`), stack_switch and set_segment_base (`set.ts`) and RDMSR of the other GS base. What is unusual gives up before anything has changed.
 *
 * Trusts nothing of the guest: its stack is reached through translations that the TLB holds for it, and every value
 * read there is checked as in the cases that are written in TypeScript.
 */
import {
  FLAT_RING3_CS64,
  FLAT_RING3_SS64,
  HYPERVISOR_VIRT_END,
  HYPERVISOR_VIRT_START,
  hypercall,
  SEGBASE,
  VCPU_INFO_UPCALL_MASK,
  VCPU_INFO_UPCALL_PENDING,
  VGCF_IN_SYSCALL,
} from '@paravane/abi-xen';
import { Flag, Gpr, Seg, type TransitionSite, type Transitions } from '@paravane/engine-api';
import { type Expr, i32, i64, load, op, select } from '@paravane/wasm-emit';
import { Msr } from '../emulate/msr.js';
import { Personal } from '../personal.js';

const KERNEL = 0;
const USER = 1;
/** System flags that a program or kernel has in the usual case, in either way. */
const USUAL_FLAGS = Flag.IF | Flag.DF | Flag.IOPL | Flag.ID;
const ARITHMETIC_FLAGS = 0x8d5;
const UNUSUAL_FLAGS = ~(USUAL_FLAGS | ARITHMETIC_FLAGS | 2);

const and = (value: Expr, bits: number): Expr => op('i32.and', value, i32(bits));
const or = (value: Expr, bits: number): Expr => op('i32.or', value, i32(bits));
const word = (value: Expr): Expr => op('i64.extend_i32_u', value);
const own = (t: TransitionSite, at: number): Expr => load('i64.load', t.personal, at);
const ownWord = (t: TransitionSite, at: number): Expr => load('i32.load', t.personal, at);
const ownByte = (t: TransitionSite, at: number): Expr => load('i32.load8_u', t.personal, at);
const isNotCanonical = (address: Expr): Expr =>
  op('i64.ne', op('i64.shr_s', op('i64.shl', address, i64(16)), i64(16)), address);

/** Where the bytes of vcpu_info that say of events lie in memory. */
function upcallBytes(t: TransitionSite): { pending: Expr; masked: Expr; setMask(value: Expr): void } {
  const at = t.f.let(t.machine(ownWord(t, Personal.vcpuInfo)));
  return {
    pending: load('i32.load8_u', at, VCPU_INFO_UPCALL_PENDING),
    masked: load('i32.load8_u', at, VCPU_INFO_UPCALL_MASK),
    setMask: (value) => t.f.store('i32.store8', at, value, VCPU_INFO_UPCALL_MASK),
  };
}

function swapGsBases(t: TransitionSite): void {
  const before = t.f.let(t.base(Seg.gs));
  t.setBase(Seg.gs, own(t, Personal.gsBaseOther));
  t.f.store('i64.store', t.personal, before, Personal.gsBaseOther);
}

function fromProgram(t: TransitionSite): void {
  const { f } = t;
  const entry = f.let(own(t, Personal.syscall));
  t.giveUpIf(op('i64.eqz', entry));
  t.giveUpIf(isNotCanonical(entry));
  const flags = f.let(t.rflags());
  t.giveUpIf(and(flags, UNUSUAL_FLAGS));
  const { pending, masked, setMask } = upcallBytes(t);
  const mask = f.let(masked);
  const masks = f.let(ownByte(t, Personal.syscallMasks));
  // An event would come in before the first instruction of the kernel.
  t.giveUpIf(op('i32.and', op('i32.ne', pending, i32(0)), op('i32.eqz', op('i32.or', mask, masks))));
  const frame = f.let(op('i64.sub', op('i64.and', own(t, Personal.kernelSp), i64(-16)), i64(56)));
  const at = t.guest(KERNEL, frame, 56, 'write');

  const push = (offset: number, value: Expr): void => f.store('i64.store', at, value, offset);
  const shownIopl = op('i32.mul', ownByte(t, Personal.showsIopl), op('i32.shl', ownWord(t, Personal.iopl), i32(12)));
  const ifShown = op('i32.shl', op('i32.eqz', mask), i32(Math.log2(Flag.IF)));
  push(0, t.next);
  push(8, word(flags));
  push(16, t.next);
  push(24, op('i64.or', i64(FLAT_RING3_CS64), op('i64.shl', word(mask), i64(32))));
  push(32, word(op('i32.or', and(flags, ~(Flag.IF | Flag.IOPL)), op('i32.or', ifShown, shownIopl))));
  push(40, t.gpr(Gpr.rsp));
  push(48, i64(FLAT_RING3_SS64));
  f.if(masks, () => setMask(i32(1)));
  swapGsBases(t);
  const entered = f.let(and(or(flags, Flag.IF), ~Flag.DF));
  t.setSystemFlags(entered);
  t.setSelector(Seg.cs, i32(FLAT_RING3_CS64));
  t.setSelector(Seg.ss, i32(FLAT_RING3_SS64));
  t.setGpr(Gpr.rsp, frame);
  t.setGpr(Gpr.rcx, entry);
  // DF is cleared behind what R11 shows.
  t.setGpr(Gpr.r11, word(or(flags, Flag.IF)));
  t.goTo(KERNEL, entry);
}

/** Bits of a descriptor's upper word (Intel SDM vol. 3, 3.4.5): P, DPL 3 and S, and with them those of the type. */
const USABLE = 0xf000;
const [CODE, CONFORMING, WRITABLE, ACCESSED, LONG, BIG] = [0x800, 0x400, 0x200, 0x100, 0x200000, 0x400000];
const CODE_BITS = USABLE | CODE | CONFORMING | ACCESSED | LONG | BIG;
const LONG_CODE = USABLE | CODE | ACCESSED | LONG;
const DATA_BITS = USABLE | CODE | WRITABLE | ACCESSED;
const WRITABLE_DATA = USABLE | WRITABLE | ACCESSED;

/** A selector of ring 3 is Xen's flat one, or names a descriptor in the GDT whose `bits` are as wanted. */
function giveUpUnlessUsable(t: TransitionSite, selector: Expr, flat: number, bits: number, wanted: number): void {
  t.f.if(op('i32.ne', selector, i32(flat)), () => {
    t.giveUpIf(and(selector, 4));
    t.giveUpIf(op('i32.ge_u', selector, ownWord(t, Personal.gdtBytes)));
    const at = op('i32.add', t.machine(ownWord(t, Personal.gdt)), and(selector, 0xfff8));
    t.giveUpIf(op('i32.ne', and(load('i32.load', at, 4), bits), i32(wanted)));
  });
}

/** The hypercall iret, to 64-bit code. */
function iret(t: TransitionSite): void {
  const { f } = t;
  const sp = f.let(t.gpr(Gpr.rsp));
  const inHypervisor = op(
    'i32.and',
    op('i64.lt_u', sp, i64(BigInt.asIntN(64, HYPERVISOR_VIRT_END))),
    op('i64.gt_u', op('i64.add', sp, i64(72)), i64(BigInt.asIntN(64, HYPERVISOR_VIRT_START))),
  );
  t.giveUpIf(inHypervisor);
  t.giveUpIf(op('i32.or', ownByte(t, Personal.nmiPending), ownByte(t, Personal.nmiInProgress)));
  const at = t.guest(KERNEL, sp, 72, 'read');
  // What the guest wrote is read once.
  const claimedCs = f.let(load('i32.load16_u', at, 40));
  const claimedSs = f.let(load('i32.load16_u', at, 64));
  const claimedFlags = f.let(load('i32.load', at, 48));
  const claimedRip = f.let(load('i64.load', at, 32));
  const cs = f.let(or(claimedCs, 3));
  const ss = f.let(or(claimedSs, 3));
  giveUpUnlessUsable(t, cs, FLAT_RING3_CS64, CODE_BITS, LONG_CODE);
  giveUpUnlessUsable(t, ss, FLAT_RING3_SS64, DATA_BITS, WRITABLE_DATA);
  // Behind a fault RF is set. It is for the instruction that runs again, and nothing that it holds back is enabled here.
  t.giveUpIf(and(claimedFlags, UNUSUAL_FLAGS & ~Flag.RF));
  t.giveUpIf(isNotCanonical(claimedRip));
  const { pending, setMask } = upcallBytes(t);
  const unmasks = f.let(op('i32.ne', and(claimedFlags, Flag.IF), i32(0)));
  t.giveUpIf(op('i32.and', unmasks, op('i32.ne', pending, i32(0))));
  const toUser = f.let(op('i32.eq', and(claimedCs, 3), i32(3)));
  f.if(toUser, () => t.giveUpWithout(USER));

  f.if(ownByte(t, Personal.showsIopl), () =>
    f.store('i32.store', t.personal, and(op('i32.shr_u', claimedFlags, i32(12)), 3), Personal.iopl),
  );
  const flags = f.let(or(and(claimedFlags, ~(Flag.IOPL | Flag.RF)), Flag.IF | 2));
  const claimedRsp = f.let(load('i64.load', at, 56));
  t.setRflags(flags);
  const inSyscall = f.let(and(load('i32.load', at, 24), VGCF_IN_SYSCALL));
  // SYSRET has selectors of its own.
  t.setSelector(Seg.cs, select(inSyscall, i32(FLAT_RING3_CS64), cs));
  t.setSelector(Seg.ss, select(inSyscall, i32(FLAT_RING3_SS64), ss));
  t.setGpr(Gpr.rax, load('i64.load', at, 0));
  f.if(
    inSyscall,
    () => {
      t.setGpr(Gpr.rcx, claimedRip);
      const whole = load('i64.load', at, 48);
      t.setGpr(Gpr.r11, op('i64.or', op('i64.and', whole, i64(~Flag.IOPL)), i64(Flag.IF)));
    },
    () => {
      for (const register of [Seg.es, Seg.ds, Seg.fs, Seg.gs]) {
        f.if(op('i32.le_u', t.selector(register), i32(3)), () => t.setSelector(register, i32(0)));
      }
      t.setGpr(Gpr.r11, load('i64.load', at, 8));
      t.setGpr(Gpr.rcx, load('i64.load', at, 16));
    },
  );
  t.setGpr(Gpr.rsp, claimedRsp);
  setMask(op('i32.eqz', unmasks));
  f.if(toUser, () => {
    swapGsBases(t);
    t.goTo(USER, claimedRip);
  });
  t.goTo(KERNEL, claimedRip);
}

/** Every return from the hypervisor looks for events, and leads to where code can be. */
function giveUpForEvents(t: TransitionSite): void {
  t.giveUpIf(isNotCanonical(t.next));
  const { pending, masked } = upcallBytes(t);
  t.giveUpIf(op('i32.and', op('i32.ne', pending, i32(0)), op('i32.eqz', masked)));
}

/** Back behind a hypercall that succeeded. */
function succeed(t: TransitionSite): void {
  t.setGpr(Gpr.rcx, t.next);
  t.setGpr(Gpr.r11, word(t.rflags()));
  t.setGpr(Gpr.rax, i64(0));
  t.setSelector(Seg.cs, i32(FLAT_RING3_CS64));
  t.setSelector(Seg.ss, i32(FLAT_RING3_SS64));
  t.goTo(KERNEL, t.next);
}

function stackSwitch(t: TransitionSite): void {
  const { f } = t;
  t.giveUpIf(op('i32.ne', op('i32.wrap_i64', t.gpr(Gpr.rdi)), i32(KERNEL_DS)));
  giveUpForEvents(t);
  f.store('i32.store', t.personal, i32(KERNEL_DS | 3), Personal.kernelSs);
  f.store('i64.store', t.personal, t.gpr(Gpr.rsi), Personal.kernelSp);
  succeed(t);
}
/** The selector that Linux gives its kernel's stack; its ring becomes 3. */
const KERNEL_DS = 0x18;

function setSegmentBase(t: TransitionSite): void {
  const { f } = t;
  const which = f.let(op('i32.wrap_i64', t.gpr(Gpr.rdi)));
  const claimedBase = f.let(t.gpr(Gpr.rsi));
  t.giveUpIf(op('i32.gt_u', which, i32(SEGBASE.GS_KERNEL)));
  t.giveUpIf(isNotCanonical(claimedBase));
  giveUpForEvents(t);
  f.if(op('i32.eq', which, i32(SEGBASE.FS)), () => t.setBase(Seg.fs, claimedBase));
  f.if(op('i32.eq', which, i32(SEGBASE.GS_KERNEL)), () => t.setBase(Seg.gs, claimedBase));
  f.if(op('i32.eq', which, i32(SEGBASE.GS_USER)), () =>
    f.store('i64.store', t.personal, claimedBase, Personal.gsBaseOther),
  );
  succeed(t);
}

/** RDMSR of the kernel, of the GS base that programs have (`msr.ts` has all registers): Linux reads it at each switch. */
function readUserGsBase(t: TransitionSite): void {
  const { f } = t;
  t.giveUpIf(op('i32.ne', t.activeSpace, i32(KERNEL)));
  t.giveUpIf(op('i32.ne', op('i32.wrap_i64', t.gpr(Gpr.rcx)), i32(Msr.SHADOW_GS_BASE)));
  t.giveUpIf(and(t.rflags(), UNUSUAL_FLAGS));
  giveUpForEvents(t);
  const base = f.let(own(t, Personal.gsBaseOther));
  t.setGpr(Gpr.rax, op('i64.and', base, i64(0xffffffffn)));
  t.setGpr(Gpr.rdx, op('i64.shr_u', base, i64(32)));
  t.goTo(KERNEL, t.next);
}

export const xenTransitions: Transitions = {
  rdmsr: readUserGsBase,
  syscall(t) {
    const { f } = t;
    f.if(op('i32.eq', t.activeSpace, i32(USER)), () => fromProgram(t));
    const number = f.let(t.gpr(Gpr.rax));
    const on = (call: number, then: (t: TransitionSite) => void): void =>
      f.if(op('i64.eq', number, i64(call)), () => then(t));
    on(hypercall.iret, iret);
    on(hypercall.stack_switch, stackSwitch);
    on(hypercall.set_segment_base, setSegmentBase);
  },
};
