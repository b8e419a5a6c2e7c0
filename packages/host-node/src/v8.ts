import { setFlagsFromString } from 'node:v8';

/**
 * What a process that runs guests asks of V8; figures are in docs/performance.md.
 *
 * - The heap grows slowly: most of what a machine allocates dies at once, and V8 by itself lets it grow to three times
 *   of what lives (60 MB in a boot of Debian) before it looks for it.
 * - JavaScript is optimized later, with less of what it calls inlined, and compiled by the baseline compiler at once: a
 *   boot is over when V8 has optimized hundreds of functions, many of them more than once.
 * - Guest code stays with the baseline compiler of WebAssembly until it has run for a few milliseconds, which is what
 *   the optimizing compiler costs.
 */
const FLAGS = [
  '--heap-growing-percent=10',
  '--interrupt-budget=400000',
  '--max-inlined-bytecode-size-cumulative=300',
  '--always-sparkplug',
  '--wasm-tiering-budget=30000000',
];

/**
 * Sets V8 up for a process that runs guests; to be called before a machine is made. Where V8 (`version`) does not by
 * itself, it may also use what compiled guest code tells of its branches, which of them are unlikely.
 */
export function prepareV8(version: string | undefined = process.versions.v8): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
  const [major = 99, minor = 0] = (version ?? '').split('.').map(Number);
  if (major < 13 || (major === 13 && minor < 7)) setFlagsFromString('--experimental-wasm-branch-hinting');
}
