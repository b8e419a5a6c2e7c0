import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { readDomainConfig } from '@paravane/toolstack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianPackages, makeDeb, makeMirror } from '../testing/packages.js';
import { aptSource } from './apt-source.js';
import { folderSource } from './folder-source.js';
import { mirrorSource } from './mirror-source.js';
import { pullGuest } from './pull.js';
import { type PackageSource, sha256 } from './source.js';

const folder = mkdtempSync(join(tmpdir(), 'paravane-pull-'));
const home = join(folder, 'home');
const progress = (): void => undefined;
const packages = [...debianPackages('6.1.9-1'), ...debianPackages('6.1.10-1').slice(0, 2)];

let files = makeMirror('bookworm', packages);
let server: Server;
let url: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    const found = files.get(request.url ?? '');
    response.writeHead(found === undefined ? 404 : 200);
    response.end(found);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  mkdirSync(join(folder, 'debs'));
  for (const found of packages) {
    writeFileSync(join(folder, 'debs', `${found.name}_${found.version.replace(':', '%3a')}_amd64.deb`), makeDeb(found));
  }
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const sources: [string, () => PackageSource][] = [
  ['a folder', () => folderSource(join(folder, 'debs'))],
  ['a mirror', () => mirrorSource({ url: `${url}/`, suite: 'bookworm', progress })],
];

describe.each(sources)('pull debian from %s', (_, source) => {
  it('makes kernel, initramfs, configuration and lock file', async () => {
    const pulled = await pullGuest({ guest: 'debian', source: source(), home, progress });
    expect(pulled.packages.map(({ name, version }) => `${name} ${version}`)).toEqual([
      'linux-image-cloud-amd64 6.1.10-1',
      'linux-image-6.1.0-9-cloud-amd64 6.1.10-1',
      'busybox-static 1:1.35.0-4',
    ]);
    expect(readFileSync(join(pulled.folder, 'vmlinuz'), 'utf8')).toBe('kernel 6.1.10-1');

    const { config, diagnostics } = readDomainConfig(readFileSync(pulled.configFile, 'utf8'));
    expect(diagnostics).toEqual([]);
    expect(config).toMatchObject({ name: 'debian', kernel: join(pulled.folder, 'vmlinuz') });

    const lock = JSON.parse(readFileSync(join(pulled.folder, 'lock.json'), 'utf8'));
    expect(lock.packages).toHaveLength(3);
    for (const { file, size, sha256: sum } of lock.files) {
      const bytes = readFileSync(join(pulled.folder, file));
      expect([file, bytes.length, sha256(bytes)]).toEqual([file, size, sum]);
    }
  });

  it('takes exactly the version that is asked for', async () => {
    const pulled = await pullGuest({ guest: 'debian', source: source(), home, progress, version: '6.1.9-1' });
    expect(readFileSync(join(pulled.folder, 'vmlinuz'), 'utf8')).toBe('kernel 6.1.9-1');
  });

  it('says which package is missing', async () => {
    await expect(pullGuest({ guest: 'grub', source: source(), home, progress })).rejects.toMatchObject({
      code: 'package-missing',
      message: expect.stringContaining('grub-xen-host'),
    });
    await expect(pullGuest({ guest: 'debian', source: source(), home, progress, version: '7' })).rejects.toMatchObject({
      message: expect.stringContaining('linux-image-cloud-amd64 7'),
    });
  });
});

it('puts what a module needs before it, and loads nothing that is built in', async () => {
  const { folder: made } = await pullGuest({
    guest: 'debian',
    source: folderSource(join(folder, 'debs')),
    home,
    progress,
  });
  const archive = gunzipSync(readFileSync(join(made, 'initramfs.cpio.gz'))).toString('latin1');
  expect(archive).toContain('xen_blkfront\nother_part\nnet_part\nxen_netfront\n');
  expect(archive).toContain('#!/bin/sh\n');
});

describe('a mirror that cannot be trusted', () => {
  const pull = (suite = 'bookworm') =>
    pullGuest({
      guest: 'debian',
      source: mirrorSource({ url, suite, progress }),
      home: join(folder, 'none'),
      progress,
    });

  it.each([
    ['/dists/bookworm/main/binary-amd64/Packages.gz', 'checksum-mismatch'],
    ['/pool/main/busybox-static_1.35.0-4_amd64.deb', 'checksum-mismatch'],
    ['/dists/bookworm/Release', 'mirror-unusable'],
  ])('is refused where %s was changed, and nothing is written', async (path, code) => {
    files = makeMirror('bookworm', packages);
    files.set(path, Buffer.from('changed'));
    await expect(pull()).rejects.toMatchObject({ code });
    expect(existsSync(join(folder, 'none', 'debian'))).toBe(false);
    files = makeMirror('bookworm', packages);
  });

  it('is reported with its URL where it does not answer or has no such suite', async () => {
    await expect(pull('sarge')).rejects.toMatchObject({
      code: 'download-failed',
      message: expect.stringMatching(/dists\/sarge\/Release: the server answers 404/),
    });
    const gone = mirrorSource({ url: 'http://127.0.0.1:1', suite: 'bookworm', progress });
    await expect(pullGuest({ guest: 'grub', source: gone, home, progress })).rejects.toMatchObject({
      code: 'download-failed',
      message: expect.stringContaining('cannot fetch http://127.0.0.1:1/dists/bookworm/Release'),
    });
  });
});

describe('a folder', () => {
  it('that is not there is reported', async () => {
    const source = folderSource(join(folder, 'nowhere'));
    await expect(pullGuest({ guest: 'grub', source, home, progress })).rejects.toMatchObject({
      code: 'folder-unreadable',
    });
  });
});

describe('guests of 32 bits', () => {
  const debs = join(folder, 'more');
  beforeAll(() => {
    mkdirSync(debs);
    const images = { 'usr/lib/grub-xen/grub-x86_64-xen.bin': 'wide', 'usr/lib/grub-xen/grub-i386-xen.bin': 'narrow' };
    writeFileSync(
      join(debs, 'grub-xen-host_1_amd64.deb'),
      makeDeb({ name: 'grub-xen-host', version: '1', files: images }),
    );
    const name = 'gnumach-image-1.8-xen-486';
    const kernel = { 'boot/gnumach-1.8-xen-486.gz': gzipSync('mach') };
    for (const architecture of ['i386', 'hurd-amd64']) {
      const found = makeDeb({ name, version: '2:1.8', architecture, files: architecture === 'i386' ? kernel : {} });
      writeFileSync(join(debs, `${name}_2%3a1.8_${architecture}.deb`), found);
    }
  });

  it('are GRUB by another name, from the same package', async () => {
    const { folder: made } = await pullGuest({ guest: 'grub', source: folderSource(debs), home, progress });
    expect(readFileSync(join(made, 'grub.bin'), 'utf8')).toBe('wide');
    const { config } = readDomainConfig(readFileSync(join(home, 'grub-pv32', 'grub-pv32.cfg'), 'utf8'));
    expect(config).toMatchObject({ name: 'grub-pv32', kernel: join(made, 'grub-pv32.bin') });
    expect(readFileSync(join(made, 'grub-pv32.bin'), 'utf8')).toBe('narrow');
  });

  it('are GNU Mach, unpacked from the package for i386', async () => {
    const pulled = await pullGuest({ guest: 'gnumach', source: folderSource(debs), home, progress });
    expect(pulled.packages[0]).toMatchObject({ name: 'gnumach-image-1.8-xen-486', architecture: 'i386' });
    expect(readFileSync(join(pulled.folder, 'gnumach.bin'), 'utf8')).toBe('mach');
    await expect(
      pullGuest({ guest: 'gnumach', source: folderSource(join(folder, 'debs')), home, progress }),
    ).rejects.toMatchObject({ message: expect.stringContaining('gnumach-image-1.8-xen-486:i386') });
  });
});

describe('apt', () => {
  it("fetches GRUB's PV64 image by name, in private folders, and leaves no download behind, not even another's", async () => {
    const gone = spawnSync(process.execPath, ['-e', '']).pid;
    mkdirSync(join(home, 'apt', `download-${gone}-abc`), { recursive: true });
    const source = aptSource({ folder: join(home, 'apt'), progress });
    const { folder: made, packages: fetched } = await pullGuest({ guest: 'grub', source, home, progress });
    expect(fetched[0]?.name).toBe('grub-xen-host');
    expect(readFileSync(join(made, 'grub.bin')).subarray(1, 4).toString()).toBe('ELF');
    expect(readdirSync(join(home, 'apt'))).toEqual(['system']);
  });

  it('says what is wrong where it has no such version', async () => {
    const source = aptSource({ folder: join(home, 'apt'), progress });
    await expect(pullGuest({ guest: 'grub', source, home, progress, version: '0' })).rejects.toMatchObject({
      code: 'package-missing',
      message: expect.stringMatching(/apt-get cannot download grub-xen-host 0: .*'0'/),
    });
  });
});
