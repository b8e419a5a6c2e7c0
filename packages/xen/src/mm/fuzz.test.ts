/**
 * Any arguments to any call: nothing throws, the books balance, and a second
 * domain that takes no part keeps its frames and their contents.
 */

import { FrameType, Pte } from '@paravane/mmu';
import type { Maddr, Mfn } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HypercallHandler } from '../domain.js';
import {
  memoryOp,
  mmuextOp,
  mmuUpdate,
  readDescriptor,
  relinquish,
  setCr3,
  setGdt,
  updateDescriptor,
  updateVaMapping,
  updateVaMappingOtherdomain,
} from './index.js';
import { audit, createTestMachine, pte, RO, RW, type TestDomain, vaOf } from './test-domain.js';

const FRAMES = 400;
const SELF = 0x7ff0n;

/** A small deterministic generator, so that one seed is one case. */
function random(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return Math.floor(((state >>> 8) / 0x1000000) * below);
  };
}

/** Maps the pages for arguments again where the guest has unmapped them; a guest that can't has had its say. */
function argumentsMapped(guest: TestDomain): boolean {
  for (let pfn = 8; pfn < 16; pfn++) {
    if (guest.domain.mmu.translate(guest.vcpu.core.space, vaOf(pfn), 'write') !== null) continue;
    if (guest.call(updateVaMapping, vaOf(pfn), pte(guest.frames[pfn]!, RW), 2n) !== 0) return false;
  }
  return true;
}

const same = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);

function createWorld() {
  const machine = createTestMachine(FRAMES);
  const canary = machine.domain(2, 32);
  canary.boot(16);
  for (const mfn of canary.frames.slice(0, 16))
    machine.mmu.writeU64((mfn * 4096 + 8) as Maddr, 0xc0ffeen + BigInt(mfn));
  const guest = machine.domain(1, 200);
  guest.boot(64);
  // Frames without any mapping are what tables are made of.
  for (let pfn = 24; pfn < 64; pfn++) guest.call(updateVaMapping, vaOf(pfn), 0n, 0n);
  const before = canary.frames.map((mfn) => machine.mmu.read(mfn, 0, 4096));
  const canaryOk = (): void => {
    canary.frames.forEach((mfn, i) => {
      expect(machine.mmu.frames.owner[mfn]).toBe(2);
      expect(same(machine.mmu.read(mfn, 0, 4096), before[i]!)).toBe(true);
    });
  };
  return { machine, canary, guest, canaryOk };
}

/** Values that are likely to get far: the guest's own frames, tables, entries, addresses. */
function chooser(guest: TestDomain, canary: TestDomain, pick: (below: number) => number) {
  const wide = (): bigint => (BigInt(pick(2 ** 24)) << 40n) ^ (BigInt(pick(2 ** 24)) << 20n) ^ BigInt(pick(2 ** 24));
  // Page 8 to 15 hold the arguments.
  const own = (): number => guest.frames[16 + pick(guest.frames.length - 16)]!;
  const table = (): number => guest.path(vaOf(pick(512)))[pick(4)] ?? own();
  const mfn = (): number => {
    const kind = pick(12);
    if (kind < 7) return own();
    if (kind < 10) return table();
    return kind === 10 ? canary.frames[pick(canary.frames.length)]! : pick(FRAMES + 10);
  };
  const entry = (): bigint => {
    if (pick(8) === 0) return pick(2) ? 0n : wide();
    let flags = Pte.present | (pick(2) && Pte.rw) | (pick(2) && Pte.user) | (pick(2) && Pte.accessed);
    if (pick(10) === 0) flags |= 1 << pick(12);
    return pte(mfn(), flags) | (pick(4) ? 0n : 1n << BigInt(52 + pick(12)));
  };
  const va = (): bigint => (pick(8) ? vaOf(16 + pick(600)) + BigInt(pick(20) ? 0 : pick(4096)) : wide());
  const pointer = (): bigint => BigInt(mfn() * 4096 + pick(512) * 8) | BigInt(pick(3) ? 0 : pick(8));
  const foreign = (): bigint =>
    pick(12) ? SELF : BigInt(pick(8) === 0 ? pick(2 ** 24) : [1, 2, 3, 0x7ff1, 0x7ff2][pick(5)]!);
  return { wide, mfn, entry, va, pointer, foreign };
}

function step(guest: TestDomain, canary: TestDomain, pick: (below: number) => number): void {
  const { wide, mfn, entry, va, pointer, foreign } = chooser(guest, canary, pick);
  const call = (handler: HypercallHandler, ...args: bigint[]): void => {
    const result = guest.call(handler, ...args);
    if (typeof result !== 'number' && typeof result !== 'bigint') throw new Error(`no result: ${result}`);
  };
  switch (pick(12)) {
    case 0:
    case 1:
    case 2: {
      const count = 1 + pick(4);
      const words = Array.from({ length: count }, () => [pointer(), entry()]).flat();
      call(
        mmuUpdate,
        guest.put(...words),
        BigInt(pick(20) ? count : pick(2 ** 24)),
        pick(2) ? guest.put(0n) : 0n,
        foreign(),
      );
      return;
    }
    case 3:
    case 4:
    case 5: {
      const count = 1 + pick(3);
      const words = Array.from({ length: count }, () => [
        BigInt(pick(3) ? [0, 1, 2, 3, 4, 4, 5, 15][pick(8)]! : pick(24)) ^ (pick(30) ? 0n : wide()),
        pick(6) ? BigInt(mfn()) : va(),
        pick(4) ? BigInt(mfn()) : wide(),
      ]).flat();
      call(mmuextOp, guest.put(...words), BigInt(count), pick(2) ? guest.put(0n) : va(), foreign());
      return;
    }
    case 6:
    case 7:
      call(updateVaMapping, va(), entry(), pick(3) ? BigInt(pick(8)) : wide());
      return;
    case 8: {
      const commands = [0, 1, 6, 11, 3, 4, 14, 2, 9, 12, 13, 5, 7, 15];
      const list = guest.put(BigInt(mfn()), BigInt(mfn()), BigInt(mfn()), wide());
      const half = [
        pick(5) ? list : va(),
        BigInt(pick(6)),
        BigInt(pick(3)) | (BigInt(pick(4) ? 0 : pick(64)) << 32n),
        SELF,
      ];
      const arg = guest.put(...half, ...(pick(2) ? half : [va(), 1n, 1n, SELF]), BigInt(pick(3)), wide());
      const command = pick(10) ? commands[pick(commands.length)]! : pick(100);
      call(memoryOp, BigInt(command), pick(8) ? arg : va());
      return;
    }
    case 9:
      call(
        setGdt,
        pick(5) ? guest.put(BigInt(mfn()), BigInt(mfn())) : va(),
        BigInt(pick(20) ? pick(1025) : pick(2 ** 24)),
      );
      for (let i = 0; i < 8; i++) readDescriptor(guest.vcpu, pick(0x10000));
      return;
    case 10:
      call(updateDescriptor, pick(6) ? pointer() : wide(), wide());
      if (pick(4) === 0) setCr3(guest.vcpu, BigInt(mfn()) << 12n);
      return;
    default:
      call(updateVaMappingOtherdomain, va(), entry(), BigInt(pick(8)), foreign());
      // The guest scribbles on what it may write: what later becomes a table has any contents.
      for (let i = 0; i < 4; i++) {
        const frame = guest.frames[16 + pick(guest.frames.length - 16)]!;
        const { frames } = guest.domain.mmu;
        if (frames.owner[frame] !== 1 || (frames.typeCount[frame] !== 0 && frames.type[frame] !== FrameType.writable))
          continue;
        if (pick(2)) guest.domain.mmu.clear(frame);
        for (let j = 0; j < 2; j++)
          guest.domain.mmu.writeU64(
            (frame * 4096 + pick(512) * 8) as Maddr,
            pick(4) ? pte(guest.frames[16 + pick(48)]!, pick(2) ? RO : RW) : entry(),
          );
      }
  }
}

describe('memory hypercalls under random arguments', () => {
  it.each(Array.from({ length: 60 }, (_, i) => i + 1))('seed %i', (seed) => {
    const { machine, guest, canary, canaryOk } = createWorld();
    const pick = random(seed * 7919);
    const wrong: string[] = [];
    for (let i = 0; i < 400; i++) {
      if (!argumentsMapped(guest)) break;
      step(guest, canary, pick);
      if (i % 80 === 0) wrong.push(...audit(machine.machine));
    }
    expect([...wrong, ...audit(machine.machine)]).toEqual([]);
    canaryOk();
    relinquish(guest.domain);
    expect(guest.domain.totPages).toBe(0);
    for (let mfn = 1; mfn < FRAMES; mfn++) expect(machine.mmu.frames.owner[mfn]).not.toBe(1);
    canaryOk();
  });

  it('raw words in every argument', () => {
    const { machine, guest, canaryOk } = createWorld();
    const handlers: HypercallHandler[] = [
      mmuUpdate,
      mmuextOp,
      updateVaMapping,
      updateVaMappingOtherdomain,
      memoryOp,
      setGdt,
      updateDescriptor,
    ];
    const word = fc.oneof(
      fc.bigInt(0n, 0xffffffffffffffffn),
      fc.bigInt(0n, 0x20n),
      fc.constantFrom(vaOf(8), vaOf(20), vaOf(600)),
    );
    fc.assert(
      fc.property(fc.nat(handlers.length - 1), fc.array(word, { minLength: 6, maxLength: 6 }), (which, args) => {
        guest.call(handlers[which]!, ...args);
      }),
      { numRuns: 2000, seed: 1 },
    );
    expect(audit(machine.machine)).toEqual([]);
    canaryOk();
  });
});

describe('the invariant that matters', () => {
  it('no translation that a guest can make reaches another domain or writes to its own tables', () => {
    const { machine, guest, canary } = createWorld();
    const pick = random(4242);
    const { mmu } = machine;
    for (let i = 0; i < 600; i++) {
      if (!argumentsMapped(guest)) break;
      step(guest, canary, pick);
      for (let j = 0; j < 10; j++) {
        const maddr = mmu.translate(guest.vcpu.core.space, vaOf(pick(600)), 'write');
        if (maddr === null) continue;
        const mfn = (maddr / 4096) as Mfn;
        expect(mmu.frames.owner[mfn]).toBe(1);
        expect(mmu.frames.type[mfn]).toBe(FrameType.writable);
      }
    }
  });
});
