/**
 * Which frames of others a domain may reach: the count of its active grant-map
 * handles per frame. A grantor's later change of its table does not matter; only
 * the unmap takes the right back.
 */
import type { DomId, Mfn } from '@paravane/types';

export interface GrantHolds {
  /** Records one more active handle of `domid` on `mfn`. */
  hold(domid: DomId, mfn: Mfn, writable: boolean): void;
  /** Takes one handle back. The caller drops the TLB entries of the frame. */
  unhold(domid: DomId, mfn: Mfn, writable: boolean): void;
  allows(domid: DomId, mfn: Mfn, write: boolean): boolean;
}

export function createGrantHolds(): GrantHolds {
  const byDomain = new Map<DomId, Map<Mfn, { read: number; write: number }>>();
  return {
    hold(domid, mfn, writable) {
      let holds = byDomain.get(domid);
      if (!holds) byDomain.set(domid, (holds = new Map()));
      const entry = holds.get(mfn) ?? { read: 0, write: 0 };
      entry[writable ? 'write' : 'read']++;
      holds.set(mfn, entry);
    },
    unhold(domid, mfn, writable) {
      const holds = byDomain.get(domid);
      const entry = holds?.get(mfn);
      if (!holds || !entry) return;
      entry[writable ? 'write' : 'read']--;
      if (entry.read + entry.write === 0) holds.delete(mfn);
    },
    allows(domid, mfn, write) {
      const entry = byDomain.get(domid)?.get(mfn);
      return entry !== undefined && (entry.write > 0 || (!write && entry.read > 0));
    },
  };
}
