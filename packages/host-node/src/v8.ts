import { setFlagsFromString } from 'node:v8';

/**
 * Lets V8 use what compiled guest code tells of its branches: which of them are unlikely. Where it is a matter of
 * course (V8 13.7), or the host has another engine, nothing is changed. To be called before a machine is made.
 */
export function prepareV8(version: string | undefined = process.versions.v8): void {
  const [major = 99, minor = 0] = (version ?? '').split('.').map(Number);
  if (major < 13 || (major === 13 && minor < 7)) setFlagsFromString('--experimental-wasm-branch-hinting');
}
