/** struct xen_memory_reservation of the 64-bit ABI (public/memory.h). */
import { XENMEMF } from '@paravane/abi-xen';
import type { XenDomain, XenVcpu } from '../domain.js';
import { viewGuest } from './guest.js';

export const RESERVATION_BYTES = 32;

export interface Reservation {
  list: bigint;
  count: bigint;
  order: number;
  flags: number;
  domid: number;
}

export function readReservation(vcpu: XenVcpu, va: bigint): Reservation | null {
  const view = viewGuest(vcpu, va, RESERVATION_BYTES);
  return view && parseReservation(view, 0);
}

export const parseReservation = (view: DataView, at: number): Reservation => ({
  list: view.getBigUint64(at, true),
  count: view.getBigUint64(at + 8, true),
  order: view.getUint32(at + 16, true),
  flags: view.getUint32(at + 20, true),
  domid: view.getUint16(at + 24, true),
});

/** Frames must lie below this number; null for a limit that leaves none. */
export function addressLimit(domain: XenDomain, flags: number): number | null {
  const bits = flags & XENMEMF.address_bits_mask;
  const { frames } = domain.mmu.frames;
  if (bits === 0 || bits >= Math.ceil(Math.log2(frames)) + 12) return frames;
  return bits <= 12 ? null : 2 ** (bits - 12);
}
