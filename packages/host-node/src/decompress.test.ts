import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { decompressors, unpack } from './decompress.js';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const packed = {
  // printf 'hello, hello, hello' | xz | base64, and the same with zstd
  xz: '/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AASAAxdADQZSe6N74yHMe+QAABluyEx33pfWQABKBNfWmX5H7bzfQEAAAAABFla',
  zstd: 'KLUv/QRYbQAAOGhlbGxvLCABAOKKEXXzmI4=',
};

it('unpacks gzip, xz and zstd by their first bytes, and leaves the rest as it is', () => {
  expect(text(unpack(gzipSync('hello, hello, hello'), 'f'))).toBe('hello, hello, hello');
  for (const base64 of Object.values(packed)) {
    expect(text(unpack(Buffer.from(base64, 'base64'), 'f'))).toBe('hello, hello, hello');
  }
  expect(text(unpack(Buffer.from('plain'), 'f'))).toBe('plain');
});

it('names the file that is damaged', () => {
  for (const base64 of [...Object.values(packed), gzipSync('hello').toString('base64')]) {
    const damaged = Buffer.from(base64, 'base64').subarray(0, 14);
    expect(() => unpack(damaged, 'data.tar of x.deb')).toThrow(/^cannot unpack data\.tar of x\.deb: .*fetch it again$/);
  }
});

it('gives the domain builder gzip and zstd, within a limit', async () => {
  const gzip = gzipSync(new Uint8Array(1000));
  expect(await decompressors.gzip?.(gzip, { maxBytes: 1000 })).toHaveLength(1000);
  expect(() => decompressors.gzip?.(gzip, { maxBytes: 999 })).toThrow(/larger than 999 bytes/);
});
