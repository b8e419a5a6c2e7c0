import { Errno, XENMEM } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryOp, updateVaMapping } from './index.js';
import { audit, createTestMachine, pte, RW, type TestDomain, type TestMachine, vaOf } from './test-domain.js';

const SELF = 0x7ff0n;
let machine: TestMachine;
let guest: TestDomain;
const op = (command: number, arg: bigint): bigint | number => guest.call(memoryOp, command, arg);
const reservation = (list: bigint, count: number, order = 0, flags = 0, domid = SELF): bigint =>
  guest.put(list, BigInt(count), BigInt(order) | (BigInt(flags) << 32n), domid);
const unmap = (pfn: number): void => void expect(guest.call(updateVaMapping, vaOf(pfn), 0, 2)).toBe(0);

beforeEach(() => {
  machine = createTestMachine(2048);
  guest = machine.domain(1, 600);
  guest.boot(512);
});
afterEach(() => {
  // oxlint-disable-next-line vitest/no-standalone-expect -- the books must balance after every case
  expect(audit(machine.machine)).toEqual([]);
});

describe('populate and decrease', () => {
  it('gives frames up and takes others, in the M2P and in the count', () => {
    const before = guest.domain.totPages;
    unmap(100);
    unmap(101);
    const list = guest.put(BigInt(guest.frames[100]!), BigInt(guest.frames[101]!));
    expect(op(XENMEM.decrease_reservation, reservation(list, 2))).toBe(2);
    expect(guest.domain.totPages).toBe(before - 2);
    const wanted = guest.put(100n, 101n, 102n);
    expect(op(XENMEM.populate_physmap, reservation(wanted, 3))).toBe(3);
    const mfn = Number(guest.peek(wanted + 8n));
    expect(machine.mmu.frames.owner[mfn]).toBe(1);
    expect(guest.domain.mm.machine.m2p.get(mfn)).toBe(101n);
    expect(guest.call(updateVaMapping, vaOf(100), pte(mfn, RW), 2)).toBe(0);
    expect(guest.peek(vaOf(100))).toBe(0n);
  });

  it('keeps counting a frame that was given up but is still mapped', () => {
    const before = guest.domain.totPages;
    const list = guest.put(BigInt(guest.frames[100]!));
    expect(op(XENMEM.decrease_reservation, reservation(list, 1))).toBe(1);
    expect(guest.domain.totPages).toBe(before);
    unmap(100);
    expect(guest.domain.totPages).toBe(before - 1);
    expect(guest.domain.mm.machine.m2p.get(guest.frames[100]!)).toBe(0xffff_ffff_ffff_ffffn);
  });

  it('stops at the maximum, at bad frames and at unreadable lists, with the count done', () => {
    guest.domain.maxPages = guest.domain.totPages + 2;
    expect(op(XENMEM.populate_physmap, reservation(guest.put(1n, 2n, 3n, 4n), 4))).toBe(2);
    expect(op(XENMEM.decrease_reservation, reservation(guest.put(3000n), 1))).toBe(0);
    expect(op(XENMEM.decrease_reservation, reservation(vaOf(5000), 1))).toBe(0);
    expect(op(XENMEM.populate_physmap, reservation(guest.put(1n), 1, 0, 0, 9n))).toBe(0);
    expect(op(XENMEM.populate_physmap, reservation(guest.put(1n), 1, 10))).toBe(0);
    expect(op(XENMEM.populate_physmap | (7 << 6), reservation(guest.put(1n), 1))).toBe(7);
  });

  it('is re-issued where it takes long', () => {
    guest.domain.maxPages = 3000;
    const list = vaOf(120);
    for (let i = 0; i < 1200; i++) {
      machine.mmu.writeU64((guest.frames[120 + (i >> 9)]! * 4096 + (i & 511) * 8) as Maddr, BigInt(4000 + i));
    }
    const free = machine.mmu.frames.freeCount;
    expect(op(XENMEM.populate_physmap, reservation(list, 1200))).toBe(Math.min(1200, free));
    guest.domain.maxPages = 600;
  });

  it('increases with a list of frames written back, or without', () => {
    const list = guest.put(0n);
    expect(op(XENMEM.increase_reservation, reservation(list, 1))).toBe(1);
    expect(machine.mmu.frames.owner[Number(guest.peek(list))]).toBe(1);
    expect(op(XENMEM.increase_reservation, reservation(0n, 1, 2))).toBe(1);
  });
});

describe('exchange', () => {
  const exchange = (list: bigint, count: number, out: bigint, outCount: number, outOrder: number): bigint =>
    guest.put(list, BigInt(count), 0n, SELF, out, BigInt(outCount), BigInt(outOrder), SELF, 0n);

  it('makes contiguous frames of single ones', () => {
    const before = guest.domain.totPages;
    for (const pfn of [100, 101, 102, 103]) unmap(pfn);
    const list = guest.put(...[100, 101, 102, 103].map((pfn) => BigInt(guest.frames[pfn]!)));
    const out = guest.put(100n);
    const arg = exchange(list, 4, out, 1, 2);
    expect(op(XENMEM.exchange, arg)).toBe(0);
    expect(guest.peek(arg + 64n)).toBe(4n);
    const first = Number(guest.peek(out));
    expect(first % 4).toBe(0);
    expect(guest.domain.totPages).toBe(before);
    expect(guest.domain.mm.machine.m2p.get(first + 3)).toBe(103n);
  });

  it('refuses frames in use, sizes that differ, and others’ frames', () => {
    const list = guest.put(BigInt(guest.frames[100]!));
    expect(op(XENMEM.exchange, exchange(list, 1, guest.put(1n), 1, 0))).toBe(-Errno.EINVAL);
    expect(op(XENMEM.exchange, exchange(list, 1, guest.put(1n), 1, 1))).toBe(-Errno.EINVAL);
    expect(op(XENMEM.exchange, exchange(list, 1024, guest.put(1n), 1, 10))).toBe(-Errno.EPERM);
    expect(op(XENMEM.exchange, vaOf(5000))).toBe(-Errno.EFAULT);
  });
});

describe('questions', () => {
  it('answers the numbers', () => {
    const self = guest.put(SELF);
    expect(op(XENMEM.current_reservation, self)).toBe(guest.domain.totPages);
    expect(op(XENMEM.maximum_reservation, self)).toBe(600);
    expect(op(XENMEM.maximum_ram_page, 0n)).toBe(2048);
    expect(op(XENMEM.maximum_gpfn, self)).toBe(0);
    expect(op(XENMEM.current_reservation, guest.put(9n))).toBe(-Errno.ESRCH);
    expect(op(XENMEM.current_reservation, vaOf(5000))).toBe(-Errno.EFAULT);
    expect(op(XENMEM.current_reservation | 64, self)).toBe(-Errno.EINVAL);
  });

  it('shows the place of the M2P and one range of memory', () => {
    const out = guest.put(0n, 0n, 0n);
    expect(op(XENMEM.machphys_mapping, out)).toBe(0);
    expect([guest.peek(out), guest.peek(out + 8n), guest.peek(out + 16n)]).toEqual([
      0xffff_8000_0000_0000n,
      0xffff_8040_0000_0000n,
      0x7_ffff_ffffn,
    ]);
    const buffer = guest.put(0n, 0n, 0n);
    const map = guest.put(8n, buffer);
    expect(op(XENMEM.memory_map, map)).toBe(0);
    expect(guest.peek(map)).toBe(1n);
    expect([guest.peek(buffer), guest.peek(buffer + 8n), guest.peek(buffer + 16n)]).toEqual([0n, 600n * 4096n, 1n]);
    const list = guest.put(0n);
    const chunks = guest.put(4n, list, 0n);
    expect(op(XENMEM.machphys_mfn_list, chunks)).toBe(0);
    expect(guest.peek(chunks + 16n)).toBe(1n);
  });

  it('replaces the memory map, by the guest itself', () => {
    const entries = guest.put(0n, 0x1000n, 1n);
    expect(op(XENMEM.set_memory_map, guest.put(SELF, 1n, entries))).toBe(0);
    expect(guest.domain.mm.memoryMap).toEqual([{ address: 0, size: 0x1000, type: 1 }]);
    expect(op(XENMEM.set_memory_map, guest.put(SELF, 5000n, entries))).toBe(-Errno.EINVAL);
  });

  it('refuses what is for others', () => {
    expect(op(XENMEM.machine_memory_map, 0n)).toBe(-Errno.EPERM);
    expect(op(XENMEM.add_to_physmap, guest.put(SELF, 0n, 0n))).toBe(-Errno.EACCES);
    expect(op(XENMEM.claim_pages, guest.put(0n, 1n, 0n, SELF))).toBe(-Errno.EINVAL);
    expect(op(XENMEM.get_pod_target, guest.put(0n, 0n, 0n, 0n, SELF))).toBe(-Errno.EINVAL);
    expect(op(XENMEM.get_vnumainfo, guest.put(SELF))).toBe(-Errno.EOPNOTSUPP);
    expect(op(40, 0n)).toBe(-Errno.ENOSYS);
  });
});
