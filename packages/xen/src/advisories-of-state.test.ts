/**
 * More of what the advisories of Xen (XSA) say that a PV guest must not be able to do: with pages that change hands,
 * lists that take several calls, stacks beside the hypervisor's area, and states that are left behind.
 */
import { EVTCHNOP, GNTTABOP, hypercall, MMUEXT, VCPUOP, VGCF_IN_KERNEL, vcpu_guest_context } from '@paravane/abi-xen';
import { Flag } from '@paravane/engine-api';
import { FrameType } from '@paravane/mmu';
import type { Maddr, Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { compatImage } from './testing/compat-image.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

const SELF = 0x7ff0n;
const EINVAL = -22n;
const EBUSY = -16n;
const RO = 0x65n;
const entry = (frame: number, flags: bigint): bigint => (BigInt(frame) << 12n) | flags;
const remap = (guest: TestGuest, address: bigint, to: bigint): bigint =>
  guest.pv.xen.is64
    ? guest.call(hypercall.update_va_mapping, address, to, 2)
    : guest.call(hypercall.update_va_mapping, address, to & 0xffffffffn, to >> 32n, 2);
const grants = (guest: TestGuest, command: number, address: bigint, count: number | bigint = 1): bigint =>
  guest.call(hypercall.grant_table_op, command, address, count);
const statusAt = (guest: TestGuest, address: bigint): number => Number(BigInt.asIntN(16, guest.peek(address)));
/** Writes an entry of version 1. */
function grant(guest: TestGuest, ref: number, domid: number, frame: number, flags: number): void {
  const at = guest.pv.xen.grants.frames[0] * 4096 + ref * 8;
  guest.hypervisor.mmu.writeU64(at as Maddr, BigInt(flags) | (BigInt(domid) << 16n) | (BigInt(frame) << 32n));
}
const version2 = (guest: TestGuest): void =>
  expect(grants(guest, GNTTABOP.set_version, guest.put(2))).toBe(0n) as never;

describe('pages that change hands', () => {
  it('214: a page of descriptors that is passed on is looked at anew by its next owner’s rules', () => {
    const on = createTestHypervisor();
    const giver = createTestGuest({ name: 'giver' }, on);
    const taker = createTestGuest({ name: 'taker', image: compatImage() }, on);
    const { address, frame } = giver.page();
    const LONG_CODE = 0x00affb000000ffffn;
    on.hypervisor.mmu.writeU64((frame * 4096 + 8) as Maddr, LONG_CODE);
    expect(remap(giver, address, entry(frame, RO))).toBe(0n);
    expect(giver.call(hypercall.set_gdt, giver.put(frame), 512)).toBe(0n);
    expect(on.hypervisor.mmu.frames.type[frame]).toBe(FrameType.segdesc);
    expect(giver.call(hypercall.set_gdt, giver.put(0), 0)).toBe(0n);
    expect(remap(giver, address, 0n)).toBe(0n);
    grant(taker, 9, giver.pv.domain.id, 0x300, 2);
    const request = giver.put(frame, BigInt(taker.pv.domain.id) | (9n << 32n), 0);
    expect(grants(giver, GNTTABOP.transfer, request)).toBe(0n);
    expect(statusAt(giver, request + 16n)).toBe(0);
    // There is no 64-bit code for a 32-bit guest.
    expect(taker.call(hypercall.set_gdt, taker.put(frame), 512)).toBe(EINVAL);
    on.hypervisor.mmu.writeU64((frame * 4096 + 8) as Maddr, 0n);
    expect(taker.call(hypercall.set_gdt, taker.put(frame), 512)).toBe(0n);
  });

  it('299, 309, 310: a tree whose pinning was broken off is a tree or nothing, and unpins whole', () => {
    const guest = createTestGuest();
    const { frames } = guest.hypervisor.mmu;
    const pin = (command: number, frame: number): bigint =>
      guest.call(hypercall.mmuext_op, guest.put(command, frame, 0), 1, 0, SELF);
    const [top, good, bad] = [guest.page(), guest.page(), guest.page()];
    const table = new BigUint64Array(512);
    table[0] = entry(good.frame, 0x27n);
    table[300] = entry(bad.frame, 0x27n);
    guest.hypervisor.mmu.write(top.frame as Mfn, 0, new Uint8Array(table.buffer));
    // A writable entry to a table.
    guest.hypervisor.mmu.writeU64((bad.frame * 4096) as Maddr, entry(guest.vcpu.kernelRoot, 0x27n));
    for (const { address, frame } of [top, good, bad]) expect(remap(guest, address, entry(frame, RO))).toBe(0n);
    for (let round = 0; round < 3; round++) expect(pin(MMUEXT.PIN_L2_TABLE, top.frame)).toBe(EBUSY);
    for (const { frame } of [top, good, bad]) expect(frames.typeCount[frame]).toBe(0);
    guest.hypervisor.mmu.writeU64((bad.frame * 4096) as Maddr, 0n);
    for (let round = 0; round < 3; round++) {
      expect(pin(MMUEXT.PIN_L2_TABLE, top.frame)).toBe(0n);
      expect(pin(MMUEXT.PIN_L2_TABLE, top.frame)).toBe(EINVAL);
      expect([top, good, bad].map(({ frame }) => frames.type[frame])).toEqual([2, 1, 1]);
      expect(pin(MMUEXT.UNPIN_TABLE, top.frame)).toBe(0n);
      for (const { frame } of [top, good, bad]) expect(frames.typeCount[frame]).toBe(0);
    }
  });
});

describe('grants', () => {
  /** An entry of version 2 that passes on another. */
  function transitive(guest: TestGuest, ref: number, domid: number, to: number, toRef: number): void {
    const at = guest.pv.xen.grants.frames[0] * 4096 + ref * 16;
    guest.hypervisor.mmu.writeU64(at as Maddr, 3n | (BigInt(domid) << 16n) | (BigInt(to) << 32n));
    guest.hypervisor.mmu.writeU64((at + 8) as Maddr, BigInt(toRef));
  }
  function copyFrom(guest: TestGuest, owner: number, ref: number, to: number): number {
    const request = guest.put(ref, owner, to, 0x7ff0, 8n | (1n << 16n));
    expect(grants(guest, GNTTABOP.copy, request)).toBe(0n);
    return Number(BigInt.asIntN(16, guest.peek(request + 32n) >> 32n));
  }

  it('226: an entry that passes itself on, or one that passes on, leads nowhere', () => {
    const on = createTestHypervisor();
    const [a, b, c] = ['a', 'b', 'c'].map((name) => createTestGuest({ name }, on));
    const [from, to] = [a!.page(), c!.page()];
    const [idA, idB, idC] = [a!, b!, c!].map(({ pv }) => pv.domain.id);
    version2(b!);
    grant(a!, 9, idB!, from.frame, 1 | 4);
    a!.hypervisor.mmu.writeU64((from.frame * 4096) as Maddr, 0xfeedn);
    // One step is one, ...
    transitive(b!, 20, idC!, idA!, 9);
    expect(copyFrom(c!, idB!, 20, to.frame)).toBe(0);
    expect(c!.peek(to.address)).toBe(0xfeedn);
    // ... two are too many, and a circle is none.
    transitive(b!, 21, idC!, idB!, 20);
    transitive(b!, 22, idC!, idB!, 22);
    for (const ref of [21, 22]) expect(copyFrom(c!, idB!, ref, to.frame)).toBe(-1);
    expect(b!.pv.xen.grants.active.size).toBe(0);
    expect(a!.pv.xen.grants.active.size).toBe(0);
  });

  it('318: of a list of copies that takes several calls each has the status of its own', () => {
    const guest = createTestGuest();
    const [from, to] = [guest.page(), guest.page()];
    const count = 600;
    grant(guest, 9, guest.pv.domain.id, from.frame, 1 | 4);
    const at = guest.put(
      ...Array.from({ length: count }, (_, i) => [
        i % 7 === 3 ? 40 : 9,
        guest.pv.domain.id,
        to.frame,
        0x7ff0,
        8n | (1n << 16n) | (0x7777n << 32n),
      ]).flat(),
    );
    expect(grants(guest, GNTTABOP.copy, at, count)).toBe(0n);
    const statuses = Array.from({ length: count }, (_, i) => statusAt(guest, at + BigInt(i * 40 + 36)));
    expect(statuses).toEqual(Array.from({ length: count }, (_, i) => (i % 7 === 3 ? -1 : 0)));
  });

  it('382: more status frames than there are is an error, and no list of what lies behind them', () => {
    const guest = createTestGuest();
    version2(guest);
    const list = guest.put(...Array.from({ length: 64 }, () => 0x5555));
    const outcome = (frames: number): number => {
      const request = guest.put(BigInt(frames) | (SELF << 32n), list);
      const rc = Number(grants(guest, GNTTABOP.get_status_frames, request));
      return rc === 0 ? Number(BigInt.asIntN(16, guest.peek(request) >> 48n)) : rc;
    };
    expect([2, 64, 0xffffffff].map(outcome)).toEqual([-1, -1, -1]);
    for (let i = 0n; i < 64n; i++) expect(guest.peek(list + i * 8n)).toBe(0x5555n);
  });
});

describe('what is left behind', () => {
  it('202: interrupts of the processor stay on, whatever a return says', () => {
    const guest = createTestGuest();
    guest.vcpu.userRoot = guest.vcpu.kernelRoot;
    const { core } = guest;
    for (const flags of [0x2, 0x3002, 0x20002, 0x100]) {
      core.regs[4] = guest.put(0, 0, 0, 0, 0x400000, 0xe030, flags, 0x7000, 0xe02b);
      guest.call(hypercall.iret);
      expect(core.rflags & (Flag.IF | Flag.IOPL | Flag.VM)).toBe(Flag.IF);
      expect(guest.hypervisor.mmu.readU8((guest.vcpu.vcpuInfo + 1) as Maddr)).toBe(1);
    }
  });

  it('215: a frame that would reach into the area of Xen ends the domain, that of the failsafe callback too', () => {
    const HANDLER = 0xffffffff80001000n;
    const [start, end] = [0xffff800000000000n, 0xffff880000000000n];
    for (const sp of [start + 16n, start + 64n, end, end + 16n, end + 48n]) {
      const guest = createTestGuest();
      guest.call(hypercall.set_trap_table, guest.put(13n | (0xe033n << 16n), HANDLER, 0, 0));
      guest.vcpu.userRoot = guest.vcpu.kernelRoot;
      expect(guest.call(hypercall.stack_switch, 0xe02b, sp)).toBe(0n);
      guest.vcpu.guestKernel = false;
      guest.exit({ reason: 'exception', vector: 13, errorCode: 0 });
      expect(guest.pv.domain.state).toBe('crashed');
    }
    // A vCPU that begins with a segment that can't be loaded starts in that callback.
    const guest = createTestGuest({ vcpus: 2 });
    const bytes = new Uint8Array(vcpu_guest_context.size(64));
    const context = {
      flags: BigInt(VGCF_IN_KERNEL),
      user_regs: { rip: HANDLER, cs: 0xe033, ss: 0xe02b, rsp: end + 16n, ds: 0x1230 },
      failsafe_callback_eip: HANDLER,
      ctrlreg: [0n, 0n, 0n, entry(guest.vcpu.kernelRoot, 0n), 0n, 0n, 0n, 0n],
    };
    vcpu_guest_context.write(new DataView(bytes.buffer), 0, context as never, 64);
    const rc = guest.call(hypercall.vcpu_op, VCPUOP.initialise, 1, guest.putBytes(bytes));
    expect([rc, guest.pv.domain.state]).toEqual([0n, 'crashed']);
  });

  it('344: a reset of very many ports comes to its end', () => {
    const guest = createTestGuest();
    const open = guest.put(SELF | (SELF << 16n));
    let ports = 0;
    while (guest.call(hypercall.event_channel_op, EVTCHNOP.alloc_unbound, open) === 0n) ports++;
    expect(ports).toBeGreaterThan(900);
    expect(guest.call(hypercall.event_channel_op, EVTCHNOP.reset, guest.put(SELF))).toBe(0n);
    expect(guest.call(hypercall.event_channel_op, EVTCHNOP.alloc_unbound, open)).toBe(0n);
    expect(guest.peek(open) >> 32n).toBe(1n);
  });
});
