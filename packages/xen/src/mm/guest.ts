/**
 * Guest memory as hypercalls see it: by virtual address, through the vCPU's
 * present tables, and never in the hypervisor's own range (Xen's `access_ok`).
 */
import { HYPERVISOR_VIRT_END, HYPERVISOR_VIRT_START_PAE } from '@paravane/abi-xen';
import { PAGE_SIZE } from '@paravane/types';
import type { XenVcpu } from '../domain.js';

const LOW_END = 1n << 47n;

const PAE_END = BigInt(HYPERVISOR_VIRT_START_PAE);

/** Xen's `__addr_ok`, and `__compat_addr_ok` for a 32-bit domain. */
export const addressOk = ({ domain }: XenVcpu, va: bigint): boolean =>
  domain.mm.pae ? va < PAE_END : va < LOW_END || va >= HYPERVISOR_VIRT_END;

/** Xen's `guest_handle_okay`: an array of `count` elements could be there. */
export const handleOk = (vcpu: XenVcpu, va: bigint, count: number, size: number): boolean =>
  vcpu.domain.mm.pae
    ? va + BigInt(Math.max(count * size, 1)) <= PAE_END
    : addressOk(vcpu, va) && BigInt(count) * BigInt(size) < 1n << 63n;

/** Bytes of the guest's `unsigned long`, frame numbers in lists and pointers. */
export const wordBytes = ({ domain }: XenVcpu): 4 | 8 => (domain.mm.pae ? 4 : 8);

/** A view of `length` guest bytes, not a copy where they lie in one page; null where they can't be read. */
export function viewGuest(vcpu: XenVcpu, va: bigint, length: number): DataView | null {
  if (!addressOk(vcpu, va)) return null;
  const { mmu } = vcpu.domain;
  if (Number(va & 0xfffn) + length <= PAGE_SIZE) {
    const maddr = mmu.translate(vcpu.core.space, va);
    if (maddr === null) return null;
    const { u8, frameBase } = mmu.machine;
    return new DataView(u8.buffer, frameBase + maddr, length);
  }
  const bytes = mmu.readVirtual(vcpu.core.space, va, length);
  return bytes && new DataView(bytes.buffer);
}

/** A copy of `length` guest bytes; null where they can't be read. None can be read anywhere. */
export function readGuest(vcpu: XenVcpu, va: bigint, length: number): Uint8Array | null {
  if (length === 0) return new Uint8Array(0);
  return addressOk(vcpu, va) ? vcpu.domain.mmu.readVirtual(vcpu.core.space, va, length) : null;
}

export function writeGuest(vcpu: XenVcpu, va: bigint, bytes: Uint8Array): boolean {
  return bytes.length === 0 || (addressOk(vcpu, va) && vcpu.domain.mmu.writeVirtual(vcpu.core.space, va, bytes));
}

export function readGuestU64(vcpu: XenVcpu, va: bigint): bigint | null {
  return viewGuest(vcpu, va, 8)?.getBigUint64(0, true) ?? null;
}

const word = new DataView(new ArrayBuffer(8));
export function writeGuestU64(vcpu: XenVcpu, va: bigint, value: bigint): boolean {
  word.setBigUint64(0, value, true);
  return writeGuest(vcpu, va, new Uint8Array(word.buffer, 0, 8));
}
export function writeGuestU32(vcpu: XenVcpu, va: bigint, value: number): boolean {
  word.setUint32(0, value, true);
  return writeGuest(vcpu, va, new Uint8Array(word.buffer, 0, 4));
}

/** An `unsigned long` of the guest. */
export function readGuestWord(vcpu: XenVcpu, va: bigint): bigint | null {
  if (!vcpu.domain.mm.pae) return readGuestU64(vcpu, va);
  const value = viewGuest(vcpu, va, 4)?.getUint32(0, true);
  return value === undefined ? null : BigInt(value);
}
export const writeGuestWord = (vcpu: XenVcpu, va: bigint, value: bigint): boolean =>
  vcpu.domain.mm.pae ? writeGuestU32(vcpu, va, Number(BigInt.asUintN(32, value))) : writeGuestU64(vcpu, va, value);
