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

const PF_READ = 4;
const PF_WRITE = 6;
const MASK32 = 0xffffffffn;

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
      : last <= limit;
  if (!isOn) {
    raise(vcpu, { vector: Vector.SS, errorCode: 0 });
    return null;
  }
  return long ? offset : (base + offset) & MASK32;
}

/** Where a page fault of words on the stack is: the first byte that can't be accessed of one of them, in this order. */
function faultAddress(
  { core, domain }: XenVcpu,
  words: readonly bigint[],
  size: number,
  access: 'read' | 'write',
): bigint {
  for (const word of words) {
    for (const at of [word, (word + BigInt(size - 1)) & ~0xfffn]) {
      if (at >= word && domain.mmu.translate(core.space, at, access) === null) return at;
    }
  }
  return words[0]!;
}

/** Words on the stack from `skip` bytes on; null after the fault was delivered. */
function pop(vcpu: XenVcpu, size: number, count: number, skip = 0): bigint[] | null {
  const at = onStack(vcpu, BigInt.asUintN(stackWidth(vcpu), stackPointer(vcpu) + BigInt(skip)), size * count);
  if (at === null) return null;
  const bytes = readGuest(vcpu, at, size * count);
  if (!bytes) {
    const words = Array.from({ length: count }, (_, i) => at + BigInt(i * size));
    injectPageFault(vcpu, PF_READ, faultAddress(vcpu, words, size, 'read'));
    return null;
  }
  return Array.from({ length: count }, (_, i) => {
    let value = 0n;
    for (let byte = size - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(bytes[i * size + byte]!);
    return value;
  });
}

/** Writes words below the stack pointer, the last one first; what it is to become, or null after the fault was delivered. */
function pushed(vcpu: XenVcpu, size: number, words: readonly bigint[], long = isLong(vcpu)): bigint | null {
  const bytes = Uint8Array.from(
    words.flatMap((word) => Array.from({ length: size }, (_, byte) => Number((word >> BigInt(8 * byte)) & 0xffn))),
  );
  const width = long ? 64 : stackWidth(vcpu);
  const sp = BigInt.asUintN(width, vcpu.core.regs[Gpr.rsp]! - BigInt(bytes.length));
  const at = onStack(vcpu, sp, bytes.length, long);
  if (at === null) return null;
  if (!writeGuest(vcpu, at, bytes)) {
    const fromAbove = words.map((_, i) => at + BigInt((words.length - 1 - i) * size));
    injectPageFault(vcpu, PF_WRITE, faultAddress(vcpu, fromAbove, size, 'write'));
    return null;
  }
  return sp;
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
  const outer = pop(vcpu, size, 2, frame + drop);
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
    const frame = pop(vcpu, size, 2);
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
