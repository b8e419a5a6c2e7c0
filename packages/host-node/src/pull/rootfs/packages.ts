/**
 * The packages of a minimal Debian system: those that every system has, an init, and what they depend on. Each is
 * fetched once; what it needs is known from its own control file.
 */
import { isParavaneError, ParavaneError } from '@paravane/types';
import { unpack } from '../../decompress.js';
import { readAr } from '../ar.js';
import { parseControl, type Stanza } from '../control.js';
import type { FetchedPackage, PackageSource, Progress } from '../source.js';
import { readTar, type TarEntry } from '../tar.js';

export interface SystemPackage {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** The control file's text, and its fields. */
  readonly control: string;
  readonly fields: Stanza;
  /** Maintainer scripts, lists of configuration files and the like. */
  readonly scripts: readonly TarEntry[];
  /** The tar archive of the package's files, unpacked anew at each call. */
  data(): Uint8Array;
}

/** Essential and required packages, systemd as the init, and what brings the network up. */
export const systemRoots: readonly string[] =
  `base-files base-passwd bash bsdutils coreutils dash debconf debianutils diffutils dpkg e2fsprogs findutils grep gzip
  hostname init-system-helpers libc-bin login mawk mount ncurses-base ncurses-bin passwd perl-base sed systemd
  systemd-sysv sysvinit-utils tar usr-is-merged util-linux apt debian-archive-keyring
  ifupdown isc-dhcp-client iproute2 iputils-ping`.split(/\s+/);

export async function fetchSystem(source: PackageSource, progress: Progress): Promise<SystemPackage[]> {
  const found = new Map<string, SystemPackage>();
  const provided = new Set<string>();
  const add = (fetched: FetchedPackage): void => {
    const system = readSystemPackage(fetched);
    if (found.has(system.name)) return;
    found.set(system.name, system);
    for (const name of clauses(system.fields.get('provides')).flat()) provided.add(name);
  };
  const there = (name: string): boolean => found.has(name) || provided.has(name);

  let wanted: string[][] = systemRoots.map((name) => [name]);
  while (wanted.length > 0) {
    const missing = wanted.filter((alternatives) => !alternatives.some(there));
    const first = [...new Set(missing.map(([name]) => name!))];
    progress(`fetching ${first.length} ${first.length === 1 ? 'package' : 'packages'} of the system`);
    for (const fetched of await fetchAll(source, first)) add(fetched);
    for (const alternatives of missing) {
      if (!alternatives.some(there)) add(await fetchOne(source, alternatives));
    }
    wanted = [...found.values()]
      .flatMap(({ fields }) => [...clauses(fields.get('pre-depends')), ...clauses(fields.get('depends'))])
      .filter((alternatives) => !alternatives.some(there));
  }
  return [...found.values()];
}

/** All of them at once where the source can, leaving out those that it does not have. */
async function fetchAll(source: PackageSource, names: readonly string[]): Promise<FetchedPackage[]> {
  if (source.fetchAll !== undefined && names.length > 1) {
    const all = await source.fetchAll(names).catch((error: unknown) => {
      if (isParavaneError(error, 'package-missing')) return undefined;
      throw error;
    });
    if (all !== undefined) return all;
  }
  const fetched: FetchedPackage[] = [];
  for (const name of names) {
    try {
      fetched.push(await source.fetch({ name }));
    } catch (error) {
      // A name that only others provide.
      if (!isParavaneError(error, 'package-missing')) throw error;
    }
  }
  return fetched;
}

async function fetchOne(source: PackageSource, alternatives: readonly string[]): Promise<FetchedPackage> {
  let failure: unknown;
  for (const name of alternatives) {
    try {
      return await source.fetch({ name });
    } catch (error) {
      if (!isParavaneError(error, 'package-missing')) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** A relation field: clauses of alternatives, each a name. */
function clauses(text: string | undefined): string[][] {
  return (text ?? '')
    .split(',')
    .map((clause) =>
      clause
        .split('|')
        .map((alternative) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(alternative)?.[1])
        .filter((name) => name !== undefined),
    )
    .filter((alternatives) => alternatives.length > 0);
}

function readSystemPackage({ file, bytes }: FetchedPackage): SystemPackage {
  const members = readAr(bytes, file);
  const member = (prefix: string): Uint8Array => {
    const found = members.find(({ name }) => name.startsWith(prefix));
    if (found !== undefined) return unpack(found.content, `${found.name} of ${file}`);
    throw new ParavaneError('package-damaged', `${file} is not a Debian package: it has no ${prefix}`, {
      data: { file },
    });
  };
  // Copies: a view would keep the whole archive.
  const scripts = [...readTar(member('control.tar'), file)].map((entry) => ({
    ...entry,
    content: entry.content.slice(),
  }));
  const control = new TextDecoder().decode(scripts.find(({ path }) => path === 'control')?.content);
  const fields = parseControl(control)[0] ?? new Map<string, string>();
  const field = (name: string): string => fields.get(name) ?? '';
  return {
    file,
    bytes,
    name: field('package'),
    version: field('version'),
    architecture: field('architecture'),
    control,
    fields,
    scripts: scripts.filter(({ kind, path }) => kind === 'file' && path !== 'control'),
    data: () => member('data.tar'),
  };
}
