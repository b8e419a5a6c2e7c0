/**
 * Segment registers of a 32-bit PV guest: loads with the processor's checks, by
 * the descriptors of the guest's own tables (Intel SDM vol. 3, 3.4 and 5.5).
 *
 * The core has bases for FS and GS only, and no limits. A guest that loads a
 * code, stack, data or extra segment with a base, or 16-bit code, is ended with
 * that reason, so that it never runs on addresses it did not mean.
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

function unsupported(vcpu: XenVcpu, register: number, selector: number, what: string): void {
  const name = `${NAMES[register]} = ${selector.toString(16)}`;
  vcpu.domain.crash(`the guest loaded ${name}, ${what}; this core runs only flat 32-bit ones there`, vcpu);
}

/** What is wrong with code of `ring` behind this selector, or null. */
export function codeSegmentFault(vcpu: XenVcpu, selector: number, ring: number): SegmentFault | null {
  if ((selector & 0xfffc) === 0) return general(0);
  const value = descriptor(vcpu, selector);
  if (value === null || !(value & CODE_OR_DATA) || !(value & CODE)) return general(selector);
  if (value & CONFORMING ? dplOf(value) > ring : dplOf(value) !== ring) return general(selector);
  return value & PRESENT ? null : { vector: Vector.NP, errorCode: selector & 0xfffc };
}

/** Loads a CS that was found good. */
export function setCodeSegment(vcpu: XenVcpu, selector: number): void {
  const value = descriptor(vcpu, selector);
  if (value !== null && baseOf(value) !== 0n) unsupported(vcpu, Seg.cs, selector, 'which has a base');
  if (value !== null && !(value & LARGE)) unsupported(vcpu, Seg.cs, selector, '16-bit code');
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
  }
  core.selectors[register] = selector;
  if (register === Seg.fs) core.fsBase = base;
  else if (register === Seg.gs) core.gsBase = base;
  else if (base !== 0n) unsupported(vcpu, register, selector, 'which has a base');
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
