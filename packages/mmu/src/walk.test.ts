import { type DomId, domId, type Mfn } from '@paravane/types';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { FrameFlag } from './frame-table.js';
import { createMmu, emptySpace, type Mmu } from './mmu.js';
import { AccessBit, type AddressSpace, FAULT, HYPERVISOR_OWNER, PfError, Pte } from './walk.js';

const DOM = domId(1);
const NX = 1n << 63n;
const FRAMES = 64;
const { present: P, rw: W, user: U, accessed: A, dirty: D, pse: PS } = Pte;
let mmu: Mmu;
let space: AddressSpace;

const take = (owner: DomId = DOM): Mfn => mmu.frames.allocate(owner) as Mfn;
const entry = (frame: number, flags: number): bigint => (BigInt(frame) << 12n) | BigInt(flags);
const setEntry = (table: Mfn, index: number, value: bigint): void =>
  mmu.machine.view.setBigUint64(mmu.machine.frameBase + table * 4096 + index * 8, value, true);
const getEntry = (table: Mfn, index: number): bigint =>
  mmu.machine.view.getBigUint64(mmu.machine.frameBase + table * 4096 + index * 8, true);
const walk = (va: bigint, access = 0, probe = false, where = space): number =>
  mmu.walker.walk(where, Number(va & 0xffffffffn) | 0, Number((va >> 32n) & 0xffffffffn) | 0, access, probe);
const code = (...bits: number[]): number => bits.reduce((a, b) => a | b, 0) | FAULT;

/** Tables L4 to L1 for address 0x1234_5678_9000 and a page behind them. */
const VA = 0x1234_5678_9000n;
const index = (level: number): number => Number((VA >> BigInt(3 + 9 * level)) & 511n);
function path(flags = P | W | U): { tables: Mfn[]; page: Mfn } {
  const tables = [take(), take(), take(), take()];
  const page = take();
  tables.forEach((table, i) => {
    setEntry(table, index(4 - i), entry(tables[i + 1] ?? page, flags));
  });
  space = { ...emptySpace(DOM), root: tables[0]! };
  return { tables, page };
}

beforeEach(() => {
  mmu = createMmu({ frames: FRAMES, coreBytes: 0x80000 });
});

describe('SMEP and SMAP', () => {
  const supervisor = (rights: Partial<AddressSpace>): AddressSpace => ({
    ...space,
    user: false,
    nxe: false,
    ...rights,
  });
  it('keep the supervisor from executing and from reaching user pages', () => {
    path();
    expect(walk(VA, AccessBit.fetch, false, supervisor({}))).toBe(0);
    const where = supervisor({ smep: true });
    expect(walk(VA, AccessBit.fetch, false, where)).toBe(code(PfError.present, PfError.fetch));
    expect(walk(VA, 0, false, where)).toBe(0);
    expect(mmu.walker.result.exec).toBe(false);
    const smap = supervisor({ smap: true });
    expect(walk(VA, 0, false, smap)).toBe(code(PfError.present));
    expect(walk(VA, AccessBit.write, false, smap)).toBe(code(PfError.present, PfError.write));
    expect(walk(VA, AccessBit.ac, false, smap)).toBe(0);
    expect(walk(VA, AccessBit.write | AccessBit.ac, false, smap)).toBe(0);
    // What may only be fetched must not be filled as readable.
    expect(walk(VA, AccessBit.fetch, false, smap)).toBe(0);
    expect(mmu.walker.result.read).toBe(false);
  });
  it('say nothing of pages of the supervisor, or to user mode', () => {
    path(P | W);
    expect(walk(VA, AccessBit.fetch, false, supervisor({ smep: true, smap: true }))).toBe(0);
    expect(mmu.walker.result).toMatchObject({ read: true, exec: true });
    expect(walk(VA, 0, false, supervisor({ smep: true, smap: true }))).toBe(0);
    path();
    expect(walk(VA, AccessBit.fetch, false, { ...space, user: true, smep: true, smap: true })).toBe(0);
  });
});

describe('4-level walks', () => {
  it('reach the page, and set accessed and dirty bits as the access asks', () => {
    const { tables, page } = path();
    expect(walk(VA + 0x123n)).toBe(0);
    expect(mmu.walker.result).toMatchObject({
      mfn: page,
      write: false,
      exec: true,
      leafTable: tables[3],
      leafOffset: index(1) * 8,
    });
    for (let i = 0; i < 4; i++) expect(getEntry(tables[i]!, index(4 - i)) & BigInt(A | D)).toBe(BigInt(A));
    expect(mmu.frames.flags[page]! & FrameFlag.dirty).toBe(0);
    expect(walk(VA, AccessBit.write)).toBe(0);
    expect(mmu.walker.result.write).toBe(true);
    expect(getEntry(tables[3]!, index(1)) & BigInt(D)).toBe(BigInt(D));
    expect(getEntry(tables[0]!, index(4)) & BigInt(D)).toBe(0n);
    expect(mmu.frames.flags[page]! & FrameFlag.dirty).not.toBe(0);
  });

  it('leave no trace when they only probe', () => {
    const { tables, page } = path();
    expect(walk(VA, AccessBit.write, true)).toBe(0);
    for (let i = 0; i < 4; i++) expect(getEntry(tables[i]!, index(4 - i)) & BigInt(A | D)).toBe(0n);
    expect(mmu.frames.flags[page]! & FrameFlag.dirty).toBe(0);
  });

  it.each([0, 1, 2, 3])('take presence and rights from the table at depth %i', (depth) => {
    const { tables } = path();
    const at = [tables[depth]!, index(4 - depth)] as const;
    const good = getEntry(...at);
    setEntry(...at, good & ~BigInt(P));
    expect(walk(VA)).toBe(code(PfError.user));
    expect(walk(VA, AccessBit.write)).toBe(code(PfError.user, PfError.write));
    setEntry(...at, good & ~BigInt(W));
    expect(walk(VA)).toBe(0);
    expect(walk(VA, AccessBit.write)).toBe(code(PfError.user, PfError.write, PfError.present));
    setEntry(...at, good & ~BigInt(U));
    expect(walk(VA)).toBe(code(PfError.user, PfError.present));
    space.user = false;
    expect(walk(VA, AccessBit.write)).toBe(0);
    space.user = true;
    setEntry(...at, good | NX);
    expect(walk(VA)).toBe(0);
    expect(mmu.walker.result.exec).toBe(false);
    expect(walk(VA, AccessBit.fetch)).toBe(code(PfError.user, PfError.fetch, PfError.present));
    space.nxe = false;
    expect(walk(VA)).toBe(code(PfError.user, PfError.present, PfError.reserved));
  });

  it('let a supervisor write to read-only pages unless CR0.WP is set', () => {
    path(P | U);
    space.user = false;
    expect(walk(VA, AccessBit.write)).toBe(code(PfError.write, PfError.present));
    space.wp = false;
    expect(walk(VA, AccessBit.write)).toBe(0);
    expect(mmu.walker.result.write).toBe(true);
  });

  it('follow large pages of 2 MiB and 1 GiB, and find reserved bits', () => {
    const { tables } = path();
    while (mmu.frames.freeCount > 0) take();
    const wide = { ...space, physical: (frame: number) => (frame >= 0x40000 ? (frame & 15) + 1 : frame) };
    const [, l3, l2] = tables as [Mfn, Mfn, Mfn, Mfn];
    setEntry(l2, index(2), entry(0x40200, P | W | U | PS));
    expect(walk(VA, 0, false, wide)).toBe(0);
    expect(mmu.walker.result.mfn).toBe(((0x40200 + (Number(VA >> 12n) & 0x1ff)) & 15) + 1);
    setEntry(l2, index(2), entry(0x40202, P | W | U | PS));
    expect(walk(VA, 0, false, wide)).toBe(code(PfError.user, PfError.present, PfError.reserved));
    setEntry(l3, index(3), entry(0x40000, P | W | U | PS));
    expect(walk(VA, 0, false, wide)).toBe(0);
    expect(mmu.walker.result.mfn).toBe(((0x40000 + (Number(VA >> 12n) & 0x3ffff)) & 15) + 1);
    setEntry(tables[0]!, index(4), entry(tables[1]!, P | W | U | PS));
    expect(walk(VA, 0, false, wide)).toBe(code(PfError.user, PfError.present, PfError.reserved));
  });

  it.each([4, 3, 2, 1])('find address bits reserved that a processor does not have, at level %i', (level) => {
    const { tables } = path();
    const table = tables[4 - level]!;
    const before = getEntry(table, index(level));
    const reserved = code(PfError.user, PfError.present, PfError.reserved);
    setEntry(table, index(level), before | (1n << 36n));
    expect(walk(VA, 0, false, { ...space, physicalBits: 36 })).toBe(reserved);
    expect(getEntry(table, index(level))).toBe(before | (1n << 36n));
    expect(walk(VA, 0, false, { ...space, physicalBits: 37 })).toBe(code(PfError.user));
    setEntry(table, index(level), before | (1n << 51n));
    expect(walk(VA, 0, false, { ...space, physicalBits: 51 })).toBe(reserved);
    expect(walk(VA)).toBe(code(PfError.user));
    setEntry(table, index(level), (before | (1n << 36n)) & ~1n);
    expect(walk(VA, 0, false, { ...space, physicalBits: 36 })).toBe(code(PfError.user));
  });
});

describe('32-bit paging', () => {
  const VA32 = 0xc0a0_5123n;
  const PSE36 = 1 << 13;
  const entry32 = (table: Mfn, at: number): number =>
    mmu.machine.view.getUint32(mmu.machine.frameBase + table * 4096 + at * 4, true);
  const set32 = (table: Mfn, at: number, frame: number, flags: number): void =>
    mmu.machine.view.setUint32(mmu.machine.frameBase + table * 4096 + at * 4, frame * 4096 + flags, true);
  const [pde, pte] = [Number(VA32 >> 22n), Number((VA32 >> 12n) & 1023n)];
  function path32(flags = P | W | U): { directory: Mfn; table: Mfn; page: Mfn } {
    const [directory, table, page] = [take(), take(), take()];
    set32(directory, pde, table, flags);
    set32(table, pte, page, flags);
    space = { ...emptySpace(DOM), root: directory, paging: '32-bit' };
    return { directory, table, page };
  }

  it('goes through two levels of entries of four bytes, whose accessed and dirty bits it sets', () => {
    const { directory, table, page } = path32();
    // Neighbours that a walk by entries of eight bytes would take or change.
    set32(directory, pde + 1, 0, 0xe00);
    set32(table, pte + 1, 0, 0xe00);
    expect(walk(VA32)).toBe(0);
    expect(mmu.walker.result).toMatchObject({ mfn: page, exec: true, leafTable: table, leafOffset: pte * 4 });
    expect([entry32(directory, pde) & (A | D), entry32(table, pte) & (A | D)]).toEqual([A, A]);
    expect(walk(VA32, AccessBit.write)).toBe(0);
    expect([entry32(directory, pde) & (A | D), entry32(table, pte) & (A | D)]).toEqual([A, A | D]);
    expect([entry32(directory, pde + 1), entry32(table, pte + 1)]).toEqual([0xe00, 0xe00]);
  });
  it('takes presence and rights from both levels', () => {
    const { directory, table, page } = path32();
    for (const [at, index, to] of [
      [directory, pde, table],
      [table, pte, page],
    ] as const) {
      set32(at, index, to, W | U);
      expect(walk(VA32, AccessBit.write)).toBe(code(PfError.user, PfError.write));
      set32(at, index, to, P | U);
      expect(walk(VA32, AccessBit.write)).toBe(code(PfError.user, PfError.write, PfError.present));
      expect(walk(VA32, AccessBit.write, false, { ...space, user: false, wp: false })).toBe(0);
      expect(walk(VA32, AccessBit.write, false, { ...space, user: false })).toBe(code(PfError.write, PfError.present));
      set32(at, index, to, P | W);
      expect(walk(VA32)).toBe(code(PfError.user, PfError.present));
      set32(at, index, to, P | W | U);
      expect(walk(VA32, AccessBit.write)).toBe(0);
    }
  });
  it('never forbids execution, so the error of a fetch says that it was one only with SMEP', () => {
    path32(P | W);
    expect(walk(VA32, AccessBit.fetch)).toBe(code(PfError.user, PfError.present));
    path32();
    expect(walk(VA32, AccessBit.fetch)).toBe(0);
    const smep = { ...space, user: false, smep: true };
    expect(walk(VA32, AccessBit.fetch, false, smep)).toBe(code(PfError.fetch, PfError.present));
  });
  it('has pages of 4 MiB with CR4.PSE alone, beyond 4 GiB by PSE-36', () => {
    const { directory, page } = path32();
    const pse = { ...space, pse: true };
    const machine = (frame: number): number =>
      frame < FRAMES ? frame : frame % 0x400 === 0x205 && frame >= 0x5a00c00 ? page : -1;
    const wide = { ...pse, physical: machine };
    // 0x5a_00c0_0000: bits 39 to 32 in bits 20 to 13, bits 31 to 22 in their places.
    set32(directory, pde, 0xc00, P | W | U | PS | (0x5a * PSE36));
    expect(walk(VA32, AccessBit.write, false, wide)).toBe(0);
    expect(mmu.walker.result).toMatchObject({ mfn: page, leafTable: directory, leafOffset: pde * 4 });
    expect(entry32(directory, pde) & (A | D)).toBe(A | D);
    const seen: number[] = [];
    walk(VA32, 0, false, { ...pse, physical: (frame) => (seen.push(frame), -1) });
    expect(seen).toEqual([0x5a00000 + 0xc00 + 0x205]);
    // Bit 12 is PAT, bit 21 is reserved.
    set32(directory, pde, 0xc01, P | W | U | PS | (0x5a * PSE36));
    expect(walk(VA32, 0, false, wide)).toBe(0);
    set32(directory, pde, 0xe00, P | W | U | PS | (0x5a * PSE36));
    expect(walk(VA32, 0, false, wide)).toBe(code(PfError.user, PfError.present, PfError.reserved));
  });
  it('takes no notice of the bit for large pages without CR4.PSE, nor in a table', () => {
    const { directory, table, page } = path32();
    set32(directory, pde, table, P | W | U | PS);
    set32(table, pte, page, P | W | U | PS);
    expect(walk(VA32)).toBe(0);
    expect(mmu.walker.result.mfn).toBe(page);
    expect(walk(VA32, 0, false, { ...space, pse: true })).not.toBe(0);
    set32(directory, pde, table, P | W | U);
    expect(walk(VA32, 0, false, { ...space, pse: true })).toBe(0);
    expect(mmu.walker.result.mfn).toBe(page);
  });
  it('reaches no frame and no table of another domain', () => {
    const { table, page } = path32();
    mmu.frames.owner[page] = 2;
    expect(walk(VA32)).toBe(code(PfError.user));
    mmu.frames.owner[page] = DOM;
    mmu.frames.owner[table] = 2;
    expect(walk(VA32)).toBe(code(PfError.user));
  });
});

describe('ownership', () => {
  it('tables must be the domain’s or the hypervisor’s', () => {
    const { tables } = path();
    mmu.frames.owner[tables[2]!] = 2;
    expect(walk(VA)).toBe(code(PfError.user));
    mmu.frames.owner[tables[2]!] = HYPERVISOR_OWNER;
    expect(walk(VA)).toBe(0);
    expect(getEntry(tables[2]!, index(2)) & BigInt(A)).toBe(0n);
  });

  it('a page must be the domain’s, world-readable, or held by a grant with these rights', () => {
    const { page } = path();
    mmu.frames.owner[page] = 2;
    expect(walk(VA)).toBe(code(PfError.user));
    mmu.holds.hold(DOM, page, false);
    expect(walk(VA)).toBe(0);
    expect(walk(VA, AccessBit.write)).toBe(code(PfError.user, PfError.write));
    mmu.holds.hold(DOM, page, true);
    expect(walk(VA, AccessBit.write)).toBe(0);
    mmu.holds.unhold(DOM, page, true);
    expect(walk(VA)).toBe(0);
    // Dirty by now, but the right to write is gone.
    expect(mmu.walker.result.write).toBe(false);
    mmu.holds.unhold(DOM, page, false);
    expect(walk(VA)).toBe(code(PfError.user));
    mmu.frames.flags[page] = FrameFlag.worldReadable;
    expect(walk(VA)).toBe(0);
    expect(walk(VA, AccessBit.write)).toBe(code(PfError.user, PfError.write));
  });

  it('frame numbers beyond the machine lead nowhere', () => {
    const { tables } = path();
    for (const frame of [0, FRAMES, 0xfffff, 0xff_ffff_ffff]) {
      setEntry(tables[3]!, index(1), entry(frame, P | W | U));
      expect(walk(VA)).toBe(code(PfError.user));
      setEntry(tables[2]!, index(2), entry(frame, P | W | U));
      expect(walk(VA)).toBe(code(PfError.user));
    }
  });

  it('the dirty log sees the first write after it was started', () => {
    const { page } = path();
    walk(VA, AccessBit.write);
    mmu.frames.flags[page] = mmu.frames.flags[page]! & ~FrameFlag.dirty;
    expect(walk(VA)).toBe(0);
    expect(mmu.walker.result.write).toBe(false);
    walk(VA, AccessBit.write);
    expect(mmu.frames.flags[page]! & FrameFlag.dirty).not.toBe(0);
    expect(mmu.walker.result.write).toBe(true);
  });
});

/** The same in the plainest words: Intel SDM vol. 3, 4.4.2, 4.5.4 and 4.6. Sees no owners: frames are all the domain's. */
function naive(
  where: AddressSpace,
  va: bigint,
  access: number,
): { error: number; frame: number; writable: boolean; exec: boolean } {
  const pae = where.paging === 'pae';
  const write = (access & AccessBit.write) !== 0;
  const fetch = (access & AccessBit.fetch) !== 0;
  const rights = { w: true, u: true, x: true };
  const fault = (bits: number) => ({
    error: code(bits, write ? 2 : 0, where.user ? 4 : 0, fetch && where.nxe ? 16 : 0),
    frame: -1,
    writable: false,
    exec: false,
  });
  let table = Number(where.root);
  for (let level = pae ? 3 : 4; level >= 1; level--) {
    if (table <= 0 || table >= FRAMES) return fault(0);
    const mask = pae && level === 3 ? 3n : 511n;
    const e = getEntry(table as Mfn, Number((va >> BigInt(3 + 9 * level)) & mask));
    if (!(e & 1n)) return fault(0);
    if (e & NX && !where.nxe) return fault(1 | 8);
    const large = (e & 128n) !== 0n;
    if (large && (level === 4 || (pae && level === 3))) return fault(1 | 8);
    if (e & NX) rights.x = false;
    if (!(pae && level === 3)) {
      rights.w &&= (e & 2n) !== 0n;
      rights.u &&= (e & 4n) !== 0n;
    }
    const frame = Number((e >> 12n) & 0xff_ffff_ffffn);
    if (level > 1 && !large) {
      table = frame;
      continue;
    }
    const pages = 512 ** (level - 1);
    if (level > 1 && (frame % pages) >> 1 !== 0) return fault(1 | 8);
    if (where.user && !rights.u) return fault(1);
    if (write && !rights.w && (where.user || where.wp)) return fault(1);
    if (fetch && !rights.x) return fault(1);
    const base = frame - (frame % pages);
    const reached = base + Number((va >> 12n) % BigInt(pages));
    if (reached <= 0 || reached >= FRAMES) return fault(0);
    return { error: 0, frame: reached, writable: rights.w || !(where.user || where.wp), exec: rights.x };
  }
  throw new Error('a walk has a leaf');
}

describe('every walk', () => {
  const kind = fc.constantFrom(P | W | U, P | W | U, P | W | U, P | U, P | W, P | W | U | PS, W | U, P | W | U | A | D);
  const slot = fc.tuple(fc.integer({ min: 0, max: 9 }), kind, fc.integer({ min: 0, max: 11 }), fc.nat(9));
  it.each(['long', 'pae'] as const)('agrees with the plain reading of the manual (%s)', (paging) => {
    fc.assert(
      fc.property(
        // Eight tables of four used slots each, that point to each other and to pages.
        fc.array(slot, { minLength: 32, maxLength: 32 }),
        fc.array(fc.nat(3), { minLength: 5, maxLength: 5 }),
        fc.nat(3),
        fc.record({ user: fc.boolean(), wp: fc.boolean(), nxe: fc.boolean() }),
        (slots, way, access, mode) => {
          mmu = createMmu({ frames: FRAMES, coreBytes: 0x80000 });
          const pool = Array.from({ length: FRAMES - 1 }, () => take());
          slots.forEach(([to, flags, nx, strange], i) => {
            const target = strange === 0 ? [0, FRAMES, 0x40000, 1][to % 4]! : pool[to]!;
            setEntry(pool[i >> 2]!, i & 3, entry(target, flags) | (nx === 0 ? NX : 0n));
          });
          const where: AddressSpace = { ...emptySpace(DOM), ...mode, root: pool[0]!, paging };
          const [a, b, c, d] = way as [number, number, number, number];
          const va =
            (paging === 'long' ? BigInt(a) << 39n : 0n) | (BigInt(b) << 30n) | (BigInt(c) << 21n) | (BigInt(d) << 12n);
          const wanted = naive(where, va, access);
          const reached = (): object => {
            const { error, mfn, exec } = mmu.walker.result;
            return error === 0 ? { error, frame: mfn, exec } : { error };
          };
          const { error, frame, exec, writable } = wanted;
          const expected = error === 0 ? { error, frame, exec } : { error };
          walk(va, access, true, where);
          expect(reached()).toEqual(expected);
          // Setting accessed and dirty bits changes no answer.
          walk(va, access | AccessBit.write, false, where);
          walk(va, access, false, where);
          expect(reached()).toEqual(expected);
          expect(error === 0 && mmu.walker.result.write && !writable).toBe(false);
        },
      ),
      { numRuns: 1500 },
    );
  });
});
