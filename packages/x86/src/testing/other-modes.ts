/**
 * Questions of the silicon tables whose instruction means the same in 64-, 32- and 16-bit code: bytes without REX whose
 * operands are not of 64 bits, and for 16-bit code with the prefixes for sizes of 32 bits that 32-bit code needs none for.
 */

import { Gpr, Seg } from '@paravane/engine-api';
import { type FormQuestion, formsOf, type QuestionForm, questionOf } from '../../../../tools/silicon/src/questions.js';
import { GROUPS } from '../../../../tools/silicon/src/tables/groups.js';
import { decode, type Instruction } from '../decode.js';

/** Groups and options of what goes by the mode: stack, indirect branches, prefixes, REX; what is random; what ends a case. */
const BY_MODE: readonly string[] = ['stack', 'prefix', 'unknowable', 'xsave', 'sse4-more', 'code-32'];
const BY_MODE_OPTIONS = ['stack', 'branch', 'return', 'count', 'breakpoint'];
/** By option: fixed registers that addresses and counts are taken from. */
const IMPLIED: Readonly<Record<string, readonly number[]>> = {
  string: [Gpr.rcx, Gpr.rsi, Gpr.rdi],
  table: [Gpr.rbx],
  store: [Gpr.rdi],
};
/** Of areas whose layout the mode decides on, and of selectors, which it comes with. */
const LAYOUTS = /^(FXSAVE|FXRSTOR|MOV_FROM_SEG)$/;
const LAYOUTS16 = /^(FNSTENV|FLDENV|FNSAVE|FRSTOR)$/;
/** All places of a memory operand come in so many. */
const CASES = 24;
const OPERAND_SIZE = 0x66;
const ADDRESS_SIZE = 0x67;
/** CS can't be written to; FS and GS have no base in 32-bit code. */
const OTHER_SEGMENTS: readonly number[] = [Seg.cs, Seg.fs, Seg.gs];
export const MASK = 0xffff_ffffn;

const instruction = (code: Uint8Array, mode: 64 | 32, small = false): Instruction | null => {
  const insn = decode(code, 0, code.length, mode, small);
  return insn !== null && typeof insn !== 'string' && insn.length === code.length ? insn : null;
};
const isBranch = ({ operands }: Instruction): boolean => operands.some(({ kind }) => kind === 'j');
const alike = (a: Instruction, b: Instruction | null): boolean =>
  b !== null &&
  a.entry === b.entry &&
  (a.width === b.width || isBranch(a)) &&
  JSON.stringify([a.operands, a.memory]) === JSON.stringify([b.operands, b.memory]);

/** The question's instruction in 32-bit code, if it means the same there. */
function in32({ code, memory, initial }: FormQuestion, implied: readonly number[]): Instruction | null {
  const long = instruction(code, 64);
  const short = instruction(code, 32);
  if (!long || !short || long.entry.only !== '' || long.addressWidth !== 64) return null;
  if (long.memory?.base === -2 || long.memory?.wide !== undefined || !alike(long, short)) return null;
  if (memory !== undefined && memory.address > MASK) return null;
  if (implied.some((register) => initial.gpr[register]! > MASK)) return null;
  return LAYOUTS.test(long.mnemonic) || OTHER_SEGMENTS.includes(short.segment) ? null : short;
}
/** The bytes that mean in 16-bit code what `code` means in 32-bit code. */
function bytes16(code: Uint8Array, short: Instruction): Uint8Array | null {
  if (LAYOUTS16.test(short.mnemonic)) return null;
  const at = code.indexOf(OPERAND_SIZE);
  const without = at < 0 ? code : Uint8Array.from([...code.subarray(0, at), ...code.subarray(at + 1)]);
  const choices = [[...code], [OPERAND_SIZE, ...code], [...without]].map((bytes) =>
    Uint8Array.from([ADDRESS_SIZE, ...bytes]),
  );
  const same = (insn: Instruction | null): boolean => alike(short, insn) && insn?.width === short.width;
  return choices.find((bytes) => bytes.length <= 15 && same(instruction(bytes, 32, true))) ?? null;
}

export interface SharedQuestion extends FormQuestion {
  key: string;
  /** The instruction's bytes in 16-bit code, if it means the same there. */
  code16: Uint8Array | null;
}

export const SHARED_GROUPS: readonly string[] = Object.keys(GROUPS).filter((group) => !BY_MODE.includes(group));

function* ofForm(form: QuestionForm): Generator<SharedQuestion> {
  const implied = [...form.form.options].flatMap((option) => IMPLIED[option] ?? []);
  for (let i = 0; i < CASES; i++) {
    const question = questionOf(form, i);
    const short = in32(question, implied);
    if (short) yield { ...question, key: `${form.key} ${i}`, code16: bytes16(question.code, short) };
  }
}
export function* sharedQuestions(group: string): Generator<SharedQuestion> {
  for (const form of formsOf(group))
    if (!BY_MODE_OPTIONS.some((option) => form.form.options.has(option))) yield* ofForm(form);
}
