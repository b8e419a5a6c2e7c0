/**
 * Transfers between code segments, and loads of the others, by a 32-bit PV guest:
 * IRET, far jumps, calls and returns as the processor does them between rings 1
 * and 3 (Intel SDM vol. 2; vol. 3, 5.8 and 6.12), and call gates as Xen emulates
 * them (arch/x86/pv/emul-gate-op.c).
 */
import { Flag, Gpr, type PrivilegedInstruction, Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { readGuest, writeGuest } from '../guest-memory.js';
import {
  codeSegmentFault,
  cplOf,
  loadCompatSegment,
  loadDataSegments,
  type SegmentFault,
  setCodeSegment,
} from '../traps/compat-segments.js';
import { injectException, injectPageFault } from '../traps/exceptions.js';
import { descriptor } from '../traps/segments.js';

const PF_READ = 4;
const PF_WRITE = 6;
const MASK32 = 0xffffffffn;
const PRESENT = 1n << 47n;
const CODE_OR_DATA = 1n << 44n;
const CALL_GATE = 0xcn;

/** RIP is where it shall be, or the fault was delivered; `next` goes on behind the instruction. */
export type ControlOutcome = 'next' | 'stay';

function raise(vcpu: XenVcpu, { vector, errorCode }: SegmentFault): ControlOutcome {
  injectException(vcpu, vector, errorCode);
  return 'stay';
}
const general = (selector: number): SegmentFault => ({ vector: Vector.GP, errorCode: selector & 0xfffc });
const stackPointer = (vcpu: XenVcpu): bigint => vcpu.core.regs[Gpr.rsp]! & MASK32;

/** Words on the stack from `offset` bytes on; null after the page fault was delivered. */
function pop(vcpu: XenVcpu, size: number, count: number, offset = 0): number[] | null {
  const at = (stackPointer(vcpu) + BigInt(offset)) & MASK32;
  const bytes = readGuest(vcpu, at, size * count);
  if (!bytes) {
    injectPageFault(vcpu, PF_READ, at);
    return null;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: count }, (_, i) =>
    size === 4 ? view.getUint32(i * 4, true) : view.getUint16(i * 2, true),
  );
}

/** Pushes words, the last one first; false after the page fault was delivered. */
function push(vcpu: XenVcpu, size: number, words: readonly number[]): boolean {
  const bytes = new Uint8Array(size * words.length);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => (size === 4 ? view.setUint32(i * 4, word, true) : view.setUint16(i * 2, word, true)));
  const to = (stackPointer(vcpu) - BigInt(bytes.length)) & MASK32;
  if (!writeGuest(vcpu, to, bytes)) {
    injectPageFault(vcpu, PF_WRITE, to);
    return false;
  }
  vcpu.core.regs[Gpr.rsp] = to;
  return true;
}

/** To CS:EIP of this ring or an outer one, from a frame of `words` words and `drop` bytes of arguments behind it. */
function returnTo(vcpu: XenVcpu, size: number, cs: number, eip: number, frame: number, drop: number): boolean {
  const { core } = vcpu;
  const ring = cs & 3;
  const cpl = cplOf(vcpu);
  const refuse = (fault: SegmentFault): false => {
    raise(vcpu, fault);
    return false;
  };
  if ((cs & 0xfffc) === 0) return refuse(general(0));
  if (ring < cpl) return refuse(general(cs));
  const fault = codeSegmentFault(vcpu, cs, ring);
  if (fault) return refuse(fault);
  if (ring === cpl) {
    core.regs[Gpr.rsp] = (stackPointer(vcpu) + BigInt(frame + drop)) & MASK32;
  } else {
    const outer = pop(vcpu, size, 2, frame + drop);
    if (!outer) return false;
    const stack = loadCompatSegment(vcpu, Seg.ss, outer[1]! & 0xffff, ring);
    if (stack) return refuse(stack);
    core.regs[Gpr.rsp] = BigInt(outer[0]! + (ring === 3 ? drop : 0)) & MASK32;
  }
  setCodeSegment(vcpu, cs);
  core.rip = BigInt(eip);
  if (ring !== cpl) loadDataSegments(vcpu);
  return true;
}

/** IRET of ring 1 or 3: IF and IOPL are not the guest's to change. */
export function compatNativeIret(vcpu: XenVcpu, { width }: PrivilegedInstruction): ControlOutcome {
  const { core } = vcpu;
  const size = width === 16 ? 2 : 4;
  if (core.rflags & Flag.NT) return raise(vcpu, { vector: Vector.TS, errorCode: 0 });
  const frame = pop(vcpu, size, 3);
  if (!frame) return 'stay';
  const [eip, cs, eflags] = frame as [number, number, number];
  const kept = Flag.IF | Flag.IOPL | Flag.VIF | Flag.VIP | Flag.VM | (size === 2 ? ~0xffff : 0);
  const rflags = (eflags & ~kept) | (core.rflags & kept) | 2;
  if (returnTo(vcpu, size, cs & 0xffff, eip, 3 * size, 0)) core.rflags = rflags;
  return 'stay';
}

/** Far jump, call or return. */
export function compatFarTransfer(
  vcpu: XenVcpu,
  { opcode, modrm, bytes }: { opcode: number; modrm: number; bytes: Uint8Array },
  instruction: PrivilegedInstruction,
): ControlOutcome {
  const size = instruction.width === 16 ? 2 : 4;
  if (opcode === 0xcb || opcode === 0xca) {
    const drop = opcode === 0xca ? bytes[bytes.length - 2]! | (bytes[bytes.length - 1]! << 8) : 0;
    const frame = pop(vcpu, size, 2);
    if (frame) returnTo(vcpu, size, frame[1]! & 0xffff, frame[0]!, 2 * size, drop);
    return 'stay';
  }
  const isCall = opcode === 0x9a || (opcode === 0xff && ((modrm >> 3) & 7) === 3);
  const { selector, offset } = instruction;
  const { core } = vcpu;
  const next = (Number(core.rip & MASK32) + instruction.length) >>> 0;
  const value = (selector & 0xfffc) === 0 ? null : descriptor(vcpu, selector);
  if (value !== null && !(value & CODE_OR_DATA)) return throughGate(vcpu, selector, value, isCall, next);
  const cpl = cplOf(vcpu);
  const fault = (selector & 3) > cpl ? general(selector) : codeSegmentFault(vcpu, selector, cpl);
  if (fault) return raise(vcpu, fault);
  if (isCall && !push(vcpu, size, [next, core.selectors[Seg.cs]!])) return 'stay';
  setCodeSegment(vcpu, (selector & 0xfffc) | cpl);
  core.rip = offset & MASK32;
  return 'stay';
}

/** A call gate, whose DPL Xen has taken away: it leads to ring 1, with a stack switch from ring 3. */
function throughGate(vcpu: XenVcpu, gate: number, value: bigint, isCall: boolean, next: number): ControlOutcome {
  const { core } = vcpu;
  const { regs, selectors } = core;
  if (((value >> 40n) & 0xfn) !== CALL_GATE) return raise(vcpu, general(gate));
  if (!(value & PRESENT)) return raise(vcpu, { vector: Vector.NP, errorCode: gate & 0xfffc });
  const target = Number((value >> 16n) & 0xffffn);
  const offset = (value & 0xffffn) | ((value >> 32n) & 0xffff0000n);
  const cpl = cplOf(vcpu);
  const ring = isCall ? Math.min(cpl, 1) : cpl;
  const fault = codeSegmentFault(vcpu, target, ring);
  if (fault) return raise(vcpu, fault);
  const frame = [next, selectors[Seg.cs]!];
  if (ring !== cpl) {
    const count = Number((value >> 32n) & 31n);
    const parameters = count === 0 ? [] : pop(vcpu, 4, count);
    if (!parameters) return 'stay';
    frame.push(...parameters, Number(stackPointer(vcpu)), selectors[Seg.ss]!);
    setCodeSegment(vcpu, (target & 0xfffc) | ring);
    selectors[Seg.ss] = vcpu.kernelSs;
    regs[Gpr.rsp] = vcpu.kernelSp & MASK32;
  } else {
    setCodeSegment(vcpu, (target & 0xfffc) | ring);
  }
  core.rip = offset;
  if (isCall && !push(vcpu, 4, frame)) return 'stay';
  return 'stay';
}

/** MOV, POP and the LDS family into a segment register; `next` when it is loaded. */
export function compatSegmentLoad(vcpu: XenVcpu, register: number, selector: number): ControlOutcome {
  const fault = loadCompatSegment(vcpu, register, selector);
  return fault ? raise(vcpu, fault) : 'next';
}
