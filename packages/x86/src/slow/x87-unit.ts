/**
 * The x87 unit as an instruction sees it: registers counted from the top of the
 * stack, tags, exceptions and their flags (Intel SDM vol. 1, chapter 8).
 *
 * An instruction makes its memory accesses first, then changes registers, and
 * calls `leave` at its end: a page fault before that leaves no trace.
 */
import { Exception, F80, fromDouble, fromInteger, fromSingle, INDEFINITE, type Rounding } from '../softfloat80.js';
import { State } from '../state.js';
import type { SlowCpu } from './slow-cpu.js';

/** Status word. */
export const Status = {
  SF: 0x40,
  ES: 0x80,
  C0: 0x100,
  C1: 0x200,
  C2: 0x400,
  TOP: 0x3800,
  C3: 0x4000,
  B: 0x8000,
} as const;
const CONDITION = Status.C0 | Status.C1 | Status.C2 | Status.C3;
const CR0_EM = 4;
const CR0_TS = 8;
const VECTOR_NM = 7;
const VECTOR_MF = 16;
/** Exceptions of the operands: unmasked, they stop an instruction before its result. */
const BEFORE_RESULT = Exception.IE | Exception.DE | Exception.ZE;
const PRECISION = [24, 64, 53, 64];

export class X87 {
  fcw: number;
  fsw: number;
  /** A bit per physical register: not empty. */
  ftw: number;
  readonly rounding: Rounding;

  private operandAddress: bigint | null = null;

  constructor(readonly c: SlowCpu) {
    const { view, base } = c;
    this.fcw = view.getUint16(base + State.fcw, true);
    this.fsw = view.getUint16(base + State.fsw, true);
    this.ftw = view.getUint8(base + State.ftw);
    this.rounding = {
      control: (this.fcw >> 10) & 3,
      precision: PRECISION[(this.fcw >> 8) & 3]!,
      masks: this.fcw & 0x3f,
      flags: 0,
      up: false,
    };
  }

  /** Linear address of the memory operand. */
  address(): bigint {
    return (this.operandAddress ??= this.c.address());
  }
  get top(): number {
    return (this.fsw >> 11) & 7;
  }
  set top(value: number) {
    this.fsw = (this.fsw & ~Status.TOP) | ((value & 7) << 11);
  }
  private physical(i: number): number {
    return (this.top + i) & 7;
  }
  isEmpty(i: number): boolean {
    return ((this.ftw >> this.physical(i)) & 1) === 0;
  }
  read(i: number): F80 {
    const at = this.c.base + State.x87 + 16 * this.physical(i);
    const head = this.c.view.getUint16(at + 8, true);
    return new F80(head >> 15, head & 0x7fff, this.c.view.getBigUint64(at, true));
  }
  /** Writes ST(i), which is then not empty. */
  write(i: number, value: F80): void {
    const n = this.physical(i);
    const at = this.c.base + State.x87 + 16 * n;
    this.c.view.setBigUint64(at, value.sig, true);
    this.c.view.setUint16(at + 8, (value.sign << 15) | value.exp, true);
    this.ftw |= 1 << n;
  }
  free(i: number): void {
    this.ftw &= ~(1 << this.physical(i));
  }
  push(value: F80): void {
    this.top--;
    this.write(0, value);
  }
  pop(): void {
    this.free(0);
    this.top++;
  }
  /** Pops `count` registers. */
  popMany(count: number): void {
    for (let i = 0; i < count; i++) this.pop();
  }

  setCodes(codes: number, among: number = CONDITION): void {
    this.fsw = (this.fsw & ~among) | codes;
  }
  masked(exception: number): boolean {
    return (this.rounding.masks & exception) !== 0;
  }

  /** A stack fault: sets the flags, and says whether the masked response is due. C1: overflow. */
  stackFault(overflow: boolean): boolean {
    this.fsw |= Exception.IE | Status.SF | (overflow ? Status.C1 : 0);
    return this.masked(Exception.IE);
  }
  /** Takes over the flags of a result. False: an unmasked exception of the operands, and there is no result. */
  accept(): boolean {
    const { flags, masks, up } = this.rounding;
    const stopped = flags & ~masks & BEFORE_RESULT;
    this.fsw |= stopped ? flags & BEFORE_RESULT : flags;
    if (stopped) return false;
    if (flags & Exception.PE && up) this.fsw |= Status.C1;
    return true;
  }
  /** The same for a result that goes to memory, which an unmasked overflow or underflow also prevents. */
  acceptStore(): boolean {
    const { flags, masks } = this.rounding;
    const stopped = flags & ~masks & (Exception.OE | Exception.UE);
    if (!stopped) return this.accept();
    this.fsw |= flags & ~Exception.PE;
    return false;
  }

  /** ES and B follow from the flags and the masks. */
  updateSummary(): void {
    const pending = this.fsw & ~this.fcw & 0x3f;
    this.fsw = pending ? this.fsw | Status.ES | Status.B : this.fsw & ~(Status.ES | Status.B);
  }
  private writeBack(): void {
    const { view, base } = this.c;
    view.setUint16(base + State.fsw, this.fsw, true);
    view.setUint8(base + State.ftw, this.ftw);
  }
  /** Ends an instruction that calculates or moves: it becomes the last one. */
  leave(): void {
    this.updateSummary();
    const { c } = this;
    c.view.setBigUint64(c.base + State.fip, c.rip, true);
    if (c.insn.memory) c.view.setBigUint64(c.base + State.fdp, this.address(), true);
    if (this.fsw & Status.ES) c.view.setUint16(c.base + State.fop, opcodeOf(c), true);
    this.writeBack();
  }
  /** Ends a control instruction, which leaves the last one's pointers alone. */
  leaveControl(): void {
    this.updateSummary();
    this.c.view.setUint16(this.c.base + State.fcw, this.fcw, true);
    this.writeBack();
  }
}

/** Eleven bits of opcode: the low three of the first byte, and ModRM. Kept for unmasked exceptions only, as processors do. */
function opcodeOf(c: SlowCpu): number {
  const bytes = c.codeBytes();
  const at = bytes.findIndex((byte) => (byte & 0xf8) === 0xd8);
  return ((bytes[at]! & 7) << 8) | (bytes[at + 1] ?? 0);
}

/** Enters an instruction that does not wait for pending exceptions. */
export function enterNoWait(c: SlowCpu): X87 {
  if (c.view.getUint32(c.base + State.cr0, true) & (CR0_EM | CR0_TS)) c.raise(VECTOR_NM, -1);
  return new X87(c);
}
/** Enters an instruction: #NM and #MF come first. */
export function enter(c: SlowCpu): X87 {
  const fpu = enterNoWait(c);
  if (fpu.fsw & Status.ES) c.raise(VECTOR_MF, -1);
  return fpu;
}

/** Pushes what `value` gives, or does what a full stack asks for. */
export function pushResult(fpu: X87, value: () => F80): void {
  fpu.setCodes(0, Status.C1);
  if (!fpu.isEmpty(7)) {
    if (fpu.stackFault(true)) fpu.push(INDEFINITE);
  } else {
    const result = value();
    // A denormal is pushed even where that exception is unmasked.
    if (fpu.accept() || !(fpu.rounding.flags & Exception.IE)) fpu.push(result);
  }
  fpu.leave();
}
/** Replaces ST(`to`) by what `value` gives from ST(0) and perhaps others, then pops `pops` times. */
export function replaceResult(fpu: X87, to: number, needs: readonly number[], value: () => F80, pops = 0): void {
  fpu.setCodes(0, Status.C1);
  if (needs.some((i) => fpu.isEmpty(i))) {
    if (fpu.stackFault(false)) {
      fpu.write(to, INDEFINITE);
      fpu.popMany(pops);
    }
  } else {
    const result = value();
    if (fpu.accept()) {
      fpu.write(to, result);
      fpu.popMany(pops);
    }
  }
  fpu.leave();
}

/** Number of the stack register in operand `i`. */
export function stackIndex(c: SlowCpu, i: number): number {
  const operand = c.insn.operands[i];
  return operand?.kind === 'st' ? operand.n : 0;
}
/** Bytes of the memory operand. */
export function memoryBytes(c: SlowCpu): number {
  const operand = c.insn.operands[0];
  return operand?.kind === 'm' ? operand.width / 8 : 0;
}
/** Reads the memory operand. Its value is made later, as that may set flags, after those of the stack. */
export function memorySource(fpu: X87, integer: boolean): () => F80 {
  const { c, rounding: r } = fpu;
  const bytes = memoryBytes(c);
  const va = fpu.address();
  if (bytes === 10) {
    const [low, high] = [c.load(va, 8), Number(c.load(va + 8n, 2))];
    return () => new F80(high >> 15, high & 0x7fff, low);
  }
  const bits = c.load(va, bytes);
  if (!integer) return () => (bytes === 4 ? fromSingle(bits, r) : fromDouble(bits, r));
  const value = BigInt.asIntN(bytes * 8, bits);
  return () => (value < 0n ? fromInteger(1, -value) : fromInteger(0, value));
}
