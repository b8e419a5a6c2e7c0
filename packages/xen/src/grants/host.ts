/**
 * Grants as a back end of the host uses them: it is domain 0 to the guest's
 * table, and gets bytes instead of page-table entries.
 */
import { GNTST } from '@paravane/abi-xen';
import type { MappedPage } from '@paravane/driver-api';
import { FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { HOST_DOMAIN, type XenDomain } from '../domain.js';
import { getPageType, putPageType } from '../mm/index.js';
import type { MmState } from '../mm/state.js';
import { beginUse, endUse } from './table.js';

/** A granted page, mapped until `unmap`. One for each segment of a disk's request: an object and nothing else. */
export class HostGrant implements MappedPage {
  private mapped = true;

  constructor(
    private readonly domain: XenDomain,
    private readonly ref: number,
    readonly frame: Mfn,
    /** Where the frame is held as a writable one; null where the page is only read. */
    private readonly holder: MmState | null,
  ) {}

  bytes(): Uint8Array {
    const bytes = this.pin();
    this.unpin();
    return bytes;
  }

  pin(): Uint8Array {
    return this.domain.mmu.pin(this.frame, this.holder ? 'write' : 'read');
  }

  unpin(): void {
    this.domain.mmu.unpin(this.frame);
  }

  unmap(): void {
    if (!this.mapped) return;
    this.mapped = false;
    if (this.holder) putPageType(this.holder, this.frame);
    endUse(this.domain, this.ref, this.holder !== null);
  }
}

/** Maps a granted page for the host; a negative `GNTST_*` where the guest does not allow it. */
export function mapForHost(domain: XenDomain, ref: number, write: boolean): HostGrant | number {
  if (domain.dying) return GNTST.bad_domain;
  const use = beginUse(domain, ref, HOST_DOMAIN, write, true);
  if (!use.active) return use.status;
  const { frame } = use.active;
  const holder = write ? holdWritable(domain, frame) : null;
  if (!write || holder) return new HostGrant(domain, ref, frame, holder);
  endUse(domain, ref, write);
  return GNTST.general_error;
}

/** Keeps a frame from becoming a page table while the host may write to it: who holds it; null if it is one. */
function holdWritable(domain: XenDomain, frame: Mfn): MmState | null {
  const { mm } = domain.machine.domain(domain.mmu.frames.owner[frame]!) ?? domain;
  return getPageType(mm, frame, FrameType.writable) === 0 ? mm : null;
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
  const holder = holdWritable(domain, frame);
  if (holder) {
    if (inside) domain.mmu.write(frame, offset, bytes);
    putPageType(holder, frame);
  }
  endUse(domain, ref, true);
  if (!holder) return GNTST.general_error;
  return inside ? GNTST.okay : GNTST.bad_copy_arg;
}
