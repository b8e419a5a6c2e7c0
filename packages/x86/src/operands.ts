/**
 * Operands of an instruction: what they are, how the instruction table writes
 * them, and how they are read from ModRM and what follows it (Intel SDM vol. 2,
 * chapter 2 and A.2).
 *
 * Registers and memory operands of one kind are one object each: decoding is most
 * of what a guest's start allocates.
 */
import type { CodeMode } from '@paravane/engine-api';

export type Width = 8 | 16 | 32 | 64;

export type Operand =
  /** General register; `high` is AH, CH, DH, BH. */
  | { readonly kind: 'r'; readonly n: number; readonly width: Width; readonly high: boolean }
  /** XMM register. */
  | { readonly kind: 'x'; readonly n: number }
  /** MMX register. */
  | { readonly kind: 'p'; readonly n: number }
  /** x87 register, counted from the top of the stack. */
  | { readonly kind: 'st'; readonly n: number }
  /** Segment, control or debug register. */
  | { readonly kind: 's'; readonly n: number }
  /** Memory of `width` bits (0 where the instruction does not access it). */
  | { readonly kind: 'm'; readonly width: number }
  | { readonly kind: 'i'; readonly value: number; readonly wide?: bigint }
  /** The count in CL. */
  | { readonly kind: 'c' }
  /** Branch displacement from the end of the instruction. */
  | { readonly kind: 'j'; readonly value: number };

export interface MemoryOperand {
  /** Register number, -1 for none, -2 for RIP. */
  base: number;
  index: number;
  /** Shift count of the index, 0–3. */
  scale: number;
  /** Sign-extended displacement. */
  disp: number;
  /** 64-bit absolute offset of the moffs forms. */
  wide?: bigint;
}

/** An instruction while it is being read: where its bytes are, and what prefixes and ModRM said. */
export interface Reader {
  /** The next byte, and where there are no more. */
  at: number;
  limit: number;
  mode: CodeMode;
  /** Operands and addresses have 16 bits where no prefix says otherwise. */
  small: boolean;
  p66: boolean;
  addressWidth: 16 | 32 | 64;
  rep: number;
  rex: number;
  vvvv: number;
  vexL: number;
  opcode: number;
  modrm: number;
  /** Operand size in bits. */
  width: Width;
  memory: MemoryOperand | null;
}

const KINDS = { x: 16, p: 8, st: 8, s: 16 } as const;
const numbered = (kind: keyof typeof KINDS): readonly Operand[] =>
  Array.from({ length: KINDS[kind] }, (_, n) => ({ kind, n }));
const XMM = numbered('x');
const MMX = numbered('p');
const ST = numbered('st');
const SPECIAL = numbered('s');
const general = (width: Width, high: boolean): readonly Operand[] =>
  Array.from({ length: 16 }, (_, n) => ({ kind: 'r', n, width, high }));
const GENERAL = { 8: general(8, false), 16: general(16, false), 32: general(32, false), 64: general(64, false) };
const HIGH = general(8, true);
const MEMORY = new Map<number, Operand>(
  [0, 8, 16, 32, 48, 64, 80, 128].map((width) => [width, { kind: 'm', width }] as const),
);
const memoryOf = (width: number): Operand => MEMORY.get(width)!;

/** Operands that are the same in each instruction of an entry. */
const FIXED: Partial<Record<string, Operand>> = {
  AL: GENERAL[8][0]!,
  DX: GENERAL[16][2]!,
  CL: { kind: 'c' },
  '1': { kind: 'i', value: 1 },
  ST0: ST[0]!,
  XMM0: XMM[0]!,
  ...Object.fromEntries(['ES', 'CS', 'SS', 'DS', 'FS', 'GS'].map((name, n) => [name, SPECIAL[n]!])),
};

/** Memory operand sizes of the size letters that are fixed, in bits. */
const FIXED_BITS: Partial<Record<string, number>> = {
  b: 8,
  w: 16,
  d: 32,
  q: 64,
  dq: 128,
  ss: 32,
  sd: 64,
  ps: 128,
  pd: 128,
  t: 80,
  s: 80,
};

/** An operand as the table writes it, taken apart: `Ev` to `E` and `v`. */
export interface OperandText {
  readonly fixed: Operand | null;
  readonly kind: string;
  readonly size: string;
  /** Bits that the size letter always means, or -1. */
  readonly bits: number;
}

export function parseOperandText(text: string): OperandText {
  const fixed = FIXED[text] ?? null;
  if (text === 'rAX' || text === 'STi') return { fixed, kind: text, size: '', bits: -1 };
  const size = text.slice(1);
  return { fixed, kind: text[0]!, size, bits: /^[vzypR]$/.test(size) ? -1 : (FIXED_BITS[size] ?? 0) };
}

/** Bits of an operand. */
function bitsOf({ bits, size }: OperandText, { width, mode }: Reader): number {
  if (bits >= 0) return bits;
  switch (size) {
    case 'v':
      return width;
    case 'z':
      return width === 16 ? 16 : 32;
    case 'y':
      return width === 64 ? 64 : 32;
    case 'p':
      return 16 + width;
    default:
      return mode;
  }
}

function generalRegister(n: number, bits: number, rex: number): Operand {
  if (bits === 8 && rex === 0 && n >= 4) return HIGH[n - 4]!;
  return GENERAL[bits as Width][n]!;
}

/** Reads an operand, with the bytes of its own that it may have; null where it is undefined, `'short'` for want of bytes. */
export function readOperand(text: OperandText, bytes: Uint8Array, r: Reader): Operand | null | 'short' {
  if (text.fixed) return text.fixed;
  const isMemory = r.modrm < 0xc0;
  const rm = (r.modrm & 7) | (r.rex & 1 ? 8 : 0);
  const reg = ((r.modrm >> 3) & 7) | (r.rex & 4 ? 8 : 0);
  switch (text.kind) {
    case 'E':
      return isMemory ? memoryOf(bitsOf(text, r)) : generalRegister(rm, bitsOf(text, r), r.rex);
    case 'G':
      return generalRegister(reg, bitsOf(text, r), r.rex);
    case 'R':
      return generalRegister(rm, text.size === 'q' ? r.mode : bitsOf(text, r), r.rex);
    case 'B':
      return generalRegister(r.vvvv, bitsOf(text, r), r.rex);
    case 'Z':
      return generalRegister((r.opcode & 7) | (r.rex & 1 ? 8 : 0), bitsOf(text, r), r.rex);
    case 'rAX':
      return GENERAL[r.width][0]!;
    case 'M':
    case 'X':
      return memoryOf(bitsOf(text, r));
    case 'V':
      return XMM[reg]!;
    case 'W':
      return isMemory ? memoryOf(bitsOf(text, r)) : XMM[rm]!;
    case 'U':
      return XMM[rm]!;
    case 'P':
      return MMX[reg & 7]!;
    case 'Q':
      return isMemory ? memoryOf(bitsOf(text, r)) : MMX[rm & 7]!;
    case 'N':
      return MMX[rm & 7]!;
    case 'STi':
      return ST[r.modrm & 7]!;
    case 'S':
      return (reg & 7) < 6 ? SPECIAL[reg & 7]! : null;
    case 'C':
    case 'D':
      return SPECIAL[reg]!;
    case 'I':
    case 'J':
      return readImmediate(text, bytes, r);
    case 'O':
      return readOffset(text, bytes, r);
    case 'A':
      return readFarPointer(bytes, r);
    default:
      return null;
  }
}

function readImmediate({ kind, size }: OperandText, bytes: Uint8Array, r: Reader): Operand | 'short' {
  const { at } = r;
  const bits = size === 'v' ? r.width : size === 'z' ? (r.width === 16 ? 16 : 32) : size === 'w' ? 16 : 8;
  if (at + bits / 8 > r.limit) return 'short';
  r.at += bits / 8;
  const value =
    bits === 8
      ? (bytes[at]! << 24) >> 24
      : bits === 16
        ? ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16
        : signed32(bytes, at);
  if (kind === 'J') return { kind: 'j', value };
  return bits === 64 ? { kind: 'i', value, wide: readUnsigned(bytes, at, 8) } : { kind: 'i', value };
}

function readOffset({ size }: OperandText, bytes: Uint8Array, r: Reader): Operand | 'short' {
  const length = r.addressWidth / 8;
  if (r.at + length > r.limit) return 'short';
  r.memory = { base: -1, index: -1, scale: 0, disp: 0, wide: readUnsigned(bytes, r.at, length) };
  r.at += length;
  return memoryOf(size === 'b' ? 8 : r.width);
}

function readFarPointer(bytes: Uint8Array, r: Reader): Operand | 'short' {
  const length = r.width / 8 + 2;
  if (r.at + length > r.limit) return 'short';
  r.at += length;
  return { kind: 'i', value: 0, wide: readUnsigned(bytes, r.at - length, length) };
}

function readUnsigned(bytes: Uint8Array, p: number, size: number): bigint {
  let low = 0;
  for (let i = Math.min(size, 4) - 1; i >= 0; i--) low = low * 256 + bytes[p + i]!;
  if (size <= 4) return BigInt(low);
  let high = 0;
  for (let i = size - 1; i >= 4; i--) high = high * 256 + bytes[p + i]!;
  return (BigInt(high) << 32n) | BigInt(low);
}

function signed32(bytes: Uint8Array, p: number): number {
  return bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24);
}

/** Reads what ModRM says of memory, with SIB and displacement; null where bytes are missing. */
export function readMemory(bytes: Uint8Array, r: Reader): MemoryOperand | null {
  return r.addressWidth === 16 ? memory16(bytes, r) : memory32(bytes, r);
}

/** Reads a displacement of so many bytes; false where bytes are missing. */
function readDisplacement(bytes: Uint8Array, r: Reader, operand: MemoryOperand, length: 0 | 1 | 2 | 4): boolean {
  const { at } = r;
  if (at + length > r.limit) return false;
  r.at += length;
  if (length === 1) operand.disp = (bytes[at]! << 24) >> 24;
  else if (length === 2) operand.disp = ((bytes[at]! | (bytes[at + 1]! << 8)) << 16) >> 16;
  else if (length === 4) operand.disp = signed32(bytes, at);
  return true;
}

function memory32(bytes: Uint8Array, r: Reader): MemoryOperand | null {
  const mod = r.modrm >> 6;
  const rm = r.modrm & 7;
  const operand: MemoryOperand = { base: rm | (r.rex & 1 ? 8 : 0), index: -1, scale: 0, disp: 0 };
  let noBase = false;
  if (rm === 4) {
    if (r.at >= r.limit) return null;
    const sib = bytes[r.at++]!;
    operand.scale = sib >> 6;
    const index = ((sib >> 3) & 7) | (r.rex & 2 ? 8 : 0);
    if (index !== 4) operand.index = index;
    operand.base = (sib & 7) | (r.rex & 1 ? 8 : 0);
    noBase = (sib & 7) === 5 && mod === 0;
    if (noBase) operand.base = -1;
  } else if (rm === 5 && mod === 0) {
    operand.base = r.mode === 64 ? -2 : -1;
    noBase = true;
  }
  return readDisplacement(bytes, r, operand, mod === 1 ? 1 : mod === 2 || noBase ? 4 : 0) ? operand : null;
}

/** Base and index of 16-bit addressing by ModRM.rm (Intel SDM vol. 2, table 2-1). */
export const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3];
export const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1];

function memory16(bytes: Uint8Array, r: Reader): MemoryOperand | null {
  const mod = r.modrm >> 6;
  const rm = r.modrm & 7;
  const operand: MemoryOperand = { base: BASE16[rm]!, index: INDEX16[rm]!, scale: 0, disp: 0 };
  const absolute = mod === 0 && rm === 6;
  if (absolute) operand.base = -1;
  return readDisplacement(bytes, r, operand, mod === 1 ? 1 : mod === 2 || absolute ? 2 : 0) ? operand : null;
}
