import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeCode, encodeCode, type StoredModule, type StoredRegion, storedLength } from './stored-code.js';

const MADE_FOR = '["build",{"arena":4096}]';
const bytes = (maxLength: number, minLength = 0) => fc.uint8Array({ minLength, maxLength });

/** A region with a piece at its entry, and others in the pages that it may have code in. */
const region: fc.Arbitrary<StoredRegion> = fc
  .record({
    entry: fc.nat(4000),
    mode: fc.constantFrom(64 as const, 32 as const),
    side: fc.constantFrom(-1 as const, 0 as const, 1 as const),
    first: bytes(60, 1),
    others: fc.array(fc.record({ at: fc.nat(4000), far: fc.boolean(), bytes: bytes(60, 1) }), { maxLength: 3 }),
  })
  .map(({ entry, mode, side, first, others }) => ({
    entry,
    mode,
    side,
    pieces: [
      { offset: entry, bytes: first },
      ...others.map(({ at, far, bytes }) => ({ offset: at + (far ? side * 4096 : 0), bytes })),
    ],
  }));
const modules: fc.Arbitrary<StoredModule[]> = fc.array(
  fc.record({ bytes: bytes(80), regions: fc.array(region, { maxLength: 4 }) }),
  { maxLength: 4 },
);

/** Typed arrays of parts of a buffer are equal to others where their bytes are. */
const plain = (modules: readonly StoredModule[]): unknown =>
  modules.map(({ bytes, regions }) => ({
    bytes: [...bytes],
    regions: regions.map(({ pieces, ...rest }) => ({
      ...rest,
      pieces: pieces.map(({ offset, bytes }) => ({ offset, bytes: [...bytes] })),
    })),
  }));

describe('modules as bytes', () => {
  it('are the same when read again, wherever they lie', () => {
    fc.assert(
      fc.property(modules, fc.nat(9), (modules, before) => {
        const encoded = encodeCode(MADE_FOR, modules);
        const room = new Uint8Array(encoded.length + before);
        room.set(encoded, before);
        expect(plain(decodeCode(MADE_FOR, room.subarray(before)))).toEqual(plain(modules));
        const lengths = modules.reduce((sum, module) => sum + storedLength(module), 0);
        expect(encoded.length).toBe(8 + MADE_FOR.length + lengths);
      }),
    );
  });

  it('made for something else are none', () => {
    const encoded = encodeCode(MADE_FOR, [{ bytes: Uint8Array.of(1), regions: [] }]);
    expect(decodeCode(MADE_FOR, encoded)).toHaveLength(1);
    for (const other of ['', '["build",{"arena":4097}]', `${MADE_FOR} `])
      expect(decodeCode(other, encoded)).toEqual([]);
  });

  it('that are not whole, or have something behind them, are none', () => {
    fc.assert(
      fc.property(modules, (modules) => {
        const encoded = encodeCode(MADE_FOR, modules);
        for (let length = 0; length < encoded.length; length += 1 + (length >> 3)) {
          expect(decodeCode(MADE_FOR, encoded.subarray(0, length))).toEqual([]);
        }
        expect(decodeCode(MADE_FOR, Uint8Array.of(...encoded, 0))).toEqual([]);
      }),
      { numRuns: 30 },
    );
  });

  it('with anything changed are read without harm, and what is read keeps to its pages', () => {
    const change = fc.record({ at: fc.nat(4000), value: fc.nat(255) });
    fc.assert(
      fc.property(modules, fc.array(change, { minLength: 1, maxLength: 4 }), (modules, changes) => {
        const encoded = encodeCode(MADE_FOR, modules);
        for (const { at, value } of changes) encoded[at % encoded.length] = value;
        for (const { regions } of decodeCode(MADE_FOR, encoded)) {
          for (const { entry, mode, side, pieces } of regions) {
            expect(entry).toBeLessThan(4096);
            expect([64, 32]).toContain(mode);
            expect(pieces.some(({ offset, bytes }) => offset <= entry && entry < offset + bytes.length)).toBe(true);
            for (const { offset, bytes } of pieces) {
              expect([0, side]).toContain(Math.floor(offset / 4096));
              expect((offset & 4095) + bytes.length).toBeLessThanOrEqual(4096);
            }
          }
        }
      }),
      { numRuns: 1000 },
    );
  });
});
