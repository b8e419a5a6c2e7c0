/** The one implementation of `SlowCpu`: a vCPU's state seen by a definition in TypeScript. */
import { type PrivilegedInstruction, Seg, timeStamp, Vector } from '@paravane/engine-api';
import { type Instruction, memorySegment } from '../decode.js';
import { baseSlot } from '../segments.js';
import { MAX_BLOCK, SCRATCH_TOP, State } from '../state.js';
import type { X86Vcpu } from '../vcpu.js';
import type { SlowCpu } from './slow-cpu.js';

/** Leaves a definition; caught by `X86Vcpu.slow`. */
export const LEAVE_DEFINITION = { signal: 'leave' } as const;

const MASK32 = 0xffffffffn;
/** Where the lower half of canonical addresses ends. */
const CANONICAL_END = 1n << 47n;

export class SlowContext implements SlowCpu {
  insn!: Instruction;
  readonly regs: BigUint64Array;
  readonly view: DataView;
  readonly base: number;
  /** Instructions left at this one, this one included. */
  allowance = 0;
  extra = 0;
  jumped = false;
  /** By `stop` or `privileged`. */
  stopped = false;
  codeChanged = false;
  rip = 0n;
  /** Instructions retired before this one. */
  count = 0;

  constructor(private readonly vcpu: X86Vcpu) {
    this.regs = vcpu.regs;
    this.view = vcpu.parts.mmu.machine.view;
    this.base = vcpu.base;
  }

  begin(insn: Instruction, rip: bigint, left: number, number: number, count: number): void {
    this.insn = insn;
    this.rip = rip;
    this.allowance = this.bulk ? left + MAX_BLOCK - number : 1;
    this.extra = 0;
    this.jumped = false;
    this.stopped = false;
    this.codeChanged = false;
    this.count = count;
  }

  get eflags(): number {
    return this.vcpu.rflags;
  }
  set eflags(value: number) {
    this.vcpu.rflags = value;
  }
  get pointerWidth(): 64 | 32 {
    return this.vcpu.mode;
  }
  get timeStamp(): bigint {
    const { tscRatio, tscOffset } = this.vcpu;
    return BigInt.asUintN(64, timeStamp({ count: this.count, tscRatio, tscOffset }));
  }
  get bulk(): boolean {
    const { access } = this.vcpu.parts;
    const { vcpu, insn } = this;
    const guarded = vcpu.mode !== 64 && (vcpu.segmented || (insn.segment >= 0 && vcpu.segments.guards(insn.segment)));
    return access.hook === null && access.watch === null && !guarded;
  }

  operand(i: number): bigint {
    const operand = this.insn.operands[i]!;
    switch (operand.kind) {
      case 'r': {
        const value = this.regs[operand.n]!;
        return operand.high ? (value >> 8n) & 0xffn : BigInt.asUintN(operand.width, value);
      }
      case 'm':
        return this.load(this.address(), operand.width / 8);
      case 'i':
        return BigInt.asUintN(this.insn.width, operand.wide ?? BigInt(operand.value));
      case 'c':
        return this.regs[1]! & 0xffn;
      default:
        return 0n;
    }
  }
  setOperand(i: number, value: bigint): void {
    const operand = this.insn.operands[i]!;
    if (operand.kind === 'm') this.store(this.address(), operand.width / 8, value);
    else if (operand.kind === 'r' && operand.high) {
      this.regs[operand.n] = (this.regs[operand.n]! & ~0xff00n) | ((value & 0xffn) << 8n);
    } else if (operand.kind === 'r') this.setGpr(operand.n, value, operand.width);
  }
  setGpr(n: number, value: bigint, width: number): void {
    if (width >= 32) this.regs[n] = BigInt.asUintN(width, value);
    else {
      const mask = (1n << BigInt(width)) - 1n;
      this.regs[n] = (this.regs[n]! & ~mask) | (value & mask);
    }
  }
  get cpl(): number {
    return this.vcpu.cpl;
  }
  get protectedMode(): boolean {
    return this.vcpu.protectedMode;
  }
  get stackWidth(): 64 | 32 | 16 {
    return this.vcpu.stackWidth;
  }
  linear(segment: number, offset: bigint): bigint {
    this.vcpu.accessSegment = segment;
    const base =
      this.vcpu.mode === 64 && segment < 4 ? 0n : this.view.getBigUint64(this.base + baseSlot(segment), true);
    return BigInt.asUintN(this.pointerWidth, offset + base);
  }
  address(): bigint {
    const { segment, offset } = this.effective();
    return this.linear(segment, offset);
  }
  effective(): { segment: number; offset: bigint } {
    const memory = this.insn.memory!;
    const scaled = memory.index < 0 ? 0n : this.regs[memory.index]! << BigInt(memory.scale);
    const base =
      memory.base === -2 ? this.rip + BigInt(this.insn.length) : memory.base < 0 ? 0n : this.regs[memory.base]!;
    const offset = BigInt.asUintN(this.insn.addressWidth, memory.wide ?? base + scaled + BigInt(memory.disp));
    return { segment: memorySegment(this.insn), offset };
  }

  /** Offset in memory for an access, or leaves with the fault. */
  private host(va: bigint, bytes: number, write: boolean): number {
    const lo = Number(va & 0xffffffffn) | 0;
    const hi = Number(va >> 32n) | 0;
    if (this.vcpu.refuses(lo, hi, bytes, write)) throw LEAVE_DEFINITION;
    const host = this.vcpu.translate(lo, hi, bytes, write);
    if (host === -1) {
      this.vcpu.faulted(this.insn, va);
      throw LEAVE_DEFINITION;
    }
    return host;
  }
  private finish(host: number): void {
    if (host < SCRATCH_TOP && this.vcpu.parts.access.commit()) this.codeChanged = true;
  }
  load(va: bigint, bytes: number): bigint {
    const at = this.host(va, bytes, false);
    switch (bytes) {
      case 1:
        return BigInt(this.view.getUint8(at));
      case 2:
        return BigInt(this.view.getUint16(at, true));
      case 4:
        return BigInt(this.view.getUint32(at, true));
      default:
        return this.view.getBigUint64(at, true);
    }
  }
  store(va: bigint, bytes: number, value: bigint): void {
    const at = this.host(va, bytes, true);
    if (bytes === 1) this.view.setUint8(at, Number(value & 0xffn));
    else if (bytes === 2) this.view.setUint16(at, Number(value & 0xffffn), true);
    else if (bytes === 4) this.view.setUint32(at, Number(value & 0xffffffffn), true);
    else this.view.setBigUint64(at, value, true);
    this.finish(at);
  }
  outsideHole(va: bigint, length: number): void {
    if (this.pointerWidth === 32 || va >= CANONICAL_END || va + BigInt(length) <= CANONICAL_END) return;
    this.vcpu.parts.access.refuse(13);
    this.vcpu.faulted(this.insn, va);
    throw LEAVE_DEFINITION;
  }
  private accessAll(va: bigint, length: number, write: boolean): void {
    const [lo, hi] = [Number(va & 0xffffffffn) | 0, Number(va >> 32n) | 0];
    if (this.vcpu.refuses(lo, hi, length, write)) throw LEAVE_DEFINITION;
    this.outsideHole(va, length);
    this.vcpu.parts.access.watch?.(va, length, write);
  }
  loadBytes(va: bigint, length: number): Uint8Array {
    this.accessAll(va, length, false);
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = BigInt.asUintN(this.pointerWidth, va + BigInt(done));
      const piece = Math.min(length - done, 4096 - Number(at & 0xfffn));
      const host = this.pageAt(at, false);
      out.set(new Uint8Array(this.view.buffer, host, piece), done);
      done += piece;
    }
    return out;
  }
  storeBytes(va: bigint, bytes: Uint8Array): void {
    this.accessAll(va, bytes.length, true);
    const pieces: { at: bigint; host: number; from: number; length: number }[] = [];
    for (let done = 0; done < bytes.length; ) {
      const at = BigInt.asUintN(this.pointerWidth, va + BigInt(done));
      const length = Math.min(bytes.length - done, 4096 - Number(at & 0xfffn));
      pieces.push({ at, host: this.pageAt(at, true), from: done, length });
      done += length;
    }
    const memory = new Uint8Array(this.view.buffer);
    for (const { at, host, from, length } of pieces) {
      memory.set(bytes.subarray(from, from + length), host);
      this.changed(at, length);
    }
  }
  pageAt(va: bigint, write: boolean): number {
    const lo = Number(va & 0xffffffffn) | 0;
    const hi = Number(va >> 32n) | 0;
    if (this.vcpu.refuses(lo, hi, 1, write)) throw LEAVE_DEFINITION;
    const host = this.vcpu.pageAt(lo, hi, write);
    if (host === -1) {
      this.vcpu.faulted(this.insn, va);
      throw LEAVE_DEFINITION;
    }
    return host;
  }
  writable(va: bigint, bytes: number): void {
    // Of a store that is being emulated the page is one to read.
    if (this.vcpu.parts.access.hook !== null) return;
    if (this.vcpu.refuses(Number(va & 0xffffffffn) | 0, Number(va >> 32n) | 0, bytes, true)) throw LEAVE_DEFINITION;
    this.pageAt(va, true);
    const last = BigInt.asUintN(this.pointerWidth, va + BigInt(bytes - 1));
    if (last >> 12n !== va >> 12n) this.pageAt(last & ~0xfffn, true);
  }
  changed(va: bigint, bytes: number): void {
    if (this.vcpu.parts.access.written(this.pageAt(va, true), bytes)) this.codeChanged = true;
  }
  countExtra(iterations: number): void {
    this.extra += iterations;
  }
  loadNull(register: number, selector: number): void {
    this.vcpu.setSegment(register, selector, { base: 0n, limit: 0, rights: 0 });
  }
  interrupt(): never {
    this.vcpu.interrupt();
    throw LEAVE_DEFINITION;
  }
  raise(vector: number, errorCode: number): never {
    this.vcpu.stopWithException(vector, errorCode);
    throw LEAVE_DEFINITION;
  }
  privileged(fields: Partial<PrivilegedInstruction> & Pick<PrivilegedInstruction, 'mnemonic'>): void {
    this.vcpu.stopPrivileged({
      length: this.insn.length,
      width: this.insn.width,
      register: 0,
      gpr: 0,
      immediate: false,
      rep: false,
      selector: 0,
      offset: 0n,
      ...fields,
    });
    this.stopped = true;
  }
  stop(reason: 'syscall' | 'cpuid' | 'halt' | 'interrupt', vector = 0): void {
    this.vcpu.stopBehind(reason, vector, this.insn.length);
    this.stopped = true;
  }
  jump(target: bigint): void {
    const to = BigInt.asUintN(this.pointerWidth, target);
    if (this.vcpu.segmented && to > BigInt(this.vcpu.segment(Seg.cs).limit)) this.raise(Vector.GP, 0);
    this.jumped = true;
    this.view.setBigUint64(this.base + State.rip, to, true);
  }
  codeBytes(): Uint8Array {
    const { vcpu, rip, insn } = this;
    const address = vcpu.segmented ? (rip + vcpu.segment(Seg.cs).base) & MASK32 : rip;
    return vcpu.parts.mmu.readVirtual(vcpu.space, address, insn.length) ?? new Uint8Array(insn.length);
  }
  random(): bigint {
    return this.vcpu.parts.random();
  }
}
