import { concatenate } from '@paravane/elf';
import { isParavaneError } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unpackLz4Legacy } from './lz4-legacy.js';
import { lz4Block, lz4Literals } from './testing.js';

const MAGIC = Uint8Array.of(0x02, 0x21, 0x4c, 0x18);
const LIMIT = 1 << 20;
const frame = (...bytes: number[]): Uint8Array => concatenate(MAGIC, lz4Block(Uint8Array.from(bytes)));
const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

describe('an LZ4 legacy frame', () => {
  it('of literals in several blocks comes back as it was', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.integer({ min: 1, max: 700 }), (text, blockSize) => {
        expect(unpackLz4Legacy(lz4Literals(text, blockSize), LIMIT)).toEqual(text);
      }),
    );
  });

  it('repeats a match that overlaps what it writes', () => {
    // "ab", then 6 bytes from 2 back; "!", the last literals.
    expect(textOf(unpackLz4Legacy(frame(0x22, 0x61, 0x62, 2, 0, 0x10, 0x21), LIMIT))).toBe('abababab!');
  });

  it('adds up long lengths', () => {
    // "a", then 4 + 15 + 255 + 10 bytes from 1 back; "b".
    const text = unpackLz4Legacy(frame(0x1f, 0x61, 1, 0, 255, 10, 0x10, 0x62), LIMIT);
    expect(textOf(text)).toBe(`${'a'.repeat(285)}b`);
  });

  it('ends at a size or padding that is no block', () => {
    expect(textOf(unpackLz4Legacy(concatenate(frame(0x10, 0x61), Uint8Array.of(1, 2, 3)), LIMIT))).toBe('a');
    expect(textOf(unpackLz4Legacy(concatenate(frame(0x10, 0x61), new Uint8Array(64)), LIMIT))).toBe('a');
  });

  it.each([
    ['a match before the block', frame(0x10, 0x61, 2, 0, 0x10, 0x62), 'damaged at byte'],
    ['a match of distance 0', frame(0x10, 0x61, 0, 0, 0x10, 0x62), 'damaged at byte'],
    ['literals past the end', frame(0xf0, 200, 0x61), 'damaged at byte'],
    ['half a distance', frame(0x10, 0x61, 1), 'damaged at byte'],
    ['a block past the end', concatenate(MAGIC, Uint8Array.of(0xff, 0xff, 0, 0, 1)), 'cut short or damaged'],
    ['another format', Uint8Array.of(4, 0x22, 0x4d, 0x18, 0), 'no LZ4 legacy frame'],
  ])('with %s is refused', (_, bytes, words) => {
    expect(() => unpackLz4Legacy(bytes, LIMIT)).toThrow(words);
  });

  it('does not reserve memory for text that it cannot hold', () => {
    const many = concatenate(MAGIC, ...Array.from({ length: 40 }, () => lz4Block(new Uint8Array(40_000))));
    expect(() => unpackLz4Legacy(many, LIMIT)).toThrow('more than 1 MB');
  });

  it('of any bytes is unpacked or refused in its own words', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let result: unknown;
        try {
          result = unpackLz4Legacy(concatenate(MAGIC, lz4Block(bytes)), LIMIT);
        } catch (error) {
          result = error;
        }
        expect(result instanceof Uint8Array || isParavaneError(result, 'kernel-invalid')).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
