/** `paravane image`: makes disk images, tells of them, converts, checks and resizes them. */
import { renameSync, rmSync, statSync } from 'node:fs';
import { imageDrivers, imageUnpackers, openDiskImage, openImageFile } from '@paravane/host-node';
import type { DiskImage, ImageCheck, ImageInfo } from '@paravane/image-api';
import { createQcow2, openQcow2, type Qcow2CreateOptions } from '@paravane/images';
import { ParavaneError } from '@paravane/types';
import { type CliContext, carryOut, say } from '../context.js';
import { exitStatus } from '../exit-status.js';
import { formatOfName } from '../image-flags.js';
import { bytesInWords, createProgress } from '../progress.js';
import { backingOf, inFormatOf } from './image-backing.js';

export type ImageFormat = 'qcow2' | 'raw';

export interface CreateFlags {
  readonly format?: ImageFormat;
  readonly backing?: string;
  readonly backingFormat?: ImageFormat;
  readonly clusterSize?: number;
  readonly extendedL2: boolean;
  readonly version?: '2' | '3';
  readonly force: boolean;
}

export interface InfoFlags {
  readonly format?: ImageFormat;
  readonly json: boolean;
}

export interface ConvertFlags {
  readonly from?: ImageFormat;
  readonly to?: ImageFormat;
  readonly snapshot?: string;
  readonly clusterSize?: number;
  readonly extendedL2: boolean;
  readonly version?: '2' | '3';
  readonly force: boolean;
}

export interface CheckFlags {
  readonly format?: ImageFormat;
  readonly repair: boolean;
  readonly json: boolean;
}

export interface ResizeFlags {
  readonly format?: ImageFormat;
  readonly shrink: boolean;
}

/** A size as it was given: of the disk, or what is added to it. */
export interface SizeArgument {
  readonly bytes: number;
  readonly relative: boolean;
}

/** What `paravane image check` found, as `qemu-img check` says it. */
const checkStatus = { sound: 0, corrupt: 2, leaks: 3 } as const;

export async function create(this: CliContext, flags: CreateFlags, path: string, size?: SizeArgument): Promise<void> {
  await carryOut(this, async () => {
    const format = flags.format ?? formatOfName(path);
    const backing = flags.backing === undefined ? undefined : await backingOf(path, flags.backing, flags.backingFormat);
    if (backing !== undefined && format === 'raw') {
      throw new ParavaneError(
        'bad-argument',
        'a raw image has no image under it: leave out --backing or make a qcow2 one',
      );
    }
    const bytes = size?.bytes ?? backing?.size;
    if (bytes === undefined) {
      throw new ParavaneError('bad-argument', 'give the size of the disk, such as 2G; only one over --backing has one');
    }
    await makeImage(path, flags.force, {
      format,
      options: {
        ...formatOptions(flags),
        size: bytes,
        ...(backing === undefined ? {} : { backing: backing.reference }),
      },
    });
    this.process.stdout.write(`${path}: ${format}, ${bytesInWords(bytes)}\n`);
    return exitStatus.shutdown;
  });
}

export async function info(this: CliContext, { format, json }: InfoFlags, path: string): Promise<void> {
  await carryOut(this, async () => {
    const image = await openDiskImage(path, { readOnly: true, metadataOnly: true, ...inFormatOf(format) });
    try {
      const facts: ImageInfo = (await image.info?.()) ?? { format: image.format, size: image.size };
      const status = statSync(path, { throwIfNoEntry: false });
      const whole: ImageInfo = status?.isFile() === true ? { ...facts, allocated: status.blocks * 512 } : facts;
      this.process.stdout.write(json ? `${JSON.stringify(whole, null, 2)}\n` : describe(path, whole));
    } finally {
      await image.close();
    }
    return exitStatus.shutdown;
  });
}

function describe(
  path: string,
  { format, size, allocated, clusterSize, backing, snapshots, details }: ImageInfo,
): string {
  const lines = [`image: ${path}`, `format: ${format}`, `size: ${bytesInWords(size)} (${size} bytes)`];
  if (allocated !== undefined) lines.push(`on the host's disk: ${bytesInWords(allocated)}`);
  if (clusterSize !== undefined) lines.push(`cluster size: ${bytesInWords(clusterSize)}`);
  if (backing !== undefined) lines.push(`backing: ${backing.name}${backing.format ? ` (${backing.format})` : ''}`);
  for (const [name, value] of Object.entries(details ?? {})) {
    lines.push(`${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}: ${value}`);
  }
  for (const { id, name, size: bytes, seconds } of snapshots ?? []) {
    lines.push(`snapshot ${id}: ${name}, ${bytesInWords(bytes)}, ${new Date(seconds * 1000).toISOString()}`);
  }
  return `${lines.join('\n')}\n`;
}

export async function convert(this: CliContext, flags: ConvertFlags, from: string, to: string): Promise<void> {
  await carryOut(this, async () => {
    const format = flags.to ?? formatOfName(to);
    const source = await openSource(from, flags);
    const part = `${to}.${process.pid}.part`;
    try {
      expectFree(to, flags.force);
      await makeImage(part, true, { format, options: { ...formatOptions(flags), size: source.size } });
      const target = await openDiskImage(part, { format, blocking: true });
      try {
        await copyImage(this, source, target);
        await target.flush();
      } finally {
        await target.close();
      }
      renameSync(part, to);
      this.process.stdout.write(`${to}: ${format}, ${bytesInWords(source.size)}\n`);
    } finally {
      rmSync(part, { force: true });
      await source.close();
    }
    return exitStatus.shutdown;
  });
}

async function openSource(path: string, { from, snapshot }: ConvertFlags): Promise<DiskImage> {
  const options = { readOnly: true, blocking: true, ...inFormatOf(from) };
  if (snapshot === undefined) return openDiskImage(path, options);
  const [, ...others] = imageDrivers;
  const qcow2 = {
    ...imageDrivers[0]!,
    open: (file: Parameters<typeof openQcow2>[0], given: Parameters<typeof openQcow2>[1]) =>
      openQcow2(file, { ...imageUnpackers, ...given, snapshot }),
  };
  return openDiskImage(path, { ...options, drivers: [qcow2, ...others] });
}

const chunk = 2 ** 20;
const zeroGrain = 65536;

/** Copies what is not zero: the target is new. */
async function copyImage(context: CliContext, source: DiskImage, target: DiskImage): Promise<void> {
  const progress = createProgress(context, 'copying');
  const bytes = Buffer.alloc(chunk);
  const zeroes = Buffer.alloc(zeroGrain);
  const words = bytesInWords(source.size);
  try {
    for (let at = 0; at < source.size; at += chunk) {
      const length = Math.min(chunk, source.size - at);
      await source.read(at, bytes.subarray(0, length));
      for (let begin = 0; begin < length; ) {
        const isZero = (grain: number): boolean => {
          const end = Math.min(grain + zeroGrain, length);
          return bytes.compare(zeroes, 0, end - grain, grain, end) === 0;
        };
        let end = begin;
        while (end < length && !isZero(end)) end += zeroGrain;
        end = Math.min(end, length);
        if (end > begin) await target.write(at + begin, bytes.subarray(begin, end));
        begin = end + zeroGrain;
      }
      progress.show((at + length) / source.size, `${bytesInWords(at + length)} of ${words}`);
    }
  } finally {
    progress.end();
  }
}

export async function check(this: CliContext, { format, repair, json }: CheckFlags, path: string): Promise<void> {
  await carryOut(this, async () => {
    const image = await openDiskImage(path, { readOnly: !repair, metadataOnly: true, ...inFormatOf(format) });
    try {
      if (image.check === undefined) {
        say(this, `${path} is a ${image.format} image: it has no tables that could be wrong`);
        return checkStatus.sound;
      }
      const progress = createProgress(this, 'checking');
      const found = await Promise.resolve(image.check({ repair, progress: (part) => progress.show(part) })).finally(
        () => progress.end(),
      );
      this.process.stdout.write(json ? `${JSON.stringify(found, null, 2)}\n` : tell(path, found));
      return found.corruptions > 0 ? checkStatus.corrupt : found.leaks > 0 ? checkStatus.leaks : checkStatus.sound;
    } finally {
      await image.close();
    }
  });
}

function tell(path: string, found: ImageCheck): string {
  const lines = [...found.problems];
  if (found.repaired > 0) lines.push(`${found.repaired} of them repaired`);
  if (found.corruptions > 0) {
    lines.push(
      `${path} is corrupt: ${found.corruptions} references are wrong. --repair makes the counts right, where it can`,
    );
  } else if (found.leaks > 0)
    lines.push(`${path} has ${found.leaks} leaked clusters: space lost, no data. --repair frees them`);
  else lines.push(`${path} is sound`);
  lines.push(`${found.allocatedClusters} clusters in use; the disk has ${found.totalClusters}`);
  return `${lines.join('\n')}\n`;
}

export async function resize(this: CliContext, flags: ResizeFlags, path: string, size: SizeArgument): Promise<void> {
  await carryOut(this, async () => {
    const image = await openDiskImage(path, inFormatOf(flags.format));
    try {
      const bytes = size.relative ? image.size + size.bytes : size.bytes;
      if (bytes < 0) throw new ParavaneError('bad-argument', `the disk has ${image.size} bytes, less than is to go`);
      if (bytes < image.size && !flags.shrink) {
        throw new ParavaneError(
          'bad-argument',
          `${path} would lose its last ${bytesInWords(image.size - bytes)}: give --shrink if that is what you want`,
        );
      }
      if (image.resize === undefined) {
        throw new ParavaneError('image-unsupported', `${path} is a ${image.format} image, which keeps its size`);
      }
      await image.resize(bytes);
      await image.flush();
      this.process.stdout.write(`${path}: ${image.format}, ${bytesInWords(image.size)}\n`);
    } finally {
      await image.close();
    }
    return exitStatus.shutdown;
  });
}

interface NewImage {
  readonly format: ImageFormat;
  readonly options: Qcow2CreateOptions;
}

function formatOptions({
  clusterSize,
  extendedL2,
  version,
}: Pick<CreateFlags, 'clusterSize' | 'extendedL2' | 'version'>): Omit<Qcow2CreateOptions, 'size'> {
  return {
    ...(clusterSize === undefined ? {} : { clusterSize }),
    extendedL2,
    ...(version === undefined ? {} : { version: version === '2' ? 2 : 3 }),
  };
}

async function makeImage(path: string, force: boolean, { format, options }: NewImage): Promise<void> {
  expectFree(path, force);
  const file = openImageFile(path, { create: force ? 'replace' : 'new', blocking: true });
  try {
    await (format === 'raw' ? file.setSize(options.size) : createQcow2(file, options));
    await file.flush();
    await file.close();
  } catch (error) {
    await file.close();
    rmSync(path, { force: true });
    throw error;
  }
}

function expectFree(path: string, force: boolean): void {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined || (force && status.isFile())) return;
  const remedy = status.isFile() ? 'give --force to replace it' : 'only files are made';
  throw new ParavaneError('file-exists', `${path} is there already: ${remedy}`, { data: { file: path } });
}
