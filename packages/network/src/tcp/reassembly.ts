/**
 * Data that arrived ahead of its turn, without gaps or overlaps within a range. Ranges are kept as copies of exactly
 * the bytes, so that what they cost is what the window allows, and their number is bounded too.
 */
import type { SackBlock } from './segment.js';
import { advance, distance } from './sequence.js';

export interface Reassembly {
  readonly bytes: number;
  /** Keeps data, all of it behind `next` and within the window. Where it overlaps what is there, the older bytes stay. */
  insert(sequence: number, data: Uint8Array): void;
  /** Takes out what continues at `next`; older data is forgotten. */
  take(next: number): Uint8Array | undefined;
  /** What is here, the latest first. */
  sacks(most: number): SackBlock[];
}

interface Range {
  readonly sequence: number;
  readonly data: Uint8Array;
}

const end = (range: Range): number => advance(range.sequence, range.data.length);

export function createReassembly(mostRanges: number): Reassembly {
  let ranges: Range[] = [];
  let bytes = 0;
  let latest = 0;

  return {
    get bytes() {
      return bytes;
    },
    insert(sequence, data) {
      latest = sequence;
      let from = sequence;
      const to = advance(sequence, data.length);
      const next: Range[] = [];
      const keep = (upTo: number): void => {
        const length = distance(upTo, from);
        if (length <= 0 || ranges.length + next.length >= 2 * mostRanges) return;
        const start = distance(from, sequence);
        next.push({ sequence: from, data: data.slice(start, start + length) });
        bytes += length;
      };
      for (const range of ranges) {
        if (distance(range.sequence, from) > 0 && distance(from, to) < 0) {
          const upTo = distance(range.sequence, to) < 0 ? range.sequence : to;
          keep(upTo);
          from = upTo;
        }
        next.push(range);
        if (distance(end(range), from) > 0) from = end(range);
      }
      if (distance(from, to) < 0) keep(to);
      // The ranges nearest to their turn are worth most.
      for (const range of next.splice(mostRanges)) bytes -= range.data.length;
      ranges = next;
    },
    take(next) {
      for (;;) {
        const [first] = ranges;
        if (!first || distance(first.sequence, next) > 0) return undefined;
        ranges.shift();
        bytes -= first.data.length;
        const old = distance(next, first.sequence);
        if (old < first.data.length) return first.data.subarray(old);
      }
    },
    sacks(most) {
      const blocks: SackBlock[] = [];
      for (const range of ranges) {
        const last = blocks.at(-1);
        if (last && last.to === range.sequence) blocks[blocks.length - 1] = { from: last.from, to: end(range) };
        else blocks.push({ from: range.sequence, to: end(range) });
      }
      const at = blocks.findIndex(({ from, to }) => distance(latest, from) >= 0 && distance(latest, to) < 0);
      return at > 0 ? [...blocks.splice(at, 1), ...blocks].slice(0, most) : blocks.slice(0, most);
    },
  };
}
