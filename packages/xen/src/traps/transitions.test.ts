/** Transitions leave what the same SYSCALL leaves when it stops the core and is answered in TypeScript. */
import { hypercall, VCPU_INFO_UPCALL_MASK, VCPU_INFO_UPCALL_PENDING, VGCF_IN_SYSCALL } from '@paravane/abi-xen';
import { Flag, Gpr, Seg } from '@paravane/engine-api';
import { createMmu } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';
import { xenTransitions } from './transitions.js';

/** As Linux has them: 32- and 64-bit code and data of programs, 4 to 6, and a call of them that is not present. */
const DESCRIPTORS = [
  ...[0n, 0n, 0n, 0n, 0x00cffb000000ffffn],
  ...[0x00cff3000000ffffn, 0x00affb000000ffffn, 0x00af7b000000ffffn],
];

interface World {
  readonly guest: TestGuest;
  readonly code: bigint;
  readonly stack: { address: bigint; frame: number };
}

const machines = [true, false].map((withTransitions) => {
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu, ...(withTransitions ? { transitions: xenTransitions } : {}) });
  return createTestHypervisor({ mmu, engine });
});

function world(machine: (typeof machines)[number]): World {
  const guest = createTestGuest({}, machine);
  const { mmu } = guest.hypervisor;
  const { core, vcpu } = guest;
  const page = guest.page();
  // syscall, and what reads and writes the stack: push rax, pop rax; rdmsr
  mmu.write(page.frame as never, 0, new Uint8Array([0x0f, 0x05, 0x50, 0x58]));
  mmu.write(page.frame as never, 16, new Uint8Array([0x0f, 0x32, 0x90]));
  const stack = guest.page();
  const gdt = guest.page();
  DESCRIPTORS.forEach((value, i) => mmu.writeU64((gdt.frame * 4096 + i * 8) as Maddr, value));
  expect(guest.call(hypercall.update_va_mapping, gdt.address, (gdt.frame << 12) | 5, 0, 2)).toBe(0n);
  expect(guest.call(hypercall.set_gdt, guest.put(gdt.frame), DESCRIPTORS.length)).toBe(0n);
  vcpu.userRoot = vcpu.kernelRoot;
  core.spaces[1] = { ...core.spaces[0]! };
  return { guest, code: page.address, stack };
}

const one = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const often = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ arbitrary: fc.constant(usual), weight: 5 }, { arbitrary: one(...others), weight: 1 });
const address = often(0xffffffff81000000n, 0x400000n, 0n, 0x800000000000n, 0xffff7fffffffffffn, 0xdead0000beef0000n);

const situation = fc.record({
  rdmsr: often(false, true),
  msr: often(0xc0000102n, 0xc0000101n, 0xc0000080n, 0x12345n, 0x1_c000_0102n),
  user: fc.boolean(),
  number: one(23n, 23n, 23n, 3n, 25n, 24n, 1n << 40n),
  rdi: one(0n, 1n, 2n, 3n, 0x18n, 0x2bn, 0x1_0000_0018n),
  rsi: address,
  cs: one(0x33, 0x33, 0xe033, 0xe030, 0x30, 0x23, 0x3b, 0x7, 0x1003, 0),
  ss: one(0x2b, 0x2b, 0xe02b, 0xe028, 0x28, 0x33, 0, 0xf),
  flags: often(0x202, 0x10202, 0x2, 0x3202, 0x102, 0x40202, 0x4602, 0x10ed7, 0x20202, 0x200246),
  rflags: often(0x246, 0x202, 0xad7, 0x602, 0x40202, 0x4202, 0x200202),
  inSyscall: fc.boolean(),
  rip: address,
  rsp: address,
  sp: often(0x800n, 0xfc0n, 0xfb8n, 0xff8n, 0x10n, 0x37n),
  entry: often(0xffffffff81a00000n, 0n, 0x800000000000n),
  masksEvents: fc.boolean(),
  pending: often(0, 1),
  mask: fc.boolean(),
  nmi: often(0, 1, 2),
  iopl: fc.integer({ min: 0, max: 3 }),
  showsIopl: fc.boolean(),
  noUserRoot: often(false, true),
  selectors: fc.array(one(0, 3, 0x2b), { minLength: 4, maxLength: 4 }),
});
type Situation = typeof situation extends fc.Arbitrary<infer T> ? T : never;

/** Puts the vCPU before its SYSCALL or RDMSR, with the translations of its stack in the TLB. */
function prepare({ guest, code, stack }: World, s: Situation): void {
  const { core, vcpu } = guest;
  const { mmu } = guest.hypervisor;
  vcpu.guestKernel = true;
  core.mode = 64;
  core.rflags = 0x202;
  core.regs.fill(0n);
  core.selectors.set([0, 0xe033, 0xe02b, 0, 0, 0]);
  core.rip = code + 2n;
  core.regs[Gpr.rsp] = stack.address + 2048n;
  core.run(2);
  const frame = new DataView(new ArrayBuffer(72));
  [0x11n, 0x12n, 0x13n, BigInt(s.inSyscall ? VGCF_IN_SYSCALL : 0), s.rip, BigInt(s.cs), BigInt(s.flags), s.rsp].forEach(
    (value, i) => frame.setBigUint64(i * 8, value, true),
  );
  frame.setBigUint64(64, BigInt(s.ss), true);
  mmu.write(stack.frame as never, 0, new Uint8Array(4096).fill(0xee));
  const at = Number(s.sp);
  mmu.write(stack.frame as never, at, new Uint8Array(frame.buffer).subarray(0, 4096 - at));
  vcpu.kernelSp = stack.address + s.sp;
  vcpu.callbacks.syscall = { address: s.entry, masksEvents: s.masksEvents };
  mmu.writeU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_PENDING) as Maddr, s.pending);
  mmu.writeU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr, s.mask ? 1 : 0);
  vcpu.nmiPending = (s.nmi & 1) !== 0;
  vcpu.nmiInProgress = (s.nmi & 2) !== 0;
  vcpu.iopl = s.iopl;
  vcpu.showsIopl = s.showsIopl;
  core.gsBase = 0x1111n;
  vcpu.gsBaseOther = 0x2222n;
  core.fsBase = 0x3333n;
  vcpu.userRoot = s.noUserRoot && !s.user ? (0 as never) : vcpu.kernelRoot;
  core.spaces[1] = { ...core.spaces[0]!, root: vcpu.userRoot };
  vcpu.guestKernel = !s.user;
  core.selectors.set([s.selectors[0]!, s.user ? 0x33 : 0xe033, s.user ? 0x2b : 0xe02b, ...s.selectors.slice(1)]);
  core.regs.set(Array.from({ length: 16 }, (_, i) => BigInt(i) * 0x1111n));
  core.regs[Gpr.rax] = s.number;
  core.regs[Gpr.rdi] = s.rdi;
  core.regs[Gpr.rsi] = s.rsi;
  if (s.rdmsr) core.regs[Gpr.rcx] = s.msr;
  core.regs[Gpr.rsp] = stack.address + s.sp;
  core.rflags = s.rflags;
  core.rip = s.rdmsr ? code + 16n : code;
}

/** Runs the instruction; what is there behind it, and whether the core stopped. */
function outcome(w: World, s: Situation): { stopped: boolean; state: unknown } {
  const { guest, stack } = w;
  const { core, vcpu, pv } = guest;
  const { mmu } = guest.hypervisor;
  const before = core.count;
  const exit = core.run(1);
  const stopped = exit.reason !== 'budget';
  const unmasked = mmu.readU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr) === 0;
  // Where an event is due before the next instruction, the core has to stop.
  expect(stopped || s.pending === 0 || !unmasked).toBe(true);
  if (stopped) guest.personality.handleExit(vcpu.hv, exit);
  // A run takes RF away as it begins; the transition has gone on.
  core.rflags &= ~Flag.RF;
  const state = {
    core: [...core.save()].map((byte, at) => (at >= core.save().length - 24 ? 0 : byte)).join(),
    counted: core.count - before,
    selectors: [...core.selectors],
    rip: core.rip,
    kernel: vcpu.guestKernel,
    info: [...mmu.read(Math.floor(vcpu.vcpuInfo / 4096) as never, vcpu.vcpuInfo % 4096, 8)],
    stack: [...mmu.read(stack.frame as never, 0, 4096)].join(),
    end: pv.domain.state,
  };
  return { stopped, state };
}

it('do what the personality does', () => {
  let worlds = machines.map(world);
  const stops = [0, 0];
  let runs = 0;
  fc.assert(
    fc.property(situation, (s) => {
      const results = worlds.map((w, i) => {
        prepare(w, s);
        const { stopped, state } = outcome(w, s);
        if (stopped) stops[i]!++;
        return state;
      });
      runs++;
      const crashed = worlds.some(({ guest }) => guest.pv.domain.state !== 'running');
      if (crashed) {
        for (const { guest } of worlds) guest.pv.destroy();
        worlds = machines.map(world);
      }
      expect(results[0]).toEqual(results[1]);
    }),
    { numRuns: 600 },
  );
  expect(stops[1]).toBe(runs);
  // The usual cases are not few.
  expect(stops[0]).toBeLessThan(runs * 0.9);
});

it('are what a program and its kernel do with each system call and switch', () => {
  const w = world(machines[0]!);
  const usual: Situation = {
    ...{ rdmsr: false, msr: 0xc0000102n },
    ...{ user: true, number: 39n, rdi: 0n, rsi: 0n, cs: 0x33, ss: 0x2b, flags: 0x202, rflags: 0x246, inSyscall: true },
    ...{ rip: 0x400000n, rsp: 0x7fff0000n, sp: 0x800n, entry: 0xffffffff81a00000n, masksEvents: true, pending: 0 },
    ...{ mask: false, nmi: 0, iopl: 1, showsIopl: true, noUserRoot: false, selectors: [0, 0, 0, 0] },
  };
  for (const s of [
    usual,
    { ...usual, user: false, number: 23n },
    { ...usual, user: false, number: 23n, inSyscall: false, cs: 0xe030, ss: 0xe02b },
    { ...usual, user: false, number: 3n, rdi: 0x18n },
    { ...usual, user: false, number: 23n, inSyscall: false, flags: 0x10246 },
    { ...usual, user: false, rdmsr: true },
    { ...usual, user: false, number: 25n, rdi: 1n },
  ]) {
    prepare(w, s);
    expect(outcome(w, s).stopped).toBe(false);
  }
  expect(w.guest.core.regs[Gpr.rax]).toBe(0n);
  expect(w.guest.core.rflags & Flag.IF).toBe(Flag.IF);
  expect(w.guest.core.selectors[Seg.cs]).toBe(0xe033);
});

it('stop the core while a trace is taken', () => {
  const w = world(machines[0]!);
  const lines: string[] = [];
  w.guest.pv.trace((line) => void lines.push(String(line)));
  expect(w.guest.core.transitionFrame).toBe(0);
  w.guest.pv.trace(null as never);
  expect(w.guest.core.transitionFrame).not.toBe(0);
});
