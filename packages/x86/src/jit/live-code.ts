/**
 * Which compiled code lives: modules of regions, the slots of the table that name
 * their functions, and who goes when there are too many.
 *
 * A module lives as a whole, as long as a slot names one of its functions, so it
 * is also dropped as a whole. Compiled code does not count how often it is entered.
 * So when three quarters of what may live do, all of it is laid to rest: its blocks
 * are interpreted again, and what becomes hot then is put back as it was, without
 * being compiled. When there is no room left, what still rests goes.
 *
 * All of that follows samples, so it happens at counts of instructions.
 */
import type { CodeMode } from '@paravane/engine-api';
import type { Mfn } from '@paravane/types';
import type { CodeCache } from '../code-cache.js';

/** What may live at once. */
export interface LiveCodeLimits {
  regions: number;
  modules: number;
  /** Bytes of WebAssembly, from which the host makes about as much machine code. */
  bytes: number;
}

/** Where a region is entered, and what it was made from. */
export interface RegionEntry {
  uop: number;
  mfn: Mfn;
  /** In the page. */
  offset: number;
  mode: CodeMode;
  /** Frame of the page beside that the region has code in, or null, and `CodeCache.generation` of that code. */
  beside: Mfn | null;
  generation: number;
}

/** A region's function, and the descriptor of the page beside its own where it has code in one. */
export interface RegionCode {
  run: WebAssembly.ExportValue;
  beside?: WebAssembly.Global | undefined;
}

interface LiveRegion extends RegionEntry {
  slot: number;
}
/** A module that was taken in; it has no code once it is dropped. */
export interface LiveModule {
  readonly bytes: number;
  readonly size: number;
  code: readonly RegionCode[];
  /** Where its regions are, by number. */
  readonly regions: Map<number, LiveRegion>;
}

/** What of the code cache decides where compiled code stands. */
export type RegionPlacement = Pick<CodeCache, 'setRegion' | 'clearRegion' | 'regionOf' | 'generation' | 'descriptor'>;

/** Parts of what may live: when all is laid to rest, and to what is dropped where that was not enough. */
const ALMOST_FULL = 0.75;
const HALF_FULL = 0.5;
const NOTHING: LiveCodeLimits = { regions: 0, modules: 0, bytes: 0 };

const keyOf = ({ mfn, offset, mode }: Pick<RegionEntry, 'mfn' | 'offset' | 'mode'>): number =>
  (mfn * 4096 + offset) * 2 + (mode === 64 ? 1 : 0);

export class LiveCode {
  /** In the order in which they were compiled or put back. */
  private readonly modules = new Set<LiveModule>();
  /** By where their regions are entered. */
  private readonly resting = new Map<number, LiveModule>();
  private readonly free: number[] = [];
  private nextSlot: number;
  private alive = NOTHING;
  /** All that is older has been laid to rest since some was dropped. */
  private asked = false;
  private rounds = 0;
  private dropped = 0;

  /** @param firstSlot from which on slots of the table are for regions; the table grows as needed. */
  constructor(
    private readonly cache: RegionPlacement,
    private readonly table: WebAssembly.Table,
    firstSlot: number,
    private readonly limits: LiveCodeLimits,
  ) {
    this.nextSlot = firstSlot;
  }

  /** Takes in a module of `bytes`. Others go where there is no room for it. */
  add(code: readonly RegionCode[], bytes: number): LiveModule {
    const more = { regions: code.length, modules: 1, bytes };
    if (!this.fits(more, 1)) this.evict(more);
    else if (!this.asked && !this.fits(more, ALMOST_FULL)) this.layToRest();
    const module: LiveModule = { bytes, size: code.length, code, regions: new Map() };
    this.modules.add(module);
    this.count(module, 1);
    return module;
  }

  /** Lets region `i` of a module stand for a block; false where it stands for another one, or the module was dropped. */
  place(module: LiveModule, i: number, region: RegionEntry): boolean {
    const code = module.code[i];
    if (code === undefined) return false;
    const before = module.regions.get(i);
    if (before !== undefined) {
      if (this.isPlaced(before) || this.resting.get(keyOf(before)) === module) return false;
      this.free.push(before.slot);
    }
    const slot = this.free.pop() ?? this.nextSlot++;
    if (slot >= this.table.length) this.table.grow(1024);
    this.table.set(slot, code.run as never);
    const { uop, mfn, mode, beside } = region;
    if (code.beside && beside !== null) code.beside.value = this.cache.descriptor(beside, mode);
    this.cache.setRegion(uop, mfn, mode, slot, beside);
    module.regions.set(i, { ...region, slot });
    return true;
  }

  /** Code there is hot. If a region that is entered there rests, its module is put back; whether one was. */
  wake(mfn: Mfn, offset: number, mode: CodeMode): boolean {
    const module = this.resting.get(keyOf({ mfn, offset, mode }));
    if (module === undefined) return false;
    this.stir(module);
    for (const { uop, slot, mfn, mode, beside, generation } of module.regions.values()) {
      const isSame = beside === null || this.cache.generation(beside, mode) === generation;
      if (isSame && this.cache.regionOf(uop, mfn, mode) === 0) this.cache.setRegion(uop, mfn, mode, slot, beside);
    }
    this.modules.delete(module);
    this.modules.add(module);
    return true;
  }

  /** Forgets everything; the code cache has dropped all blocks. */
  clear(): void {
    for (const module of this.modules) this.drop(module);
    this.rounds++;
    this.asked = false;
  }

  stats(): Record<string, number> {
    const { modules, regions, bytes } = this.alive;
    return {
      liveModules: modules,
      liveRegions: regions,
      liveBytes: bytes,
      regionEvictions: this.rounds,
      droppedRegions: this.dropped,
    };
  }

  private fits(more: LiveCodeLimits, part: number): boolean {
    const { alive, limits } = this;
    return (['regions', 'modules', 'bytes'] as const).every((of) => alive[of] + more[of] <= limits[of] * part);
  }
  private count({ size, bytes }: LiveModule, sign: 1 | -1): void {
    const { alive } = this;
    this.alive = {
      regions: alive.regions + sign * size,
      modules: alive.modules + sign,
      bytes: alive.bytes + sign * bytes,
    };
  }

  /** Makes room: what rests or has changed goes, and the oldest if that is not enough. */
  private evict(more: LiveCodeLimits): void {
    this.rounds++;
    this.asked = false;
    for (const module of this.modules) {
      if (![...module.regions.values()].some((region) => this.isPlaced(region))) this.drop(module);
    }
    if (this.fits(NOTHING, ALMOST_FULL) && this.fits(more, 1)) return;
    for (const module of this.modules) {
      if (this.fits(NOTHING, HALF_FULL) && this.fits(more, 1)) return;
      this.drop(module);
    }
  }
  private layToRest(): void {
    this.asked = true;
    for (const module of this.modules) {
      for (const region of module.regions.values()) {
        if (!this.isPlaced(region)) continue;
        this.cache.clearRegion(region.uop);
        this.resting.set(keyOf(region), module);
      }
    }
  }
  /** None of the module's regions rests from now on. */
  private stir(module: LiveModule): void {
    for (const region of module.regions.values()) {
      const key = keyOf(region);
      if (this.resting.get(key) === module) this.resting.delete(key);
    }
  }
  private isPlaced({ uop, mfn, mode, slot }: LiveRegion): boolean {
    return this.cache.regionOf(uop, mfn, mode) === slot;
  }
  /** The host's module goes with the last slot that names one of its functions. */
  private drop(module: LiveModule): void {
    this.stir(module);
    for (const { uop, mfn, mode, slot } of module.regions.values()) {
      // Not where the block has another region by now.
      const at = this.cache.regionOf(uop, mfn, mode);
      if (at === null || at === slot) this.cache.clearRegion(uop);
      this.table.set(slot, null);
      this.free.push(slot);
    }
    module.code = [];
    module.regions.clear();
    this.modules.delete(module);
    this.count(module, -1);
    this.dropped += module.size;
  }
}
