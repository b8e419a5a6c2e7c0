/**
 * Ring 2 of a 32-bit guest on the real core: it has the rights of the supervisor to pages, but is none of the guest's
 * kernel; and handlers of other rings than 1 (guest_kernel_mode of x86_64/regs.h, x86_64/compat/entry.S of Xen).
 */
import { hypercall } from '@paravane/abi-xen';
import { createMmu, Pte } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { beforeEach, describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';

const [KERNEL_CS, KERNEL_SS, RING2_CS, RING2_SS] = [0xe019, 0xe021, 0x0a, 0x12];
const ENTRIES = [0n, 0x00cfdb000000ffffn, 0x00cfd3000000ffffn];
const VECTORS = [3, 11, 12, 13, 14];

let guest: TestGuest;
let code: bigint;
let handlers: bigint;
let stack: bigint;

const words = (...values: (number | bigint)[]): bigint =>
  guest.putBytes(new Uint8Array(Uint32Array.from(values.map(Number)).buffer));
const peek = (address: bigint, count: number): number[] => [
  ...new Uint32Array(guest.peekBytes(address, count * 4).slice().buffer),
];
const setHandler = (vector: number, cs: number): void => {
  const table = words(vector | 0x300 | (cs << 16), handlers + BigInt(vector * 16), 0, 0);
  expect(guest.call(hypercall.set_trap_table, table)).toBe(0n);
};

beforeEach(() => {
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const on = createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) });
  guest = createTestGuest({ image: compatImage() }, on);
  [code, handlers] = [guest.page().address, guest.page().address];
  stack = guest.page().address + 4096n;
  const gdt = guest.page();
  for (const [at, entry] of ENTRIES.entries()) mmu.writeU64((gdt.frame * 4096 + at * 8) as Maddr, entry);
  const readOnly = (gdt.frame << 12) | Pte.present;
  expect(guest.call(hypercall.update_va_mapping, gdt.address, readOnly, 0, 2)).toBe(0n);
  expect(guest.call(hypercall.set_gdt, words(gdt.frame), 512)).toBe(0n);
  for (const vector of VECTORS) setHandler(vector, KERNEL_CS);
  expect(guest.call(hypercall.stack_switch, KERNEL_SS, stack)).toBe(0n);
});

/** Makes the kernel return into ring 2, by the hypercall or by IRET, to this code. */
function enter(...bytes: number[]): void {
  const { core } = guest;
  expect(guest.hypervisor.mmu.writeVirtual(core.space, code, Uint8Array.from(bytes))).toBe(true);
  core.regs[4] = words(1, code, RING2_CS, 0x202, stack - 1024n, RING2_SS);
  core.regs[0] = BigInt(hypercall.iret);
  guest.exit({ reason: 'interrupt', vector: 0x82, length: 2 });
}
function step(): void {
  const exit = guest.core.run(1);
  if (exit.reason !== 'budget') guest.personality.handleExit(guest.vcpu.hv, exit);
}
/** The handler that was entered, as vector and what lies on the stack from there. */
function handled(count: number): number[] {
  const { core } = guest;
  return [Number(core.rip - handlers) / 16, ...peek(core.regs[4]!, count)];
}
const at = (offset: number): number => Number(code) + offset;

describe('code of ring 2', () => {
  it('is entered by iret with a stack of its own, and reads what is the kernel’s', () => {
    const data = words(0x12345678);
    // DS went with the return to an outer ring: SS, then.
    enter(0x36, 0xa1, ...new Uint8Array(Uint32Array.of(Number(data)).buffer));
    const { core, vcpu } = guest;
    expect([core.selectors[1], core.selectors[2], core.regs[4]]).toEqual([RING2_CS, RING2_SS, stack - 1024n]);
    expect(vcpu.guestKernel).toBe(false);
    step();
    expect([core.rip - code, core.regs[0]]).toEqual([6n, 0x12345678n]);
  });

  it('has no hypercalls: INT 82 is a fault, on the stack of the kernel', () => {
    enter(0xcd, 0x82);
    step();
    const ss = RING2_SS;
    expect(handled(6)).toEqual([13, 0x412, at(0), RING2_CS, 0x10202, Number(stack - 1024n), ss]);
    expect([guest.core.selectors[2], guest.core.regs[4]]).toEqual([KERNEL_SS, stack - 24n]);
    expect(guest.vcpu.guestKernel).toBe(true);
  });

  it('asks for DPL 3 of a software interrupt', () => {
    setHandler(0x60, KERNEL_CS);
    guest.vcpu.traps[0x60]!.dpl = 2;
    enter(0xcd, 0x60);
    step();
    expect(handled(1)).toEqual([13, 0x302]);
    guest.vcpu.traps[0x60]!.dpl = 3;
    enter(0xcd, 0x60);
    step();
    expect(handled(2)).toEqual([0x60, at(2), RING2_CS]);
  });

  it('has its page faults shown as those of a program', () => {
    enter(0x36, 0xa1, 0, 0x10, 0, 0);
    step();
    expect(handled(2)).toEqual([14, 4, at(0)]);
    expect(guest.vcpu.cr2).toBe(0x1000n);
  });

  it('may not use what is for the kernel: CLTS, and ports without IOPL 3', () => {
    enter(0x0f, 0x06);
    step();
    expect(handled(2)).toEqual([13, 0, at(0)]);
    guest.vcpu.iopl = 1;
    enter(0xfa);
    step();
    expect(handled(2)).toEqual([13, 0, at(0)]);
    guest.vcpu.iopl = 3;
    enter(0xfa);
    step();
    expect(guest.core.rip).toBe(code + 1n);
  });

  it('is where IRET of the kernel and a far return lead, too', () => {
    const { core } = guest;
    for (const [bytes, frame] of [
      [[0xcf], [code + 16n, RING2_CS, 0x202, stack - 64n, RING2_SS]],
      [[0xcb], [code + 16n, RING2_CS, stack - 64n, RING2_SS]],
    ] as const) {
      guest.hypervisor.mmu.writeVirtual({ ...core.space, user: false }, code, Uint8Array.from(bytes));
      guest.vcpu.guestKernel = true;
      core.setSegment(1, KERNEL_CS, { base: 0n, limit: 0xffffffff, rights: 0xc0bb });
      core.setSegment(2, KERNEL_SS, { base: 0n, limit: 0xffffffff, rights: 0xc0b3 });
      core.regs[4] = words(...frame);
      core.rip = code;
      step();
      expect([core.rip, core.selectors[1], core.selectors[2], core.regs[4]]).toEqual([
        code + 16n,
        RING2_CS,
        RING2_SS,
        stack - 64n,
      ]);
      expect(guest.vcpu.guestKernel).toBe(false);
    }
  });
});

describe('a handler of another ring', () => {
  it('runs in ring 2 on a stack of ring 2', () => {
    setHandler(3, RING2_CS);
    expect(guest.call(hypercall.stack_switch, RING2_SS, stack)).toBe(0n);
    enter(0xcc);
    step();
    expect(handled(2)).toEqual([3, at(1), RING2_CS]);
    expect([guest.core.selectors[1], guest.core.selectors[2]]).toEqual([RING2_CS, RING2_SS]);
    expect(guest.vcpu.guestKernel).toBe(false);
  });

  it('on the stack of ring 1 is a fault of Xen’s return to it, where that leads', () => {
    setHandler(3, RING2_CS);
    enter(0xcc);
    step();
    // The stack's selector, the handler, and the handler's frame is made anew from the kernel's stack.
    const frame = [KERNEL_SS & ~3, Number(handlers) + 48, RING2_CS, 0x202];
    expect(handled(5)).toEqual([13, ...frame, Number(stack) - 20]);
    expect(guest.core.selectors[1]).toBe(KERNEL_CS);
  });

  it('with data for code is a fault of that selector', () => {
    setHandler(3, KERNEL_SS);
    enter(0xcc);
    step();
    // Ring 1: behind the first frame, on the same stack.
    expect(handled(3)).toEqual([13, KERNEL_SS & ~3, Number(handlers) + 48, KERNEL_SS]);
    expect(guest.core.regs[4]).toBe(stack - 20n - 16n);
  });

  it('that no fault can be told of ends the domain', () => {
    setHandler(3, RING2_CS);
    setHandler(13, RING2_CS);
    enter(0xcc);
    step();
    expect(guest.pv.domain.state).toBe('crashed');
  });

  it('with a stack segment that can not be loaded ends the domain', () => {
    expect(guest.call(hypercall.stack_switch, KERNEL_CS, stack)).toBe(0n);
    guest.vcpu.kernelSs = 0x101;
    enter(0xcc);
    step();
    expect(guest.pv.domain.state).toBe('crashed');
  });
});
