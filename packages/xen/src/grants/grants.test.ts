import { GNTMAP, GNTTABOP, hypercall } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';
import { copyFromGuest, copyToGuest, mapForHost } from './host.js';

const op = (guest: TestGuest, command: number, address: bigint, count = 1): bigint =>
  guest.call(hypercall.grant_table_op, command, address, count);
const signed16 = (value: bigint, shift = 0n): number => Number(BigInt.asIntN(16, value >> shift));

/** Writes an entry of version 1 into the guest's table, as its own kernel would. */
function grant(guest: TestGuest, ref: number, domid: number, frame: number, flags = 1): void {
  const at = guest.pv.xen.grants.frames[0] * 4096 + ref * 8;
  guest.hypervisor.mmu.writeU64(at as Maddr, BigInt(flags) | (BigInt(domid) << 16n) | (BigInt(frame) << 32n));
}
const flagsOf = (guest: TestGuest, ref: number): number =>
  guest.hypervisor.mmu.readU16((guest.pv.xen.grants.frames[0] * 4096 + ref * 8) as Maddr);

function pair(): { a: TestGuest; b: TestGuest } {
  const on = createTestHypervisor();
  return { a: createTestGuest({ name: 'a' }, on), b: createTestGuest({ name: 'b' }, on) };
}
function map(guest: TestGuest, address: bigint, dom: number, ref: number, flags: number = GNTMAP.host_map) {
  const request = guest.put(address, BigInt(flags) | (BigInt(ref) << 32n), BigInt(dom), 0);
  expect(op(guest, GNTTABOP.map_grant_ref, request)).toBe(0n);
  const word = guest.peek(request + 16n);
  return { status: signed16(word, 16n), handle: Number(word >> 32n) };
}
function unmap(guest: TestGuest, address: bigint, handle: number): number {
  const request = guest.put(address, 0, handle);
  expect(op(guest, GNTTABOP.unmap_grant_ref, request)).toBe(0n);
  return signed16(guest.peek(request + 16n), 32n);
}

describe('the table', () => {
  it('starts with one frame that names console and store, and grows', () => {
    const guest = createTestGuest();
    expect(flagsOf(guest, 0)).toBe(1);
    expect(flagsOf(guest, 1)).toBe(1);
    const size = guest.put(0x7ff0, 0);
    op(guest, GNTTABOP.query_size, size);
    expect(guest.peek(size)).toBe(0x7ff0n | (1n << 32n));
    expect(guest.peek(size + 8n) & 0xffffffffn).toBe(64n);
    const list = guest.put(0, 0, 0, 0);
    const setup = guest.put(0x7ff0n | (4n << 32n), 0, list);
    expect(op(guest, GNTTABOP.setup_table, setup)).toBe(0n);
    expect(signed16(guest.peek(setup + 8n))).toBe(0);
    expect(Number(guest.peek(list + 24n))).toBe(guest.pv.xen.grants.frames[3]);
    const tooMany = guest.put(0x7ff0n | (65n << 32n), 0, list);
    op(guest, GNTTABOP.setup_table, tooMany);
    expect(signed16(guest.peek(tooMany + 8n))).toBe(-1);
  });

  it('answers as Xen where it is asked for what it lacks', () => {
    const guest = createTestGuest();
    expect(op(guest, GNTTABOP.dump_table, guest.put(0))).toBe(-38n);
    expect(op(guest, GNTTABOP.query_size, guest.put(0x7ff0, 0), 2)).toBe(-22n);
    expect(op(guest, GNTTABOP.set_version, guest.put(3))).toBe(-22n);
    expect(op(guest, GNTTABOP.get_version, guest.put(9, 0))).toBe(-3n);
    expect(op(guest, GNTTABOP.copy, guest.put(0), -1)).toBe(-22n);
  });

  it('changes its version while nothing is in use and keeps the reserved entries', () => {
    const guest = createTestGuest();
    grant(guest, 20, 0, guest.page().frame);
    expect(op(guest, GNTTABOP.set_version, guest.put(2))).toBe(0n);
    const at = guest.pv.xen.grants.frames[0] * 4096;
    expect(guest.hypervisor.mmu.readU64((at + 24) as Maddr)).not.toBe(0n);
    expect(guest.hypervisor.mmu.readU64((at + 20 * 16) as Maddr)).toBe(0n);
    expect(op(guest, GNTTABOP.set_version, guest.put(1))).toBe(0n);
    expect(flagsOf(guest, 1)).toBe(1);
  });
});

describe('a change of version', () => {
  it('back to 1 waits until no status frame is mapped', () => {
    const guest = createTestGuest();
    expect(op(guest, GNTTABOP.set_version, guest.put(2))).toBe(0n);
    const place = guest.page().address;
    const [status] = guest.pv.xen.grants.statusFrames;
    const entry = (BigInt(status) << 12n) | 0x61n;
    expect(guest.call(hypercall.update_va_mapping, place, entry, 2)).toBe(0n);
    expect(op(guest, GNTTABOP.set_version, guest.put(1))).toBe(-16n);
    expect(guest.pv.xen.grants.version).toBe(2);
    expect(guest.call(hypercall.update_va_mapping, place, 0, 2)).toBe(0n);
    expect(op(guest, GNTTABOP.set_version, guest.put(1))).toBe(0n);
  });

  it("keeps the toolstack's entries while they are in use, with their marks", () => {
    const guest = createTestGuest();
    const grantOfConsole = mapForHost(guest.pv.xen, 0, true);
    if (typeof grantOfConsole === 'number') throw new Error('not mapped');
    expect(op(guest, GNTTABOP.set_version, guest.put(2))).toBe(0n);
    const [status] = guest.pv.xen.grants.statusFrames;
    expect(guest.hypervisor.mmu.readU16((status * 4096) as Maddr)).toBe(0x18);
    expect(flagsOf(guest, 0)).toBe(1);
    expect(op(guest, GNTTABOP.set_version, guest.put(1))).toBe(0n);
    expect(flagsOf(guest, 0)).toBe(0x19);
    grantOfConsole.unmap();
    expect(flagsOf(guest, 0)).toBe(1);
  });

  it('is refused for reserved entries that version 1 can not say', () => {
    const guest = createTestGuest();
    expect(op(guest, GNTTABOP.set_version, guest.put(2))).toBe(0n);
    const at = guest.pv.xen.grants.frames[0] * 4096 + 5 * 16;
    guest.hypervisor.mmu.writeU64(at as Maddr, 3n);
    expect(op(guest, GNTTABOP.set_version, guest.put(1))).toBe(-34n);
  });
});

describe('mapping', () => {
  it("of the host's own entries finds none that grants anything", () => {
    const guest = createTestGuest();
    const place = guest.page().address;
    expect(map(guest, place, 0, 8).status).toBe(-1);
    expect(map(guest, place, 0, 512).status).toBe(-3);
  });

  it("shows the other's page, marks the entry, and takes both back", () => {
    const { a, b } = pair();
    const shared = a.page();
    const place = b.page();
    const before = a.hypervisor.mmu.frames.refCount[shared.frame];
    grant(a, 9, b.pv.domain.id, shared.frame);
    a.hypervisor.mmu.writeU64((shared.frame * 4096) as Maddr, 0x1234n);
    const { status, handle } = map(b, place.address, a.pv.domain.id, 9);
    expect(status).toBe(0);
    expect(flagsOf(a, 9)).toBe(1 | 8 | 16);
    expect(b.peek(place.address)).toBe(0x1234n);
    expect(unmap(b, place.address, handle)).toBe(0);
    expect(flagsOf(a, 9)).toBe(1);
    expect(b.hypervisor.mmu.translate(b.core.space, place.address)).toBeNull();
    expect(a.hypervisor.mmu.frames.refCount[shared.frame]).toBe(before);
    expect(unmap(b, place.address, handle)).toBe(-4);
  });

  it('is refused to others, to writers of a read-only entry, and beyond the table', () => {
    const { a, b } = pair();
    const place = b.page();
    const shared = a.page();
    grant(a, 9, 77, shared.frame);
    expect(map(b, place.address, a.pv.domain.id, 9).status).toBe(-1);
    grant(a, 9, b.pv.domain.id, shared.frame, 1 | 4);
    expect(map(b, place.address, a.pv.domain.id, 9).status).toBe(-1);
    expect(map(b, place.address, a.pv.domain.id, 9, GNTMAP.host_map | GNTMAP.readonly).status).toBe(0);
    expect(map(b, place.address, a.pv.domain.id, 512).status).toBe(-3);
    expect(map(b, place.address, 99, 9).status).toBe(-2);
    expect(map(b, place.address, a.pv.domain.id, 9, 0).status).toBe(-3);
    grant(a, 10, b.pv.domain.id, b.page().frame);
    expect(map(b, place.address, a.pv.domain.id, 10).status).toBe(-9);
  });

  it('can not be revoked by the grantor, and outlives it', () => {
    const { a, b } = pair();
    const shared = a.page();
    const place = b.page();
    grant(a, 9, b.pv.domain.id, shared.frame);
    const { handle } = map(b, place.address, a.pv.domain.id, 9);
    grant(a, 9, 0, 0, 0);
    a.hypervisor.mmu.writeU64((shared.frame * 4096) as Maddr, 0x77n);
    const { frames } = a.hypervisor.mmu;
    a.pv.destroy();
    expect(b.peek(place.address)).toBe(0x77n);
    expect(frames.refCount[shared.frame]).toBeGreaterThan(0);
    expect(unmap(b, place.address, handle)).toBe(0);
    expect(frames.refCount[shared.frame]).toBe(0);
  });

  it('ends with the domain that mapped', () => {
    const { a, b } = pair();
    const shared = a.page();
    const { frames } = a.hypervisor.mmu;
    const before = frames.refCount[shared.frame];
    grant(a, 9, b.pv.domain.id, shared.frame);
    map(b, b.page().address, a.pv.domain.id, 9);
    b.pv.destroy();
    expect(frames.refCount[shared.frame]).toBe(before);
    expect(flagsOf(a, 9)).toBe(1);
  });
});

describe('a transfer', () => {
  const accept = (guest: TestGuest, ref: number, from: number, pfn: number): void => grant(guest, ref, from, pfn, 2);
  /** A page of the guest's that nothing maps. */
  function loose(guest: TestGuest): number {
    const { address, frame } = guest.page();
    guest.hypervisor.mmu.writeU64((frame * 4096) as Maddr, 0xbeefn);
    expect(guest.call(hypercall.update_va_mapping, address, 0, 2)).toBe(0n);
    return frame;
  }
  const transfer = (guest: TestGuest, mfn: number, domid: number, ref: number): number => {
    const request = guest.put(mfn, BigInt(domid) | (BigInt(ref) << 32n), 0);
    expect(op(guest, GNTTABOP.transfer, request)).toBe(0n);
    return signed16(guest.peek(request + 16n));
  };

  it('passes a page on with what is in it, to where the taker wants it', () => {
    const { a, b } = pair();
    const frame = loose(a);
    const before = [a.pv.xen.totPages, b.pv.xen.totPages];
    accept(b, 9, a.pv.domain.id, 0x777);
    expect(transfer(a, frame, b.pv.domain.id, 9)).toBe(0);
    expect([a.pv.xen.totPages, b.pv.xen.totPages]).toEqual([before[0]! - 1, before[1]! + 1]);
    const at = b.pv.xen.grants.frames[0] * 4096 + 9 * 8;
    expect(b.hypervisor.mmu.readU64(at as Maddr)).toBe(0xen | (BigInt(a.pv.domain.id) << 16n) | (BigInt(frame) << 32n));
    const place = b.page().address;
    expect(b.call(hypercall.update_va_mapping, place, (BigInt(frame) << 12n) | 0x67n, 2)).toBe(0n);
    expect(b.peek(place)).toBe(0xbeefn);
    expect(b.peek(0xffff800000000000n + BigInt(frame * 8))).toBe(0x777n);
    expect(a.call(hypercall.update_va_mapping, a.page().address, (BigInt(frame) << 12n) | 0x65n, 2)).not.toBe(0n);
  });

  it('loses the page where nobody takes it', () => {
    const { a, b } = pair();
    const before = a.pv.xen.totPages;
    expect(transfer(a, loose(a), b.pv.domain.id, 9)).toBe(-1);
    accept(b, 9, 77, 1);
    expect(transfer(a, loose(a), b.pv.domain.id, 9)).toBe(-1);
    expect(transfer(a, loose(a), 99, 9)).toBe(-2);
    expect(transfer(a, loose(a), 0, 9)).toBe(-1);
    expect(a.pv.xen.totPages).toBe(before - 4);
    expect(transfer(a, a.page().frame, b.pv.domain.id, 9)).toBe(-9);
    expect(a.pv.xen.totPages).toBe(before - 4);
  });
});

describe('copying', () => {
  it('moves bytes by reference and refuses what does not fit', () => {
    const { a, b } = pair();
    const from = a.page();
    const to = b.page();
    a.hypervisor.mmu.writeU64((from.frame * 4096 + 16) as Maddr, 0xfeedn);
    grant(a, 9, b.pv.domain.id, from.frame, 1 | 4);
    const copy = (sourceOffset: number, length: number, dest = to.frame): number => {
      const request = b.put(
        9,
        BigInt(a.pv.domain.id) | (BigInt(sourceOffset) << 16n),
        BigInt(dest),
        0x7ff0n | (8n << 16n),
        BigInt(length) | (1n << 16n),
      );
      expect(op(b, GNTTABOP.copy, request)).toBe(0n);
      return signed16(b.peek(request + 32n), 32n);
    };
    expect(copy(16, 8)).toBe(0);
    expect(b.peek(to.address + 8n)).toBe(0xfeedn);
    expect(copy(4090, 8)).toBe(-10);
    expect(copy(0, 8, b.vcpu.kernelRoot)).toBe(-1);
    expect(copy(0, 8, from.frame)).toBe(-9);
    expect(flagsOf(a, 9)).toBe(5);
  });

  it('serves the host, within a sub-page grant of version 2 only what it covers', () => {
    const guest = createTestGuest();
    const { frame } = guest.page();
    op(guest, GNTTABOP.set_version, guest.put(2));
    const at = guest.pv.xen.grants.frames[0] * 4096 + 16 * 16;
    const { mmu } = guest.hypervisor;
    mmu.writeU64(at as Maddr, 0x101n | (0x100n << 32n) | (0x40n << 48n));
    mmu.writeU64((at + 8) as Maddr, BigInt(frame));
    expect(copyToGuest(guest.pv.xen, 16, 0x120, new Uint8Array([1, 2, 3]))).toBe(0);
    expect(copyFromGuest(guest.pv.xen, 16, 0x120, 3)).toEqual(new Uint8Array([1, 2, 3]));
    expect(copyFromGuest(guest.pv.xen, 16, 0x130, 0x40)).toBe(-10);
    expect(mapForHost(guest.pv.xen, 16, true)).toBe(-1);
  });
});
