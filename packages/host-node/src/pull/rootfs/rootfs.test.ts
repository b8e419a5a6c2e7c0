import { gzipSync } from 'node:zlib';
import { ParavaneError } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { makeAr, makeTar } from '../../testing/packages.js';
import type { FetchedPackage, PackageSource } from '../source.js';
import { readTar } from '../tar.js';
import { buildArchive } from './archive.js';
import { buildBootstrap } from './bootstrap.js';
import { fetchSystem, systemRoots } from './packages.js';

interface Made {
  readonly fields?: Readonly<Record<string, string>>;
  readonly control?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, string>>;
}

function makePackage(name: string, { fields = {}, control = {}, files = {} }: Made): FetchedPackage {
  const lines = Object.entries({ Package: name, Version: '1', Architecture: 'amd64', ...fields });
  const text = lines.map(([key, value]) => `${key}: ${value}\n`).join('');
  return {
    file: `${name}.deb`,
    bytes: makeAr({
      'debian-binary': '2.0\n',
      'control.tar.gz': gzipSync(makeTar({ './control': text, ...control })),
      'data.tar.gz': gzipSync(makeTar(files)),
    }),
  };
}

/** A source with all roots, and what is given in addition or in their place. */
function sourceOf(special: Readonly<Record<string, Made>>, together = false) {
  const asked: string[] = [];
  const made = new Map<string, Made>(systemRoots.map((name) => [name, {}]));
  for (const [name, value] of Object.entries(special)) made.set(name, value);
  const fetch = (name: string): FetchedPackage => {
    asked.push(name);
    const found = made.get(name);
    if (found === undefined) throw new ParavaneError('package-missing', `there is no ${name}`);
    return makePackage(name, found);
  };
  const source: PackageSource = {
    description: { kind: 'test' },
    fetch: async ({ name }) => fetch(name),
    ...(together ? { fetchAll: async (names: readonly string[]) => names.map(fetch) } : {}),
  };
  return { source, asked };
}
const quiet = (): void => undefined;
const paths = (archive: Uint8Array): string[] => [...readTar(archive, 'system.tar')].map(({ path }) => path);
const textOf = (archive: Uint8Array, path: string): string =>
  new TextDecoder().decode([...readTar(archive, 'system.tar')].find((entry) => entry.path === path)?.content);

describe('the packages of a system', () => {
  it.each([false, true])('are the roots and all that they need, each once (fetched together: %s)', async (together) => {
    const { source, asked } = sourceOf(
      {
        bash: { fields: { Depends: 'libone (>= 2), libtwo:any | libthree', 'Pre-Depends': 'libzero' } },
        libone: { fields: { Depends: 'libzero, awk' } },
        libtwo: {},
        libzero: {},
        mawk: { fields: { Provides: 'awk' } },
      },
      together,
    );
    const names = (await fetchSystem(source, quiet)).map(({ name }) => name);
    expect([...names].sort()).toEqual([...systemRoots, 'libone', 'libtwo', 'libzero'].sort());
    expect(asked).not.toContain('awk');
    expect(asked).not.toContain('libthree');
  });

  it('take the next alternative where the first is only a name', async () => {
    const { source } = sourceOf({ bash: { fields: { Depends: 'virtual-shell | real-shell' } }, 'real-shell': {} });
    expect((await fetchSystem(source, quiet)).map(({ name }) => name)).toContain('real-shell');
  });

  it('are an error where one of them is nowhere', async () => {
    const { source } = sourceOf({ bash: { fields: { Depends: 'nowhere' } } });
    await expect(fetchSystem(source, quiet)).rejects.toMatchObject({ code: 'package-missing' });
  });
});

describe('the archive', () => {
  const special = {
    bash: {
      fields: { 'Multi-Arch': 'same', Description: 'a shell\n with more to say' },
      control: { './postinst': '#!/bin/sh\n', './conffiles': '/etc/bash.bashrc\n' },
      files: {
        './bin/bash': 'the shell',
        './etc/bash.bashrc': 'settings',
        './usr/share/man/man1/bash.1.gz': 'manual',
        './usr/share/doc/bash/copyright': 'free',
        './usr/share/doc/bash/changelog.gz': 'changes',
      },
    },
    libone: {},
  };

  it('holds files, without documentation, and what dpkg knows of them', async () => {
    const { source } = sourceOf(special);
    const said: string[] = [];
    const archive = buildArchive(await fetchSystem(source, quiet), (line) => said.push(line));
    expect(said).toHaveLength(systemRoots.length);
    expect(said[0]).toMatch(/^unpacking 1 of \d+: base-files$/);
    expect(paths(archive)).toEqual(expect.arrayContaining(['bin/bash', 'usr/share/doc/bash/copyright']));
    expect(paths(archive).filter((path) => /man1|changelog/.test(path))).toEqual([]);
    expect(textOf(archive, 'bin/bash')).toBe('the shell');
    const info = 'var/lib/dpkg/info/bash:amd64';
    expect(textOf(archive, `${info}.postinst`)).toBe('#!/bin/sh\n');
    expect(textOf(archive, `${info}.list`)).toBe('/bin/bash\n/etc/bash.bashrc\n/usr/share/doc/bash/copyright\n');
    const status = textOf(archive, 'var/lib/dpkg/status');
    expect(status).toContain(
      'Package: bash\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\nMulti-Arch: same\n' +
        'Description: a shell\n with more to say\nConffiles:\n /etc/bash.bashrc 2e5d8aa3dfa8ef34ca5131d20f9dad51\n\n',
    );
    expect(status.match(/^Package: /gm)).toHaveLength(systemRoots.length);
    expect(archive.length % 512).toBe(0);
  });

  it('is not made without what makes the file system', async () => {
    const { source } = sourceOf(special);
    const packages = await fetchSystem(source, quiet);
    expect(() => buildBootstrap(new Uint8Array(1), [], packages)).toThrow('e2fsprogs holds no mke2fs');
  });
});
