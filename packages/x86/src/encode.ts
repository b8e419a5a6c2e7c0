/**
 * The encoder: an entry of the instruction table with operands to bytes (Intel
 * SDM vol. 2, chapter 2). It lays prefixes, ModRM, SIB, displacement and
 * immediates out and then asks the decoder: bytes count only if they decode to
 * what was asked for, so encoder and decoder can't disagree.
 */
import type { CodeMode } from '@paravane/engine-api';
import { decode, type Instruction, operandSize } from './decode.js';
import { spokenName, systemRegister } from './disassemble.js';
import type { Entry } from './notation.js';
import { BASE16, INDEX16, type MemoryOperand } from './operands.js';

/** A memory operand that is asked for. */
export interface WantedMemory {
  kind: 'm';
  /** Bits; 0 where the text does not say. */
  width: number;
  /** Segment override, or -1. */
  segment: number;
  addressWidth: 16 | 32 | 64;
  base: number;
  index: number;
  scale: number;
  /** Displacement; with `relative` the address that it must reach from RIP. */
  disp: bigint;
  relative: boolean;
}
export type WantedRegister = { kind: 'r' | 'x' | 'p' | 'st'; n: number; width: number; high: boolean };
export type Wanted =
  | WantedRegister
  /** Segment, control or debug register, by name. */
  | { kind: 's'; name: string; n: number }
  | WantedMemory
  /** Immediate, or target of a branch. */
  | { kind: 'i'; value: bigint }
  /** Element size of a string instruction. */
  | { kind: 'size'; width: number };

export interface Wish {
  /** As the disassembler names it. */
  name: string;
  lock: boolean;
  /** 0, 0xf2 or 0xf3. */
  rep: number;
  operands: readonly Wanted[];
}

const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
/** Operands that need no bytes. */
const FIXED = /^(AL|rAX|CL|DX|1|ST0|XMM0|[CDEFGS]S)$/;

const little = (value: bigint, size: number): number[] =>
  Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
const fits = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value;

/** Fields of an instruction on the way to bytes. */
interface Fields {
  rex: number;
  /** A register that only a REX prefix reaches. */
  rexNeeded: boolean;
  reg: number;
  rm: number;
  vvvv: number;
  opcode: number;
  memory: WantedMemory | null;
  immediates: number[];
}

/** ModRM, SIB and displacement of a memory operand. */
function memoryBytes(m: WantedMemory, f: Fields, mode: CodeMode, end: bigint): number[] {
  const reg = (f.reg & 7) << 3;
  const disp = BigInt.asIntN(Math.min(m.addressWidth, 64), m.disp);
  if (m.addressWidth === 16) {
    if (m.base < 0) return [reg | 6, ...little(disp, 2)];
    const rm = BASE16.findIndex((base, i) => base === m.base && INDEX16[i] === m.index);
    if (disp === 0n && rm !== 6) return [reg | rm];
    return fits(disp, 8) ? [0x40 | reg | rm, ...little(disp, 1)] : [0x80 | reg | rm, ...little(disp, 2)];
  }
  if (m.base === -2) return [reg | 5, ...little(m.relative ? m.disp - end : disp, 4)];
  f.rex |= (m.base >= 8 ? 1 : 0) | (m.index >= 8 ? 2 : 0);
  const sib = (m.scale << 6) | ((m.index < 0 ? 4 : m.index & 7) << 3);
  if (m.base < 0) {
    if (m.index < 0 && mode === 32) return [reg | 5, ...little(disp, 4)];
    return [reg | 4, sib | 5, ...little(disp, 4)];
  }
  const base = m.base & 7;
  const plain = m.index < 0 && base !== 4;
  const tail = plain ? [] : [sib | base];
  const rm = reg | (plain ? base : 4);
  if (disp === 0n && base !== 5) return [rm, ...tail];
  return fits(disp, 8) ? [0x40 | rm, ...tail, ...little(disp, 1)] : [0x80 | rm, ...tail, ...little(disp, 4)];
}

/** Bytes of an immediate, displacement or offset operand. */
function immediateSize(text: string, width: number, addressWidth: number): number {
  if (text[0] === 'O') return addressWidth / 8;
  if (text[0] === 'A') return width / 8 + 2;
  return text[1] === 'v' ? width / 8 : text[1] === 'z' ? Math.min(width, 32) / 8 : text[1] === 'w' ? 2 : 1;
}

function place(text: string, operand: Wanted, f: Fields, width: number, end: bigint): void {
  if (operand.kind === 'm' && text[0] !== 'O') {
    f.memory = operand;
  } else if (operand.kind === 'm') {
    f.memory = operand;
    f.immediates.push(...little(operand.disp, immediateSize(text, width, operand.addressWidth)));
  } else if (operand.kind === 'i' && !FIXED.test(text)) {
    const value = text[0] === 'J' ? operand.value - end : operand.value;
    f.immediates.push(...little(value, immediateSize(text, width, 0)));
  } else if (operand.kind !== 'i' && operand.kind !== 'size' && !FIXED.test(text)) {
    const n = operand.kind === 'r' && operand.high ? operand.n + 4 : operand.n;
    if (operand.kind === 'r' && operand.width === 8 && !operand.high && n >= 4) f.rexNeeded = true;
    const letter = text[0]!;
    if ('GVPSCD'.includes(letter) && text !== 'STi') {
      f.reg = n;
      if (n >= 8) f.rex |= 4;
    } else if (letter === 'B') f.vvvv = n;
    else if (letter === 'Z') {
      f.opcode = (f.opcode & ~7) | (n & 7);
      if (n >= 8) f.rex |= 1;
    } else {
      f.rm = n;
      if (n >= 8) f.rex |= 1;
    }
  }
}

/** Bytes with the operand-size prefix `p66` and REX.W as given; `end` is the address behind the instruction. */
function layOut(e: Entry, wish: Wish, mode: CodeMode, p66: boolean, w: boolean, end: bigint): number[] {
  const rexW = w ? 8 : 0;
  const f: Fields = {
    rex: rexW,
    rexNeeded: false,
    reg: Math.max(e.digit, 0),
    rm: 0,
    vvvv: 0,
    opcode: e.opcode,
    memory: null,
    immediates: [],
  };
  const width = operandSize(e, { mode, p66, rex: rexW });
  e.operands.forEach((text, i) => place(text, wish.operands[i]!, f, width, end));
  const bytes: number[] = [];
  if (wish.lock) bytes.push(0xf0);
  if (wish.rep !== 0) bytes.push(wish.rep);
  const m = f.memory;
  if (m && m.segment >= 0) bytes.push(SEGMENT_PREFIX[m.segment]!);
  if (m && m.addressWidth !== mode) bytes.push(0x67);
  let modrm: number[] = [];
  if (e.modrmByte >= 0) modrm = [e.modrmByte];
  else if (e.hasModrm) modrm = m ? memoryBytes(m, f, mode, end) : [0xc0 | ((f.reg & 7) << 3) | (f.rm & 7)];
  if (e.vex) {
    const pp = ['NP', '66', 'F3', 'F2'].indexOf(e.prefix);
    bytes.push(0xc4, ((~f.rex & 7) << 5) | e.map, (rexW << 4) | ((~f.vvvv & 15) << 3) | pp);
  } else {
    if (p66) bytes.push(0x66);
    if (e.prefix !== '' && e.prefix !== 'NP') bytes.push(parseInt(e.prefix, 16));
    if (f.rex !== 0 || f.rexNeeded) bytes.push(0x40 | f.rex);
    if (e.map > 0) bytes.push(0x0f);
    if (e.map > 1) bytes.push(e.map === 2 ? 0x38 : 0x3a);
  }
  bytes.push(f.opcode, ...modrm, ...f.immediates);
  return bytes;
}

function sameMemory(want: WantedMemory, got: MemoryOperand, insn: Instruction, end: bigint): boolean {
  const { addressWidth: bits } = want;
  // In 64-bit mode the other overrides say nothing.
  const segment = insn.mode === 64 && want.segment < 4 ? -1 : want.segment;
  const disp = want.relative ? want.disp - end : want.disp;
  return (
    insn.addressWidth === bits &&
    insn.segment === segment &&
    got.base === want.base &&
    got.index === want.index &&
    got.scale === (want.index < 0 ? got.scale : want.scale) &&
    BigInt.asUintN(bits, got.wide ?? BigInt(got.disp)) === BigInt.asUintN(bits, disp)
  );
}

/** Whether a width that the text leaves open is clear from the other operands. */
function widthIsClear(width: number, operands: readonly Wanted[]): boolean {
  return width === 0 || operands.some((o) => (o.kind === 'r' ? o.width === width : /^(x|p|st|s)$/.test(o.kind)));
}

function sameOperand(i: number, wish: Wish, insn: Instruction, end: bigint): boolean {
  const want = wish.operands[i]!;
  const got = insn.operands[i]!;
  const text = insn.entry.operands[i]!;
  switch (got.kind) {
    case 'r':
      return want.kind === 'r' && want.n === got.n && want.width === got.width && want.high === got.high;
    case 'c':
      return want.kind === 'r' && want.n === 1 && want.width === 8 && !want.high;
    case 'x':
    case 'p':
    case 'st':
      return want.kind === got.kind && want.n === got.n;
    case 's':
      return want.kind === 's' && want.name === systemRegister(text, got.n);
    case 'm':
      if (want.kind === 'size') return insn.memory === null && want.width === got.width;
      if (want.kind !== 'm' || !insn.memory) return false;
      if (want.width === 0 ? !widthIsClear(got.width, wish.operands) : want.width !== got.width) return false;
      return sameMemory(want, insn.memory, insn, end);
    case 'j':
      return want.kind === 'i' && BigInt.asUintN(insn.mode, end + BigInt(got.value) - want.value) === 0n;
    case 'i': {
      if (want.kind !== 'i') return false;
      const bits = text === 'Ib' ? 8 : text === 'Iw' ? 16 : text === 'Ap' ? insn.width + 16 : insn.width;
      const inRange = want.value >= -(1n << BigInt(bits - 1)) && want.value < 1n << BigInt(bits);
      return inRange && BigInt.asUintN(bits, (got.wide ?? BigInt(got.value)) - want.value) === 0n;
    }
  }
}

/** Shortest bytes of `wish` by one entry of the table at an address, or null where it has none. */
export function encode(e: Entry, wish: Wish, mode: CodeMode, address: bigint): Uint8Array | null {
  if (e.operands.length !== wish.operands.length) return null;
  let best: Uint8Array | null = null;
  for (const p66 of e.prefix === '66' || e.vex ? [false] : [false, true]) {
    for (const w of mode === 64 || e.vex ? [false, true] : [false]) {
      const length = layOut(e, wish, mode, p66, w, address).length;
      const end = address + BigInt(length);
      const bytes = Uint8Array.from(layOut(e, wish, mode, p66, w, end));
      if (best && best.length <= length) continue;
      const insn = decode(bytes, 0, length, mode);
      if (insn === null || typeof insn === 'string') continue;
      const same =
        insn.entry === e &&
        insn.length === length &&
        spokenName(insn) === wish.name &&
        insn.lock === wish.lock &&
        insn.rep === wish.rep &&
        insn.operands.every((_, i) => sameOperand(i, wish, insn, end));
      if (same) best = bytes;
    }
  }
  return best;
}
