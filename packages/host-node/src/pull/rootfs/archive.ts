/**
 * One tar archive of a whole system whose packages are unpacked and not yet configured: their files with owners and
 * modes as packed, and dpkg's records of them (dpkg(1), deb(5)). Documentation and translations are left out.
 */
import { createHash } from 'node:crypto';
import type { Progress } from '../source.js';
import { readTar } from '../tar.js';
import type { SystemPackage } from './packages.js';

const block = 512;
/** As Debian's own small images have it; what licences say stays. */
const leftOut = /^\.?\/?usr\/share\/(?:(?:man|info|locale|lintian|doc-base)\/|doc\/(?!.*\/copyright$)).*[^/]$/;

export function buildArchive(packages: readonly SystemPackage[], progress: Progress = () => undefined): Uint8Array {
  const parts: Uint8Array[] = [];
  const status: string[] = [];
  const write = (path: string, content: string | Uint8Array, mode = 0o644): void =>
    void parts.push(...tarFile(path, typeof content === 'string' ? Buffer.from(content) : content, mode));
  for (const [at, found] of packages.entries()) {
    progress(`unpacking ${at + 1} of ${packages.length}: ${found.name}`);
    const { archive, list, digests } = keepFiles(found);
    parts.push(archive);
    const base = `./var/lib/dpkg/info/${found.name}${found.fields.get('multi-arch') === 'same' ? `:${found.architecture}` : ''}`;
    write(`${base}.list`, `${list.join('\n')}\n`);
    for (const { path, content, mode } of found.scripts) write(`${base}.${path}`, content, mode & 0o777);
    status.push(stanzaOf(found, digests));
  }
  write('./var/lib/dpkg/status', status.join('\n'));
  write('./var/lib/dpkg/available', '');
  parts.push(new Uint8Array(2 * block));
  return Buffer.concat(parts);
}

/** A package's archive without what is left out and without its end; the paths that dpkg lists, and MD5 sums. */
function keepFiles(found: SystemPackage): { archive: Uint8Array; list: string[]; digests: Map<string, string> } {
  const archive = found.data();
  const conffiles = new Set(conffilesOf(found));
  const kept: Uint8Array[] = [];
  const list: string[] = [];
  const digests = new Map<string, string>();
  let start = 0;
  for (const { path, content } of readTar(archive, found.file)) {
    const end = content.byteOffset - archive.byteOffset + Math.ceil(content.length / block) * block;
    const absolute = path === '' ? '/.' : `/${path}`;
    if (!leftOut.test(path)) {
      kept.push(archive.subarray(start, end));
      list.push(absolute);
    }
    if (conffiles.has(absolute)) digests.set(absolute, createHash('md5').update(content).digest('hex'));
    start = end;
  }
  return { archive: Buffer.concat(kept), list, digests };
}

function conffilesOf({ scripts }: SystemPackage): string[] {
  const text = scripts.find(({ path }) => path === 'conffiles')?.content;
  return text === undefined
    ? []
    : new TextDecoder()
        .decode(text)
        .split('\n')
        .filter((line) => line.startsWith('/'));
}

function stanzaOf({ control }: SystemPackage, digests: ReadonlyMap<string, string>): string {
  const [first = '', ...rest] = control.trimEnd().split('\n');
  const conffiles = [...digests].map(([path, digest]) => ` ${path} ${digest}`);
  const lines = [first, 'Status: install ok unpacked', ...rest];
  if (conffiles.length > 0) lines.push('Conffiles:', ...conffiles);
  return `${lines.join('\n')}\n`;
}

/** A file in ustar format, owned by root. */
function tarFile(path: string, content: Uint8Array, mode: number): Uint8Array[] {
  const header = Buffer.alloc(block);
  const octal = (value: number, at: number, digits: number): void =>
    void header.write(`${value.toString(8).padStart(digits, '0')}\0`, at);
  header.write(path, 0, 100);
  octal(mode, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(content.length, 124, 11);
  octal(0, 136, 11);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  const padding = (block - (content.length % block)) % block;
  return [header, content, new Uint8Array(padding)];
}
