/**
 * A pseudo-terminal of the host (pty(7)) as the other end of a guest's console: any terminal program can open its name.
 * What nobody reads waits, up to `mostBehind` bytes and what the kernel keeps; what is written beyond that is lost.
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
const mostBehind = 1 << 20;
const retryMilliseconds = 5;
const TCGETS = 0x5401;
const TCSETS = 0x5402;
const flags = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;

export async function openPty(onInput: (bytes: Uint8Array) => void): Promise<Pty> {
  const ioctl = loadLibc('a pseudo-terminal').func(ioctlPrototype);
  const number = new Uint32Array(1);
  try {
    const master = openSync('/dev/ptmx', flags);
    if (ioctl(master, TIOCSPTLCK, number) !== 0 || ioctl(master, TIOCGPTN, number) !== 0) {
      closeSync(master);
      throw new ParavaneError('host-pty', 'the kernel gives no pseudo-terminal: is /dev/pts mounted?');
    }
    const name = `/dev/pts/${number[0]}`;
    // Held open, or the master would be told of an error whenever the last program leaves.
    const slave = openSync(name, flags);
    const settings = new Uint32Array(16);
    if (ioctl(slave, TCGETS, settings) === 0) ioctl(slave, TCSETS, raw(settings));
    return start(master, slave, name, onInput);
  } catch (cause) {
    if (cause instanceof ParavaneError) throw cause;
    throw new ParavaneError('host-pty', `cannot open a pseudo-terminal: ${fileCause(cause)}`, { cause });
  }
}

/** What cfmakeraw(3) does: bytes go as they are both ways, and the guest does the echo. Node's own raw mode adds CRs. */
function raw(settings: Uint32Array): Uint32Array {
  const [input = 0, output = 0, control = 0, local = 0] = settings;
  settings[0] = input & ~0x5eb; // IGNBRK, BRKINT, PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IXON
  settings[1] = output & ~1; // OPOST
  settings[2] = (control & ~0x130) | 0x30; // CSIZE, PARENB; CS8
  settings[3] = local & ~0x804b; // ISIG, ICANON, ECHO, ECHONL, IEXTEN
  return settings;
}

function start(master: number, slave: number, name: string, onInput: (bytes: Uint8Array) => void): Pty {
  const reader = new ReadStream(master);
  reader.on('data', (bytes) => onInput(bytes as Buffer));
  reader.on('error', () => reader.destroy());
  reader.unref();
  // Streams wait for a pseudo-terminal's reader by standing still, so what it does not take is kept here.
  let waiting: Uint8Array[] = [];
  let behind = 0;
  let timer: NodeJS.Timeout | undefined;
  function flush(): void {
    timer = undefined;
    while (waiting[0] && !reader.destroyed) {
      const [first] = waiting;
      const taken = writeSome(master, first);
      behind -= taken;
      if (taken < first.length) {
        waiting[0] = first.subarray(taken);
        timer = setTimeout(flush, retryMilliseconds).unref();
        return;
      }
      waiting.shift();
    }
  }
  return {
    name,
    write(bytes) {
      if (behind + bytes.length > mostBehind) return;
      behind += bytes.length;
      waiting.push(Uint8Array.from(bytes));
      if (timer === undefined) flush();
    },
    close() {
      clearTimeout(timer);
      waiting = [];
      reader.destroy();
      closeSync(slave);
    },
  };
}

/** How many bytes the kernel has taken. */
function writeSome(file: number, bytes: Uint8Array): number {
  try {
    return writeSync(file, bytes);
  } catch (error) {
    // Nobody reads.
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    return 0;
  }
}
