/**
 * HYPERVISOR_mmu_update and HYPERVISOR_update_va_mapping: changes of single
 * entries of page tables and of the M2P (public/xen.h; xen/arch/x86/mm.c,
 * `do_mmu_update`, `do_update_va_mapping`).
 */
import { DOMID_IO, Errno, MMU, MMU_UPDATE_PREEMPTED, UVMF } from '@paravane/abi-xen';
import { FrameType, Pte } from '@paravane/mmu';
import type { Maddr, Mfn } from '@paravane/types';
import { type HypercallResult, isDomain, type XenVcpu } from '../domain.js';
import { updateL1, updateUpper } from './entry-update.js';
import { flushPage, flushTlb } from './flush.js';
import { pageOwner } from './foreign.js';
import { addressOk, handleOk, readGuest, viewGuest, wordBytes, writeGuestU32 } from './guest.js';
import { getPageType, inTypedUse, putPageType } from './page-type.js';
import { begin, dropAhead, end, preempted, validateAhead } from './preempt.js';
import { entryFrame } from './pte.js';
import { work } from './state.js';

const REQUEST_BYTES = 16;
/** What an entry costs beyond the table entries it makes the hypervisor look at. */
const REQUEST_COST = 16;
/** Re-issue the call for the same entry. */
const AGAIN = -Errno.ERESTART;

const low = (value: bigint): number => Number(value & 0xffffffffn);
const high = (value: bigint): number => Number((value >> 32n) & 0xffffffffn);

/** Common to mmu_update and mmuext_op: the count with its continuation bit, and the done count. */
export interface Batch {
  count: number;
  done: number;
}

export function openBatch(vcpu: XenVcpu, args: bigint[]): Batch {
  const raw = low(args[1]!);
  const resumed = (raw & MMU_UPDATE_PREEMPTED) !== 0;
  const claimedDone = resumed && args[2] !== 0n ? (viewGuest(vcpu, args[2]!, 4)?.getUint32(0, true) ?? 0) : 0;
  return { count: (raw & ~MMU_UPDATE_PREEMPTED) >>> 0, done: claimedDone };
}

/** Xen's own way to end a continuation, which a guest may use too: the result is the last argument. */
export function endsContinuation(args: bigint[]): boolean {
  return low(args[1]!) === MMU_UPDATE_PREEMPTED && args[0] === 0n;
}

/** Writes the done count, and asks for more where the call was cut short after `finished` entries. */
export function closeBatch(
  vcpu: XenVcpu,
  args: bigint[],
  batch: Batch,
  finished: number,
  entryBytes: number,
  rc: number,
): HypercallResult {
  if (args[2] !== 0n) writeGuestU32(vcpu, args[2]!, (batch.done + finished) >>> 0);
  if (rc !== AGAIN) return rc;
  const next = [...args];
  next[0] = args[0]! + BigInt(finished * entryBytes);
  next[1] = BigInt((batch.count - finished + MMU_UPDATE_PREEMPTED) >>> 0);
  return { preempted: true, args: next };
}

export function mmuUpdate(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const { domain } = vcpu;
  const { mm } = domain;
  if (!begin(mm)) return end(mm, { preempted: true, args });
  if (endsContinuation(args)) return end(mm, low(args[3]!) | 0);
  const batch = openBatch(vcpu, args);
  if (!handleOk(vcpu, args[0]!, batch.count, REQUEST_BYTES)) return end(mm, -Errno.EFAULT);
  const claimedForeign = low(args[3]!);
  const tableDomain = claimedForeign >>> 16;
  let tableOwner: number = domain.id;
  if (tableDomain !== 0) {
    tableOwner = tableDomain - 1;
    if (!isDomain(domain.machine, tableOwner)) return end(mm, -Errno.ESRCH);
  }
  const owner = pageOwner(domain, claimedForeign & 0xffff);
  // The count of what was done is written from here on, though nothing was.
  if (owner < 0) return end(mm, closeBatch(vcpu, args, batch, 0, REQUEST_BYTES, owner));

  let rc = 0;
  let finished = 0;
  for (; finished < batch.count; finished++) {
    if (finished > 0 && preempted(mm)) {
      rc = AGAIN;
      break;
    }
    work(mm, REQUEST_COST);
    const request = viewGuest(vcpu, args[0]! + BigInt(finished * REQUEST_BYTES), REQUEST_BYTES);
    if (!request) {
      rc = -Errno.EFAULT;
      break;
    }
    rc = updateOne(
      vcpu,
      tableOwner,
      owner,
      request.getUint32(0, true),
      request.getUint32(4, true),
      request.getUint32(8, true),
      request.getUint32(12, true),
    );
    if (rc !== 0) break;
  }
  if (rc !== AGAIN) dropAhead(vcpu);
  if (rc === 0 && mm.deferred.length > 0) rc = AGAIN;
  return end(mm, closeBatch(vcpu, args, batch, finished, REQUEST_BYTES, rc));
}

function updateOne(
  vcpu: XenVcpu,
  tableOwner: number,
  owner: number,
  ptrLo: number,
  ptrHi: number,
  lo: number,
  hi: number,
): number {
  const { domain } = vcpu;
  const claimedFrame = ptrHi * 0x100000 + (ptrLo >>> 12);
  const command = ptrLo & 7;
  if (command === MMU.MACHPHYS_UPDATE) {
    if (tableOwner !== domain.id) return -Errno.EPERM;
    if (owner !== domain.id) return owner === DOMID_IO ? -Errno.EINVAL : -Errno.EPERM;
    const { frames, machine } = domain.mm;
    if (!(claimedFrame < frames.frames) || frames.owner[claimedFrame] !== owner) return -Errno.EINVAL;
    machine.m2p.set(claimedFrame, (BigInt(hi) << 32n) | BigInt(lo));
    return 0;
  }
  if (command > MMU.PT_UPDATE_NO_TRANSLATE) return -Errno.ENOSYS;
  if (tableOwner !== domain.id || (owner !== domain.id && owner !== DOMID_IO)) return -Errno.EPERM;
  return updateTable(vcpu, owner, claimedFrame, ptrLo & 0xff8, lo, hi, command === MMU.PT_UPDATE_PRESERVE_AD);
}

/** Writes eight bytes that are an entry of a table, or plain data where the frame is no table. */
function updateTable(
  vcpu: XenVcpu,
  owner: number,
  claimedTable: number,
  offset: number,
  lo: number,
  hi: number,
  keepAccessedDirty: boolean,
): number {
  const { domain } = vcpu;
  const { mm } = domain;
  const { frames } = mm;
  if (!frames.getRef(claimedTable, domain.id)) return -Errno.EINVAL;
  const table = claimedTable;
  let rc: number = -Errno.EINVAL;
  const write = (): number => {
    const maddr = (table * 4096 + offset) as Maddr;
    mm.mmu.writeU32(maddr, lo);
    mm.mmu.writeU32((maddr + 4) as Maddr, hi);
    return 0;
  };
  if (!inTypedUse(mm, table)) {
    rc = getPageType(mm, table, FrameType.writable);
    if (rc === 0) {
      write();
      putPageType(mm, table);
    }
  } else {
    const type = frames.type[table]!;
    if (type === FrameType.l1) rc = updateL1(mm, table, offset >>> 3, lo, hi, keepAccessedDirty, owner);
    else if (type === FrameType.writable) rc = write();
    else if (type >= FrameType.l2 && type <= FrameType.l4 && owner === domain.id) {
      // A lone L1 is never worth a pre-emption; what hangs below an L3 entry may be.
      const ready = type === FrameType.l2 || !(lo & Pte.present) || validateAhead(vcpu, entryFrame(lo, hi), type - 1);
      rc = ready ? updateUpper(mm, table, type, offset >>> 3, lo, hi, keepAccessedDirty) : AGAIN;
    }
  }
  frames.putRef(table as Mfn);
  return rc;
}

export function updateVaMapping(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  return updateVa(vcpu, args, vcpu.domain.id);
}

export function updateVaMappingOtherdomain(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const owner = pageOwner(vcpu.domain, low(args[3]!) & 0xffff);
  if (owner < 0) return owner;
  return owner === vcpu.domain.id ? updateVa(vcpu, args, owner) : -Errno.EPERM;
}

function updateVa(vcpu: XenVcpu, args: bigint[], owner: number): HypercallResult {
  const { mm } = vcpu.domain;
  const [va, value, flags] = args as [bigint, bigint, bigint];
  if (!addressOk(vcpu, va)) return -Errno.EINVAL;
  const place = leafEntry(vcpu, va);
  if (!place) return -Errno.EINVAL;
  const rc = updateL1(mm, place.table, place.index, low(value), high(value), false, owner);
  if (rc !== 0) return rc;
  return flushAs(vcpu, va, flags);
}

/** The flush that `UVMF_*` flags ask for. */
function flushAs(vcpu: XenVcpu, va: bigint, flags: bigint): number {
  const type = low(flags) & UVMF.FLUSHTYPE_MASK;
  const bitmap = flags & ~BigInt(UVMF.FLUSHTYPE_MASK);
  if (type !== UVMF.TLB_FLUSH && type !== UVMF.INVLPG) return 0;
  if (bitmap !== BigInt(UVMF.LOCAL) && bitmap !== BigInt(UVMF.ALL) && !vcpuMaskReadable(vcpu, bitmap)) {
    return -Errno.EFAULT;
  }
  if (type === UVMF.TLB_FLUSH) flushTlb(vcpu.domain.mm);
  else flushPage(vcpu.domain.mm, va);
  return 0;
}

/** A bitmap of vCPUs: which ones are named does not matter, as all share one TLB. */
export function vcpuMaskReadable(vcpu: XenVcpu, claimedBitmap: bigint): boolean {
  const bytes = Math.max(1, Math.ceil(vcpu.domain.vcpus.length / 64)) * wordBytes(vcpu);
  return readGuest(vcpu, claimedBitmap, bytes) !== null;
}

/** Where the L1 entry of a linear address is, in the tables in use, if that table is validated as an L1. */
export function leafEntry(vcpu: XenVcpu, va: bigint): { table: number; index: number } | null {
  const { domain, kernelRoot, userRoot, guestKernel } = vcpu;
  const { mm } = domain;
  const { u32, frameBase } = mm.mmu.machine;
  let table: number = guestKernel || mm.pae ? kernelRoot : userRoot;
  for (let shift = mm.pae ? 30 : 39; shift > 12; shift -= 9) {
    if (table === 0) return null;
    const index = Number((va >> BigInt(shift)) & 511n);
    const word = (frameBase + table * 4096 + index * 8) >>> 2;
    const lo = u32[word]!;
    if (!(lo & Pte.present) || lo & Pte.pse) return null;
    table = entryFrame(lo, u32[word + 1]!);
    if (!(table < mm.frames.frames) || mm.frames.owner[table] !== domain.id) return null;
  }
  if (!inTypedUse(mm, table) || mm.frames.type[table] !== FrameType.l1) return null;
  return { table, index: Number((va >> 12n) & 511n) };
}
