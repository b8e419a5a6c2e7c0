/** Functions of the C library that Node.js does not have, by koffi: an optional dependency. Linux only. */
import { createRequire } from 'node:module';
import { ParavaneError } from '@paravane/types';

export interface Libc {
  func(prototype: string): Native;
}

export interface Native {
  (...values: unknown[]): number;
  async(...values: unknown[]): void;
}

export const ioctlPrototype = 'int ioctl(int fd, unsigned long request, void *argument)';

/** `what` is what needs it, in words. */
export function loadLibc(what: string): Libc {
  try {
    // Not by `import`, which a script that a bundler made can't do everywhere.
    const koffi = createRequire(import.meta.url)('koffi') as { load(file: string): Libc };
    return koffi.load('libc.so.6');
  } catch (cause) {
    throw new ParavaneError('host-libc', `${what} needs Linux, and the package koffi: npm install koffi`, { cause });
  }
}
