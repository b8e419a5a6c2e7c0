/**
 * Grants as a back end of the host uses them: it is domain 0 to the guest's
 * table, and gets bytes instead of page-table entries.
 */
import { GNTST } from '@paravane/abi-xen';
import type { Mfn } from '@paravane/types';
import type { XenDomain } from '../domain.js';
import { HOST_DOMAIN } from '../events/channels.js';
import { beginUse, endUse } from './table.js';

/** A granted page, mapped until `unmap`. */
export interface HostGrant {
  readonly frame: Mfn;
  /** The page's bytes, for use before the next guest instruction; for longer, pin the frame. */
  bytes(): Uint8Array;
  unmap(): void;
}

/** Maps a granted page for the host; a negative `GNTST_*` where the guest does not allow it. */
export function mapForHost(domain: XenDomain, ref: number, write: boolean): HostGrant | number {
  if (domain.dying) return GNTST.bad_domain;
  const use = beginUse(domain, ref, HOST_DOMAIN, write, true);
  if (!use.active) return use.status;
  const { frame } = use.active;
  const { mmu } = domain;
  let mapped = true;
  return {
    frame,
    bytes() {
      const bytes = mmu.pin(frame, write ? 'write' : 'read');
      mmu.unpin(frame);
      return bytes;
    },
    unmap() {
      if (mapped) endUse(domain, ref, write);
      mapped = false;
    },
  };
}

/** Copies bytes out of a granted page; a negative `GNTST_*` on refusal. */
export function copyFromGuest(domain: XenDomain, ref: number, offset: number, length: number): Uint8Array | number {
  const use = beginUse(domain, ref, HOST_DOMAIN, false, false);
  if (!use.active) return use.status;
  const { frame, start, length: whole } = use.active;
  const inside = offset >= start && offset + length <= start + whole;
  const bytes = inside ? domain.mmu.read(frame, offset, length) : GNTST.bad_copy_arg;
  endUse(domain, ref, false);
  return bytes;
}

/** Copies bytes into a granted page; a `GNTST_*`. */
export function copyToGuest(domain: XenDomain, ref: number, offset: number, bytes: Uint8Array): number {
  const use = beginUse(domain, ref, HOST_DOMAIN, true, false);
  if (!use.active) return use.status;
  const { frame, start, length } = use.active;
  const inside = offset >= start && offset + bytes.length <= start + length;
  if (inside) domain.mmu.write(frame, offset, bytes);
  endUse(domain, ref, true);
  return inside ? GNTST.okay : GNTST.bad_copy_arg;
}
