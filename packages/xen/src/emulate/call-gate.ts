/**
 * Far jumps and calls of a 32-bit guest through a call gate, as Xen emulates them
 * (arch/x86/pv/emul-gate-op.c; Intel SDM vol. 3, 5.8.3 to 5.8.5): on the processor they fault, because
 * `mm/descriptor.ts` has moved the gate's DPL to the RPL of its target. From ring 3 a call leads to ring 1 at most, on
 * the stack that the kernel named by `stack_switch`. Nothing but the stack is
 * written where the transfer faults.
 */
import { Gpr, Seg, Vector } from '@paravane/engine-api';
import type { XenVcpu } from '../domain.js';
import { addressOk, readGuest, writeGuest } from '../guest-memory.js';
import { injectException, injectPageFault } from '../traps/exceptions.js';
import { setRing } from '../traps/mode.js';
import {
  CODE_OR_DATA,
  cplOf,
  descriptor,
  dplOf,
  generalFault,
  isUsable,
  type SegmentFault,
  segmentOf,
  setCodeSegment,
  setStackSegment,
} from '../traps/segments.js';

const PF_READ = 0;
const PF_WRITE = 2;
const KERNEL_RING = 1;
const WORD = 4;
const MASK32 = 0xffffffffn;
const PRESENT = 1n << 47n;
const TYPE = 0xfn << 40n;
const CALL_GATE = 0xcn << 40n;
const CODE = 1n << 43n;
const CONFORMING = 1n << 42n;
const WRITABLE = 1n << 41n;
const EXPAND_DOWN = 4;

export interface GateTransfer {
  /** Selector of the gate, with the RPL that the instruction gives it. */
  gate: number;
  /** Its descriptor. */
  value: bigint;
  isCall: boolean;
  /** The address behind the instruction. */
  next: bigint;
}

/** A fault to deliver, or that of an access. */
type Refusal = SegmentFault | { page: bigint; errorCode: number };
interface Stack {
  selector: number;
  base: bigint;
  sp: bigint;
}

/** Whether `bytes` below the stack pointer lie within the segment and do not wrap. */
function fits(value: bigint, sp: bigint, bytes: number): boolean {
  const { limit, rights } = segmentOf(value);
  const first = BigInt.asUintN(32, sp - BigInt(bytes));
  const last = BigInt.asUintN(32, sp - 1n);
  if (first > last) return false;
  return rights & EXPAND_DOWN ? first > BigInt(limit) : last <= BigInt(limit);
}
const isStackOf = (value: bigint, ring: number): boolean =>
  dplOf(value) === ring && (value & CODE_OR_DATA) !== 0n && !(value & CODE) && (value & WRITABLE) !== 0n;
const linear = (value: bigint, sp: bigint): bigint => (segmentOf(value).base + sp) & MASK32;

/** The kernel's stack, with room for so many bytes. */
function innerStack(vcpu: XenVcpu, gate: number, bytes: number): Stack | Refusal {
  const { kernelSs: selector, kernelSp: sp } = vcpu;
  const value = descriptor(vcpu, selector);
  const errorCode = selector & 0xfffc;
  if ((selector & 3) !== KERNEL_RING || value === null || !isStackOf(value, KERNEL_RING))
    return { vector: Vector.TS, errorCode };
  if (!isUsable(value) || !fits(value, sp, bytes)) return { vector: Vector.SS, errorCode };
  return reachable(vcpu, gate, { selector, base: segmentOf(value).base, sp }, value, bytes);
}
/** The stack as it is. */
function sameStack(vcpu: XenVcpu, gate: number, ring: number, bytes: number): Stack | Refusal {
  const selector = vcpu.core.selectors[Seg.ss]!;
  const sp = vcpu.core.regs[Gpr.rsp]! & MASK32;
  const value = descriptor(vcpu, selector);
  if (value === null || dplOf(value) !== ring) return generalFault(gate);
  if (!fits(value, sp, bytes)) return { vector: Vector.SS, errorCode: 0 };
  return reachable(vcpu, gate, { selector, base: segmentOf(value).base, sp }, value, bytes);
}
function reachable(vcpu: XenVcpu, gate: number, stack: Stack, value: bigint, bytes: number): Stack | Refusal {
  const top = linear(value, stack.sp);
  return top >= BigInt(bytes) && addressOk(vcpu, top - 1n) ? stack : generalFault(gate);
}

const isRefusal = (answer: unknown): answer is Refusal =>
  typeof answer === 'object' && answer !== null && 'errorCode' in answer;

/** The first byte of a word that can't be accessed. */
function faultAt(vcpu: XenVcpu, at: bigint, access: 'read' | 'write'): bigint {
  const isThere = vcpu.domain.mmu.translate(vcpu.core.space, at, access) !== null;
  return isThere ? (at + BigInt(WORD)) & ~0xfffn : at;
}

/** The caller's parameters, the last one first, as they are pushed; a refusal ends them. */
function* parameters(vcpu: XenVcpu, gate: number, count: number): Generator<bigint | Refusal> {
  const sp = vcpu.core.regs[Gpr.rsp]! & MASK32;
  const value = descriptor(vcpu, vcpu.core.selectors[Seg.ss]!);
  const bytes = BigInt(count * WORD);
  const isStack = value !== null && isStackOf(value, cplOf(vcpu)) && fits(value, sp + bytes, count * WORD);
  if (!isStack || !addressOk(vcpu, linear(value, sp) + bytes - 1n)) {
    yield generalFault(gate);
    return;
  }
  for (let i = count - 1; i >= 0; i--) {
    const at = linear(value, sp) + BigInt(i * WORD);
    const word = readGuest(vcpu, at, WORD);
    yield word
      ? BigInt(new DataView(word.buffer, word.byteOffset).getUint32(0, true))
      : { page: faultAt(vcpu, at, 'read'), errorCode: PF_READ };
  }
}

/** Pushes one word after the other up to a refusal; the stack pointer then. */
function push(vcpu: XenVcpu, { base, sp }: Stack, words: Iterable<bigint | Refusal>): bigint | Refusal {
  let pointer = sp;
  for (const word of words) {
    if (isRefusal(word)) return word;
    pointer = BigInt.asUintN(32, pointer - BigInt(WORD));
    const at = (base + pointer) & MASK32;
    const bytes = new Uint8Array(Uint32Array.of(Number(word & MASK32)).buffer);
    if (!writeGuest(vcpu, at, bytes)) return { page: faultAt(vcpu, at, 'write'), errorCode: PF_WRITE };
  }
  return pointer;
}

/** What is wrong with the gate or its target, or null. */
function refused(vcpu: XenVcpu, { gate, value, isCall }: GateTransfer): Refusal | null {
  const cpl = cplOf(vcpu);
  const absent = { vector: Vector.NP, errorCode: gate & 0xfffc };
  const isGate = (value & (TYPE | CODE_OR_DATA)) === CALL_GATE;
  // Of a descriptor that is not present the DPL was left where it is, and the processor is the one to look at it.
  if (dplOf(value) !== 0) return isGate && dplOf(value) >= Math.max(cpl, gate & 3) ? absent : generalFault(gate);
  const gateDpl = Number((value >> 16n) & 3n);
  if (!isGate || gateDpl < cpl) return generalFault(gate);
  if (!(value & PRESENT)) return absent;
  if (gateDpl < (gate & 3)) return generalFault(gate);
  const target = targetOf(value);
  const code = descriptor(vcpu, target);
  if (code === null || !(code & CODE_OR_DATA) || !(code & CODE)) return generalFault(target);
  const inward = isCall || (code & CONFORMING) !== 0n;
  if (inward ? dplOf(code) > cpl : dplOf(code) !== cpl) return generalFault(target);
  if (!(code & PRESENT)) return { vector: Vector.NP, errorCode: target };
  if (offsetOf(value) > BigInt(segmentOf(code).limit)) return generalFault(0);
  return isCall && dplOf(code) < cpl && dplOf(code) !== KERNEL_RING ? generalFault(gate) : null;
}
const targetOf = (value: bigint): number => Number((value >> 16n) & 0xfffcn);
const offsetOf = (value: bigint): bigint => (value & 0xffffn) | ((value >> 32n) & 0xffff0000n);

/** What is pushed: on another stack first the way back to this one, then the return address. */
function* frame(vcpu: XenVcpu, { gate, value, next }: GateTransfer, inner: boolean): Generator<bigint | Refusal> {
  const { selectors, regs } = vcpu.core;
  if (inner) {
    yield BigInt(selectors[Seg.ss]!);
    yield regs[Gpr.rsp]!;
    if (parameterCount(value) > 0) yield* parameters(vcpu, gate, parameterCount(value));
  }
  yield BigInt(selectors[Seg.cs]!);
  yield next;
}
const parameterCount = (value: bigint): number => Number((value >> 32n) & 31n);

/** Makes a call's frame; the stack to go on with. */
function makeFrame(vcpu: XenVcpu, transfer: GateTransfer, ring: number): Stack | Refusal {
  const { gate, value } = transfer;
  const inner = ring < cplOf(vcpu);
  const stack = inner
    ? innerStack(vcpu, gate, (4 + parameterCount(value)) * WORD)
    : sameStack(vcpu, gate, ring, 2 * WORD);
  if (isRefusal(stack)) return stack;
  const sp = push(vcpu, stack, frame(vcpu, transfer, inner));
  return isRefusal(sp) ? sp : { ...stack, sp };
}

function deliver(vcpu: XenVcpu, refusal: Refusal): void {
  if ('page' in refusal) injectPageFault(vcpu, refusal.errorCode, refusal.page);
  else injectException(vcpu, refusal.vector, refusal.errorCode);
}

/** Goes through the gate, or delivers what is wrong with that. */
export function throughCallGate(vcpu: XenVcpu, transfer: GateTransfer): void {
  const { value, isCall } = transfer;
  const { core } = vcpu;
  const wrong = refused(vcpu, transfer);
  if (wrong) return deliver(vcpu, wrong);
  const cpl = cplOf(vcpu);
  const target = targetOf(value);
  const ring = isCall ? Math.min(dplOf(descriptor(vcpu, target)!), cpl) : cpl;
  if (!isCall) {
    setCodeSegment(vcpu, target | ring);
  } else {
    // The kernel's stack is written, and parameters are read, with the rights of the kernel.
    if (ring < cpl) vcpu.guestKernel = true;
    const stack = makeFrame(vcpu, transfer, ring);
    if (isRefusal(stack)) {
      setRing(vcpu, core.selectors[Seg.cs]!);
      return deliver(vcpu, stack);
    }
    setCodeSegment(vcpu, target | ring);
    setStackSegment(vcpu, stack.selector);
    core.regs[Gpr.rsp] = stack.sp;
  }
  core.rip = offsetOf(value);
}
