/**
 * What the frames of 64-bit kernels (`bounce.ts`) and of 32-bit ones (`compat.ts`) share: the event mask that they
 * save, and the mark of a frame without an error code.
 */
import { VCPU_INFO_UPCALL_MASK } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import type { XenVcpu } from '../domain.js';

export const NO_ERROR_CODE = -1;

const maskAddress = (vcpu: XenVcpu): Maddr => (vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr;
export const upcallMask = (vcpu: XenVcpu): number => vcpu.domain.mmu.readU8(maskAddress(vcpu));
export const setUpcallMask = (vcpu: XenVcpu, value: number): void => vcpu.domain.mmu.writeU8(maskAddress(vcpu), value);
