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
import { exportsOf, type RegionPlaces, regionModule } from './compile-region.js';
import { LiveCode, type LiveCodeLimits, type RegionCode, type RegionEntry } from './live-code.js';
import {
  findRegion,
  isIndirectJump,
  isInPage,
  isLoop,
  isWorthwhile,
  MAX_TARGETS,
  type Region,
  type RegionSource,
} from './region.js';
import { type CodePiece, type StoredModule, storedLength } from './stored-code.js';
import { WarmCode } from './warm-code.js';

/** Interpreted instructions between two samples. */
export const SAMPLE_INTERVAL = 12_000;
/** Instructions that a report of a block as hot stands for: it was entered `HOT_ENTRIES` times. */
const HOT_WEIGHT = 50_000;
/**
 * Interpreted instructions for each instruction of a region after which it is compiled: about as many as making and
 * compiling WebAssembly of it could have been paid with (docs/performance.md, "When to compile").
 */
const COMPILE_AFTER = 16_000;
/** Looks at a block's region that was not worth it yet are so much further apart at most. */
const GROWTH = 2;
/** Regions in a module; fewer when this many samples have passed since the first was queued. */
const BATCH = 32;
const PATIENCE = 80;
/**
 * What may live at once of one engine. A boot of Debian's kernel makes 54 modules of 491 regions and 1.6 MB. Node 20 has
 * been seen to end with some 30,000 modules alive, those of all guests of a process.
 */
const LIMITS: LiveCodeLimits = { regions: 4000, modules: 1000, bytes: 16 << 20 };
/** Part of the bytes that may live that is kept for later runs at most. */
const KEPT = 0.5;

interface Queued extends RegionEntry {
  region: Region;
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
  /** Bounds of the compiled code that lives at once, where they are not the usual ones. */
  limits?: Partial<LiveCodeLimits>;
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
  /** What is worth keeping for later runs; null where that is what was given, or nothing was to be kept. */
  stored(): StoredModule[] | null;
}

export function createJit(
  mmu: Mmu,
  cache: CodeCache,
  areas: Omit<RegionPlaces, 'tlbBase'>,
  table: WebAssembly.Table,
  firstSlot: number,
  routines: Record<string, WebAssembly.ExportValue>,
  { limits, compileAfter = COMPILE_AFTER }: JitOptions,
  /** Compiled code of earlier runs; null where none is kept. */
  kept: readonly StoredModule[] | null,
): Jit {
  const { machine } = mmu;
  const places = { ...areas, tlbBase: mmu.tlb.base };
  const seen = { 64: new Map<Mfn, Seen>(), 32: new Map<Mfn, Seen>() };
  const code = { bytes: machine.u8, place: (mfn: Mfn): number => machine.frameBase + mfn * 4096 };
  const bounds = { ...LIMITS, ...limits };
  const live = new LiveCode(cache, table, firstSlot, bounds);
  let queue: Queued[] = [];
  let waited = 0;
  let resets = cache.resets;
  let modules = 0;
  let regions = 0;
  let instructions = 0;
  let bytesOut = 0;
  const made: StoredModule[] = [];
  /** Bytes of `made` that may still be kept. */
  let roomToKeep = KEPT * bounds.bytes;

  const hostCompile = (bytes: Uint8Array, regions: number): RegionCode[] => {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), {
      env: { memory: machine.memory, table, ...routines },
    });
    return Array.from({ length: regions }, (_, i) => exportsOf(exports, i));
  };
  const warm = kept && new WarmCode(kept, code, cache, live, hostCompile);

  const generationOf = (mfn: Mfn | null, mode: CodeMode): number => (mfn === null ? 0 : cache.generation(mfn, mode));

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
        visit(isInPage(offset) ? mfn : neighbour!.mfn, offset & 4095, insn.length);
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
      ({ uop, mfn, mode, beside, generation }) =>
        cache.regionOf(uop, mfn, mode) === 0 && generation === generationOf(beside, mode),
    );
    queue = [];
    if (batch.length === 0) return;
    const bytes = regionModule(
      batch.map(({ region }) => region),
      places,
      machine.shared,
    );
    for (const { region } of batch) instructions += region.instructions;
    bytesOut += bytes.length;
    modules++;
    regions += batch.length;
    const module = live.add(hostCompile(bytes, batch.length), bytes.length);
    // Without what they were compiled from, which need not live.
    for (const [i, { uop, mfn, offset, mode, beside, generation }] of batch.entries()) {
      live.place(module, i, { uop, mfn, offset, mode, beside, generation });
    }
    if (warm !== null && roomToKeep > 0) {
      const regions = batch.map(({ mfn, offset, mode, region }) => ({
        entry: offset,
        mode,
        side: region.neighbour?.side ?? (0 as const),
        pieces: piecesOf(mfn, region),
      }));
      const stored = { bytes, regions };
      roomToKeep -= storedLength(stored);
      if (roomToKeep >= 0) made.push(stored);
    }
  }
  /** The code that a region was made from. */
  function piecesOf(mfn: Mfn, { blocks, neighbour }: Region): CodePiece[] {
    const isCode = new Uint8Array(3 * 4096);
    for (const { instructions } of blocks.values()) {
      for (const { insn, offset } of instructions) isCode.fill(1, offset + 4096, offset + 4096 + insn.length);
    }
    const pieces: CodePiece[] = [];
    for (let from = isCode.indexOf(1); from >= 0; ) {
      const page = from & ~4095;
      let to = from;
      while (to < page + 4096 && isCode[to] === 1) to++;
      const offset = from - 4096;
      const at = code.place(isInPage(offset) ? mfn : neighbour!.mfn) + (offset & 4095);
      pieces.push({ offset, bytes: code.bytes.slice(at, at + to - from) });
      from = isCode.indexOf(1, to);
    }
    return pieces;
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
    const beside = neighbour?.mfn ?? null;
    queue.push({ uop, mfn, offset: region.entry, mode, beside, generation: generationOf(beside, mode), region });
    if (queue.length >= BATCH) flush();
  }

  /** All blocks were dropped. */
  function forget(): void {
    live.clear();
    seen[64].clear();
    seen[32].clear();
    queue = [];
  }

  return {
    sample(uop, mfn, mode, interpreted, beside, jump) {
      const hot = interpreted === 0;
      if (jump) learn(jump, mode);
      if (cache.resets !== resets) {
        resets = cache.resets;
        forget();
      }
      const offset = cache.offsetOf(uop);
      live.wake(mfn, offset, mode);
      if (queue.length > 0 && ++waited > PATIENCE) flush();
      if (cache.regionOf(uop, mfn, mode) !== 0 || warm?.place(uop, mfn, offset, mode, beside)) return;
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
      // It may have been compiled already, from another of its blocks on.
      for (const at of region.blocks.keys()) if (isInPage(at) && live.wake(mfn, at, mode)) return;
      take(uop, mfn, region);
    },
    stats: () => ({
      compiledModules: modules,
      compiledRegions: regions,
      compiledInstructions: instructions,
      compiledBytes: bytesOut,
      ...(warm === null ? {} : { warmRegions: warm.regions }),
      ...live.stats(),
    }),
    stored() {
      if (warm === null || made.length === 0) return null;
      let room = KEPT * bounds.bytes;
      return [...warm.storedModules(true), ...made, ...warm.storedModules(false)].filter(
        (module) => (room -= storedLength(module)) >= 0,
      );
    },
  };
}
