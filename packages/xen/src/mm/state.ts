/**
 * What the memory side keeps per machine, per domain and per vCPU, and the
 * pages of a domain: allocation, accounting, and pages that the hypervisor
 * shares with it.
 *
 * Invariants: `totPages` counts the frames a domain owns that it was given as
 * memory, and goes down only when the frame is really free, so that a guest
 * that gives up a frame but keeps it mapped gains nothing. A page that the
 * hypervisor shares holds a reference of the hypervisor's own: the guest can
 * never bring it to the free list.
 */
import { FrameFlag, type FrameTable, FrameType, type Mmu } from '@paravane/mmu';
import type { DomId, Mfn } from '@paravane/types';
import type { XenDomain, XenVcpu } from '../domain.js';
import { createM2p, type M2p } from './m2p.js';

/** Of the machine; one for each `Mmu`. */
export interface MachineMm {
  readonly m2p: M2p;
  /** 1 for a frame that the hypervisor shares with its owner. */
  readonly shared: Uint8Array;
  /** 1 for an L2 table with the hypervisor's area in it: that of the last slot of a PAE L3 (`PGT_pae_xen_l2`). */
  readonly xenL2: Uint8Array;
  /** Linear page tables (Xen's `linear_pt_count`): entries the table has, or, negative, uses of it by others. */
  readonly linear: Int16Array;
  readonly domains: Map<number, XenDomain>;
}

/** One entry of a domain's memory map (e820). */
export interface MemoryMapEntry {
  address: number;
  size: number;
  type: number;
}

/** Of a domain. */
export interface MmState {
  readonly domid: DomId;
  /** A 32-bit domain: three levels of tables, an L3 as root, and a ring of its own for the kernel. */
  readonly pae: boolean;
  readonly mmu: Mmu;
  readonly frames: FrameTable;
  readonly machine: MachineMm;
  readonly vcpus: readonly XenVcpu[];
  /** What XENMEM_memory_map shows; null is one range of RAM from 0 to the maximal reservation. */
  memoryMap: MemoryMapEntry[] | null;
  /** A present entry was changed and the translations made from it may still be in the TLB. */
  stale: boolean;
  /** Translations of single frames dropped since the last flush. */
  drops: number;
  /** Table entries that the hypercall in progress may still look at; infinite outside of one. */
  budget: number;
  /** Table entries looked at since the guest was left, or other work of that size. */
  spent: number;
  /** Tables whose last typed reference is gone but that are still to be taken apart. */
  readonly deferred: number[];
}

/** Of a vCPU. */
export interface VcpuMm {
  gdtFrames: Mfn[];
  gdtEntries: number;
  ldtBase: bigint;
  ldtEntries: number;
  /** Frames of the LDT that were used, by page of the LDT: descriptor-typed. */
  readonly ldtFrames: Map<number, Mfn>;
  /** Tables validated ahead, each with a typed reference, for an operation of this vCPU that is re-issued. */
  readonly ahead: number[];
}

/** Accounts for work of the size of so many table entries. */
export function work(mm: MmState, entries: number): void {
  mm.budget -= entries;
  mm.spent += entries;
}

const machines = new WeakMap<Mmu, MachineMm>();

/** The machine's record; made, with the M2P, when it is first asked for. */
export function machineMm(mmu: Mmu): MachineMm {
  const known = machines.get(mmu);
  if (known) return known;
  const machine: MachineMm = {
    m2p: createM2p(mmu),
    shared: new Uint8Array(mmu.frames.frames),
    xenL2: new Uint8Array(mmu.frames.frames),
    linear: new Int16Array(mmu.frames.frames),
    domains: new Map(),
  };
  machines.set(mmu, machine);
  mmu.onFrameFree = (mfn) => {
    const owner = machine.domains.get(mmu.frames.owner[mfn]!);
    if (machine.shared[mfn]) machine.shared[mfn] = 0;
    else if (owner) {
      owner.totPages--;
      forgetIfGone(machine, owner);
    }
    machine.linear[mfn] = 0;
    machine.xenL2[mfn] = 0;
    machine.m2p.forget(mfn);
  };
  return machine;
}

/** Ends the record of a dead domain once its last frame is free: others may map some for longer. */
export function forgetIfGone(machine: MachineMm, domain: XenDomain): void {
  const current = machine.domains.get(domain.id) === domain;
  if (domain.dying && domain.totPages === 0 && current) machine.domains.delete(domain.id);
}

/** The memory side's record of a new domain. */
export function createMm(domain: Pick<XenDomain, 'id' | 'mmu' | 'vcpus' | 'is64'>): MmState {
  const machine = machineMm(domain.mmu);
  machine.domains.set(domain.id, domain as XenDomain);
  return {
    domid: domain.id,
    pae: !domain.is64,
    mmu: domain.mmu,
    frames: domain.mmu.frames,
    machine,
    vcpus: domain.vcpus,
    memoryMap: null,
    stale: false,
    drops: 0,
    budget: Infinity,
    spent: 0,
    deferred: [],
  };
}

export function createVcpuMm(): VcpuMm {
  return { gdtFrames: [], gdtEntries: 0, ldtBase: 0n, ldtEntries: 0, ldtFrames: new Map(), ahead: [] };
}

/** A zero-filled page of the domain's memory; -1 when its maximum is reached or the machine is full. */
export function allocatePage(domain: XenDomain): Mfn | -1 {
  if (domain.totPages >= domain.maxPages) return -1;
  const mfn = domain.mmu.frames.allocate(domain.id);
  if (mfn !== -1) domain.totPages++;
  return mfn;
}

/** As `allocatePage`, of 2^order frames that follow each other. */
export function allocateExtent(domain: XenDomain, order: number): Mfn | -1 {
  if (order === 0) return allocatePage(domain);
  const count = 2 ** order;
  if (domain.totPages + count > domain.maxPages) return -1;
  const mfn = domain.mmu.frames.allocateRun(domain.id, count);
  if (mfn !== -1) domain.totPages += count;
  return mfn;
}

/**
 * A zero-filled page of the hypervisor that the guest may map too (shared_info,
 * grant-table frames), writable or not; -1 when the machine is full. Not counted as
 * the domain's memory, never usable as a table.
 */
export function allocateSharedPage(domain: XenDomain, writable = true): Mfn | -1 {
  const mfn = domain.mmu.frames.allocate(domain.id);
  if (mfn !== -1) share(domain, mfn, writable);
  return mfn;
}

function share(domain: XenDomain, mfn: Mfn, writable: boolean): void {
  const { frames } = domain.mmu;
  domain.mm.machine.shared[mfn] = 1;
  frames.getRef(mfn, domain.id);
  frames.type[mfn] = writable ? FrameType.writable : FrameType.shared;
  frames.typeCount[mfn] = 1;
  frames.flags[mfn] = frames.flags[mfn]! | FrameFlag.validated;
}

/** As `allocateSharedPage`, of `count` writable pages that follow each other. */
export function allocateSharedRun(domain: XenDomain, count: number): Mfn | -1 {
  const run = 2 ** Math.ceil(Math.log2(count));
  const first = domain.mmu.frames.allocateRun(domain.id, run);
  if (first === -1) return -1;
  for (let page = 0; page < run; page++) {
    const mfn = (first + page) as Mfn;
    if (page < count) share(domain, mfn, true);
    else domain.mmu.free(mfn);
  }
  return first;
}

/** Whether an entry of a table maps a page of `allocateSharedPage`: it has more references than its own two. */
export const isSharedPageMapped = (domain: XenDomain, mfn: Mfn): boolean => domain.mmu.frames.refCount[mfn]! > 2;

/** Gives back a page of `allocateSharedPage`; it is free once no mapping is left. */
export function freeSharedPage(domain: XenDomain, mfn: Mfn): void {
  const { frames } = domain.mmu;
  frames.typeCount[mfn] = frames.typeCount[mfn]! - 1;
  frames.release(mfn);
  frames.putRef(mfn);
}
