/**
 * Access to guest memory by the guest's own addresses, as its hypercall
 * arguments name it. What is read is a claim; what can't be accessed as the
 * guest itself could is refused (the caller answers −EFAULT).
 */
import type { Abi, FieldMap, Struct, StructInput, StructValue } from '@paravane/abi-xen';
import type { XenVcpu } from './domain.js';
import { readGuest, viewGuest, writeGuest } from './mm/guest.js';

export { addressOk, handleOk, readGuest, readGuestU64, readGuestWord, viewGuest, writeGuest } from './mm/guest.js';

export const abiOf = (vcpu: XenVcpu): Abi => (vcpu.domain.is64 ? 64 : 32);

export function readGuestStruct<M extends FieldMap>(
  vcpu: XenVcpu,
  layout: Struct<M>,
  va: bigint,
): StructValue<M> | null {
  const abi = abiOf(vcpu);
  const view = viewGuest(vcpu, va, layout.size(abi));
  return view && layout.read(view, 0, abi);
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

export function readGuestU32(vcpu: XenVcpu, va: bigint): number | null {
  return viewGuest(vcpu, va, 4)?.getUint32(0, true) ?? null;
}

/** The low 32 bits of an argument, as an `unsigned int` parameter takes it. */
export const asU32 = (value: bigint): number => Number(BigInt.asUintN(32, value));
/** The same as an `int`. */
export const asS32 = (value: bigint): number => Number(BigInt.asIntN(32, value));
