/**
 * Access to guest memory by the guest's own addresses, as its hypercall
 * arguments name it. What is read is a claim; what can't be accessed as the
 * guest itself could is refused (the caller answers −EFAULT).
 */
import {
  type Abi,
  type FieldMap,
  HYPERVISOR_VIRT_END,
  HYPERVISOR_VIRT_START,
  type Struct,
  type StructInput,
  type StructValue,
} from '@paravane/abi-xen';
import type { XenVcpu } from './domain.js';

const outsideHypervisor = (va: bigint): boolean => va < HYPERVISOR_VIRT_START || va >= HYPERVISOR_VIRT_END;

export const abiOf = (vcpu: XenVcpu): Abi => (vcpu.domain.is64 ? 64 : 32);

export function readGuest(vcpu: XenVcpu, va: bigint, length: number): Uint8Array | null {
  if (length === 0) return new Uint8Array(0);
  return outsideHypervisor(va) ? vcpu.domain.mmu.readVirtual(vcpu.core.space, va, length) : null;
}

export function writeGuest(vcpu: XenVcpu, va: bigint, bytes: Uint8Array): boolean {
  if (bytes.length === 0) return true;
  return outsideHypervisor(va) && vcpu.domain.mmu.writeVirtual(vcpu.core.space, va, bytes);
}

export function readGuestStruct<M extends FieldMap>(
  vcpu: XenVcpu,
  layout: Struct<M>,
  va: bigint,
): StructValue<M> | null {
  const abi = abiOf(vcpu);
  const bytes = readGuest(vcpu, va, layout.size(abi));
  return bytes && layout.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, abi);
}

/** Writes the given members of a structure and keeps the others. */
export function writeGuestStruct<M extends FieldMap>(
  vcpu: XenVcpu,
  layout: Struct<M>,
  va: bigint,
  value: StructInput<M>,
): boolean {
  const abi = abiOf(vcpu);
  const bytes = readGuest(vcpu, va, layout.size(abi));
  if (!bytes) return false;
  layout.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, value, abi);
  return writeGuest(vcpu, va, bytes);
}

/** A `uint64_t` at a guest address, or null. */
export function readGuestU64(vcpu: XenVcpu, va: bigint): bigint | null {
  const bytes = readGuest(vcpu, va, 8);
  return bytes && new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
}

export function readGuestU32(vcpu: XenVcpu, va: bigint): number | null {
  const bytes = readGuest(vcpu, va, 4);
  return bytes && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

/** The low 32 bits of an argument, as an `unsigned int` parameter takes it. */
export const asU32 = (value: bigint): number => Number(BigInt.asUintN(32, value));
/** The same as an `int`. */
export const asS32 = (value: bigint): number => Number(BigInt.asIntN(32, value));
