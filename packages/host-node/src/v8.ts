import { setFlagsFromString } from 'node:v8';

/**
 * Sets V8 up for a process that runs guests; to be called before a machine is made.
 *
 * The heap grows slowly: most of what a machine allocates dies at once, and V8 by itself lets it grow to three times of
 * what lives (60 MB in a boot of Debian) before it looks for it. And V8 may use what compiled guest code tells of its
 * branches, which of them are unlikely; from version 13.7 on it does so by itself.
 */
export function prepareV8(version: string | undefined = process.versions.v8): void {
  setFlagsFromString('--heap-growing-percent=10');
  const [major = 99, minor = 0] = (version ?? '').split('.').map(Number);
  if (major < 13 || (major === 13 && minor < 7)) setFlagsFromString('--experimental-wasm-branch-hinting');
}
