import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openPty } from './pty.js';

/** Tries again until there is something. */
async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a program that opens the terminal sees and says; nothing where the host has none. */
async function play(): Promise<{ readonly said: string; readonly read: string; readonly length: number } | string> {
  let said = '';
  const opened = await openPty((bytes) => (said += Buffer.from(bytes).toString())).catch(
    (error: { readonly code?: string }) => error.code ?? 'failed',
  );
  if (typeof opened === 'string') return opened;
  const buffer = Buffer.alloc(4096);
  const program = openSync(opened.name, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  opened.write(Buffer.from('hello\n'));
  const read = await until(() => {
    try {
      return buffer.toString('latin1', 0, readSync(program, buffer));
    } catch (error) {
      if ((error as { readonly code?: string }).code === 'EAGAIN') return undefined;
      throw error;
    }
  });
  writeSync(program, 'typed\r\n');
  await until(() => (said.length >= 7 ? said : undefined));
  // Far more than the kernel holds: it waits for the reader, and all of it comes.
  for (let count = 0; count < 100; count++) opened.write(Buffer.alloc(4096, 'x'));
  let length = 0;
  while (length < 100 * 4096) {
    await until(() => {
      try {
        return (length += readSync(program, buffer));
      } catch (error) {
        if ((error as { readonly code?: string }).code === 'EAGAIN') return undefined;
        throw error;
      }
    });
  }
  closeSync(program);
  // With no reader there is an end to it.
  for (let count = 0; count < 1000; count++) opened.write(Buffer.alloc(4096, 'x'));
  opened.close();
  return { said, read, length };
}

describe('a pseudo-terminal', () => {
  it('carries bytes both ways as they are, where the host has one', async () => {
    expect([{ said: 'typed\r\n', read: 'hello\n', length: 409_600 }, 'host-libc', 'host-pty']).toContainEqual(
      await play(),
    );
  });
});
