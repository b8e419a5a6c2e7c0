/** struct xen_memory_reservation (public/memory.h). */
import { XENMEMF } from '@paravane/abi-xen';
import type { XenDomain, XenVcpu } from '../domain.js';
import { viewGuest, wordBytes } from './guest.js';

/** By the size of a word. */
export const RESERVATION_BYTES = { 4: 20, 8: 32 } as const;

export interface Reservation {
  list: bigint;
  count: bigint;
  order: number;
  flags: number;
  domid: number;
}

export function readReservation(vcpu: XenVcpu, va: bigint): Reservation | null {
  const word = wordBytes(vcpu);
  const view = viewGuest(vcpu, va, RESERVATION_BYTES[word]);
  return view && parseReservation(view, 0, word);
}

export function parseReservation(view: DataView, at: number, word: 4 | 8): Reservation {
  const wordAt = (offset: number): bigint =>
    word === 8 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true));
  const rest = at + 2 * word;
  return {
    list: wordAt(at),
    count: wordAt(at + word),
    order: view.getUint32(rest, true),
    flags: view.getUint32(rest + 4, true),
    domid: view.getUint16(rest + 8, true),
  };
}

/** Whether the node asked for is one that a domain without privilege may ask for: it has to leave Xen the choice. */
export function nodeOk(flags: number): boolean {
  const claimedNode = (flags >>> XENMEMF.node_shift) & XENMEMF.node_mask;
  return claimedNode === 0 || (flags & XENMEMF.exact_node) === 0;
}

/** Frames must lie below this number; null for a limit that leaves none. */
export function addressLimit(domain: XenDomain, flags: number): number | null {
  const bits = flags & XENMEMF.address_bits_mask;
  const { frames } = domain.mmu.frames;
  if (bits === 0 || bits >= Math.ceil(Math.log2(frames)) + 12) return frames;
  return bits <= 12 ? null : 2 ** (bits - 12);
}
