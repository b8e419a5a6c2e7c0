import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseClusterSize, parseDiskSize, parseNewDiskSize } from './image-flags.js';
import { bytesInWords } from './progress.js';

const program = fileURLToPath(new URL('../dist/testing/fake-main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'paravane-cli-images-'));

function image(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, 'image', ...args], { cwd: folder, encoding: 'utf8' });
}

const file = (name: string): string => join(folder, name);

beforeAll(() => {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
  const bytes = Buffer.alloc(3 * 2 ** 20);
  bytes.fill('a disk', 2 ** 20, 2 ** 20 + 70_000);
  writeFileSync(file('disk.raw'), bytes);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('paravane image', () => {
  it('makes an image, tells of it, and does not replace it unasked', () => {
    expect(image('create', 'new.qcow2', '2G')).toMatchObject({ status: 0, stdout: 'new.qcow2: qcow2, 2 GiB\n' });
    const told = JSON.parse(image('info', '--json', 'new.qcow2').stdout);
    expect(told).toMatchObject({ format: 'qcow2', size: 2 ** 31, clusterSize: 65536 });
    expect(told.allocated).toBeLessThan(2 ** 20);
    const again = image('create', 'new.qcow2', '1G');
    expect(again.status).toBe(2);
    expect(again.stderr).toContain('new.qcow2 is there already: give --force');
    expect(image('create', '--force', '--cluster-size', '4K', '--version', '2', 'new.qcow2', '1G').status).toBe(0);
    expect(image('info', 'new.qcow2').stdout).toMatch(/size: 1 GiB \(1073741824 bytes\)\n(.*\n)cluster size: 4 KiB\n/);
  });

  it('makes images with extended L2 entries, converts to them, checks and resizes them', () => {
    expect(image('create', '--extended-l2', '--cluster-size', '8K', 'parts.qcow2', '1G')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('clusters of 16 KiB or more'),
    });
    expect(image('create', '--extended-l2', '--version', '2', 'parts.qcow2', '1G').stderr).toContain('need version 3');
    expect(image('create', '--extended-l2', '--cluster-size', '128K', 'parts.qcow2', '1G').status).toBe(0);
    expect(image('info', 'parts.qcow2').stdout).toContain('extended l2: true');
    expect(image('info', 'new.qcow2').stdout).toContain('extended l2: false');
    expect(image('convert', '--extended-l2', 'disk.raw', 'small-parts.qcow2').status).toBe(0);
    expect(image('resize', 'small-parts.qcow2', '+5M').stdout).toContain('8 MiB');
    expect(image('resize', '--shrink', 'small-parts.qcow2', '3M').status).toBe(0);
    expect(image('check', 'small-parts.qcow2')).toMatchObject({ status: 0, stdout: expect.stringContaining('sound') });
    expect(image('convert', '--to', 'raw', 'small-parts.qcow2', 'small-parts.raw').status).toBe(0);
    expect(readFileSync(file('small-parts.raw')).equals(readFileSync(file('disk.raw')))).toBe(true);
  });

  it('makes the format that the name of a new image says, unless it is told one', () => {
    expect(image('create', 'named.img', '1M').stdout).toBe('named.img: raw, 1 MiB\n');
    expect(readFileSync(file('named.img')).equals(Buffer.alloc(2 ** 20))).toBe(true);
    expect(image('create', 'named.RAW', '1M').stdout).toBe('named.RAW: raw, 1 MiB\n');
    expect(image('create', 'named', '1M').stdout).toBe('named: qcow2, 1 MiB\n');
    expect(image('create', '--force', '--format', 'qcow2', 'named.img', '1M').stdout).toContain('qcow2');
    expect(image('convert', 'named.img', 'other.img').stdout).toBe('other.img: raw, 1 MiB\n');
    expect(image('convert', '--to', 'qcow2', 'other.img', 'third.img').stdout).toBe('third.img: qcow2, 1 MiB\n');
    expect(image('create', '--backing', 'disk.raw', 'over.img')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('a raw image has no image under it'),
    });
  });

  it('makes an image over another, of its size', () => {
    expect(image('create', '--backing', 'disk.raw', 'over.qcow2').stdout).toBe('over.qcow2: qcow2, 3 MiB\n');
    expect(image('info', 'over.qcow2').stdout).toContain('backing: disk.raw (raw)');
    expect(image('convert', 'over.qcow2', '--to', 'raw', 'flat.raw').status).toBe(0);
    expect(readFileSync(file('flat.raw')).equals(readFileSync(file('disk.raw')))).toBe(true);
    expect(image('create', '--format', 'raw', '--backing', 'disk.raw', 'x.raw').status).toBe(2);
    expect(image('create', 'x.qcow2')).toMatchObject({ status: 2, stderr: expect.stringContaining('size') });
  });

  it('converts both ways, and leaves nothing behind where it can not', () => {
    expect(image('convert', 'disk.raw', 'copy.qcow2').status).toBe(0);
    expect(readFileSync(file('copy.qcow2')).length).toBeLessThan(2 ** 20);
    expect(image('convert', '--to', 'raw', 'copy.qcow2', 'copy.raw').status).toBe(0);
    expect(readFileSync(file('copy.raw')).equals(readFileSync(file('disk.raw')))).toBe(true);
    expect(image('convert', 'no-such-file', 'out.qcow2')).toMatchObject({
      status: 2,
      stderr: 'paravane: cannot open no-such-file: there is no such file\n',
    });
    expect(image('convert', '--snapshot', 'monday', 'copy.qcow2', 'out.qcow2').stderr).toContain(
      'no snapshot "monday"',
    );
    expect(existsSync(file('out.qcow2'))).toBe(false);
    expect(image('convert', 'disk.raw', 'no-such-folder/out.qcow2')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('there is no folder no-such-folder'),
    });
  });

  it("takes other programs' images for what they are, unless it is told a format", () => {
    writeFileSync(file('disk.vmdk'), Buffer.concat([Buffer.from('KDMV'), Buffer.alloc(508)]));
    for (const args of [
      ['info', 'disk.vmdk'],
      ['convert', 'disk.vmdk', 'out.raw'],
    ]) {
      expect(image(...args)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('disk.vmdk: it begins as a VMDK image does: make a copy with qemu-img'),
      });
    }
    expect(image('info', '--format', 'raw', 'disk.vmdk')).toMatchObject({ status: 0 });
  });

  it('tells by its exit status what a check found', () => {
    image('convert', 'disk.raw', 'checked.qcow2');
    expect(image('check', 'checked.qcow2')).toMatchObject({ status: 0, stdout: expect.stringContaining('is sound') });
    // The entry of the first data cluster goes: the cluster is leaked.
    const bytes = readFileSync(file('checked.qcow2'));
    const l1 = Number(bytes.readBigUInt64BE(40));
    const l2 = Number(bytes.readBigUInt64BE(l1) & 0x00fffffffffffe00n);
    bytes.writeBigUInt64BE(0n, l2 + 16 * 8);
    writeFileSync(file('checked.qcow2'), bytes);
    expect(image('check', 'checked.qcow2')).toMatchObject({ status: 3, stdout: expect.stringContaining('1 leaked') });
    expect(image('check', '--repair', 'checked.qcow2').status).toBe(0);
    expect(image('check', 'checked.qcow2').status).toBe(0);
    bytes.writeBigUInt64BE(0x8000_0000_7fff_0000n, l2 + 16 * 8);
    writeFileSync(file('checked.qcow2'), bytes);
    expect(image('check', '--json', 'checked.qcow2').status).toBe(2);
    expect(image('check', 'disk.raw')).toMatchObject({ status: 0, stderr: expect.stringContaining('no tables') });
  });

  it('resizes, and shrinks only when told to', () => {
    image('convert', 'disk.raw', 'sized.qcow2');
    expect(image('resize', 'sized.qcow2', '+5M').stdout).toBe('sized.qcow2: qcow2, 8 MiB\n');
    const refused = image('resize', 'sized.qcow2', '1M');
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('lose its last 7 MiB: give --shrink') });
    expect(image('resize', '--shrink', 'sized.qcow2', '--', '-7M').stdout).toBe('sized.qcow2: qcow2, 1 MiB\n');
    expect(image('check', 'sized.qcow2').status).toBe(0);
  });

  it('refuses arguments in words', () => {
    expect(image('create', 'x.qcow2', 'much')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('such as 2G'),
    });
    expect(image('create', 'x.qcow2', '1000').stderr).toContain('multiple of 512');
    expect(image('create', '--cluster-size', '1000', 'x.qcow2', '1G').stderr).toContain('a power of two');
    expect(image('create', '--version', '2', '--cluster-size', '4M', 'x.qcow2', '1G').status).toBe(2);
    expect(existsSync(file('x.qcow2'))).toBe(false);
    expect(image('convert', '--help').stdout).toContain('--snapshot NAME');
  });
});

describe('sizes', () => {
  it('are read with and without units, and told in words', () => {
    expect(parseNewDiskSize('1.5G').bytes).toBe(1.5 * 2 ** 30);
    expect(parseNewDiskSize('64KiB').bytes).toBe(65536);
    expect(parseDiskSize('+512')).toEqual({ bytes: 512, relative: true });
    expect(parseDiskSize('-1M')).toEqual({ bytes: -(2 ** 20), relative: true });
    expect(() => parseNewDiskSize('-1M')).toThrow('without a sign');
    expect(parseClusterSize('2M')).toBe(2 ** 21);
    expect([0, 1, 1023, 1024, 1536, 2 ** 31].map(bytesInWords)).toEqual([
      '0 bytes',
      '1 bytes',
      '1023 bytes',
      '1 KiB',
      '1.5 KiB',
      '2 GiB',
    ]);
  });
});
