/**
 * Page types: a frame's use as L1…L4 table, descriptor page or writable page is
 * exclusive while it is counted, and a table is validated before it counts
 * (xen/arch/x86/mm.c, `_get_page_type`, `validate_page`, `alloc_l1_table` …).
 *
 * Invariants: each present entry of a validated table holds a reference to its
 * frame, and a typed one where it is writable or points to a table; no frame is
 * writable and a table or descriptor page at once; nothing of another domain is
 * mapped except through grants. Results are 0 or a negative errno, as Xen's.
 */
import { Errno, HYPERVISOR_VIRT_START_PAE } from '@paravane/abi-xen';
import { FrameFlag, FrameType, Pte } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { descriptorPageOk } from './descriptor.js';
import {
  ALL_ONES_FRAME,
  adjustedHi,
  adjustedLo,
  entryFrame,
  entryWord,
  HI_GUEST_KERNEL,
  L1_DISALLOWED,
  markWritten,
  UPPER_DISALLOWED,
  writeEntry,
} from './pte.js';
import { type MmState, type VcpuMm, work } from './state.js';

const ENTRIES = 512;
/** Slots of an L4 that are Xen's. */
const XEN_FIRST = 256;
const XEN_LAST = 271;
/** From this slot on the last L2 of PAE is Xen's: what lies above 0xF5800000. */
const PAE_XEN_FIRST = (HYPERVISOR_VIRT_START_PAE >>> 21) & 511;
const PAE_SLOTS = 4;
/** The slot of a PAE L3 whose L2 has Xen's area. */
export const PAE_LAST = 3;

const isTable = (type: number): boolean => type >= FrameType.l1 && type <= FrameType.l4;
export const isXenSlot = (mm: MmState, table: number, level: number, index: number): boolean =>
  level === 4
    ? index >= XEN_FIRST && index <= XEN_LAST
    : level === 2 && index >= PAE_XEN_FIRST && mm.machine.xenL2[table] !== 0;

/** Xen's `page_lock`: the frame is in validated use as its type. */
export const inTypedUse = (mm: MmState, mfn: number): boolean =>
  mm.frames.typeCount[mfn] !== 0 && (mm.frames.flags[mfn]! & FrameFlag.validated) !== 0;

/** Takes a typed reference to a frame that the caller holds a plain one to. */
export function getPageType(mm: MmState, mfn: number, wanted: FrameType, withXen = false): number {
  const { typeCount, type, flags } = mm.frames;
  const { xenL2 } = mm.machine;
  if (typeCount[mfn] !== 0) {
    if (type[mfn] !== wanted || (wanted === FrameType.l2 && (xenL2[mfn] !== 0) !== withXen)) return -Errno.EINVAL;
    typeCount[mfn] = typeCount[mfn]! + 1;
    return 0;
  }
  if (type[mfn] === FrameType.writable && wanted !== FrameType.writable) mm.mmu.tlb.dropWrites(mfn as Mfn);
  type[mfn] = wanted;
  typeCount[mfn] = 1;
  xenL2[mfn] = withXen ? 1 : 0;
  flags[mfn] = flags[mfn]! & ~FrameFlag.validated;
  const rc = validate(mm, mfn, wanted);
  if (rc === 0) {
    flags[mfn] = flags[mfn]! | FrameFlag.validated;
    return 0;
  }
  typeCount[mfn] = 0;
  type[mfn] = FrameType.none;
  return rc;
}

/** Drops a typed reference; the last one takes a table apart. */
export function putPageType(mm: MmState, mfn: number): void {
  const { typeCount, type, flags } = mm.frames;
  if (typeCount[mfn] === 1 && isTable(type[mfn]!) && flags[mfn]! & FrameFlag.validated) {
    flags[mfn] = flags[mfn]! & ~FrameFlag.validated;
    invalidate(mm, mfn, type[mfn]!);
    mm.stale = true;
    type[mfn] = FrameType.none;
  }
  typeCount[mfn] = typeCount[mfn]! - 1;
}

/** A plain and a typed reference to a frame of the domain. */
export function getPageAndType(mm: MmState, mfn: number, wanted: FrameType, withXen = false): number {
  if (!mm.frames.getRef(mfn, mm.domid)) return -Errno.EINVAL;
  const rc = getPageType(mm, mfn, wanted, withXen);
  if (rc !== 0) mm.frames.putRef(mfn as Mfn);
  return rc;
}

/** Whether the host may write to a frame of the domain now: it is no table and no descriptor page. */
export function hostMayWrite(mm: MmState, mfn: number): boolean {
  const { owner, typeCount, type } = mm.frames;
  return owner[mfn] === mm.domid && (typeCount[mfn] === 0 || type[mfn] === FrameType.writable);
}

/** Drops both. Past the budget of the hypercall a table is put off; see `preempt.ts`. */
export function putPageAndType(mm: MmState, mfn: number): void {
  if (mm.budget <= 0 && mm.frames.typeCount[mfn] === 1 && isTable(mm.frames.type[mfn]!)) {
    mm.deferred.push(mfn);
    return;
  }
  putPageType(mm, mfn);
  mm.frames.putRef(mfn as Mfn);
}

function validate(mm: MmState, mfn: number, type: number): number {
  work(mm, ENTRIES);
  if (type === FrameType.l1) return validateL1(mm, mfn);
  if (type === FrameType.segdesc) return descriptorPageOk(mm, mfn) ? 0 : -Errno.EINVAL;
  if (isTable(type)) return validateUpper(mm, mfn, type);
  return 0;
}

function invalidate(mm: MmState, mfn: number, level: number): void {
  work(mm, ENTRIES);
  // The frame may next be a root of another domain: nothing may be found under its tag.
  if (level === (mm.pae ? FrameType.l3 : FrameType.l4)) mm.mmu.tlb.flushRoot(mfn as Mfn);
  if (level === FrameType.l1) putL1Entries(mm, mfn, ENTRIES);
  else putUpperEntries(mm, mfn, level, ENTRIES);
}

/**
 * What a present L1 entry needs: a reference to its frame, a writable one where it is
 * writable. `owner` is the domain whose frames it may map.
 */
export function getL1Entry(mm: MmState, lo: number, hi: number, owner: number): number {
  if (lo & L1_DISALLOWED) return -Errno.EINVAL;
  const frame = entryFrame(lo, hi);
  const { frames } = mm;
  if (frame === 0 || frame >= frames.frames) return frame === ALL_ONES_FRAME ? -Errno.EINVAL : -Errno.EPERM;
  const { refCount, type, typeCount, flags } = frames;
  if (frames.owner[frame] !== owner || refCount[frame] === 0) return -Errno.EBUSY;
  if (lo & Pte.rw) {
    if (typeCount[frame] === 0) {
      type[frame] = FrameType.writable;
      flags[frame] = flags[frame]! | FrameFlag.validated;
    } else if (type[frame] !== FrameType.writable) return -Errno.EBUSY;
    typeCount[frame] = typeCount[frame]! + 1;
  }
  refCount[frame] = refCount[frame]! + 1;
  return 0;
}

/**
 * Whether an entry of a validated table can hold references of this frame. It always should; were a
 * table ever written past these rules, the counts of another domain's frame must not pay for it.
 */
function holdsFrame(mm: MmState, frame: number, write: boolean): boolean {
  const { frames, mmu } = mm;
  return (
    frame < frames.frames &&
    (frames.owner[frame] === mm.domid || mmu.holds.allows(mm.domid, frame as Mfn, write)) &&
    frames.refCount[frame] !== 0 &&
    (!write || frames.typeCount[frame] !== 0)
  );
}

/** Gives back what an L1 entry holds. */
export function putL1Entry(mm: MmState, lo: number, hi: number): void {
  if (!(lo & Pte.present)) return;
  const frame = entryFrame(lo, hi);
  const { frames } = mm;
  if (!holdsFrame(mm, frame, (lo & Pte.rw) !== 0)) return;
  if (lo & Pte.rw) frames.typeCount[frame] = frames.typeCount[frame]! - 1;
  else if (frames.type[frame] === FrameType.segdesc && frames.owner[frame] === mm.domid) dropLdts(mm);
  frames.putRef(frame as Mfn);
}

/** Forgets the frames that a vCPU's LDT was found in; whether there were any. */
export function dropLdt(mm: MmState, vcpu: VcpuMm): boolean {
  if (vcpu.ldtFrames.size === 0) return false;
  const used = [...vcpu.ldtFrames.values()];
  vcpu.ldtFrames.clear();
  for (const mfn of used) putPageAndType(mm, mfn);
  return true;
}

/** Mappings of a descriptor page change rarely, so all LDTs of the domain are looked up again. */
function dropLdts(mm: MmState): void {
  for (const vcpu of mm.vcpus) dropLdt(mm, vcpu.mm);
}

function putL1Entries(mm: MmState, mfn: number, count: number): void {
  const { u32 } = mm.mmu.machine;
  const base = entryWord(mm, mfn, 0);
  for (let word = base; word < base + 2 * count; word += 2) {
    if (u32[word]! & Pte.present) putL1Entry(mm, u32[word]!, u32[word + 1]!);
  }
}

function validateL1(mm: MmState, mfn: number): number {
  const { u32 } = mm.mmu.machine;
  const base = entryWord(mm, mfn, 0);
  const owner = mm.domid;
  let adjusted = false;
  let rc = 0;
  for (let index = 0; index < ENTRIES; index++) {
    const word = base + 2 * index;
    const lo = u32[word]!;
    if (!(lo & Pte.present)) continue;
    const hi = u32[word + 1]!;
    rc = getL1Entry(mm, lo, hi, owner);
    if (rc !== 0) {
      putL1Entries(mm, mfn, index);
      break;
    }
    // Written only where it changes: most tables are validated again with what they had.
    if (mm.pae) continue;
    if (!(lo & Pte.user) || !(hi & HI_GUEST_KERNEL || lo & Pte.global)) {
      const newHi = adjustedHi(lo, hi);
      u32[word] = adjustedLo(lo, newHi);
      u32[word + 1] = newHi;
      adjusted = true;
    }
  }
  if (adjusted) markWritten(mm, mfn, 0, 4096);
  return rc;
}

/** What a present entry of an L2, L3 or L4 needs: a typed reference to the table below. */
export function getUpperEntry(
  mm: MmState,
  table: number,
  level: number,
  index: number,
  lo: number,
  hi: number,
): number {
  if (!upperBitsOk(mm, level, lo, hi)) return -Errno.EINVAL;
  const frame = entryFrame(lo, hi);
  if (mm.pae && level === 3 && index === PAE_LAST) return getPageAndType(mm, frame, FrameType.l2, true);
  const rc = getPageAndType(mm, frame, (level - 1) as FrameType);
  if (rc !== -Errno.EINVAL || (mm.pae && level === 3)) return rc;
  return getLinearEntry(mm, table, level, lo, frame) ? 0 : rc;
}

/** Whether a guest may set these bits in an entry above the L1: an L3 of PAE has no software bits and no NX either. */
export const upperBitsOk = (mm: MmState, level: number, lo: number, hi: number): boolean =>
  !(lo & UPPER_DISALLOWED) && !(mm.pae && level === 3 && hi >>> 20 !== 0);

/** The low half of a present entry above the L1 as it stands in the table. */
export const adjustedUpper = (mm: MmState, level: number, lo: number): number =>
  (mm.pae ? (level === 3 ? lo | PAE_L3_ADDED : lo) : lo | Pte.user | (level === 4 ? Pte.accessed : 0)) >>> 0;
/** What the processor wants set in a PAE L3 as it stands, and what a table that is none any more loses. */
const PAE_L3_ADDED = Pte.user | Pte.rw;
const PAE_L3_LOST = PAE_L3_ADDED | Pte.accessed;

/** Gives back what an entry of an L2, L3 or L4 holds. */
export function putUpperEntry(mm: MmState, table: number, level: number, lo: number, hi: number): void {
  if (!(lo & Pte.present)) return;
  const frame = entryFrame(lo, hi);
  if (frame === table || !holdsFrame(mm, frame, true)) return;
  if (mm.frames.type[frame] === level) {
    const { linear } = mm.machine;
    linear[frame] = linear[frame]! + 1;
    linear[table] = linear[table]! - 1;
  }
  putPageAndType(mm, frame);
}

/**
 * Linear page tables: a read-only entry may point to its own table, or to a validated one
 * of the same level if no chain of such entries comes of it.
 */
function getLinearEntry(mm: MmState, table: number, level: number, lo: number, frame: number): boolean {
  if (lo & Pte.rw) return false;
  if (frame === table) return true;
  const { frames } = mm;
  const { linear } = mm.machine;
  if (!frames.getRef(frame, mm.domid)) return false;
  if (linear[table]! < 0 || linear[frame]! > 0 || !inTypedUse(mm, frame) || frames.type[frame] !== level) {
    frames.putRef(frame as Mfn);
    return false;
  }
  linear[table] = linear[table]! + 1;
  linear[frame] = linear[frame]! - 1;
  frames.typeCount[frame] = frames.typeCount[frame]! + 1;
  return true;
}

function putUpperEntries(mm: MmState, mfn: number, level: number, count: number): void {
  const { u32 } = mm.mmu.machine;
  const base = entryWord(mm, mfn, 0);
  for (let index = 0; index < count; index++) {
    if (isXenSlot(mm, mfn, level, index)) continue;
    const word = base + 2 * index;
    const lo = u32[word]!;
    if (!(lo & Pte.present)) continue;
    putUpperEntry(mm, mfn, level, lo, u32[word + 1]!);
    if (mm.pae && level === 3) writeEntry(mm, mfn, index, (lo & ~PAE_L3_LOST) >>> 0, u32[word + 1]!);
  }
}

function validateUpper(mm: MmState, mfn: number, level: number): number {
  const { u32 } = mm.mmu.machine;
  const base = entryWord(mm, mfn, 0);
  const paeRoot = mm.pae && level === 3;
  // The rest of the page of a PAE L3 is not the guest's to use.
  if (paeRoot) mm.mmu.write(mfn as Mfn, PAE_SLOTS * 8, new Uint8Array(4096 - PAE_SLOTS * 8));
  for (let index = 0; index < ENTRIES; index++) {
    if (isXenSlot(mm, mfn, level, index)) continue;
    const word = base + 2 * index;
    const lo = u32[word]!;
    let rc = 0;
    if (!(lo & Pte.present)) {
      if (!paeRoot || index !== PAE_LAST) continue;
      rc = -Errno.EINVAL;
    }
    const hi = u32[word + 1]!;
    if (rc === 0) rc = getUpperEntry(mm, mfn, level, index, lo, hi);
    if (rc !== 0) {
      putUpperEntries(mm, mfn, level, index);
      return rc;
    }
    const adjusted = adjustedUpper(mm, level, lo);
    if (adjusted !== lo) writeEntry(mm, mfn, index, adjusted, hi);
  }
  if (level === 4) installXenSlots(mm, mfn);
  if (level === 2 && mm.machine.xenL2[mfn]) installPaeSlots(mm, mfn);
  if (!paeRoot || soleLast(mm, mfn)) return 0;
  putUpperEntries(mm, mfn, level, ENTRIES);
  return -Errno.EINVAL;
}

/** Whether the L2 with Xen's area is this PAE L3's alone. */
function soleLast(mm: MmState, mfn: number): boolean {
  const { u32 } = mm.mmu.machine;
  const word = entryWord(mm, mfn, PAE_LAST);
  return mm.frames.typeCount[entryFrame(u32[word]!, u32[word + 1]!)] === 1;
}

/** Xen's area in the last L2 of PAE: the M2P, and nothing that a guest could reach after it. */
function installPaeSlots(mm: MmState, mfn: number): void {
  const entries = mm.machine.m2p.paeEntries();
  for (let index = PAE_XEN_FIRST; index < ENTRIES; index++) {
    const at = (index - PAE_XEN_FIRST) * 2;
    writeEntry(mm, mfn, index, entries[at] ?? 0, entries[at + 1] ?? 0);
  }
}

/**
 * Xen's slots of an L4: the M2P in the first, nothing that a guest could reach in the others. Without the m2p_strict
 * assist a table gets the M2P when it becomes a kernel's.
 */
function installXenSlots(mm: MmState, mfn: number): void {
  const { m2p, domains } = mm.machine;
  const visible = domains.get(mm.domid)?.m2pStrict;
  writeEntry(mm, mfn, XEN_FIRST, visible ? m2p.slotLo : 0, visible ? m2p.slotHi : 0);
  for (let index = XEN_FIRST + 1; index <= XEN_LAST; index++) writeEntry(mm, mfn, index, 0, 0);
}

/** Shows or hides the M2P in a validated L4 (the m2p_strict assist hides it from user roots). */
export function showM2p(mm: MmState, l4: number, visible: boolean): void {
  const { m2p } = mm.machine;
  const lo = visible ? m2p.slotLo : 0;
  if (mm.mmu.machine.u32[entryWord(mm, l4, XEN_FIRST)] === lo) return;
  writeEntry(mm, l4, XEN_FIRST, lo, visible ? m2p.slotHi : 0);
  if (!visible) mm.stale = true;
}
