import { GNTMAP, GNTTABOP, hypercall } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor, type TestGuest } from '../testing/test-machine.js';
import { copyFromGuest } from './host.js';
import { beginUse, endUse } from './table.js';

const op = (guest: TestGuest, command: number, address: bigint, count = 1): bigint =>
  guest.call(hypercall.grant_table_op, command, address, count);
const signed16 = (value: bigint): number => Number(BigInt.asIntN(16, value));

/** Where an entry of the guest's table lies, of the version it uses. */
const entryAt = (guest: TestGuest, ref: number): Maddr => {
  const { frames, version } = guest.pv.xen.grants;
  return (frames[0]! * 4096 + ref * (version === 1 ? 8 : 16)) as Maddr;
};
function grant(guest: TestGuest, ref: number, domid: number, frame: number): void {
  guest.hypervisor.mmu.writeU64(entryAt(guest, ref), 1n | (BigInt(domid) << 16n) | (BigInt(frame) << 32n));
}
function pair(): { a: TestGuest; b: TestGuest } {
  const on = createTestHypervisor();
  return { a: createTestGuest({ name: 'a' }, on), b: createTestGuest({ name: 'b' }, on) };
}

describe('an entry', () => {
  it('is used at most 128 times by readers, and as often by writers', () => {
    const { a, b } = pair();
    grant(a, 9, b.pv.domain.id, a.page().frame);
    const use = (write: boolean) => beginUse(a.pv.xen, 9, b.pv.domain.id, write, true).status;
    for (let count = 0; count < 128; count++) expect(use(false)).toBe(0);
    expect(use(false)).toBe(-1);
    for (let count = 0; count < 128; count++) expect(use(true)).toBe(0);
    expect(use(true)).toBe(-1);
    endUse(a.pv.xen, 9, false);
    expect(use(false)).toBe(0);
  });

  it('of a part covers no more than what is in the page', () => {
    const guest = createTestGuest();
    const { frame } = guest.page();
    op(guest, GNTTABOP.set_version, guest.put(2));
    const { mmu } = guest.hypervisor;
    mmu.writeU64(entryAt(guest, 16), 0x101n | (0xff0n << 32n) | (0x40n << 48n));
    mmu.writeU64((entryAt(guest, 16) + 8) as Maddr, BigInt(frame));
    expect(copyFromGuest(guest.pv.xen, 16, 0xff0, 16)).toEqual(new Uint8Array(16));
    expect(copyFromGuest(guest.pv.xen, 16, 0xff8, 16)).toBe(-10);
  });

  it('of version 2 changes places with its status', () => {
    const guest = createTestGuest();
    op(guest, GNTTABOP.set_version, guest.put(2));
    const { mmu } = guest.hypervisor;
    const status = guest.pv.xen.grants.statusFrames[0]! * 4096;
    mmu.writeU64(entryAt(guest, 20), 0x1n);
    mmu.writeU16((status + 2 * 20) as Maddr, 0x55);
    const request = guest.put(20n | (21n << 32n), 0);
    expect(op(guest, GNTTABOP.swap_grant_ref, request)).toBe(0n);
    expect([mmu.readU16((status + 2 * 20) as Maddr), mmu.readU16((status + 2 * 21) as Maddr)]).toEqual([0, 0x55]);
    expect(mmu.readU64(entryAt(guest, 21))).toBe(1n);
  });

  it('that is reserved goes to version 2 as it is', () => {
    const guest = createTestGuest();
    guest.hypervisor.mmu.writeU64(entryAt(guest, 5), 0x1234_0077_0002n);
    expect(op(guest, GNTTABOP.set_version, guest.put(2))).toBe(0n);
    expect(guest.hypervisor.mmu.readU64(entryAt(guest, 5))).toBe(0x77_0002n);
    expect(guest.hypervisor.mmu.readU64((entryAt(guest, 5) + 8) as Maddr)).toBe(0x1234n);
  });
});

describe('a mapping for devices', () => {
  it('holds the page as one to write to until it ends', () => {
    const { a, b } = pair();
    const { address, frame } = a.page();
    a.hypervisor.mmu.clear(frame as never);
    grant(a, 9, b.pv.domain.id, frame);
    const request = b.put(0, BigInt(GNTMAP.device_map) | (9n << 32n), BigInt(a.pv.domain.id), 0);
    expect(op(b, GNTTABOP.map_grant_ref, request)).toBe(0n);
    expect(signed16(b.peek(request + 16n) >> 16n)).toBe(0);
    const handle = b.peek(request + 16n) >> 32n;
    expect(a.call(hypercall.update_va_mapping, address, (BigInt(frame) << 12n) | 0x65n, 2)).toBe(0n);
    const pin = () => a.call(hypercall.mmuext_op, a.put(0, frame, 0), 1, 0, 0x7ff0);
    expect(pin()).toBe(-22n);
    const unmapping = b.put(0, handle << 32n, 0);
    b.hypervisor.mmu.writeVirtual(b.core.space, unmapping + 8n, Uint8Array.of(1));
    expect(op(b, GNTTABOP.unmap_grant_ref, unmapping)).toBe(0n);
  });
});

describe('a list of frames', () => {
  it('is written as far as it can be', () => {
    const guest = createTestGuest();
    const { address } = guest.page();
    guest.page();
    guest.call(hypercall.update_va_mapping, address + 4096n, 0, 2);
    const setup = guest.put(0x7ff0n | (2n << 32n), 0, address + 4088n);
    expect(op(guest, GNTTABOP.setup_table, setup)).toBe(0n);
    expect(signed16(guest.peek(setup + 8n))).toBe(-5);
    expect(Number(guest.peek(address + 4088n))).toBe(guest.pv.xen.grants.frames[0]);
  });
});
