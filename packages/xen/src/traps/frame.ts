/**
 * What the frames of 64-bit kernels (`bounce.ts`) and of 32-bit ones (`compat.ts`) share: the event mask that they
 * save, what a page fault shows, and the mark of a frame without an error code.
 */
import { VCPU_INFO_CR2, VCPU_INFO_UPCALL_MASK } from '@paravane/abi-xen';
import { PfError } from '@paravane/mmu';
import type { Maddr } from '@paravane/types';
import type { XenVcpu } from '../domain.js';

export const NO_ERROR_CODE = -1;

const maskAddress = (vcpu: XenVcpu): Maddr => (vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr;
export const upcallMask = (vcpu: XenVcpu): number => vcpu.domain.mmu.readU8(maskAddress(vcpu));
export const setUpcallMask = (vcpu: XenVcpu, value: number): void => vcpu.domain.mmu.writeU8(maskAddress(vcpu), value);

/** Sets the virtual CR2, which vcpu_info shows. */
export function setCr2(vcpu: XenVcpu, address: bigint): void {
  const { mmu, is64 } = vcpu.domain;
  if (is64) mmu.writeU64((vcpu.vcpuInfo + VCPU_INFO_CR2[64]) as Maddr, BigInt.asUintN(64, address));
  else mmu.writeU32((vcpu.vcpuInfo + VCPU_INFO_CR2[32]) as Maddr, Number(address & 0xffffffffn));
  vcpu.cr2 = address;
}

/** The error code of a page fault as the guest sees it: whether it came from its kernel or not is what U says. */
export const pageFaultCode = ({ guestKernel }: XenVcpu, errorCode: number): number =>
  (errorCode & ~PfError.user) | (guestKernel ? 0 : PfError.user);
