/** Kernel modules of a package, and the order in which to load them: what a module needs comes before it. */
import { parseElf } from '@paravane/elf';
import { ParavaneError } from '@paravane/types';
import { unpack } from '../decompress.js';
import type { TarEntry } from './tar.js';

export interface KernelModule {
  readonly name: string;
  /** Unpacked. */
  readonly content: Uint8Array;
}

/**
 * Those of `names` that the kernel keeps outside itself, after all that they need. A name that has no file is taken to
 * be built in.
 */
export function modulesInOrder(entries: readonly TarEntry[], names: readonly string[]): KernelModule[] {
  const files = new Map<string, TarEntry>();
  for (const entry of entries) {
    const name = /^(?:usr\/)?lib\/modules\/.*\/([^/]+)\.ko(?:\.xz|\.zst|\.gz)?$/.exec(entry.path)?.[1];
    if (name !== undefined) files.set(plainName(name), entry);
  }
  const ordered = new Map<string, KernelModule>();
  const visiting = new Set<string>();
  const visit = (name: string): void => {
    const entry = files.get(name);
    if (entry === undefined || ordered.has(name) || visiting.has(name)) return;
    visiting.add(name);
    const content = unpack(entry.content, entry.path);
    for (const needed of moduleDepends(content, entry.path)) visit(needed);
    ordered.set(name, { name, content });
  };
  for (const name of names) visit(plainName(name));
  return [...ordered.values()];
}

/** `-` and `_` mean the same in a module's name. */
const plainName = (name: string): string => name.replaceAll('-', '_');

/** The names in the `depends=` line of a module's .modinfo section. */
export function moduleDepends(module: Uint8Array, file: string): string[] {
  const section = parseElf(module)
    .sections()
    .find(({ name }) => name === '.modinfo');
  if (section === undefined) {
    throw new ParavaneError('package-damaged', `${file} is not a kernel module: it has no .modinfo section`, {
      data: { file },
    });
  }
  const text = new TextDecoder('latin1').decode(section.data());
  const line = text.split('\0').find((candidate) => candidate.startsWith('depends='));
  return (line ?? '')
    .slice('depends='.length)
    .split(',')
    .filter((name) => name !== '')
    .map(plainName);
}
