import type { Mfn } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, state } from '../testing/jit-core.js';
import { LiveCode, type RegionEntry, type RegionPlacement } from './live-code.js';

const FIRST = 10;
const KIB = 1024;
// (module (func (export "f")))
const HEAD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0];
const BODY = [10, 4, 1, 2, 0, 11];
const aFunction = (): WebAssembly.ExportValue =>
  new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.of(...HEAD, ...BODY))).exports.f!;

/** Blocks are numbers: slot of the region that stands for each; code that changed is not in it. */
function createBlocks() {
  const slots = new Map<number, number>();
  const generations = new Map<number, number>();
  const placement: RegionPlacement = {
    setRegion: (uop, _mfn, _mode, slot) => void slots.set(uop, slot),
    clearRegion: (uop) => void (slots.has(uop) && slots.set(uop, 0)),
    regionOf: (uop) => slots.get(uop) ?? null,
    generation: (mfn) => generations.get(mfn) ?? 0,
    descriptor: () => 0,
  };
  return { slots, generations, placement };
}

const entryAt = (uop: number, beside: Mfn | null = null): RegionEntry => ({
  uop,
  mfn: 1 as Mfn,
  offset: uop,
  mode: 64,
  beside,
  generation: 0,
});

function createLive(limits: { regions?: number; modules?: number; bytes?: number }) {
  const blocks = createBlocks();
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: FIRST });
  const all = { regions: 1000, modules: 1000, bytes: 1000 * KIB, ...limits };
  const live = new LiveCode(blocks.placement, table, FIRST, all);
  const code = aFunction();
  /** Compiles blocks into a module of a KiB for each. */
  const compile = (uops: readonly number[], beside: Mfn | null = null): void => {
    for (const uop of uops) blocks.slots.set(uop, 0);
    const module = live.add(
      uops.map(() => ({ run: code })),
      uops.length * KIB,
    );
    for (const [i, uop] of uops.entries()) live.place(module, i, entryAt(uop, beside));
  };
  const compiled = (): number[] =>
    [...blocks.slots.keys()].filter((uop) => blocks.slots.get(uop) !== 0).sort((a, b) => a - b);
  const wake = (uop: number): boolean => live.wake(1 as Mfn, uop, 64);
  /** Slots that name a function. */
  const named = (): number[] => Array.from(Array(table.length).keys()).filter((slot) => table.get(slot) !== null);
  return { ...blocks, live, table, compile, compiled, wake, named };
}
describe('of compiled code', () => {
  it('all rests when there is little room left, what is hot comes back, and the rest goes when there is none', () => {
    const { live, compile, compiled, wake } = createLive({ modules: 8 });
    for (let uop = 0; uop < 8; uop++) compile([uop]);
    expect(compiled()).toEqual([6, 7]);
    expect(live.stats()).toMatchObject({ liveModules: 8, liveRegions: 8, liveBytes: 8 * KIB, droppedRegions: 0 });
    for (const uop of [1, 4]) wake(uop);
    expect(compiled()).toEqual([1, 4, 6, 7]);
    compile([8]);
    expect(compiled()).toEqual([1, 4, 6, 7, 8]);
    expect(live.stats()).toMatchObject({ liveModules: 5, liveRegions: 5, liveBytes: 5 * KIB, droppedRegions: 4 });
    expect(wake(0)).toBe(false);
  });

  it('what was seen in use last stays where all is in use', () => {
    const { compile, compiled, wake } = createLive({ modules: 8 });
    for (let uop = 0; uop < 8; uop++) compile([uop]);
    for (const uop of [5, 4, 3, 2, 1, 0]) wake(uop);
    compile([8]);
    expect(compiled()).toEqual([0, 1, 2, 3, 8]);
  });

  it('what is used whenever it is asked stays for ever, by any of its regions', () => {
    const { compile, compiled, wake } = createLive({ regions: 20 });
    compile([1, 2, 3]);
    for (let uop = 10; uop < 500; uop++) {
      compile([uop]);
      wake(2);
      expect(compiled()).toEqual(expect.arrayContaining([1, 2, 3]));
    }
  });

  it('bytes are bounded as regions and modules are', () => {
    const { live, compile } = createLive({ bytes: 10 * KIB });
    for (let uop = 0; uop < 100; uop += 4) {
      compile([uop, uop + 1, uop + 2, uop + 3]);
      expect(live.stats().liveBytes).toBeLessThanOrEqual(10 * KIB);
    }
    compile(Array.from({ length: 10 }, (_, i) => i));
    expect(live.stats()).toMatchObject({ liveModules: 1, liveRegions: 10, liveBytes: 10 * KIB });
  });

  it('what can no longer be entered goes first, and lets the rest live', () => {
    const { live, slots, compile, compiled, wake } = createLive({ modules: 8 });
    for (let uop = 0; uop < 8; uop++) compile([uop]);
    for (let uop = 0; uop < 8; uop++) wake(uop);
    for (let uop = 3; uop < 8; uop++) slots.delete(uop);
    compile([8]);
    expect(live.stats()).toMatchObject({ liveModules: 4, droppedRegions: 5 });
    expect(compiled()).toEqual([0, 1, 2, 8]);
  });

  it('what rests does not come back when code beside it has changed, nor over what has changed itself', () => {
    const { slots, generations, compile, compiled, wake } = createLive({ modules: 8 });
    compile([0, 1], 7 as Mfn);
    for (let uop = 2; uop < 14; uop += 2) compile([uop, uop + 1]);
    expect(compiled()).toEqual([12, 13]);
    generations.set(7, 1);
    slots.delete(2);
    for (const uop of [1, 2]) expect(wake(uop)).toBe(true);
    expect(compiled()).toEqual([3, 12, 13]);
  });

  it('a region stands for one block at a time, and takes no other slot for the next', () => {
    const { live, slots, named } = createLive({ modules: 8 });
    const module = live.add([{ run: aFunction() }], KIB);
    for (const uop of [1, 2, 3]) slots.set(uop, 0);
    expect(live.place(module, 0, entryAt(1))).toBe(true);
    expect(live.place(module, 0, entryAt(2))).toBe(false);
    slots.delete(1);
    expect(live.place(module, 0, entryAt(2))).toBe(true);
    expect(named()).toEqual([FIRST]);
    live.clear();
    expect(live.place(module, 0, entryAt(3))).toBe(false);
    expect(named()).toEqual([]);
  });

  it('slots are used again, each by one region, and no more modules, regions or bytes live than may', () => {
    fc.assert(
      fc.property(
        fc.record({ regions: fc.integer({ min: 4, max: 30 }), modules: fc.integer({ min: 1, max: 12 }) }),
        fc.array(
          fc.oneof(
            { weight: 6, arbitrary: fc.record({ compile: fc.integer({ min: 1, max: 4 }) }) },
            { weight: 4, arbitrary: fc.record({ hot: fc.nat(40) }) },
            { weight: 3, arbitrary: fc.record({ change: fc.nat(40) }) },
            { weight: 1, arbitrary: fc.constant({ reset: true }) },
          ),
          { maxLength: 120 },
        ),
        (limits, steps) => {
          const { live, table, slots, compile, wake, named } = createLive({ ...limits, bytes: 25 * KIB });
          let next = 100;
          for (const step of steps) {
            if ('compile' in step) {
              compile(Array.from({ length: step.compile }, (_, i) => next + i));
              next += step.compile;
            } else if ('hot' in step) wake(next - step.hot);
            else if ('change' in step) slots.delete(next - step.change);
            else {
              slots.clear();
              live.clear();
            }
            const { liveModules, liveRegions, liveBytes } = live.stats();
            expect(liveModules).toBeLessThanOrEqual(limits.modules);
            expect(liveRegions).toBeLessThanOrEqual(limits.regions);
            expect(liveBytes).toBeLessThanOrEqual(25 * KIB);
            expect(table.length).toBeLessThanOrEqual(FIRST + 1024);
            const filled = named();
            expect(filled.length).toBe(liveRegions);
            expect(Math.max(...filled, 0)).toBeLessThan(FIRST + limits.regions);
            const placed = [...slots.values()].filter((slot) => slot !== 0);
            expect(new Set(placed).size).toBe(placed.length);
            expect(placed.filter((slot) => !filled.includes(slot))).toEqual([]);
          }
        },
      ),
      { numRuns: 60, seed: 3, endOnFailure: true },
    );
  });
});

describe('an engine that may keep few regions', () => {
  const PAGES = 15;
  const LOOPS = 4;
  /** Instructions after which a loop is compiled, entered or not. */
  const WARM_UP = 1_400_000;
  /** Loop `n` of a page; they differ in what they add. */
  const loop = (page: number, n: number): bigint => CODE + BigInt(page * 4096 + n * 64);
  const build = (jit: boolean) => {
    const core = createCore(jit, PAGES, { limits: { modules: 6 } });
    for (let page = 0; page < PAGES; page++) {
      for (let n = 0; n < LOOPS; n++) {
        const value = (page * LOOPS + n + 1).toString(16);
        const source = `again:\nadd rax, 0x${value}\nxor rcx, rax\nrol rcx, 3\nsub rdx, 1\njmp again`;
        core.mmu.write(core.codeFrames[page]!, n * 64, assembleProgram(source, loop(page, n)).bytes);
      }
    }
    return core;
  };

  it('compiles anew what was dropped and not what it goes on using, with the results of the interpreter', () => {
    const [compiled, plain] = [build(true), build(false)];
    const run = (page: number, n: number, budget = WARM_UP): void => {
      for (const { vcpu } of [compiled, plain]) {
        vcpu.rip = loop(page, n);
        expect(vcpu.run(budget).reason).toBe('budget');
      }
      expect(state(compiled.vcpu)).toEqual(state(plain.vcpu));
    };
    const stat = (name: string): number => compiled.engine.stats()[name] ?? 0;
    run(0, 0);
    for (let i = 1; i < 15; i++) {
      run(i % PAGES, i % LOOPS);
      run(0, 0, 200_000);
    }
    // One for each loop: the first was laid to rest now and then, and came back as it was.
    expect(stat('compiledRegions')).toBe(15);
    expect(stat('droppedRegions')).toBeGreaterThan(6);
    expect(stat('liveModules')).toBeLessThanOrEqual(6);
    // The second has not been used since, and went.
    run(1, 1);
    expect(stat('compiledRegions')).toBe(16);
  });
});
