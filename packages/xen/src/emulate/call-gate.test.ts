/** Call gates of 32-bit guests: what may stand in a table, and what a call or jump through one does. */
import { hypercall, MMUEXT } from '@paravane/abi-xen';
import { Pte } from '@paravane/mmu';
import { beforeEach, describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';
import { setRing } from '../traps/mode.js';

const HANDLER = 0xc0001000;
const RING1_CODE = 0x00cfbb000000ffffn;
const RING1_DATA = 0x00cfb3000000ffffn;
const RING3_CODE = 0x00cffb000000ffffn;
const RING3_DATA = 0x00cff3000000ffffn;
const RING2_CODE = 0x00cfdb000000ffffn;
const RING2_DATA = 0x00cfd3000000ffffn;
const CONFORMING = 0x00cfbf000000ffffn;
/** Selectors of the table below. */
const [KERNEL_CS, KERNEL_SS, USER_CS, USER_SS, GATE] = [0x09, 0x11, 0x1b, 0x23, 0x28];
const [CODE, USER_STACK, KERNEL_STACK] = [0x100n, 0x800n, 0x1000n];

let guest: TestGuest;
/** A page for programs, with code and a stack, and one of the kernel for its stack. */
let page: bigint;
let kernelPage: bigint;

/** A gate to an offset: present, DPL 3, and no parameters, if not told otherwise. */
function gate({
  target = KERNEL_CS,
  offset = 0xc0001234n,
  dpl = 3,
  count = 0,
  present = true,
  type = 0xc,
} = {}): bigint {
  const access = BigInt((present ? 0x80 : 0) | (dpl << 5) | type) << 40n;
  return (offset & 0xffffn) | (BigInt(target) << 16n) | (BigInt(count) << 32n) | access | ((offset >> 16n) << 48n);
}
const words = (...values: (number | bigint)[]): bigint =>
  guest.putBytes(new Uint8Array(Uint32Array.from(values.map(Number)).buffer));
const peek = (address: bigint, count: number): number[] => [
  ...new Uint32Array(guest.peekBytes(address, count * 4).slice().buffer),
];

/** A GDT with the flat segments of both rings and what follows them, from selector 28 on. */
function withGdt(...more: bigint[]): bigint {
  const { address, frame } = guest.page();
  const table = BigUint64Array.from([0n, RING1_CODE, RING1_DATA, RING3_CODE, RING3_DATA, ...more]);
  guest.hypervisor.mmu.write(frame as never, 0, new Uint8Array(table.buffer));
  expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | Pte.present, 0, 2)).toBe(0n);
  expect(guest.call(hypercall.set_gdt, words(frame), 512)).toBe(0n);
  return address;
}
function enterProgram(): void {
  expect(guest.call(hypercall.stack_switch, KERNEL_SS, kernelPage + KERNEL_STACK)).toBe(0n);
  const { core, vcpu } = guest;
  core.selectors[1] = USER_CS;
  core.selectors[2] = USER_SS;
  core.regs[4] = page + USER_STACK;
  setRing(vcpu, USER_CS);
}
const transfer = (selector: number, opcode = 0x9a): void => {
  const bytes = [opcode, 0, 0, 0, 0, selector & 255, selector >> 8];
  guest.hypervisor.mmu.writeVirtual(guest.core.space, page + CODE, Uint8Array.from(bytes));
  guest.core.rip = page + CODE;
  guest.privileged({ mnemonic: 'FAR_TRANSFER', selector, offset: 0n, length: 7, width: 32 });
};
const call = (selector: number): void => transfer(selector);
const jump = (selector: number): void => transfer(selector, 0xea);
/** The exception that was delivered to ring 1, as `vector:errorCode`, or where the code is now. */
function outcome(): string {
  const { core } = guest;
  const vector = Number(core.rip) - HANDLER;
  if (vector < 0 || vector > 31) return `${core.rip.toString(16)} ${core.selectors[1]!.toString(16)}`;
  return `${vector}:${peek(core.regs[4]!, 1)[0]!.toString(16)}`;
}

beforeEach(() => {
  guest = createTestGuest({ image: compatImage() });
  const { address, frame } = guest.page();
  const rights = Pte.present | Pte.rw | Pte.user;
  expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | rights, 0, 2)).toBe(0n);
  page = address;
  kernelPage = guest.page().address;
  const vectors = [10, 11, 12, 13, 14].flatMap((vector) => [vector | (0xe019 << 16), HANDLER + vector]);
  expect(guest.call(hypercall.set_trap_table, words(...vectors, 0, 0))).toBe(0n);
  guest.core.regs[4] = kernelPage + KERNEL_STACK;
});

describe('a call gate in a table', () => {
  const stored = (value: bigint): bigint => guest.peek(withGdt(value) + 40n);
  it('has its DPL moved to the RPL of its target', () => {
    expect(stored(gate({ target: 0x08 }))).toBe(gate({ target: 0x0b, dpl: 0 }));
    expect(stored(gate({ target: 0x0b, dpl: 1 }))).toBe(gate({ target: 0x09, dpl: 0 }));
    expect(stored(gate({ target: 0x08, dpl: 0 }))).toBe(gate({ target: 0x09, dpl: 0 }));
  });
  it('stays as it is where it is not present', () => {
    expect(stored(gate({ present: false }))).toBe(gate({ present: false }));
  });
  it('may have parameters, and no other bits beside them', () => {
    const address = withGdt();
    const frame = guest.pv.xen.vcpus[0]!.mm.gdtFrames[0]!;
    const put = (value: bigint): bigint =>
      guest.call(hypercall.update_descriptor, (frame << 12) | 0x28, 0, value & 0xffffffffn, value >> 32n);
    expect(put(gate({ count: 31 }))).toBe(0n);
    expect(guest.peek(address + 40n) & 0x1f00000000n).toBe(31n << 32n);
    expect(put(gate({ count: 32 }))).toBe(-22n);
    expect(put(gate({ type: 4 }))).toBe(-22n);
    expect(put(gate({ type: 5 }))).toBe(-22n);
  });
});

describe('a call through a gate', () => {
  it('from ring 3 goes to ring 1 on the stack of the kernel, with the parameters', () => {
    withGdt(gate({ count: 2 }));
    enterProgram();
    guest.core.regs[4] = page + USER_STACK - 8n;
    guest.hypervisor.mmu.writeVirtual(guest.core.space, page + USER_STACK - 8n, Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0));
    call(GATE | 3);
    expect(outcome()).toBe('c0001234 9');
    const { core } = guest;
    expect([core.selectors[2], core.regs[4]]).toEqual([KERNEL_SS, kernelPage + KERNEL_STACK - 24n]);
    const back = [Number(page + CODE) + 7, USER_CS, 1, 2, Number(page + USER_STACK) - 8, USER_SS];
    expect(peek(core.regs[4]!, 6)).toEqual(back);
    expect(guest.vcpu.guestKernel).toBe(true);
  });
  it('within ring 1 keeps the stack and copies nothing', () => {
    withGdt(gate({ count: 5 }));
    guest.core.selectors[1] = KERNEL_CS;
    guest.core.selectors[2] = KERNEL_SS;
    call(GATE | 1);
    expect(outcome()).toBe('c0001234 9');
    expect(guest.core.regs[4]).toBe(kernelPage + KERNEL_STACK - 8n);
    expect(peek(guest.core.regs[4]!, 2)).toEqual([Number(page + CODE) + 7, KERNEL_CS]);
  });
  it('from ring 3 into code of ring 3 stays there', () => {
    withGdt(gate({ target: USER_CS }));
    enterProgram();
    call(GATE | 3);
    expect(outcome()).toBe('c0001234 1b');
    expect(guest.core.regs[4]).toBe(page + USER_STACK - 8n);
  });
  it.each([
    ['whose DPL is below the CPL', gate({ dpl: 1 }), GATE, '13:28'],
    ['whose DPL is below the RPL', gate({ dpl: 1 }), GATE | 3, '13:28'],
    ['that is not present', gate({ present: false }), GATE | 3, '11:28'],
    ['that is neither present nor for this ring', gate({ present: false, dpl: 1 }), GATE | 3, '13:28'],
    ['to no segment', gate({ target: 0 }), GATE, '13:0'],
    ['to a segment of data', gate({ target: KERNEL_SS }), GATE, '13:10'],
    ['to a selector beyond the table', gate({ target: 0x1008 }), GATE, '13:1008'],
    ['to code that is not present', gate({ target: 0x38 }), GATE, '11:38'],
    ['beyond the end of its code', gate({ target: 0x40, offset: 0x1000n }), GATE, '13:0'],
    ['that is a task gate, not present', gate({ type: 5, present: false }), GATE, '13:28'],
  ])('%s faults, and pushes nothing', (_, value, selector, expected) => {
    withGdt(value, 0n, RING1_CODE & ~(1n << 47n), 0x0040bb0000000fffn);
    enterProgram();
    call(selector);
    expect(outcome()).toBe(expected);
    // The exception's frame alone lies on the kernel's stack: error code, EIP, CS, EFLAGS, ESP, SS.
    expect(guest.core.regs[4]).toBe(kernelPage + KERNEL_STACK - 24n);
    expect(peek(guest.core.regs[4]! + 4n, 2)[0]).toBe(Number(page + CODE));
  });
  it('faults on parameters that can not be read', () => {
    withGdt(gate({ count: 1 }));
    enterProgram();
    guest.core.regs[4] = 0x1000n;
    call(GATE | 3);
    expect(outcome()).toBe('14:4');
    // Of Xen's part of the address space nothing is read at all.
    enterProgram();
    guest.core.regs[4] = 0xfffffff0n;
    call(GATE | 3);
    expect(outcome()).toBe('13:28');
  });
  it('from ring 3 into code of ring 3 pushes with the rights of the program', () => {
    withGdt(gate({ target: USER_CS }));
    enterProgram();
    guest.core.regs[4] = kernelPage + USER_STACK;
    call(GATE | 3);
    expect(outcome()).toBe('14:6');
  });
  it('is refused by a kernel stack that is none of ring 1', () => {
    withGdt(gate(), 0n, RING2_CODE, RING2_DATA);
    enterProgram();
    // Such a stack is good only for a handler of its ring.
    guest.vcpu.kernelSs = 0x42;
    guest.vcpu.traps[10]!.cs = 0x3a;
    call(GATE | 3);
    expect(outcome()).toBe('10:40');
    expect([...guest.core.selectors.slice(1, 3)]).toEqual([0x3a, 0x42]);
  });
});

describe('a call gate of an LDT', () => {
  let ldt: bigint;
  /** An LDT of two pages, the second of which is not there; both gates lead to `target`. */
  function withLdt(target: number): void {
    const pages = [guest.page(), guest.page()];
    ldt = pages[0]!.address;
    expect(pages[1]!.address).toBe(ldt + 4096n);
    const table = BigUint64Array.from([0n, gate({ target })]);
    guest.hypervisor.mmu.write(pages[0]!.frame as never, 0, new Uint8Array(table.buffer));
    const map = (index: number, entry: number): void =>
      expect(guest.call(hypercall.update_va_mapping, pages[index]!.address, entry, 0, 2)).toBe(0n) as never;
    map(0, (pages[0]!.frame << 12) | Pte.present);
    map(1, 0);
    expect(guest.call(hypercall.mmuext_op, words(MMUEXT.SET_LDT, ldt, 1024), 1, 0, 0x7ff0)).toBe(0n);
  }
  const [HERE, AWAY] = [0x0c, 0x1004];

  it('leads where it says', () => {
    withGdt();
    withLdt(KERNEL_CS);
    enterProgram();
    call(HERE | 3);
    expect(outcome()).toBe('c0001234 9');
  });
  it.each([
    ['a call', call],
    ['a jump', jump],
  ])('in a page that is not there is a page fault of %s, at its place in the LDT', (_, go) => {
    withGdt();
    withLdt(KERNEL_CS);
    enterProgram();
    go(AWAY | 3);
    expect([outcome(), guest.vcpu.cr2]).toEqual(['14:4', ldt + 0x1000n]);
    expect(peek(guest.core.regs[4]! + 4n, 1)).toEqual([Number(page + CODE)]);
    // Of the kernel it shows no U.
    go((AWAY + 8) | 1);
    expect([outcome(), guest.vcpu.cr2]).toEqual(['14:0', ldt + 0x1008n]);
  });
  it('to a segment in a page that is not there is a fault of the selector: Xen reads that one itself', () => {
    withGdt();
    withLdt(AWAY);
    enterProgram();
    call(HERE | 3);
    expect(outcome()).toBe('13:1004');
    // And so is one beyond the end.
    enterProgram();
    call(0x2007);
    expect(outcome()).toBe('13:2004');
  });
  it('is refused by a kernel stack in a page that is not there, on which no handler can be entered either', () => {
    withGdt();
    withLdt(KERNEL_CS);
    enterProgram();
    guest.vcpu.kernelSs = AWAY | 1;
    call(HERE | 3);
    expect(guest.pv.domain.state).toBe('crashed');
  });
});

describe('a jump through a gate', () => {
  it('keeps ring and stack', () => {
    withGdt(gate());
    guest.core.selectors[1] = KERNEL_CS;
    guest.core.selectors[2] = KERNEL_SS;
    jump(GATE | 1);
    expect(outcome()).toBe('c0001234 9');
    expect(guest.core.regs[4]).toBe(kernelPage + KERNEL_STACK);
  });
  it('goes inwards only to conforming code, in the ring of the program', () => {
    withGdt(gate(), gate({ target: 0x38 }), CONFORMING);
    enterProgram();
    jump(0x33);
    expect(outcome()).toBe('c0001234 3b');
    expect(guest.vcpu.guestKernel).toBe(false);
    jump(GATE | 3);
    expect(outcome()).toBe('13:8');
  });
});
