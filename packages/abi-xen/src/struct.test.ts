import { describe, expect, it } from 'vitest';
import { array, bytes, chars, s16, signedWord, struct, structByAbi, u8, u16, u32, u64, word } from './struct.js';

const view = () => new DataView(new ArrayBuffer(128));

describe('struct', () => {
  it('aligns a u64 to 4 in the 32-bit ABI and to 8 in the 64-bit one', () => {
    const layout = struct({ a: u32, b: u64 });
    expect([layout.offset('b', 32), layout.offset('b', 64)]).toEqual([4, 8]);
    expect([layout.size(32), layout.size(64)]).toEqual([12, 16]);
  });

  it.each([32, 64] as const)('reads what it wrote in the %i-bit ABI', (abi) => {
    const inner = struct({ x: u8, y: word });
    const layout = struct({ list: array(inner, 2), name: chars(8), raw: bytes(3), status: s16, result: signedWord });
    const value = {
      list: [
        { x: 1, y: 0xffff_fffen },
        { x: 2, y: 3n },
      ],
      name: 'xen',
      raw: Uint8Array.of(7, 8, 9),
      status: -11,
      result: -38n,
    };
    const memory = view();
    layout.write(memory, 5, value, abi);
    expect(layout.read(memory, 5, abi)).toEqual(value);
  });

  it('leaves fields that are not written untouched', () => {
    const layout = struct({ a: u16, b: u16 });
    const memory = view();
    layout.write(memory, 0, { a: 1, b: 2 }, 64);
    layout.write(memory, 0, { b: 3 }, 64);
    expect(layout.read(memory, 0, 64)).toEqual({ a: 1, b: 3 });
  });

  it('keeps a terminating NUL in a string that is too long', () => {
    const memory = view();
    chars(4).write(memory, 0, 'xenstore', 64);
    expect(chars(4).read(memory, 0, 64)).toBe('xen');
  });

  it('reads a member that an ABI lacks as zero', () => {
    const layout = structByAbi({ cs: word, eip: word }, { eip: word });
    const memory = view();
    layout.write(memory, 0, { cs: 9n, eip: 5n }, 64);
    expect(layout.read(memory, 0, 64)).toEqual({ cs: 0n, eip: 5n });
    expect(layout.offset('cs', 64)).toBe(-1);
  });
});
