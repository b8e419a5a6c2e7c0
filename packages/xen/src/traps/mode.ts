/**
 * Switching a vCPU between its kernel and its user program. Of a PV64 one the
 * root of its tables and the GS base in use change, the ring does not; of a
 * 32-bit one the ring does, and with it the rights to the pages.
 */
import type { XenVcpu } from '../domain.js';

export function switchMode(vcpu: XenVcpu): void {
  const { core } = vcpu;
  const base = core.gsBase;
  core.gsBase = vcpu.gsBaseOther;
  vcpu.gsBaseOther = base;
  vcpu.guestKernel = !vcpu.guestKernel;
}

/** The rights to pages of a 32-bit guest with this CS: a program's in ring 3 only. */
export function setRing(vcpu: XenVcpu, cs: number): void {
  vcpu.guestKernel = (cs & 3) !== 3;
}
