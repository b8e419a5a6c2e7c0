/**
 * Crashes of the host, played through: random requests run on an image whose file keeps a log of its writes and
 * flushes; the log is cut off at random places, of what no flush had covered a random part is lost, sector by sector;
 * and the image is opened again on what is left. Then every block must hold what the last flush promised, or something
 * newer, and the image may have lost space but not sense.
 */

import { type Buffers, byteLength, copyFrom } from './buffers.js';
import { randomOf } from './conformance-tools.js';
import type { DiskImage, Soon } from './disk-image.js';
import type { ImageFile } from './image-file.js';

export interface CrashSubject {
  /** The image's file before the first request. */
  readonly content: Uint8Array;
  open(file: ImageFile): Soon<DiskImage>;
  /** Something else that is done with the image half-way. The blocks that it had before stay as they are. */
  during?(image: DiskImage): Soon;
  /** Looks at a file as a crash left it. */
  inspect?(content: Uint8Array): Soon;
}

export interface CrashOptions {
  readonly seed: number;
  readonly cuts: number;
  /** 150 where it is not given. */
  readonly requests?: number;
}

export interface CrashReport {
  readonly cuts: number;
  /** Cuts after which clusters were lost, and how many at most. */
  readonly leaking: number;
  readonly mostLeaks: number;
}

const sector = 512;

interface Stored {
  readonly begun: number;
  readonly done: number;
  readonly offset: number;
  /** A write, or a new size of the file. */
  readonly bytes: Uint8Array | undefined;
}

interface Flush {
  readonly begun: number;
  readonly done: number;
}

/** What may be in a block after a request. */
interface Version {
  readonly begun: number;
  readonly stamps: ReadonlySet<number>;
  done: number;
}

/** Bytes that grow. */
class Bytes {
  #bytes: Uint8Array;
  length: number;

  constructor(content: Uint8Array) {
    this.#bytes = content.slice();
    this.length = content.length;
  }

  resize(size: number): void {
    if (size > this.#bytes.length) {
      const longer = new Uint8Array(size * 2);
      longer.set(this.#bytes.subarray(0, this.length));
      this.#bytes = longer;
    }
    if (size < this.length) this.#bytes.fill(0, size, this.length);
    this.length = size;
  }

  write(offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > this.length) this.resize(offset + bytes.length);
    this.#bytes.set(bytes, offset);
  }

  read(offset: number, into: Uint8Array): void {
    into.fill(0);
    if (offset < this.length) into.set(this.#bytes.subarray(offset, Math.min(offset + into.length, this.length)));
  }

  content(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

class Recording {
  clock = 0;
  readonly stored: Stored[] = [];
  readonly fileFlushes: Flush[] = [];
  readonly diskFlushes: Flush[] = [];
  #now: Bytes;

  constructor(
    readonly content: Uint8Array,
    readonly random: (limit: number) => number,
  ) {
    this.#now = new Bytes(content);
  }

  async #wait(): Promise<void> {
    for (let turns = this.random(8); turns > 0; turns--) await Promise.resolve();
  }

  /** The file that the image under test stands on. */
  file(): ImageFile {
    const size = (): number => this.#now.length;
    const store = async (offset: number, bytes: Uint8Array | undefined): Promise<void> => {
      const begun = ++this.clock;
      await this.#wait();
      if (bytes === undefined) this.#now.resize(offset);
      else this.#now.write(offset, bytes);
      this.stored.push({ begun, done: ++this.clock, offset, bytes });
      await this.#wait();
    };
    return {
      readOnly: false,
      get size() {
        return size();
      },
      read: async (offset, into) => {
        await this.#wait();
        let at = offset;
        for (const buffer of into instanceof Uint8Array ? [into] : into) {
          this.#now.read(at, buffer);
          at += buffer.length;
        }
      },
      write: (offset: number, from: Buffers) => {
        const bytes = new Uint8Array(byteLength(from));
        copyFrom(from, bytes);
        return store(offset, bytes);
      },
      flush: async () => {
        const begun = ++this.clock;
        await this.#wait();
        this.fileFlushes.push({ begun, done: ++this.clock });
      },
      setSize: (size) => store(size, undefined),
      close: () => undefined,
    };
  }

  /** The file as a crash at `cut` may leave it. `loss` of 10 sectors that no flush covered are lost. */
  crash(cut: number, loss: number, random: (limit: number) => number): Uint8Array {
    const covered = lastCovered(this.fileFlushes, cut);
    const left = new Bytes(this.content);
    for (const stored of this.stored) {
      if (stored.begun > cut) continue;
      const durable = stored.done <= covered;
      if (stored.bytes === undefined) {
        if (durable || random(10) >= loss) left.resize(stored.offset);
        continue;
      }
      for (let at = 0; at < stored.bytes.length; ) {
        const offset = stored.offset + at;
        const part = stored.bytes.subarray(at, at + sector - (offset % sector));
        at += part.length;
        if (durable || random(10) >= loss) left.write(offset, part);
      }
    }
    return left.content();
  }
}

/** When the last flush that answered before `cut` was asked for: what was done by then is durable. */
function lastCovered(flushes: readonly Flush[], cut: number): number {
  return flushes.reduce((last, { begun, done }) => (done <= cut ? Math.max(last, begun) : last), 0);
}

/** A block holds one number, over and over, so that it tells which request it is from. */
function stamped(length: number, stamp: number): Uint8Array {
  const bytes = new Uint8Array(length);
  new Uint32Array(bytes.buffer).fill(stamp);
  return bytes;
}

export async function testCrashes(subject: CrashSubject, options: CrashOptions): Promise<CrashReport> {
  const random = randomOf(options.seed);
  const recording = new Recording(subject.content, random);
  const image = await subject.open(recording.file());
  const blocks = await firstVersions(image);
  const requests = options.requests ?? 150;
  await runRequests(image, recording, blocks, random, requests / 2);
  await subject.during?.(image);
  await runRequests(image, recording, blocks, random, requests / 2);
  await image.close();

  let leaking = 0;
  let mostLeaks = 0;
  for (let trial = 0; trial < options.cuts; trial++) {
    const cut = 1 + random(recording.clock);
    const loss = random(11);
    const where = `after a crash at ${cut} of ${recording.clock} (seed ${options.seed})`;
    const content = recording.crash(cut, loss, random);
    await subject.inspect?.(content);
    const leaks = await examine(subject, content, recording, blocks, cut, where);
    if (leaks > 0) leaking++;
    mostLeaks = Math.max(mostLeaks, leaks);
  }
  return { cuts: options.cuts, leaking, mostLeaks };
}

async function firstVersions(image: DiskImage): Promise<Version[][]> {
  const bytes = new Uint8Array(image.size);
  await image.read(0, bytes);
  const view = new DataView(bytes.buffer);
  const versions: Version[][] = [];
  for (let at = 0; at < bytes.length; at += sector) {
    versions.push([{ begun: 0, done: 0, stamps: new Set([view.getUint32(at, true)]) }]);
  }
  return versions;
}

async function runRequests(
  image: DiskImage,
  recording: Recording,
  blocks: Version[][],
  random: (limit: number) => number,
  requests: number,
): Promise<void> {
  let stamp = 0x10000 + recording.clock;
  const unit = image.logicalBlockSize / sector;
  const oneRequest = async (first: number, count: number): Promise<void> => {
    const kind = random(12);
    const value = ++stamp;
    const range = blocks.slice(first, first + count);
    const versions = range.map((versionsOfBlock) => {
      const old = versionsOfBlock.at(-1)!.stamps;
      const stamps = kind < 9 ? [value] : kind < 11 ? [0] : [...old, 0];
      const version = { begun: recording.clock + 1, done: Number.POSITIVE_INFINITY, stamps: new Set(stamps) };
      versionsOfBlock.push(version);
      return version;
    });
    recording.clock++;
    const [offset, length] = [first * sector, count * sector];
    if (kind < 9) await image.write(offset, stamped(length, value));
    else if (kind < 11) await (image.writeZeroes?.(offset, length) ?? image.write(offset, stamped(length, 0)));
    else await image.discard?.(offset, length);
    recording.clock++;
    for (const version of versions) version.done = recording.clock;
  };
  const flush = async (): Promise<void> => {
    const begun = ++recording.clock;
    await image.flush();
    recording.diskFlushes.push({ begun, done: ++recording.clock });
  };
  for (let done = 0; done < requests; ) {
    const together = 1 + random(4);
    const share = Math.floor(blocks.length / together / unit) * unit;
    const answers: Promise<void>[] = [];
    for (let part = 0; part < together; part++, done++) {
      const count = Math.min((1 + random(random(4) === 0 ? 300 / unit : 8)) * unit, share);
      const first = part * share + random((share - count) / unit + 1) * unit;
      answers.push(oneRequest(first, count));
      if (random(5) === 0) answers.push(flush());
    }
    await Promise.all(answers);
    if (random(6) === 0) await flush();
  }
}

async function examine(
  subject: CrashSubject,
  content: Uint8Array,
  recording: Recording,
  blocks: readonly Version[][],
  cut: number,
  where: string,
): Promise<number> {
  // Nothing crashes any more: a file that only remembers.
  const image = await subject.open(new Recording(content, () => 0).file());
  try {
    const found = await image.check?.();
    if (found !== undefined && found.corruptions > 0) {
      throw new Error(`${where} the image is corrupt: ${found.problems.slice(0, 5).join('; ')}`);
    }
    await expectPromised(image, recording, blocks, cut, where);
    if (found !== undefined) {
      await image.check?.({ repair: true });
      const after = await image.check?.();
      if (after!.corruptions + after!.leaks > 0) throw new Error(`${where} the image could not be repaired`);
      await expectPromised(image, recording, blocks, cut, `${where} and a repair`);
    }
    return found?.leaks ?? 0;
  } finally {
    await image.close();
  }
}

async function expectPromised(
  image: DiskImage,
  recording: Recording,
  blocks: readonly Version[][],
  cut: number,
  where: string,
): Promise<void> {
  const bytes = new Uint8Array(image.size);
  await image.read(0, bytes);
  const words = new Uint32Array(bytes.buffer);
  const covered = lastCovered(recording.diskFlushes, cut);
  for (const [block, versions] of blocks.entries()) {
    const promised = versions.findLastIndex(({ done }) => done <= covered);
    const allowed = versions.filter(({ begun }, index) => index >= promised && begun <= cut);
    const words0 = (block * sector) / 4;
    const stamp = words[words0]!;
    const whole = words.subarray(words0, words0 + sector / 4).every((word) => word === stamp);
    if (whole && allowed.some(({ stamps }) => stamps.has(stamp))) continue;
    const wanted = allowed.flatMap(({ stamps }) => [...stamps]).join(', ');
    throw new Error(`${where} block ${block} holds ${whole ? stamp : 'a mixture'} where ${wanted} was promised`);
  }
}
