/**
 * Which registers a region needs in its locals, and where flags differ from the
 * state: known when the whole region has been emitted, by the order of uses in
 * each block.
 */
import { type BasicBlock, type Region, successors as successorsOf } from './region.js';

/** Number of the lazy flags, behind the general registers. */
export const FLAGS = 16;

type Event =
  | { kind: 'use'; n: number }
  | { kind: 'define'; n: number }
  /** Control may leave: `told` whether the flags in locals are newer than the state's. */
  | { kind: 'exit'; told: (dirty: boolean) => void }
  /** Registers and flags come from the state again: `told` which are needed. */
  | { kind: 'call'; told: (live: number[]) => void };

const numbersOf = (set: number): number[] =>
  Array.from({ length: FLAGS + 1 }, (_, n) => n).filter((n) => (set >> n) & 1);

export class Liveness {
  private readonly events = new Map<BasicBlock, Event[]>();

  constructor(private readonly region: Region) {
    for (const block of region.blocks.values()) this.events.set(block, []);
  }

  use(block: BasicBlock, n: number): void {
    this.events.get(block)!.push({ kind: 'use', n });
  }
  define(block: BasicBlock, n: number): void {
    this.events.get(block)!.push({ kind: 'define', n });
  }
  exit(block: BasicBlock, told: (dirty: boolean) => void): void {
    this.events.get(block)!.push({ kind: 'exit', told });
  }
  call(block: BasicBlock, told: (live: number[]) => void): void {
    this.events.get(block)!.push({ kind: 'call', told });
  }

  /** Tells all exits and calls; answers what is needed at the region's entry. */
  solve(): number[] {
    const blocks = [...this.region.blocks.values()];
    const successors = (block: BasicBlock): BasicBlock[] =>
      successorsOf(this.region, block).flatMap((offset) => this.region.blocks.get(offset) ?? []);
    // Forward: may the flags in locals be newer than the state's?
    const dirtyIn = new Set<BasicBlock>();
    const dirtyOut = (block: BasicBlock): boolean => {
      let dirty = dirtyIn.has(block);
      for (const event of this.events.get(block)!) {
        if (event.kind === 'define' && event.n === FLAGS) dirty = true;
        else if (event.kind === 'call') dirty = false;
      }
      return dirty;
    };
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of blocks) {
        if (!dirtyOut(block)) continue;
        for (const next of successors(block)) {
          if (dirtyIn.has(next)) continue;
          dirtyIn.add(next);
          changed = true;
        }
      }
    }
    // Backward: what is read before it is written.
    const liveIn = new Map<BasicBlock, number>(blocks.map((block) => [block, 0]));
    const before = (block: BasicBlock, tell: boolean): number => {
      const events = this.events.get(block)!;
      let dirty = dirtyIn.has(block);
      const dirtyAt = events.map((event) => {
        const at = dirty;
        if (event.kind === 'define' && event.n === FLAGS) dirty = true;
        else if (event.kind === 'call') dirty = false;
        return at;
      });
      let live = successors(block).reduce((set, next) => set | liveIn.get(next)!, 0);
      for (let i = events.length - 1; i >= 0; i--) {
        const event = events[i]!;
        if (event.kind === 'use') live |= 1 << event.n;
        else if (event.kind === 'define') live &= ~(1 << event.n);
        else if (event.kind === 'call') {
          if (tell) event.told(numbersOf(live));
          live = 0;
        } else {
          if (dirtyAt[i]) live |= 1 << FLAGS;
          if (tell) event.told(dirtyAt[i]!);
        }
      }
      return live;
    };
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of blocks) {
        const live = before(block, false);
        if (live === liveIn.get(block)) continue;
        liveIn.set(block, live);
        changed = true;
      }
    }
    for (const block of blocks) before(block, true);
    return numbersOf(liveIn.get(this.region.blocks.get(this.region.entry)!)!);
  }
}
