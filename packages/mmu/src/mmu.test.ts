import { type DomId, domId, isParavaneError, type Maddr, type Mfn } from '@paravane/types';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { FrameFlag } from './frame-table.js';
import { createMachineMemory } from './machine-memory.js';
import { createMmu, emptySpace, type Mmu } from './mmu.js';
import type { AddressSpace } from './walk.js';

const DOM = domId(1);
let mmu: Mmu;
let space: AddressSpace;
let pages: Mfn[];
const take = (owner: DomId = DOM): Mfn => mmu.frames.allocate(owner) as Mfn;
/** Maps at 0x1000·n, for n from 0: writable, writable, read-only, nothing, writable. */
const FLAGS = [7, 7, 5, 0, 7];

beforeEach(() => {
  mmu = createMmu({ frames: 64, coreBytes: 0x80000 });
  const [l4, l3, l2, l1] = [take(), take(), take(), take()];
  const link = (table: Mfn, index: number, to: Mfn, flags: number): void =>
    mmu.writeU64((table * 4096 + index * 8) as Maddr, (BigInt(to) << 12n) | BigInt(flags));
  link(l4, 0, l3, 7);
  link(l3, 0, l2, 7);
  link(l2, 0, l1, 7);
  // Neighbours in linear memory are none in machine memory.
  pages = [take(), take(), take(), take(), take()].reverse();
  pages.forEach((page, i) => {
    link(l1, i, page, FLAGS[i]!);
  });
  space = { ...emptySpace(DOM), root: l4 };
});

describe('guest memory by linear address', () => {
  it('reads and writes across pages that are apart in the machine', () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
    expect(mmu.writeVirtual(space, 0xff0n, bytes)).toBe(true);
    expect(mmu.readVirtual(space, 0xff0n, 300)).toEqual(bytes);
    expect(mmu.read(pages[0]!, 0xff0, 16)).toEqual(bytes.slice(0, 16));
    expect(mmu.read(pages[1]!, 0, 284)).toEqual(bytes.slice(16));
  });

  it('gives nothing, and writes nothing, where one byte can’t be accessed', () => {
    expect(mmu.readVirtual(space, 0x2ff0n, 16)).not.toBe(null);
    expect(mmu.readVirtual(space, 0x2ff0n, 17)).toBe(null);
    expect(mmu.writeVirtual(space, 0x1ff8n, new Uint8Array(9).fill(1))).toBe(false);
    expect(mmu.read(pages[1]!, 0xff8, 8)).toEqual(new Uint8Array(8));
    expect(mmu.translate(space, 0x2000n, 'write')).toBe(null);
    expect(mmu.translate(space, 0x2004n)).toBe(pages[2]! * 4096 + 4);
  });

  it('knows no address that is not canonical', () => {
    for (const va of [0x0000_8000_0000_0000n, 0x8000_0000_0000_0000n, 0xffff_7fff_ffff_ffffn]) {
      expect(mmu.translate(space, va)).toBe(null);
    }
    expect(mmu.readVirtual(space, -1n, 1)).toBe(null);
  });

  it('agrees with a flat copy under random reads and writes', () => {
    const flat = new Uint8Array(5 * 4096);
    const accessible = (at: number, length: number, write: boolean): boolean => {
      for (let i = at; i < at + length; i++) {
        const flags = FLAGS[i >> 12];
        if (!flags || (write && !(flags & 2))) return false;
      }
      return true;
    };
    fc.assert(
      fc.property(
        fc.nat(5 * 4096 + 50),
        fc.integer({ min: 1, max: 5000 }),
        fc.boolean(),
        fc.nat(255),
        (at, length, write, fill) => {
          const va = BigInt(at);
          const ok = accessible(at, length, write);
          const bytes = new Uint8Array(length).fill(fill);
          if (write && ok) flat.set(bytes, at);
          const found = write ? mmu.writeVirtual(space, va, bytes) : mmu.readVirtual(space, va, length);
          expect(found).toEqual(write ? ok : ok ? flat.slice(at, at + length) : null);
        },
      ),
    );
  });
});

describe('writes from outside', () => {
  it('mark the frame dirty and tell the core, before the bytes change', () => {
    const [page] = pages as [Mfn];
    const seen: [number, number, number, number][] = [];
    mmu.onCodeWrite = (mfn, offset, length) =>
      seen.push([mfn, offset, length, mmu.readU8((mfn * 4096 + offset) as Maddr)]);
    mmu.hasCode[page] = 1;
    mmu.frames.flags[page] = 0;
    const at = (offset: number): Maddr => (page * 4096 + offset) as Maddr;
    mmu.writeU8(at(1), 0xff);
    mmu.writeU16(at(2), 0xffff);
    mmu.writeU32(at(4), 0xffffffff);
    mmu.writeU64(at(8), 0xffffffffffffffffn);
    mmu.write(page, 16, Uint8Array.of(1, 2));
    mmu.writeVirtual(space, 0x20n, Uint8Array.of(1));
    mmu.clear(page);
    mmu.copy(page, pages[1]!);
    expect(seen.map(([mfn, ...rest]) => (expect(mfn).toBe(page), rest))).toEqual([
      [1, 1, 0],
      [2, 2, 0],
      [4, 4, 0],
      [8, 8, 0],
      [16, 2, 0],
      [0x20, 1, 0],
      [0, 4096, 0],
      [0, 4096, 0],
    ]);
    expect(mmu.frames.flags[page]! & FrameFlag.dirty).not.toBe(0);
  });

  it('by I/O are told of when it begins and when it ends', () => {
    const [page] = pages as [Mfn];
    let told = 0;
    mmu.onCodeWrite = () => told++;
    mmu.hasCode[page] = 1;
    const bytes = mmu.pin(page, 'write');
    bytes[5] = 9;
    mmu.unpin(page);
    expect(told).toBe(2);
    expect(mmu.readU8((page * 4096 + 5) as Maddr)).toBe(9);
  });
});

describe('free', () => {
  it('drops every translation, tells the personality while the owner is known, and waits for I/O', () => {
    const [page] = pages as [Mfn];
    const freed: [number, number][] = [];
    mmu.onFrameFree = (mfn) => freed.push([mfn, mmu.frames.owner[mfn]!]);
    const tag = mmu.tlb.tag(space.root, 0);
    mmu.tlb.fill(0, 0, tag, page, true);
    mmu.pin(page, 'read');
    mmu.free(page);
    expect(mmu.machine.i32[mmu.tlb.base >> 2]).toBe(0);
    expect(freed).toEqual([]);
    mmu.unpin(page);
    expect(freed).toEqual([[page, DOM]]);
  });
  it('gives frames that hold zeros again', () => {
    const [page] = pages as [Mfn];
    mmu.write(page, 100, Uint8Array.of(1, 2, 3));
    mmu.free(page);
    let again: number = take();
    while (again !== page) again = take();
    expect(mmu.read(page, 0, 4096)).toEqual(new Uint8Array(4096));
  });
});

describe('machine memory', () => {
  it('is refused with a remedy when it is too large or too small', () => {
    for (const frames of [1, 0x100000]) {
      let caught: unknown;
      try {
        createMachineMemory({ frames, coreBytes: 0x10000 });
      } catch (error) {
        caught = error;
      }
      expect(isParavaneError(caught, 'machine-memory-size')).toBe(true);
    }
  });
  it('hands out its core area aligned, until it is full', () => {
    const machine = createMachineMemory({ frames: 2, coreBytes: 0x10000 });
    expect(machine.reserve(10, 64) % 64).toBe(0);
    expect(machine.reserve(0x8000, 4096) % 4096).toBe(0);
    expect(() => machine.reserve(0x8000)).toThrow('no room');
  });
});
