import { type CrashSubject, testCrashes } from '@paravane/image-api/conformance';
import { describe, expect, it } from 'vitest';
import { createMemoryFile, createQcow2, createRawImage, openQcow2, type Qcow2CreateOptions } from '../index.js';

/** `pnpm --filter @paravane/images crashes` plays a thousand of each. */
const cuts = Number(process.env.PARAVANE_CRASHES ?? 60);
/** Each with other requests. */
const cutsPerRun = 50;

async function crash(subject: CrashSubject, seed: number): Promise<number> {
  let played = 0;
  for (let run = 0; played < cuts; run++) {
    const report = await testCrashes(subject, { seed: seed + run * 7, cuts: Math.min(cutsPerRun, cuts - played) });
    played += report.cuts;
  }
  return played;
}

/** What the blocks of the image underneath hold: no request's number. */
function baseContent(size: number): Uint8Array {
  const words = new Uint32Array(size / 4);
  for (let at = 0; at < words.length; at++) words[at] = 0x80000000 + Math.floor(at / 128);
  return new Uint8Array(words.buffer);
}

async function emptyImage(options: Qcow2CreateOptions): Promise<Uint8Array> {
  const file = createMemoryFile();
  await createQcow2(file, options);
  return file.content();
}

const variants: Record<string, Omit<Qcow2CreateOptions, 'size'>> = {
  'clusters of 64 KiB': {},
  'version 2, clusters of 4 KiB': { version: 2, clusterSize: 4096 },
  'clusters of 512 bytes, counts of 64 bits': { clusterSize: 512, refcountBits: 64 },
  'extended L2 entries': { extendedL2: true },
  'extended L2 entries, clusters of 16 KiB': { extendedL2: true, clusterSize: 16384 },
};

describe('a qcow2 image after a crash of the host has what was flushed, and is not corrupt', () => {
  for (const [name, options] of Object.entries(variants)) {
    it(`with ${name}`, async () => {
      const content = await emptyImage({ ...options, size: 2 ** 20 });
      const subject: CrashSubject = { content, open: (file) => openQcow2(file, { cacheBytes: 8192 }) };
      expect(await crash(subject, 1)).toBe(cuts);
    });

    it(`with ${name}, over a smaller image`, async () => {
      const base = baseContent(700 * 1024);
      const content = await emptyImage({ ...options, size: 2 ** 20, backing: { name: 'base', format: 'raw' } });
      const below = () => createRawImage(createMemoryFile(base), { readOnly: true });
      const subject: CrashSubject = { content, open: (file) => openQcow2(file, { openBacking: below }) };
      expect(await crash(subject, 2)).toBe(cuts);
    });
  }

  it('while it grows, and its tables move', async () => {
    const content = await emptyImage({ clusterSize: 512, refcountBits: 64, size: 2 ** 20 });
    const subject: CrashSubject = {
      content,
      open: (file) => openQcow2(file),
      async during(image) {
        await image.resize?.(3 * 2 ** 20);
        await image.write(2 ** 20, new Uint8Array(2 ** 20).fill(1));
      },
    };
    expect(await crash(subject, 3)).toBe(cuts);
  });
});
