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
async function play(): Promise<{ readonly said: string; readonly read: string } | string> {
  let said = '';
  const opened = await openPty((bytes) => (said += Buffer.from(bytes).toString())).catch(
    (error: { readonly code?: string }) => error.code ?? 'failed',
  );
  if (typeof opened === 'string') return opened;
  const buffer = Buffer.alloc(100);
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
  writeSync(program, 'typed\r');
  await until(() => (said.length >= 6 ? said : undefined));
  closeSync(program);
  // Far more than the kernel holds: nobody waits for a reader.
  for (let count = 0; count < 100; count++) opened.write(Buffer.alloc(4096, 'x'));
  opened.close();
  return { said, read };
}

describe('a pseudo-terminal', () => {
  it('carries bytes both ways as they are, where the host has one', async () => {
    expect([{ said: 'typed\r', read: 'hello\n' }, 'host-libc', 'host-pty']).toContainEqual(await play());
  });
});
