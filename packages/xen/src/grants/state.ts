/**
 * A domain's grant table as the hypervisor keeps it: its shared frames, its
 * version, and the handles of what the domain has mapped of others.
 */
import type { Mfn } from '@paravane/types';
import type { XenDomain } from '../domain.js';

/** A handle of GNTTABOP_map_grant_ref. It holds a reference of the frame and, in the MMU, the right to reach it. */
export interface MapHandle {
  readonly remote: XenDomain;
  readonly ref: number;
  readonly frame: Mfn;
  /** GNTMAP flags; those of a mapping that was undone are taken out. */
  flags: number;
}

export interface GrantState {
  version: 1 | 2;
  /** Frames of entries, in order. */
  readonly frames: Mfn[];
  /** Version 2: frames of status words. */
  readonly statusFrames: Mfn[];
  readonly maxFrames: number;
  /** Handles by number; a hole is free. */
  readonly handles: (MapHandle | undefined)[];
  readonly freeHandles: number[];
  readonly maxHandles: number;
  /** Active uses of the domain's own entries: per reference, readers and writers. */
  readonly active: Map<number, ActiveEntry>;
}

/** The hypervisor's record of an entry in use; the guest's copy may change meanwhile. */
export interface ActiveEntry {
  readers: number;
  writers: number;
  /** Domain that uses the entry. */
  domid: number;
  frame: Mfn;
  /** Part of the frame that may be copied. */
  start: number;
  length: number;
  subPage: boolean;
  /** Transitive: the entry that this one passed on. */
  source: { domain: XenDomain; ref: number } | null;
}

export function createGrantState(maxFrames = 64, maxHandles = 1024 * 128): GrantState {
  return {
    version: 1,
    frames: [],
    statusFrames: [],
    maxFrames,
    handles: [],
    freeHandles: [],
    maxHandles,
    active: new Map(),
  };
}
