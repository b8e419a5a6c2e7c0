import { setFlagsFromString } from 'node:v8';

const AT_ONCE = '--always-sparkplug';

/**
 * What a process that runs guests asks of V8 of a version (`process.versions.v8`); figures are in docs/performance.md.
 *
 * - The heap grows slowly: most of what a machine allocates dies at once, and V8 by itself lets it grow to three times
 *   of what lives (60 MB in a boot of Debian) before it looks for it.
 * - JavaScript is compiled by the baseline compiler at once, and optimized with less of what it calls inlined; in V8 of
 *   Node.js 20, later too. A boot is over when V8 has optimized hundreds of functions, many of them more than once.
 * - Guest code stays with the baseline compiler of WebAssembly until it has run for a few milliseconds, which is what
 *   the optimizing compiler costs.
 * - Compiled guest code tells which of its branches are unlikely; from V8 13.7 on that is heard unasked.
 */
export function v8Flags(version: string): string[] {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isBefore = (otherMajor: number, otherMinor: number): boolean =>
    major < otherMajor || (major === otherMajor && minor < otherMinor);
  return [
    '--heap-growing-percent=10',
    '--max-inlined-bytecode-size-cumulative=300',
    AT_ONCE,
    '--wasm-tiering-budget=30000000',
    // Node.js 21, with 11.8, has no such flag.
    ...(isBefore(11, 8) ? ['--interrupt-budget=400000'] : []),
    ...(isBefore(13, 7) ? ['--experimental-wasm-branch-hinting'] : []),
  ];
}

/** Sets V8 up for a process that runs guests; to be called before a machine is made. */
export function prepareV8(): void {
  for (const flag of v8Flags(process.versions.v8)) setFlagsFromString(flag);
}

/**
 * Runs `work` without the setting that has the baseline compiler compile all JavaScript at once, which is dear for what
 * runs once. V8 takes code that was cached under other settings for unusable, so with this settings are the same
 * where code is cached and where it is used.
 */
export function withoutBaselineAtOnce<T>(work: () => T): T {
  setFlagsFromString(AT_ONCE.replace('--', '--no-'));
  try {
    return work();
  } finally {
    setFlagsFromString(AT_ONCE);
  }
}
