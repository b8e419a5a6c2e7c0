/**
 * What every disk image and every file under one must do, as a list of cases. A case is a name and a function that
 * throws where the subject is wrong: run them in any test runner, or in none.
 */
import '@paravane/types';
import type { BufferList, Buffers } from './buffers.js';
import { patternOf, randomOf } from './conformance-tools.js';
import { type DiskImage, imageApiVersion, type Soon } from './disk-image.js';
import type { ImageFile } from './image-file.js';

export { patternOf, randomOf } from './conformance-tools.js';
export { type CrashOptions, type CrashReport, type CrashSubject, testCrashes } from './crash.js';

export interface ConformanceCase {
  readonly name: string;
  run(): Promise<void>;
}

export interface DiskImageSubject {
  /** A new disk of `size` bytes (a multiple of 4096) that reads as zeroes, to be written. */
  create(size: number): Soon<DiskImage>;
  /** Opens the disk made last once more, after it was closed. Absent where nothing is kept. */
  reopen?(options: { readonly readOnly: boolean }): Soon<DiskImage>;
}

export interface ImageFileSubject {
  /** A new file without a byte, to be written. */
  create(): Soon<ImageFile>;
  /** Opens the file made last once more, after it was closed. */
  reopen?(options: { readonly readOnly: boolean }): Soon<ImageFile>;
}

const diskSize = 4 * 2 ** 20;

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

async function expectCode(code: string, what: string, request: () => unknown): Promise<void> {
  try {
    await request();
  } catch (error) {
    const actual = (error as { code?: unknown }).code;
    expect(actual === code, `${what} must fail with the code "${code}", and failed with "${String(actual)}": ${error}`);
    return;
  }
  throw new Error(`${what} must fail with the code "${code}", and did not fail`);
}

function expectSame(actual: Uint8Array, wanted: Uint8Array, what: string): void {
  expect(actual.length === wanted.length, `${what}: ${actual.length} bytes where ${wanted.length} are due`);
  for (let at = firstDifferentWord(actual, wanted) * 4; at < wanted.length; at++) {
    if (actual[at] !== wanted[at]) throw new Error(`${what}: byte ${at} is ${actual[at]} and should be ${wanted[at]}`);
  }
}

/** Whole words are compared faster than bytes. 0 where they do not lie on words. */
function firstDifferentWord(a: Uint8Array, b: Uint8Array): number {
  if (a.byteOffset % 4 !== 0 || b.byteOffset % 4 !== 0) return 0;
  const count = Math.floor(a.length / 4);
  const [wordsOfA, wordsOfB] = [a, b].map(({ buffer, byteOffset }) => new Uint32Array(buffer, byteOffset, count));
  let at = 0;
  while (at < count && wordsOfA![at] === wordsOfB![at]) at++;
  return at;
}

async function readBytes(from: { read(offset: number, into: Buffers): Soon }, offset: number, length: number) {
  const bytes = new Uint8Array(length).fill(0xa5);
  await from.read(offset, bytes);
  return bytes;
}

/** Cuts into pieces of odd lengths. */
function cut(bytes: Uint8Array, seed: number): BufferList {
  const next = randomOf(seed);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(bytes.length - at, 1 + next(1500));
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

export function diskImageCases(subject: DiskImageSubject): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  const add = (name: string, body: (image: DiskImage) => Promise<void>): void => {
    cases.push({
      name,
      async run() {
        const image = await subject.create(diskSize);
        try {
          await body(image);
        } finally {
          await image.close();
        }
      },
    });
  };

  add('tells its version, size and block size', async (image) => {
    expect(image.apiVersion === imageApiVersion, `apiVersion is ${image.apiVersion}`);
    expect(image.size === diskSize, `size is ${image.size} where ${diskSize} was asked for`);
    expect([512, 4096].includes(image.logicalBlockSize), `logicalBlockSize is ${image.logicalBlockSize}`);
    expect(typeof image.format === 'string' && image.format !== '', 'format has no name');
    expect(image.readOnly === false, 'readOnly is not false');
  });

  add('reads as zeroes where nothing was written', async (image) => {
    expectSame(await readBytes(image, 0, 65536), new Uint8Array(65536), 'the start');
    expectSame(await readBytes(image, diskSize - 65536, 65536), new Uint8Array(65536), 'the end');
  });

  add('reads back what was written, at the start, in the middle and at the end', async (image) => {
    const lengths = [image.logicalBlockSize, 4096, 65536, 200704];
    for (const [seed, length] of lengths.entries()) {
      for (const offset of [0, 1048576 - 4096, diskSize - length]) {
        const bytes = patternOf(length, seed);
        await image.write(offset, bytes);
        expectSame(await readBytes(image, offset, length), bytes, `${length} bytes at ${offset}`);
      }
    }
  });

  add('leaves what is beside a write as it was', async (image) => {
    const block = image.logicalBlockSize;
    const around = patternOf(block * 3, 1);
    await image.write(65536 - block, around);
    const middle = patternOf(block, 2);
    await image.write(65536, middle);
    around.set(middle, block);
    expectSame(await readBytes(image, 65536 - block, block * 3), around, 'three blocks');
    expectSame(await readBytes(image, 65536 + block * 2, block), new Uint8Array(block), 'the block after them');
  });

  add('moves bytes between a run of blocks and any list of buffers', async (image) => {
    const bytes = patternOf(131072, 3);
    await image.write(8192, cut(bytes, 4));
    const into = new Uint8Array(131072 + 64).fill(0x5a);
    await image.read(8192, cut(into.subarray(32, 32 + 131072), 5));
    expectSame(into.subarray(32, 32 + 131072), bytes, 'the buffers');
    expectSame(into.subarray(0, 32), new Uint8Array(32).fill(0x5a), 'what is before the buffers');
    expectSame(into.subarray(32 + 131072), new Uint8Array(32).fill(0x5a), 'what is behind the buffers');
  });

  for (const shared of [false, true]) {
    add(`reads and writes ${shared ? 'shared ' : ''}WebAssembly memory`, async (image) => {
      const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared });
      const frames = new Uint8Array(memory.buffer);
      const bytes = patternOf(16384, 6);
      frames.set(bytes, 4096);
      await image.write(4096, [frames.subarray(4096, 8192), frames.subarray(8192, 20480)]);
      frames.fill(0);
      await image.read(4096, [frames.subarray(65536, 65536 + 8192), frames.subarray(40960, 40960 + 8192)]);
      expectSame(frames.slice(65536, 65536 + 8192), bytes.subarray(0, 8192), 'the first frames');
      expectSame(frames.slice(40960, 40960 + 8192), bytes.subarray(8192), 'the second frames');
    });
  }

  add('does nothing for a request of no bytes', async (image) => {
    await image.read(0, new Uint8Array(0));
    await image.write(4096, []);
    await image.read(diskSize, []);
  });

  add('refuses requests that are not whole blocks within the disk', async (image) => {
    const block = image.logicalBlockSize;
    const wrong: [number, number][] = [
      [diskSize, block],
      [diskSize - block, block * 2],
      [-block, block],
      [block / 2, block],
      [0, block / 2],
      [Number.NaN, block],
      [2 ** 53, block],
    ];
    for (const [offset, length] of wrong) {
      const what = (verb: string): string => `a ${verb} of ${length} bytes at ${offset}`;
      await expectCode('out-of-range', what('read'), () => image.read(offset, new Uint8Array(length)));
      await expectCode('out-of-range', what('write'), () => image.write(offset, new Uint8Array(length)));
      if (image.discard !== undefined) {
        await expectCode('out-of-range', what('discard'), () => image.discard!(offset, length));
      }
    }
    expectSame(await readBytes(image, 0, 4096), new Uint8Array(4096), 'the disk after refused requests');
  });

  add('keeps many neighbours apart that are in flight together', async (image) => {
    const block = image.logicalBlockSize;
    const all = patternOf(block * 300, 7);
    const order = Array.from({ length: 300 }, (_, index) => (index * 7) % 300);
    await Promise.all(
      order.map(async (index) =>
        image.write(64 * block + index * block, all.subarray(index * block, (index + 1) * block)),
      ),
    );
    expectSame(await readBytes(image, 64 * block, all.length), all, 'all blocks');
  });

  add('agrees with a flat array over a thousand random requests', async (image) => {
    await compareWithModel(image, randomOf(8), 1000);
  });

  add('answers a flush', async (image) => {
    await image.flush();
    await image.write(0, patternOf(4096, 9));
    await image.flush();
    await Promise.all([image.write(4096, patternOf(4096, 9)), image.flush(), image.flush()]);
  });

  add('makes exactly the range read as zeroes, if it can', async (image) => {
    if (image.writeZeroes === undefined) return;
    const wanted = patternOf(diskSize, 10);
    await image.write(0, wanted);
    const block = image.logicalBlockSize;
    const ranges = [
      [0, block],
      [65536 - block, 2 * block],
      [131072, 65536],
      [262144 + block, 300000 - (300000 % block)],
      [diskSize - 65536 - block, 65536 + block],
    ] as const;
    for (const [offset, length] of ranges) {
      await image.writeZeroes(offset, length);
      wanted.fill(0, offset, offset + length);
    }
    expectSame(await readBytes(image, 0, diskSize), wanted, 'the disk');
  });

  for (const secure of [false, true]) {
    add(`discards ${secure ? 'securely ' : ''}within the range only, if it can`, async (image) => {
      if (image.discard === undefined) return;
      const block = image.logicalBlockSize;
      const before = patternOf(diskSize, 11);
      await image.write(0, before);
      const ranges = [
        [65536 - block, 200704],
        [diskSize - 65536, 65536],
      ] as const;
      const discarded = (at: number): boolean =>
        ranges.some(([offset, length]) => at >= offset && at < offset + length);
      for (const [offset, length] of ranges) await image.discard(offset, length, { secure });
      const after = await readBytes(image, 0, diskSize);
      for (let at = 0; at < diskSize; at += block) {
        const now = after.subarray(at, at + block);
        if (discarded(at) && now.every((byte) => byte === 0)) continue;
        expect(!(discarded(at) && secure), `what was discarded at ${at} can still be read`);
        expectSame(now, before.subarray(at, at + block), `the block at ${at}`);
      }
      await image.write(65536, before.subarray(0, 65536));
      expectSame(await readBytes(image, 65536, 65536), before.subarray(0, 65536), 'what was written after the discard');
    });
  }

  add('grows with zeroes and forgets what was cut off, if it can be resized', async (image) => {
    if (image.resize === undefined) return;
    const bytes = patternOf(diskSize, 12);
    await image.write(0, bytes);
    await image.resize(diskSize / 2 + 4096);
    expect(image.size === diskSize / 2 + 4096, `size is ${image.size} after it was cut off`);
    await expectCode('out-of-range', 'a read of what was cut off', () =>
      image.read(diskSize - 4096, new Uint8Array(4096)),
    );
    await image.resize(diskSize * 3);
    const wanted = new Uint8Array(diskSize * 3);
    wanted.set(bytes.subarray(0, diskSize / 2 + 4096));
    expectSame(await readBytes(image, 0, diskSize * 3), wanted, 'the disk that grew');
    await image.write(diskSize * 3 - 65536, bytes.subarray(0, 65536));
    expectSame(await readBytes(image, diskSize * 3 - 65536, 65536), bytes.subarray(0, 65536), 'its new end');
  });

  add('closes once, and answers no request afterwards', async (image) => {
    await image.write(0, patternOf(4096, 13));
    await image.close();
    await image.close();
    await expectCode('closed', 'a read after close', () => image.read(0, new Uint8Array(4096)));
    await expectCode('closed', 'a write after close', () => image.write(0, new Uint8Array(4096)));
    await expectCode('closed', 'a flush after close', () => image.flush());
  });

  const { reopen } = subject;
  if (reopen !== undefined) {
    add('has after closing and opening what it had before', async (image) => {
      const model = await compareWithModel(image, randomOf(14), 200);
      await image.close();
      const again = await reopen({ readOnly: false });
      try {
        expectSame(await readBytes(again, 0, diskSize), model, 'the disk');
        await again.write(0, patternOf(4096, 15));
        expectSame(await readBytes(again, 0, 4096), patternOf(4096, 15), 'a write to it');
      } finally {
        await again.close();
      }
    });
    add('can be opened for reading, and is then not written', async (image) => {
      await image.write(0, patternOf(4096, 16));
      await image.close();
      const again = await reopen({ readOnly: true });
      try {
        expect(again.readOnly, 'readOnly is not true');
        await expectCode('read-only', 'a write', () => again.write(0, new Uint8Array(4096)));
        if (again.discard !== undefined) await expectCode('read-only', 'a discard', () => again.discard!(0, 4096));
        if (again.resize !== undefined) await expectCode('read-only', 'a new size', () => again.resize!(diskSize * 2));
        await again.flush();
        expectSame(await readBytes(again, 0, 4096), patternOf(4096, 16), 'the disk');
      } finally {
        await again.close();
      }
    });
  }
  return cases;
}

/** Random requests, some in flight together, on the image and on an array; the result is the array. */
export async function compareWithModel(
  image: DiskImage,
  random: (limit: number) => number,
  requests: number,
): Promise<Uint8Array> {
  const block = image.logicalBlockSize;
  const { size } = image;
  const longest = 204800 / block;
  const model = await readBytes(image, 0, size);
  for (let done = 0; done < requests; ) {
    // Requests that are in flight together must not touch the same blocks: each has its part of the disk.
    const together = 1 + random(4);
    const share = Math.floor(size / together / block) * block;
    const answers: Promise<void>[] = [];
    for (let part = 0; part < together; part++, done++) {
      const length = Math.min((1 + random(random(4) === 0 ? longest : 16)) * block, share);
      const offset = part * share + random((share - length) / block + 1) * block;
      answers.push(oneRequest(image, model, random, offset, length));
    }
    await Promise.all(answers);
    if (random(20) === 0) await image.flush();
  }
  expectSame(await readBytes(image, 0, size), model, `the disk after ${requests} requests`);
  return model;
}

async function oneRequest(
  image: DiskImage,
  model: Uint8Array,
  random: (limit: number) => number,
  offset: number,
  length: number,
): Promise<void> {
  const kind = random(10);
  if (kind < 5) {
    const bytes = patternOf(length, random(2 ** 31));
    model.set(bytes, offset);
    await image.write(offset, random(2) === 0 ? bytes : cut(bytes, random(1000)));
  } else if (kind < 8) {
    expectSame(await readBytes(image, offset, length), model.subarray(offset, offset + length), `a read at ${offset}`);
  } else if (kind === 8 && image.writeZeroes !== undefined) {
    model.fill(0, offset, offset + length);
    await image.writeZeroes(offset, length);
  } else if (kind === 9 && image.discard !== undefined) {
    await image.discard(offset, length);
    // Zeroes or what was there before, block by block.
    const after = await readBytes(image, offset, length);
    const block = image.logicalBlockSize;
    for (let at = 0; at < length; at += block) {
      const now = after.subarray(at, at + block);
      if (now.every((byte) => byte === 0)) model.fill(0, offset + at, offset + at + block);
      else expectSame(now, model.subarray(offset + at, offset + at + block), `a discarded block at ${offset + at}`);
    }
  }
}

export function imageFileCases(subject: ImageFileSubject): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  const add = (name: string, body: (file: ImageFile) => Promise<void>): void => {
    cases.push({
      name,
      async run() {
        const file = await subject.create();
        try {
          await body(file);
        } finally {
          await file.close();
        }
      },
    });
  };

  add('grows with what is written, and reads as zeroes elsewhere', async (file) => {
    expect(file.size === 0 && !file.readOnly, 'a new file has no bytes and may be written');
    const bytes = patternOf(5000, 1);
    await file.write(3000, bytes);
    expect(file.size === 8000, `the size is ${file.size} after 5000 bytes were written at 3000`);
    const wanted = new Uint8Array(10000);
    wanted.set(bytes, 3000);
    expectSame(await readBytes(file, 0, 10000), wanted, 'the file, and what is behind its end');
  });

  add('takes lists of more buffers than a system call does', async (file) => {
    const bytes = patternOf(3000, 2);
    const single = Array.from({ length: 3000 }, (_, at) => bytes.subarray(at, at + 1));
    await file.write(10, single);
    const into = new Uint8Array(3000);
    await file.read(
      10,
      Array.from({ length: 3000 }, (_, at) => into.subarray(at, at + 1)),
    );
    expectSame(into, bytes, 'single bytes');
  });

  add('is cut off, and extended with zeroes', async (file) => {
    await file.write(0, patternOf(10000, 3));
    await file.setSize(5000);
    expect(file.size === 5000, `the size is ${file.size}`);
    await file.setSize(20000);
    expect(file.size === 20000, `the size is ${file.size}`);
    const wanted = new Uint8Array(20000);
    wanted.set(patternOf(10000, 3).subarray(0, 5000));
    expectSame(await readBytes(file, 0, 20000), wanted, 'the file');
  });

  add('answers a flush, also beside writes', async (file) => {
    await Promise.all([file.write(0, patternOf(4096, 4)), file.flush(), file.write(8192, patternOf(4096, 5))]);
    await file.flush();
    expectSame(await readBytes(file, 8192, 4096), patternOf(4096, 5), 'the second write');
  });

  add('punches holes that read as zeroes, if it can', async (file) => {
    if (file.punchHole === undefined) return;
    const wanted = patternOf(65536, 6);
    await file.write(0, wanted);
    await file.punchHole(4096, 8192);
    wanted.fill(0, 4096, 12288);
    expectSame(await readBytes(file, 0, 65536), wanted, 'the file');
  });

  const { reopen } = subject;
  if (reopen !== undefined) {
    add('has after closing and opening what it had before; for reading, it is not written', async (file) => {
      await file.write(100, patternOf(10000, 7));
      await file.flush();
      await file.close();
      const again = await reopen({ readOnly: true });
      try {
        expect(again.size === 10100, `the size is ${again.size}`);
        expectSame(await readBytes(again, 100, 10000), patternOf(10000, 7), 'the file');
        await expectCode('read-only', 'a write', () => again.write(0, new Uint8Array(1)));
        await expectCode('read-only', 'a new size', () => again.setSize(1));
      } finally {
        await again.close();
      }
    });
  }
  return cases;
}
