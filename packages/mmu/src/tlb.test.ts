import type { Mfn } from '@paravane/types';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { createMachineMemory, type MachineMemory } from './machine-memory.js';
import { createTlb, TLB_ENTRIES, type Tlb, TlbField, tlbEntryOffset } from './tlb.js';

const FRAMES = 64;
let machine: MachineMemory;
let tlb: Tlb;
const frame = (n: number): Mfn => n as Mfn;

/** What generated code does: compare a tag of the entry for the address, and add. */
function probe(field: 'readTag' | 'writeTag' | 'execTag', lo: number, hi: number, tag: number): number | null {
  const entry = tlb.base + tlbEntryOffset(lo, hi, tag);
  const at = (entry + TlbField[field]) >> 2;
  if (machine.i32[at] !== ((lo & ~0xfff) | tag) || machine.i32[at + 1] !== (hi | 0)) return null;
  return (machine.i32[(entry + TlbField[field === 'execTag' ? 'execAddend' : 'addend']) >> 2]! + lo) >>> 0;
}
const offset = (mfn: number, lo: number): number => machine.frameBase + mfn * 4096 + (lo & 0xfff);

beforeEach(() => {
  machine = createMachineMemory({ frames: FRAMES, coreBytes: 0x80000 });
  tlb = createTlb(machine);
});

describe('TLB', () => {
  it.each([
    [0x1000, 0],
    [0x7fff_f123, 0x1234],
    [0x8000_0abc | 0, -1],
    [0xffff_ffff | 0, -1],
    [0, 0],
  ])('finds what was filled for %i:%i, by rights', (lo, hi) => {
    const tag = tlb.tag(frame(3), 1);
    expect(probe('readTag', lo, hi, tag)).toBe(null);
    tlb.fill(lo, hi, tag, frame(7), false);
    expect(probe('readTag', lo, hi, tag)).toBe(offset(7, lo));
    expect(probe('writeTag', lo, hi, tag)).toBe(null);
    expect(probe('execTag', lo, hi, tag)).toBe(null);
    expect(probe('readTag', lo, hi ^ 1, tag)).toBe(null);
    tlb.fill(lo, hi, tag, frame(7), true);
    expect(probe('writeTag', lo, hi, tag)).toBe(offset(7, lo));
    tlb.fillCode(lo, hi, tag, frame(8));
    expect(probe('execTag', lo, hi, tag)).toBe(offset(8, lo));
    expect(probe('readTag', lo, hi, tag)).toBe(offset(7, lo));
  });

  it('keeps address spaces and modes apart, with tags that are never 0 and stay', () => {
    const tags = [tlb.tag(frame(3), 0), tlb.tag(frame(3), 1), tlb.tag(frame(4), 0)];
    expect(new Set(tags).size).toBe(3);
    expect(tags).not.toContain(0);
    expect(tlb.tag(frame(3), 1)).toBe(tags[1]);
    tlb.fill(0x5000, 0, tags[0]!, frame(7), true);
    expect(probe('readTag', 0x5000, 0, tags[1]!)).toBe(null);
    tlb.flushAll();
    expect(tlb.tag(frame(4), 0)).toBe(tags[2]);
  });

  it('drops every entry of a frame, however many there are and whatever took the place of others', () => {
    const page = fc.nat({ max: 24 }).map((n) => (n % 12) * 0x1000 + (n >= 12 ? TLB_ENTRIES * 4096 : 0));
    const step = fc.record({
      what: fc.constantFrom('fill', 'fill', 'fillCode', 'fillCode', 'drop', 'dropWrites', 'flush'),
      page,
      frame: fc.integer({ min: 1, max: 4 }),
    });
    const tag = tlb.tag(frame(3), 1);
    const entriesOf = (mfn: number, field: 'readTag' | 'writeTag'): number =>
      Array.from({ length: 2 * TLB_ENTRIES }, (_, n) => (tlb.base + n * 32) >> 2).filter((word) => {
        const read = machine.i32[word]!;
        const maps = ((machine.i32[word + 6]! + (read & ~0xfff)) | 0) === ((machine.frameBase + mfn * 4096) | 0);
        return maps && machine.i32[word + TlbField[field] / 4] !== 0;
      }).length;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        tlb.flushAll();
        for (const { what, page: lo, frame: mfn } of steps) {
          if (what === 'fill') tlb.fill(lo, 0, tag, frame(mfn), true);
          else if (what === 'fillCode') tlb.fillCode(lo, 0, tag, frame(mfn));
          else if (what === 'flush') tlb.flushAll();
          else if (what === 'drop') tlb.dropFrame(frame(mfn));
          else tlb.dropWrites(frame(mfn));
          const kept = what.startsWith('fill')
            ? 0
            : what === 'dropWrites'
              ? entriesOf(mfn, 'writeTag')
              : entriesOf(mfn, 'readTag');
          expect(kept).toBe(0);
        }
      }),
    );
  });

  it('a root that is forgotten gets a tag that nothing was filled under', () => {
    const old = tlb.tag(frame(3), 1);
    tlb.fill(0x5000, 0, old, frame(7), true);
    tlb.flushRoot(frame(3));
    expect(tlb.tag(frame(3), 1)).not.toBe(old);
  });

  it('starts anew, and empty, when the tags are used up', () => {
    const first = tlb.tag(frame(1), 0);
    tlb.fill(0x5000, 0, first, frame(7), true);
    const others = Array.from({ length: 0xffd }, (_, i) => tlb.tag((i + 2) as Mfn, 0));
    expect(new Set([first, ...others]).size).toBe(0xffe);
    expect(probe('readTag', 0x5000, 0, first)).not.toBe(null);
    expect(tlb.tag(0x1000 as Mfn, 0)).toBe(first);
    expect(probe('readTag', 0x5000, 0, first)).toBe(null);
  });

  it('flushes a page in every address space, and only that page', () => {
    const tag = tlb.tag(frame(3), 0);
    tlb.fill(0x5000, 0, tag, frame(7), true);
    tlb.fill(0x6000, 0, tag, frame(8), true);
    tlb.flushPage(0x5000 + TLB_ENTRIES * 4096, 0);
    expect(probe('readTag', 0x5000, 0, tag)).not.toBe(null);
    tlb.fillCode(0x5000, 0, tag, frame(7));
    tlb.flushPage(0x5abc, 0);
    expect(probe('readTag', 0x5000, 0, tag)).toBe(null);
    expect(probe('execTag', 0x5000, 0, tag)).toBe(null);
    expect(probe('readTag', 0x6000, 0, tag)).not.toBe(null);
  });

  it('drops all ways to a frame, or only those that write', () => {
    const tag = tlb.tag(frame(3), 0);
    const ways: [number, number][] = [
      [0x5000, 0],
      [0x8000_6000 | 0, -1],
      [0x7000, 0x7fff],
    ];
    for (const [lo, hi] of ways) tlb.fill(lo, hi, tag, frame(7), true);
    tlb.fill(0x9000, 0, tag, frame(8), true);
    tlb.fillCode(0x5000, 0, tag, frame(7));
    tlb.dropWrites(frame(7));
    expect(probe('execTag', 0x5000, 0, tag)).toBe(offset(7, 0));
    for (const [lo, hi] of ways) {
      expect(probe('writeTag', lo, hi, tag)).toBe(null);
      expect(probe('readTag', lo, hi, tag)).toBe(offset(7, lo));
    }
    tlb.dropFrame(frame(7));
    for (const [lo, hi] of ways) expect(probe('readTag', lo, hi, tag)).toBe(null);
    expect(probe('execTag', 0x5000, 0, tag)).toBe(null);
    expect(probe('writeTag', 0x9000, 0, tag)).toBe(offset(8, 0));
    tlb.dropAllWrites();
    expect(probe('writeTag', 0x9000, 0, tag)).toBe(null);
    expect(probe('readTag', 0x9000, 0, tag)).toBe(offset(8, 0));
    tlb.flushAll();
    expect(probe('readTag', 0x9000, 0, tag)).toBe(null);
  });

  it('keeps the code descriptor with the same translation and forgets it with another', () => {
    const tag = tlb.tag(frame(3), 0);
    const at = (): number => (tlb.base + tlbEntryOffset(0x5000, 0, tag) + TlbField.code) >> 2;
    tlb.fillCode(0x5000, 0, tag, frame(7));
    machine.i32[at()] = 1234;
    tlb.fill(0x5000, 0, tag, frame(8), true);
    tlb.fillCode(0x5000, 0, tag, frame(7));
    expect(machine.i32[at()]).toBe(1234);
    tlb.fillCode(0x5000, 0, tag, frame(8));
    expect(machine.i32[at()]).toBe(0);
  });
});
