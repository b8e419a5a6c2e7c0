/** What the peer says that it has beyond its acknowledgment (RFC 2018): disjoint ranges in order, a bounded number. */
import type { SackBlock } from './segment.js';
import { distance } from './sequence.js';

export interface Scoreboard {
  readonly empty: boolean;
  /** Adds claimed blocks; those not within `una` and `max` are nobody's. */
  add(claimedBlocks: readonly SackBlock[], una: number, max: number): void;
  /** Forgets what is acknowledged. */
  acknowledge(una: number): void;
  clear(): void;
  /** The first hole at or after `from`, below the highest range: its beginning and length. */
  hole(from: number): { readonly sequence: number; readonly length: number } | undefined;
}

const mostRanges = 256;

export function createScoreboard(): Scoreboard {
  let ranges: SackBlock[] = [];

  function insert(block: SackBlock): void {
    let { from, to } = block;
    const next: SackBlock[] = [];
    let placed = false;
    for (const range of ranges) {
      if (distance(range.to, from) < 0) next.push(range);
      else if (distance(range.from, to) > 0) {
        if (!placed) next.push({ from, to });
        placed = true;
        next.push(range);
      } else {
        if (distance(range.from, from) < 0) from = range.from;
        if (distance(range.to, to) > 0) to = range.to;
      }
    }
    if (!placed) next.push({ from, to });
    ranges = next.slice(0, mostRanges);
  }

  return {
    get empty() {
      return ranges.length === 0;
    },
    add(claimedBlocks, una, max) {
      for (const block of claimedBlocks) {
        const valid =
          distance(block.from, una) >= 0 && distance(block.to, block.from) > 0 && distance(block.to, max) <= 0;
        if (valid) insert(block);
      }
    },
    acknowledge(una) {
      if (ranges.length === 0) return;
      ranges = ranges
        .filter(({ to }) => distance(to, una) > 0)
        .map((range) => (distance(range.from, una) < 0 ? { from: una, to: range.to } : range));
    },
    clear() {
      ranges = [];
    },
    hole(from) {
      let at = from;
      for (const range of ranges) {
        if (distance(range.from, at) > 0) return { sequence: at, length: distance(range.from, at) };
        if (distance(range.to, at) > 0) at = range.to;
      }
      return undefined;
    },
  };
}
