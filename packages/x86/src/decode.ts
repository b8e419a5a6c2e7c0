/**
 * The decoder: bytes to an `Instruction`, by the instruction table (Intel SDM
 * vol. 2, chapter 2). Bytes are the guest's: any sequence gives an instruction,
 * `null` (invalid opcode), `'short'` (more bytes are needed) or `'long'` (over 15
 * bytes, #GP), never an error. As on processors, what is undefined for its prefixes
 * or its ModRM is that only once all of its bytes are there.
 */
import type { CodeMode } from '@paravane/engine-api';
import { BY_OPCODE, type Entry, type OpcodeMap, opcodeIndex } from './notation.js';

export type Width = 8 | 16 | 32 | 64;

export type Operand =
  /** General register; `high` is AH, CH, DH, BH. */
  | { kind: 'r'; n: number; width: Width; high: boolean }
  /** XMM register. */
  | { kind: 'x'; n: number }
  /** MMX register. */
  | { kind: 'p'; n: number }
  /** x87 register, counted from the top of the stack. */
  | { kind: 'st'; n: number }
  /** Segment, control or debug register. */
  | { kind: 's'; n: number }
  /** Memory of `width` bits (0 where the instruction does not access it). */
  | { kind: 'm'; width: number }
  | { kind: 'i'; value: number; wide?: bigint }
  /** The count in CL. */
  | { kind: 'c' }
  /** Branch displacement from the end of the instruction. */
  | { kind: 'j'; value: number };

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

export interface Instruction {
  entry: Entry;
  mnemonic: string;
  /** Bytes. */
  length: number;
  mode: CodeMode;
  /** Effective operand size in bits: 16, 32 or 64; 8 where the entry's operands are bytes. */
  width: Width;
  addressWidth: 16 | 32 | 64;
  lock: boolean;
  /** 0, 0xF2 (REPNE) or 0xF3 (REP, REPE). */
  rep: number;
  /** Segment override: number, or -1. */
  segment: number;
  memory: MemoryOperand | null;
  operands: Operand[];
}

const SS = 2;
const DS = 3;
/** The segment that a memory operand lies in: the override, or SS where the base is a stack pointer, or DS. */
export function memorySegment({ segment, memory }: Instruction): number {
  return segment >= 0 ? segment : memory?.base === 4 || memory?.base === 5 ? SS : DS;
}

/** Instructions whose first operand, in memory, is only read. */
const READS_ONLY = /^(CMP|TEST|BT|PUSH|JMP|CALL|I?MUL|I?DIV|LDMXCSR|F(?!I?STP?$|ISTTP|BSTP|XSAVE|NST|NSAVE).*)$/;
export const writesMemory = ({ operands, mnemonic }: Instruction): boolean =>
  operands[0]?.kind === 'm' && !READS_ONLY.test(mnemonic);

export const SEGMENT_OF_PREFIX: Partial<Record<number, number>> = {
  0x26: 0,
  0x2e: 1,
  0x36: 2,
  0x3e: 3,
  0x64: 4,
  0x65: 5,
};
const SEGMENT_NAMES = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];
export const MAX_LENGTH = 15;
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

/** What prefixes and ModRM said, while an instruction is being read. */
interface Parts {
  mode: CodeMode;
  /** Operands and addresses have 16 bits where no prefix says otherwise. */
  small: boolean;
  p66: boolean;
  addressWidth: 16 | 32 | 64;
  rep: number;
  rex: number;
  vexW: number;
  vvvv: number;
  vexL: number;
  modrm: number;
}

/** `small`: code of a 16-bit segment (`mode` is 32). */
export function decode(
  bytes: Uint8Array,
  at: number,
  end: number,
  mode: CodeMode,
  small = false,
): Instruction | null | 'short' | 'long' {
  const limit = Math.min(end, at + MAX_LENGTH);
  const tooShort = end - at < MAX_LENGTH ? 'short' : 'long';
  const parts: Parts = {
    mode,
    small,
    p66: false,
    addressWidth: small ? 16 : mode,
    rep: 0,
    rex: 0,
    vexW: 0,
    vvvv: 0,
    vexL: 0,
    modrm: -1,
  };
  let lock = false;
  let segment = -1;
  let p = at;
  let opcode = 0;
  for (; ; p++) {
    if (p >= limit) return tooShort;
    opcode = bytes[p]!;
    if (opcode === 0x66) parts.p66 = true;
    else if (opcode === 0x67) parts.addressWidth = mode === 64 || small ? 32 : 16;
    else if (opcode === 0xf0) lock = true;
    else if (opcode === 0xf2 || opcode === 0xf3) parts.rep = opcode;
    else if (SEGMENT_OF_PREFIX[opcode] !== undefined) {
      // In 64-bit mode ES, CS, SS and DS overrides are ignored.
      if (mode !== 64 || opcode >= 0x64) segment = SEGMENT_OF_PREFIX[opcode]!;
    } else if (mode === 64 && (opcode & 0xf0) === 0x40) {
      parts.rex = opcode;
      continue;
    } else break;
    parts.rex = 0;
  }
  let map: OpcodeMap = 0;
  let vex = false;
  if ((opcode === 0xc4 || opcode === 0xc5) && p + 1 < limit && (mode === 64 || bytes[p + 1]! >= 0xc0)) {
    if (parts.rex !== 0 || parts.p66 || parts.rep !== 0 || lock) return null;
    const three = opcode === 0xc4;
    if (p + (three ? 3 : 2) >= limit) return tooShort;
    const b1 = bytes[p + 1]!;
    const b2 = three ? bytes[p + 2]! : b1 & 0x7f;
    vex = true;
    map = (three ? b1 & 31 : 1) as OpcodeMap;
    if (map < 1 || map > 3) return null;
    parts.rex = 0x40 | (b1 & 0x80 ? 0 : 4) | (three ? (b1 & 0x40 ? 0 : 2) | (b1 & 0x20 ? 0 : 1) : 0);
    if (mode !== 64) parts.rex = 0x40;
    parts.vexW = b2 >> 7;
    if (parts.vexW) parts.rex |= 8;
    parts.vvvv = ~(b2 >> 3) & (mode === 64 ? 15 : 7);
    parts.vexL = (b2 >> 2) & 1;
    const pp = b2 & 3;
    parts.p66 = pp === 1;
    parts.rep = pp === 2 ? 0xf3 : pp === 3 ? 0xf2 : 0;
    p += three ? 3 : 2;
    opcode = bytes[p]!;
  } else if (opcode === 0x0f) {
    if (++p >= limit) return tooShort;
    opcode = bytes[p]!;
    map = 1;
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode === 0x38 ? 2 : 3;
      if (++p >= limit) return tooShort;
      opcode = bytes[p]!;
    }
  }
  p++;
  const list = BY_OPCODE[opcodeIndex(vex, map, opcode)]!;
  // What is behind 0F 38 and 0F 3A has ModRM, defined or not.
  const wantsModrm = (!vex && map >= 2) || list.some((e) => e.hasModrm);
  if (wantsModrm) {
    // Of an opcode with and without ModRM forms (90+r and F3 90) none mixes both.
    if (p >= limit) return tooShort;
    parts.modrm = bytes[p]!;
  }
  const entry = list.find((e) => matches(e, parts));
  if (!entry) return wantsModrm && !isWhole(bytes, p, limit, parts, hasByte(list, map)) ? tooShort : null;
  const undefinedSo =
    (lock && !(entry.lock && entry.hasModrm && parts.modrm < 0xc0)) ||
    (vex && (parts.vexL !== 0 || (parts.vvvv !== 0 && !entry.vvvv)));
  if (entry.hasModrm) p++;
  // MOV of control and debug registers takes any ModRM.mod for a register.
  if (entry.operands.some((text) => text === 'Cq' || text === 'Dq')) parts.modrm |= 0xc0;
  const insn: Instruction = {
    entry,
    mnemonic: entry.mnemonic,
    length: 0,
    mode,
    width: operandSize(entry, parts),
    addressWidth: parts.addressWidth,
    lock,
    rep: entry.prefix === 'F2' || entry.prefix === 'F3' ? 0 : parts.rep,
    segment,
    memory: null,
    operands: [],
  };
  if (entry.hasModrm && entry.modrmByte < 0 && parts.modrm < 0xc0) {
    const memory = parts.addressWidth === 16 ? memory16(bytes, p, limit, parts) : memory32(bytes, p, limit, parts);
    if (memory === null) return tooShort;
    insn.memory = memory.operand;
    p = memory.next;
  }
  for (const text of entry.operands) {
    const immediate = readImmediate(bytes, p, limit, text, insn, parts);
    if (immediate === 'short') return tooShort;
    if (immediate) {
      p = immediate.next;
      insn.operands.push(immediate.operand);
    } else {
      const operand = plainOperand(text, insn, parts, opcode);
      if (!operand) return null;
      insn.operands.push(operand);
    }
  }
  if (undefinedSo) return null;
  const first = entry.operands[0];
  if (first !== undefined && /^([EGZXMORI]b|AL)$/.test(first) && !['MOVS', 'PUSH'].includes(entry.mnemonic))
    insn.width = 8;
  else if (entry.operands[0] === 'Xb') insn.width = 8;
  if (entry.operands[1] === 'AL' && (entry.mnemonic === 'OUT' || entry.mnemonic === 'MOV')) insn.width = 8;
  // 66 says nothing to instructions whose operands are of 32 or 64 bits only.
  if (insn.width === 16 && first?.endsWith('y') && !entry.operands.some((text) => text.endsWith('v'))) insn.width = 32;
  insn.length = p - at;
  return insn;
}

/** Whether an immediate byte follows an opcode whose ModRM or prefixes name no instruction. */
const hasByte = (list: readonly Entry[], map: OpcodeMap): boolean =>
  map === 3 || (list.length > 0 && list.every(({ operands }) => operands.includes('Ib')));

/** Whether all bytes are there, from ModRM at `p` on, of an instruction that is undefined. */
function isWhole(bytes: Uint8Array, p: number, limit: number, parts: Parts, immediate: boolean): boolean {
  const read = parts.addressWidth === 16 ? memory16 : memory32;
  const next = parts.modrm >= 0xc0 ? p + 1 : read(bytes, p + 1, limit, parts)?.next;
  return next !== undefined && next + (immediate ? 1 : 0) <= limit;
}

function matches(e: Entry, parts: Parts): boolean {
  if (e.only === (parts.mode === 64 ? 'i64' : 'o64')) return false;
  if (e.prefix !== '') {
    const actual = parts.rep === 0xf3 ? 'F3' : parts.rep === 0xf2 ? 'F2' : parts.p66 ? '66' : 'NP';
    // CRC32, MOVBE and the like take 66 beside their own prefix as an operand size.
    if (e.prefix !== actual) return false;
  }
  if (e.digit >= 0 && ((parts.modrm >> 3) & 7) !== e.digit) return false;
  if (e.modrmByte >= 0 && parts.modrm !== e.modrmByte) return false;
  if (e.w >= 0 && (parts.rex & 8 ? 1 : 0) !== e.w) return false;
  if (e.noRexB && parts.rex & 1) return false;
  if (e.noF3 && parts.rep === 0xf3) return false;
  const memory = parts.modrm < 0xc0;
  if (e.form === 'reg' && memory) return false;
  if (e.form === 'mem' && !memory) return false;
  for (const text of e.operands) {
    if (text[0] === 'M' && e.hasModrm && !memory) return false;
    if (
      (text[0] === 'R' || text[0] === 'U' || text[0] === 'N') &&
      memory &&
      !/^[CD]q/.test(e.operands[0]!) &&
      !/^[CD]q/.test(e.operands[1] ?? '')
    )
      return false;
  }
  return true;
}

/** Operand size in bits by prefixes and mode. */
export function operandSize(e: Entry, parts: Pick<Parts, 'mode' | 'p66' | 'rex'> & { small?: boolean }): Width {
  if (e.size === 'n32') return 32;
  if (parts.mode !== 64) return (parts.p66 && e.prefix !== '66') !== (parts.small ?? false) ? 16 : 32;
  if (e.size === 'f64' || parts.rex & 8) return 64;
  const narrow = parts.p66 && e.prefix !== '66';
  return e.size === 'd64' ? (narrow ? 16 : 64) : narrow ? 16 : 32;
}

/** Bits of a size letter. */
function bitsOf(letter: string, insn: Instruction, parts: Parts): number {
  switch (letter) {
    case 'v':
      return insn.width;
    case 'z':
      return insn.width === 16 ? 16 : 32;
    case 'y':
      return insn.width === 64 ? 64 : 32;
    case 'p':
      return 16 + insn.width;
    case 'R':
      return parts.mode;
    case '':
      return 0;
    default:
      return FIXED_BITS[letter] ?? 0;
  }
}

function generalRegister(n: number, bits: number, parts: Parts): Operand {
  const high = bits === 8 && parts.rex === 0 && n >= 4;
  return { kind: 'r', n: high ? n - 4 : n, width: bits as Width, high };
}

function plainOperand(text: string, insn: Instruction, parts: Parts, opcode: number): Operand | null {
  const rm = (parts.modrm & 7) | (parts.rex & 1 ? 8 : 0);
  const reg = ((parts.modrm >> 3) & 7) | (parts.rex & 4 ? 8 : 0);
  const isMemory = parts.modrm < 0xc0;
  const letter = text.slice(1);
  switch (text) {
    case 'AL':
      return { kind: 'r', n: 0, width: 8, high: false };
    case 'rAX':
      return { kind: 'r', n: 0, width: insn.width, high: false };
    case 'CL':
      return { kind: 'c' };
    case 'DX':
      return { kind: 'r', n: 2, width: 16, high: false };
    case '1':
      return { kind: 'i', value: 1 };
    case 'ST0':
      return { kind: 'st', n: 0 };
    case 'STi':
      return { kind: 'st', n: parts.modrm & 7 };
    case 'XMM0':
      return { kind: 'x', n: 0 };
  }
  const segment = SEGMENT_NAMES.indexOf(text);
  if (segment >= 0) return { kind: 's', n: segment };
  switch (text[0]) {
    case 'E':
      return isMemory
        ? { kind: 'm', width: bitsOf(letter, insn, parts) }
        : generalRegister(rm, bitsOf(letter, insn, parts), parts);
    case 'R':
      return generalRegister(rm, letter === 'q' ? parts.mode : bitsOf(letter, insn, parts), parts);
    case 'G':
      return generalRegister(reg, bitsOf(letter, insn, parts), parts);
    case 'B':
      return generalRegister(parts.vvvv, bitsOf(letter, insn, parts), parts);
    case 'Z':
      return generalRegister((opcode & 7) | (parts.rex & 1 ? 8 : 0), bitsOf(letter, insn, parts), parts);
    case 'M':
      return { kind: 'm', width: bitsOf(letter, insn, parts) };
    case 'V':
      return { kind: 'x', n: reg };
    case 'W':
      return isMemory ? { kind: 'm', width: bitsOf(letter, insn, parts) } : { kind: 'x', n: rm };
    case 'U':
      return { kind: 'x', n: rm };
    case 'P':
      return { kind: 'p', n: reg & 7 };
    case 'Q':
      return isMemory ? { kind: 'm', width: bitsOf(letter, insn, parts) } : { kind: 'p', n: rm & 7 };
    case 'N':
      return { kind: 'p', n: rm & 7 };
    case 'S':
      return (reg & 7) < 6 ? { kind: 's', n: reg & 7 } : null;
    case 'C':
    case 'D':
      return { kind: 's', n: reg };
    case 'X':
      return { kind: 'm', width: bitsOf(letter, insn, parts) };
  }
  return null;
}

function readImmediate(
  bytes: Uint8Array,
  p: number,
  limit: number,
  text: string,
  insn: Instruction,
  parts: Parts,
): { operand: Operand; next: number } | 'short' | null {
  const kind = text[0];
  if ((kind !== 'I' && kind !== 'J' && kind !== 'O' && kind !== 'A') || text === 'AL') return null;
  if (kind === 'O') {
    const size = parts.addressWidth / 8;
    if (p + size > limit) return 'short';
    const wide = readUnsigned(bytes, p, size);
    insn.memory = { base: -1, index: -1, scale: 0, disp: 0, wide };
    return { operand: { kind: 'm', width: text === 'Ob' ? 8 : insn.width }, next: p + size };
  }
  if (kind === 'A') {
    const size = insn.width / 8 + 2;
    if (p + size > limit) return 'short';
    return { operand: { kind: 'i', value: 0, wide: readUnsigned(bytes, p, size) }, next: p + size };
  }
  const letter = text[1]!;
  const bits = letter === 'v' ? insn.width : letter === 'z' ? (insn.width === 16 ? 16 : 32) : letter === 'w' ? 16 : 8;
  const size = bits / 8;
  if (p + size > limit) return 'short';
  const wide = readUnsigned(bytes, p, size);
  const value = Number(BigInt.asIntN(Math.min(bits, 32), wide));
  if (kind === 'J') return { operand: { kind: 'j', value }, next: p + size };
  const operand: Operand = bits === 64 ? { kind: 'i', value, wide } : { kind: 'i', value };
  return { operand, next: p + size };
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

type Memory = { operand: MemoryOperand; next: number } | null;

function memory32(bytes: Uint8Array, start: number, limit: number, parts: Parts): Memory {
  let p = start;
  const mod = parts.modrm >> 6;
  const rm = parts.modrm & 7;
  const operand: MemoryOperand = { base: rm | (parts.rex & 1 ? 8 : 0), index: -1, scale: 0, disp: 0 };
  let noBase = false;
  if (rm === 4) {
    if (p >= limit) return null;
    const sib = bytes[p++]!;
    operand.scale = sib >> 6;
    const index = ((sib >> 3) & 7) | (parts.rex & 2 ? 8 : 0);
    if (index !== 4) operand.index = index;
    operand.base = (sib & 7) | (parts.rex & 1 ? 8 : 0);
    noBase = (sib & 7) === 5 && mod === 0;
    if (noBase) operand.base = -1;
  } else if (rm === 5 && mod === 0) {
    operand.base = parts.mode === 64 ? -2 : -1;
    noBase = true;
  }
  if (mod === 1) {
    if (p >= limit) return null;
    operand.disp = (bytes[p++]! << 24) >> 24;
  } else if (mod === 2 || noBase) {
    if (p + 4 > limit) return null;
    operand.disp = signed32(bytes, p);
    p += 4;
  }
  return { operand, next: p };
}

/** Base and index of 16-bit addressing by ModRM.rm (Intel SDM vol. 2, table 2-1). */
export const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3];
export const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1];

function memory16(bytes: Uint8Array, start: number, limit: number, parts: Parts): Memory {
  let p = start;
  const mod = parts.modrm >> 6;
  const rm = parts.modrm & 7;
  const operand: MemoryOperand = { base: BASE16[rm]!, index: INDEX16[rm]!, scale: 0, disp: 0 };
  const absolute = mod === 0 && rm === 6;
  if (absolute) operand.base = -1;
  if (mod === 1) {
    if (p >= limit) return null;
    operand.disp = (bytes[p++]! << 24) >> 24;
  } else if (mod === 2 || absolute) {
    if (p + 2 > limit) return null;
    operand.disp = ((bytes[p]! | (bytes[p + 1]! << 8)) << 16) >> 16;
    p += 2;
  }
  return { operand, next: p };
}
