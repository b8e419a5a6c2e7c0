/** Makes small Debian packages and mirrors for tests. */
import { gzipSync } from 'node:zlib';
import { writeElf } from '@paravane/elf';
import { sha256 } from '../pull/source.js';

export function makeTar(files: Readonly<Record<string, Uint8Array | string>>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [name, content] of Object.entries(files)) {
    const bytes = Buffer.from(content);
    if (name.length > 99)
      parts.push(tarHeader('././@LongLink', name.length + 1, 'L'), padded(Buffer.from(`${name}\0`)));
    parts.push(tarHeader(name.slice(0, 99), bytes.length, '0'), padded(bytes));
  }
  return Buffer.concat([...parts, new Uint8Array(1024)]);
}

function tarHeader(name: string, size: number, type: string): Uint8Array {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write(type, 156);
  header.write('ustar\0', 257);
  return header;
}

const padded = (bytes: Uint8Array): Uint8Array =>
  Buffer.concat([bytes, new Uint8Array((512 - (bytes.length % 512)) % 512)]);

export function makeAr(members: Readonly<Record<string, Uint8Array | string>>): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from('!<arch>\n')];
  for (const [name, content] of Object.entries(members)) {
    const bytes = Buffer.from(content);
    const fields = [name.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)];
    parts.push(Buffer.from(`${fields.join('')}${String(bytes.length).padEnd(10)}\`\n`), bytes);
    if (bytes.length % 2 === 1) parts.push(Buffer.from('\n'));
  }
  return Buffer.concat(parts);
}

export interface TestPackage {
  readonly name: string;
  readonly version: string;
  /** amd64 where left out. */
  readonly architecture?: string;
  readonly depends?: string;
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
}

export function makeDeb({ name, version, architecture = 'amd64', depends, files = {} }: TestPackage): Uint8Array {
  const control = [`Package: ${name}`, `Version: ${version}`, `Architecture: ${architecture}`];
  if (depends !== undefined) control.push(`Depends: ${depends}`);
  return makeAr({
    'debian-binary': '2.0\n',
    'control.tar.gz': gzipSync(makeTar({ './control': `${control.join('\n')}\n` })),
    'data.tar.gz': gzipSync(
      makeTar(Object.fromEntries(Object.entries(files).map(([path, bytes]) => [`./${path}`, bytes]))),
    ),
  });
}

/** A kernel module that is nothing but its .modinfo section. */
export function makeModule(depends: string): Uint8Array {
  const data = Buffer.from(`license=GPL\0depends=${depends}\0name=x\0`);
  return writeElf({ bits: 64, sections: [{ name: '.modinfo', data }] });
}

/** The packages that `pull debian` needs, very small. */
export function debianPackages(version: string): TestPackage[] {
  const modules = 'lib/modules/6.1.0-9-cloud-amd64/kernel/drivers';
  return [
    { name: 'linux-image-cloud-amd64', version, depends: `linux-image-6.1.0-9-cloud-amd64 (= ${version})` },
    {
      name: 'linux-image-6.1.0-9-cloud-amd64',
      version,
      files: {
        'boot/vmlinuz-6.1.0-9-cloud-amd64': `kernel ${version}`,
        [`${modules}/block/xen-blkfront.ko`]: makeModule(''),
        [`${modules}/net/xen-netfront.ko`]: makeModule('net-part,other_part'),
        [`${modules}/net/net_part.ko`]: makeModule('other_part'),
        [`${modules}/net/other_part.ko`]: makeModule(''),
      },
    },
    { name: 'busybox-static', version: '1:1.35.0-4', files: { 'bin/busybox': 'busybox' } },
  ];
}

/** The files of a mirror that holds `packages`, by path. */
export function makeMirror(suite: string, packages: readonly TestPackage[]): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const stanzas = packages.map((found) => {
    const path = `pool/main/${found.name}_${found.version.replace(/^.*:/, '')}_amd64.deb`;
    const bytes = makeDeb(found);
    files.set(`/${path}`, bytes);
    return `Package: ${found.name}\nVersion: ${found.version}\nFilename: ${path}\nSHA256: ${sha256(bytes)}\n`;
  });
  const index = gzipSync(stanzas.join('\n'));
  const name = 'main/binary-amd64/Packages.gz';
  files.set(`/dists/${suite}/${name}`, index);
  files.set(
    `/dists/${suite}/Release`,
    Buffer.from(`Suite: ${suite}\nSHA256:\n ${sha256(index)} ${index.length} ${name}\n`),
  );
  return files;
}
