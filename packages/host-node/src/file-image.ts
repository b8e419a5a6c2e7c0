/**
 * Files and block devices of the host under disk images. A flush is fdatasync: what it answers for survives a crash of
 * the host. Reads and writes run on Node's threads, or at once on the caller's where `blocking` is chosen: that costs
 * far less of the processor, and the caller waits when the disk does.
 */
import {
  closeSync,
  fdatasync,
  fstatSync,
  ftruncate,
  ftruncateSync,
  openSync,
  read,
  readFileSync,
  readSync,
  readv,
  readvSync,
  write,
  writeSync,
  writev,
  writevSync,
} from 'node:fs';
import { promisify } from 'node:util';
import {
  type Buffers,
  byteLength,
  fillZero,
  type ImageFile,
  imageError,
  type Soon,
  sliceBuffers,
} from '@paravane/image-api';
import { ParavaneError } from '@paravane/types';
import { fileCause } from './files.js';

export interface ImageFileOptions {
  readonly readOnly?: boolean;
  /** Makes the file; with 'replace', also where one is there already. */
  readonly create?: 'new' | 'replace';
  /** Reads and writes on the caller's thread. */
  readonly blocking?: boolean;
}

const fdatasyncSoon = promisify(fdatasync);
const ftruncateSoon = promisify(ftruncate);
/** POSIX lets a system take no more buffers than this in one call. */
const mostBuffers = 1024;
const mostBytes = 2 ** 30;

interface Calls {
  read(fd: number, into: Buffers, offset: number): Soon<number>;
  write(fd: number, from: Buffers, offset: number): Soon<number>;
}

const threads: Calls = {
  read: (fd, into, offset) =>
    new Promise((resolve, reject) => {
      const done = (error: Error | null, count: number): void => (error === null ? resolve(count) : reject(error));
      if (into instanceof Uint8Array) read(fd, into, 0, into.length, offset, done);
      else readv(fd, into, offset, done);
    }),
  write: (fd, from, offset) =>
    new Promise((resolve, reject) => {
      const done = (error: Error | null, count: number): void => (error === null ? resolve(count) : reject(error));
      if (from instanceof Uint8Array) write(fd, from, 0, from.length, offset, done);
      else writev(fd, from, offset, done);
    }),
};

const caller: Calls = {
  read: (fd, into, offset) =>
    into instanceof Uint8Array ? readSync(fd, into, 0, into.length, offset) : readvSync(fd, into, offset),
  write: (fd, from, offset) =>
    from instanceof Uint8Array ? writeSync(fd, from, 0, from.length, offset) : writevSync(fd, from, offset),
};

/** Opens a file as what a disk image stands on. */
export function openImageFile(path: string, options: ImageFileOptions = {}): ImageFile {
  const { readOnly = false, create, blocking = false } = options;
  const calls = blocking ? caller : threads;
  const fd = openDescriptor(path, readOnly, create);
  let size: number;
  try {
    size = sizeOf(fd, path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let open = true;

  return {
    readOnly,
    get size() {
      return size;
    },
    read(offset: number, into: Buffers): Soon {
      expectOpen();
      const wanted = byteLength(into);
      const there = Math.min(Math.max(size - offset, 0), wanted);
      if (there < wanted) fillZero(sliceBuffers(into, there, wanted));
      return there === 0 ? undefined : transfer('read', offset, there, into);
    },
    write(offset: number, from: Buffers): Soon {
      expectWritable();
      const length = byteLength(from);
      if (length === 0) return undefined;
      const answer = transfer('write', offset, length, from);
      if (answer !== undefined) return answer.then(() => grown(offset + length));
      grown(offset + length);
      return undefined;
    },
    flush(): Soon {
      expectOpen();
      return readOnly
        ? undefined
        : fdatasyncSoon(fd).catch((error: unknown) => Promise.reject(failure('flush', error)));
    },
    setSize(next: number): Soon {
      expectWritable();
      if (blocking) {
        try {
          ftruncateSync(fd, next);
        } catch (error) {
          throw failure('resize', error);
        }
        size = next;
        return undefined;
      }
      return ftruncateSoon(fd, next).then(
        () => {
          size = next;
        },
        (error: unknown) => Promise.reject(failure('resize', error)),
      );
    },
    close(): Soon {
      if (!open) return;
      open = false;
      closeSync(fd);
    },
  };

  function grown(end: number): void {
    if (end > size) size = end;
  }

  function expectOpen(): void {
    if (!open) throw imageError('closed', `${path} is closed: open it again`);
  }

  function expectWritable(): void {
    expectOpen();
    if (readOnly) throw imageError('read-only', `${path} is open for reading only`);
  }

  /** All of it, in as many calls as the system needs. */
  function transfer(what: 'read' | 'write', offset: number, length: number, buffers: Buffers): Soon {
    for (let done = 0; done < length; ) {
      let moved: Soon<number>;
      try {
        moved = calls[what](fd, portion(buffers, done, length), offset + done);
      } catch (error) {
        throw failure(what, error);
      }
      if (typeof moved !== 'number') return transferLater(what, offset, length, buffers, done, moved);
      done = progress(what, done, moved, length, buffers);
    }
    return undefined;
  }

  async function transferLater(
    what: 'read' | 'write',
    offset: number,
    length: number,
    buffers: Buffers,
    begun: number,
    first: Promise<number>,
  ): Promise<void> {
    let moved: Soon<number> = first;
    for (let done = begun; ; ) {
      try {
        done = progress(what, done, await moved, length, buffers);
        if (done >= length) return;
        moved = calls[what](fd, portion(buffers, done, length), offset + done);
      } catch (error) {
        throw failure(what, error);
      }
    }
  }

  function progress(what: 'read' | 'write', done: number, moved: number, length: number, buffers: Buffers): number {
    if (moved > 0) return done + moved;
    if (what === 'write') throw imageError('io', `cannot write ${path}: the system took no bytes`);
    // Someone cut the file off meanwhile.
    fillZero(sliceBuffers(buffers, done, length));
    return length;
  }

  function failure(what: string, error: unknown): Error {
    const errno = (error as { code?: unknown } | null)?.code;
    const code = errno === 'ENOSPC' || errno === 'EDQUOT' ? 'no-space' : errno === 'EROFS' ? 'read-only' : 'io';
    if (typeof errno !== 'string' || !/^E[A-Z0-9]+$/.test(errno)) return error as Error;
    return imageError(code, `cannot ${what} ${path}: ${fileCause(error)}`, { cause: error, data: { file: path } });
  }
}

function portion(buffers: Buffers, done: number, length: number): Buffers {
  const part = sliceBuffers(buffers, done, Math.min(length, done + mostBytes));
  return part instanceof Uint8Array || part.length <= mostBuffers ? part : part.slice(0, mostBuffers);
}

function openDescriptor(path: string, readOnly: boolean, create: ImageFileOptions['create']): number {
  const flags = create === 'new' ? 'wx+' : create === 'replace' ? 'w+' : readOnly ? 'r' : 'r+';
  try {
    return openSync(path, flags, 0o666);
  } catch (cause) {
    const data = { file: path };
    if (create === undefined) {
      const what = readOnly ? path : `${path} for writing`;
      throw new ParavaneError('file-unreadable', `cannot open ${what}: ${fileCause(cause)}`, { cause, data });
    }
    if ((cause as { code?: unknown }).code === 'EEXIST') {
      throw new ParavaneError('file-exists', `cannot make ${path}: it is there already`, { cause, data });
    }
    throw new ParavaneError('file-unwritable', `cannot make ${path}: ${fileCause(cause, path)}`, { cause, data });
  }
}

function sizeOf(fd: number, path: string): number {
  const status = fstatSync(fd);
  if (status.isFile()) return status.size;
  if (status.isBlockDevice()) return deviceSize(status.rdev, path);
  throw imageError('io', `${path} is neither a file nor a block device`, { data: { file: path } });
}

/** Node can't ask a device for its size; Linux tells it in /sys, in sectors of 512 bytes. */
function deviceSize(device: number, path: string): number {
  const major = ((device >>> 8) & 0xfff) + Math.floor(device / 2 ** 44) * 4096;
  const minor = (device & 0xff) + (Math.floor(device / 2 ** 20) % 2 ** 24) * 256;
  try {
    return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * 512;
  } catch (cause) {
    throw imageError('io', `cannot tell the size of the device ${path}: ${fileCause(cause)}`, { cause });
  }
}
