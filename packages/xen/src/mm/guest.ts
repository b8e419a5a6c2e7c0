/**
 * Guest memory as hypercalls see it: by virtual address, through the vCPU's
 * present tables, and never in the hypervisor's own range (Xen's `access_ok`).
 */
import { HYPERVISOR_VIRT_END } from '@paravane/abi-xen';
import { PAGE_SIZE } from '@paravane/types';
import type { XenVcpu } from '../domain.js';

const LOW_END = 1n << 47n;

/** Xen's `__addr_ok`. */
export const addressOk = (va: bigint): boolean => va < LOW_END || va >= HYPERVISOR_VIRT_END;

/** Xen's `guest_handle_okay`: an array of `count` elements could be there. */
export const handleOk = (va: bigint, count: number, size: number): boolean =>
  addressOk(va) && BigInt(count) * BigInt(size) < 1n << 63n;

/** A view of `length` guest bytes, not a copy where they lie in one page; null where they can't be read. */
export function viewGuest(vcpu: XenVcpu, va: bigint, length: number): DataView | null {
  if (!addressOk(va)) return null;
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

/** A copy of `length` guest bytes; null where they can't be read. */
export function readGuest(vcpu: XenVcpu, va: bigint, length: number): Uint8Array | null {
  return addressOk(va) ? vcpu.domain.mmu.readVirtual(vcpu.core.space, va, length) : null;
}

export function writeGuest(vcpu: XenVcpu, va: bigint, bytes: Uint8Array): boolean {
  return addressOk(va) && vcpu.domain.mmu.writeVirtual(vcpu.core.space, va, bytes);
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
