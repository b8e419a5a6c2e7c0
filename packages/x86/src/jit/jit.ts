/**
 * Finds hot code by samples and compiles it, many regions to a module.
 *
 * Samples are taken at counts of instructions, so where they fall does not depend
 * on the host. What is compiled, and when, changes no result: regions count,
 * fault and stop exactly as the interpreter does.
 */
import type { CodeMode } from '@paravane/engine-api';
import { type Mmu, TlbField, tlbEntryOffset } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { CodeCache } from '../code-cache.js';
import { decode } from '../decode.js';
import { type RegionPlaces, regionModule } from './compile-region.js';
import {
  findRegion,
  isIndirectJump,
  isLoop,
  isWorthwhile,
  MAX_TARGETS,
  type Region,
  type RegionSource,
} from './region.js';

/** Interpreted instructions between two samples. */
export const SAMPLE_INTERVAL = 12_000;
/** Instructions that a report of a block as hot stands for: it was entered `HOT_ENTRIES` times. */
const HOT_WEIGHT = 50_000;
/**
 * Interpreted instructions for each instruction of a region after which it is compiled: about as many as the host's
 * optimizing compiler could have been paid with, which takes nearly all of the time.
 */
const COMPILE_AFTER = 4_000;
/** Looks at a block's region that was not worth it yet are so much further apart at most. */
const GROWTH = 2;
/** Regions in a module; fewer when this many samples have passed since the first was queued. */
const BATCH = 32;
const PATIENCE = 80;
/** Regions that may live at once; then all are dropped, and hot code is found anew. Bounds modules and memory. */
const MAX_REGIONS = 4000;

interface Queued {
  uop: number;
  mfn: Mfn;
  region: Region;
  /** `CodeCache.generation` of the region's neighbour when its code was read. */
  generation: number;
}

/** Where in a page the interpreter was seen, while its code is the same. */
interface Seen {
  generation: number;
  /** Interpreted instructions by page offset of a block, since code there was compiled last. */
  weights: Map<number, number>;
  /** Weight of a block at which to look at its region again. */
  looks: Map<number, number>;
  /** Where indirect jumps led, by their page offset; from the start of the page. */
  jumps: Map<number, Set<number>>;
}

/** An indirect jump, or any other branch by which compiled code was left, and where it led from the start of its page. */
export interface Jump {
  mfn: Mfn;
  offset: number;
  target: number;
}

/** Frame of the page before or behind one, where the TLB has it for fetches under `tag`; else null. */
export function frameBeside({ tlb, machine }: Mmu, tag: number, page: bigint, side: -1 | 1): Mfn | null {
  const beside = page + BigInt(4096 * side);
  const [lo, hi] = [Number(BigInt.asIntN(32, beside)), Number(BigInt.asIntN(32, beside >> 32n))];
  const word = (tlb.base + tlbEntryOffset(lo, hi, tag) + TlbField.execTag) >> 2;
  if (machine.i32[word] !== (lo | tag) || machine.i32[word + 1] !== hi) return null;
  const addend = machine.i32[(tlb.base + tlbEntryOffset(lo, hi, tag) + TlbField.execAddend) >> 2]!;
  return ((((addend + lo) >>> 0) - machine.frameBase) / 4096) as Mfn;
}

export interface JitOptions {
  /** Compiled regions that may live at once; when there are more, all are dropped. */
  maxRegions?: number;
  /** Interpreted instructions for each instruction of a region after which it is compiled. */
  compileAfter?: number;
}

export interface Jit {
  /**
   * The next block to run begins at `uop`, on this frame; the sample stands for so many interpreted instructions, or for
   * a block that was entered often where that is 0. `beside` tells of the pages next to it, `jump` where the block was
   * entered from, if that is near.
   */
  sample(
    uop: number,
    mfn: Mfn,
    mode: CodeMode,
    interpreted: number,
    beside: RegionSource['beside'],
    jump: Jump | null,
  ): void;
  stats(): Record<string, number>;
}

export function createJit(
  mmu: Mmu,
  cache: CodeCache,
  areas: Omit<RegionPlaces, 'tlbBase'>,
  table: WebAssembly.Table,
  firstSlot: number,
  routines: Record<string, WebAssembly.ExportValue>,
  { maxRegions = MAX_REGIONS, compileAfter = COMPILE_AFTER }: JitOptions,
): Jit {
  const { machine } = mmu;
  const places = { ...areas, tlbBase: mmu.tlb.base };
  const seen = { 64: new Map<Mfn, Seen>(), 32: new Map<Mfn, Seen>() };
  const code = { bytes: machine.u8, place: (mfn: Mfn): number => machine.frameBase + mfn * 4096 };
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

  const besideGeneration = ({ neighbour, mode }: Region): number =>
    neighbour ? cache.generation(neighbour.mfn, mode) : 0;

  const seenIn = (mfn: Mfn, mode: CodeMode): Seen => {
    const generation = cache.generation(mfn, mode);
    const known = seen[mode].get(mfn);
    if (known?.generation === generation) return known;
    const fresh = { generation, weights: new Map(), looks: new Map(), jumps: new Map() };
    seen[mode].set(mfn, fresh);
    return fresh;
  };

  /** Calls `visit` with the places of a region's instructions: frame and page offset of the first byte. */
  function visitCode(
    mfn: Mfn,
    { blocks, neighbour }: Region,
    visit: (at: Mfn, offset: number, length: number) => void,
  ) {
    for (const { instructions } of blocks.values()) {
      for (const { insn, offset } of instructions) {
        visit(offset >= 0 && offset < 4096 ? mfn : neighbour!.mfn, offset & 4095, insn.length);
      }
    }
  }
  /** Notes where an indirect jump led. */
  function learn({ mfn, offset, target }: Jump, mode: CodeMode): void {
    const at = code.place(mfn) + offset;
    const insn = decode(code.bytes, at, code.place(mfn) + 4096, mode);
    if (insn === null || typeof insn === 'string' || !isIndirectJump(insn)) return;
    const { jumps } = seenIn(mfn, mode);
    const targets = jumps.get(offset) ?? new Set();
    jumps.set(offset, targets);
    if (targets.size < MAX_TARGETS) targets.add(target);
  }
  /** Interpreted instructions that the region would have done. */
  function weightOf(mfn: Mfn, region: Region): number {
    let sum = 0;
    visitCode(mfn, region, (at, offset) => {
      sum += seenIn(at, region.mode).weights.get(offset) ?? 0;
    });
    return sum;
  }

  function flush(): void {
    // Code that changed while it waited is not what was decoded: those blocks are gone.
    const batch = queue.filter(
      ({ uop, mfn, region, generation }) =>
        cache.isPlain(uop, mfn, region.mode) && generation === besideGeneration(region),
    );
    queue = [];
    if (batch.length === 0) return;
    const bytes = regionModule(
      batch.map(({ region }) => ({
        region,
        besideDescriptor: region.neighbour ? cache.descriptor(region.neighbour.mfn, region.mode) : 0,
      })),
      places,
      machine.shared,
    );
    for (const { region } of batch) instructions += region.instructions;
    bytesOut += bytes.length;
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
      env: { memory: machine.memory, table, ...routines },
    });
    modules++;
    batch.forEach(({ uop, mfn, region }, i) => {
      if (nextSlot >= table.length) table.grow(1024);
      table.set(nextSlot, instance.exports[`r${i}`] as never);
      cache.setRegion(uop, mfn, region.mode, nextSlot++, region.neighbour?.mfn ?? null);
      patched.push(uop);
      regions++;
    });
  }

  /** Puts a region into the queue, and marks its code. */
  function take(uop: number, mfn: Mfn, region: Region): void {
    const { neighbour, mode } = region;
    visitCode(mfn, region, (at, offset, length) => {
      const { weights, looks } = seenIn(at, mode);
      weights.delete(offset);
      looks.delete(offset);
      // Also of code that has not been run: the region goes when any of its bytes change.
      const here = Math.min(length, 4096 - offset);
      cache.mark(at, offset, here);
      if (here < length) cache.mark(at === mfn && neighbour?.side === 1 ? neighbour.mfn : mfn, 0, length - here);
    });
    if (queue.length === 0) waited = 0;
    queue.push({ uop, mfn, region, generation: besideGeneration(region) });
    if (queue.length >= BATCH) flush();
  }

  /** Forgets all regions. Their modules go with the last slot that names one of their functions. */
  function evict(blocksLive: boolean): void {
    if (blocksLive) for (const uop of patched) cache.clearRegion(uop);
    for (let slot = firstSlot; slot < nextSlot; slot++) table.set(slot, null);
    patched = [];
    seen[64].clear();
    seen[32].clear();
    queue = [];
    nextSlot = firstSlot;
    evictions++;
  }

  return {
    sample(uop, mfn, mode, interpreted, beside, jump) {
      const hot = interpreted === 0;
      if (jump) learn(jump, mode);
      if (cache.resets !== resets) {
        resets = cache.resets;
        evict(false);
      } else if (nextSlot + BATCH > firstSlot + maxRegions) evict(true);
      if (queue.length > 0 && ++waited > PATIENCE) flush();
      if (!cache.isPlain(uop, mfn, mode)) return;
      const offset = cache.offsetOf(uop);
      const { weights, looks } = seenIn(mfn, mode);
      const weight = (weights.get(offset) ?? 0) + (hot ? HOT_WEIGHT : interpreted);
      weights.set(offset, weight);
      if (weight < (looks.get(offset) ?? 0) || queue.some((queued) => queued.uop === uop)) return;
      const region = findRegion(
        {
          ...code,
          mfn,
          mode,
          beside,
          hasRun: (of, at) => cache.hasBlock(of, at, mode),
          targets: (of, at) => seenIn(of, mode).jumps.get(at) ?? [],
        },
        offset,
      );
      if (!region || !isWorthwhile(region) || (!hot && !isLoop(region))) {
        looks.set(offset, weight * GROWTH);
        return;
      }
      const missing = (region.instructions * compileAfter) / weightOf(mfn, region);
      if (missing > 1) {
        looks.set(offset, weight * Math.min(GROWTH, missing));
        return;
      }
      take(uop, mfn, region);
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
