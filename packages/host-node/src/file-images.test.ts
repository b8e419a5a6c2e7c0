import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DiskImage, ImageFile } from '@paravane/image-api';
import {
  compareWithModel,
  diskImageCases,
  imageFileCases,
  patternOf,
  randomOf,
  testCrashes,
} from '@paravane/image-api/conformance';
import { createQcow2, openQcow2, type Qcow2CreateOptions } from '@paravane/images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openImageFile } from './file-image.js';
import { imageUnpackers, openDiskImage } from './file-images.js';
import { needQemuTools, qemuContent, qemuImg, qemuIo } from './testing/qemu-img.js';

const folder = mkdtempSync(join(tmpdir(), 'paravane-images-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let made = 0;
const fresh = (ending = 'img'): string => join(folder, `${++made}.${ending}`);

const MiB = 2 ** 20;

async function content(image: DiskImage): Promise<Uint8Array> {
  const bytes = new Uint8Array(image.size);
  await image.read(0, bytes);
  return bytes;
}

/** What an image holds, as we read it, and as QEMU does. */
async function expectReadAlike(path: string, format = 'qcow2'): Promise<Uint8Array> {
  const image = await openDiskImage(path, { format, readOnly: true });
  try {
    const ours = await content(image);
    expect(Buffer.compare(ours, qemuContent(path, ['-f', format])), `${path} reads alike`).toBe(0);
    return ours;
  } finally {
    await image.close();
  }
}

async function expectClean(path: string): Promise<void> {
  qemuImg(['check', '-f', 'qcow2', path]);
  const image = await openDiskImage(path, { format: 'qcow2', readOnly: true, metadataOnly: true });
  try {
    expect(await image.check?.()).toMatchObject({ corruptions: 0, leaks: 0, problems: [] });
  } finally {
    await image.close();
  }
}

for (const blocking of [false, true]) {
  const how = blocking ? 'on the caller’s thread' : 'on threads';
  describe(`a file of the host ${how}`, () => {
    let path = '';
    const cases = imageFileCases({
      create: () => openImageFile((path = fresh()), { create: 'new', blocking }),
      reopen: ({ readOnly }) => openImageFile(path, { readOnly, blocking }),
    });
    for (const { name, run } of cases) it(`${name}`, () => expect(run()).resolves.toBeUndefined());
  });
  for (const format of ['raw', 'qcow2']) {
    describe(`${format} in a file of the host ${how}`, () => {
      let path = '';
      const cases = diskImageCases({
        async create(size) {
          path = fresh(format);
          const file = openImageFile(path, { create: 'new', blocking });
          await (format === 'raw' ? file.setSize(size) : createQcow2(file, { size }));
          await file.close();
          return openDiskImage(path, { format, blocking });
        },
        reopen: ({ readOnly }) => openDiskImage(path, { format, readOnly, blocking }),
      });
      for (const { name, run } of cases) it(`${name}`, () => expect(run()).resolves.toBeUndefined());
    });
  }
}

describe('openDiskImage', () => {
  it('lets one at a time write to an image, and any number read it', async () => {
    const path = fresh('raw');
    writeFileSync(path, new Uint8Array(4096));
    const first = await openDiskImage(path);
    await expect(openDiskImage(path)).rejects.toMatchObject({ code: 'image-in-use' });
    await (await openDiskImage(path, { readOnly: true })).close();
    await first.close();
    await (await openDiskImage(path)).close();
  });

  it('reads images from web servers, and the images below them', async () => {
    const bytes = patternOf(300_032, 20);
    const over = fresh('qcow2');
    const file = openImageFile(over, { create: 'new' });
    await createQcow2(file, { size: MiB, backing: { name: 'base.raw', format: 'raw' } });
    await file.close();
    const served: Record<string, Uint8Array> = { '/base.raw': bytes, '/over.qcow2': readFileSync(over) };
    const server = createServer(({ url = '', headers }, response) => {
      const content = served[url] ?? new Uint8Array(0);
      const [, first, last] = /^bytes=([0-9]+)-([0-9]+)$/.exec(headers.range ?? '') ?? [];
      const part = content.subarray(Number(first), Number(last) + 1);
      const range = `bytes ${first}-${Number(first) + part.length - 1}/${content.length}`;
      response.writeHead(206, { 'content-range': range, etag: '"1"' }).end(part);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const image = await openDiskImage(`http://127.0.0.1:${port}/over.qcow2`);
    expect(image.readOnly).toBe(true);
    const wanted = new Uint8Array(MiB);
    wanted.set(bytes);
    expect(Buffer.compare(await content(image), wanted)).toBe(0);
    await image.close();
    server.close();
  });

  it('says what is wrong with a file', async () => {
    await expect(openDiskImage(join(folder, 'none'))).rejects.toThrow('there is no such file');
    await expect(openDiskImage(folder, { readOnly: true })).rejects.toThrow('neither a file nor a block device');
  });
});

describe('images that QEMU makes', () => {
  beforeAll(needQemuTools);
  const source = fresh('raw');
  // Some of it zeroes, some of it compressible, some not.
  const bytes = new Uint8Array(6 * MiB);
  bytes.set(patternOf(MiB, 1), 300_032);
  bytes.set(patternOf(MiB / 2, 2), 5 * MiB);
  bytes.fill(7, 3 * MiB, 4 * MiB);
  beforeAll(() => writeFileSync(source, bytes));

  const options = [
    'compat=0.10',
    'compat=1.1',
    'cluster_size=512',
    'cluster_size=2M',
    'refcount_bits=1',
    'refcount_bits=64,cluster_size=4096',
    'lazy_refcounts=on',
    'preallocation=metadata',
    'preallocation=full',
  ];
  for (const option of options) {
    it(`read alike with ${option}`, async () => {
      const path = fresh('qcow2');
      qemuImg(['convert', '-O', 'qcow2', '-o', option, source, path]);
      expect(Buffer.compare(await expectReadAlike(path), bytes)).toBe(0);
      await expectClean(path);
    });
  }

  for (const option of ['compression_type=zlib', 'compression_type=zstd', 'cluster_size=512', 'cluster_size=2M']) {
    it(`read alike compressed, with ${option}, and can be written over`, async () => {
      const path = fresh('qcow2');
      qemuImg(['convert', '-c', '-O', 'qcow2', '-o', option, source, path]);
      expect(Buffer.compare(await expectReadAlike(path), bytes)).toBe(0);
      await expectClean(path);
      const image = await openDiskImage(path);
      const model = await compareWithModel(image, randomOf(3), 200);
      await image.close();
      expect(Buffer.compare(await expectReadAlike(path), model)).toBe(0);
      await expectClean(path);
    });
  }

  for (const [format, compat] of [
    ['raw', '1.1'],
    ['qcow2', '1.1'],
    ['qcow2', '0.10'],
  ] as const) {
    it(`read alike over a smaller ${format} image, version ${compat}, and can be written`, async () => {
      const base = format === 'raw' ? source : fresh('base.qcow2');
      if (format !== 'raw') qemuImg(['convert', '-c', '-O', 'qcow2', source, base]);
      const path = fresh('qcow2');
      qemuImg(['create', '-f', 'qcow2', '-o', `compat=${compat}`, '-b', base, '-F', format, path, '10M']);
      qemuIo(path, ['write -P 17 100k 300k', 'write -P 18 9M 64k']);
      if (compat === '1.1') qemuIo(path, ['write -z 3M 200k', 'write -z -u 5M 128k', 'discard 512k 256k']);
      await expectReadAlike(path);
      const image = await openDiskImage(path);
      const model = await compareWithModel(image, randomOf(4), 300);
      await image.close();
      expect(Buffer.compare(await expectReadAlike(path), model)).toBe(0);
      await expectClean(path);
      expect(Buffer.compare(qemuContent(base, ['-f', format]), bytes), 'the image below').toBe(0);
    });
  }

  for (const compat of ['1.1', '0.10']) {
    it(`keep their internal snapshots while the disk is written, version ${compat}`, async () => {
      const path = fresh('qcow2');
      qemuImg(['convert', '-O', 'qcow2', '-o', `compat=${compat},cluster_size=4096`, source, path]);
      qemuImg(['snapshot', '-c', 'first', path]);
      qemuIo(path, ['write -P 33 1M 700k']);
      const second = await expectReadAlike(path);
      qemuImg(['snapshot', '-c', 'the second one', path]);
      qemuIo(path, ['write -P 34 0 1M']);
      const image = await openDiskImage(path);
      expect((await image.info?.())?.snapshots).toMatchObject([
        { id: '1', name: 'first', size: 6 * MiB },
        { id: '2', name: 'the second one', size: 6 * MiB },
      ]);
      const model = await compareWithModel(image, randomOf(5), 300);
      await image.close();
      expect(Buffer.compare(await expectReadAlike(path), model)).toBe(0);
      await expectClean(path);
      for (const [snapshot, wanted] of [
        ['first', bytes],
        ['2', second],
      ] as const) {
        const opened = await openQcow2(openImageFile(path, { readOnly: true }), { snapshot, ...imageUnpackers });
        expect(opened.readOnly).toBe(true);
        expect(Buffer.compare(await content(opened), wanted)).toBe(0);
        await opened.close();
        const name = snapshot === '2' ? 'the second one' : snapshot;
        expect(Buffer.compare(qemuContent(path, ['-l', `snapshot.name=${name}`]), wanted)).toBe(0);
      }
    });
  }

  it('lose their dirty mark when they are opened for writing, with counts made right', async () => {
    const path = fresh('qcow2');
    qemuImg(['create', '-f', 'qcow2', '-o', 'lazy_refcounts=on', path, '10M']);
    // QEMU ends at once here, without counting what it wrote.
    expect(() => qemuIo(path, ['write -P 1 0 1M', 'abort'])).toThrow('qemu-io');
    const before = await openDiskImage(path, { readOnly: true });
    expect((await before.info?.())?.details).toMatchObject({ dirty: true });
    await before.close();
    const image = await openDiskImage(path);
    expect((await image.info?.())?.details).toMatchObject({ dirty: false });
    await image.close();
    await expectClean(path);
    expect((await expectReadAlike(path))[MiB - 1]).toBe(1);
  });

  it('with persistent bitmaps are clean to us as well', async () => {
    const path = fresh('qcow2');
    qemuImg(['create', '-f', 'qcow2', path, '10M']);
    qemuImg(['bitmap', '--add', path, 'since-yesterday']);
    qemuIo(path, ['write -P 1 0 1M']);
    await expectClean(path);
    expect((await expectReadAlike(path))[0]).toBe(1);
  });

  for (const clusterSize of ['16k', '64k', '2M']) {
    it(`read alike with extended L2 entries and clusters of ${clusterSize}, and can be written`, async () => {
      const path = fresh('qcow2');
      const made = `extended_l2=on,cluster_size=${clusterSize}`;
      qemuImg(['create', '-f', 'qcow2', '-F', 'raw', '-b', source, '-o', made, path, '10M']);
      qemuIo(path, ['write -P 17 100k 6k', 'write -z 300k 8k', 'write -P 18 3M 1M', 'discard 3500k 64k']);
      qemuImg(['snapshot', '-c', 'then', path]);
      qemuIo(path, ['write -P 19 3600k 2k', 'write -z 2M 2M', 'write -P 20 9M 1M']);
      const compressed = fresh('qcow2');
      qemuImg(['convert', '-c', '-O', 'qcow2', '-o', made, path, compressed]);
      for (const image of [path, compressed]) {
        await expectReadAlike(image);
        await expectClean(image);
        const opened = await openDiskImage(image);
        const model = await compareWithModel(opened, randomOf(13), 200);
        await opened.close();
        expect(Buffer.compare(await expectReadAlike(image), model)).toBe(0);
        await expectClean(image);
      }
      const flat = fresh('raw');
      qemuImg(['convert', '-l', 'snapshot.name=then', '-O', 'raw', path, flat]);
      const file = openImageFile(path, { readOnly: true });
      const under = { openBacking: () => openDiskImage(source, { readOnly: true, format: 'raw' }) };
      const snapshot = await openQcow2(file, { ...under, snapshot: 'then' });
      expect(Buffer.compare(await content(snapshot), readFileSync(flat))).toBe(0);
      await snapshot.close();
    });
  }

  it('with extended L2 entries that contradict themselves are corrupt to us as well, and can be repaired', async () => {
    const path = fresh('qcow2');
    qemuImg(['create', '-f', 'qcow2', '-o', 'extended_l2=on,cluster_size=64k', path, '10M']);
    qemuIo(path, ['write -P 17 0 64k', 'write -P 18 64k 2k']);
    const bytes = readFileSync(path);
    const l1 = Number(bytes.readBigUInt64BE(40));
    const l2 = Number(bytes.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
    bytes.writeUInt32BE(2, l2 + 8);
    writeFileSync(path, bytes);
    qemuImg(['check', path], [2]);
    const image = await openDiskImage(path, { readOnly: true });
    expect(await image.check?.()).toMatchObject({ corruptions: 1, leaks: 0 });
    const into = new Uint8Array(512);
    await expect((async () => image.read(0, into))()).rejects.toMatchObject({ code: 'image-invalid' });
    await image.read(65536, into);
    expect(into.every((byte) => byte === 18)).toBe(true);
    await image.close();
    const mended = await openDiskImage(path);
    expect(await mended.check?.({ repair: true })).toMatchObject({ corruptions: 0, repaired: 1 });
    await mended.close();
    await expectClean(path);
    const wanted = new Uint8Array(10 * MiB)
      .fill(17, 0, 65536)
      .fill(0, 2048, 4096)
      .fill(18, 65536, 65536 + 2048);
    expect(Buffer.compare(await expectReadAlike(path), wanted)).toBe(0);
  });

  it('that can’t be used say why', async () => {
    const path = fresh('qcow2');
    qemuImg(['create', '-f', 'qcow2', '-o', `data_file=${fresh('dat')},data_file_raw=on`, path, '10M']);
    await expect(openDiskImage(path)).rejects.toMatchObject({ code: 'image-unsupported' });
    await expect(openDiskImage(path)).rejects.toThrow(/in another file/);
  });
});

describe('images that we make', () => {
  beforeAll(needQemuTools);
  const variants: Record<string, Omit<Qcow2CreateOptions, 'size'>> = {
    'version 3': {},
    'version 2': { version: 2 },
    'clusters of 512 bytes, counts of 2 bits': { clusterSize: 512, refcountBits: 2 },
    'clusters of 512 bytes, counts of 64 bits': { clusterSize: 512, refcountBits: 64 },
    'clusters of 2 MiB, counts of 32 bits': { clusterSize: 2 * MiB, refcountBits: 32 },
    'lazy reference counts': { lazyRefcounts: true },
    'extended L2 entries': { extendedL2: true },
    'extended L2 entries, clusters of 16 KiB': { extendedL2: true, clusterSize: 16384 },
    'extended L2 entries, clusters of 2 MiB': { extendedL2: true, clusterSize: 2 * MiB },
  };
  for (const [name, options] of Object.entries(variants)) {
    it(`read alike in QEMU, and are clean: ${name}`, async () => {
      const path = fresh('qcow2');
      const file = openImageFile(path, { create: 'new', blocking: true });
      await createQcow2(file, { ...options, size: 12 * MiB });
      await file.close();
      await expectClean(path);
      const image = await openDiskImage(path, { blocking: true });
      const model = await compareWithModel(image, randomOf(6), 400);
      await image.flush();
      // What is on the disk after a flush is whole, though the image is in use: at worst there are leaks.
      qemuImg(['check', '-U', '-f', 'qcow2', path], [0, 3]);
      await image.resize?.(40 * MiB);
      await image.write(39 * MiB, patternOf(MiB, 7));
      await image.close();
      const wanted = new Uint8Array(40 * MiB);
      wanted.set(model);
      wanted.set(patternOf(MiB, 7), 39 * MiB);
      expect(Buffer.compare(await expectReadAlike(path), wanted)).toBe(0);
      await expectClean(path);
    });
  }

  it('are written by QEMU and by us in turn', async () => {
    const base = fresh('raw');
    writeFileSync(base, patternOf(3 * MiB, 8));
    const path = fresh('qcow2');
    const file: ImageFile = openImageFile(path, { create: 'new' });
    await createQcow2(file, { size: 8 * MiB, backing: { name: base.slice(folder.length + 1), format: 'raw' } });
    await file.close();
    for (let turn = 0; turn < 3; turn++) {
      qemuIo(path, [`write -P ${turn} ${turn}M 500k`, `write -z ${turn + 1}M 64k`, 'flush']);
      const image = await openDiskImage(path);
      const model = await compareWithModel(image, randomOf(9 + turn), 100);
      await image.close();
      expect(Buffer.compare(await expectReadAlike(path), model)).toBe(0);
      await expectClean(path);
    }
    expect(qemuImg(['info', path])).toContain('backing file format: raw');
  });

  it('have their tables moved when they outgrow their place', async () => {
    const path = fresh('qcow2');
    const file = openImageFile(path, { create: 'new', blocking: true });
    await createQcow2(file, { size: 64 * 512, clusterSize: 512, refcountBits: 64 });
    await file.close();
    const image = await openDiskImage(path, { blocking: true });
    await image.resize?.(8 * MiB);
    const bytes = patternOf(8 * MiB, 10);
    await image.write(0, bytes);
    await image.close();
    expect(Buffer.compare(await expectReadAlike(path), bytes)).toBe(0);
    await expectClean(path);
  });
});

describe('an image after a crash of the host', () => {
  beforeAll(needQemuTools);

  // Whole words in each block, as the trial of crashes wants them.
  const source = fresh('raw');
  const bytes = new Uint8Array(MiB);
  for (let block = 0; block < 1024; block++) bytes.fill(block % 251, block * 512, (block + 1) * 512);
  beforeAll(() => writeFileSync(source, bytes));

  it.each([
    ['', 'cluster_size=4096'],
    [' with extended L2 entries', 'cluster_size=16384,extended_l2=on'],
    [' with extended L2 entries and packed clusters', 'cluster_size=65536,extended_l2=on', '-c'],
  ])('is not corrupt to QEMU either, and its snapshots are as they were%s', async (_, options, ...packed) => {
    const path = fresh('qcow2');
    qemuImg(['convert', ...packed, '-O', 'qcow2', '-o', options, source, path]);
    qemuImg(['snapshot', '-c', 'before', path]);
    const before = await expectReadAlike(path);
    const left = fresh('qcow2');
    const report = await testCrashes(
      {
        content: readFileSync(path),
        open: (file) => openQcow2(file, imageUnpackers),
        async inspect(content) {
          writeFileSync(left, content);
          qemuImg(['check', '-f', 'qcow2', left], [0, 3]);
          expect(Buffer.compare(qemuContent(left, ['-l', 'snapshot.name=before']), before)).toBe(0);
        },
      },
      { seed: 12, cuts: 30 },
    );
    expect(report.cuts).toBe(30);
  });
});

describe('check', () => {
  beforeAll(needQemuTools);

  async function damaged(change: (view: DataView, file: Uint8Array) => void): Promise<string> {
    const path = fresh('qcow2');
    const file = openImageFile(path, { create: 'new' });
    await createQcow2(file, { size: 4 * MiB });
    await file.close();
    const image = await openDiskImage(path);
    await image.write(0, patternOf(MiB, 11));
    await image.close();
    const whole = openImageFile(path);
    const bytes = new Uint8Array(whole.size);
    await whole.read(0, bytes);
    change(new DataView(bytes.buffer), bytes);
    await whole.write(0, bytes);
    await whole.close();
    return path;
  }
  const at = (view: DataView, offset: number): number => Number(view.getBigUint64(offset) & 0x00fffffffffffe00n);
  const l2 = (view: DataView): number => at(view, at(view, 40));
  const firstBlock = (view: DataView): number => at(view, at(view, 48));

  it('finds leaks and repairs them, as QEMU sees as well', async () => {
    const path = await damaged((view) => view.setBigUint64(l2(view), 0n));
    expect(qemuImg(['check', path], [3])).toContain('1 leaked clusters');
    const image = await openDiskImage(path);
    expect(await image.check?.()).toMatchObject({ leaks: 1, corruptions: 0 });
    expect(await image.check?.({ repair: true })).toMatchObject({ repaired: 1 });
    expect(await image.check?.()).toMatchObject({ leaks: 0, corruptions: 0 });
    await image.close();
    await expectClean(path);
  });

  it('finds clusters that are used and not counted, and counts them', async () => {
    const path = await damaged((view) => view.setUint16(firstBlock(view) + 5 * 2, 0));
    qemuImg(['check', path], [2]);
    const image = await openDiskImage(path);
    expect((await image.check?.())?.corruptions).toBeGreaterThan(0);
    await image.check?.({ repair: true });
    expect(await image.check?.()).toMatchObject({ leaks: 0, corruptions: 0 });
    await image.close();
    await expectClean(path);
  });

  it('finds entries that lead out of the file or to one place twice', async () => {
    for (const change of [
      (view: DataView) => view.setBigUint64(l2(view), 0x8000_0001_0000_0000n),
      (view: DataView) => view.setBigUint64(l2(view), view.getBigUint64(l2(view) + 8)),
      (view: DataView) => view.setBigUint64(l2(view), view.getBigUint64(l2(view)) + 512n),
    ]) {
      const path = await damaged(change);
      qemuImg(['check', path], [2]);
      const image = await openDiskImage(path, { readOnly: true });
      expect((await image.check?.())?.corruptions).toBeGreaterThan(0);
      await image.close();
    }
  });
});
