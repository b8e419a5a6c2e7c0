import { Errno, MMU_UPDATE_PREEMPTED, MMUEXT } from '@paravane/abi-xen';
import { FrameType } from '@paravane/mmu';
import type { Maddr, Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import type { Preempted } from '../domain.js';
import { allocatePage, mmuextOp, mmuUpdate, relinquish } from './index.js';
import { audit, createTestMachine, pte, RO, RW, type TestDomain } from './test-domain.js';

const SELF = 0x7ff0;

/** A tree of tables beside the ones in use: an L4 over `l1s` full L1 tables that map `data` again and again. */
function plant(guest: TestDomain, l1s: number, data: readonly Mfn[]): { l4: Mfn; l1: Mfn[] } {
  const { domain } = guest;
  const { u32, frameBase } = domain.mmu.machine;
  const link = (from: Mfn, index: number, to: Mfn, flags: number): void => {
    const word = (frameBase + from * 4096 + index * 8) >>> 2;
    u32[word] = ((to << 12) | flags) >>> 0;
    u32[word + 1] = to >>> 20;
  };
  const table = (): Mfn => allocatePage(domain) as Mfn;
  const l4 = table();
  const l3 = table();
  link(l4, 0, l3, RW);
  const l1: Mfn[] = [];
  let l2 = 0 as Mfn;
  for (let n = 0; n < l1s; n++) {
    if (n % 512 === 0) link(l3, n / 512, (l2 = table()), RW);
    const mfn = table();
    for (let i = 0; i < 512; i++) link(mfn, i, data[(n * 512 + i) % data.length]!, RW);
    link(l2, n % 512, mfn, RW);
    l1.push(mfn);
  }
  return { l4, l1 };
}

const pinArgs = (guest: TestDomain, command: number, mfn: number, done = 0n): [bigint, number, bigint, number] => [
  guest.put(BigInt(command), BigInt(mfn), 0n),
  1,
  done,
  SELF,
];

describe('pre-emption', () => {
  it('pins and unpins a large tree in pieces, with the result of one piece', () => {
    const machine = createTestMachine(1024);
    const guest = machine.domain(1, 900);
    guest.boot(64);
    const { l4, l1 } = plant(guest, 400, guest.frames.slice(20, 60));
    const done = guest.put(0n);
    expect(guest.call(mmuextOp, ...pinArgs(guest, MMUEXT.PIN_L4_TABLE, l4, done))).toBe(0);
    expect(guest.reissued).toBeGreaterThan(2);
    expect(guest.peek(done)).toBe(1n);
    expect(machine.mmu.frames.typeCount[l1[399]!]).toBe(1);
    expect(audit(machine.machine)).toEqual([]);

    expect(guest.call(mmuextOp, ...pinArgs(guest, MMUEXT.UNPIN_TABLE, l4, done))).toBe(0);
    expect(guest.reissued).toBeGreaterThan(2);
    expect(guest.peek(done)).toBe(1n);
    expect(machine.mmu.frames.typeCount[l1[399]!]).toBe(0);
    expect(audit(machine.machine)).toEqual([]);
  });

  it('reports a failure deep in the tree, and leaves nothing typed', () => {
    const machine = createTestMachine(1024);
    const guest = machine.domain(1, 900);
    guest.boot(64);
    const { l4, l1 } = plant(guest, 400, guest.frames.slice(20, 60));
    machine.mmu.writeU64((l1[398]! * 4096 + 8) as Maddr, pte(5000, RO));
    expect(guest.call(mmuextOp, ...pinArgs(guest, MMUEXT.PIN_L4_TABLE, l4))).toBe(-Errno.EPERM);
    expect(guest.call(mmuextOp, guest.put(6n, 0n, 0n), 1, 0, SELF)).toBe(0);
    for (const mfn of [l4, ...l1]) expect(machine.mmu.frames.typeCount[mfn]).toBe(0);
    expect(audit(machine.machine)).toEqual([]);
  });

  it('has consistent books between two pieces, and after the domain dies there', () => {
    const machine = createTestMachine(1024);
    const guest = machine.domain(1, 900);
    const free = machine.mmu.frames.freeCount;
    guest.boot(64);
    const { l4 } = plant(guest, 400, guest.frames.slice(20, 60));
    const args = pinArgs(guest, MMUEXT.PIN_L4_TABLE, l4).concat(0, 0).map(BigInt);
    const first = mmuextOp(guest.vcpu, args) as Preempted;
    expect(first.preempted).toBe(true);
    expect(first.args[1]).toBe(BigInt(MMU_UPDATE_PREEMPTED + 1));
    expect(audit(machine.machine)).toEqual([]);
    relinquish(guest.domain);
    expect(machine.mmu.frames.freeCount).toBe(free);
  });

  it('hangs a large subtree into a table in use in pieces', () => {
    const machine = createTestMachine(1024);
    const guest = machine.domain(1, 900);
    guest.boot(64);
    const { l4, l1 } = plant(guest, 400, guest.frames.slice(20, 60));
    const entry = machine.mmu.readU64((l4 * 4096) as Maddr);
    const slot = BigInt(guest.vcpu.kernelRoot * 4096 + 8);
    expect(guest.call(mmuUpdate, guest.put(slot, entry), 1, 0, SELF)).toBe(0);
    expect(guest.reissued).toBeGreaterThan(2);
    expect(guest.call(mmuUpdate, guest.put(slot, 0n), 1, 0, SELF)).toBe(0);
    expect(guest.reissued).toBeGreaterThan(2);
    expect(machine.mmu.frames.type[l1[0]!]).toBe(FrameType.none);
    expect(audit(machine.machine)).toEqual([]);
  });

  it('a long list of updates counts what is done across pieces', () => {
    const machine = createTestMachine(1024);
    const guest = machine.domain(1, 900);
    guest.boot(200);
    const list = 0xffff_8880_0000_0000n + 100n * 4096n;
    const count = 100 * 256;
    const at = BigInt(guest.frames[20]! * 4096);
    for (let i = 0; i < count; i++) {
      const frame = guest.frames[100 + (i >> 8)]!;
      machine.mmu.writeU64((frame * 4096 + (i & 255) * 16) as Maddr, at);
      machine.mmu.writeU64((frame * 4096 + (i & 255) * 16 + 8) as Maddr, BigInt(i));
    }
    const done = guest.put(0n);
    expect(guest.call(mmuUpdate, list, count, done, SELF)).toBe(0);
    expect(guest.reissued).toBeGreaterThan(0);
    expect(guest.peek(done)).toBe(BigInt(count));
  });

  it('pins the tables of two gigabytes in well under half a second of the processor', () => {
    const machine = createTestMachine(8192);
    const guest = machine.domain(1, 8000);
    guest.boot(2048);
    const { l4 } = plant(guest, 1024, guest.frames.slice(20, 2000));
    const times: number[] = [];
    for (let round = 0; round < 4; round++) {
      const start = process.cpuUsage();
      expect(guest.call(mmuextOp, ...pinArgs(guest, MMUEXT.PIN_L4_TABLE, l4))).toBe(0);
      const { user, system } = process.cpuUsage(start);
      times.push((user + system) / 1000);
      expect(guest.call(mmuextOp, ...pinArgs(guest, MMUEXT.UNPIN_TABLE, l4))).toBe(0);
    }
    // The best of a few: what V8 compiles beside it is not what is measured.
    expect(Math.min(...times)).toBeLessThan(500);
  });
});
