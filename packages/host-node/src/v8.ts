import { setFlagsFromString } from 'node:v8';

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
    '--always-sparkplug',
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
