/** Disks and files that are only memory. */
import {
  type Buffers,
  byteLength,
  copyFrom,
  copyInto,
  type DiskImage,
  fillZero,
  type ImageFile,
  imageApiVersion,
  imageError,
  sliceBuffers,
} from '@paravane/image-api';
import { createOverlay } from './overlay.js';

/** A disk of `size` bytes of zeroes; only what is written takes memory. */
export function createMemoryImage({
  size,
  logicalBlockSize = 512,
}: {
  readonly size: number;
  readonly logicalBlockSize?: number;
}): DiskImage {
  const nothing: DiskImage = {
    apiVersion: imageApiVersion,
    format: 'memory',
    size,
    readOnly: true,
    logicalBlockSize,
    read: (_offset, into) => fillZero(into),
    write() {
      throw imageError('read-only', 'the image under an overlay is only read');
    },
    flush: () => undefined,
    close: () => undefined,
  };
  const image = createOverlay({ base: nothing });
  return Object.defineProperty(image, 'format', { value: 'memory', enumerable: true });
}

export interface MemoryFile extends ImageFile {
  /** What the file holds now. */
  content(): Uint8Array;
}

/** A file in memory, that starts with a copy of `content`. */
export function createMemoryFile(content: Uint8Array = new Uint8Array(0), readOnly = false): MemoryFile {
  let bytes = content.slice();
  let { length } = bytes;

  function extend(size: number): void {
    if (size > bytes.length) {
      const grown = new Uint8Array(Math.max(size, bytes.length * 2));
      grown.set(bytes.subarray(0, length));
      bytes = grown;
    }
    length = Math.max(length, size);
  }
  function expectWritable(): void {
    if (readOnly) throw imageError('read-only', 'the file may only be read');
  }

  return {
    readOnly,
    get size() {
      return length;
    },
    read(offset: number, into: Buffers) {
      const wanted = byteLength(into);
      const there = Math.min(Math.max(length - offset, 0), wanted);
      if (there > 0) copyInto(sliceBuffers(into, 0, there), bytes.subarray(offset, offset + there));
      if (there < wanted) fillZero(sliceBuffers(into, there, wanted));
    },
    write(offset: number, from: Buffers) {
      expectWritable();
      extend(offset + byteLength(from));
      copyFrom(from, bytes.subarray(offset));
    },
    flush: () => undefined,
    setSize(size: number) {
      expectWritable();
      if (size < length) bytes.fill(0, size, length);
      else extend(size);
      length = size;
    },
    punchHole(offset: number, count: number) {
      expectWritable();
      bytes.fill(0, Math.min(offset, length), Math.min(offset + count, length));
    },
    close: () => undefined,
    content: () => bytes.slice(0, length),
  };
}
