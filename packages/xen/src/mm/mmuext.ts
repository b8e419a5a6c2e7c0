/**
 * HYPERVISOR_mmuext_op: pinning, base pointers, flushes, LDT, clearing and
 * copying of pages (public/xen.h; xen/arch/x86/mm.c, `do_mmuext_op`).
 */
import { Errno, MMUEXT } from '@paravane/abi-xen';
import { FrameFlag, FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { HypercallResult, XenVcpu } from '../domain.js';
import { hex, trace } from '../trace.js';
import { flushPage, flushTlb } from './flush.js';
import { pageOwner } from './foreign.js';
import { addressOk, handleOk, viewGuest, wordBytes } from './guest.js';
import { closeBatch, endsContinuation, openBatch, vcpuMaskReadable } from './mmu-update.js';
import { dropLdt, getPageAndType, putPageAndType } from './page-type.js';
import { begin, dropAhead, end, preempted, validateAhead } from './preempt.js';
import { setKernelRoot, setUserRoot } from './roots.js';
import { work } from './state.js';

/** struct mmuext_op of the two ABIs. */
const OP_BYTES = { 4: 12, 8: 24 } as const;
const OP_COST = 16;
const AGAIN = -Errno.ERESTART;
const MAX_LDT_ENTRIES = 8192;

export function mmuextOp(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const { domain } = vcpu;
  const { mm } = domain;
  if (!begin(mm)) return end(mm, { preempted: true, args });
  if (endsContinuation(args)) return end(mm, Number(BigInt.asIntN(32, args[3]!)));
  const batch = openBatch(vcpu, args);
  const word = wordBytes(vcpu);
  const opBytes = OP_BYTES[word];
  if (!handleOk(vcpu, args[0]!, batch.count, opBytes)) return end(mm, -Errno.EFAULT);
  const owner = pageOwner(domain, Number(args[3]! & 0xffffffffn));
  if (owner < 0) return end(mm, owner);
  if (owner !== domain.id) return end(mm, -Errno.EPERM);

  let rc = 0;
  let finished = 0;
  for (; finished < batch.count; finished++) {
    if (finished > 0 && preempted(mm)) {
      rc = AGAIN;
      break;
    }
    work(mm, OP_COST);
    const op = viewGuest(vcpu, args[0]! + BigInt(finished * opBytes), opBytes);
    if (!op) {
      rc = -Errno.EFAULT;
      break;
    }
    const command = op.getUint32(0, true);
    const arg1 = word === 8 ? op.getBigUint64(8, true) : BigInt(op.getUint32(4, true));
    const arg2 = word === 8 ? op.getBigUint64(16, true) : BigInt(op.getUint32(8, true));
    if (domain.trace) trace(vcpu, `X ${command} ${hex(arg1)} ${hex(arg2)}`);
    rc = extended(vcpu, command, arg1, arg2);
    if (rc !== 0) break;
  }
  if (rc !== AGAIN) dropAhead(vcpu);
  if (rc === 0 && mm.deferred.length > 0) rc = AGAIN;
  return end(mm, closeBatch(vcpu, args, batch, finished, opBytes, rc));
}

/** A frame number as the guest gave it, out of range rather than wrong where it is too large. */
const claimedMfn = (value: bigint): number => Number(value);

function extended(vcpu: XenVcpu, command: number, arg1: bigint, arg2: bigint): number {
  const { mm } = vcpu.domain;
  switch (command) {
    case MMUEXT.PIN_L1_TABLE:
    case MMUEXT.PIN_L2_TABLE:
    case MMUEXT.PIN_L3_TABLE:
    case MMUEXT.PIN_L4_TABLE:
      // A 32-bit guest has no such level, and gets no error either.
      if (mm.pae && command === MMUEXT.PIN_L4_TABLE) return 0;
      return pin(vcpu, claimedMfn(arg1), command - MMUEXT.PIN_L1_TABLE + FrameType.l1);
    case MMUEXT.UNPIN_TABLE:
      return unpin(vcpu, claimedMfn(arg1));
    case MMUEXT.NEW_BASEPTR:
      return setKernelRoot(vcpu, claimedMfn(arg1));
    case MMUEXT.NEW_USER_BASEPTR:
      if (mm.pae) return -Errno.EINVAL;
      return setUserRoot(vcpu, claimedMfn(arg1));
    case MMUEXT.TLB_FLUSH_LOCAL:
    case MMUEXT.TLB_FLUSH_ALL:
      flushTlb(mm);
      return 0;
    case MMUEXT.TLB_FLUSH_MULTI:
      if (!vcpuMaskReadable(vcpu, arg2)) return -Errno.EINVAL;
      flushTlb(mm);
      return 0;
    case MMUEXT.INVLPG_MULTI:
      if (!vcpuMaskReadable(vcpu, arg2)) return -Errno.EINVAL;
      flushPage(mm, arg1);
      return 0;
    case MMUEXT.INVLPG_LOCAL:
    case MMUEXT.INVLPG_ALL:
      flushPage(mm, arg1);
      return 0;
    case MMUEXT.FLUSH_CACHE:
      return -Errno.EACCES;
    case MMUEXT.FLUSH_CACHE_GLOBAL:
      return -Errno.EINVAL;
    case MMUEXT.SET_LDT:
      return setLdt(vcpu, arg1, Number(arg2 & 0xffffffffn));
    case MMUEXT.CLEAR_PAGE:
      return onWritable(vcpu, claimedMfn(arg1), (mfn) => mm.mmu.clear(mfn));
    case MMUEXT.COPY_PAGE:
      return copyPage(vcpu, claimedMfn(arg1), claimedMfn(arg2));
    case MMUEXT.MARK_SUPER:
    case MMUEXT.UNMARK_SUPER:
      return -Errno.EOPNOTSUPP;
    default:
      return -Errno.ENOSYS;
  }
}

function pin(vcpu: XenVcpu, claimedTable: number, level: number): number {
  const { mm } = vcpu.domain;
  if (!validateAhead(vcpu, claimedTable, level)) return AGAIN;
  const rc = getPageAndType(mm, claimedTable, level as FrameType);
  if (rc !== 0) return rc;
  const { flags } = mm.frames;
  if (flags[claimedTable]! & FrameFlag.pinned) {
    putPageAndType(mm, claimedTable);
    return -Errno.EINVAL;
  }
  flags[claimedTable] = flags[claimedTable]! | FrameFlag.pinned;
  return 0;
}

function unpin(vcpu: XenVcpu, claimedTable: number): number {
  const { mm } = vcpu.domain;
  const { frames } = mm;
  if (!frames.getRef(claimedTable, mm.domid)) return -Errno.EINVAL;
  const pinned = (frames.flags[claimedTable]! & FrameFlag.pinned) !== 0;
  if (pinned) {
    frames.flags[claimedTable] = frames.flags[claimedTable]! & ~FrameFlag.pinned;
    putPageAndType(mm, claimedTable);
  }
  frames.putRef(claimedTable as Mfn);
  return pinned ? 0 : -Errno.EINVAL;
}

function setLdt(vcpu: XenVcpu, claimedBase: bigint, entries: number): number {
  const base = entries === 0 ? 0n : claimedBase;
  if ((base & 0xfffn) !== 0n || !addressOk(vcpu, base) || entries > MAX_LDT_ENTRIES) return -Errno.EINVAL;
  if (vcpu.mm.ldtEntries === entries && vcpu.mm.ldtBase === base) return 0;
  dropLdt(vcpu.domain.mm, vcpu.mm);
  vcpu.mm.ldtBase = base;
  vcpu.mm.ldtEntries = entries;
  return 0;
}

/** Runs `action` on a frame of the domain while it is held writable. */
function onWritable(vcpu: XenVcpu, claimedFrame: number, action: (mfn: Mfn) => void): number {
  const { mm } = vcpu.domain;
  if (getPageAndType(mm, claimedFrame, FrameType.writable) !== 0) return -Errno.EINVAL;
  action(claimedFrame as Mfn);
  putPageAndType(mm, claimedFrame);
  return 0;
}

function copyPage(vcpu: XenVcpu, claimedTo: number, claimedFrom: number): number {
  const { mm } = vcpu.domain;
  if (!mm.frames.getRef(claimedFrom, mm.domid)) return -Errno.EINVAL;
  const rc = onWritable(vcpu, claimedTo, (to) => mm.mmu.copy(to, claimedFrom as Mfn));
  mm.frames.putRef(claimedFrom as Mfn);
  return rc;
}
