/**
 * Switching a PV64 vCPU between its kernel and its user program: the root of
 * its tables and the GS base in use change, the ring does not.
 */
import type { XenVcpu } from '../domain.js';
import { toggleGuestMode } from '../mm/index.js';

export function switchMode(vcpu: XenVcpu): void {
  const { core } = vcpu;
  const base = core.gsBase;
  core.gsBase = vcpu.gsBaseOther;
  vcpu.gsBaseOther = base;
  toggleGuestMode(vcpu);
}
