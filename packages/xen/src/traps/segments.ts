/**
 * Segment descriptors as a running vCPU finds them: the guest's part of the
 * GDT, Xen's flat segments after it, and the LDT. (Intel SDM vol. 3, 3.4.5;
 * selectors of arch-x86/xen-x86_64.h.)
 */
import { FLAT_RING3_CS64, FLAT_RING3_SS64 } from '@paravane/abi-xen';
import { type CodeMode, Seg } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readDescriptor } from '../mm/index.js';

/** The descriptor that a selector names, or null: null selector, outside the table, or no table. */
export function descriptor(vcpu: XenVcpu, selector: number): bigint | null {
  if ((selector & 0xfffc) === 0) return null;
  const found = readDescriptor(vcpu, selector);
  return found && (BigInt(found.hi >>> 0) << 32n) | BigInt(found.lo >>> 0);
}

const PRESENT = 1n << 47n;
const CODE_OR_DATA = 1n << 44n;
const CODE = 1n << 43n;
const LONG = 1n << 53n;
const DEFAULT_32 = 1n << 54n;
const WRITABLE = 1n << 41n;
const isRing3 = (value: bigint): boolean => ((value >> 45n) & 3n) === 3n;

export const isUsable = (value: bigint): boolean => (value & PRESENT) !== 0n && (value & CODE_OR_DATA) !== 0n;
export const isCode = (value: bigint): boolean => isUsable(value) && (value & CODE) !== 0n;
export const baseOf = (value: bigint): bigint => ((value >> 16n) & 0xffffffn) | ((value >> 32n) & 0xff000000n);

/** Whether IRET to ring 3 takes these selectors: code and a writable stack, both of ring 3. */
export function canReturnTo(vcpu: XenVcpu, cs: number, ss: number): boolean {
  if (cs !== FLAT_RING3_CS64) {
    const code = descriptor(vcpu, cs);
    if (code === null || !isCode(code) || !isRing3(code)) return false;
    if ((code & LONG) !== 0n && (code & DEFAULT_32) !== 0n) return false;
  }
  if (ss === FLAT_RING3_SS64) return true;
  const stack = descriptor(vcpu, ss);
  return stack !== null && isUsable(stack) && (stack & CODE) === 0n && (stack & WRITABLE) !== 0n && isRing3(stack);
}

/** Mode of code that runs with this CS; 64 where the selector names nothing. */
export function codeModeOf(vcpu: XenVcpu, cs: number): CodeMode {
  if ((cs | 3) === FLAT_RING3_CS64) return 64;
  const value = descriptor(vcpu, cs);
  return value !== null && isCode(value) && (value & LONG) === 0n ? 32 : 64;
}

/**
 * Loads ES, DS, FS, GS or SS. False means #GP (the selector names no usable
 * segment); a null selector is fine for all but SS in 32-bit code.
 */
export function loadSegment(vcpu: XenVcpu, register: number, selector: number): boolean {
  const { core } = vcpu;
  let base = 0n;
  if ((selector & 0xfffc) !== 0) {
    const value = descriptor(vcpu, selector);
    if (value === null || !isUsable(value)) return false;
    base = baseOf(value);
    if (core.mode === 32 && base !== 0n && register !== Seg.fs && register !== Seg.gs) {
      // The core has no base for it; a program must not run on addresses that it did not mean.
      const { domain } = vcpu;
      domain.machine.services.log(
        `${domain.hv.name}: a 32-bit program loaded segment ${selector.toString(16)}, which has a base: it gets a general protection fault`,
      );
      return false;
    }
  } else if (register === Seg.ss && core.mode === 32) {
    return false;
  }
  core.selectors[register] = selector;
  if (register === Seg.fs) core.fsBase = base;
  if (register === Seg.gs) core.gsBase = base;
  return true;
}
