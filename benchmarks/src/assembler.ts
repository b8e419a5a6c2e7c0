/**
 * A small assembler for the benchmark programs: just the encodings that they use, independent of the core's own
 * instruction table so that a slip in that table shows as a wrong result. Encodings: Intel SDM vol. 2.
 */

export const Reg = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const;
export type Reg = number;

/** Condition codes as encoded in Jcc, SETcc and CMOVcc. */
export const Cond = { o: 0, b: 2, ae: 3, e: 4, ne: 5, be: 6, a: 7, s: 8, ns: 9, l: 12, ge: 13, le: 14, g: 15 } as const;
export type Cond = (typeof Cond)[keyof typeof Cond];

/** A memory operand: base + index × scale + disp. */
export interface Mem {
  base: Reg;
  index?: Reg;
  scale?: 1 | 2 | 4 | 8;
  disp?: number;
}
export const mem = (base: Reg, disp = 0): Mem => ({ base, disp });
export const indexed = (base: Reg, index: Reg, scale: 1 | 2 | 4 | 8, disp = 0): Mem => ({ base, index, scale, disp });

export type Width = 8 | 32 | 64;
export type Arithmetic = 'add' | 'or' | 'adc' | 'sbb' | 'and' | 'sub' | 'xor' | 'cmp';
const ARITHMETIC: Arithmetic[] = ['add', 'or', 'adc', 'sbb', 'and', 'sub', 'xor', 'cmp'];
export type Shift = 'rol' | 'ror' | 'shl' | 'shr' | 'sar';
const SHIFT: Record<Shift, number> = { rol: 0, ror: 1, shl: 4, shr: 5, sar: 7 };

/** A place in the code; calls and jumps to it may come before it is placed. */
export interface Label {
  at: number;
}

export class Assembler {
  private bytes: number[] = [];
  private fixups: { at: number; size: 1 | 4; label: Label }[] = [];
  private tables: { at: number; labels: Label[] }[] = [];
  /** Instructions written so far. */
  instructions = 0;

  /** @param origin linear address of the first byte */
  constructor(readonly origin: number) {}

  get length(): number {
    return this.bytes.length;
  }
  label(): Label {
    return { at: -1 };
  }
  place(label: Label): void {
    label.at = this.bytes.length;
  }
  /** A new label, here. */
  here(): Label {
    return { at: this.bytes.length };
  }
  /** Pads with one-byte NOPs that are never run. */
  align(to: number): void {
    while (this.bytes.length % to !== 0) this.bytes.push(0x90);
  }
  /** Absolute addresses of labels, 8 bytes each. */
  table(labels: Label[]): Label {
    this.align(8);
    const start = this.here();
    this.tables.push({ at: start.at, labels });
    for (let i = 0; i < labels.length * 8; i++) this.bytes.push(0);
    return start;
  }
  addressOf(label: Label): number {
    return this.origin + label.at;
  }

  /** The code with all labels resolved. */
  finish(): Uint8Array {
    const out = Uint8Array.from(this.bytes);
    const view = new DataView(out.buffer);
    for (const { at, size, label } of this.fixups) {
      const distance = label.at - (at + size);
      if (label.at < 0 || (size === 1 && distance !== (distance << 24) >> 24)) {
        throw new RangeError(`label of the branch at ${at} is ${label.at < 0 ? 'not placed' : 'too far'}`);
      }
      if (size === 1) view.setInt8(at, distance);
      else view.setInt32(at, distance, true);
    }
    for (const { at, labels } of this.tables) {
      labels.forEach((label, i) => view.setBigUint64(at + i * 8, BigInt(this.addressOf(label)), true));
    }
    return out;
  }

  mov(width: Width, to: Reg, from: Reg): void {
    this.op(width, [width === 8 ? 0x88 : 0x89], from, to);
  }
  movImm(to: Reg, value: number): void {
    this.op(64, [0xc7], 0, to);
    this.i32(value);
  }
  /** Upper half becomes zero. */
  movImm32(to: Reg, value: number): void {
    this.rex(false, 0, 0, to, false);
    this.bytes.push(0xb8 + (to & 7));
    this.i32(value);
    this.instructions++;
  }
  load(width: Width, to: Reg, from: Mem): void {
    this.op(width, [width === 8 ? 0x8a : 0x8b], to, from);
  }
  store(width: Width, to: Mem, from: Reg): void {
    this.op(width, [width === 8 ? 0x88 : 0x89], from, to);
  }
  storeImm(to: Mem, value: number): void {
    this.op(32, [0xc7], 0, to);
    this.i32(value);
  }
  lea(to: Reg, from: Mem): void {
    this.op(64, [0x8d], to, from);
  }
  /** Zero-extends a byte (8) or word (16) to 32 bits. */
  movzx(to: Reg, from: Reg | Mem, width: 8 | 16 = 8): void {
    this.op(32, [0x0f, width === 8 ? 0xb6 : 0xb7], to, from, width === 8);
  }
  movsxd(to: Reg, from: Reg | Mem): void {
    this.op(64, [0x63], to, from);
  }
  alu(kind: Arithmetic, width: Width, to: Reg, from: Reg | Mem): void {
    this.op(width, [ARITHMETIC.indexOf(kind) * 8 + (width === 8 ? 2 : 3)], to, from);
  }
  aluTo(kind: Arithmetic, width: Width, to: Mem, from: Reg): void {
    this.op(width, [ARITHMETIC.indexOf(kind) * 8 + (width === 8 ? 0 : 1)], from, to);
  }
  aluImm(kind: Arithmetic, width: 32 | 64, to: Reg | Mem, value: number): void {
    const short = value === (value << 24) >> 24;
    this.op(width, [short ? 0x83 : 0x81], ARITHMETIC.indexOf(kind), to);
    if (short) this.bytes.push(value & 0xff);
    else this.i32(value);
  }
  test(width: Width, a: Reg, b: Reg): void {
    this.op(width, [width === 8 ? 0x84 : 0x85], b, a);
  }
  imul(width: 32 | 64, to: Reg, from: Reg | Mem): void {
    this.op(width, [0x0f, 0xaf], to, from);
  }
  imulImm(width: 32 | 64, to: Reg, from: Reg | Mem, value: number): void {
    this.op(width, [0x69], to, from);
    this.i32(value);
  }
  shift(kind: Shift, width: 32 | 64, to: Reg, by: number): void {
    this.op(width, [0xc1], SHIFT[kind], to);
    this.bytes.push(by);
  }
  shiftCl(kind: Shift, width: 32 | 64, to: Reg): void {
    this.op(width, [0xd3], SHIFT[kind], to);
  }
  inc(width: 32 | 64, to: Reg | Mem): void {
    this.op(width, [0xff], 0, to);
  }
  dec(width: 32 | 64, to: Reg | Mem): void {
    this.op(width, [0xff], 1, to);
  }
  neg(width: 32 | 64, to: Reg): void {
    this.op(width, [0xf7], 3, to);
  }
  not(width: 32 | 64, to: Reg): void {
    this.op(width, [0xf7], 2, to);
  }
  setcc(cond: Cond, to: Reg): void {
    this.op(8, [0x0f, 0x90 + cond], 0, to);
  }
  cmov(cond: Cond, width: 32 | 64, to: Reg, from: Reg | Mem): void {
    this.op(width, [0x0f, 0x40 + cond], to, from);
  }
  push(from: Reg): void {
    this.short(0x50, from);
  }
  pop(to: Reg): void {
    this.short(0x58, to);
  }
  jcc(cond: Cond, to: Label): void {
    const distance = to.at - (this.bytes.length + 2);
    if (to.at >= 0 && distance >= -128) {
      this.bytes.push(0x70 + cond);
      this.rel(1, to);
    } else {
      this.bytes.push(0x0f, 0x80 + cond);
      this.rel(4, to);
    }
  }
  /** A forward branch that stays within 127 bytes, in its short form. */
  jccShort(cond: Cond, to: Label): void {
    this.bytes.push(0x70 + cond);
    this.rel(1, to);
  }
  jmp(to: Label): void {
    this.bytes.push(0xe9);
    this.rel(4, to);
  }
  jmpMem(to: Mem): void {
    this.op(32, [0xff], 4, to);
  }
  call(to: Label): void {
    this.bytes.push(0xe8);
    this.rel(4, to);
  }
  callMem(to: Mem): void {
    this.op(32, [0xff], 2, to);
  }
  callReg(to: Reg): void {
    this.op(32, [0xff], 2, to);
  }
  ret(): void {
    this.raw(0xc3);
  }
  int3(): void {
    this.raw(0xcc);
  }
  syscall(): void {
    this.raw(0x0f, 0x05);
  }
  repMovsq(): void {
    this.raw(0xf3, 0x48, 0xa5);
  }
  /** An SSE instruction with its mandatory prefix (0: none) on XMM registers or memory. */
  sse(prefix: 0 | 0x66 | 0xf2 | 0xf3, opcode: number, xmm: number, other: number | Mem, immediate?: number): void {
    if (prefix !== 0) this.bytes.push(prefix);
    this.op(32, [0x0f, opcode], xmm, other);
    if (immediate !== undefined) this.bytes.push(immediate);
  }
  /** An x87 instruction on memory: its opcode, and the field of ModRM that belongs to it. */
  x87(opcode: number, field: number, operand: Mem): void {
    this.op(32, [opcode], field, operand);
  }
  /** An x87 instruction of two bytes. */
  x87Stack(opcode: number, second: number): void {
    this.raw(opcode, second);
  }

  private raw(...bytes: number[]): void {
    this.bytes.push(...bytes);
    this.instructions++;
  }
  private short(opcode: number, register: Reg): void {
    if (register >= 8) this.bytes.push(0x41);
    this.raw(opcode + (register & 7));
  }
  private rel(size: 1 | 4, label: Label): void {
    this.fixups.push({ at: this.bytes.length, size, label });
    for (let i = 0; i < size; i++) this.bytes.push(0);
    this.instructions++;
  }
  private i32(value: number): void {
    this.bytes.push(value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff);
  }
  private rex(wide: boolean, reg: number, index: number, base: number, forced: boolean): void {
    const rex = 0x40 | (wide ? 8 : 0) | (reg >= 8 ? 4 : 0) | (index >= 8 ? 2 : 0) | (base >= 8 ? 1 : 0);
    if (rex !== 0x40 || forced) this.bytes.push(rex);
  }
  /** REX, opcode, ModRM, SIB and displacement. `byteOperand`: the r/m operand is a byte although the width is not. */
  private op(width: Width, opcode: number[], reg: number, rm: Reg | Mem, byteOperand = false): void {
    this.instructions++;
    const bytes = width === 8 || byteOperand;
    if (typeof rm === 'number') {
      const forced = (bytes && rm >= 4 && rm < 8) || (width === 8 && reg >= 4 && reg < 8);
      this.rex(width === 64, reg, 0, rm, forced);
      this.bytes.push(...opcode, 0xc0 | ((reg & 7) << 3) | (rm & 7));
      return;
    }
    const { base, index, scale = 1, disp = 0 } = rm;
    this.rex(width === 64, reg, index ?? 0, base, width === 8 && reg >= 4 && reg < 8);
    const mod = disp === 0 && (base & 7) !== 5 ? 0 : disp === (disp << 24) >> 24 ? 1 : 2;
    const sib = index !== undefined || (base & 7) === 4;
    this.bytes.push(...opcode, (mod << 6) | ((reg & 7) << 3) | (sib ? 4 : base & 7));
    if (sib) this.bytes.push((Math.log2(scale) << 6) | (((index ?? 4) & 7) << 3) | (base & 7));
    if (mod === 1) this.bytes.push(disp & 0xff);
    if (mod === 2) this.i32(disp);
  }
}
