/**
 * Grants as a back end of the host uses them: it is domain 0 to the guest's
 * table, and gets bytes instead of page-table entries.
 */
import { GNTST } from '@paravane/abi-xen';
import { FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { HOST_DOMAIN, type XenDomain } from '../domain.js';
import { getPageType, putPageType } from '../mm/index.js';
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
  const unhold = write ? holdWritable(domain, frame) : () => undefined;
  if (!unhold) {
    endUse(domain, ref, write);
    return GNTST.general_error;
  }
  let mapped = true;
  return {
    frame,
    bytes() {
      const bytes = mmu.pin(frame, write ? 'write' : 'read');
      mmu.unpin(frame);
      return bytes;
    },
    unmap() {
      if (!mapped) return;
      mapped = false;
      unhold();
      endUse(domain, ref, write);
    },
  };
}

/** Keeps a frame from becoming a page table while the host may write to it; null if it is one. Returns the way back. */
function holdWritable(domain: XenDomain, frame: Mfn): (() => void) | null {
  const { mm } = domain.machine.domain(domain.mmu.frames.owner[frame]!) ?? domain;
  return getPageType(mm, frame, FrameType.writable) === 0 ? () => putPageType(mm, frame) : null;
}

/** Copies bytes out of a granted page; a negative `GNTST_*` on refusal. */
export function copyFromGuest(domain: XenDomain, ref: number, offset: number, length: number): Uint8Array | number {
  if (domain.dying) return GNTST.bad_domain;
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
  if (domain.dying) return GNTST.bad_domain;
  const use = beginUse(domain, ref, HOST_DOMAIN, true, false);
  if (!use.active) return use.status;
  const { frame, start, length } = use.active;
  const inside = offset >= start && offset + bytes.length <= start + length;
  const unhold = holdWritable(domain, frame);
  if (inside && unhold) domain.mmu.write(frame, offset, bytes);
  unhold?.();
  endUse(domain, ref, true);
  if (!unhold) return GNTST.general_error;
  return inside ? GNTST.okay : GNTST.bad_copy_arg;
}
