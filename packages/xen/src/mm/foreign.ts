/**
 * Whose memory a call is about (`get_pg_owner` and the default access rules of
 * xen/include/xsm/dummy.h). No domain here may act on another one's memory
 * except through grants, so the rest is to give the right error.
 */
import { DOMID_IO, DOMID_SELF, DOMID_XEN, Errno } from '@paravane/abi-xen';
import { isDomain, type XenDomain } from '../domain.js';

/** Domain id of the owner of pages, or a negative errno. */
export function pageOwner(domain: XenDomain, claimedId: number): number {
  if (claimedId === DOMID_SELF) return domain.id;
  if (claimedId === domain.id) return -Errno.ESRCH;
  if (claimedId === DOMID_IO || claimedId === DOMID_XEN) return claimedId;
  return isDomain(domain.machine, claimedId) ? claimedId : -Errno.ESRCH;
}

/** 0 for the domain itself, by either name; the errno of naming another. */
export function selfOnly(domain: XenDomain, claimedId: number): number {
  if (claimedId === DOMID_SELF || claimedId === domain.id) return 0;
  return isDomain(domain.machine, claimedId) ? -Errno.EPERM : -Errno.ESRCH;
}
