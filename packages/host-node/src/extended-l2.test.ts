/**
 * qcow2 images with extended L2 entries, written by QEMU and by us in turn: after each turn both must read the same, and
 * neither may find a leak or a contradiction. `PARAVANE_TRIALS=300 npx vitest run packages/host-node/src/extended-l2`
 * plays more of them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DiskImage } from '@paravane/image-api';
import { compareWithModel, patternOf, randomOf } from '@paravane/image-api/conformance';
import { createQcow2, openQcow2 } from '@paravane/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openImageFile } from './file-image.js';
import { imageUnpackers, openDiskImage } from './file-images.js';
import { needQemuTools, qemuContent, qemuImg, qemuIo } from './testing/qemu-img.js';

const trials = Number(process.env.PARAVANE_TRIALS ?? 4);
const firstSeed = Number(process.env.PARAVANE_SEED ?? 1);
const turns = 6;
const KiB = 1024;

const folder = mkdtempSync(join(tmpdir(), 'paravane-extended-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;
const fresh = (ending: string): string => join(folder, `${++made}.${ending}`);

type Random = (limit: number) => number;

async function content(image: DiskImage): Promise<Uint8Array> {
  const bytes = new Uint8Array(image.size);
  await image.read(0, bytes);
  return bytes;
}

/** What the image holds, to us and to QEMU. */
async function expectSound(path: string, wanted?: Uint8Array): Promise<Uint8Array> {
  qemuImg(['check', '-f', 'qcow2', path]);
  const image = await openDiskImage(path, { format: 'qcow2', readOnly: true });
  try {
    expect(await image.check?.()).toMatchObject({ corruptions: 0, leaks: 0, problems: [] });
    const ours = await content(image);
    expect(Buffer.compare(ours, qemuContent(path, ['-f', 'qcow2'])), 'both read the same').toBe(0);
    if (wanted !== undefined) expect(Buffer.compare(ours, wanted), 'what was written is read').toBe(0);
    return ours;
  } finally {
    await image.close();
  }
}

/** An image to stand on, or none. */
function makeBase(random: Random, size: number): { path: string; format: string } | undefined {
  const kind = random(4);
  if (kind === 0) return undefined;
  const raw = fresh('raw');
  // Smaller than the disk, or larger; zeroes in places.
  const bytes = patternOf(Math.max(512, (random(5) * size) >> 2) & ~511, random(1000));
  for (let hole = 0; hole < 4; hole++) {
    const at = random(bytes.length);
    bytes.fill(0, at, at + random(100 * KiB));
  }
  writeFileSync(raw, bytes);
  if (kind === 1) return { path: raw, format: 'raw' };
  const path = fresh('base.qcow2');
  qemuImg([
    'convert',
    ...(kind === 2 ? ['-c'] : []),
    '-O',
    'qcow2',
    '-o',
    `extended_l2=${switched(random)}`,
    raw,
    path,
  ]);
  return { path, format: 'qcow2' };
}

const switched = (random: Random): string => (random(2) === 0 ? 'on' : 'off');

interface Trial {
  readonly path: string;
  readonly clusterSize: number;
  size: number;
}

async function makeImage(random: Random): Promise<Trial> {
  const path = fresh('qcow2');
  const clusterSize = [16, 16, 32, 64, 64, 128, 1024][random(7)]! * KiB;
  const size = (600 + random(2000)) * 512;
  const base = makeBase(random, size);
  if (random(2) === 0) {
    const file = openImageFile(path, { create: 'new', blocking: true });
    const backing = base === undefined ? {} : { backing: { name: base.path, format: base.format } };
    await createQcow2(file, { size, clusterSize, extendedL2: true, refcountBits: [16, 64, 8][random(3)]!, ...backing });
    await file.close();
  } else {
    const options = `extended_l2=on,cluster_size=${clusterSize},compression_type=${random(2) === 0 ? 'zlib' : 'zstd'}`;
    const below = base === undefined ? [] : ['-b', base.path, '-F', base.format];
    qemuImg(['create', '-f', 'qcow2', '-o', options, ...below, path, String(size)]);
  }
  return { path, clusterSize, size };
}

function qemuTurn({ path, clusterSize, size }: Trial, random: Random): void {
  const commands: string[] = [];
  const packed = new Map<number, number>();
  for (let command = 0; command < 12; command++) {
    const at = random(size / 512) * 512;
    const length = Math.min((1 + random(random(3) === 0 ? 400 : 12)) * 512, size - at);
    const cluster = at - (at % clusterSize);
    const fill = 1 + random(255);
    const kind = random(10);
    if (kind < 4) commands.push(`write -P ${fill} ${at} ${length}`);
    else if (kind === 4) commands.push(`write -z ${at} ${length}`);
    else if (kind === 5) commands.push(`write -z -u ${at} ${length}`);
    else if (kind === 6) commands.push(`discard ${at} ${length}`);
    else if (cluster + clusterSize <= size) packed.set(cluster, fill);
  }
  // It packs no cluster that has a place already. Discards come first: QEMU 7.2 goes on packing into a cluster that was
  // discarded and given to others meanwhile.
  qemuIo(path, [...commands, ...[...packed.keys()].map((cluster) => `discard ${cluster} ${clusterSize}`)]);
  if (packed.size === 0) return;
  qemuIo(
    path,
    [...packed].map(([cluster, fill]) => `write -c -P ${fill} ${cluster} ${clusterSize}`),
  );
}

async function ourTurn(trial: Trial, random: Random): Promise<Uint8Array> {
  const image = await openDiskImage(trial.path, { blocking: random(2) === 0 });
  try {
    let model = await compareWithModel(image, random, 60);
    for (let request = 0; request < 5; request++) {
      const at = random(trial.size / 512) * 512;
      const length = Math.min((1 + random(80)) * 512, trial.size - at);
      const before = await content(image);
      await image.discard?.(at, length, { secure: true });
      model = await content(image);
      const [kept, gone] = [model.slice(), model.subarray(at, at + length)];
      expect(gone.every((byte, index) => byte === 0 || byte === before[at + index])).toBe(true);
      kept.set(before.subarray(at, at + length), at);
      expect(Buffer.compare(kept, before), 'beside what is discarded').toBe(0);
    }
    if (random(3) > 0) return model;
    trial.size = (400 + random(2500)) * 512;
    await image.resize?.(trial.size);
    const resized = new Uint8Array(trial.size);
    resized.set(model.subarray(0, trial.size));
    return resized;
  } finally {
    await image.close();
  }
}

async function expectSnapshot(path: string, name: string, wanted: Uint8Array): Promise<void> {
  const flat = fresh('raw');
  qemuImg(['convert', '-l', `snapshot.name=${name}`, '-O', 'raw', path, flat]);
  // It reads as many bytes of a snapshot as the disk has by now.
  const theirs = readFileSync(flat);
  const size = Math.min(theirs.length, wanted.length);
  expect(theirs.compare(wanted, 0, size, 0, size), `QEMU reads ${name}`).toBe(0);
  const snapshot = await openQcow2(openImageFile(path, { readOnly: true }), {
    ...imageUnpackers,
    snapshot: name,
    openBacking: (base, format) => openDiskImage(base, { readOnly: true, ...(format === undefined ? {} : { format }) }),
  });
  expect(Buffer.compare(await content(snapshot), wanted), `we read ${name}`).toBe(0);
  await snapshot.close();
  rmSync(flat);
}

async function play(seed: number): Promise<void> {
  const random = randomOf(seed);
  const trial = await makeImage(random);
  const { path } = trial;
  const snapshots = new Map<string, Uint8Array>();
  for (let turn = 0; turn < turns; turn++) {
    if (random(2) === 0) qemuTurn(trial, random);
    const before = await expectSound(path);
    if (random(3) === 0) {
      qemuImg(['snapshot', '-c', `turn${turn}`, path]);
      snapshots.set(`turn${turn}`, before);
    }
    const model = await ourTurn(trial, random);
    await expectSound(path, model);
    for (const [name, bytes] of snapshots) await expectSnapshot(path, name, bytes);
    if (snapshots.size > 1 && random(2) === 0) {
      const [oldest] = snapshots.keys();
      qemuImg(['snapshot', '-d', oldest!, path]);
      snapshots.delete(oldest!);
    }
  }
  rmSync(path);
}

describe('a qcow2 image with extended L2 entries', () => {
  beforeAll(needQemuTools);

  for (let trial = 0; trial < trials; trial++) {
    const seed = firstSeed + trial;
    it(`is written by QEMU and by us in turn, seed ${seed}`, () => expect(play(seed)).resolves.toBeUndefined());
  }
});
