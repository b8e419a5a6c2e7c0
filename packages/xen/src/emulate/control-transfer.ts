/**
 * Transfers between code segments that leave the core: IRET, far jumps, calls and
 * returns as the processor does them (Intel SDM vol. 2; vol. 3, 5.8 and 6.12) in
 * ring 3, and between rings 1 and 3 of a 32-bit guest. Its call gates are in `call-gate.ts`.
 */
import { Flag, Gpr, type PrivilegedInstruction, Seg, SegmentRights, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest, writeGuest } from '../guest-memory.js';
import { injectPageFault, injectSegmentFault as raise } from '../traps/exceptions.js';
import {
  CODE_OR_DATA,
  codeSegmentFault,
  cplOf,
  descriptor,
  dropInnerSegments,
  generalFault,
  isCanonical,
  loadSegment,
  type SegmentFault,
  segmentOf,
  setCodeSegment,
} from '../traps/segments.js';
import { throughCallGate } from './call-gate.js';

const PF_PRESENT = 1;
const PF_READ = 4;
const PF_WRITE = 6;
const MASK32 = 0xffffffffn;
const CR0_AM = 0x40000;

const isLong = (vcpu: XenVcpu): boolean => vcpu.core.mode === 64;
const bytesOf = (width: number): number => (width === 64 ? 8 : width === 16 ? 2 : 4);

/** Bits of the stack pointer in use. */
function stackWidth({ core }: XenVcpu): 64 | 32 | 16 {
  if (core.mode === 64) return 64;
  return core.segment(Seg.ss).rights & SegmentRights.big ? 32 : 16;
}
const stackPointer = (vcpu: XenVcpu): bigint => BigInt.asUintN(stackWidth(vcpu), vcpu.core.regs[Gpr.rsp]!);
function setStackPointer(vcpu: XenVcpu, value: bigint): void {
  const { regs } = vcpu.core;
  const width = stackWidth(vcpu);
  const low = BigInt.asUintN(width, value);
  regs[Gpr.rsp] = width === 16 ? (regs[Gpr.rsp]! & ~0xffffn) | low : low;
}
/** Linear address on the stack, or null after #SS was delivered. */
function onStack(vcpu: XenVcpu, offset: bigint, bytes: number, long = isLong(vcpu)): bigint | null {
  const { base, limit, rights } = vcpu.core.segment(Seg.ss);
  const first = Number(offset);
  const last = first + bytes - 1;
  const down = (rights & 4) !== 0;
  const isOn = long
    ? isCanonical(offset) && isCanonical(BigInt.asUintN(64, offset + BigInt(bytes - 1)))
    : down
      ? first > limit && last <= (rights & SegmentRights.big ? 0xffffffff : 0xffff)
      : last <= limit || limit === 0xffffffff;
  if (!isOn) {
    raise(vcpu, { vector: Vector.SS, errorCode: 0 });
    return null;
  }
  return long ? offset : (base + offset) & MASK32;
}

/** Linear addresses have 32 bits outside of 64-bit mode: what goes over their end goes on at 0. */
function pieces(at: bigint, bytes: number, long: boolean): [at: bigint, bytes: number][] {
  const room = Number(MASK32 + 1n - (at & MASK32));
  return long || room >= bytes
    ? [[at, bytes]]
    : [
        [at, room],
        [0n, bytes - room],
      ];
}
/** Whether a word of the stack can be accessed there; else the fault was delivered. */
function isAccessible(vcpu: XenVcpu, at: bigint, bytes: number, access: 'read' | 'write', long: boolean): boolean {
  const { core, domain } = vcpu;
  const isAligned = (at & BigInt(bytes - 1)) === 0n;
  if (!isAligned && core.rflags & Flag.AC && core.cr0 & CR0_AM && cplOf(vcpu) === 3) {
    raise(vcpu, { vector: Vector.AC, errorCode: 0 });
    return false;
  }
  for (const [start, length] of pieces(at, bytes, long)) {
    for (const byte of [start, (start + BigInt(length - 1)) & ~0xfffn]) {
      if (byte < start || domain.mmu.translate(core.space, byte, access) !== null) continue;
      const isPresent = access === 'write' && domain.mmu.translate(core.space, byte, 'read') !== null;
      injectPageFault(vcpu, (access === 'write' ? PF_WRITE : PF_READ) | (isPresent ? PF_PRESENT : 0), byte);
      return false;
    }
  }
  return true;
}

/**
 * Words on the stack from `skip` bytes on, the last one read first; null after the fault was delivered. `selectorLast`:
 * the last one is a selector, of which no more is read.
 */
function pop(
  vcpu: XenVcpu,
  size: number,
  count: number,
  { skip = 0, selectorLast = false }: { skip?: number; selectorLast?: boolean } = {},
): bigint[] | null {
  const long = isLong(vcpu);
  const words: bigint[] = [];
  for (let i = count - 1; i >= 0; i--) {
    const bytes = selectorLast && i === count - 1 ? 2 : size;
    const offset = BigInt.asUintN(stackWidth(vcpu), stackPointer(vcpu) + BigInt(skip + i * size));
    const at = onStack(vcpu, offset, bytes);
    if (at === null || !isAccessible(vcpu, at, bytes, 'read', long)) return null;
    const read = pieces(at, bytes, long).flatMap(([from, length]) => [...(readGuest(vcpu, from, length) ?? [])]);
    words.unshift(read.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n));
  }
  return words;
}

/** Writes words below the stack pointer, the first one lowest; what it is to become, or null after the fault was delivered. */
function pushed(vcpu: XenVcpu, size: number, words: readonly bigint[], long = isLong(vcpu)): bigint | null {
  const width = long ? 64 : stackWidth(vcpu);
  const placeOf = (i: number): bigint =>
    BigInt.asUintN(width, vcpu.core.regs[Gpr.rsp]! - BigInt((words.length - i) * size));
  const places: bigint[] = [];
  for (let i = words.length - 1; i >= 0; i--) {
    const at = onStack(vcpu, placeOf(i), size, long);
    if (at === null || !isAccessible(vcpu, at, size, 'write', long)) return null;
    places.unshift(at);
  }
  words.forEach((word, i) => {
    const bytes = Uint8Array.from({ length: size }, (_, byte) => Number((word >> BigInt(8 * byte)) & 0xffn));
    let done = 0;
    for (const [at, length] of pieces(places[i]!, size, long)) {
      writeGuest(vcpu, at, bytes.subarray(done, done + length));
      done += length;
    }
  });
  return placeOf(0);
}

const isLongCode = (vcpu: XenVcpu, selector: number): boolean =>
  vcpu.domain.is64 && (segmentOf(descriptor(vcpu, selector)!).rights & SegmentRights.long) !== 0;

/** Whether an instruction pointer lies outside the code segment that is about to be entered. */
function isOutside(vcpu: XenVcpu, selector: number, rip: bigint): boolean {
  if (isLongCode(vcpu, selector)) return !isCanonical(rip);
  return (rip & MASK32) > BigInt(segmentOf(descriptor(vcpu, selector)!).limit);
}
function enter(vcpu: XenVcpu, selector: number, rip: bigint): void {
  setCodeSegment(vcpu, selector);
  vcpu.core.rip = isLong(vcpu) ? rip : rip & MASK32;
}

/** To CS:RIP of this ring or an outer one, from a frame of `frame` bytes and `drop` bytes of arguments behind it. */
function returnTo(
  vcpu: XenVcpu,
  size: number,
  [rip, selector]: readonly [bigint, bigint],
  frame: number,
  drop: number,
  outerStack: boolean,
): boolean {
  const cs = Number(selector & 0xffffn);
  const ring = cs & 3;
  const cpl = cplOf(vcpu);
  const refuse = (fault: SegmentFault): false => {
    raise(vcpu, fault);
    return false;
  };
  if ((cs & 0xfffc) === 0) return refuse(generalFault(0));
  if (ring < cpl) return refuse(generalFault(cs));
  const fault = codeSegmentFault(vcpu, cs, ring);
  if (fault) return refuse(fault);
  if (isOutside(vcpu, cs, rip)) return refuse(generalFault(0));
  if (ring === cpl && !outerStack) {
    const sp = stackPointer(vcpu) + BigInt(frame + drop);
    setStackPointer(vcpu, sp);
    enter(vcpu, cs, rip);
    return true;
  }
  const outer = pop(vcpu, size, 2, { skip: frame + drop, selectorLast: true });
  if (!outer) return false;
  const stack = loadSegment(vcpu, Seg.ss, Number(outer[1]! & 0xffffn), ring);
  if (stack) return refuse(stack);
  enter(vcpu, cs, rip);
  setStackPointer(vcpu, outer[0]! + BigInt(ring === cpl ? 0 : drop));
  if (ring !== cpl) dropInnerSegments(vcpu);
  return true;
}

/** IRET that does not go through Xen: IF and IOPL are not the guest's to change, and the event mask stays. */
export function nativeIret(vcpu: XenVcpu, { width }: PrivilegedInstruction): void {
  const { core } = vcpu;
  const size = bytesOf(width);
  const long = isLong(vcpu);
  // Xen's processors are in long mode, where no code goes back to a task.
  if (core.rflags & Flag.NT) return raise(vcpu, generalFault(0));
  const frame = pop(vcpu, size, 3);
  if (!frame) return;
  const [rip, cs, flags] = frame as [bigint, bigint, bigint];
  const kept = Flag.IF | Flag.IOPL | Flag.VIF | Flag.VIP | Flag.VM | (size === 2 ? ~0xffff : 0);
  const rflags = (Number(flags & MASK32) & ~kept) | (core.rflags & kept) | 2;
  // 64-bit code always pops SS and RSP.
  if (!returnTo(vcpu, size, [rip, cs], 3 * size, 0, long)) return;
  core.rflags = rflags;
}

/** Far jump, call or return. */
export function farTransfer(
  vcpu: XenVcpu,
  { opcode, modrm, bytes }: { opcode: number; modrm: number; bytes: Uint8Array },
  instruction: PrivilegedInstruction,
): void {
  const size = bytesOf(instruction.width);
  if (opcode === 0xcb || opcode === 0xca) {
    const drop = opcode === 0xca ? bytes[bytes.length - 2]! | (bytes[bytes.length - 1]! << 8) : 0;
    const frame = pop(vcpu, size, 2, { selectorLast: true });
    if (frame) returnTo(vcpu, size, frame as [bigint, bigint], 2 * size, drop, false);
    return;
  }
  const isCall = opcode === 0x9a || (opcode === 0xff && ((modrm >> 3) & 7) === 3);
  const { selector, offset } = instruction;
  const { core } = vcpu;
  const next = core.rip + BigInt(instruction.length);
  const value = descriptor(vcpu, selector);
  if (value !== null && !(value & CODE_OR_DATA) && !vcpu.domain.is64)
    return throughCallGate(vcpu, { gate: selector, value, isCall, next });
  const cpl = cplOf(vcpu);
  const fault = (selector & 3) > cpl ? generalFault(selector) : codeSegmentFault(vcpu, selector, cpl);
  if (fault) return raise(vcpu, fault);
  // The return address is written before the target is looked at, as on processors.
  // A call into 64-bit code uses the stack as that does.
  const frame = [next, BigInt(core.selectors[Seg.cs]!)];
  const sp = isCall ? pushed(vcpu, size, frame, isLong(vcpu) || isLongCode(vcpu, selector)) : null;
  if (isCall && sp === null) return;
  if (isOutside(vcpu, selector, offset)) return raise(vcpu, generalFault(0));
  enter(vcpu, (selector & 0xfffc) | cpl, offset);
  if (sp !== null) setStackPointer(vcpu, sp);
}
