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
import { ANY_MEMORY, ModuleBuilder } from '@paravane/wasm-emit';
import type { CodeCache } from '../code-cache.js';
import { conditionFunction, eflagsFunction } from '../flag-functions.js';
import { compileRegion } from './compile-region.js';
import { findRegion, hasLoop, type Region } from './region.js';

/** Instructions between two samples. */
export const SAMPLE_INTERVAL = 12_000;
/** Samples of a block that make it hot. */
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
  /** The next block to run begins at `uop`, on this frame. */
  sample(uop: number, mfn: Mfn, mode: CodeMode): void;
  stats(): Record<string, number>;
}

export function createJit(
  mmu: Mmu,
  cache: CodeCache,
  table: WebAssembly.Table,
  firstSlot: number,
  maxRegions = MAX_REGIONS,
): Jit {
  const { machine } = mmu;
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
    const module = new ModuleBuilder({ ...ANY_MEMORY, shared: machine.shared });
    const eflags = module.add(eflagsFunction());
    const functions = { eflags, condition: module.add(conditionFunction(eflags)) };
    batch.forEach(({ region }, i) => {
      module.add(compileRegion(region, mmu.tlb.base, functions), `r${i}`);
      instructions += region.instructions;
    });
    const bytes = module.encode();
    bytesOut += bytes.length;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: machine.memory } });
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
    sample(uop, mfn, mode) {
      if (cache.resets !== resets) {
        resets = cache.resets;
        evict(false);
      } else if (nextSlot + BATCH > firstSlot + maxRegions) evict(true);
      if (queue.length > 0 && ++waited > PATIENCE) flush();
      if (!cache.isPlain(uop, mfn, mode)) return;
      const count = (samples.get(uop) ?? 0) + 1;
      samples.set(uop, count);
      if (count !== HOT_SAMPLES) return;
      const region = findRegion(machine.u8, machine.frameBase + mfn * 4096, cache.offsetOf(uop), mode);
      // Entering and leaving a region costs more than the interpreter takes for a few instructions.
      if (!region || !hasLoop(region)) return;
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
