import { hypercall, MMUEXT, vcpu_guest_context } from '@paravane/abi-xen';
import { FrameType, Pte } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { COMPAT_BASE, compatImage } from './testing/compat-image.js';
import { createTestGuest, type TestGuest } from './testing/test-machine.js';

const EPERM = -1n;
const EINVAL = -22n;
const ENOSYS = -38n;
const RING1_CS = 0xe019;
const RING3_CS = 0xe02b;
const RING3_SS = 0xe033;
const M2P = 0xf5800000n;

const make = (): TestGuest => createTestGuest({ image: compatImage() });
/** 32-bit words in the guest's memory. */
const words = (guest: TestGuest, ...values: (number | bigint)[]): bigint =>
  guest.putBytes(new Uint8Array(Uint32Array.from(values.map(Number)).buffer));
const peek = (guest: TestGuest, address: bigint, count: number): number[] => [
  ...new Uint32Array(guest.peekBytes(address, count * 4).slice().buffer),
];
const mask = (guest: TestGuest): number => guest.hypervisor.mmu.readU8((guest.vcpu.vcpuInfo + 1) as Maddr);
const entryAt = (guest: TestGuest, table: number, index: number): bigint =>
  guest.hypervisor.mmu.readU64((table * 4096 + index * 8) as Maddr);
const frameOf = (entry: bigint): number => Number((entry >> 12n) & 0xfffffn);
/** Frame of the table of each level on the way to `va`, L3 first. */
function path(guest: TestGuest, va: bigint): [number, number, number] {
  const l3 = guest.vcpu.kernelRoot;
  const l2 = frameOf(entryAt(guest, l3, Number(va >> 30n)));
  return [l3, l2, frameOf(entryAt(guest, l2, Number((va >> 21n) & 511n)))];
}
const update = (guest: TestGuest, table: number, index: number, value: bigint): bigint =>
  guest.call(hypercall.mmu_update, guest.put(BigInt(table * 4096 + index * 8), value), 1, 0, 0x7ff0);
const extended = (guest: TestGuest, command: number, arg1: number | bigint, arg2: number | bigint = 0): bigint =>
  guest.call(hypercall.mmuext_op, words(guest, command, arg1, arg2), 1, 0, 0x7ff0);
/** A page that nothing maps, fit to become a table. */
function unmapped(guest: TestGuest): number {
  const { address, frame } = guest.page();
  expect(guest.call(hypercall.update_va_mapping, address, 0, 0, 2)).toBe(0n);
  return frame;
}
/** A handler for one vector, in the guest's flat kernel code. */
function withHandler(guest: TestGuest, vector: number, address: number, flags = 0, cs = RING1_CS): void {
  const table = words(guest, vector | (flags << 8) | (cs << 16), address, 0, 0);
  expect(guest.call(hypercall.set_trap_table, table)).toBe(0n);
}
function iret(guest: TestGuest, ...frame: number[]): void {
  guest.core.regs[4] = words(guest, ...frame);
  guest.core.regs[0] = BigInt(hypercall.iret);
  guest.exit({ reason: 'interrupt', vector: 0x82, length: 2 });
}
const enterUser = (guest: TestGuest): void => iret(guest, 1, 0x400000, RING3_CS, 0x202, 0x7fff0000, RING3_SS);

describe('the start of a PV32 domain', () => {
  it('is in ring 1, on an L3 table, with the M2P at 0xF5800000 for the kernel alone', () => {
    const guest = make();
    const { core, hypervisor, vcpu } = guest;
    expect([...core.selectors]).toEqual([0xe021, 0xe019, 0xe021, 0xe021, 0xe021, 0xe021]);
    expect(core.mode).toBe(32);
    expect(core.rip).toBe(compatImage().notes.entry);
    expect(core.space).toMatchObject({ paging: 'pae', user: false, root: vcpu.kernelRoot });
    expect(hypervisor.mmu.frames.type[vcpu.kernelRoot]).toBe(FrameType.l3);
    const { frame, address } = guest.page();
    const pfn = Number(address - COMPAT_BASE) / 4096;
    expect(peek(guest, M2P + BigInt(frame * 4), 1)).toEqual([pfn]);
    expect(hypervisor.mmu.translate(core.space, M2P, 'write')).toBeNull();
    // The builder's marks are in the L3 as in the others, and the kernel's note says that its root may be anywhere.
    expect(entryAt(guest, vcpu.kernelRoot, 3) & 0xfffn).toBe(0x67n);
    const features = words(guest, 0, 0);
    expect(guest.call(hypercall.xen_version, 6, features)).toBe(0n);
    expect(peek(guest, features, 2)).toEqual([0, 0x220f0]);
    enterUser(guest);
    expect(core.space.user).toBe(true);
    expect(hypervisor.mmu.translate(core.space, M2P)).toBeNull();
    expect(hypervisor.mmu.translate(core.space, address)).toBeNull();
  });
});

describe('hypercalls of a PV32 guest', () => {
  it('take their arguments from 32-bit registers, 64-bit ones from two', () => {
    const guest = make();
    expect(guest.call(hypercall.xen_version, 0)).toBe(0x40011n);
    expect(guest.call(63)).toBe(ENOSYS);
    expect(guest.call(hypercall.set_segment_base, 0, 0)).toBe(ENOSYS);
    const { address, frame } = guest.page();
    expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | Pte.present, 0x80000000, 2)).toBe(0n);
    const [, , l1] = path(guest, address);
    const entry = entryAt(guest, l1, Number((address >> 12n) & 511n));
    // NX came in the upper register; nothing is adjusted, unlike for 64-bit guests.
    expect(entry).toBe((1n << 63n) | BigInt((frame << 12) | Pte.present));
    expect(guest.call(hypercall.update_va_mapping, M2P, 0, 0, 0)).toBe(EINVAL);
  });

  it('make batches of 32-byte entries', () => {
    const guest = make();
    const list = words(
      guest,
      ...[hypercall.xen_version, 0xdead, 0, 0, 0, 0, 0, 0],
      ...[hypercall.vm_assist, 0xdead, 0, 99, 0, 0, 0, 0],
    );
    expect(guest.call(hypercall.multicall, list, 2)).toBe(0n);
    expect(peek(guest, list + 4n, 1)).toEqual([0x40011]);
    expect(peek(guest, list + 36n, 1)).toEqual([-22 >>> 0]);
  });

  it('read memory reservations of 20 bytes and lists of 32-bit frame numbers', () => {
    const guest = make();
    const frame = unmapped(guest);
    const list = words(guest, frame);
    expect(guest.call(hypercall.memory_op, 1, words(guest, list, 1, 0, 0, 0x7ff0))).toBe(1n);
    const populate = words(guest, 77);
    expect(guest.call(hypercall.memory_op, 6, words(guest, populate, 1, 0, 0, 0x7ff0))).toBe(1n);
    const [made] = peek(guest, populate, 1);
    expect(peek(guest, M2P + BigInt(made * 4), 1)).toEqual([77]);
    const mapping = words(guest, 0, 0, 0);
    expect(guest.call(hypercall.memory_op, 12, mapping)).toBe(0n);
    expect(peek(guest, mapping, 3)).toEqual([0xf5800000, 0xf6800000, 0x3fffff]);
  });
});

describe('tables of a PV32 guest', () => {
  it('keep the last L3 slot, and the area of Xen in its L2', () => {
    const guest = make();
    const [l3, l2] = path(guest, COMPAT_BASE);
    expect(update(guest, l3, 3, 0n)).toBe(EINVAL);
    expect(update(guest, l2, 428, 0n)).toBe(EPERM);
    expect(update(guest, l2, 427, 0n)).toBe(0n);
    expect(update(guest, l3, 0, 0n)).toBe(0n);
    const table = unmapped(guest);
    // NX and the software bits are not for an L3 of PAE; RW and USER are set for the guest.
    expect(update(guest, l3, 0, (1n << 63n) | BigInt((table << 12) | 1))).toBe(EINVAL);
    expect(update(guest, l3, 0, BigInt((table << 12) | 1))).toBe(0n);
    expect(entryAt(guest, l3, 0)).toBe(BigInt((table << 12) | 7));
  });

  it('that are written to half an entry at a time lose what is not valid yet', () => {
    const guest = make();
    const [, , l1] = path(guest, COMPAT_BASE);
    const { address } = guest.page();
    expect(guest.call(hypercall.vm_assist, 0, 2)).toBe(0n);
    expect(guest.call(hypercall.update_va_mapping, address, (l1 << 12) | 1, 0, 2)).toBe(0n);
    const index = Number((guest.page().address >> 12n) & 511n);
    const before = entryAt(guest, l1, index);
    // The frame that the upper half makes of it is no memory at all.
    const at = address + BigInt(index * 8 + 4);
    Object.assign(guest.core, {
      runEmulatingStore: (_page: bigint, store: (at: bigint, bytes: Uint8Array) => boolean) =>
        store(at, Uint8Array.of(1, 0, 0, 0)) ? null : 'refused',
    });
    guest.exit({ reason: 'exception', vector: 14, errorCode: 3, address: at });
    expect(entryAt(guest, l1, index)).toBe((before & ~1n) | (1n << 32n));
  });

  it('have no linear entries in the L3', () => {
    const guest = make();
    const [l3] = path(guest, BigInt(COMPAT_BASE));
    expect(update(guest, l3, 2, (BigInt(l3) << 12n) | 0x65n)).toBe(EINVAL);
    expect(entryAt(guest, l3, 2)).toBe(0n);
  });

  it('share no last L2, and need one', () => {
    const guest = make();
    const [, l2] = path(guest, COMPAT_BASE);
    const { address, frame } = guest.page();
    const put = (index: number, value: number): void => {
      guest.hypervisor.mmu.writeU64((frame * 4096 + index * 8) as Maddr, BigInt(value));
    };
    put(3, (l2 << 12) | 1);
    put(100, 0x1234567);
    expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | Pte.present, 0, 2)).toBe(0n);
    expect(extended(guest, MMUEXT.PIN_L3_TABLE, frame)).toBe(EINVAL);
    put(3, 0);
    expect(extended(guest, MMUEXT.PIN_L3_TABLE, frame)).toBe(EINVAL);
    const own = unmapped(guest);
    put(3, (own << 12) | 1);
    expect(extended(guest, MMUEXT.PIN_L3_TABLE, frame)).toBe(0n);
    // An entry has more bits while its table is one: pinning it has set them, unpinning takes them away.
    expect(entryAt(guest, frame, 3)).toBe(BigInt((own << 12) | 7));
    expect(extended(guest, MMUEXT.UNPIN_TABLE, frame)).toBe(0n);
    expect(entryAt(guest, frame, 3)).toBe(BigInt((own << 12) | 1));
    expect(extended(guest, MMUEXT.PIN_L3_TABLE, frame)).toBe(0n);
    // What is behind the four entries was cleared; the L2 got the M2P.
    expect(entryAt(guest, frame, 100)).toBe(0n);
    expect(entryAt(guest, own, 428)).toBe(entryAt(guest, l2, 428));
    expect(extended(guest, MMUEXT.NEW_BASEPTR, frame)).toBe(0n);
    expect(guest.vcpu.kernelRoot).toBe(frame);
  });

  it('are of three levels', () => {
    const guest = make();
    expect(extended(guest, MMUEXT.PIN_L4_TABLE, unmapped(guest))).toBe(0n);
    expect(extended(guest, MMUEXT.NEW_USER_BASEPTR, guest.vcpu.kernelRoot)).toBe(EINVAL);
    // An L2 that is pinned as such has no room for Xen's area any more.
    const l2 = unmapped(guest);
    expect(extended(guest, MMUEXT.PIN_L2_TABLE, l2)).toBe(0n);
    const l3 = guest.page();
    guest.hypervisor.mmu.writeU64((l3.frame * 4096 + 24) as Maddr, BigInt((l2 << 12) | 1));
    expect(guest.call(hypercall.update_va_mapping, l3.address, 0, 0, 2)).toBe(0n);
    expect(extended(guest, MMUEXT.PIN_L3_TABLE, l3.frame)).toBe(EINVAL);
  });

  it('hold the CR3 value in 32 bits', () => {
    const guest = make();
    guest.privileged({ mnemonic: 'MOV_FROM_CR', register: 3, gpr: 0, length: 3 });
    expect(guest.core.regs[0]).toBe(BigInt(guest.vcpu.kernelRoot << 12));
    guest.privileged({ mnemonic: 'MOV_TO_CR', register: 3, gpr: 0, length: 3 });
    expect(guest.pv.domain.state).toBe('running');
  });
});

describe('exceptions and events of a PV32 guest', () => {
  it('reach the kernel from itself on its own stack', () => {
    const guest = make();
    withHandler(guest, 13, 0xc0001000, 4);
    const { core } = guest;
    const { address } = guest.page();
    core.regs[4] = address + 0x805n;
    core.rip = 0xc0000123n;
    core.rflags = 0x10346;
    guest.hypervisor.mmu.writeU8((guest.vcpu.vcpuInfo + 1) as Maddr, 0);
    guest.exit({ reason: 'exception', vector: 13, errorCode: 0x18 });
    expect(core.regs[4]).toBe(address + 0x805n - 16n);
    expect(peek(guest, core.regs[4], 4)).toEqual([0x18, 0xc0000123, RING1_CS, 0x10346]);
    expect([core.rip, core.rflags, mask(guest)]).toEqual([0xc0001000n, 0x246, 1]);
  });

  it('reach it from a program on the kernel stack, and go back by iret', () => {
    const guest = make();
    withHandler(guest, 0x80, 0xc0001000, 3);
    const { core } = guest;
    const { address } = guest.page();
    expect(guest.call(hypercall.stack_switch, 0xe021, address + 4096n)).toBe(0n);
    enterUser(guest);
    expect([core.rip, core.regs[4], core.selectors[1], core.selectors[2]]).toEqual([
      0x400000n,
      0x7fff0000n,
      RING3_CS,
      RING3_SS,
    ]);
    expect([core.regs[0], mask(guest), guest.vcpu.guestKernel]).toEqual([1n, 0, false]);
    core.rip = 0x400002n;
    guest.exit({ reason: 'interrupt', vector: 0x80, length: 2 });
    expect([core.rip, core.selectors[1], core.selectors[2]]).toEqual([0xc0001000n, RING1_CS, 0xe021]);
    expect(core.space.user).toBe(false);
    expect(peek(guest, core.regs[4], 5)).toEqual([0x400002, RING3_CS, 0x202, 0x7fff0000, RING3_SS]);
    // IRET itself, between the rings.
    guest.privileged({ mnemonic: 'IRET', width: 32, length: 1 });
    expect([core.rip, core.regs[4], core.selectors[1]]).toEqual([0x400002n, 0x7fff0000n, RING3_CS]);
    expect(core.space.user).toBe(true);
    // What the new ring has no right to is taken away.
    expect([core.selectors[0], core.selectors[3]]).toEqual([0, 0]);
  });

  it('keep INT 82 of a program, and of vectors that are not open to it, a fault', () => {
    const guest = make();
    withHandler(guest, 13, 0xc0001000);
    expect(guest.call(hypercall.stack_switch, 0xe021, guest.page().address + 4096n)).toBe(0n);
    enterUser(guest);
    guest.core.rip = 0x400002n;
    guest.exit({ reason: 'interrupt', vector: 0x82, length: 2 });
    expect(peek(guest, guest.core.regs[4], 2)).toEqual([0x82 * 8 + 2, 0x400000]);
  });

  it('show page faults with CR2 in vcpu_info, and USER only for programs', () => {
    const guest = make();
    withHandler(guest, 14, 0xc0001000);
    guest.core.regs[4] = guest.page().address + 4096n;
    guest.exit({ reason: 'exception', vector: 14, errorCode: 2, address: 0xdead000n });
    expect(guest.hypervisor.mmu.readU32((guest.vcpu.vcpuInfo + 8) as Maddr)).toBe(0xdead000);
    expect(peek(guest, guest.core.regs[4], 1)).toEqual([2]);
  });

  it('of a return by iret are those of the place that it leads to', () => {
    const guest = make();
    withHandler(guest, 13, 0xc0001000);
    const { core } = guest;
    const top = guest.page().address + 4096n;
    expect(guest.call(hypercall.stack_switch, 0xe021, top)).toBe(0n);
    core.regs[4] = words(guest, 1, 0x400000, 0x1233, 0x246, 0x7fff0000, RING3_SS);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'interrupt', vector: 0x82, length: 2 });
    expect(core.rip).toBe(0xc0001000n);
    // From a program, though none ran: on the kernel's stack, and without RF.
    expect([core.regs[4], ...peek(guest, core.regs[4], 6)]).toEqual([
      top - 24n,
      0x1230,
      0x400000,
      0x1233,
      0x246,
      0x7fff0000,
      RING3_SS,
    ]);
  });

  it('in place of virtual-8086 mode are general-protection faults with its frame', () => {
    const guest = make();
    withHandler(guest, 13, 0xc0001000, 4);
    const { core } = guest;
    const top = guest.page().address + 4096n;
    expect(guest.call(hypercall.stack_switch, 0xe021, top)).toBe(0n);
    core.regs[4] = words(guest, 0xa, 0x100, 0x2000, 0x20302, 0xfffe, 0x3000, 1, 2, 3, 4);
    core.regs[0] = BigInt(hypercall.iret);
    guest.exit({ reason: 'interrupt', vector: 0x82, length: 2 });
    expect([core.rip, core.selectors[1], core.regs[0], core.rflags, mask(guest)]).toEqual([
      0xc0001000n,
      RING1_CS,
      0xan,
      0x202,
      1,
    ]);
    expect([core.regs[4], ...peek(guest, core.regs[4], 10)]).toEqual([
      ...[top - 40n, 0, 0x100, 0x2000, 0x20302, 0xfffe, 0x3000, 1, 2, 3, 4],
    ]);
  });

  it('end the domain where the handler has a null code segment', () => {
    const guest = make();
    guest.exit({ reason: 'exception', vector: 6 });
    expect(guest.pv.domain.shutdownRecord?.reason).toBe('crash');
  });

  it('enter at the event callback with events masked', () => {
    const guest = make();
    expect(guest.call(hypercall.set_callbacks, 0xe018, 0xc0001000, 0xe018, 0xc0001100)).toBe(0n);
    guest.core.regs[4] = guest.page().address + 4096n;
    const { mmu } = guest.hypervisor;
    mmu.writeU8(guest.vcpu.vcpuInfo as Maddr, 1);
    mmu.writeU8((guest.vcpu.vcpuInfo + 1) as Maddr, 0);
    guest.personality.beforeRun(guest.vcpu.hv);
    expect([guest.core.rip, guest.core.selectors[1], mask(guest)]).toEqual([0xc0001000n, RING1_CS, 1]);
    expect(guest.call(hypercall.callback_op, 0, words(guest, 2, 0xe019, 0xc0001000))).toBe(ENOSYS);
  });
});

/** Writes descriptors to a page of the guest and makes it its GDT. */
function withGdt(guest: TestGuest, ...descriptors: bigint[]): bigint {
  const { address, frame } = guest.page();
  guest.hypervisor.mmu.write(frame as never, 0, new Uint8Array(BigUint64Array.from([0n, ...descriptors]).buffer));
  expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | Pte.present, 0, 2)).toBe(0n);
  expect(guest.call(hypercall.set_gdt, words(guest, frame), 512)).toBe(0n);
  return address;
}

describe('segments of a PV32 guest', () => {
  it('have their descriptors checked: no ring 0, no 64-bit code, flat limits in full', () => {
    const guest = make();
    const flat = withGdt(guest, 0x00cf9b000000ffffn, 0x00cf92000000ffffn, 0x00cf5b000000ffffn, 0x00cfb2000000f580n);
    expect([...new BigUint64Array(guest.peekBytes(flat + 8n, 24).slice().buffer)]).toEqual([
      0x00cfbb000000ffffn,
      0x00cfb2000000ffffn,
      0x00cf5b000000ffffn,
    ]);
    const { address, frame } = guest.page();
    const put = (value: bigint): bigint =>
      guest.call(hypercall.update_descriptor, frame << 12, 0, value & 0xffffffffn, value >> 32n);
    expect(put(0x00afbb000000ffffn)).toBe(EINVAL);
    expect(put(0x00008b000000ffffn)).toBe(EINVAL);
    expect(put(0x00cf92000000fffen)).toBe(0n);
    expect(guest.peek(address)).toBe(0x00cfb2000000ffffn);
    expect(put(0x00408200_00001000n | (0n << 44n))).toBe(EINVAL);
    // The second half of a gate stays as it is.
    expect(put(0x0000_8000_1234_5678n)).toBe(0n);
    expect(guest.peek(address)).toBe(0x0000_8000_1234_5678n);
    // No frames can be named anywhere but in Xen's area.
    expect(guest.call(hypercall.set_gdt, 0, 0)).toBe(0n);
    expect(guest.call(hypercall.set_gdt, M2P, 0)).toBe(-14n);
  });

  it('are loaded with their bases and limits, under the rights of the ring', () => {
    const guest = make();
    withGdt(guest, 0x12cfb2345678ffffn, 0x00cff2000000ffffn, 0x00cfb2000000ffffn);
    withHandler(guest, 13, 0xc0001000);
    const load = (register: number, selector: number): void =>
      guest.privileged({ mnemonic: 'LOAD_SEGMENT', register, selector, length: 2, width: 32 });
    guest.core.regs[4] = guest.page().address + 4096n;
    load(5, 0x09);
    expect(guest.core.gsBase).toBe(0x12345678n);
    expect(guest.core.selectors[5]).toBe(0x09);
    load(3, 0x13);
    expect(guest.core.selectors[3]).toBe(0x13);
    load(3, 0);
    expect(guest.core.selectors[3]).toBe(0);
    // SS takes only what has the ring of the code.
    load(2, 0x13);
    expect(peek(guest, guest.core.regs[4], 1)).toEqual([0x10]);
    load(2, 0x19);
    expect(guest.core.selectors[2]).toBe(0x19);
    load(3, 0x0b);
    expect(peek(guest, guest.core.regs[4], 1)).toEqual([0x08]);
    load(3, 0x09);
    expect(guest.core.segment(3)).toEqual({ base: 0x12345678n, limit: 0xffffffff, rights: 0xc0b3 });
  });

  it('that are loaded are marked in their table as accessed', () => {
    const guest = make();
    const table = withGdt(guest, 0x00cfb2000000ffffn, 0x00cfb2000000ffffn);
    guest.privileged({ mnemonic: 'LOAD_SEGMENT', register: 3, selector: 9, length: 2, width: 32 });
    expect(guest.peek(table + 8n)).toBe(0x00cfb3000000ffffn);
    expect(guest.peek(table + 16n)).toBe(0x00cfb2000000ffffn);
  });

  it('in a page of the LDT that is not there are page faults', () => {
    const guest = make();
    withHandler(guest, 14, 0xc0001000);
    expect(extended(guest, MMUEXT.SET_LDT, 0x40000000, 16)).toBe(0n);
    guest.core.regs[4] = guest.page().address + 4096n;
    guest.privileged({ mnemonic: 'LOAD_SEGMENT', register: 3, selector: 0x7d, length: 2, width: 32 });
    expect([guest.core.rip, guest.vcpu.cr2, ...peek(guest, guest.core.regs[4], 1)]).toEqual([
      0xc0001000n,
      0x40000078n,
      0,
    ]);
    // Behind its end it is the selector that is wrong.
    withHandler(guest, 13, 0xc0002000);
    guest.privileged({ mnemonic: 'LOAD_SEGMENT', register: 3, selector: 0x85, length: 2, width: 32 });
    expect([guest.core.rip, ...peek(guest, guest.core.regs[4], 1)]).toEqual([0xc0002000n, 0x84]);
  });

  it('take far jumps, calls, returns and call gates', () => {
    const guest = make();
    // Ring-1 code, a call gate to it, ring-3 code and data.
    withGdt(guest, 0x00cfbb000000ffffn, 0xc000ec0000091234n, 0x00cffb000000ffffn, 0x00cff2000000ffffn);
    withHandler(guest, 13, 0xc0001000);
    const { core } = guest;
    const { address } = guest.page();
    core.regs[4] = address + 4096n;
    core.rip = COMPAT_BASE;
    const code = (...bytes: number[]): void => {
      guest.hypervisor.mmu.writeVirtual(core.space, COMPAT_BASE, Uint8Array.from(bytes));
      core.rip = COMPAT_BASE;
    };
    const far = (selector: number, length: number): void =>
      guest.privileged({ mnemonic: 'FAR_TRANSFER', selector, offset: 0xc0000500n, length, width: 32 });
    code(0xea, 0, 5, 0, 0xc0, 9, 0);
    far(9, 7);
    expect([core.rip, core.selectors[1]]).toEqual([0xc0000500n, 9]);
    code(0x9a, 0, 5, 0, 0xc0, 9, 0);
    far(9, 7);
    expect(peek(guest, core.regs[4], 2)).toEqual([0xc0000007, 9]);
    code(0xcb);
    far(0, 1);
    expect([core.rip, core.regs[4]]).toEqual([0xc0000007n, address + 4096n]);
    // To a program by far return, and into the kernel again through the gate.
    expect(guest.call(hypercall.stack_switch, 0xe021, address + 2048n)).toBe(0n);
    core.regs[4] = words(guest, 0xc0000600, 0x1b, 0xc0100000, 0x23);
    code(0xcb);
    far(0, 1);
    expect([core.rip, core.selectors[1], core.regs[4]]).toEqual([0xc0000600n, 0x1b, 0xc0100000n]);
    expect(guest.vcpu.guestKernel).toBe(false);
    core.rip = COMPAT_BASE;
    core.space = { ...core.space, user: false };
    guest.hypervisor.mmu.writeVirtual(core.space, COMPAT_BASE, Uint8Array.from([0x9a, 0, 0, 0, 0, 0x13, 0]));
    far(0x13, 7);
    expect([core.rip, core.selectors[1]]).toEqual([0xc0001234n, 9]);
    expect(peek(guest, core.regs[4], 4)).toEqual([0xc0000007, 0x1b, 0xc0100000, 0x23]);
  });

  it('can be asked about by LAR, LSL, VERR and VERW', () => {
    const guest = make();
    // Read-only data with a limit in bytes, as Linux keeps the processor's number in; kernel data; an LDT gap.
    withGdt(guest, 0x0040f5000000100an, 0x00cfb2000000ffffn, 0n);
    const { core } = guest;
    const ask = (mnemonic: 'LAR' | 'LSL' | 'VERR' | 'VERW', selector: number): [boolean, bigint] => {
      core.regs[0] = 0x1234n;
      guest.privileged({ mnemonic, selector, gpr: 0, width: 32, length: 3 });
      return [(core.rflags & 0x40) !== 0, core.regs[0]];
    };
    expect(ask('LSL', 0x0b)).toEqual([true, 0x100an]);
    expect(ask('LAR', 0x0b)).toEqual([true, 0x40f500n]);
    expect(ask('LSL', 0x11)).toEqual([true, 0xffffffffn]);
    expect(ask('LSL', 0x13)).toEqual([false, 0x1234n]);
    expect(ask('VERR', 0x0b)).toEqual([true, 0x1234n]);
    expect(ask('VERW', 0x0b)).toEqual([false, 0x1234n]);
    expect(ask('VERW', 0x11)).toEqual([true, 0x1234n]);
    for (const selector of [0, 0x18, 0x20, 0x3000]) expect(ask('LAR', selector)[0]).toBe(false);
    guest.privileged({ mnemonic: 'STR', gpr: 0, width: 16, length: 3 });
    expect(core.regs[0]).toBe(0xe040n);
    guest.privileged({ mnemonic: 'SMSW', gpr: 0, width: 32, length: 3 });
    expect(core.regs[0]).toBe(0x80050033n);
  });
});

describe('vCPUs of a PV32 guest', () => {
  it('start from a context of 2800 bytes', () => {
    const guest = createTestGuest({ image: compatImage(), vcpus: 2 });
    const [, second] = guest.pv.xen.vcpus;
    withGdt(guest, 0x00cfb2000000ffffn);
    const bytes = new Uint8Array(vcpu_guest_context.size(32));
    expect(bytes.length).toBe(2800);
    const view = new DataView(bytes.buffer);
    vcpu_guest_context.write(
      view,
      0,
      {
        flags: 4n,
        user_regs: {
          rip: 0xc0000100n,
          rsp: 0xc0100000n,
          cs: RING1_CS,
          ss: 0xe021,
          ds: 0xe021,
          rflags: 0x202n,
          rax: 7n,
        },
        trap_ctxt: [{ vector: 13, flags: 0, cs: 0xe018, address: 0xc0001000n }],
        kernel_ss: 0xe020n,
        kernel_sp: 0xc0200000n,
        ctrlreg: [0n, 0n, 0n, BigInt(guest.vcpu.kernelRoot << 12)],
        event_callback_cs: 0xe018n,
        event_callback_eip: 0xc0001100n,
        failsafe_callback_cs: 0xe019n,
        failsafe_callback_eip: 0xc0001200n,
      },
      32,
    );
    // FS names nothing that the vCPU's own (empty) GDT has.
    view.setUint16(0x204 + 60, 0x09, true);
    const context = guest.putBytes(bytes);
    expect(guest.call(hypercall.vcpu_op, 0, 1, context)).toBe(0n);
    expect(second.kernelRoot).toBe(guest.vcpu.kernelRoot);
    expect([second.kernelSs, second.kernelSp, second.traps[13].cs]).toEqual([0xe021, 0xc0200000n, 0xe019]);
    expect(second.callbacks.event).toMatchObject({ cs: 0xe019, address: 0xc0001100n });
    // So it starts in the failsafe callback, with its segments on the stack.
    expect([second.core.rip, second.core.mode, second.core.regs[4]]).toEqual([0xc0001200n, 32, 0xc0100000n - 28n]);
    expect(peek(guest, 0xc0100000n - 28n, 7)).toEqual([0xe021, 0, 9, 0, 0xc0000100, RING1_CS | 0x10000, 0x2]);
    expect(second.core.selectors[4]).toBe(0);
    expect(guest.call(hypercall.vcpu_op, 0, 1, context)).toBe(-17n);
    expect(guest.call(hypercall.vcpu_op, 1, 1)).toBe(0n);
    expect(guest.call(hypercall.vcpu_op, 3, 1)).toBe(1n);
  });
});
