/**
 * Further advisories of Xen (XSA) on what a PV guest must not be able to do: grants in use, event channels by ABI, and
 * large pages. Each is named by its number.
 */
import { EVTCHNOP, GNTMAP, GNTTABOP, hypercall } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { compatImage } from './testing/compat-image.js';
import { createTestGuest, createTestHypervisor, type TestGuest } from './testing/test-machine.js';

const SELF = 0x7ff0n;
const EINVAL = -22n;
const ENOSPC = -28n;
const READING = 8;
const WRITING = 0x10;

const grants = (guest: TestGuest, command: number, ...words: (number | bigint)[]): bigint => {
  const request = guest.put(...words);
  expect(guest.call(hypercall.grant_table_op, command, request, 1)).toBe(0n);
  return request;
};
const status16 = (guest: TestGuest, at: bigint): number =>
  Number(BigInt.asIntN(16, guest.peek(at & ~7n) >> (8n * (at & 7n))));
const entryV1 = (guest: TestGuest, ref: number): Maddr => (guest.pv.xen.grants.frames[0]! * 4096 + ref * 8) as Maddr;
/** Writes an entry of version 1. */
function grant(guest: TestGuest, ref: number, to: TestGuest, frame: number, flags = 1): void {
  const header = BigInt(flags) | (BigInt(to.pv.domain.id) << 16n);
  guest.hypervisor.mmu.writeU64(entryV1(guest, ref), header | (BigInt(frame) << 32n));
}

describe('grants', () => {
  it('134: entries are exchanged only where there are some, and as whole ones', () => {
    const guest = createTestGuest();
    const swap = (a: number, b: number): number =>
      status16(guest, grants(guest, GNTTABOP.swap_grant_ref, BigInt(a) | (BigInt(b) << 32n), 0) + 8n);
    const count = (guest.pv.xen.grants.frames.length * 4096) / 8;
    grant(guest, 9, guest, 0x123);
    expect([swap(9, count), swap(count, 9), swap(0xffffffff, 9)]).toEqual([-3, -3, -3]);
    expect([swap(9, 9), swap(9, count - 1)]).toEqual([0, 0]);
    const { mmu } = guest.hypervisor;
    expect([mmu.readU64(entryV1(guest, 9)), mmu.readU64(entryV1(guest, count - 1)) >> 32n]).toEqual([0n, 0x123n]);
  });

  it('230: an entry is shown as in use until its last use ends', () => {
    const on = createTestHypervisor();
    const [giver, taker] = ['giver', 'taker'].map((name) => createTestGuest({ name }, on)) as [TestGuest, TestGuest];
    grant(giver, 9, taker, giver.page().frame);
    const marks = (): number => giver.hypervisor.mmu.readU16(entryV1(giver, 9)) & (READING | WRITING);
    const map = (flags: number) => {
      const place = taker.page().address;
      const request = grants(taker, GNTTABOP.map_grant_ref, place, BigInt(flags) | (9n << 32n), giver.pv.domain.id, 0);
      expect(status16(taker, request + 18n)).toBe(0);
      const handle = Number(taker.peek(request + 16n) >> 32n);
      return () => expect(status16(taker, grants(taker, GNTTABOP.unmap_grant_ref, place, 0, handle) + 20n)).toBe(0);
    };
    const [readOne, readTwo] = [map(GNTMAP.host_map | GNTMAP.readonly), map(GNTMAP.host_map | GNTMAP.readonly)];
    expect(marks()).toBe(READING);
    const write = map(GNTMAP.host_map);
    expect(marks()).toBe(READING | WRITING);
    readOne();
    expect(marks()).toBe(READING | WRITING);
    write();
    expect(marks()).toBe(READING);
    readTwo();
    expect(marks()).toBe(0);
  });

  it('411: two domains that pass on each other’s entries get copies or refusals, and nothing is left in use', () => {
    const on = createTestHypervisor();
    const pair = ['one', 'two'].map((name) => createTestGuest({ name }, on)) as [TestGuest, TestGuest];
    const pages = pair.map((guest) => guest.page());
    const put = (guest: TestGuest, ref: number, ...words: bigint[]): void =>
      words.forEach((word, i) =>
        guest.hypervisor.mmu.writeU64((guest.pv.xen.grants.frames[0]! * 4096 + ref * 16 + 8 * i) as Maddr, word),
      );
    pair.forEach((guest, i) => {
      const other = pair[1 - i]!;
      const id = BigInt(other.pv.domain.id);
      grants(guest, GNTTABOP.set_version, 2);
      // 9: its page, read-only. 10: what the other has at 9. 11: what the other has at 11, which is this.
      put(guest, 9, 5n | (id << 16n), BigInt(pages[i]!.frame));
      put(guest, 10, 3n | (id << 16n) | (id << 32n), 9n);
      put(guest, 11, 3n | (id << 16n) | (id << 32n), 11n);
      guest.hypervisor.mmu.writeU64((pages[i]!.frame * 4096) as Maddr, BigInt(0xfeed + i));
    });
    const copy = (guest: TestGuest, from: TestGuest, ref: number, toRef?: number): [number, bigint] => {
      const to = guest.page();
      const dest = toRef === undefined ? [BigInt(to.frame), SELF] : [BigInt(toRef), BigInt(from.pv.domain.id)];
      const flags = toRef === undefined ? 1n : 3n;
      const request = grants(guest, GNTTABOP.copy, ref, from.pv.domain.id, ...dest, 8n | (flags << 16n));
      const status = status16(guest, request + 36n);
      return [status, guest.peek(to.address)];
    };
    for (const [one, [guest, other]] of [pair, [pair[1], pair[0]] as const].entries()) {
      // Its own page, by way of the other.
      expect(copy(guest, other, 10)).toEqual([0, BigInt(0xfeed + one)]);
      expect(copy(guest, other, 11)).toEqual([-1, 0n]);
      // Read-only entries are none to write to, and what was taken for the source is given back.
      for (const toRef of [9, 10, 11, 0xffff]) expect(copy(guest, other, 10, toRef)[0]).toBeLessThan(0);
    }
    expect(pair.map(({ pv }) => pv.xen.grants.active.size)).toEqual([0, 0]);
    for (const { frame } of pages) expect(on.hypervisor.mmu.frames.refCount[frame]).toBe(2);
  });
});

describe('event channels', () => {
  const unbound = (guest: TestGuest): bigint =>
    guest.call(hypercall.event_channel_op, EVTCHNOP.alloc_unbound, guest.put(SELF | (SELF << 16n)));

  it.each([
    ['64-bit', undefined, 4096],
    ['32-bit', compatImage(), 1024],
  ])('342: a %s domain has as many as its bits of two levels', (_, image, limit) => {
    const guest = createTestGuest(image && { image });
    guest.pv.xen.events.maxPort = 0x1ffff;
    let last = 0;
    for (let made = unbound(guest); made === 0n; made = unbound(guest)) last++;
    expect(unbound(guest)).toBe(ENOSPC);
    const { channels } = guest.pv.xen.events;
    expect(channels.slice(limit).every(({ state }) => state === 'free')).toBe(true);
    expect(last).toBeGreaterThan(limit - 8);
    for (const port of [limit, 0x1ffff, 0xffffffff]) {
      expect(guest.call(hypercall.event_channel_op, EVTCHNOP.send, guest.put(port))).toBe(EINVAL);
    }
  });

  it('188: a control block that can’t be leaves the channels as they were', () => {
    const guest = createTestGuest();
    const control = (frame: number): bigint =>
      guest.call(hypercall.event_channel_op, EVTCHNOP.init_control, guest.put(frame, 0, 0));
    for (const frame of [0xffffff, guest.vcpu.kernelRoot, -1]) expect(control(frame)).toBe(EINVAL);
    expect(guest.pv.xen.events.fifo).toBeNull();
    expect(guest.vcpu.events.control).toBe(0);
    const expand = guest.put(guest.page().frame);
    expect(guest.call(hypercall.event_channel_op, EVTCHNOP.expand_array, expand)).toBe(-95n);
    expect(unbound(guest)).toBe(0n);
    expect(guest.call(hypercall.event_channel_op, EVTCHNOP.reset, guest.put(SELF))).toBe(0n);
  });
});

describe('page tables', () => {
  it('148: an entry that leads to a table is not turned into one of a large page', () => {
    const guest = createTestGuest();
    const { mmu } = guest.hypervisor;
    const { address } = guest.page();
    let table: number = guest.vcpu.kernelRoot;
    for (const shift of [39n, 30n, 21n]) {
      const index = (address >> shift) & 511n;
      const at = BigInt(table * 4096) + 8n * index;
      const entry = mmu.readU64(Number(at) as Maddr);
      for (const bits of [0x80n, 0xe0n]) {
        const update = guest.put(at, entry | bits);
        expect(guest.call(hypercall.mmu_update, update, 1, 0, SELF)).toBe(EINVAL);
      }
      expect(mmu.readU64(Number(at) as Maddr)).toBe(entry);
      table = Number((entry >> 12n) & 0xffffffffn);
    }
  });
});
