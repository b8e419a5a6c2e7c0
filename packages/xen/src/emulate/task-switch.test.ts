/**
 * Task switches, of which there are none under Xen: its processors are in long mode, where a TSS, a task gate and
 * EFLAGS.NT lead to #GP in code of any width (Intel SDM vol. 2, IRET, CALL and JMP; vol. 3, 7.7; AMD APM vol. 3, IRET).
 */
import { hypercall, MMUEXT } from '@paravane/abi-xen';
import { Flag } from '@paravane/engine-api';
import { Pte } from '@paravane/mmu';
import { beforeEach, describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';
import { setRing } from '../traps/mode.js';

const HANDLER = 0xc0001000;
const [RING1_CODE, RING1_DATA] = [0x00cfbb000000ffffn, 0x00cfb3000000ffffn];
const [RING2_CODE, RING2_DATA] = [0x00cfdb000000ffffn, 0x00cfd3000000ffffn];
const [RING3_CODE, RING3_DATA] = [0x00cffb000000ffffn, 0x00cff3000000ffffn];
/** Selectors of the table below, by ring, and the first behind it. */
const CODE = [0, 0x09, 0x1a, 0x2b];
const DATA = [0, 0x11, 0x22, 0x33];
const FIRST_FREE = 0x38;
const XEN_TSS = 0xe040;

/** System descriptors that a guest may have in its tables because they are not present. */
const SYSTEM = {
  'a 16-bit TSS': 1,
  'an LDT': 2,
  'a busy 16-bit TSS': 3,
  'a 16-bit call gate': 4,
  'a task gate': 5,
  'a TSS': 9,
  'a busy TSS': 0xb,
  'an interrupt gate': 0xe,
} as const;

let guest: TestGuest;
let page: bigint;
let kernelStack: bigint;

const words = (...values: (number | bigint)[]): bigint =>
  guest.putBytes(new Uint8Array(Uint32Array.from(values.map(Number)).buffer));
const peek = (address: bigint, count: number): number[] => [
  ...new Uint32Array(guest.peekBytes(address, count * 4).slice().buffer),
];
const absent = (type: number): bigint => 0x67n | (BigInt(CODE[1]!) << 16n) | (BigInt(0x60 | type) << 40n);

beforeEach(() => {
  guest = createTestGuest({ image: compatImage() });
  const table = guest.page();
  const segments = [0n, RING1_CODE, RING1_DATA, RING2_CODE, RING2_DATA, RING3_CODE, RING3_DATA];
  const all = BigUint64Array.from([...segments, ...Object.values(SYSTEM).map(absent)]);
  guest.hypervisor.mmu.write(table.frame as never, 0, new Uint8Array(all.buffer));
  expect(guest.call(hypercall.update_va_mapping, table.address, (table.frame << 12) | Pte.present, 0, 2)).toBe(0n);
  expect(guest.call(hypercall.set_gdt, words(table.frame), 512)).toBe(0n);
  const { address, frame } = guest.page();
  const rights = Pte.present | Pte.rw | Pte.user;
  expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | rights, 0, 2)).toBe(0n);
  page = address;
  kernelStack = guest.page().address + 4096n;
  expect(guest.call(hypercall.stack_switch, DATA[1]!, kernelStack)).toBe(0n);
  const vectors = [10, 11, 12, 13].flatMap((vector) => [vector | (CODE[1]! << 16), HANDLER + vector]);
  expect(guest.call(hypercall.set_trap_table, words(...vectors, 0, 0))).toBe(0n);
});

/** Code and stack of a ring. */
function inRing(ring: number, flags = 0): void {
  const { core, vcpu } = guest;
  core.selectors[1] = CODE[ring]!;
  core.selectors[2] = DATA[ring]!;
  core.regs[4] = ring === 1 ? kernelStack - 64n : page + 0x800n;
  core.rip = page;
  core.rflags = Flag.IF | 2 | flags;
  setRing(vcpu, CODE[ring]!);
}
/** The exception that was delivered, as `vector:errorCode`, and the flags in its frame. */
function fault(): [string, number] {
  const [errorCode, , , flags] = peek(guest.core.regs[4]!, 4) as [number, number, number, number];
  return [`${Number(guest.core.rip) - HANDLER}:${errorCode.toString(16)}`, flags];
}
function transfer(selector: number, opcode: number): void {
  const bytes = [opcode, 0, 0, 0, 0, selector & 255, selector >> 8];
  guest.hypervisor.mmu.writeVirtual(guest.core.space, page, Uint8Array.from(bytes));
  guest.privileged({ mnemonic: 'FAR_TRANSFER', selector, offset: 0n, length: 7, width: 32 });
}

describe.each([1, 2, 3])('in ring %i', (ring) => {
  it('IRET with NT goes back to no task: it is #GP(0), and the handler runs without NT', () => {
    inRing(ring, Flag.NT);
    guest.privileged({ mnemonic: 'IRET', length: 1, width: 32 });
    const [what, flags] = fault();
    expect([what, flags & Flag.NT, guest.core.rflags & Flag.NT]).toEqual(['13:0', Flag.NT, 0]);
  });

  it.each([
    ['a jump', 0xea],
    ['a call', 0x9a],
  ])('%s to the TSS that is Xen’s is #GP of the selector', (_, opcode) => {
    for (const selector of [XEN_TSS, XEN_TSS | ring, XEN_TSS | 3]) {
      inRing(ring);
      transfer(selector, opcode);
      expect(fault()[0]).toBe('13:e040');
    }
  });

  it.each(Object.keys(SYSTEM).map((name, index) => [name, FIRST_FREE + 8 * index] as const))(
    'jumps, calls and returns to %s are #GP of the selector, though it is not present',
    (_, selector) => {
      for (const opcode of [0xea, 0x9a]) {
        inRing(ring);
        transfer(selector | ring, opcode);
        expect(fault()[0]).toBe(`13:${selector.toString(16)}`);
      }
      for (const [opcode, mnemonic] of [
        [0xcb, 'FAR_TRANSFER'],
        [0xcf, 'IRET'],
      ] as const) {
        inRing(ring);
        guest.core.regs[4] = page + 0x800n;
        const frame = Uint32Array.of(0, selector | ring, 2);
        guest.hypervisor.mmu.writeVirtual(guest.core.space, page, Uint8Array.of(opcode));
        guest.hypervisor.mmu.writeVirtual(guest.core.space, page + 0x800n, new Uint8Array(frame.buffer));
        guest.privileged({ mnemonic, length: 1, width: 32 });
        expect(fault()[0]).toBe(`13:${selector.toString(16)}`);
      }
    },
  );
});

describe('what would make a task switch', () => {
  it('does not stand in a table as present', () => {
    const frame = guest.vcpu.mm.gdtFrames[0]!;
    for (const [name, type] of Object.entries(SYSTEM)) {
      const value = absent(type) | (1n << 47n);
      const at = (frame << 12) | FIRST_FREE;
      expect([name, guest.call(hypercall.update_descriptor, at, 0, value & 0xffffffffn, value >> 32n)]).toEqual([
        name,
        -22n,
      ]);
    }
  });

  it('is no handler: that is #GP of the selector, where the handler was to begin', () => {
    const table = words(6 | ((XEN_TSS | 1) << 16), HANDLER + 6, 13 | (CODE[1]! << 16), HANDLER + 13, 0, 0);
    expect(guest.call(hypercall.set_trap_table, table)).toBe(0n);
    inRing(3);
    guest.exit({ reason: 'exception', vector: 6 });
    expect(fault()[0]).toBe('13:e040');
    const [eip, cs] = peek(guest.core.regs[4]! + 4n, 2) as [number, number];
    expect([eip, cs & 0xffff]).toEqual([HANDLER + 6, XEN_TSS | 1]);
  });

  it('comes through the hypercall iret as a flag, which then is #GP at an IRET', () => {
    inRing(1);
    guest.core.regs[4] = words(0, page, CODE[3]!, Flag.IF | Flag.NT | 2, page + 0x800n, DATA[3]!);
    guest.core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'interrupt', vector: 0x82, length: 2 });
    expect([guest.core.rip, guest.core.rflags & Flag.NT]).toEqual([page, Flag.NT]);
    guest.privileged({ mnemonic: 'IRET', length: 1, width: 32 });
    expect(fault()[0]).toBe('13:0');
  });
});

describe('a 64-bit guest', () => {
  it.each([64, 32] as const)('has #GP(0) for IRET with NT in %i-bit code of its programs', (mode) => {
    const other = createTestGuest();
    const handler = 0xffffffff80001000n;
    other.call(hypercall.set_trap_table, other.put(13n | (0xe033n << 16n), handler, 0, 0));
    const top = other.page().address + 4096n;
    expect(other.call(hypercall.stack_switch, 0xe02b, top)).toBe(0n);
    expect(other.call(hypercall.mmuext_op, other.put(MMUEXT.NEW_USER_BASEPTR, 0), 1, 0, 0x7ff0)).toBe(0n);
    const { core } = other;
    core.mode = mode;
    core.selectors[1] = mode === 64 ? 0xe033 : 0xe023;
    core.regs[4] = top - 256n;
    core.rip = 0xffffffff80000100n;
    core.rflags |= Flag.NT;
    other.privileged({ mnemonic: 'IRET', length: 1, width: mode });
    expect(core.rip).toBe(handler);
    // RCX, R11, the error code, RIP.
    expect([other.peek(core.regs[4]! + 16n), other.peek(core.regs[4]! + 24n)]).toEqual([0n, 0xffffffff80000100n]);
  });
});
