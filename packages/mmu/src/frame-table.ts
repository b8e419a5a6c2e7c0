/**
 * The frame table: for every machine frame its owner, its reference count, its
 * type with a count of the uses as that type, and a few flags (Xen's
 * `struct page_info`). The rules that say when a type may change live in the
 * personality; what is kept here is the bookkeeping and the free list.
 *
 * Invariants: a frame on the free list has no owner, no references and no pins;
 * a frame is freed only when its last reference and its last pin are gone.
 */
import { type DomId, type Mfn } from '@paravane/types';
import type { MachineMemory } from './machine-memory.js';

/** Page types, exclusive while the type count is above zero (xen/include/asm-x86/mm.h, `PGT_*`). */
export const FrameType = { none: 0, l1: 1, l2: 2, l3: 3, l4: 4, segdesc: 5, writable: 6, shared: 7 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** Flag bits of a frame. */
export const FrameFlag = {
  /** The guest pinned the page-table type (`PGT_pinned`). */
  pinned: 1,
  /** The contents were validated for the type (`PGT_validated`). */
  validated: 2,
  /** Written since it was handed out. Nothing is written without this mark, so a frame that has none is full of zeroes. */
  dirty: 4,
  /** Readable through any domain's tables: the hypervisor's M2P. */
  worldReadable: 8,
  /** The allocation reference of the owner is still held (`PGC_allocated`). */
  allocated: 16,
} as const;

export const NO_OWNER = -1;

export interface FrameTable {
  readonly frames: number;
  /** Owner's domain id, or `NO_OWNER`. */
  readonly owner: Int32Array;
  /** References: the allocation, each mapping in a validated table, each grant handle. */
  readonly refCount: Uint32Array;
  readonly type: Uint8Array;
  readonly typeCount: Uint32Array;
  readonly flags: Uint8Array;
  /** Pins by asynchronous I/O in progress. */
  readonly pins: Uint16Array;
  readonly freeCount: number;
  /** A zero-filled frame for `owner`, holding one reference, or -1 when none is left. */
  allocate(owner: DomId): Mfn | -1;
  /** As `allocate`, of `count` frames one after the other, the first a multiple of `count` (a power of two). */
  allocateRun(owner: DomId, count: number): Mfn | -1;
  /** Takes a reference; false if the frame is free, out of range or owned by another. */
  getRef(mfn: number, owner: DomId): boolean;
  /** Drops a reference; the last one frees the frame. */
  putRef(mfn: Mfn): void;
  /** Drops the owner's allocation reference (once); the frame is freed when nothing else holds it. */
  release(mfn: Mfn): void;
  pin(mfn: Mfn): void;
  unpin(mfn: Mfn): void;
}

/**
 * Owners and flags lie in the machine's memory, for walks in generated code.
 * @param onFree called when a frame goes back to the free list, before it can be handed out again
 */
export function createFrameTable(
  machine: MachineMemory,
  clear: (mfn: Mfn) => void,
  onFree: (mfn: Mfn) => void,
): FrameTable {
  const { frames } = machine;
  const { buffer } = machine.memory;
  const owner = new Int32Array(buffer, machine.reserveForFrames(4), frames).fill(NO_OWNER);
  const refCount = new Uint32Array(frames);
  const type = new Uint8Array(frames);
  const typeCount = new Uint32Array(frames);
  const flags = new Uint8Array(buffer, machine.reserveForFrames(1), frames);
  const pins = new Uint16Array(frames);
  const touched = new Uint8Array(frames);
  const freed: number[] = [];
  let fresh = 1;

  function freeIfUnused(mfn: Mfn): void {
    if (refCount[mfn] !== 0 || pins[mfn] !== 0 || owner[mfn] === NO_OWNER) return;
    onFree(mfn);
    owner[mfn] = NO_OWNER;
    type[mfn] = FrameType.none;
    typeCount[mfn] = 0;
    flags[mfn] = 0;
    freed.push(mfn);
  }
  function take(mfn: number, domid: DomId): Mfn {
    if (touched[mfn]) clear(mfn as Mfn);
    touched[mfn] = 1;
    owner[mfn] = domid;
    refCount[mfn] = 1;
    flags[mfn] = FrameFlag.allocated;
    return mfn as Mfn;
  }
  function putRef(mfn: Mfn): void {
    refCount[mfn] = refCount[mfn]! - 1;
    freeIfUnused(mfn);
  }

  return {
    frames,
    owner,
    refCount,
    type,
    typeCount,
    flags,
    pins,
    get freeCount() {
      return frames - fresh + freed.length;
    },
    allocate(domid) {
      const mfn = fresh < frames ? fresh++ : freed.pop();
      return mfn === undefined ? -1 : take(mfn, domid);
    },
    allocateRun(domid, count) {
      let start = Math.ceil(fresh / count) * count;
      if (start + count <= frames) {
        while (fresh < start) freed.push(fresh++);
        fresh += count;
      } else {
        const free = (mfn: number): boolean => mfn > 0 && mfn < frames && owner[mfn] === NO_OWNER;
        for (start = 0; start + count <= frames; start += count) {
          let run = 0;
          while (run < count && free(start + run)) run++;
          if (run === count) break;
        }
        if (start + count > frames) return -1;
        const kept = freed.filter((mfn) => mfn < start || mfn >= start + count);
        freed.length = 0;
        for (const mfn of kept) freed.push(mfn);
        // The run may reach into frames that were never handed out.
        while (fresh < frames && fresh < start + count) {
          if (fresh < start) freed.push(fresh);
          fresh++;
        }
      }
      for (let mfn = start; mfn < start + count; mfn++) take(mfn, domid);
      return start as Mfn;
    },
    getRef(mfn, domid) {
      if (!(mfn > 0 && mfn < frames) || owner[mfn] !== domid || refCount[mfn] === 0) return false;
      refCount[mfn] = refCount[mfn]! + 1;
      return true;
    },
    putRef,
    release(mfn) {
      if (!(flags[mfn]! & FrameFlag.allocated)) return;
      flags[mfn] = flags[mfn]! & ~FrameFlag.allocated;
      putRef(mfn);
    },
    pin(mfn) {
      pins[mfn] = pins[mfn]! + 1;
    },
    unpin(mfn) {
      pins[mfn] = pins[mfn]! - 1;
      freeIfUnused(mfn);
    },
  };
}
