import { type DiskImage, type ImageFile, imageError, isImageError } from '@paravane/image-api';
import { randomOf } from '@paravane/image-api/conformance';
import { describe, expect, it } from 'vitest';
import { createMemoryFile, createQcow2, openQcow2 } from '../index.js';
import { slowFile } from '../testing/slow-file.js';

interface Faults {
  /** Of 100 writes, sizes and flushes, how many fail. */
  share: number;
  failed: number;
}

function failingFile(file: ImageFile, faults: Faults, random: (limit: number) => number): ImageFile {
  const attempt = <T>(work: () => T): T => {
    if (random(100) < faults.share) {
      faults.failed++;
      throw imageError(random(2) === 0 ? 'no-space' : 'io', 'the host failed');
    }
    return work();
  };
  return {
    readOnly: false,
    get size() {
      return file.size;
    },
    read: (offset, into) => file.read(offset, into),
    write: (offset, from) => attempt(() => file.write(offset, from)),
    flush: () => attempt(() => file.flush()),
    setSize: (size) => attempt(() => file.setSize(size)),
    close: () => file.close(),
  };
}

async function succeeds(work: () => unknown): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!isImageError(error)) throw error;
    return false;
  }
}

/** What each block of 4096 bytes may hold: a request that failed may have been carried out, or not. */
async function compare(image: DiskImage, allowed: readonly ReadonlySet<number>[]): Promise<void> {
  const bytes = new Uint8Array(image.size);
  await image.read(0, bytes);
  for (const [block, values] of allowed.entries()) {
    const held = new Set(bytes.subarray(block * 4096, (block + 1) * 4096));
    for (const value of held)
      if (!values.has(value)) throw new Error(`block ${block} holds ${value}, not ${[...values]}`);
  }
}

describe('a qcow2 image on a host that fails now and then', () => {
  for (const [clusterSize, extendedL2] of [
    [512, false],
    [4096, false],
    [65536, false],
    [16384, true],
    [524288, true],
  ] as const) {
    const kind = `${extendedL2 ? 'extended L2 entries, ' : ''}clusters of ${clusterSize}`;
    for (let seed = 1; seed <= 4; seed++) {
      it(`keeps what was answered, and its sense: ${kind}, run ${seed}`, async () => {
        const random = randomOf(seed * clusterSize);
        const content = createMemoryFile();
        await createQcow2(content, { size: 2 ** 20, clusterSize, extendedL2 });
        const faults: Faults = { share: 0, failed: 0 };
        const image = await openQcow2(failingFile(slowFile(content, seed), faults, random), { cacheBytes: 4096 });
        const allowed = Array.from({ length: 256 }, () => new Set([0]));
        faults.share = 15;
        for (let request = 0; request < 300; request++) {
          const first = random(256);
          const count = Math.min(1 + random(20), 256 - first);
          const value = 1 + random(255);
          const clear = random(5) === 0;
          const done = await succeeds(() =>
            clear
              ? image.writeZeroes(first * 4096, count * 4096)
              : image.write(first * 4096, new Uint8Array(count * 4096).fill(value)),
          );
          for (let block = first; block < first + count; block++) {
            if (done) allowed[block] = new Set();
            allowed[block]!.add(clear ? 0 : value);
          }
          if (random(8) === 0) await succeeds(() => image.flush());
        }
        expect(faults.failed).toBeGreaterThan(10);
        await compare(image, allowed);
        // The host is well again: what is left to be stored is stored.
        faults.share = 0;
        await image.flush();
        expect(await image.check()).toMatchObject({ corruptions: 0 });
        await image.close();
        const again = await openQcow2(content);
        expect(await again.check()).toMatchObject({ corruptions: 0 });
        await compare(again, allowed);
        await again.close();
      });
    }
  }

  it('tells a flush that fails, and can be closed afterwards', async () => {
    const content = createMemoryFile();
    await createQcow2(content, { size: 2 ** 20 });
    const faults: Faults = { share: 0, failed: 0 };
    const image = await openQcow2(failingFile(content, faults, randomOf(1)));
    await image.write(0, new Uint8Array(4096).fill(1));
    faults.share = 100;
    await expect(Promise.resolve(image.flush())).rejects.toThrow('the host failed');
    await expect(Promise.resolve(image.write(65536, new Uint8Array(512)))).rejects.toThrow('the host failed');
    await expect(image.close()).rejects.toThrow('the host failed');
    expect(await succeeds(() => image.read(0, new Uint8Array(512)))).toBe(false);
  });
});
