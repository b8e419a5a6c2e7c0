import type { ParavaneError } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeAr, makeDeb, makeModule, makeTar } from '../testing/packages.js';
import { readAr } from './ar.js';
import { compareVersions, parseControl } from './control.js';
import { S_IFCHR, S_IFDIR, S_IFREG, writeCpio } from './cpio.js';
import { parseDepends, readDeb } from './deb.js';
import { moduleDepends } from './modules.js';
import { readTar } from './tar.js';

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

/** `read`, or the code of the error. */
const outcomeOf = (read: () => unknown): string => {
  try {
    read();
    return 'read';
  } catch (error) {
    return (error as ParavaneError).code;
  }
};

describe('readAr', () => {
  it('reads the members of an archive, of odd and even length', () => {
    const members = readAr(makeAr({ one: 'abc', two: 'abcd' }), 'x.deb');
    expect(members.map(({ name, content }) => [name, text(content)])).toEqual([
      ['one', 'abc'],
      ['two', 'abcd'],
    ]);
  });

  it('refuses what is no archive or is cut short, at any length, with an error of its own', () => {
    const whole = makeAr({ one: 'abc', two: 'abcd' });
    expect(() => readAr(Buffer.from('garbage'), 'x.deb')).toThrow('x.deb is not a Debian package');
    fc.assert(
      fc.property(fc.nat(whole.length - 1), (length) => {
        expect(outcomeOf(() => readAr(whole.subarray(0, length), 'x.deb'))).toMatch(/^(read|package-damaged)$/);
      }),
    );
  });
});

describe('readTar', () => {
  it('reads files, with names of any length', () => {
    const long = `${'folder/'.repeat(30)}file`;
    const entries = [...readTar(makeTar({ './a': 'one', [long]: 'two' }), 'x')];
    expect(entries.map(({ path, kind, content }) => [path, kind, text(content)])).toEqual([
      ['a', 'file', 'one'],
      [long, 'file', 'two'],
    ]);
  });

  it('refuses an archive that is cut short', () => {
    expect(() => [...readTar(makeTar({ a: 'x'.repeat(600) }).subarray(0, 700), 'x.deb')]).toThrow('cut short');
  });
});

describe('readDeb', () => {
  it('reads name, version, dependencies and files', async () => {
    const deb = readDeb(
      makeDeb({ name: 'n', version: '1:2-3', depends: 'a (= 1), b', files: { 'bin/x': 'x' } }),
      'n.deb',
    );
    expect(deb).toMatchObject({ name: 'n', version: '1:2-3', architecture: 'amd64' });
    expect(deb.depends).toEqual([{ name: 'a', version: '1' }, { name: 'b' }]);
    expect(deb.entries().map(({ path, content }) => [path, text(content)])).toEqual([['bin/x', 'x']]);
  });

  it('says what is missing from a package', async () => {
    expect(() => readDeb(makeAr({ 'debian-binary': '2.0' }), 'n.deb')).toThrow('it has no control.tar');
    const gzip = Buffer.from([0x1f, 0x8b, 8, 0]);
    expect(() => readDeb(makeAr({ 'control.tar.gz': gzip }), 'n.deb')).toThrow('cannot unpack control.tar.gz');
  });

  it('reads the first of alternatives, and exact versions only', () => {
    expect(parseDepends('a:any (>= 1) | b, c (= 2-1), linux-image-6.1 [amd64]')).toEqual([
      { name: 'a' },
      { name: 'c', version: '2-1' },
      { name: 'linux-image-6.1' },
    ]);
  });
});

describe('parseControl', () => {
  it('reads stanzas with continued lines', () => {
    const stanzas = parseControl('Package: a\nSHA256:\n 1 2 x\n 3 4 y\n\n\nPackage: b\n');
    expect(stanzas.map((stanza) => Object.fromEntries(stanza))).toEqual([
      { package: 'a', sha256: '\n1 2 x\n3 4 y' },
      { package: 'b' },
    ]);
  });
});

describe('compareVersions', () => {
  it('orders versions as dpkg does', () => {
    const ordered = [
      '1.0~rc1',
      '1.0',
      '1.0-1~bpo',
      '1.0-1',
      '1.0-1+b1',
      '1.0a',
      '1.0+1',
      '1.1',
      '1.9',
      '1.10',
      '6.1.192-2',
      '1:0.1',
    ];
    for (const [index, version] of ordered.entries()) {
      expect(compareVersions(version, version)).toBe(0);
      for (const later of ordered.slice(index + 1)) {
        expect([version, later, compareVersions(version, later) < 0, compareVersions(later, version) > 0]).toEqual([
          version,
          later,
          true,
          true,
        ]);
      }
    }
  });

  it('takes leading zeros for nothing', () => {
    expect(compareVersions('1.002', '1.2')).toBe(0);
  });
});

describe('writeCpio', () => {
  it('writes the newc format: fields in hexadecimal, names and contents aligned to 4 bytes, a trailer', () => {
    const archive = writeCpio([
      { path: 'dev', mode: S_IFDIR | 0o755 },
      { path: 'dev/console', mode: S_IFCHR | 0o600, device: { major: 5, minor: 1 } },
      { path: 'init', mode: S_IFREG | 0o755, content: 'hello' },
    ]);
    expect(archive.length % 4).toBe(0);
    const seen: unknown[] = [];
    for (let at = 0; at < archive.length; ) {
      const field = (index: number): number =>
        Number.parseInt(text(archive.subarray(at + 6 + index * 8, at + 14 + index * 8)), 16);
      expect(text(archive.subarray(at, at + 6))).toBe('070701');
      const nameEnd = at + 110 + field(11);
      const content = Math.ceil(nameEnd / 4) * 4;
      seen.push([
        text(archive.subarray(at + 110, nameEnd - 1)),
        field(1).toString(8),
        field(9),
        field(10),
        text(archive.subarray(content, content + field(6))),
      ]);
      at = Math.ceil((content + field(6)) / 4) * 4;
    }
    expect(seen).toEqual([
      ['dev', '40755', 0, 0, ''],
      ['dev/console', '20600', 5, 1, ''],
      ['init', '100755', 0, 0, 'hello'],
      ['TRAILER!!!', '0', 0, 0, ''],
    ]);
  });
});

describe('moduleDepends', () => {
  it('reads the names in .modinfo', () => {
    expect(moduleDepends(makeModule('net-part,other_part'), 'x.ko')).toEqual(['net_part', 'other_part']);
    expect(moduleDepends(makeModule(''), 'x.ko')).toEqual([]);
  });
});
