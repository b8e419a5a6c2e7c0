/**
 * Writable page tables: a guest kernel's store to a read-only page that is one of
 * its L1 tables is carried out as an update of that entry
 * (xen/arch/x86/pv/ro-page-fault.c; the writable_pagetables assist).
 *
 * The core runs the instruction and hands over each store; nothing reaches the
 * table that `updateL1` did not accept.
 */
import { VMASST_TYPE } from '@paravane/abi-xen';
import { type Exit, Vector } from '@paravane/engine-api';
import { FrameType, PfError, Pte } from '@paravane/mmu';
import type { XenVcpu } from '../domain.js';
import { hex, trace } from '../trace.js';
import { updateL1 } from './entry-update.js';
import { inTypedUse } from './page-type.js';

/** The entry that a store changes. */
const entry = new Uint8Array(8);
const halves = new Uint32Array(entry.buffer);

const WRITABLE_PAGETABLES = 1 << VMASST_TYPE.writable_pagetables;

/** Deals with a #PF of the guest, if it is the hypervisor's to deal with. After `bounce`, `exit` is what to deliver. */
export function handlePageFault(vcpu: XenVcpu, exit: Exit): 'handled' | 'bounce' {
  const { domain } = vcpu;
  const { errorCode } = exit;
  const address = BigInt.asUintN(64, exit.address);
  const protectedWrite =
    (errorCode & (PfError.present | PfError.write | PfError.reserved | PfError.fetch)) ===
    (PfError.present | PfError.write);
  if (!protectedWrite || !vcpu.guestKernel || !(domain.vmAssist & WRITABLE_PAGETABLES)) return 'bounce';
  const table = readOnlyTable(vcpu, address);
  if (table === 0) return 'bounce';
  const page = address & ~0xfffn;
  const stopped = vcpu.core.runEmulatingStore(page, (at, bytes) => store(vcpu, table, page, at, bytes));
  if (stopped === null) return 'handled';
  if (stopped.vector !== Vector.PF || stopped.reason !== 'exception') {
    exit.reason = 'exception';
    exit.vector = Vector.PF;
    exit.errorCode = errorCode;
    exit.address = address;
  }
  return 'bounce';
}

/** The L1 table of the domain that a linear address maps read-only, or 0. */
function readOnlyTable(vcpu: XenVcpu, address: bigint): number {
  const { mm } = vcpu.domain;
  const { walker, machine } = mm.mmu;
  const lo = Number(address & 0xffffffffn) | 0;
  const hi = Number(address >> 32n) | 0;
  if (walker.walk(vcpu.core.space, lo, hi, 0, true) !== 0) return 0;
  const { mfn, leafTable, leafOffset } = walker.result;
  const leaf = machine.u32[(machine.frameBase + leafTable * 4096 + leafOffset) >>> 2]!;
  return !(leaf & Pte.rw) && isOwnL1(vcpu, mfn) ? mfn : 0;
}

const isOwnL1 = ({ domain }: XenVcpu, mfn: number): boolean =>
  domain.mm.frames.owner[mfn] === domain.id &&
  domain.mm.frames.type[mfn] === FrameType.l1 &&
  inTypedUse(domain.mm, mfn);

/** One store to the page of a table: naturally aligned, of 1 to 8 bytes. */
function store(vcpu: XenVcpu, table: number, page: bigint, at: bigint, bytes: Uint8Array): boolean {
  const { domain } = vcpu;
  const { mm } = domain;
  const address = BigInt.asUintN(64, at);
  const size = bytes.length;
  if ((address & ~0xfffn) !== page || size > 8 || size === 0 || (size & (size - 1)) !== 0) return false;
  if ((address & BigInt(size - 1)) !== 0n || !isOwnL1(vcpu, table)) return false;
  const offset = Number(address & 0xfffn);
  const { machine } = mm.mmu;
  const place = (machine.frameBase + table * 4096 + (offset & ~7)) >>> 2;
  halves[0] = machine.u32[place]!;
  halves[1] = machine.u32[place + 1]!;
  entry.set(bytes, offset & 7);
  const [lo, hi] = [halves[0], halves[1]];
  if (domain.trace) {
    const value = new Uint8Array(8);
    value.set(bytes);
    trace(vcpu, `W ${hex(address)} ${hex(new DataView(value.buffer).getBigUint64(0, true))} ${size}`);
  }
  const set = (lower: number): number => updateL1(mm, table, offset >>> 3, lower, hi, false, domain.id, true);
  const rc = set(lo);
  // The upper half of a PAE entry written first: the lower half, which makes it valid, is about to follow.
  const upperFirst = rc !== 0 && mm.pae && size === 4 && (offset & 4) !== 0 && (lo & Pte.present) !== 0;
  return (upperFirst ? set((lo & ~Pte.present) >>> 0) : rc) === 0;
}
