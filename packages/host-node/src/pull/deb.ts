/** A Debian package file: its control fields and its files. deb(5). */
import { ParavaneError } from '@paravane/types';
import { unpack } from '../decompress.js';
import { readAr } from './ar.js';
import { parseControl, type Stanza } from './control.js';
import { readTar, type TarEntry } from './tar.js';

export interface DebianPackage {
  readonly file: string;
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The names in `Depends`, the first of each list of alternatives, with the exact version where one is asked for. */
  readonly depends: readonly { readonly name: string; readonly version?: string }[];
  /** Unpacks the package's files. */
  entries(): TarEntry[];
}

export function readDeb(bytes: Uint8Array, file: string): DebianPackage {
  const members = readAr(bytes, file);
  const member = (prefix: string): TarEntry[] => {
    const found = members.find(({ name }) => name.startsWith(prefix));
    if (found === undefined) {
      throw new ParavaneError('package-damaged', `${file} is not a Debian package: it has no ${prefix}`, {
        data: { file },
      });
    }
    return [...readTar(unpack(found.content, `${found.name} of ${file}`), file)];
  };
  const control = member('control.tar').find(({ path }) => path === 'control');
  const stanza: Stanza = parseControl(new TextDecoder().decode(control?.content))[0] ?? new Map();
  const field = (name: string): string => {
    const value = stanza.get(name);
    if (value === undefined) {
      throw new ParavaneError('package-damaged', `${file} is not a Debian package: its control file has no ${name}`, {
        data: { file },
      });
    }
    return value;
  };
  return {
    file,
    name: field('package'),
    version: field('version'),
    architecture: field('architecture'),
    depends: parseDepends(stanza.get('depends') ?? ''),
    entries: () => member('data.tar'),
  };
}

export function parseDepends(text: string): { name: string; version?: string }[] {
  return text
    .split(',')
    .map((alternatives) => /^\s*([a-z0-9][a-z0-9+.-]*)(?::\w+)?\s*(?:\(=\s*([^)\s]+)\s*\))?/.exec(alternatives))
    .filter((match) => match !== null)
    .map(([, name = '', version]) => (version === undefined ? { name } : { name, version }));
}
