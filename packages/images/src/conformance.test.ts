import { type DiskImage, type ImageFile, isImageError } from '@paravane/image-api';
import { type ConformanceCase, diskImageCases, imageFileCases } from '@paravane/image-api/conformance';
import { describe, expect, it } from 'vitest';
import {
  createMemoryFile,
  createMemoryImage,
  createOverlay,
  createQcow2,
  createRawImage,
  type MemoryFile,
  openQcow2,
  type Qcow2CreateOptions,
} from './index.js';
import { slowFile } from './testing/slow-file.js';

function conforms(name: string, cases: readonly ConformanceCase[]): void {
  describe(`${name}`, () => {
    for (const { name: sentence, run } of cases) it(`${sentence}`, () => expect(run()).resolves.toBeUndefined());
  });
}

/** An image format in a file of memory, which answers at once or later. */
function onMemory(
  create: (file: ImageFile, size: number) => Promise<void>,
  open: (file: ImageFile, readOnly: boolean) => DiskImage | Promise<DiskImage>,
  slow: boolean,
): ConformanceCase[] {
  let content: MemoryFile;
  const wrap = (file: MemoryFile): ImageFile => (slow ? slowFile(file) : file);
  return diskImageCases({
    async create(size) {
      content = createMemoryFile();
      await create(content, size);
      return open(wrap(content), false);
    },
    reopen: ({ readOnly }) => open(wrap(content), readOnly),
  });
}

conforms('a file in memory', imageFileCases({ create: () => createMemoryFile() }));
conforms('memory', diskImageCases({ create: (size) => createMemoryImage({ size }) }));
conforms(
  'memory in blocks of 4096',
  diskImageCases({ create: (size) => createMemoryImage({ size, logicalBlockSize: 4096 }) }),
);
conforms(
  'an overlay',
  diskImageCases({
    create: (size) =>
      createOverlay({ base: createRawImage(createMemoryFile(new Uint8Array(size)), { readOnly: true }) }),
  }),
);

for (const slow of [false, true]) {
  const later = slow ? ', answering later and in any order' : '';
  conforms(
    `raw${later}`,
    onMemory(
      async (file, size) => file.setSize(size),
      (file, readOnly) => createRawImage(file, { readOnly }),
      slow,
    ),
  );
  const variants: Record<string, Omit<Qcow2CreateOptions, 'size'>> = {
    'qcow2 version 3': {},
    'qcow2 version 2': { version: 2 },
    'qcow2 in clusters of 512 bytes with counts of 1 bit': { clusterSize: 512, refcountBits: 1 },
    'qcow2 in clusters of 4 KiB with counts of 64 bits': { clusterSize: 4096, refcountBits: 64 },
    'qcow2 in clusters of 2 MiB': { clusterSize: 2 ** 21, refcountBits: 8 },
    'qcow2 with extended L2 entries': { extendedL2: true },
    'qcow2 with extended L2 entries in clusters of 16 KiB': { extendedL2: true, clusterSize: 16384 },
  };
  for (const [name, options] of Object.entries(variants)) {
    conforms(
      `${name}${later}`,
      onMemory(
        (file, size) => createQcow2(file, { ...options, size }),
        (file, readOnly) => openQcow2(file, { readOnly, cacheBytes: 16384 }),
        slow,
      ),
    );
    conforms(
      `${name}, over a backing image${later}`,
      onMemory(
        (file, size) => createQcow2(file, { ...options, size, backing: { name: 'base', format: 'raw' } }),
        (file, readOnly) => openQcow2(file, { readOnly, openBacking: () => createMemoryImage({ size: 3_000_320 }) }),
        slow,
      ),
    );
  }
}

describe('an overlay', () => {
  it('shows the image below where nothing was written, and never writes to it', async () => {
    const below = new Uint8Array(65536).fill(7);
    const file = createMemoryFile(below, true);
    const overlay = createOverlay({ base: createRawImage(file) });
    await overlay.write(512, new Uint8Array(512).fill(9));
    const read = new Uint8Array(1536);
    await overlay.read(0, read);
    expect([read[0], read[512], read[1024]]).toEqual([7, 9, 7]);
    expect(file.content()).toEqual(below);
  });
});

describe('openQcow2', () => {
  it('names the backing image that it lacks', async () => {
    const file = createMemoryFile();
    await createQcow2(file, { size: 65536, backing: { name: 'größe.raw', format: 'raw' } });
    const failure = await openQcow2(file).catch((error: unknown) => error);
    expect(isImageError(failure, 'image-unsupported')).toBe(true);
    expect((failure as Error).message).toContain('"größe.raw"');
  });
});
