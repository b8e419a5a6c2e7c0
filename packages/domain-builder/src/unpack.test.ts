import { describe, expect, it } from 'vitest';
import { lz4Literals, testBzImage, testKernel } from './testing.js';
import { compressionOf, unpackKernel } from './unpack.js';

const kernel = testKernel();
const xz = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2, 3);

describe('unpackKernel', () => {
  it('leaves an ELF file as it is', async () => {
    expect(await unpackKernel(kernel)).toEqual({ bytes: kernel, format: 'elf', compression: 'none' });
  });

  it('unpacks a bzImage in LZ4 by itself', async () => {
    const image = testBzImage(lz4Literals(kernel), kernel.length);
    expect(await unpackKernel(image)).toEqual({ bytes: kernel, format: 'bzImage', compression: 'lz4' });
  });

  it('unpacks other kinds through the functions of the host, and keeps the appended size from them', async () => {
    const seen: unknown[] = [];
    const decompress = {
      xz: async (packed: Uint8Array, limits: object) => {
        seen.push([...packed], limits);
        return kernel;
      },
    };
    expect(await unpackKernel(testBzImage(xz, kernel.length), { decompress })).toMatchObject({
      compression: 'xz',
      bytes: kernel,
    });
    expect(seen).toEqual([[...xz], { maxBytes: kernel.length }]);
    expect(await unpackKernel(xz, { decompress })).toMatchObject({ format: 'elf', compression: 'xz', bytes: kernel });
  });

  it.each([
    ['no kernel', new Uint8Array(600), /neither an ELF file.*begins with 00 00/],
    ['an empty file', new Uint8Array(0), /empty/],
    [
      'zstd without a function for it',
      Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
      /zstd, which is not supported yet \(this host unpacks bzip2, lz4, lzma, lzo, xz\)/,
    ],
    ['a wrong size', testBzImage(lz4Literals(kernel), kernel.length + 1), /header says/],
    ['a size beyond the limit', testBzImage(lz4Literals(kernel), 0xffff_ffff), /more than the limit of 512 MB/],
    ['an unknown payload', testBzImage(new Uint8Array(100), 5), /no known way/],
    ['a cut bzImage', testBzImage(lz4Literals(kernel), kernel.length).subarray(0, 3000), /cut short/],
    ['no ELF inside', testBzImage(lz4Literals(new Uint8Array(100)), 100), /holds no ELF/],
  ])('says what is wrong with %s', async (_, bytes, words) => {
    await expect(unpackKernel(bytes)).rejects.toThrow(words);
  });

  it('names an old boot protocol and a failure of a host function', async () => {
    const old = testBzImage(xz, 5);
    old[0x206] = 7;
    await expect(unpackKernel(old)).rejects.toThrow('boot protocol 2.7');
    const decompress = { xz: () => Promise.reject(new Error('checksum')) };
    const failing = unpackKernel(testBzImage(xz, 5), { decompress });
    await expect(failing).rejects.toMatchObject({
      code: 'kernel-invalid',
      message: expect.stringContaining('(checksum)'),
    });
  });

  it('tells the kinds apart by their first bytes', () => {
    expect(compressionOf(Uint8Array.of(0x1f, 0x8b))).toBe('gzip');
    expect(compressionOf(Uint8Array.of(0x5d, 0, 0, 0x80))).toBe('lzma');
    expect(compressionOf(Uint8Array.of(1))).toBeUndefined();
  });
});
