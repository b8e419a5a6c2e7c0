/**
 * The memory of a ring: a header of 64 bytes, then a power of two of entries as large as the larger of request and
 * response (public/io/ring.h). It lies on one or more pages that need not follow each other, and entries may cross
 * from one to the next.
 */
import { ringEntries } from '@paravane/abi-xen';
import { PAGE_SIZE } from '@paravane/types';

/** The pages as they can be reached now, 4096 bytes each; undefined when they are gone. Asked again at each use. */
export type RingPages = () => readonly Uint8Array[] | undefined;

/** Entries of a ring of `pages` pages with entries of `entryBytes` bytes. */
export const ringCapacity = (entryBytes: number, pages: number): number => ringEntries(entryBytes, pages);

const view = (page: Uint8Array): DataView => new DataView(page.buffer, page.byteOffset, page.byteLength);

/** The indices are all on the first page. */
export const readIndex = (pages: readonly Uint8Array[], at: number): number => view(pages[0]!).getUint32(at, true);
export const writeIndex = (pages: readonly Uint8Array[], at: number, value: number): void =>
  view(pages[0]!).setUint32(at, value >>> 0, true);

/** Copies between the ring from byte `at` on and a flat buffer. */
export function copyRing(pages: readonly Uint8Array[], at: number, flat: Uint8Array, toRing: boolean): void {
  for (let done = 0; done < flat.length; ) {
    const page = pages[Math.floor((at + done) / PAGE_SIZE)]!;
    const start = (at + done) % PAGE_SIZE;
    const piece = Math.min(flat.length - done, PAGE_SIZE - start);
    if (toRing) page.set(flat.subarray(done, done + piece), start);
    else flat.set(page.subarray(start, start + piece), done);
    done += piece;
  }
}
