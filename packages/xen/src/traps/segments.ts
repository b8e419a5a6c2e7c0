/**
 * Segment registers: loads with the processor's checks, by the descriptors of
 * the guest's own tables and of Xen's flat segments (Intel SDM vol. 3, 3.4 and
 * 5.5; selectors of arch-x86/xen-x86_64.h). All of a 64-bit guest runs in ring 3.
 *
 * While 64-bit code runs, CS and SS have no hidden part that counts: the core's
 * is brought up to date where 32-bit code is entered.
 */
import { FLAT_RING3_CS64, FLAT_RING3_SS64 } from '@paravane/abi-xen';
import { Seg, type Segment, SegmentRights, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { markAccessed, missingDescriptor, readDescriptor } from '../mm/index.js';
import { setRing } from './mode.js';

export interface SegmentFault {
  vector: number;
  errorCode: number;
  /** Of #PF: the descriptor's, in a page of the LDT that is not there. */
  address?: bigint;
}

const PRESENT = 1n << 47n;
export const CODE_OR_DATA = 1n << 44n;
const CODE = 1n << 43n;
/** Of code; of data it means that the segment grows down. */
const CONFORMING = 1n << 42n;
/** Of data; of code it means that it may be read. */
const WRITABLE = 1n << 41n;
const LONG = 1n << 53n;
const BIG = 1n << 54n;
/** In the upper word. */
const GRANULAR = 1 << 23;
const NOTHING: Segment = { base: 0n, limit: 0, rights: 0 };

export const dplOf = (value: bigint): number => Number((value >> 45n) & 3n);
export const isUsable = (value: bigint): boolean => (value & PRESENT) !== 0n && (value & CODE_OR_DATA) !== 0n;
export const cplOf = (vcpu: XenVcpu): number => vcpu.core.selectors[Seg.cs]! & 3;
export const generalFault = (selector: number): SegmentFault => ({
  vector: Vector.GP,
  errorCode: selector & 0xfffc,
});

/** The hidden part of a register that loads this descriptor. */
export function segmentOf(value: bigint): Segment {
  const lo = Number(BigInt.asUintN(32, value));
  const hi = Number(BigInt.asUintN(32, value >> 32n));
  const limit = (lo & 0xffff) | (hi & 0xf0000);
  const base = ((lo >>> 16) | ((hi & 0xff) << 16) | (hi & 0xff000000)) >>> 0;
  return {
    base: base === 0 ? 0n : BigInt(base),
    limit: hi & GRANULAR ? limit * 4096 + 4095 : limit,
    rights: (hi >>> 8) & 0xf0ff,
  };
}

export const isCanonical = (address: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

/** The fault of a selector whose descriptor lies in a page of the LDT that is not there, or null. */
export function absentPage(vcpu: XenVcpu, selector: number): SegmentFault | null {
  const address = missingDescriptor(vcpu, selector);
  if (address === null) return null;
  return isCanonical(address) ? { vector: Vector.PF, errorCode: 0, address } : generalFault(selector);
}
/** The fault of a selector that names no descriptor. */
const absent = (vcpu: XenVcpu, selector: number): SegmentFault => absentPage(vcpu, selector) ?? generalFault(selector);

/** The descriptor that a selector names, or null: null selector, outside the table, or no table. */
export function descriptor(vcpu: XenVcpu, selector: number): bigint | null {
  if ((selector & 0xfffc) === 0) return null;
  const found = readDescriptor(vcpu, selector);
  if (found === null) return null;
  const known = joined[(selector >> 3) % joined.length]!;
  const lo = found.lo >>> 0;
  const hi = found.hi >>> 0;
  if (known.lo !== lo || known.hi !== hi) Object.assign(known, { lo, hi, value: (BigInt(hi) << 32n) | BigInt(lo) });
  return known.value;
}
/** The numbers that two words make, of late: making one takes longer than the rest of `descriptor`. */
const joined = Array.from({ length: 16 }, () => ({ lo: 0, hi: 0, value: 0n }));

/** What is wrong with code of `ring` behind this selector, or null. */
export function codeSegmentFault(vcpu: XenVcpu, selector: number, ring: number): SegmentFault | null {
  if ((selector & 0xfffc) === 0) return generalFault(0);
  const value = descriptor(vcpu, selector);
  if (value === null) return absent(vcpu, selector);
  if (!(value & CODE_OR_DATA) || !(value & CODE)) return generalFault(selector);
  if (value & CONFORMING ? dplOf(value) > ring : dplOf(value) !== ring) return generalFault(selector);
  if ((value & (LONG | BIG)) === (LONG | BIG)) return generalFault(selector);
  return value & PRESENT ? null : { vector: Vector.NP, errorCode: selector & 0xfffc };
}

/** The descriptor of a selector that a register takes. */
function taken(vcpu: XenVcpu, selector: number): bigint | null {
  markAccessed(vcpu, selector);
  return descriptor(vcpu, selector);
}

/** Loads a CS that was found good, and goes to its mode and ring. */
export function setCodeSegment(vcpu: XenVcpu, selector: number): void {
  const { core } = vcpu;
  const value = selector === FLAT_RING3_CS64 ? null : taken(vcpu, selector);
  const segment = value === null ? NOTHING : segmentOf(value);
  if (vcpu.domain.is64 && (value === null || segment.rights & SegmentRights.long)) {
    core.selectors[Seg.cs] = selector;
    core.mode = 64;
    return;
  }
  const wasLong = core.mode === 64;
  core.setSegment(Seg.cs, selector, segment);
  core.mode = 32;
  if (wasLong) setStackSegment(vcpu, core.selectors[Seg.ss]!);
  if (!vcpu.domain.is64) setRing(vcpu, selector);
}

/** What IRET to an outer ring does to null selectors of data segments: their RPL goes. */
export function dropNullSelectors({ core: { selectors } }: XenVcpu): void {
  for (const register of [Seg.es, Seg.ds, Seg.fs, Seg.gs]) if (selectors[register]! <= 3) selectors[register] = 0;
}

/** Loads SS without a question, as the hypervisor does. */
export function setStackSegment(vcpu: XenVcpu, selector: number): void {
  const value = taken(vcpu, selector);
  vcpu.core.setSegment(Seg.ss, selector, value === null ? NOTHING : segmentOf(value));
}

/** What is wrong with a stack of `ring` in this segment, or null. */
export function stackSegmentFault(vcpu: XenVcpu, selector: number, ring: number): SegmentFault | null {
  if ((selector & 0xfffc) === 0) return generalFault(0);
  const value = descriptor(vcpu, selector);
  if (value === null) return absent(vcpu, selector);
  if (!(value & CODE_OR_DATA)) return generalFault(selector);
  if ((selector & 3) !== ring || dplOf(value) !== ring || value & CODE || !(value & WRITABLE)) {
    return generalFault(selector);
  }
  return value & PRESENT ? null : { vector: Vector.SS, errorCode: selector & 0xfffc };
}

/** What is wrong with this segment in DS, ES, FS or GS of `ring`, or null. */
export function dataSegmentFault(vcpu: XenVcpu, selector: number, ring: number): SegmentFault | null {
  if ((selector & 0xfffc) === 0) return null;
  const value = descriptor(vcpu, selector);
  if (value === null) return absent(vcpu, selector);
  if (!(value & CODE_OR_DATA)) return generalFault(selector);
  const isCode = (value & CODE) !== 0n;
  if (isCode && !(value & WRITABLE)) return generalFault(selector);
  const conforming = isCode && (value & CONFORMING) !== 0n;
  if (!conforming && dplOf(value) < Math.max(ring, selector & 3)) return generalFault(selector);
  return value & PRESENT ? null : { vector: Vector.NP, errorCode: selector & 0xfffc };
}

/** Loads ES, SS, DS, FS or GS as MOV does in the ring given; the fault that it has, or null. */
export function loadSegment(
  vcpu: XenVcpu,
  register: number,
  selector: number,
  ring = cplOf(vcpu),
): SegmentFault | null {
  const { core } = vcpu;
  const fault = register === Seg.ss ? stackSegmentFault(vcpu, selector, ring) : dataSegmentFault(vcpu, selector, ring);
  if (fault) return fault;
  const value = taken(vcpu, selector);
  core.setSegment(register, selector, value === null ? NOTHING : segmentOf(value));
  return null;
}

/** After a return to an outer ring: data segments that the new ring has no right to become null. */
export function dropInnerSegments(vcpu: XenVcpu): void {
  const { core } = vcpu;
  for (const register of [Seg.es, Seg.ds, Seg.fs, Seg.gs]) {
    const selector = core.selectors[register]!;
    if ((selector & 0xfffc) === 0) continue;
    const value = descriptor(vcpu, selector);
    const conforming = value !== null && (value & CODE) !== 0n && (value & CONFORMING) !== 0n;
    if (value !== null && (conforming || dplOf(value) >= cplOf(vcpu))) continue;
    core.setSegment(register, 0, NOTHING);
  }
}

/** What is wrong with an IRET to code of `ring` at CS:RIP with this stack, or null; without one, SS is not looked at. */
export function returnFault(
  vcpu: XenVcpu,
  cs: number,
  ss: number | null,
  ring: number,
  rip: bigint,
): SegmentFault | null {
  const flatCode = vcpu.domain.is64 && cs === FLAT_RING3_CS64;
  const fault = flatCode ? null : codeSegmentFault(vcpu, cs, ring);
  if (fault !== null) return fault;
  const flatStack = vcpu.domain.is64 && ss === FLAT_RING3_SS64;
  const stack = ss === null || flatStack ? null : stackSegmentFault(vcpu, ss, ring);
  if (stack !== null) return stack;
  const { limit, rights } = segmentOf(flatCode ? LONG : descriptor(vcpu, cs)!);
  const isLong = vcpu.domain.is64 && (rights & SegmentRights.long) !== 0;
  return (isLong ? isCanonical(rip) : BigInt.asUintN(32, rip) <= BigInt(limit)) ? null : generalFault(0);
}
