import type { DiskImage, ImageFile } from '@paravane/image-api';
import { patternOf } from '@paravane/image-api/conformance';
import { describe, expect, it } from 'vitest';
import { createMemoryFile, createMemoryImage, createQcow2, type MemoryFile, openQcow2 } from '../index.js';
import { slowFile } from '../testing/slow-file.js';

const clusterSize = 65536;
const partSize = clusterSize / 32;
const size = 2 ** 20;

async function create(withBase = false): Promise<MemoryFile> {
  const file = createMemoryFile();
  const backing = withBase ? { backing: { name: 'base', format: 'raw' } } : {};
  await createQcow2(file, { size, clusterSize, extendedL2: true, ...backing });
  return file;
}

const base = patternOf(size, 1);

async function open(file: ImageFile): Promise<DiskImage> {
  return openQcow2(file, {
    async openBacking() {
      const image = createMemoryImage({ size });
      await image.write(0, base);
      return image;
    },
  });
}

/** An entry of the first L2 table, as the file has it. */
function entryOf(file: MemoryFile, index: number): { view: DataView; at: number } {
  const content = file.content();
  const view = new DataView(content.buffer);
  const offset = (at: number): number => Number(view.getBigUint64(at) & 0x00fffffffffffe00n);
  return { view, at: offset(offset(40)) + index * 16 };
}

function partsOf(file: MemoryFile, index: number): { cluster: number; zero: number; stored: number } {
  const { view, at } = entryOf(file, index);
  const cluster = Number(view.getBigUint64(at) & 0x00fffffffffffe00n);
  return { cluster, zero: view.getUint32(at + 8), stored: view.getUint32(at + 12) };
}

async function read(image: DiskImage, at: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await image.read(at, bytes);
  return bytes;
}

/** Where bytes are not the wanted ones first; -1 where they all are. */
function difference(bytes: Uint8Array, wanted: Uint8Array): number {
  return bytes.length === wanted.length ? bytes.findIndex((byte, at) => byte !== wanted[at]) : 0;
}

describe('a qcow2 image with extended L2 entries', () => {
  it('stores the parts of a cluster that are written, with what is around the write in them', async () => {
    const file = await create(true);
    const image = await open(file);
    const wanted = base.slice();
    const write = async (at: number, length: number): Promise<void> => {
      const bytes = patternOf(length, at + 2);
      wanted.set(bytes, at);
      await image.write(at, bytes);
    };
    await write(partSize * 3 + 512, 512);
    await image.flush();
    const first = partsOf(file, 0);
    expect(first).toMatchObject({ zero: 0, stored: 0b1000 });
    await write(partSize * 7 - 512, 1024);
    await write(clusterSize - 512, 512);
    await image.flush();
    expect(partsOf(file, 0)).toEqual({ ...first, stored: 0x800000c8 });
    expect(difference(await read(image, 0, size), wanted)).toBe(-1);
    expect(await image.check?.()).toMatchObject({ corruptions: 0, leaks: 0 });
    await image.close();
  });

  it('keeps a cluster until the last of its parts is zeroes', async () => {
    const file = await create(true);
    const image = await open(file);
    await image.write(0, patternOf(clusterSize, 3));
    const before = file.content().length;
    await image.writeZeroes?.(0, partSize * 31);
    await image.flush();
    expect(partsOf(file, 0)).toMatchObject({ zero: 0x7fffffff, stored: 0x80000000 });
    await image.discard?.(partSize * 31, partSize);
    await image.flush();
    expect(partsOf(file, 0)).toEqual({ cluster: 0, zero: 0xffffffff, stored: 0 });
    expect((await read(image, 0, clusterSize)).every((byte) => byte === 0)).toBe(true);
    // The image under it does not show through, and the cluster is there for others.
    await image.write(clusterSize, patternOf(clusterSize, 4));
    await image.close();
    expect(file.content().length).toBe(before);
  });

  it('wipes what is discarded securely, and no more', async () => {
    const file = await create();
    const image = await open(file);
    const bytes = patternOf(clusterSize, 5);
    await image.write(0, bytes);
    await image.discard?.(partSize * 2 + 512, partSize * 3, { secure: true });
    await image.flush();
    const wanted = bytes.slice();
    wanted.fill(0, partSize * 2 + 512, partSize * 5 + 512);
    const { cluster, stored, zero } = partsOf(file, 0);
    expect({ stored, zero }).toEqual({ stored: 0xffffffe7, zero: 0 });
    expect(difference(file.content().subarray(cluster, cluster + clusterSize), wanted)).toBe(-1);
    expect(difference(await read(image, 0, clusterSize), wanted)).toBe(-1);
    await image.close();
  });

  it('with parts that contradict themselves is told, not written there, and mended by a repair', async () => {
    const file = await create();
    const image = await open(file);
    await image.write(0, patternOf(3 * clusterSize, 6));
    await image.close();
    const { view, at } = entryOf(file, 0);
    view.setUint32(at + 8, 0b10);
    // No cluster, and yet a part of it.
    view.setBigUint64(at + 16 * 9, 0n);
    view.setUint32(at + 16 * 9 + 12, 1);
    const damaged = createMemoryFile(new Uint8Array(view.buffer));
    const opened = await open(damaged);
    expect(await opened.check?.()).toMatchObject({ corruptions: 2, leaks: 0 });
    await expect((async () => opened.write(512, new Uint8Array(512)))()).rejects.toMatchObject({
      code: 'image-invalid',
    });
    await opened.write(clusterSize, new Uint8Array(512));
    expect(await opened.check?.({ repair: true })).toMatchObject({ corruptions: 0, repaired: 2 });
    expect(await opened.check?.()).toMatchObject({ corruptions: 0, leaks: 0, problems: [] });
    const wanted = patternOf(clusterSize, 6);
    wanted.fill(0, partSize, 2 * partSize);
    expect(difference(await read(opened, 0, clusterSize), wanted)).toBe(-1);
    await opened.close();
    expect(partsOf(damaged, 0)).toMatchObject({ zero: 0b10, stored: 0xfffffffd });
    expect(partsOf(damaged, 9)).toEqual({ cluster: 0, zero: 1, stored: 0 });
  });

  it('keeps what others write meanwhile beside a write that stores new parts', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const image = await open(slowFile(await create(seed % 2 === 0), seed));
      await image.write(partSize, patternOf(partSize, 7));
      const [first, second] = [patternOf(partSize + 512, 8), patternOf(512, 9)];
      const beside = async (): Promise<void> => {
        for (let turn = 0; turn < seed; turn++) await Promise.resolve();
        await image.write(partSize + 1024, second);
      };
      await Promise.all([image.write(0, first), beside()]);
      const wanted = patternOf(partSize, 7);
      wanted.set(first.subarray(partSize), 0);
      wanted.set(second, 1024);
      expect(difference(await read(image, partSize, partSize), wanted), `seed ${seed}`).toBe(-1);
      await image.close();
    }
  });

  it('has clusters of 16 KiB or more, and version 3', async () => {
    const make = (options: { clusterSize?: number; version?: 2 }): Promise<void> =>
      createQcow2(createMemoryFile(), { size, extendedL2: true, ...options });
    await expect(make({ clusterSize: 8192 })).rejects.toThrow('clusters of 16 KiB or more, not 8192 bytes');
    await expect(make({ version: 2 })).rejects.toThrow('extended L2 entries need version 3');
    await make({ clusterSize: 16384 });
  });
});
