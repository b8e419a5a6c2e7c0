/**
 * The granted pages of requests in progress, as buffers on the guest's own frames.
 *
 * Where both ends agreed on persistent grants, mappings are kept by reference and used again, up to a limit; else each
 * ends with its request. A page that can't be mapped (a sub-page grant) is copied through a buffer of ours.
 *
 * Invariants: each page that a request uses is pinned until the request is released; a persistent mapping goes only
 * while no request uses it.
 */
import type { Access, MappedPage, Peer } from '@paravane/driver-api';

const PAGE = 4096;
/** As many as Linux's back end keeps of one ring. */
const MOST_PERSISTENT = 1056;

/** A part of a granted page, until `release`. */
export interface GrantedBuffer {
  readonly bytes: Uint8Array;
  /** Ends the use. `filled`: the bytes were read from the disk. False where they could not reach the guest. */
  release(filled: boolean): boolean;
}

interface Kept {
  readonly page: MappedPage;
  uses: number;
}

export interface GrantedPages {
  /** The part of a page from `start` below `end`; a negative status where the guest does not allow it. */
  open(claimedRef: number, access: Access, start: number, end: number): GrantedBuffer | number;
  readonly persistent: number;
  /** Lets go of what is kept; pages in use stay until their request is done. */
  close(): void;
}

export function createGrantedPages(peer: Peer, persistent: boolean): GrantedPages {
  const kept = new Map<number, Kept>();
  let closed = false;

  function use(page: MappedPage, start: number, end: number, done: () => void): GrantedBuffer {
    const pinned = page.pin();
    return {
      bytes: start === 0 && end === PAGE ? pinned : pinned.subarray(start, end),
      release() {
        page.unpin();
        done();
        return true;
      },
    };
  }

  function makeRoom(): boolean {
    if (kept.size < MOST_PERSISTENT) return true;
    for (const [ref, { page, uses }] of kept) {
      if (uses > 0) continue;
      kept.delete(ref);
      page.unmap();
      return true;
    }
    return false;
  }

  function openPersistent(ref: number, start: number, end: number): GrantedBuffer | undefined {
    let entry = kept.get(ref);
    if (!entry) {
      if (!makeRoom()) return undefined;
      const page = peer.map(ref, 'write');
      if (typeof page === 'number') return undefined;
      entry = { page, uses: 0 };
    } else {
      // Last used, last to go.
      kept.delete(ref);
    }
    kept.set(ref, entry);
    const used = entry;
    used.uses++;
    return use(used.page, start, end, () => {
      used.uses--;
      if (closed && used.uses === 0) used.page.unmap();
    });
  }

  function openCopied(
    ref: number,
    access: Access,
    start: number,
    end: number,
    refusal: number,
  ): GrantedBuffer | number {
    if (access === 'read') {
      const bytes = peer.copyFrom(ref, start, end - start);
      return typeof bytes === 'number' ? refusal : { bytes, release: () => true };
    }
    // Nothing is written yet, but that nothing could be is to be known before the disk is read.
    if (peer.copyTo(ref, start, new Uint8Array(0)) !== 0) return refusal;
    const bytes = new Uint8Array(end - start);
    return { bytes, release: (filled) => !filled || peer.copyTo(ref, start, bytes) === 0 };
  }

  return {
    open(claimedRef, access, start, end) {
      const shared = persistent ? openPersistent(claimedRef, start, end) : undefined;
      if (shared) return shared;
      const page = peer.map(claimedRef, access);
      if (typeof page === 'number') return openCopied(claimedRef, access, start, end, page);
      return use(page, start, end, () => page.unmap());
    },
    get persistent() {
      return kept.size;
    },
    close() {
      closed = true;
      for (const { page, uses } of kept.values()) if (uses === 0) page.unmap();
      kept.clear();
    },
  };
}
