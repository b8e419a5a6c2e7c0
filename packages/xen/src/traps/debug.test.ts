/** Single-step and breakpoints of a 64-bit guest kernel on the real core, through Xen's interface. */
import { hypercall } from '@paravane/abi-xen';
import { Flag, Gpr } from '@paravane/engine-api';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { describe, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';

const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
const on = createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) });
const guest: TestGuest = createTestGuest({}, on);
const { core, vcpu, personality } = guest;
const code = guest.page().address;
const handler = guest.page().address;
const stack = guest.page().address + 4096n;
const trapTable = guest.put(1n | (0xe033n << 16n), handler, 14n | (0xe033n << 16n), handler + 0x100n, 0, 0);
guest.call(hypercall.set_trap_table, trapTable);

function start(bytes: number[], flags: number = Flag.TF): void {
  expect(mmu.writeVirtual(core.space, code, Uint8Array.from(bytes))).toBe(true);
  core.rip = code;
  core.regs[Gpr.rsp] = stack;
  core.rflags = flags | Flag.IF | 2;
  core.debug[6] = 0xffff0ff0n;
}
/** Runs until a handler is entered; what its frame says. */
function trapped(): { at: number; flags: number; dr6: number; page: boolean } {
  for (let turn = 0; turn < 50; turn++) {
    const exit = core.run(1);
    if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
    if (core.rip === handler || core.rip === handler + 0x100n) {
      const page = core.rip !== handler;
      const sp = core.regs[Gpr.rsp]! + (page ? 24n : 16n);
      const [rip, , flags, rsp] = [0n, 8n, 16n, 24n].map((at) => guest.peek(sp + at)) as [
        bigint,
        bigint,
        bigint,
        bigint,
      ];
      const dr6 = Number(core.debug[6]! & 0xe00fn);
      core.debug[6] = 0xffff0ff0n;
      // Back by hand.
      core.rip = rip;
      core.rflags = Number(flags) | Flag.IF;
      core.regs[Gpr.rsp] = rsp;
      return { at: Number(rip - code), flags: Number(flags), dr6, page };
    }
  }
  throw new Error('no trap came');
}
const BS = 0x4000;

describe('single-step of a guest kernel', () => {
  it('enters the handler with TF clear, behind each instruction', () => {
    start([0x90, 0x90, 0x90]);
    expect(trapped()).toMatchObject({ at: 1, dr6: BS });
    expect(trapped()).toMatchObject({ at: 2, dr6: BS });
  });
  it('traps behind what Xen emulates, CPUID and hypercalls', () => {
    // mov rax, cr0; cpuid; ud2 "xen" cpuid; syscall (xen_version); nop
    start([0x0f, 0x20, 0xc0, 0x0f, 0xa2, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2, 0x0f, 0x05, 0x90]);
    expect(trapped()).toMatchObject({ at: 3, dr6: BS });
    core.regs[Gpr.rax] = 0n;
    expect(trapped()).toMatchObject({ at: 5, dr6: BS });
    expect(trapped()).toMatchObject({ at: 12, dr6: BS });
    core.regs[Gpr.rax] = BigInt(hypercall.xen_version);
    core.regs[Gpr.rdi] = 0n;
    expect(trapped()).toMatchObject({ at: 14, dr6: BS });
    expect(core.regs[Gpr.rax]).toBe(0x40011n);
    expect(trapped()).toMatchObject({ at: 15 });
  });
  it('skips the instruction behind a load of SS', () => {
    // mov eax, 0xe02b; mov ss, eax; nop; nop
    start([0xb8, 0x2b, 0xe0, 0, 0, 0x8e, 0xd0, 0x90, 0x90]);
    expect([trapped(), trapped(), trapped()].map(({ at }) => at)).toEqual([5, 8, 9]);
  });
  it('gives way to a fault, whose frame has RF set', () => {
    // mov al, [0x10]
    start([0x8a, 0x04, 0x25, 0x10, 0, 0, 0]);
    const fault = trapped();
    expect(fault).toMatchObject({ at: 0, page: true, dr6: 0 });
    expect(fault.flags & (Flag.RF | Flag.TF)).toBe(Flag.RF | Flag.TF);
  });
});

describe('debug registers', () => {
  it('set by hypercall raise #DB at code and behind data, and are read back', () => {
    const data = guest.put(0n, 0n);
    expect(guest.call(hypercall.set_debugreg, 0, code + 1n)).toBe(0n);
    expect(guest.call(hypercall.set_debugreg, 1, data + 8n)).toBe(0n);
    // L0 execute; L1 write of 8 bytes.
    expect(guest.call(hypercall.set_debugreg, 7, 0x900405)).toBe(0n);
    expect(guest.call(hypercall.get_debugreg, 7)).toBe(0x900405n);
    // nop; nop; mov [rbx], rax; mov [rbx+12], al; nop
    start([0x90, 0x90, 0x48, 0x89, 0x03, 0x88, 0x43, 0x0c, 0x90], 0);
    core.regs[Gpr.rbx] = data;
    expect(trapped()).toMatchObject({ at: 1, dr6: 1 });
    core.rflags |= Flag.RF;
    expect(trapped()).toMatchObject({ at: 8, dr6: 2 });
    expect(guest.call(hypercall.set_debugreg, 7, 0)).toBe(0n);
    expect(guest.call(hypercall.get_debugreg, 7)).toBe(0x400n);
  });
  it('are reached by MOV of a guest kernel; general detect is refused', () => {
    // mov dr3, rax; mov rcx, dr3
    start([0x0f, 0x23, 0xd8, 0x0f, 0x21, 0xd9, 0x90], 0);
    core.regs[Gpr.rax] = 0x1234n;
    for (let i = 0; i < 2; i++) personality.handleExit(vcpu.hv, core.run(1));
    expect(core.regs[Gpr.rcx]).toBe(0x1234n);
    expect(guest.call(hypercall.set_debugreg, 7, 0x2000)).toBe(-1n);
  });
});
