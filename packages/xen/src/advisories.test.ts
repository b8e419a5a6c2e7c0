/**
 * What the advisories of Xen (XSA) say that a PV guest must not be able to do, and what Xen answers instead. Each is
 * named by its number.
 */
import { DOMID_SELF, GNTMAP, GNTTABOP, hypercall, MMUEXT, SCHEDOP, VCPUOP, XENMEM, XENVER } from '@paravane/abi-xen';
import { FrameType } from '@paravane/mmu';
import { describe, expect, it } from 'vitest';
import { compatImage } from './testing/compat-image.js';
import { createTestGuest, type TestGuest } from './testing/test-machine.js';

const SELF = BigInt(DOMID_SELF);
const RO = 0x65n;
const RW = 0x67n;
const EINVAL = -22n;
const EFAULT = -14n;
const EBUSY = -16n;

const entry = (frame: number, flags: bigint): bigint => (BigInt(frame) << 12n) | flags;
const remap = (guest: TestGuest, address: bigint, to: bigint): bigint =>
  guest.pv.xen.is64
    ? guest.call(hypercall.update_va_mapping, address, to, 2)
    : guest.call(hypercall.update_va_mapping, address, to & 0xffffffffn, to >> 32n, 2);
const extended = (guest: TestGuest, command: number, argument: bigint | number): bigint => {
  const operation = guest.pv.xen.is64
    ? guest.put(command, argument, 0)
    : guest.put(BigInt(command) | (BigInt(argument) << 32n), 0);
  return guest.call(hypercall.mmuext_op, operation, 1, 0, SELF);
};
const update = (guest: TestGuest, table: number, index: number, to: bigint): bigint =>
  guest.call(hypercall.mmu_update, guest.put(entry(table, BigInt(index * 8)), to), 1, 0, SELF);

/** Entry 8 and on of the guest's own grant table, version 1, for itself. */
function grant(guest: TestGuest, ref: number, frame: number, flags = 1): void {
  const { mmu } = guest.hypervisor;
  const at = guest.pv.xen.grants.frames[0] * 4096 + ref * 8;
  mmu.writeU32(at as never, flags | (guest.pv.domain.id << 16));
  mmu.writeU32((at + 4) as never, frame);
}
function map(guest: TestGuest, ref: number, address: bigint, flags: number): { status: number; handle: number } {
  const request = guest.put(address, BigInt(flags) | (BigInt(ref) << 32n), guest.pv.domain.id, 0);
  expect(guest.call(hypercall.grant_table_op, GNTTABOP.map_grant_ref, request, 1)).toBe(0n);
  const view = new DataView(guest.peekBytes(request, 32).buffer);
  return { status: view.getInt16(18, true), handle: view.getUint32(20, true) };
}
function unmap(guest: TestGuest, handle: number, address: bigint, bus = 0n): number {
  const request = guest.put(address, bus, handle);
  expect(guest.call(hypercall.grant_table_op, GNTTABOP.unmap_grant_ref, request, 1)).toBe(0n);
  return new DataView(guest.peekBytes(request, 24).buffer).getInt16(20, true);
}

describe('page tables', () => {
  it('167: superpages are neither marked nor made', () => {
    const guest = createTestGuest();
    expect(extended(guest, MMUEXT.MARK_SUPER, 0xffff_ffff_ffe0_0000n)).toBe(-95n);
    const { frame, address } = guest.page();
    guest.hypervisor.mmu.writeU64((frame * 4096) as never, 0x80n | 1n);
    expect(remap(guest, address, entry(frame, RO))).toBe(0n);
    expect(extended(guest, MMUEXT.PIN_L2_TABLE, frame)).toBe(EINVAL);
    expect(extended(guest, MMUEXT.PIN_L3_TABLE, frame)).toBe(EINVAL);
  });

  it('182: a root that maps itself stays read-only', () => {
    const guest = createTestGuest();
    const root = guest.vcpu.kernelRoot;
    expect(update(guest, root, 10, entry(root, 0x25n))).toBe(0n);
    expect(update(guest, root, 10, entry(root, 0x27n))).toBe(EINVAL);
    // Not through a change that looks like one of flags only, either.
    expect(update(guest, root, 10, entry(root, 0x225n))).toBe(0n);
    expect(update(guest, root, 10, entry(root, 0x227n))).toBe(EINVAL);
    expect(update(guest, root, 10, 0n)).toBe(0n);
  });

  it('185: a 32-bit root maps no root', () => {
    const guest = createTestGuest({ image: compatImage() });
    const root = guest.vcpu.kernelRoot;
    expect(update(guest, root, 0, entry(root, 1n))).toBe(EINVAL);
  });

  it('240: linear tables do not hang in each other without end', () => {
    const guest = createTestGuest();
    const root = guest.vcpu.kernelRoot;
    const [a, b] = [guest.page(), guest.page()];
    for (const { address, frame } of [a, b]) {
      expect(remap(guest, address, entry(frame, RO))).toBe(0n);
      expect(extended(guest, MMUEXT.PIN_L4_TABLE, frame)).toBe(0n);
    }
    expect(update(guest, a.frame, 10, entry(root, 0x25n))).toBe(0n);
    expect(update(guest, b.frame, 10, entry(a.frame, 0x25n))).toBe(EINVAL);
  });

  it('a page that a table maps as writable becomes no table, and a table is mapped by none as writable', () => {
    const guest = createTestGuest();
    const { address, frame } = guest.page();
    expect(extended(guest, MMUEXT.PIN_L1_TABLE, frame)).toBe(EINVAL);
    expect(remap(guest, address, entry(frame, RO))).toBe(0n);
    expect(extended(guest, MMUEXT.PIN_L1_TABLE, frame)).toBe(0n);
    expect(remap(guest, address, entry(frame, RW))).toBe(EBUSY);
    const other = guest.page();
    expect(remap(guest, other.address, entry(frame, RW))).toBe(EBUSY);
  });

  it("286: addresses of non-present entries are nobody's business", () => {
    const guest = createTestGuest();
    const { address } = guest.page();
    expect(remap(guest, address, 0xfff_ffff_f000n)).toBe(0n);
    expect(guest.hypervisor.mmu.translate(guest.core.space, address)).toBeNull();
  });
});

describe('memory', () => {
  it('212: an exchange that begins far along its lists reads and writes nothing of the hypervisor', () => {
    const guest = createTestGuest();
    const list = guest.put(guest.page().frame);
    const far = 0xffff_8200_0000_0000n / 8n;
    const from = BigInt.asUintN(64, list - far * 8n);
    const exchange = guest.put(from, far + 1n, 0n, SELF, 0n, far + 1n, 32n << 32n, SELF, far);
    expect(guest.call(hypercall.memory_op, XENMEM.exchange, exchange)).toBeLessThan(0n);
  });

  it('231: a node that there is not is refused or ignored', () => {
    const guest = createTestGuest();
    for (let node = 0; node < 256; node += 17) {
      const reservation = guest.put(0, 1, BigInt(node << 8) << 32n, SELF);
      expect(guest.call(hypercall.memory_op, XENMEM.increase_reservation, reservation)).toBeLessThanOrEqual(1n);
    }
  });
});

describe('calls', () => {
  it('122: xen_version gives out nothing beyond its strings', () => {
    const guest = createTestGuest();
    const sizes = [
      [XENVER.extraversion, 16],
      [XENVER.compile_info, 144],
      [XENVER.capabilities, 1024],
      [XENVER.changeset, 64],
    ] as const;
    for (const [command, size] of sizes) {
      const { address, frame } = guest.page();
      guest.hypervisor.mmu.write(frame as never, 0, new Uint8Array(4096).fill(0xaa));
      expect(guest.call(hypercall.xen_version, command, address)).toBe(0n);
      const bytes = guest.peekBytes(address, 4096);
      expect([...bytes.subarray(0, size)].includes(0xaa)).toBe(false);
      expect([...bytes.subarray(size)].every((byte) => byte === 0xaa)).toBe(true);
    }
  });

  it('213: a multicall ends with the iret in it', () => {
    const guest = createTestGuest();
    guest.vcpu.userRoot = guest.vcpu.kernelRoot;
    const target = 0x400000n;
    guest.core.regs[4] = guest.put(0xdead, 0, 0, 0, target, 0xe033, 0x202, 0x7000, 0xe02b);
    const list = guest.put(hypercall.iret, 0, 0, 0, 0, 0, 0, 0, hypercall.xen_version, 0, 0, 0, 0, 0, 0, 0);
    guest.core.regs[0] = BigInt(hypercall.multicall);
    guest.core.regs[7] = list;
    guest.core.regs[6] = 2n;
    guest.exit({ reason: 'syscall' });
    expect(guest.core.rip).toBe(target);
    expect(guest.core.regs[0]).toBe(0xdeadn);
    expect(guest.vcpu.guestKernel).toBe(false);
    expect(guest.hypervisor.mmu.readVirtual(guest.core.spaces[0]!, list + 72n, 8)).toEqual(new Uint8Array(8));
  });

  it('221: ports that nobody opened are not polled', () => {
    const guest = createTestGuest();
    for (const port of [0, 40, 63, 64, 1023, 4095, 4096, 0xffffffff]) {
      const request = guest.put(guest.put(port), 1, 1);
      expect(guest.call(hypercall.sched_op, SCHEDOP.poll, request)).toBe(EINVAL);
    }
    const open = guest.put(BigInt(DOMID_SELF) | (BigInt(DOMID_SELF) << 16n));
    expect(guest.call(hypercall.event_channel_op, 6, open)).toBe(0n);
    const port = guest.peek(open) >> 32n;
    guest.hypervisor.mmu.writeU8((guest.vcpu.vcpuInfo + 1) as never, 1);
    expect(guest.call(hypercall.sched_op, SCHEDOP.poll, guest.put(guest.put(port), 1, 1))).toBe(0n);
    expect(guest.vcpu.hv.state).toBe('blocked');
  });

  it.each([
    ['64-bit', undefined],
    ['32-bit', compatImage()],
  ])('296: the tables of a new %s vCPU are validated in as many pieces as it takes', (_, image) => {
    const guest = createTestGuest({ vcpus: 2, ...(image && { image }) });
    const [upper, lower] = [guest.page(), guest.page()];
    guest.hypervisor.mmu.writeU64((upper.frame * 4096 + 24) as never, entry(lower.frame, 1n));
    for (const { address, frame } of [upper, lower]) expect(remap(guest, address, entry(frame, RO))).toBe(0n);
    const context = guest.page().address;
    const { mmu } = guest.hypervisor;
    const cr3 = guest.pv.xen.is64 ? 0x1378n : 0xa9cn;
    const flags = new Uint8Array([4]);
    mmu.writeVirtual(guest.core.space, context + (guest.pv.xen.is64 ? 0x200n : 0x200n), flags);
    const value = new Uint8Array(8);
    new DataView(value.buffer).setBigUint64(0, entry(upper.frame, 0n), true);
    const at = context + cr3 + 3n * (guest.pv.xen.is64 ? 8n : 4n);
    // The structure goes over the end of this page: the next one is scratch memory, too.
    guest.page();
    mmu.writeVirtual(guest.core.space, at, guest.pv.xen.is64 ? value : value.subarray(0, 4));
    expect(guest.call(hypercall.vcpu_op, VCPUOP.initialise, 1, context)).toBe(0n);
    expect(guest.pv.xen.vcpus[1].kernelRoot).toBe(upper.frame);
    expect(guest.call(hypercall.vcpu_op, VCPUOP.initialise, 2, context)).toBe(-2n);
  });
});

describe('traps', () => {
  it('259: INT 80 without a handler is a general-protection fault', () => {
    const guest = createTestGuest();
    const handler = 0xffffffff80001000n;
    guest.call(hypercall.set_trap_table, guest.put(13n | (0xe033n << 16n), handler, 0, 0));
    guest.core.regs[4] = guest.page().address + 4096n;
    guest.core.rip = 0xffffffff80000102n;
    guest.exit({ reason: 'interrupt', vector: 0x80, length: 2 });
    expect(guest.core.rip).toBe(handler);
    expect(guest.peek(guest.core.regs[4] + 16n)).toBe(0x402n);
    expect(guest.peek(guest.core.regs[4] + 24n)).toBe(0xffffffff80000100n);
  });

  it('298: a far call through a gate beyond the end of the LDT is a general-protection fault', () => {
    const guest = createTestGuest();
    const handler = 0xffffffff80001000n;
    guest.call(hypercall.set_trap_table, guest.put(13n | (0xe033n << 16n), handler, 0, 0));
    guest.core.regs[4] = guest.page().address + 4096n;
    guest.core.rip = 0xffffffff80000000n;
    guest.privileged({ mnemonic: 'FAR_TRANSFER', length: 3, width: 32, selector: 0x1007, offset: 0n });
    expect(guest.core.rip).toBe(handler);
    expect(guest.peek(guest.core.regs[4] + 16n)).toBe(0x1004n);
  });
});

describe('grants', () => {
  it('224: a mapping for the processor and for devices is undone in two steps', () => {
    const guest = createTestGuest();
    const [page, place] = [guest.page(), guest.page()];
    grant(guest, 8, page.frame);
    const { status, handle } = map(guest, 8, place.address, GNTMAP.host_map | GNTMAP.device_map);
    expect(status).toBe(0);
    expect(unmap(guest, handle, place.address)).toBe(0);
    expect(guest.hypervisor.mmu.frames.type[page.frame]).toBe(FrameType.writable);
    expect(unmap(guest, handle, 0n, BigInt(page.frame) << 12n)).toBe(0);
    expect(unmap(guest, handle, place.address)).toBe(-4);
    // Its own mapping of the page is still writable.
    expect(extended(guest, MMUEXT.PIN_L1_TABLE, page.frame)).toBe(EINVAL);
  });

  it('227: an entry named by its address is one, and whole', () => {
    const guest = createTestGuest();
    const [page, place] = [guest.page(), guest.page()];
    grant(guest, 8, page.frame);
    const { walker } = guest.hypervisor.mmu;
    walker.walk(guest.core.space, Number(place.address & 0xffffffffn) | 0, Number(place.address >> 32n) | 0, 0, true);
    const { leafTable, leafOffset } = walker.result;
    const at = BigInt(leafTable * 4096 + leafOffset);
    expect(map(guest, 8, at - 2n, GNTMAP.host_map | GNTMAP.contains_pte).status).toBeLessThan(0);
    expect(guest.hypervisor.mmu.translate(guest.core.space, place.address)).toBe(place.frame * 4096);
    expect(map(guest, 8, at, GNTMAP.host_map | GNTMAP.contains_pte).status).toBe(0);
    expect(guest.hypervisor.mmu.translate(guest.core.space, place.address)).toBe(page.frame * 4096);
  });

  it('234: what was mapped as writable is not undone by an entry that is read-only', () => {
    const guest = createTestGuest();
    const [one, two, placeOne, placeTwo] = [guest.page(), guest.page(), guest.page(), guest.page()];
    expect(remap(guest, one.address, entry(one.frame, RO))).toBe(0n);
    grant(guest, 8, one.frame);
    grant(guest, 9, two.frame);
    const first = map(guest, 8, placeOne.address, GNTMAP.host_map);
    const second = map(guest, 9, placeTwo.address, GNTMAP.host_map | GNTMAP.readonly);
    const replace = guest.put(placeTwo.address, placeOne.address, second.handle);
    expect(guest.call(hypercall.grant_table_op, GNTTABOP.unmap_and_replace, replace, 1)).toBe(0n);
    expect(new DataView(guest.peekBytes(replace, 24).buffer).getInt16(20, true)).toBe(0);
    expect(remap(guest, placeOne.address, entry(one.frame, RO))).toBe(0n);
    expect(unmap(guest, first.handle, placeOne.address)).toBeLessThan(0);
    expect(extended(guest, MMUEXT.PIN_L1_TABLE, one.frame)).toBe(EINVAL);
  });

  it('255: status frames that are mapped keep the version', () => {
    const guest = createTestGuest();
    const version = (number: number): bigint =>
      guest.call(hypercall.grant_table_op, GNTTABOP.set_version, guest.put(number), 1);
    expect(version(2)).toBe(0n);
    const list = guest.put(0);
    const request = guest.put(BigInt(1) | (SELF << 32n), list);
    expect(guest.call(hypercall.grant_table_op, GNTTABOP.get_status_frames, request, 1)).toBe(0n);
    const { address } = guest.page();
    expect(remap(guest, address, entry(Number(guest.peek(list)), RO))).toBe(0n);
    expect(version(1)).toBe(EBUSY);
    expect(remap(guest, address, 0n)).toBe(0n);
    expect(version(1)).toBe(0n);
  });

  it("232: flushing caches of what is nobody's answers an error", () => {
    const guest = createTestGuest();
    const { frames } = guest.hypervisor.mmu;
    const own = guest.pv.domain.id;
    for (let at = 0; at < 0x100000; at += 0x10000) {
      const request = guest.put(at, (4096n << 16n) | (3n << 32n));
      const answer = guest.call(hypercall.grant_table_op, GNTTABOP.cache_flush, request, 1);
      expect(answer).toBe(frames.owner[at >> 12] === own ? 0n : -1n);
    }
  });

  it("a table of addresses that are not the guest's is a fault", () => {
    const guest = createTestGuest();
    const request = guest.put(SELF | (1n << 32n), 0, 0xffff_8000_0000_0000n);
    expect(guest.call(hypercall.grant_table_op, GNTTABOP.setup_table, request, 1)).toBe(EFAULT);
  });
});
