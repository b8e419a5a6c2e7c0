/**
 * A disk whose writes stay in memory, over an image that is only read. Pages hold what was written, with a bit for
 * each block; the rest comes from below.
 */
import {
  type Buffers,
  byteLength,
  checkImageRange,
  copyFrom,
  copyInto,
  type DiskImage,
  fillZero,
  type ImageInfo,
  imageApiVersion,
  imageError,
  type Soon,
  sliceBuffers,
} from '@paravane/image-api';
import { join, start } from './soon.js';

const pageSize = 4096;
const blockSize = 512;
const allBlocks = 0xff;
/** Pages are cut from pieces of this many, so that each costs no more than its bytes. */
const pagesPerSlab = 256;

interface Page {
  readonly bytes: Uint8Array;
  /** Blocks that are here, a bit each. */
  present: number;
}

class Pages {
  readonly pages = new Map<number, Page>();
  #slab = new Uint8Array(0);
  #cut = 0;

  obtain(index: number): Page {
    let page = this.pages.get(index);
    if (page === undefined) {
      if (this.#cut === this.#slab.length) {
        this.#slab = new Uint8Array(pagesPerSlab * pageSize);
        this.#cut = 0;
      }
      page = { bytes: this.#slab.subarray(this.#cut, this.#cut + pageSize), present: 0 };
      this.#cut += pageSize;
      this.pages.set(index, page);
    }
    return page;
  }
}

export interface OverlayOptions {
  /** Where the overlay's disk shows nothing that was written: an image, closed with the overlay. */
  readonly base: DiskImage;
}

export function createOverlay({ base }: OverlayOptions): DiskImage {
  const store = new Pages();
  let closed = false;
  let { size } = base;

  const image: DiskImage = {
    apiVersion: imageApiVersion,
    format: 'overlay',
    readOnly: false,
    logicalBlockSize: base.logicalBlockSize,
    get size() {
      return size;
    },
    read(offset: number, into: Buffers): Soon {
      const length = byteLength(into);
      expectOpen(offset, length);
      const answers: Promise<void>[] = [];
      for (let done = 0; done < length; ) {
        const { page, part } = runAt(offset + done, length - done);
        const at = offset + done;
        const buffers = sliceBuffers(into, done, done + part);
        if (page !== undefined) copyInto(buffers, page.bytes.subarray(at % pageSize, (at % pageSize) + part));
        else start(answers, () => readBase(at, part, buffers));
        done += part;
      }
      return join(answers);
    },
    write(offset: number, from: Buffers): Soon {
      const length = byteLength(from);
      expectOpen(offset, length);
      storeBlocks(offset, length, (bytes, done) => copyFrom(sliceBuffers(from, done, done + bytes.length), bytes));
    },
    flush(): Soon {
      expectOpen(0, 0);
    },
    writeZeroes(offset: number, length: number): Soon {
      expectOpen(offset, length);
      storeBlocks(offset, length, (bytes) => void bytes.fill(0));
    },
    /** The blocks read as zeroes afterwards. */
    discard(offset: number, length: number): Soon {
      expectOpen(offset, length);
      storeBlocks(offset, length, (bytes) => void bytes.fill(0));
    },
    resize(next: number): Soon {
      checkImageRange({ size: Number.MAX_SAFE_INTEGER, logicalBlockSize: base.logicalBlockSize }, 0, next);
      expectOpen(0, 0);
      const old = size;
      size = Math.max(old, next);
      // What was cut off is not to come back, and what is below was not part of the disk.
      const [begin, end] = next < old ? [next, old] : [old, Math.min(next, Math.max(base.size, old))];
      if (end > begin) storeBlocks(begin, end - begin, (bytes) => void bytes.fill(0));
      size = next;
    },
    info(): ImageInfo {
      return { format: 'overlay', size, allocated: store.pages.size * pageSize };
    },
    close(): Soon {
      if (closed) return undefined;
      closed = true;
      store.pages.clear();
      return base.close();
    },
  };
  return image;

  function expectOpen(offset: number, length: number): void {
    if (closed) throw imageError('closed', 'the image is closed: open it again');
    checkImageRange(image, offset, length);
  }

  function readBase(at: number, length: number, into: Buffers): Soon {
    const below = Math.min(Math.max(base.size - at, 0), length);
    if (below < length) fillZero(sliceBuffers(into, below, length));
    return below === 0 ? undefined : base.read(at, sliceBuffers(into, 0, below));
  }

  /** The longest run from `at` that is in one page here, or that is all below. */
  function runAt(at: number, most: number): { page: Page | undefined; part: number } {
    const page = pageWith(at);
    const limit = page === undefined ? most : Math.min(most, pageSize - (at % pageSize));
    let part = Math.min(blockSize, limit);
    while (part < limit && pageWith(at + part) === page) part += blockSize;
    return { page, part: Math.min(part, limit) };
  }

  function pageWith(at: number): Page | undefined {
    const page = store.pages.get(Math.floor(at / pageSize));
    if (page === undefined) return undefined;
    return ((page.present >>> ((at % pageSize) / blockSize)) & 1) === 1 ? page : undefined;
  }

  function storeBlocks(offset: number, length: number, put: (bytes: Uint8Array, done: number) => void): void {
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const inside = at % pageSize;
      const part = Math.min(length - done, pageSize - inside);
      const page = store.obtain(Math.floor(at / pageSize));
      put(page.bytes.subarray(inside, inside + part), done);
      page.present |= part === pageSize ? allBlocks : ((1 << (part / blockSize)) - 1) << (inside / blockSize);
      done += part;
    }
  }
}
