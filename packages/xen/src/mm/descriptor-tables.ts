/**
 * GDT and LDT of a vCPU: HYPERVISOR_set_gdt, HYPERVISOR_update_descriptor, and
 * the look-up of a selector (xen/arch/x86/pv/descriptor-tables.c, pv/mm.c
 * `pv_map_ldt_shadow_page`).
 *
 * Invariants: the frames of a GDT, and those of an LDT that were used, hold a
 * reference and the descriptor type, so what is read there was checked. The
 * GDT's frames are named by machine frame, the LDT lies at a linear address and
 * is found page by page when it is first used.
 */
import {
  Errno,
  FIRST_RESERVED_GDT_ENTRY,
  FLAT_RING1_CS,
  FLAT_RING1_DS,
  FLAT_RING3_CS,
  FLAT_RING3_CS32,
  FLAT_RING3_CS64,
  FLAT_RING3_DS,
  FLAT_RING3_DS32,
} from '@paravane/abi-xen';
import { FrameType } from '@paravane/mmu';
import type { Maddr, Mfn } from '@paravane/types';
import type { HypercallResult, XenVcpu } from '../domain.js';
import { checkedDescriptor } from './descriptor.js';
import { handleOk, readGuest, wordBytes } from './guest.js';
import { getPageAndType, putPageAndType } from './page-type.js';
import { entryWord, writeEntry } from './pte.js';

const PER_FRAME = 512;
/** A segment descriptor as two words. */
export interface Descriptor {
  lo: number;
  hi: number;
}

/** Xen's own flat segments, in the part of the GDT that every guest sees. */
const XEN_SEGMENTS: ReadonlyMap<number, Descriptor> = new Map([
  [FLAT_RING3_CS32 & ~7, { lo: 0x0000ffff, hi: 0x00cffb00 }],
  [FLAT_RING3_DS32 & ~7, { lo: 0x0000ffff, hi: 0x00cff300 }],
  [FLAT_RING3_CS64 & ~7, { lo: 0x00000000, hi: 0x00affb00 }],
]);

/** The same for 32-bit guests. */
const XEN_COMPAT_SEGMENTS: ReadonlyMap<number, Descriptor> = new Map([
  [FLAT_RING1_CS & ~7, { lo: 0x0000ffff, hi: 0x00cfbb00 }],
  [FLAT_RING1_DS & ~7, { lo: 0x0000ffff, hi: 0x00cfb300 }],
  [FLAT_RING3_CS & ~7, { lo: 0x0000ffff, hi: 0x00cffb00 }],
  [FLAT_RING3_DS & ~7, { lo: 0x0000ffff, hi: 0x00cff300 }],
]);

/** Installs a GDT of `entries` entries in these frames; also for VCPUOP_initialise. */
export function installGdt(vcpu: XenVcpu, claimedFrames: readonly number[], entries: number): number {
  const { mm } = vcpu.domain;
  const count = Math.ceil(entries / PER_FRAME);
  if (entries > FIRST_RESERVED_GDT_ENTRY || count > claimedFrames.length) return -Errno.EINVAL;
  const taken: Mfn[] = [];
  for (const claimedFrame of claimedFrames.slice(0, count)) {
    if (getPageAndType(mm, claimedFrame, FrameType.segdesc) !== 0) {
      for (const mfn of taken) putPageAndType(mm, mfn);
      return -Errno.EINVAL;
    }
    taken.push(claimedFrame as Mfn);
  }
  destroyGdt(vcpu);
  vcpu.mm.gdtFrames = taken;
  vcpu.mm.gdtEntries = entries;
  vcpu.showGdt(taken[0] ?? 0, entries);
  return 0;
}

export function destroyGdt(vcpu: XenVcpu): void {
  for (const mfn of vcpu.mm.gdtFrames) putPageAndType(vcpu.domain.mm, mfn);
  vcpu.mm.gdtFrames = [];
  vcpu.mm.gdtEntries = 0;
  vcpu.showGdt(0, 0);
}

export function setGdt(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const entries = Number(args[1]! & 0xffffffffn);
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -Errno.EINVAL;
  const count = Math.ceil(entries / PER_FRAME);
  const size = wordBytes(vcpu);
  const list = size === 8 || handleOk(vcpu, args[0]!, count, size) ? readGuest(vcpu, args[0]!, count * size) : null;
  if (!list) return -Errno.EFAULT;
  const view = new DataView(list.buffer);
  const claimedFrames = Array.from({ length: count }, (_, i) =>
    size === 8 ? Number(view.getBigUint64(i * 8, true)) : view.getUint32(i * 4, true),
  );
  return installGdt(vcpu, claimedFrames, entries);
}

export function updateDescriptor(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const { mm } = vcpu.domain;
  const [claimedAddress, descriptor] = args as [bigint, bigint];
  const checked = checkedDescriptor(mm, Number(descriptor & 0xffffffffn), Number((descriptor >> 32n) & 0xffffffffn));
  if ((claimedAddress & 7n) !== 0n || checked === null) return -Errno.EINVAL;
  const { lo, hi } = checked;
  const claimedFrame = Number(claimedAddress >> 12n);
  const { frames } = mm;
  if (!(claimedFrame < frames.frames)) return -Errno.EINVAL;
  const type = frames.type[claimedFrame] === FrameType.segdesc ? FrameType.segdesc : FrameType.writable;
  if (getPageAndType(mm, claimedFrame, type) !== 0) return -Errno.EINVAL;
  const maddr = Number(claimedAddress);
  mm.mmu.writeU32(maddr as Maddr, lo);
  mm.mmu.writeU32((maddr + 4) as Maddr, hi);
  putPageAndType(mm, claimedFrame);
  return 0;
}

/** The descriptor that a selector names, or null where it lies outside its table. */
export function readDescriptor(vcpu: XenVcpu, selector: number): Descriptor | null {
  const { mm } = vcpu.domain;
  // Those of the LDT (bit 2) are the guest's own, whatever their index.
  const own = (mm.pae ? XEN_COMPAT_SEGMENTS : XEN_SEGMENTS).get(selector & ~3);
  if (own) return { ...own };
  const frame = frameOf(vcpu, selector);
  if (frame === undefined) return null;
  const word = entryWord(mm, frame, (selector >> 3) & 511);
  const { u32 } = mm.mmu.machine;
  return { lo: u32[word]!, hi: u32[word + 1]! };
}

/** The frame of the guest's that a descriptor lies in. */
function frameOf(vcpu: XenVcpu, selector: number): number | undefined {
  const { gdtEntries, gdtFrames, ldtEntries } = vcpu.mm;
  const index = selector >> 3;
  if (selector & 4) return index < ldtEntries ? ldtFrame(vcpu, index >> 9) : undefined;
  return index < gdtEntries ? gdtFrames[index >> 9] : undefined;
}

/** A segment register takes this descriptor: the processor says so in the table. */
export function markAccessed(vcpu: XenVcpu, selector: number): void {
  const { mm } = vcpu.domain;
  const frame = frameOf(vcpu, selector);
  if (frame === undefined || (selector & 0xfffc) === 0) return;
  const index = (selector >> 3) & 511;
  const word = entryWord(mm, frame, index);
  const { u32 } = mm.mmu.machine;
  if ((u32[word + 1]! & (CODE_OR_DATA | ACCESSED)) === CODE_OR_DATA)
    writeEntry(mm, frame, index, u32[word]!, u32[word + 1]! | ACCESSED);
}
const CODE_OR_DATA = 0x1000;
const ACCESSED = 0x100;

/** Linear address of a descriptor that lies in the LDT, in a page that can't be mapped; null for every other selector. */
export function missingDescriptor(vcpu: XenVcpu, selector: number): bigint | null {
  const index = selector >> 3;
  const isThere = !(selector & 4) || index >= vcpu.mm.ldtEntries || ldtFrame(vcpu, index >> 9) !== undefined;
  return isThere ? null : vcpu.mm.ldtBase + BigInt(index * 8);
}

/** The frame of a page of the LDT, typed when it is first used. */
function ldtFrame(vcpu: XenVcpu, page: number): number | undefined {
  const { domain } = vcpu;
  const { mm } = domain;
  const known = vcpu.mm.ldtFrames.get(page);
  if (known !== undefined) return known;
  const va = vcpu.mm.ldtBase + BigInt(page * 4096);
  const space = { ...vcpu.core.space, root: vcpu.kernelRoot, user: !mm.pae };
  const { walker } = mm.mmu;
  if (walker.walk(space, Number(va & 0xffffffffn) | 0, Number(va >> 32n) | 0, 0, true) !== 0) {
    return undefined;
  }
  const { mfn } = walker.result;
  if (getPageAndType(mm, mfn, FrameType.segdesc) !== 0) return undefined;
  vcpu.mm.ldtFrames.set(page, mfn);
  return mfn;
}
