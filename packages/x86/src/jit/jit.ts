/**
 * Finds hot code by samples and compiles it, many regions to a module.
 *
 * Samples are taken at counts of instructions, so where they fall does not depend
 * on the host. What is compiled, and when, changes no result: regions count,
 * fault and stop exactly as the interpreter does.
 */
import type { CodeMode } from '@paravane/engine-api';
import type { Mmu } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { CodeCache } from '../code-cache.js';
import { type RegionPlaces, regionModule } from './compile-region.js';
import { findRegion, isLoop, isWorthwhile, type Region } from './region.js';

/** Interpreted instructions between two samples. */
export const SAMPLE_INTERVAL = 12_000;
/** Samples that make the head of a loop hot. What is often called is told of without samples. */
const HOT_SAMPLES = 3;
/** Regions in a module; fewer when this many samples have passed since the first was queued. */
const BATCH = 32;
const PATIENCE = 80;
/** Regions that may live at once; then all are dropped, and hot code is found anew. Bounds modules and memory. */
const MAX_REGIONS = 4000;

interface Queued {
  uop: number;
  mfn: Mfn;
  region: Region;
}

export interface Jit {
  /** The next block to run begins at `uop`, on this frame. `hot` where it is known to be entered often. */
  sample(uop: number, mfn: Mfn, mode: CodeMode, hot: boolean): void;
  stats(): Record<string, number>;
}

export function createJit(
  mmu: Mmu,
  cache: CodeCache,
  areas: Omit<RegionPlaces, 'tlbBase'>,
  table: WebAssembly.Table,
  firstSlot: number,
  routines: Record<string, WebAssembly.ExportValue>,
  maxRegions = MAX_REGIONS,
): Jit {
  const { machine } = mmu;
  const places = { ...areas, tlbBase: mmu.tlb.base };
  const samples = new Map<number, number>();
  let queue: Queued[] = [];
  let waited = 0;
  let nextSlot = firstSlot;
  /** Micro-operations that regions stand for, by slot from `firstSlot`. */
  let patched: number[] = [];
  let evictions = 0;
  let resets = cache.resets;
  let modules = 0;
  let regions = 0;
  let instructions = 0;
  let bytesOut = 0;

  function flush(): void {
    // Code that changed while it waited is not what was decoded: those blocks are gone.
    const batch = queue.filter(({ uop, mfn, region }) => cache.isPlain(uop, mfn, region.mode));
    queue = [];
    if (batch.length === 0) return;
    const bytes = regionModule(
      batch.map(({ region }) => region),
      places,
      machine.shared,
    );
    for (const { region } of batch) instructions += region.instructions;
    bytesOut += bytes.length;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: machine.memory, table, ...routines },
    });
    modules++;
    batch.forEach(({ uop }, i) => {
      if (nextSlot >= table.length) table.grow(1024);
      table.set(nextSlot, instance.exports[`r${i}`] as never);
      cache.setRegion(uop, nextSlot++);
      patched.push(uop);
      regions++;
    });
  }

  /** Forgets all regions. Their modules go with the last slot that names one of their functions. */
  function evict(blocksLive: boolean): void {
    if (blocksLive) for (const uop of patched) cache.clearRegion(uop);
    for (let slot = firstSlot; slot < nextSlot; slot++) table.set(slot, null);
    patched = [];
    samples.clear();
    queue = [];
    nextSlot = firstSlot;
    evictions++;
  }

  return {
    sample(uop, mfn, mode, hot) {
      if (cache.resets !== resets) {
        resets = cache.resets;
        evict(false);
      } else if (nextSlot + BATCH > firstSlot + maxRegions) evict(true);
      if (queue.length > 0 && ++waited > PATIENCE) flush();
      if (!cache.isPlain(uop, mfn, mode)) return;
      const count = (samples.get(uop) ?? 0) + 1;
      samples.set(uop, count);
      if (!hot && count % HOT_SAMPLES !== 0) return;
      if (queue.some((queued) => queued.uop === uop)) return;
      const region = findRegion(machine.u8, machine.frameBase + mfn * 4096, cache.offsetOf(uop), mode, (offset) =>
        cache.hasBlock(mfn, offset, mode),
      );
      if (!region || !isWorthwhile(region)) return;
      if (!hot && !isLoop(region)) return;
      // Also of code that has not been run: the region goes when any of its bytes change.
      for (const { instructions } of region.blocks.values()) {
        for (const { offset, insn } of instructions) cache.mark(mfn, offset, insn.length);
      }
      if (queue.length === 0) waited = 0;
      queue.push({ uop, mfn, region });
      if (queue.length >= BATCH) flush();
    },
    stats: () => ({
      compiledModules: modules,
      compiledRegions: regions,
      compiledInstructions: instructions,
      compiledBytes: bytesOut,
      regionEvictions: evictions,
    }),
  };
}
