/**
 * Base pointers: the two L4 tables of a vCPU of a 64-bit PV guest, one for its
 * kernel and one for its programs (xen/arch/x86/mm.c, `new_guest_cr3`;
 * x86_64 `toggle_guest_mode`).
 *
 * Invariant: a root that is set holds a reference and an L4 type.
 */
import { Errno } from '@paravane/abi-xen';
import { FrameFlag, FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { XenDomain, XenVcpu } from '../domain.js';
import { flushTlb } from './flush.js';
import { dropLdt, getPageAndType, putPageAndType, showM2p } from './page-type.js';
import { begin, dropAhead, end, validateAhead } from './preempt.js';

const AGAIN = -Errno.ERESTART;

/** Makes the vCPU's linear addresses go through the tables of its present mode. */
export function loadRoots(vcpu: XenVcpu): void {
  vcpu.core.space = {
    root: vcpu.guestKernel ? vcpu.kernelRoot : vcpu.userRoot,
    domid: vcpu.domain.id,
    paging: 'long',
    user: true,
    wp: true,
    nxe: true,
    physical: null,
  };
}

/** Kernel to user mode or back. The caller swaps the GS bases. */
export function toggleGuestMode(vcpu: XenVcpu): void {
  vcpu.guestKernel = !vcpu.guestKernel;
  loadRoots(vcpu);
}

/** MMUEXT_NEW_BASEPTR: 0 or a negative errno. */
export function setKernelRoot(vcpu: XenVcpu, claimedRoot: number): number {
  const { mm } = vcpu.domain;
  const old = vcpu.kernelRoot;
  if (old !== claimedRoot) {
    const rc = takeRoot(vcpu, claimedRoot);
    if (rc !== 0) return rc;
    dropLdt(mm, vcpu.mm);
    showM2p(mm, claimedRoot, true);
    vcpu.kernelRoot = claimedRoot as Mfn;
    if (old !== 0) putPageAndType(mm, old);
  }
  loadRoots(vcpu);
  flushTlb(mm);
  return 0;
}

/** MMUEXT_NEW_USER_BASEPTR; 0 takes the root away. */
export function setUserRoot(vcpu: XenVcpu, claimedRoot: number): number {
  const { mm } = vcpu.domain;
  const old = vcpu.userRoot;
  if (old === claimedRoot) return 0;
  if (claimedRoot !== 0) {
    const rc = takeRoot(vcpu, claimedRoot);
    if (rc !== 0) return rc;
    if (vcpu.domain.m2pStrict) showM2p(mm, claimedRoot, false);
  }
  vcpu.userRoot = claimedRoot as Mfn;
  if (old !== 0) putPageAndType(mm, old);
  if (!vcpu.guestKernel) loadRoots(vcpu);
  flushTlb(mm);
  return 0;
}

function takeRoot(vcpu: XenVcpu, claimedRoot: number): number {
  const { mm } = vcpu.domain;
  if (!validateAhead(vcpu, claimedRoot, FrameType.l4)) return AGAIN;
  return getPageAndType(mm, claimedRoot, FrameType.l4);
}

/**
 * MOV to CR3 of a PV kernel: the value is a machine address. `again`: long work is
 * left, run the instruction again.
 */
export function setCr3(vcpu: XenVcpu, value: bigint): 'done' | 'again' | 'refused' {
  const { mm } = vcpu.domain;
  const rc = begin(mm) ? setKernelRoot(vcpu, Number(value >> 12n)) : AGAIN;
  if (rc !== AGAIN) dropAhead(vcpu);
  end(mm, 0);
  return rc === AGAIN ? 'again' : rc === 0 ? 'done' : 'refused';
}

/**
 * Start of day: the builder's tables are validated and pinned, and become the kernel
 * root of vCPU 0. Returns 0, or the errno that says what is wrong with them.
 */
export function initialTables(domain: XenDomain, l4: Mfn): number {
  const { mm } = domain;
  mm.budget = Infinity;
  const rc = getPageAndType(mm, l4, FrameType.l4);
  if (rc !== 0) return rc;
  const { flags } = mm.frames;
  flags[l4] = flags[l4]! | FrameFlag.pinned;
  return setKernelRoot(domain.vcpus[0]!, l4);
}
