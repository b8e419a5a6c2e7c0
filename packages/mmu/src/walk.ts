/**
 * Page walks: linear address to machine frame through the tables of one address
 * space (Intel SDM vol. 3, 4.3 to 4.5: 32-bit, PAE and 4-level paging).
 *
 * Invariants: a table that is walked belongs to the walking domain or to the
 * hypervisor; the frame that is reached belongs to the domain, is held by one
 * of its active grant handles with these rights, or is marked world-readable.
 * So an error in the page-type rules costs fidelity, not isolation.
 */
import type { DomId, Mfn } from '@paravane/types';
import { FrameFlag, type FrameTable } from './frame-table.js';
import type { GrantHolds } from './grant-holds.js';
import type { MachineMemory } from './machine-memory.js';

/** Page-table entry bits (Intel SDM vol. 3, table 4-20). */
export const Pte = {
  present: 1,
  rw: 2,
  user: 4,
  pwt: 8,
  pcd: 16,
  accessed: 32,
  dirty: 64,
  pse: 128,
  global: 256,
} as const;
/** NX in the high half of an entry. */
export const PTE_HI_NX = 0x80000000;
/** Page-fault error code bits (Intel SDM vol. 3, 4.7). */
export const PfError = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

/** Owner id of the hypervisor's own frames (Xen's `DOMID_XEN`). */
export const HYPERVISOR_OWNER = 0x7ff2;

export interface AddressSpace {
  /** Frame of the top-level table (PAE: of the page that holds the four L3 entries; 32-bit: of the page directory). */
  root: Mfn;
  /** Domain whose frames may be reached. */
  domid: DomId;
  /** CR0.PG with EFER.LMA, with CR4.PAE alone, with neither. */
  paging: 'long' | 'pae' | '32-bit';
  /** CR4.PSE: pages of 4 MiB in 32-bit paging, with PSE-36. The other kinds always have large pages. */
  pse?: boolean;
  /**
   * MAXPHYADDR, 33 to 52: address bits from here on are reserved. Not given: 52, and none is. Generated walks need not
   * know it: they leave every frame that the machine does not have to this walker, and it has at most 2^20 of them.
   */
  physicalBits?: number;
  /** CPL 3: the user bit is required. */
  user: boolean;
  /** CR0.WP: supervisor writes respect the read/write bit. */
  wp: boolean;
  /** EFER.NXE: entries may forbid execution; those of 32-bit paging have no bit for it. */
  nxe: boolean;
  /** CR4.SMEP: no execution of user pages by the supervisor. */
  smep?: boolean;
  /** CR4.SMAP: no data access of the supervisor to user pages, unless `AccessBit.ac`. */
  smap?: boolean;
  /**
   * Second translation, table frame numbers to machine frames; null is the
   * identity of PV. Returns -1 where the domain has nothing.
   */
  physical: ((frame: number, write: boolean) => number) | null;
}

export interface Access {
  write: boolean;
  fetch: boolean;
}

/** What the last walk found; one object, overwritten by each walk. */
export interface WalkResult {
  /** Frame reached, valid when `error` is 0. */
  mfn: Mfn;
  /** Page-fault error code with bit 31 set, or 0. */
  error: number;
  /** A write through this translation needs no further walk: allowed and already dirty. */
  write: boolean;
  exec: boolean;
  /** The translation also holds for reads: false only where SMAP forbids those to a fetch that is allowed. */
  read: boolean;
  /** Leaf entry's place: frame of the table and byte offset in it (for write emulation). */
  leafTable: Mfn;
  leafOffset: number;
}

export const FAULT = 0x80000000 | 0;

export interface Walker {
  readonly result: WalkResult;
  /** Walks; sets accessed (and, for a write, dirty) bits unless `probe`. Returns `result.error`. */
  walk(space: AddressSpace, vaLo: number, vaHi: number, access: number, probe?: boolean): number;
}

/** Bits of the `access` argument of `walk`. */
export const AccessBit = { write: 1, fetch: 2, /** RFLAGS.AC is set. */ ac: 4 } as const;

/** SMEP and SMAP. */
const forbidsUserPage = (space: AddressSpace, access: number): boolean =>
  !space.user && (access & AccessBit.fetch ? space.smep === true : space.smap === true && !(access & AccessBit.ac));

/** Number of an address's entry in the table of a level. */
function entryIndex(paging: AddressSpace['paging'], level: number, vaLo: number, vaHi: number): number {
  if (paging === '32-bit') return level === 2 ? vaLo >>> 22 : (vaLo >>> 12) & 1023;
  if (level === 1) return (vaLo >>> 12) & 511;
  if (level === 2) return (vaLo >>> 21) & 511;
  if (level === 4) return (vaHi >>> 7) & 511;
  return paging === 'pae' ? vaLo >>> 30 : ((vaHi << 2) | (vaLo >>> 30)) & 511;
}

/** The frame that an address has in a large page, or -1 if the entry has reserved bits. */
function largeFrame(
  paging: AddressSpace['paging'],
  level: number,
  lo: number,
  hi: number,
  vaLo: number,
  vaHi: number,
): number {
  if (paging === '32-bit') {
    // PSE-36: bits 20 to 13 are bits 39 to 32 of the address.
    return lo & 0x200000 ? -1 : ((lo >>> 13) & 0xff) * 0x100000 + ((lo >>> 12) & ~0x3ff) + ((vaLo >>> 12) & 0x3ff);
  }
  if (level === 4 || (level === 3 && paging === 'pae')) return -1;
  const frame = (hi & 0xfffff) * 0x100000 + (lo >>> 12);
  const span = level === 2 ? 0x200 : 0x40000;
  // Bit 12 is PAT; the other address bits below the page are reserved.
  if (frame % span > 1) return -1;
  return frame - (frame % span) + (((vaHi & 0xffff) * 0x100000 + (vaLo >>> 12)) % span);
}

export function createWalker(machine: MachineMemory, frames: FrameTable, holds: GrantHolds): Walker {
  const { u32, frameBase } = machine;
  const result: WalkResult = {
    mfn: 0 as Mfn,
    error: 0,
    write: false,
    exec: false,
    read: true,
    leafTable: 0 as Mfn,
    leafOffset: 0,
  };
  const { owner, flags } = frames;
  const tableAllowed = (mfn: number, domid: number): boolean =>
    mfn > 0 && mfn < frames.frames && (owner[mfn] === domid || owner[mfn] === HYPERVISOR_OWNER);
  const frameAllowed = (mfn: number, domid: number, write: boolean): boolean =>
    mfn > 0 &&
    mfn < frames.frames &&
    (owner[mfn] === domid ||
      (!write && (flags[mfn]! & FrameFlag.worldReadable) !== 0) ||
      holds.allows(domid as DomId, mfn as Mfn, write));

  function fail(space: AddressSpace, access: number, present: boolean, reserved = false): number {
    let code = present ? PfError.present : 0;
    if (reserved) code |= PfError.reserved | PfError.present;
    if (access & AccessBit.write) code |= PfError.write;
    if (space.user) code |= PfError.user;
    const mayForbid = space.smep || (space.nxe && space.paging !== '32-bit');
    if (access & AccessBit.fetch && mayForbid) code |= PfError.fetch;
    result.error = code | FAULT;
    return result.error;
  }

  function walk(space: AddressSpace, vaLo: number, vaHi: number, access: number, probe = false): number {
    const write = (access & AccessBit.write) !== 0;
    const { paging } = space;
    const entryBytes = paging === '32-bit' ? 4 : 8;
    const reserved = 2 ** ((space.physicalBits ?? 52) - 12);
    let table: number = space.root;
    let level = paging === 'long' ? 4 : paging === 'pae' ? 3 : 2;
    let writable = true;
    let user = true;
    let exec = true;
    for (;;) {
      const index = entryIndex(paging, level, vaLo, vaHi);
      if (!tableAllowed(table, space.domid)) return fail(space, access, false);
      const word = (frameBase + table * 4096 + index * entryBytes) / 4;
      let lo = u32[word]!;
      const hi = entryBytes === 8 ? u32[word + 1]! : 0;
      if (!(lo & Pte.present)) return fail(space, access, false);
      if (hi & PTE_HI_NX) {
        if (!space.nxe) return fail(space, access, true, true);
        exec = false;
      }
      // A PAE L3 entry has no rights of its own.
      const bare = level === 3 && paging === 'pae';
      if (!bare) {
        if (!(lo & Pte.rw)) writable = false;
        if (!(lo & Pte.user)) user = false;
      }
      const large = level > 1 && (lo & Pte.pse) !== 0 && (paging !== '32-bit' || space.pse === true);
      const frame = large ? largeFrame(paging, level, lo, hi, vaLo, vaHi) : (hi & 0xfffff) * 0x100000 + (lo >>> 12);
      if (frame < 0 || frame >= reserved) return fail(space, access, true, true);
      const leaf = level === 1 || large;
      if (leaf) {
        if (space.user && !user) return fail(space, access, true);
        if (user && forbidsUserPage(space, access)) return fail(space, access, true);
        if (write && !writable && (space.user || space.wp)) return fail(space, access, true);
        if (access & AccessBit.fetch && !exec) return fail(space, access, true);
      }
      const machineFrame = space.physical ? space.physical(frame, leaf && write) : frame;
      if (leaf && !frameAllowed(machineFrame, space.domid, write)) return fail(space, access, false);
      const marks = leaf && write ? Pte.accessed | Pte.dirty : Pte.accessed;
      if (!probe && (lo & marks) !== marks && !bare && owner[table] !== HYPERVISOR_OWNER) {
        lo |= marks;
        u32[word] = lo;
        flags[table] = flags[table]! | FrameFlag.dirty;
      }
      if (leaf) {
        if (write && !probe) flags[machineFrame] = flags[machineFrame]! | FrameFlag.dirty;
        result.mfn = machineFrame as Mfn;
        result.error = 0;
        result.write =
          (writable || !(space.user || space.wp)) &&
          (lo & Pte.dirty) !== 0 &&
          (flags[machineFrame]! & FrameFlag.dirty) !== 0 &&
          (write || frameAllowed(machineFrame, space.domid, true));
        result.exec = exec && !(user && forbidsUserPage(space, AccessBit.fetch));
        result.read = !(user && forbidsUserPage(space, access & AccessBit.ac));
        result.leafTable = table as Mfn;
        result.leafOffset = index * entryBytes;
        return 0;
      }
      table = machineFrame;
      level--;
    }
  }
  return { result, walk };
}
