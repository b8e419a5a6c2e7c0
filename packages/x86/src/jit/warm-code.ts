/**
 * Compiled code of earlier runs. Where a block is seen in samples at whose page offset an earlier run had a region, and
 * all bytes that the region was made from are there again, the region stands for the block from then on.
 *
 * What a region does depends on those bytes alone, so nothing but them has to be the same. A module is compiled by the
 * host when the first of its regions is placed. Trusts that the modules came whole from an engine of the same build.
 */
import type { CodeMode } from '@paravane/engine-api';
import type { Mfn } from '@paravane/types';
import type { CodeCache } from '../code-cache.js';
import type { LiveCode, LiveModule, RegionCode } from './live-code.js';
import type { RegionSource } from './region.js';
import type { StoredModule, StoredRegion } from './stored-code.js';

interface WarmModule {
  stored: StoredModule;
  live: LiveModule | null;
  /** The host could not make a module of it. */
  unusable: boolean;
  used: boolean;
}
interface Candidate {
  module: WarmModule;
  number: number;
  region: StoredRegion;
}

const keyOf = (offset: number, mode: CodeMode): number => offset * 2 + (mode === 64 ? 1 : 0);

export class WarmCode {
  /** By page offset and mode of their entries. */
  private readonly candidates = new Map<number, Candidate[]>();
  private readonly modules: WarmModule[];
  private placed = 0;

  constructor(
    modules: readonly StoredModule[],
    private readonly code: Pick<RegionSource, 'bytes' | 'place'>,
    private readonly cache: CodeCache,
    private readonly live: LiveCode,
    /** Has the host compile a module of so many regions; may throw. */
    private readonly compile: (bytes: Uint8Array, regions: number) => RegionCode[],
  ) {
    this.modules = modules.map((stored) => ({ stored, live: null, unusable: false, used: false }));
    for (const module of this.modules) {
      for (const [number, region] of module.stored.regions.entries()) {
        const key = keyOf(region.entry, region.mode);
        const there = this.candidates.get(key);
        if (there) there.push({ module, number, region });
        else this.candidates.set(key, [{ module, number, region }]);
      }
    }
  }

  /** Regions that were put in place. */
  get regions(): number {
    return this.placed;
  }
  /** Those of which something was put in place, or the others. */
  storedModules(used: boolean): StoredModule[] {
    return this.modules.filter((module) => module.used === used && !module.unusable).map(({ stored }) => stored);
  }

  /** Lets a region stand for the block at `uop`, for which none stands yet; false where there is none for it. */
  place(uop: number, mfn: Mfn, offset: number, mode: CodeMode, beside: RegionSource['beside']): boolean {
    for (const { module, number, region } of this.candidates.get(keyOf(offset, mode)) ?? []) {
      if (module.unusable) continue;
      const other = region.side === 0 ? null : beside(region.side);
      if ((region.side !== 0 && other === null) || !this.isThere(region, mfn, other)) continue;
      if (!this.ready(module)) continue;
      const generation = other === null ? 0 : this.cache.generation(other, mode);
      const entry = { uop, mfn, offset, mode, beside: other, generation };
      if (!this.live.place(module.live!, number, entry)) continue;
      for (const { offset, bytes } of region.pieces) {
        this.cache.mark(frameOf(offset, mfn, other), offset & 4095, bytes.length);
      }
      module.used = true;
      this.placed++;
      return true;
    }
    return false;
  }

  private isThere({ pieces }: StoredRegion, mfn: Mfn, other: Mfn | null): boolean {
    return pieces.every(({ offset, bytes }) => {
      const at = this.code.place(frameOf(offset, mfn, other)) + (offset & 4095);
      return bytes.every((byte, i) => this.code.bytes[at + i] === byte);
    });
  }
  private ready(module: WarmModule): boolean {
    if (module.live !== null && module.live.code.length > 0) return true;
    const { bytes, regions } = module.stored;
    try {
      module.live = this.live.add(this.compile(bytes, regions.length), bytes.length);
    } catch (error) {
      if (!(error instanceof Error) || !/^(Compile|Link)Error$/.test(error.name)) throw error;
      module.unusable = true;
    }
    return !module.unusable;
  }
}

const frameOf = (offset: number, mfn: Mfn, other: Mfn | null): Mfn =>
  offset >= 0 && offset < 4096 ? mfn : (other as Mfn);
