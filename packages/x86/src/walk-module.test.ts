import {
  AccessBit,
  type AddressSpace,
  createMmu,
  FrameFlag,
  HYPERVISOR_OWNER,
  type Mmu,
  Pte,
  TLB_BYTES,
} from '@paravane/mmu';
import { type DomId, domId, type Mfn } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MISS_WRITE, STATE_BYTES, State } from './state.js';
import { walkModule } from './walk-module.js';

const FRAMES = 20;
const DOMID = domId(1);
const GAVE_UP = -2;
const CORE_BYTES = 0x60000;
const part = ({ mmu }: World, at: number, bytes?: number): Uint8Array =>
  mmu.machine.u8.subarray(at, bytes === undefined ? undefined : at + bytes);

interface World {
  mmu: Mmu;
  cpu: number;
  miss: (cpu: number, va: bigint, how: number, ip: number, tag: bigint) => number;
  fetch: (cpu: number, va: bigint, tag: bigint) => number;
  descriptors: Int32Array;
}

function world(): World {
  const mmu = createMmu({ frames: FRAMES, coreBytes: CORE_BYTES });
  const { machine } = mmu;
  const descriptors = new Int32Array(machine.memory.buffer, machine.reserveForFrames(4), FRAMES);
  const cpu = machine.reserve(STATE_BYTES, 64);
  const module = new WebAssembly.Module(
    walkModule({ mmu, descriptors: descriptors.byteOffset, walks: machine.reserve(4, 4) }),
  );
  const env = { memory: machine.memory, miss: () => GAVE_UP };
  const { miss, fetch } = new WebAssembly.Instance(module, { env }).exports as unknown as World;
  machine.view.setUint32(cpu + State.mode, 64, true);
  return { mmu, cpu, miss, fetch, descriptors };
}

/** An entry: mostly one that leads on. */
const entry = fc.record({
  frame: fc.oneof(
    { weight: 30, arbitrary: fc.integer({ min: 1, max: FRAMES - 1 }) },
    { weight: 1, arbitrary: fc.constantFrom(0, FRAMES, 0x12345) },
  ),
  cleared: fc.constantFrom<number>(0, 0, 0, 0, 0, 0, 0, 0, Pte.present, Pte.rw, Pte.user),
  set: fc.array(fc.constantFrom<number>(Pte.accessed, Pte.accessed, Pte.dirty, Pte.dirty, Pte.global), {
    maxLength: 2,
  }),
  large: fc.nat(20).map((n) => n === 0),
  nx: fc.nat(9).map((n) => n === 0),
});
const owner = fc.constantFrom(...Array<number>(12).fill(DOMID), HYPERVISOR_OWNER, domId(2), -1);
const access = fc.record({
  indexes: fc.tuple(fc.nat(1), fc.nat(1), fc.nat(1), fc.nat(1)),
  upper: fc.boolean(),
  offset: fc.nat(4095),
  bytes: fc.constantFrom(1, 2, 4, 8, 16),
  kind: fc.constantFrom('read', 'write', 'fetch'),
  code: fc.boolean(),
});

describe('walks in generated code', () => {
  it('do what the walker does, or nothing that it would not do too', () => {
    const tables = fc.array(entry, { minLength: 2 * FRAMES, maxLength: 2 * FRAMES });
    const owners = fc.array(owner, { minLength: FRAMES, maxLength: FRAMES });
    const flags = fc.array(fc.constantFrom<number>(0, 0, FrameFlag.dirty, FrameFlag.worldReadable), {
      minLength: FRAMES,
      maxLength: FRAMES,
    });
    let walked = 0;
    let left = 0;
    const [fast, slow] = [world(), world()];
    const run = fc.property(
      tables,
      owners,
      flags,
      fc.array(access, { maxLength: 12 }),
      fc.boolean(),
      (entries, owners, flags, accesses, user) => {
        const space: AddressSpace = {
          root: 1 as Mfn,
          domid: DOMID as DomId,
          paging: 'long',
          user,
          wp: true,
          nxe: true,
          physical: null,
        };
        for (const { mmu, cpu } of [fast, slow]) {
          const { machine, frames } = mmu;
          mmu.tlb.flushAll();
          machine.u8.fill(0, machine.frameBase);
          owners.forEach((domid, mfn) => (frames.owner[mfn] = domid));
          frames.owner[1] = DOMID;
          flags.forEach((bits, mfn) => (frames.flags[mfn] = bits));
          mmu.hasCode.fill(0);
          entries.forEach(({ frame, cleared, set, large, nx }, i) => {
            let lo = frame * 4096 + ((Pte.present | Pte.rw | Pte.user) & ~cleared);
            for (const bit of large ? [...set, Pte.pse] : set) lo |= bit;
            const word = (machine.frameBase + (i >> 1) * 4096 + (i & 1) * 8) / 4;
            machine.u32[word] = lo;
            machine.u32[word + 1] = nx ? 0x80000000 : 0;
          });
          machine.i32[(cpu + State.walkRoots) / 4] = space.root;
          machine.i32[(cpu + State.walkUser) / 4] = user ? 1 : 0;
          machine.i32[(cpu + State.walkOwner) / 4] = DOMID;
        }
        /** As `MemoryAccess.page` does it. */
        const walk = ({ mmu }: World, lo: number, hi: number, tag: number, bits: number): number => {
          const error = mmu.walker.walk(space, lo, hi, bits);
          if (error !== 0) return error;
          const { mfn, write } = mmu.walker.result;
          if (bits === AccessBit.fetch) mmu.tlb.fillCode(lo, hi, tag, mfn);
          else mmu.tlb.fill(lo, hi, tag, mfn, write && mmu.hasCode[mfn] === 0);
          return mmu.machine.frameBase + mfn * 4096 + (lo & 0xfff);
        };
        for (const { indexes, upper, offset, bytes, kind, code } of accesses) {
          const [l4, l3, l2, l1] = indexes.map(BigInt) as [bigint, bigint, bigint, bigint];
          let va = (l4 << 39n) | (l3 << 30n) | (l2 << 21n) | (l1 << 12n) | BigInt(offset);
          if (upper) va = BigInt.asIntN(64, va | (0xffffn << 48n));
          const [lo, hi] = [Number(BigInt.asIntN(32, va)), Number(BigInt.asIntN(32, va >> 32n))];
          const tag = fast.mmu.tlb.tag(space.root, 0);
          expect(slow.mmu.tlb.tag(space.root, 0)).toBe(tag);
          for (const { mmu } of [fast, slow]) mmu.hasCode[5] = code ? 1 : 0;
          const bits = kind === 'write' ? AccessBit.write : kind === 'fetch' ? AccessBit.fetch : 0;
          const how = bytes | (kind === 'write' ? MISS_WRITE : 0);
          const crosses = offset + bytes > 4096;
          const got =
            kind === 'fetch'
              ? fast.fetch(fast.cpu, va, BigInt(tag)) || GAVE_UP
              : fast.miss(fast.cpu, va, how, 0, BigInt(tag));
          const expected = upper ? -1 : walk(slow, lo, hi, tag, bits);
          const leftIt = got === GAVE_UP || kind === 'fetch';
          // What is left is the walker's.
          if (leftIt && !upper) walk(fast, lo, hi, tag, bits);
          if (leftIt) left++;
          else walked++;
          expect(leftIt || (!crosses && !upper && got === expected)).toBe(true);
          // The TLB; records by frame, and the frames.
          expect(
            Buffer.compare(part(fast, fast.mmu.tlb.base, TLB_BYTES), part(slow, slow.mmu.tlb.base, TLB_BYTES)),
          ).toBe(0);
          expect(Buffer.compare(part(fast, CORE_BYTES), part(slow, CORE_BYTES))).toBe(0);
        }
      },
    );
    fc.assert(run, { numRuns: 300 });
    expect(walked).toBeGreaterThan(50);
    expect(left).toBeGreaterThan(50);
  });

  it('find the block at an address whose page the TLB did not know, where there is one', () => {
    const { mmu, cpu, fetch, descriptors } = world();
    const { machine, frames } = mmu;
    for (const mfn of [1, 2, 3, 4, 5]) frames.owner[mfn] = DOMID;
    const link = (table: number, to: number): void => {
      machine.u32[(machine.frameBase + table * 4096) / 4] = to * 4096 + (Pte.present | Pte.user);
    };
    [1, 2, 3, 4].forEach((table) => link(table, table + 1));
    machine.i32[(cpu + State.walkRoots) / 4] = 1;
    machine.i32[(cpu + State.walkOwner) / 4] = DOMID;
    const tag = BigInt(mmu.tlb.tag(1 as Mfn, 0));
    expect(fetch(cpu, 0x10n, tag)).toBe(0);
    const descriptor = machine.reserve(0x4040, 64);
    descriptors[5] = descriptor;
    expect(fetch(cpu, 0x10n, tag)).toBe(0);
    machine.i32[(descriptor >> 2) + 0x10] = 0x7777;
    expect(fetch(cpu, 0x10n, tag)).toBe(0x7777);
    machine.i32[(cpu + State.walkRoots) / 4] = 0;
    expect(fetch(cpu, 0x10n, tag)).toBe(0);
  });
});
