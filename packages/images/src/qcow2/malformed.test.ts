import { byteLength, type ImageFile, isImageError } from '@paravane/image-api';
import { patternOf, randomOf } from '@paravane/image-api/conformance';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createMemoryFile, createQcow2, openQcow2 } from '../index.js';

const diskSize = 512 * 1024;

async function makeGood(clusterSize: number, extendedL2: boolean): Promise<Uint8Array> {
  const file = createMemoryFile();
  await createQcow2(file, { size: diskSize, clusterSize, extendedL2, backing: { name: 'base', format: 'raw' } });
  const image = await openQcow2(file, { metadataOnly: true });
  for (let at = 0; at < diskSize; at += 65536) await image.write(at, patternOf(20480, at));
  await image.close();
  return file.content();
}

/** Everything that can be done with an image; what fails must fail as an image does. */
async function useAll(content: Uint8Array): Promise<{ opened: boolean; longest: number }> {
  const memory = createMemoryFile(content);
  let longest = 0;
  const file: ImageFile = {
    ...memory,
    get size() {
      return memory.size;
    },
    read(offset, into) {
      longest = Math.max(longest, byteLength(into));
      return memory.read(offset, into);
    },
    write(offset, from) {
      // No entry, however wrong, may make the file grow without bounds.
      if (offset + byteLength(from) > content.length + 2 ** 24) throw new Error(`a write at ${offset}`);
      return memory.write(offset, from);
    },
    setSize(size) {
      if (size > content.length + 2 ** 24) throw new Error(`a size of ${size}`);
      return memory.setSize(size);
    },
  };
  const attempt = async (work: () => unknown): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isImageError(error)) throw error;
      if (/undefined|NaN|\[object/.test(error.message)) throw new Error(`words that say nothing: ${error.message}`);
      return false;
    }
  };
  let opened = false;
  await attempt(async () => {
    const image = await openQcow2(file, {
      metadataOnly: true,
      inflate: (packed, length) => new Uint8Array(length).fill(packed[0]!),
    });
    opened = true;
    const places = [0, 65536, 131072 + 4096, image.size - 512].filter((at) => at >= 0 && at + 512 <= image.size);
    for (const at of places) await attempt(() => image.read(at, new Uint8Array(512)));
    await attempt(() => image.check());
    for (const at of places) await attempt(() => image.write(at, patternOf(512, at)));
    for (const at of places) await attempt(() => image.discard(at, 512));
    await attempt(() => image.flush());
    await attempt(() => image.check({ repair: true }));
    await attempt(() => image.resize(image.size + 65536));
    await attempt(() => image.close());
  });
  return { opened, longest };
}

describe.each([
  ['a qcow2 file', 4096, false],
  ['a qcow2 file with extended L2 entries', 16384, true],
])('%s that is damaged or made to harm', (_, clusterSize, extendedL2) => {
  let good: Uint8Array;
  beforeAll(async () => {
    good = await makeGood(clusterSize, extendedL2);
  });
  const wide = [
    0n,
    1n,
    0x1ffn,
    0x1000n,
    0xffff_ffffn,
    1n << 32n,
    (1n << 53n) - 1n,
    1n << 56n,
    (1n << 63n) + 4096n,
    (1n << 64n) - 1n,
  ];

  it('fails in words whatever a field of its header says, and makes no one read more than the file has', async () => {
    for (let field = 0; field < 112; field += 4) {
      for (const value of wide) {
        const content = good.slice();
        const view = new DataView(content.buffer);
        if (field + 8 <= 112) view.setBigUint64(field, value);
        const narrow = good.slice();
        new DataView(narrow.buffer).setUint32(field, Number(value & 0xffff_ffffn));
        for (const bytes of [content, narrow]) {
          const { longest } = await useAll(bytes);
          expect(longest, `field ${field}, value ${value}`).toBeLessThanOrEqual(2 ** 22);
        }
      }
    }
  });

  it('fails in words whatever bytes of its tables change', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        async (changes) => {
          const content = good.slice();
          // The tables are the file's first clusters.
          for (const [at, value] of changes) content[at % (clusterSize * 6)] = value;
          await expect(useAll(content)).resolves.toHaveProperty('opened');
        },
      ),
      { numRuns: 400 },
    );
  });

  it('fails in words wherever it ends', async () => {
    const random = randomOf(3);
    for (let trial = 0; trial < 200; trial++) await useAll(good.slice(0, random(good.length)));
    expect((await useAll(good)).opened).toBe(true);
  });

  it('says what it lacks', async () => {
    const change = (offset: number, value: number): ImageFile => {
      const content = good.slice();
      new DataView(content.buffer).setUint32(offset, value);
      return createMemoryFile(content);
    };
    await expect(openQcow2(createMemoryFile(new Uint8Array(512)))).rejects.toThrow('does not begin as a qcow2 file');
    await expect(openQcow2(change(4, 4))).rejects.toThrow('its version is 4; versions 2 and 3 can be used');
    await expect(openQcow2(change(20, 40))).rejects.toThrow('its clusters have 2^40 bytes');
    await expect(openQcow2(change(32, 1))).rejects.toThrow('encrypted');
    await expect(openQcow2(change(36, 0xffffffff))).rejects.toThrow('its L1 table has 4294967295 entries');
    await expect(openQcow2(change(76, 0x100))).rejects.toThrow('it needs the feature of bit 8');
    await expect(openQcow2(change(76, 2))).rejects.toThrow('marked as corrupt');
  });
});
