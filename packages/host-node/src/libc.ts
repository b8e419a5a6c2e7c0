/** Functions of the C library that Node.js does not have, by koffi: an optional dependency. Linux only. */
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
export async function loadLibc(what: string): Promise<Libc> {
  const library: string = 'koffi';
  try {
    const { default: koffi } = (await import(library)) as { readonly default: { load(file: string): Libc } };
    return koffi.load('libc.so.6');
  } catch (cause) {
    throw new ParavaneError('host-libc', `${what} needs Linux, and the package koffi: npm install koffi`, { cause });
  }
}
