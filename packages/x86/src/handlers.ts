/**
 * Which handler does an instruction: its key (mnemonic, width, operand shapes,
 * and the code mode where that matters), and the numbers of all keys that the
 * instruction table can give.
 */
import type { CodeMode } from '@paravane/engine-api';
import { decode, type Instruction } from './decode.js';
import { type Entry, TABLE } from './notation.js';
import type { Form } from './sem.js';
import { DEFINITIONS } from './semantics/definitions.js';

/** Instructions that use the stack or instruction pointer, whose widths depend on the code mode. */
const BY_MODE = /^(PUSH|POP|CALL|RET|LEAVE|JMP|J\w+|LOOP\w*)$/;

/** Operand shapes of an instruction. `near`: its branch target is in the same page. */
export function formsOf(insn: Instruction, near: boolean): Form[] {
  return insn.operands.map((operand): Form => {
    switch (operand.kind) {
      case 'r':
        return { kind: 'r', width: operand.width };
      case 'm':
        return { kind: 'm', width: operand.width };
      case 'i':
        return { kind: operand.wide === undefined ? 'i' : 'I', width: insn.width };
      case 'j':
        return { kind: near ? 'j' : 'J', width: 0 };
      case 'st':
        return { kind: 't', width: 80 };
      case 'x':
      case 'p':
      case 'c':
        return { kind: operand.kind, width: operand.kind === 'c' ? 8 : operand.kind === 'p' ? 64 : 128 };
      default:
        return { kind: 's', width: 0 };
    }
  });
}

/** x87 instructions, whose operands do not depend on the operand size. */
export const isX87 = (mnemonic: string): boolean => mnemonic.startsWith('F');

const STRING = /^(MOVS|STOS|LODS)$/;
/** Name of an instruction's meaning among the definitions: a repetition has one of its own. */
export const meaningOf = ({ mnemonic, rep }: Pick<Instruction, 'mnemonic' | 'rep'>): string =>
  rep !== 0 && STRING.test(mnemonic) ? `REP ${mnemonic}` : mnemonic;

/** A string instruction other than those that generated code does. */
const oddString = (insn: Instruction): boolean =>
  STRING.test(insn.mnemonic) && (insn.mode !== 64 || insn.addressWidth !== 64 || insn.segment >= 4);

export function keyOf(insn: Instruction, forms: readonly Form[]): string {
  const shapes = forms.map((form) => form.kind + (form.kind === 'r' || form.kind === 'm' ? form.width : '')).join(',');
  const byMode = BY_MODE.test(insn.mnemonic) || hasFarBit(insn);
  return `${meaningOf(insn)} ${isX87(insn.mnemonic) ? 64 : insn.width} ${shapes}${byMode && insn.mode === 32 ? ' @32' : ''}`;
}

/** A bit offset in a register reaches beyond the operand, within the address size. */
const hasFarBit = (insn: Instruction): boolean =>
  insn.memory !== null && /^BT[SRC]?$/.test(insn.mnemonic) && insn.operands[1]!.kind === 'r';
/** Within an address size other than the mode's. */
const farBitWithOddAddress = (insn: Instruction): boolean => hasFarBit(insn) && insn.addressWidth !== insn.mode;
/** Accesses that are not to the operand's address or may not happen at all, by an override that has to be checked. */
const lateByOverride = (insn: Instruction): boolean =>
  insn.mode === 32 &&
  (insn.segment === 1 || insn.segment >= 4) &&
  insn.memory !== null &&
  (hasFarBit(insn) || /^F(I?STP?|ISTTP|BSTP)$/.test(insn.mnemonic));

/** Whether generated code can do this instruction; otherwise TypeScript does. */
export const isGenerated = (insn: Instruction): boolean =>
  DEFINITIONS.has(meaningOf(insn)) &&
  !oddString(insn) &&
  // To memory it always stores 16 bits.
  !(insn.mnemonic === 'MOV_FROM_SEG' && insn.memory !== null) &&
  // Elsewhere somebody has to look up the descriptor.
  !(insn.mnemonic === 'MOV_TO_SEG' && (insn.mode !== 64 || insn.memory !== null)) &&
  !(/^(LOOP|JRCXZ)/.test(insn.mnemonic) && insn.addressWidth !== insn.mode) &&
  !farBitWithOddAddress(insn) &&
  !lateByOverride(insn) &&
  !(insn.mode === 32 && insn.mnemonic === 'POP' && insn.operands[0]!.kind === 's');

export interface HandlerShape {
  key: string;
  mnemonic: string;
  width: Instruction['width'];
  forms: Form[];
  mode: CodeMode;
}

/** Operand-size and repeat prefixes that make handlers of their own. */
const prefixesOf = ({ mnemonic }: Entry): readonly (readonly [p66: boolean, rep: number])[] =>
  [0, ...(STRING.test(mnemonic) ? [0xf3] : [])].flatMap((rep) => [false, true].map((p66) => [p66, rep] as const));

/** Sample encodings of an entry: operand sizes, register and memory forms, both modes. */
function* samples(entry: Entry): Generator<Instruction> {
  const bytes = new Uint8Array(32);
  for (const mode of [64, 32] as const) {
    for (const [p66, rep] of entry.prefix === '66' ? [[false, 0] as const] : prefixesOf(entry)) {
      for (const rexW of mode === 64 ? [0, 8] : [0]) {
        for (const modrm of entry.modrmByte >= 0 ? [entry.modrmByte] : entry.hasModrm ? [0xc1, 0x01] : [-1]) {
          bytes.fill(0);
          let p = 0;
          if (entry.vex) {
            bytes[p++] = 0xc4;
            bytes[p++] = 0xe0 | entry.map;
            const vvvv = entry.vvvv ? 0x70 : 0x78;
            bytes[p++] = (rexW || entry.w === 1 ? 0x80 : 0) | vvvv | ['NP', '66', 'F3', 'F2'].indexOf(entry.prefix);
          } else {
            if (p66) bytes[p++] = 0x66;
            if (entry.prefix !== '' && entry.prefix !== 'NP') bytes[p++] = parseInt(entry.prefix, 16);
            if (rep !== 0) bytes[p++] = rep;
            if (rexW || (entry.w === 1 && mode === 64)) bytes[p++] = 0x48;
            if (entry.map > 0) bytes[p++] = 0x0f;
            if (entry.map > 1) bytes[p++] = entry.map === 2 ? 0x38 : 0x3a;
          }
          bytes[p++] = entry.opcode;
          if (modrm >= 0)
            bytes[p++] = entry.modrmByte >= 0 ? modrm : modrm | ((entry.digit < 0 ? 2 : entry.digit) << 3);
          const insn = decode(bytes, 0, bytes.length, mode);
          if (insn !== null && typeof insn !== 'string' && insn.entry.line === entry.line) yield insn;
        }
      }
    }
  }
}

/** Every handler that generated code needs, in a fixed order: the table's. */
export function handlerShapes(): HandlerShape[] {
  const shapes = new Map<string, HandlerShape>();
  for (const entry of TABLE) {
    if (!DEFINITIONS.has(entry.mnemonic)) continue;
    for (const insn of samples(entry)) {
      for (const near of [true, false]) {
        const forms = formsOf(insn, near);
        const key = keyOf(insn, forms);
        if (!shapes.has(key) && isGenerated(insn))
          shapes.set(key, { key, mnemonic: meaningOf(insn), width: insn.width, forms, mode: insn.mode });
      }
    }
  }
  return [...shapes.values()];
}
