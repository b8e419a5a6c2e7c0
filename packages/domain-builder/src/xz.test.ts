import { isParavaneError } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from './crc32.js';
import { unpackLzma } from './lzma.js';
import { undoX86Filter } from './x86-filter.js';
import { unpackXz } from './xz.js';

/** Literals, near and far repetitions, and what looks like CALL instructions; the same bytes every time. */
function sample(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  let at = 0;
  const repeat = (distance: number, count: number): void => {
    for (let left = count; left > 0 && at < length; left--, at++) bytes[at] = bytes[at - distance];
  };
  while (at < length) {
    const kind = random(8);
    if (kind === 0) {
      bytes[at++] = random(256);
    } else if (kind === 1) {
      bytes[at++] = 0xe8;
      for (const next of [() => 0x10 + random(3), () => 0x20, () => 0, () => 0]) {
        const byte = next();
        if (at < length) bytes[at++] = byte;
      }
    } else if (kind === 2 && at > 0) {
      repeat(1 + random(Math.min(at, 3)), random(300));
    } else if (at > 0) {
      repeat(1 + random(at), 2 + random(20));
    }
  }
  return bytes;
}

const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const LIMIT = 1 << 20;

/** `sample(12000)` by `xz --check=crc32 --x86 --lzma2=preset=6,lc=1,lp=2,pb=1`. */
const FILTERED = bytesOf(
  [
    '/Td6WFoAAAFpIt42AgEEACEBFgANhjUf4C7fAu9AAHQFgCANDsskHP56/8fFgt7ii/prqvW9+7/8ekVLx8rNtSe5Me6rbVHKNCNt6xOiNMTXWOs5',
    'J4A8smXK6EeOl+D1SXD8zcn/UuGG0qJ7l2morMTNhaFrBBy/T925liWZKX3Pqch/wwnxkjJjHJIQWQbe3GWwYYTYwj0fGTBl2gWnur6hOJiyKL0N',
    'yzaewqxcud/akB0sxMkOEpmDCyEZV4rod7bvuq2mwpX2EG059ei4Q494wEsK5XKmEXnPTO3+QIRDxrAmkCotIrMfEju9X0/Mmq/m9Kji54Wb0eD5',
    'kdVKmRNwKlATDyuOXbYbA43QrqTPDyKpgyMtFyqSVvO6xLXTywX9iO/jtkUxH8vt+qJHx+Tm4I1LWxBwoTrIC3mmMq7wjumUPES1yHJ03cu/yhLm',
    '+da82unfU0MgtWWHRSlg0yW4XMTK4zC91tRCj5KLpTvkDG0xINxLX4DhHC9ls9aWlwWhMF2VHxCqAMmuS9+zvEL+wi/1tvI39RpMxExjua4jIrba',
    'QGjdhczAVCMou8wcYohcem7WPSppRdkncX6BS4+MECEeX2c+g2VdHDHe9310nPpiVrQcoFmT1m/yBYz+RTdGpK0M8uDLiT49Q27Y4BLXVz4CHzjl',
    'F1EfjT2XDpjcW7CGlS+AUDqaZm0rPV9i42f9TaSCWTrvG1Rv4X+VQvgZQla73rX9JNJsdDwdspwtBugpnGckTC8ZteqSrpa6t40+zORPnE68eLvL',
    'RoVFcLn7IyDcXalj3VwYKbT76FypKuLw+maK2TK5nunMESFsn6wg5MEwZMrfCgWwSn0pIAa/61ogcLGsgIM1eeKG7EuiuHDPW0/E2iOmJSCDYAZq',
    'h/y79LqMK7u388nGrMk1zYjuBvMKLU60bstGCImf24ODiBytxHIA+UT7oVr24gOoIh2rzQjvEipzlcDpeAeyaaqCLQEJpGoxsTMzpNS7Qtx6KvsW',
    'rqCuFTD9dtBDod72s9JBHuKqvqZ/A3d4aQAAAPoxT64AAYcG4F0AAMb5u/0+MA2LAgAAAAABWVo=',
  ].join(''),
);
/** `sample(2500)` by `xz --check=crc64 --block-size=1000`. */
const BLOCKS = bytesOf(
  [
    '/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4APnAFZdAHQEP+AMVx9Hz42LNN/fi7BfN1hp2PU9bYvm4XD73XkME4IFNesQbdPuctxpORFOaPKvt/qh',
    'wSq72YYjAnvUqGwL2+2CRa7OxelZt2lYMYZn7VMZH/aAAAAAzrrNsDquJ+8CACEBFgAAAHQv5aPgA+cAMF0AAGi4Xzoo/npbtoMLX+zw8Z6z+TIH',
    'Jc8uJbk6nJBgFz/0gBJoF9wlntTNCJ/Uj04AAEmJ+HEb/GM+AgAhARYAAAB0L+Wj4AHzACNdAABv/EwIXFaxwHnFGiKgSzh9pvIwnG3CvLLGymNY',
    'R7GmNQAAAABM/aNIiXZuewADcugHTOgHP/QDAOvllGEUFzswAwAAAAAEWVo=',
  ].join(''),
);
/** `sample(2500)` by `xz --format=lzma`: of unknown size, with an end marker. */
const LZMA = bytesOf(
  [
    'XQAAgAD//////////wB0BD/gDFcfR8+NizTf34uwXzdYadj1PW2L5uFw+915DBOCBTXrEG3T7nLcaTkRTmjyr7f6ocEqu9mGIwJ71KhsC9vtgkWu',
    'zsXpWbdpWDGGZ+4tXYWoWMkfnQlTNKdl5MFX+jVfjZeMrRjR1wfCwggKWmrj8B4W0Q9u4mlRb+3ZUJUf9jYnE278//z8Qc0=',
  ].join(''),
);
/** Nothing, by `xz --check=sha256`. */
const EMPTY = bytesOf('/Td6WFoAAArh+wyhAAAAABzfRCEYm0uaAQAAAAAKWVo=');

describe('an xz file', () => {
  it('with the x86 filter comes back as it was', () => {
    expect(unpackXz(FILTERED, LIMIT)).toEqual(sample(12000));
  });

  it('of several blocks with another check comes back as it was', () => {
    expect(unpackXz(BLOCKS, LIMIT)).toEqual(sample(2500));
  });

  it('of nothing, and one filled up with zeros, are files too', () => {
    expect(unpackXz(EMPTY, LIMIT)).toEqual(new Uint8Array(0));
    const padded = new Uint8Array(BLOCKS.length + 8);
    padded.set(BLOCKS);
    expect(unpackXz(padded, LIMIT)).toEqual(sample(2500));
  });

  it('that claims more than the limit is refused before anything is reserved', () => {
    expect(() => unpackXz(FILTERED, 11_999)).toThrow('the limit is 1 MB');
  });

  it.each([
    ['a byte of the contents', 100],
    ['a byte of the header', 8],
    ['a byte of the footer', FILTERED.length - 8],
    ['a byte of the index', FILTERED.length - 20],
  ])('with %s changed is refused', (_, at) => {
    const damaged = FILTERED.slice();
    damaged[at] ^= 0x40;
    expect(() => unpackXz(damaged, LIMIT)).toThrow(/damaged/);
  });

  it('cut or changed anywhere is unpacked or refused in its own words', () => {
    const ways = fc.tuple(fc.constantFrom(FILTERED, BLOCKS), fc.nat(2000), fc.nat(255), fc.boolean());
    fc.assert(
      fc.property(ways, ([file, place, value, cut]) => {
        const at = place % file.length;
        const damaged = cut ? file.slice(0, at) : file.slice();
        if (!cut) damaged[at] = value;
        let result: unknown;
        try {
          result = unpackXz(damaged, LIMIT);
        } catch (error) {
          result = error;
        }
        expect(result instanceof Uint8Array || isParavaneError(result, 'kernel-invalid')).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('an lzma file', () => {
  it('of unknown size ends at its marker', () => {
    expect(unpackLzma(LZMA, LIMIT)).toEqual(sample(2500));
  });

  it('of known size ends there, and is refused above the limit', () => {
    const known = LZMA.slice();
    new DataView(known.buffer).setBigUint64(5, 2500n, true);
    expect(unpackLzma(known, LIMIT)).toEqual(sample(2500));
    expect(() => unpackLzma(known, 2499)).toThrow('claim to unpack to 2500');
  });

  it('cut or changed anywhere is unpacked or refused in its own words', () => {
    fc.assert(
      fc.property(fc.nat(LZMA.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
        const damaged = cut ? LZMA.slice(0, at) : LZMA.slice();
        if (!cut) damaged[at] = value;
        let result: unknown;
        try {
          result = unpackLzma(damaged, 5000);
        } catch (error) {
          result = error;
        }
        expect(result instanceof Uint8Array || isParavaneError(result, 'kernel-invalid')).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the parts', () => {
  it('CRC32 gives the known check values', () => {
    expect(crc32(Uint8Array.from('123456789', (digit) => digit.charCodeAt(0)))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
  });

  it('the x86 filter makes targets relative again', () => {
    const code = Uint8Array.of(0x90, 0xe8, 0x06, 0x10, 0, 0, 0x90, 0xe9, 5, 0, 0, 7, 0x90);
    undoX86Filter(code, 0);
    // 0x1006 less the next instruction's address, 6; the second is no near target and stays.
    expect([...code]).toEqual([0x90, 0xe8, 0x00, 0x10, 0, 0, 0x90, 0xe9, 5, 0, 0, 7, 0x90]);
  });
});
