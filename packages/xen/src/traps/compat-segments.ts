/**
 * Segment registers of a 32-bit PV guest: loads with the processor's checks, by
 * the descriptors of the guest's own tables (Intel SDM vol. 3, 3.4 and 5.5).
 *
 * The core has bases for FS and GS only, and no limits. A kernel that loads a
 * code, stack, data or extra segment with a base, or 16-bit code, is ended with
 * that reason, and a program gets #GP and a line in the log, so that neither ever
 * runs on addresses it did not mean.
 */
import { Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { setRing } from './mode.js';
import { baseOf, descriptor } from './segments.js';

export interface SegmentFault {
  vector: number;
  errorCode: number;
}

const PRESENT = 1n << 47n;
const CODE_OR_DATA = 1n << 44n;
const CODE = 1n << 43n;
/** Of code; of data it means that the segment grows down. */
const CONFORMING = 1n << 42n;
/** Of data; of code it means that it may be read. */
const WRITABLE = 1n << 41n;
const LARGE = 1n << 54n;
const NAMES = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];

const dplOf = (value: bigint): number => Number((value >> 45n) & 3n);
export const cplOf = (vcpu: XenVcpu): number => vcpu.core.selectors[Seg.cs]! & 3;
const general = (selector: number): SegmentFault => ({ vector: Vector.GP, errorCode: selector & 0xfffc });

/** Ends the domain of a kernel; for a program, the fault that it gets instead. */
function unsupported(vcpu: XenVcpu, register: number, selector: number, what: string, ring: number): SegmentFault {
  const { domain } = vcpu;
  const name = `${NAMES[register]} = ${selector.toString(16)}`;
  const reason = `the guest loaded ${name}, ${what}; this core runs only flat 32-bit ones there`;
  if (ring === 3)
    domain.machine.services.log(`${domain.hv.name}: ${reason}: its program gets a general protection fault`);
  else domain.crash(reason, vcpu);
  return general(selector);
}

/** What is wrong with code of `ring` behind this selector, or null. */
export function codeSegmentFault(vcpu: XenVcpu, selector: number, ring: number): SegmentFault | null {
  if ((selector & 0xfffc) === 0) return general(0);
  const value = descriptor(vcpu, selector);
  if (value === null || !(value & CODE_OR_DATA) || !(value & CODE)) return general(selector);
  if (value & CONFORMING ? dplOf(value) > ring : dplOf(value) !== ring) return general(selector);
  if (!(value & PRESENT)) return { vector: Vector.NP, errorCode: selector & 0xfffc };
  if (baseOf(value) !== 0n) return unsupported(vcpu, Seg.cs, selector, 'which has a base', ring);
  return value & LARGE ? null : unsupported(vcpu, Seg.cs, selector, 'which is 16-bit code', ring);
}

/** Loads a CS that was found good. */
export function setCodeSegment(vcpu: XenVcpu, selector: number): void {
  vcpu.core.selectors[Seg.cs] = selector;
  vcpu.core.mode = 32;
  setRing(vcpu, selector);
}

/** Loads ES, SS, DS, FS or GS as MOV does in the ring given; the fault that it has, or null. */
export function loadCompatSegment(
  vcpu: XenVcpu,
  register: number,
  selector: number,
  ring = cplOf(vcpu),
): SegmentFault | null {
  const { core } = vcpu;
  let base = 0n;
  if ((selector & 0xfffc) === 0) {
    if (register === Seg.ss) return general(0);
  } else {
    const value = descriptor(vcpu, selector);
    if (value === null || !(value & CODE_OR_DATA)) return general(selector);
    const isCode = (value & CODE) !== 0n;
    const dpl = dplOf(value);
    if (register === Seg.ss) {
      if ((selector & 3) !== ring || dpl !== ring || isCode || !(value & WRITABLE)) return general(selector);
      if (!(value & PRESENT)) return { vector: Vector.SS, errorCode: selector & 0xfffc };
    } else {
      if (isCode && !(value & WRITABLE)) return general(selector);
      const conforming = isCode && (value & CONFORMING) !== 0n;
      if (!conforming && dpl < Math.max(ring, selector & 3)) return general(selector);
      if (!(value & PRESENT)) return { vector: Vector.NP, errorCode: selector & 0xfffc };
    }
    base = baseOf(value);
    const flat = register === Seg.fs || register === Seg.gs || base === 0n;
    if (!flat) return unsupported(vcpu, register, selector, 'which has a base', ring);
  }
  core.selectors[register] = selector;
  if (register === Seg.fs) core.fsBase = base;
  if (register === Seg.gs) core.gsBase = base;
  return null;
}

/** After a return to an outer ring: data segments that the new ring has no right to become null. */
export function loadDataSegments(vcpu: XenVcpu): void {
  const { core } = vcpu;
  for (const register of [Seg.es, Seg.ds, Seg.fs, Seg.gs]) {
    const selector = core.selectors[register]!;
    if ((selector & 0xfffc) === 0) continue;
    const value = descriptor(vcpu, selector);
    const conforming = value !== null && (value & CODE) !== 0n && (value & CONFORMING) !== 0n;
    if (value !== null && (conforming || dplOf(value) >= cplOf(vcpu))) continue;
    core.selectors[register] = 0;
    if (register === Seg.fs) core.fsBase = 0n;
    if (register === Seg.gs) core.gsBase = 0n;
  }
}
