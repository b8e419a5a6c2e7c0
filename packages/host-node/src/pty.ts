/**
 * A pseudo-terminal of the host (pty(7)) as the other end of a guest's console: any terminal program can open its name.
 * What nobody reads is lost once the kernel's buffer is full.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import { ParavaneError } from '@paravane/types';
import { fileCause } from './files.js';
import { ioctlPrototype, loadLibc } from './libc.js';

export interface Pty {
  /** Such as "/dev/pts/3". */
  readonly name: string;
  write(bytes: Uint8Array): void;
  close(): void;
}

const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;
const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;

export async function openPty(onInput: (bytes: Uint8Array) => void): Promise<Pty> {
  const ioctl = (await loadLibc('a pseudo-terminal')).func(ioctlPrototype);
  const number = new Uint32Array(1);
  try {
    const master = openSync('/dev/ptmx', flags);
    if (ioctl(master, TIOCSPTLCK, number) !== 0 || ioctl(master, TIOCGPTN, number) !== 0) {
      closeSync(master);
      throw new ParavaneError('host-pty', 'the kernel gives no pseudo-terminal: is /dev/pts mounted?');
    }
    return start(master, `/dev/pts/${number[0]}`, onInput);
  } catch (cause) {
    if (cause instanceof ParavaneError) throw cause;
    throw new ParavaneError('host-pty', `cannot open a pseudo-terminal: ${fileCause(cause)}`, { cause });
  }
}

function start(master: number, name: string, onInput: (bytes: Uint8Array) => void): Pty {
  // Held open, or the master would be told of an error whenever the last program leaves. Raw: the guest does the echo.
  const slave = new ReadStream(openSync(name, flags));
  slave.setRawMode(true);
  slave.unref();
  const reader = new ReadStream(master);
  reader.on('data', (bytes) => onInput(bytes as Buffer));
  reader.on('error', () => reader.destroy());
  reader.unref();
  return {
    name,
    write(bytes) {
      try {
        writeSync(master, bytes);
      } catch (error) {
        // Nobody reads.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
    },
    close() {
      reader.destroy();
      slave.destroy();
    },
  };
}
