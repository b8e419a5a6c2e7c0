/**
 * The decoder: bytes to an `Instruction`, by the instruction table (Intel SDM
 * vol. 2, chapter 2). Bytes are the guest's: any sequence gives an instruction,
 * `null` (invalid opcode), `'short'` (more bytes are needed) or `'long'` (over 15
 * bytes, #GP), never an error. As on processors, what is undefined for its prefixes
 * or its ModRM is that only once all of its bytes are there.
 */
import type { CodeMode } from '@paravane/engine-api';
import { BY_OPCODE, type Entry, type OpcodeMap, opcodeIndex } from './notation.js';
import {
  type MemoryOperand,
  type Operand,
  type OperandText,
  parseOperandText,
  type Reader,
  readMemory,
  readOperand,
  type Width,
} from './operands.js';

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
  operands: readonly Operand[];
}

const SS = 2;
const DS = 3;
/** The segment that a memory operand lies in: the override, or SS where the base is a stack pointer, or DS. */
export function memorySegment({ segment, memory }: Instruction): number {
  return segment >= 0 ? segment : memory?.base === 4 || memory?.base === 5 ? SS : DS;
}

/** Instructions whose first operand, in memory, is only read. */
const READS_ONLY =
  /^(CMP|TEST|BT|PUSH|(JMP|CALL)(_FAR)?|I?MUL|IMUL1|I?DIV|LDMXCSR|XRSTOR|CLFLUSH.*|VER[RW]|L(LDT|TR|MSW|[GI]DT)|INVLPG|F(?!I?STP?$|ISTTP|BSTP|XSAVE|NST|NSAVE).*)$/;
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
export const MAX_LENGTH = 15;

/** An entry of the table with what decoding asks of its operands. */
interface Candidate {
  entry: Entry;
  operands: readonly OperandText[];
  /** What ModRM must name: a register, memory, or either. */
  rm: 'either' | 'register' | 'memory';
  /** MOV of control and debug registers takes any ModRM.mod for a register. */
  anyMod: boolean;
  /** Its operands are bytes. */
  bytes: boolean;
  /** 66 says nothing to it: its operands are of 32 or 64 bits only. */
  atLeast32: boolean;
}

function candidateOf(entry: Entry): Candidate {
  const { operands, mnemonic } = entry;
  const [first = '', second] = operands;
  const anyMod = operands.some((text) => text === 'Cq' || text === 'Dq');
  const register = entry.form === 'reg' || (!anyMod && operands.some((text) => /^[RUN]/.test(text)));
  const memory = entry.form === 'mem' || (entry.hasModrm && operands.some((text) => text[0] === 'M'));
  return {
    entry,
    operands: operands.map(parseOperandText),
    rm: memory ? 'memory' : register ? 'register' : 'either',
    anyMod,
    bytes:
      (/^([EGZXMORI]b|AL)$/.test(first) && mnemonic !== 'MOVS' && mnemonic !== 'PUSH') ||
      first === 'Xb' ||
      (second === 'AL' && (mnemonic === 'OUT' || mnemonic === 'MOV')),
    atLeast32: first.endsWith('y') && !operands.some((text) => text.endsWith('v')),
  };
}

/** Entries of each opcode in the order to try them, and whether ModRM follows it. */
const CANDIDATES = BY_OPCODE.map((list) => ({
  list: list.map(candidateOf),
  // Of an opcode with and without ModRM forms (90+r and F3 90) none mixes both.
  hasModrm: list.some((entry) => entry.hasModrm),
}));

/** The instruction that is being read; one object for all, since nothing reads two at a time. */
const reader: Reader = {
  at: 0,
  limit: 0,
  mode: 64,
  small: false,
  p66: false,
  addressWidth: 64,
  rep: 0,
  rex: 0,
  vvvv: 0,
  vexL: 0,
  opcode: 0,
  modrm: -1,
  width: 32,
  memory: null,
};

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
  const r = reader;
  r.limit = limit;
  r.mode = mode;
  r.small = small;
  r.p66 = false;
  r.addressWidth = small ? 16 : mode;
  r.rep = r.rex = r.vvvv = r.vexL = 0;
  r.modrm = -1;
  r.memory = null;
  let lock = false;
  let segment = -1;
  let p = at;
  let opcode = 0;
  for (; ; p++) {
    if (p >= limit) return tooShort;
    opcode = bytes[p]!;
    if (opcode === 0x66) r.p66 = true;
    else if (opcode === 0x67) r.addressWidth = mode === 64 || small ? 32 : 16;
    else if (opcode === 0xf0) lock = true;
    else if (opcode === 0xf2 || opcode === 0xf3) r.rep = opcode;
    else if (SEGMENT_OF_PREFIX[opcode] !== undefined) {
      // In 64-bit mode ES, CS, SS and DS overrides are ignored.
      if (mode !== 64 || opcode >= 0x64) segment = SEGMENT_OF_PREFIX[opcode]!;
    } else if (mode === 64 && (opcode & 0xf0) === 0x40) {
      r.rex = opcode;
      continue;
    } else break;
    r.rex = 0;
  }
  let map: OpcodeMap = 0;
  let vex = false;
  if ((opcode === 0xc4 || opcode === 0xc5) && p + 1 < limit && (mode === 64 || bytes[p + 1]! >= 0xc0)) {
    if (r.rex !== 0 || r.p66 || r.rep !== 0 || lock) return null;
    const three = opcode === 0xc4;
    if (p + (three ? 3 : 2) >= limit) return tooShort;
    const b1 = bytes[p + 1]!;
    const b2 = three ? bytes[p + 2]! : b1 & 0x7f;
    vex = true;
    map = (three ? b1 & 31 : 1) as OpcodeMap;
    if (map < 1 || map > 3) return null;
    r.rex = 0x40 | (b1 & 0x80 ? 0 : 4) | (three ? (b1 & 0x40 ? 0 : 2) | (b1 & 0x20 ? 0 : 1) : 0);
    if (mode !== 64) r.rex = 0x40;
    if (b2 & 0x80) r.rex |= 8;
    r.vvvv = ~(b2 >> 3) & (mode === 64 ? 15 : 7);
    r.vexL = (b2 >> 2) & 1;
    const pp = b2 & 3;
    r.p66 = pp === 1;
    r.rep = pp === 2 ? 0xf3 : pp === 3 ? 0xf2 : 0;
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
  r.at = p + 1;
  r.opcode = opcode;
  const { list, hasModrm } = CANDIDATES[opcodeIndex(vex, map, opcode)]!;
  // What is behind 0F 38 and 0F 3A has ModRM, defined or not.
  const wantsModrm = hasModrm || (!vex && map >= 2);
  if (wantsModrm) {
    if (r.at >= limit) return tooShort;
    r.modrm = bytes[r.at]!;
  }
  let found: Candidate | undefined;
  for (let i = 0; i < list.length && !found; i++) if (matches(list[i]!, r)) found = list[i];
  if (!found) return wantsModrm && !isWhole(bytes, r, hasByte(list, map)) ? tooShort : null;
  const { entry, operands } = found;
  const undefinedSo =
    (lock && !(entry.lock && entry.hasModrm && r.modrm < 0xc0)) ||
    (vex && (r.vexL !== 0 || (r.vvvv !== 0 && !entry.vvvv)));
  if (entry.hasModrm) r.at++;
  if (found.anyMod) r.modrm |= 0xc0;
  r.width = operandSize(entry, r);
  if (entry.hasModrm && entry.modrmByte < 0 && r.modrm < 0xc0) {
    r.memory = readMemory(bytes, r);
    if (r.memory === null) return tooShort;
  }
  const read = readOperands(operands, bytes, r);
  if (read === 'short') return tooShort;
  if (read === null || undefinedSo) return null;
  return {
    entry,
    mnemonic: entry.mnemonic,
    length: r.at - at,
    mode,
    width: found.bytes ? 8 : found.atLeast32 && r.width === 16 ? 32 : r.width,
    addressWidth: r.addressWidth,
    lock,
    rep: entry.prefix === 'F2' || entry.prefix === 'F3' ? 0 : r.rep,
    segment,
    memory: r.memory,
    operands: read,
  };
}

const NONE: readonly Operand[] = [];

/** Reads all operands. */
function readOperands(
  texts: readonly OperandText[],
  bytes: Uint8Array,
  r: Reader,
): readonly Operand[] | null | 'short' {
  if (texts.length === 0) return NONE;
  const first = readOperand(texts[0]!, bytes, r);
  if (first === null || first === 'short') return first;
  // An array for each number: one that grows takes several times the room.
  if (texts.length === 1) return [first];
  const second = readOperand(texts[1]!, bytes, r);
  if (second === null || second === 'short') return second;
  if (texts.length === 2) return [first, second];
  const operands = [first, second];
  for (let i = 2; i < texts.length; i++) {
    const operand = readOperand(texts[i]!, bytes, r);
    if (operand === null || operand === 'short') return operand;
    operands.push(operand);
  }
  return operands;
}

/** Whether an immediate byte follows an opcode whose ModRM or prefixes name no instruction. */
const hasByte = (list: readonly Candidate[], map: OpcodeMap): boolean =>
  map === 3 || (list.length > 0 && list.every(({ entry }) => entry.operands.includes('Ib')));

/** Whether all bytes are there, from ModRM on, of an instruction that is undefined. */
function isWhole(bytes: Uint8Array, r: Reader, immediate: boolean): boolean {
  r.at++;
  return (r.modrm >= 0xc0 || readMemory(bytes, r) !== null) && r.at + (immediate ? 1 : 0) <= r.limit;
}

function matches({ entry: e, rm }: Candidate, r: Reader): boolean {
  if (e.only === (r.mode === 64 ? 'i64' : 'o64')) return false;
  if (e.prefix !== '') {
    const actual = r.rep === 0xf3 ? 'F3' : r.rep === 0xf2 ? 'F2' : r.p66 ? '66' : 'NP';
    // CRC32, MOVBE and the like take 66 beside their own prefix as an operand size.
    if (e.prefix !== actual) return false;
  }
  if (e.digit >= 0 && ((r.modrm >> 3) & 7) !== e.digit) return false;
  if (e.modrmByte >= 0 && r.modrm !== e.modrmByte) return false;
  if (e.w >= 0 && (r.rex & 8 ? 1 : 0) !== e.w) return false;
  if (e.noRexB && r.rex & 1) return false;
  if (e.noF3 && r.rep === 0xf3) return false;
  return rm === 'either' || (rm === 'memory') === r.modrm < 0xc0;
}

/** Operand size in bits by prefixes and mode. */
export function operandSize(
  e: Entry,
  { mode, p66, rex, small = false }: Pick<Reader, 'mode' | 'p66' | 'rex'> & { small?: boolean },
): Width {
  if (e.size === 'n32') return 32;
  const narrow = p66 && e.prefix !== '66';
  // An encoding that has 66 for a prefix, or none, has one size: it is no other in 16-bit code.
  const fixed = e.prefix === '66' || e.prefix === 'NP';
  if (mode !== 64) return !fixed && narrow !== small ? 16 : 32;
  if (e.size === 'f64' || rex & 8) return 64;
  return e.size === 'd64' ? (narrow ? 16 : 64) : narrow ? 16 : 32;
}
