/**
 * Base pointers: the two L4 tables of a vCPU of a 64-bit PV guest, one for its
 * kernel and one for its programs, or the one L3 table of a 32-bit one
 * (xen/arch/x86/mm.c, `new_guest_cr3`; x86_64 `toggle_guest_mode`).
 *
 * Invariant: a root that is set holds a reference and the type of a root.
 */
import { Errno } from '@paravane/abi-xen';
import { type AddressSpace, FrameFlag, FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { XenDomain, XenVcpu } from '../domain.js';
import { flushTlb } from './flush.js';
import { dropLdt, getPageAndType, putPageAndType, showM2p } from './page-type.js';
import { begin, dropAhead, end, validateAhead } from './preempt.js';
import type { MmState } from './state.js';

const AGAIN = -Errno.ERESTART;

/** Written out: a switch of address spaces makes two, and the host takes 25 times as long to add to a copy. */
const spaceOf = ({ id: domid, mm: { pae } }: XenDomain, root: Mfn, user: boolean): AddressSpace => ({
  root,
  domid,
  paging: pae ? 'pae' : 'long',
  user,
  wp: true,
  nxe: true,
  physical: null,
});

/** Makes the linear addresses of the vCPU's kernel and programs go through their tables. */
function loadRoots({ core, domain, kernelRoot, userRoot }: XenVcpu): void {
  const { pae } = domain.mm;
  // Ring 1 is a supervisor to the user bit; only ring 3 is held to it.
  core.spaces[0] = spaceOf(domain, kernelRoot, !pae);
  core.spaces[1] = spaceOf(domain, pae ? kernelRoot : userRoot, true);
}

/** The guest kernel's own view of its memory, wherever the guest is now. */
export const kernelSpace = ({ core }: XenVcpu): AddressSpace => core.spaces[0]!;

/** MMUEXT_NEW_BASEPTR: 0 or a negative errno. */
export function setKernelRoot(vcpu: XenVcpu, claimedRoot: number): number {
  const { mm } = vcpu.domain;
  const old = vcpu.kernelRoot;
  if (old !== claimedRoot) {
    const rc = takeRoot(vcpu, claimedRoot);
    if (rc !== 0) return rc;
    dropLdt(mm, vcpu.mm);
    if (!mm.pae && !vcpu.domain.m2pStrict) showM2p(mm, claimedRoot, true);
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
  loadRoots(vcpu);
  flushTlb(mm);
  return 0;
}

function takeRoot(vcpu: XenVcpu, claimedRoot: number): number {
  const { mm } = vcpu.domain;
  if (!validateAhead(vcpu, claimedRoot, rootType(mm))) return AGAIN;
  return getPageAndType(mm, claimedRoot, rootType(mm));
}

const rootType = (mm: MmState): FrameType => (mm.pae ? FrameType.l3 : FrameType.l4);

/** Frame of the root that a CR3 value names; one of 32 bits keeps the bits above 4 GiB below the frame's. */
export const rootOf = (mm: MmState, cr3: bigint): number =>
  mm.pae ? Number(((cr3 >> 12n) & 0xfffffn) | ((cr3 & 0xfffn) << 20n)) : Number(cr3 >> 12n);

/**
 * MOV to CR3 of a PV kernel: the value is a machine address. `again`: long work is
 * left, run the instruction again.
 */
export function setCr3(vcpu: XenVcpu, value: bigint): 'done' | 'again' | 'refused' {
  const { mm } = vcpu.domain;
  const rc = begin(mm) ? setKernelRoot(vcpu, rootOf(mm, value)) : AGAIN;
  if (rc !== AGAIN) dropAhead(vcpu);
  end(mm, 0);
  return rc === AGAIN ? 'again' : rc === 0 ? 'done' : 'refused';
}

/**
 * Start of day: the builder's tables are validated and pinned, and become the kernel
 * root of vCPU 0. Returns 0, or the errno that says what is wrong with them.
 */
export function initialTables(domain: XenDomain, root: Mfn): number {
  const { mm } = domain;
  mm.budget = Infinity;
  const rc = getPageAndType(mm, root, rootType(mm));
  if (rc !== 0) return rc;
  const { flags } = mm.frames;
  flags[root] = flags[root]! | FrameFlag.pinned;
  return setKernelRoot(domain.vcpus[0]!, root);
}
