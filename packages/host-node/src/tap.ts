/**
 * A link that is a TAP device of the host (Linux, Documentation/networking/tuntap.rst): the guests' Ethernet continues
 * in an interface of the host's kernel. It takes /dev/net/tun, the right to it (CAP_NET_ADMIN, or a device that was made
 * for this user), and koffi, an optional dependency: Node.js has no ioctl of its own.
 */
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { type Frame, type Link, type LinkUser, linkApiVersion, linkInUse, noOffloads } from '@paravane/link-api';
import { ParavaneError } from '@paravane/types';
import { fileCause } from './files.js';
import { ioctlPrototype, loadLibc, type Native } from './libc.js';

/** The device, as the link needs it. */
export interface TapFile {
  /** Resolves when there may be a frame, or after a while. */
  ready(): Promise<void>;
  /** A frame; undefined when there is none now. */
  read(): Uint8Array | undefined;
  /** A frame that the device does not take is lost, as on any wire. */
  write(frame: Uint8Array): void;
  close(): void;
}

/** Frames that are read at once. */
const batch = 64;
/** Milliseconds after which a device that is silent is looked at for having been closed. */
const pollMilliseconds = 250;
const largestFrame = 65_535 + 18;

/** A link over a device. It is read while there is a user with room. */
export function createTapLink(file: TapFile, name: string): Link {
  let user: LinkUser | undefined;
  let closed = false;
  let reading = false;
  let waiting: Frame[] = [];
  let blocked = false;

  function give(): void {
    while (user && !blocked && !closed && waiting.length > 0) {
      const frames = waiting;
      waiting = [];
      blocked = true;
      const taken = user.send(frames);
      if (taken >= frames.length) blocked = false;
      else waiting = frames.slice(taken).concat(waiting);
    }
  }

  async function read(): Promise<void> {
    if (reading) return;
    reading = true;
    while (user && !closed && !blocked) {
      await file.ready();
      for (let count = 0; count < batch && !closed; count++) {
        const bytes = file.read();
        if (bytes === undefined) break;
        waiting.push({ bytes });
      }
      give();
    }
    reading = false;
    if (closed) file.close();
  }

  return {
    apiVersion: linkApiVersion,
    name,
    mtu: 1500,
    get carrier() {
      return !closed;
    },
    offloads: noOffloads,
    attach(newUser) {
      if (user || closed) throw linkInUse(name);
      user = newUser;
      void read();
    },
    send(frames) {
      if (!closed) for (const { bytes } of frames) file.write(bytes);
      return frames.length;
    },
    resume() {
      blocked = false;
      give();
      void read();
    },
    close() {
      if (closed) return;
      closed = true;
      user = undefined;
      waiting = [];
      // While it is waited for, it is closed by who waits.
      if (!reading) file.close();
    },
  };
}

const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
/** Of `struct ifreq`, and where the flags are in it. */
const ifreqBytes = 40;
const ifreqFlags = 16;
const longestName = 15;
const POLLIN = 1;

/** Attaches to the TAP device of this name, which is made where there is none, for as long as the link is open. */
export async function openTap(name: string): Promise<Link> {
  if (!/^[A-Za-z0-9_.-]+$/.test(name) || name.length > longestName) {
    throw new ParavaneError(
      'tap-device',
      `"${name}" cannot be a device's name: use 1 to ${longestName} letters and digits`,
    );
  }
  const libc = loadLibc('a TAP device');
  const device = openDevice();
  const request = new Uint8Array(ifreqBytes);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setUint16(ifreqFlags, IFF_TAP | IFF_NO_PI, true);
  if (libc.func(ioctlPrototype)(device, TUNSETIFF, request) !== 0) {
    closeSync(device);
    const remedy = `make it for this user: ip tuntap add ${name} mode tap user "$USER"`;
    throw new ParavaneError('tap-device', `the TAP device ${name} is in use, or may not be made; ${remedy}`);
  }
  return createTapLink(
    tapFile(device, libc.func('int poll(void *fds, unsigned long count, int timeout)')),
    `TAP ${name}`,
  );
}

function openDevice(): number {
  try {
    return openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  } catch (cause) {
    const message = `cannot open /dev/net/tun: ${fileCause(cause)}; a TAP device needs Linux and the right to it`;
    throw new ParavaneError('tap-device', message, { cause });
  }
}

function tapFile(device: number, poll: Native): TapFile {
  const buffer = new Uint8Array(largestFrame);
  const polled = new Uint8Array(8);
  const view = new DataView(polled.buffer);
  view.setInt32(0, device, true);
  view.setUint16(4, POLLIN, true);
  return {
    ready: () => new Promise((resolve) => poll.async(polled, 1, pollMilliseconds, () => resolve())),
    read() {
      try {
        return buffer.slice(0, readSync(device, buffer));
      } catch (error) {
        if (isMomentary(error)) return undefined;
        throw error;
      }
    },
    write(frame) {
      try {
        writeSync(device, frame);
      } catch (error) {
        if (!isMomentary(error)) throw error;
      }
    },
    close: () => closeSync(device),
  };
}

/** The device has no frame, no room, takes no such frame, or its interface is down. */
function isMomentary(error: unknown): boolean {
  return ['EAGAIN', 'EIO', 'EINVAL', 'ENOBUFS', 'EBADFD'].includes((error as NodeJS.ErrnoException).code ?? '');
}
