/** What Xen's source does at the edges of the instructions that it carries out for a kernel, on the real core. */
import { hypercall, PHYSDEVOP } from '@paravane/abi-xen';
import { Flag, Gpr } from '@paravane/engine-api';
import { createMmu } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { CORE_BYTES, CORE_FEATURES, createX86Engine } from '@paravane/x86';
import { beforeEach, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';

const [DB, UD, GP, PF] = [1, 6, 13, 14] as const;
const CR4_TSD = 4;
const CR4_DE = 8;
const XEN_AREA = 0xffff800000000000n;

let guest: TestGuest;
let code: { address: bigint; frame: number };
let stack: bigint;
let handlers: bigint;

beforeEach(() => {
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  guest = createTestGuest({ features: CORE_FEATURES }, createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) }));
  code = guest.page();
  handlers = guest.page().address;
  stack = guest.page().address + 4096n;
});
function setTraps(): void {
  const table = [DB, UD, GP, PF].flatMap((vector) => [
    BigInt(vector) | (0xe033n << 16n),
    handlers + BigInt(vector * 16),
  ]);
  expect(guest.call(hypercall.set_trap_table, guest.put(...table, 0, 0))).toBe(0n);
}

/** Runs instructions of the kernel; the trap that ends them, its error code or −1, and how far they came. */
function run(bytes: readonly number[], registers: Partial<Record<number, bigint>> = {}, at = 0): number[] {
  const { core, vcpu, personality, hypervisor } = guest;
  hypervisor.mmu.write(code.frame as never, at, Uint8Array.from([...bytes, 0x0f, 0x0b].slice(0, 4096 - at)));
  core.rip = code.address + BigInt(at);
  core.rflags = Flag.IF | 2;
  core.regs[Gpr.rsp] = stack;
  for (const [register, value] of Object.entries(registers)) core.regs[Number(register)] = value!;
  for (let turn = 0; turn < 50; turn++) {
    const exit = core.run(1);
    if (exit.reason !== 'budget') personality.handleExit(vcpu.hv, exit);
    if (core.rip < handlers || core.rip >= handlers + 4096n) continue;
    const vector = Number(core.rip - handlers) / 16;
    const hasCode = vector >= GP;
    const word = (index: number): bigint => guest.peek(core.regs[Gpr.rsp]! + BigInt(8 * index));
    return [vector, hasCode ? Number(word(2)) : -1, Number(word(hasCode ? 3 : 2) - code.address) - at];
  }
  return [];
}
/** RCX as the frame has it. */
const savedRcx = (): bigint => guest.peek(guest.core.regs[Gpr.rsp]!);
const setCr4 = (value: number): void => void run([0x0f, 0x22, 0xe0], { [Gpr.rax]: BigInt(0x660 | value) });
const setIopl = (iopl: number): void =>
  void expect(guest.call(hypercall.physdev_op, PHYSDEVOP.set_iopl, guest.put(iopl))).toBe(0n);

it('RDTSC and RDTSCP are for the kernel what CR4.TSD keeps from its programs', () => {
  setTraps();
  setCr4(CR4_TSD);
  expect(run([0x0f, 0x31], { [Gpr.rdx]: ~0n & 0xffffffffffffffffn })).toEqual([UD, -1, 2]);
  expect(guest.core.regs[Gpr.rdx]).toBe(0n);
  guest.core.tscAux = 77;
  expect(run([0x0f, 0x01, 0xf9])).toEqual([UD, -1, 3]);
  expect(savedRcx()).toBe(77n);
});

it('debug registers 4 and 5 are others, or none with CR4.DE; the upper half of CR0 is fixed', () => {
  setTraps();
  const toDr5 = [0x0f, 0x23, 0xe8];
  expect(run(toDr5, { [Gpr.rax]: 0x400n })).toEqual([UD, -1, 3]);
  setCr4(CR4_DE);
  expect(run(toDr5, { [Gpr.rax]: 0x400n })).toEqual([UD, -1, 0]);
  expect(run([0x0f, 0x22, 0xc0], { [Gpr.rax]: 0x1_8005_0033n })).toEqual([GP, 0, 0]);
  expect(run([0x0f, 0x22, 0xc0], { [Gpr.rax]: 0x8005_0033n })).toEqual([UD, -1, 3]);
});

it('a breakpoint on a port traps behind the access, and behind each iteration', () => {
  setTraps();
  setIopl(1);
  setCr4(CR4_DE);
  expect(guest.call(hypercall.set_debugreg, 2, 0x82)).toBe(0n);
  // R/W2 = I/O, LEN2 = 2 bytes, L2.
  expect(guest.call(hypercall.set_debugreg, 7, 0x06000410)).toBe(0n);
  expect(guest.call(hypercall.get_debugreg, 7)).toBe(0x06000410n);
  expect(run([0xe4, 0x81])).toEqual([UD, -1, 2]);
  expect(run([0xe4, 0x83])).toEqual([DB, -1, 2]);
  expect(guest.call(hypercall.get_debugreg, 6)).toBe(0xffff0ff4n);
  expect(run([0xe7, 0x80], { [Gpr.rax]: 0n })).toEqual([DB, -1, 2]);
  const to = guest.put(0, 0);
  const repeated = { [Gpr.rcx]: 2n, [Gpr.rdi]: to, [Gpr.rdx]: 0x82n };
  expect(run([0xf3, 0x6c], repeated)).toEqual([DB, -1, 0]);
  expect([savedRcx(), guest.core.regs[Gpr.rdi]]).toEqual([1n, to + 1n]);
});

it('the bitmap of ports counts up to its last one', () => {
  setTraps();
  const request = guest.put(guest.put(0n, ~0n), 64);
  expect(guest.call(hypercall.physdev_op, PHYSDEVOP.set_iobitmap, request)).toBe(0n);
  expect(run([0xe4, 63])).toEqual([UD, -1, 2]);
  expect(run([0xe4, 64])).toEqual([GP, 0, 0]);
});

it('the index of the clock is kept, its data are not there', () => {
  setTraps();
  setIopl(1);
  run([0xe6, 0x70], { [Gpr.rax]: 0x34n });
  run([0x66, 0xe5, 0x70]);
  expect(guest.core.regs[Gpr.rax]! & 0xffffn).toBe(0xff34n);
});

it('strings go by the prefixes of segment and address size, and never into the area of Xen', () => {
  setTraps();
  setIopl(1);
  const from = guest.put(0x12n);
  guest.core.fsBase = from - 8n;
  const port = { [Gpr.rdx]: 0x70n };
  expect(run([0x64, 0x6e], { ...port, [Gpr.rsi]: 8n })).toEqual([UD, -1, 2]);
  expect(guest.pv.xen.rtcIndex).toBe(0x12);
  // Through ESI nothing is mapped there; the bits above it are gone from the address.
  expect(run([0x67, 0x6e], { ...port, [Gpr.rsi]: 0x5_0000_1000n })).toEqual([PF, 0, 0]);
  expect(guest.vcpu.cr2).toBe(0x1000n);
  expect(run([0x6e], { ...port, [Gpr.rsi]: XEN_AREA })).toEqual([GP, 0, 0]);
  // The byte that can't be written is named, behind one that can.
  const [mapped, missing] = [guest.page().address, guest.page().address];
  expect(guest.call(hypercall.update_va_mapping, missing, 0, 2)).toBe(0n);
  expect(run([0x6d], { ...port, [Gpr.rdi]: mapped + 4094n })).toEqual([PF, 2, 0]);
  expect(guest.vcpu.cr2).toBe(missing);
});

it('an undefined instruction at the end of what can be read is a page fault behind it', () => {
  setTraps();
  code = guest.page();
  const missing = guest.page().address;
  expect(run([0x0f, 0x0b], {}, 4094)).toEqual([UD, -1, 0]);
  expect(guest.call(hypercall.update_va_mapping, missing, 0, 2)).toBe(0n);
  expect(run([0x0f, 0x0b], {}, 4090)).toEqual([UD, -1, 0]);
  expect(run([0x0f, 0x0b], {}, 4094)).toEqual([PF, 0, 0]);
  expect(guest.vcpu.cr2).toBe(missing);
});

it('a register that Xen refuses reads as zero while there is no handler for the fault', () => {
  const { core } = guest;
  core.rip = code.address;
  core.regs[Gpr.rcx] = 0xc0000082n;
  guest.privileged({ mnemonic: 'RDMSR', length: 2 });
  expect([core.rip, core.regs[Gpr.rax], guest.pv.domain.state]).toEqual([code.address + 2n, 0n, 'running']);
  setTraps();
  expect(run([0x0f, 0x32], { [Gpr.rcx]: 0xc0000082n })).toEqual([GP, 0, 0]);
});

it('an NMI without a handler is lost, its reason is not, and an event comes in on top of it', () => {
  const { core, vcpu, personality, hypervisor, pv } = guest;
  const { mmu } = hypervisor;
  expect(guest.call(hypercall.vcpu_op, 11, 0, 0)).toBe(0n);
  personality.beforeRun(vcpu.hv);
  expect(vcpu.nmiPending).toBe(false);
  const register = (): bigint => guest.call(hypercall.nmi_op, 0, guest.put(handlers, 0));
  expect(register()).toBe(0n);
  expect(vcpu.nmiPending).toBe(false);
  mmu.writeU32((pv.xen.sharedInfo * 4096 + 0xc20) as Maddr, 1);
  expect(register()).toBe(0n);
  expect(vcpu.nmiPending).toBe(true);
  // Set by the trap table the handler masks no events.
  guest.call(hypercall.set_trap_table, guest.put(2n | (0xe033n << 16n), handlers, 0, 0));
  guest.call(hypercall.set_callbacks, handlers + 16n, 0x1000n, 0x1000n);
  mmu.writeU8(vcpu.vcpuInfo as Maddr, 1);
  mmu.writeU8((vcpu.vcpuInfo + 1) as Maddr, 0);
  core.regs[Gpr.rsp] = stack;
  personality.beforeRun(vcpu.hv);
  expect([core.rip, guest.peek(core.regs[Gpr.rsp]! + 16n)]).toEqual([handlers + 16n, handlers]);
});
