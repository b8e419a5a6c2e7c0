/**
 * A grant table's entries: growing, versions, and taking an entry into use and
 * out again (common/grant_table.c; public/grant_table.h).
 *
 * The table is guest memory: an entry is read once when its use begins, and
 * what was read then holds until the use ends.
 */
import {
  Errno,
  GNTST,
  GTF_accept_transfer,
  GTF_permit_access,
  GTF_reading,
  GTF_readonly,
  GTF_sub_page,
  GTF_transfer_committed,
  GTF_transfer_completed,
  GTF_transitive,
  GTF_type_mask,
  GTF_writing,
} from '@paravane/abi-xen';
import type { Maddr, Mfn } from '@paravane/types';
import type { XenDomain } from '../domain.js';
import { allocateSharedPage, freeSharedPage, isSharedPageMapped } from '../mm/index.js';
import type { ActiveEntry } from './state.js';

const PAGE = 4096;
const V1_BYTES = 8;
const V2_BYTES = 16;
const STATUS_PER_FRAME = PAGE / 2;
const RESERVED_ENTRIES = 8;
/** Uses of one entry at a time, of readers and of writers; a guest that wants more is up to no good. */
const MOST_USES = 128;

const entryBytes = (domain: XenDomain): number => (domain.grants.version === 1 ? V1_BYTES : V2_BYTES);
export const entryCount = (domain: XenDomain): number => (domain.grants.frames.length * PAGE) / entryBytes(domain);

function entryAddress(domain: XenDomain, ref: number): Maddr {
  const size = entryBytes(domain);
  const perFrame = PAGE / size;
  return (domain.grants.frames[Math.floor(ref / perFrame)] * PAGE + (ref % perFrame) * size) as Maddr;
}

/** Where Xen marks an entry as read or written: in its flags, or (version 2) in the status array. */
function statusAddress(domain: XenDomain, ref: number): Maddr {
  if (domain.grants.version === 1) return entryAddress(domain, ref);
  const frame = domain.grants.statusFrames[Math.floor(ref / STATUS_PER_FRAME)];
  return (frame * PAGE + (ref % STATUS_PER_FRAME) * 2) as Maddr;
}

const statusFramesFor = (frames: number): number => Math.ceil((frames * (PAGE / V2_BYTES)) / STATUS_PER_FRAME);

function growStatus(domain: XenDomain, frames: number): boolean {
  const { statusFrames } = domain.grants;
  while (statusFrames.length < statusFramesFor(frames)) {
    const frame = allocateSharedPage(domain);
    if (frame === -1) return false;
    statusFrames.push(frame);
  }
  return true;
}

/** Grows the table to `count` frames; false when the limit or the machine's memory is reached. */
export function growTable(domain: XenDomain, count: number): boolean {
  const { grants } = domain;
  if (count > grants.maxFrames) return false;
  if (grants.version === 2 && !growStatus(domain, count)) return false;
  while (grants.frames.length < count) {
    const frame = allocateSharedPage(domain);
    if (frame === -1) return false;
    grants.frames.push(frame);
  }
  return true;
}

/** Puts an entry of version 1 into a table, as the toolstack does for console and store. */
export function seedEntry(domain: XenDomain, ref: number, domid: number, frame: Mfn): void {
  const at = entryAddress(domain, ref);
  domain.mmu.writeU16(at, GTF_permit_access);
  domain.mmu.writeU16((at + 2) as Maddr, domid);
  domain.mmu.writeU32((at + 4) as Maddr, frame);
}

/** Changes the version; entries are forgotten but for the reserved ones. */
export function setVersion(domain: XenDomain, version: number): number {
  const { grants, mmu } = domain;
  if (version !== 1 && version !== 2) return -Errno.EINVAL;
  if (version === grants.version) return 0;
  // The toolstack's entries may be in use: console and store keep theirs.
  for (const ref of grants.active.keys()) if (ref >= RESERVED_ENTRIES) return -Errno.EBUSY;
  const reserved = Array.from({ length: RESERVED_ENTRIES }, (_, ref) => readEntry(domain, ref));
  if (version === 1 && reserved.some(isBeyondV1)) return -Errno.ERANGE;
  if (version === 1 && grants.statusFrames.some((frame) => isSharedPageMapped(domain, frame))) return -Errno.EBUSY;
  if (version === 2 && !growStatus(domain, Math.max(1, grants.frames.length))) return -Errno.ENOMEM;
  for (const frame of grants.frames) mmu.clear(frame);
  if (version === 1) {
    for (const frame of grants.statusFrames) freeSharedPage(domain, frame);
    grants.statusFrames.length = 0;
  }
  grants.version = version;
  reserved.forEach((entry, ref) => {
    // Of version 1 everything can be said in version 2, but not the other way.
    if (version === 1 && (entry.flags & GTF_type_mask) !== GTF_permit_access) return;
    const at = entryAddress(domain, ref);
    mmu.writeU16(at, entry.flags & ~(GTF_reading | GTF_writing));
    mmu.writeU16((at + 2) as Maddr, entry.domid);
    if (version === 1) mmu.writeU32((at + 4) as Maddr, entry.frame);
    else mmu.writeU64((at + 8) as Maddr, BigInt(entry.frame));
  });
  for (const [ref, { writers }] of grants.active) markInUse(domain, ref, writers > 0);
  return 0;
}

/** Whether an entry of version 2 says what none of version 1 can. */
function isBeyondV1({ flags, frame }: Entry): boolean {
  const type = flags & GTF_type_mask;
  return type === GTF_transitive || (type === GTF_permit_access && frame >= 0x100000000);
}

interface Entry {
  flags: number;
  domid: number;
  frame: number;
  start: number;
  length: number;
  transitiveDomid: number;
  transitiveRef: number;
}

/** One read of an entry. What it says is a claim. */
function readEntry(domain: XenDomain, ref: number): Entry {
  const { mmu } = domain;
  const at = entryAddress(domain, ref);
  const word = (offset: number): number => mmu.readU32((at + offset) as Maddr);
  const header = word(0);
  const entry: Entry = {
    flags: header & 0xffff,
    domid: header >>> 16,
    frame: 0,
    start: 0,
    length: PAGE,
    transitiveDomid: 0,
    transitiveRef: 0,
  };
  if (domain.grants.version === 1) {
    entry.frame = word(4);
    return entry;
  }
  entry.frame = word(8) + word(12) * 0x100000000;
  if ((entry.flags & GTF_type_mask) === GTF_transitive) {
    entry.transitiveDomid = word(4) & 0xffff;
    entry.transitiveRef = word(8);
  } else if (entry.flags & GTF_sub_page) {
    entry.start = word(4) & 0xffff;
    // No copy goes beyond the page, whatever the entry says.
    entry.length = Math.max(0, Math.min(word(4) >>> 16, PAGE - entry.start));
  }
  return entry;
}

function markInUse(domain: XenDomain, ref: number, write: boolean): void {
  const at = statusAddress(domain, ref);
  const { mmu } = domain;
  mmu.writeU16(at, mmu.readU16(at) | GTF_reading | (write ? GTF_writing : 0));
}

export interface Use {
  /** `GNTST_*`. */
  status: number;
  active: ActiveEntry | null;
}

const refuse = (status: number): Use => ({ status, active: null });

/**
 * Takes an entry into use by domain `user`. For a mapping (`forMap`) the entry
 * must name a whole page of the domain itself. A frame in use keeps a reference.
 */
export function beginUse(
  domain: XenDomain,
  ref: number,
  user: number,
  write: boolean,
  forMap: boolean,
  depth = 0,
): Use {
  const { grants } = domain;
  if (!(ref < entryCount(domain))) return refuse(GNTST.bad_gntref);
  const known = grants.active.get(ref);
  if (known) {
    const full = known[write ? 'writers' : 'readers'] >= MOST_USES;
    if (known.domid !== user || full || (forMap && (known.subPage || known.source))) return refuse(GNTST.general_error);
    if (write && known.writers === 0) {
      const flags = readEntry(domain, ref).flags;
      if (flags & GTF_readonly || known.source) return refuse(GNTST.general_error);
      markInUse(domain, ref, true);
    }
    known[write ? 'writers' : 'readers']++;
    return { status: GNTST.okay, active: known };
  }
  const entry = readEntry(domain, ref);
  const type = entry.flags & GTF_type_mask;
  const transitive = type === GTF_transitive && grants.version === 2;
  const subPage = grants.version === 2 && !transitive && (entry.flags & GTF_sub_page) !== 0;
  if ((type !== GTF_permit_access && !transitive) || entry.domid !== user) return refuse(GNTST.general_error);
  // A mapping minds the sub-page bit in a table of version 1, too.
  if (forMap && (transitive || entry.flags & GTF_sub_page)) return refuse(GNTST.general_error);
  if (write && entry.flags & GTF_readonly) return refuse(GNTST.general_error);
  const active: ActiveEntry = {
    readers: write ? 0 : 1,
    writers: write ? 1 : 0,
    domid: user,
    frame: entry.frame as Mfn,
    start: entry.start,
    length: entry.length,
    subPage,
    source: null,
  };
  if (transitive) {
    const status = followTransitive(domain, entry, active, write, depth);
    if (status !== GNTST.okay) return refuse(status);
  } else {
    if (!domain.mmu.frames.getRef(entry.frame, domain.id)) return refuse(GNTST.bad_page);
  }
  markInUse(domain, ref, write);
  grants.active.set(ref, active);
  return { status: GNTST.okay, active };
}

/** A transitive entry passes on one that its own domain was granted; one step, as Xen allows. */
function followTransitive(domain: XenDomain, entry: Entry, active: ActiveEntry, write: boolean, depth: number): number {
  const source = domain.machine.domain(entry.transitiveDomid);
  if (!source || depth > 0 || source === domain) return GNTST.general_error;
  const use = beginUse(source, entry.transitiveRef, domain.id, write, false, depth + 1);
  if (!use.active) return use.status;
  Object.assign(active, {
    frame: use.active.frame,
    start: use.active.start,
    length: use.active.length,
    subPage: use.active.subPage,
    source: { domain: source, ref: entry.transitiveRef },
  });
  return GNTST.okay;
}

export function endUse(domain: XenDomain, ref: number, write: boolean): void {
  const { grants, mmu } = domain;
  const active = grants.active.get(ref);
  if (!active) return;
  active[write ? 'writers' : 'readers']--;
  const { source } = active;
  if (grants.frames.length > 0) {
    const at = statusAddress(domain, ref);
    let clear = active.writers === 0 ? GTF_writing : 0;
    if (active.readers + active.writers === 0) clear |= GTF_reading;
    if (clear !== 0) mmu.writeU16(at, mmu.readU16(at) & ~clear);
  }
  if (active.readers + active.writers > 0) return;
  grants.active.delete(ref);
  if (source) endUse(source.domain, source.ref, write);
  else mmu.frames.putRef(active.frame);
}

/** Commits an entry that waits for a page of `from`: the pseudo-physical frame that the page shall be; null if none does. */
export function acceptTransfer(domain: XenDomain, ref: number, from: number): bigint | null {
  if (!(ref < entryCount(domain))) return null;
  const { flags, domid, frame } = readEntry(domain, ref);
  if (flags !== GTF_accept_transfer || domid !== from) return null;
  domain.mmu.writeU16(entryAddress(domain, ref), flags | GTF_transfer_committed);
  return BigInt(frame);
}

/** Tells the taker which frame it got. */
export function completeTransfer(domain: XenDomain, ref: number, frame: Mfn): void {
  const { mmu } = domain;
  const at = entryAddress(domain, ref);
  if (domain.grants.version === 1) mmu.writeU32((at + 4) as Maddr, frame);
  else mmu.writeU64((at + 8) as Maddr, BigInt(frame));
  mmu.writeU16(at, mmu.readU16(at) | GTF_transfer_completed);
}

/** Exchanges two entries that nobody uses. */
export function swapEntries(domain: XenDomain, a: number, b: number): number {
  const count = entryCount(domain);
  if (!(a < count && b < count)) return GNTST.bad_gntref;
  if (a === b) return GNTST.okay;
  const { active } = domain.grants;
  if (active.has(a) || active.has(b)) return GNTST.eagain;
  const { mmu } = domain;
  for (let offset = 0; offset < entryBytes(domain); offset += 8) {
    const at = (entryAddress(domain, a) + offset) as Maddr;
    const to = (entryAddress(domain, b) + offset) as Maddr;
    const word = mmu.readU64(at);
    mmu.writeU64(at, mmu.readU64(to));
    mmu.writeU64(to, word);
  }
  if (domain.grants.version === 2) {
    const [at, to] = [statusAddress(domain, a), statusAddress(domain, b)];
    const status = mmu.readU16(at);
    mmu.writeU16(at, mmu.readU16(to));
    mmu.writeU16(to, status);
  }
  return GNTST.okay;
}
