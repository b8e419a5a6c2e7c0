/** Which results the manual (Intel SDM volume 2, "Flags Affected" of each instruction) leaves undefined. */

import { RFLAGS } from '../../../packages/x86/silicon/state.js';
import { containerOf, type Draft, getOperand, RCX } from './draft.js';

const { CF, PF, AF, ZF, SF, OF } = RFLAGS;

const ALWAYS: Record<string, number> = {
  AND: AF,
  OR: AF,
  XOR: AF,
  TEST: AF,
  MUL: SF | ZF | AF | PF,
  IMUL: SF | ZF | AF | PF,
  DIV: CF | OF | SF | ZF | AF | PF,
  IDIV: CF | OF | SF | ZF | AF | PF,
  BT: OF | SF | AF | PF,
  BTS: OF | SF | AF | PF,
  BTR: OF | SF | AF | PF,
  BTC: OF | SF | AF | PF,
  BSF: CF | OF | SF | AF | PF,
  BSR: CF | OF | SF | AF | PF,
  TZCNT: OF | SF | AF | PF,
  LZCNT: OF | SF | AF | PF,
  ANDN: AF | PF,
  BLSI: AF | PF,
  BLSR: AF | PF,
  BLSMSK: AF | PF,
  BEXTR: AF | SF | PF,
  BZHI: AF | PF,
  DAA: OF,
  DAS: OF,
  AAA: OF | SF | ZF | PF,
  AAS: OF | SF | ZF | PF,
  AAM: OF | CF | AF,
  AAD: OF | CF | AF,
};

/** The count as the processor masks it. */
export function shiftCount(draft: Draft): number {
  const { form, parts, initial } = draft;
  const width = form.operands[0].size;
  const last = form.operands.at(-1);
  const raw =
    last?.text === 'CL' ? Number(initial.gpr[RCX] & 0xffn) : last?.text === '1' ? 1 : (parts.immediate[0] ?? 0);
  return raw & (width === 8 ? 63 : 31);
}

function shiftFlags(draft: Draft): number {
  const { mnemonic, operands } = draft.form;
  const bits = operands[0].size * 8;
  const count = shiftCount(draft);
  if (count === 0) return 0;
  const overflow = count === 1 ? 0 : OF;
  if (/^(ROL|ROR|RCL|RCR)$/.test(mnemonic)) return overflow;
  if (mnemonic === 'SHLD' || mnemonic === 'SHRD') return count > bits ? CF | OF | SF | ZF | AF | PF : AF | overflow;
  const carry = mnemonic !== 'SAR' && count >= bits ? CF : 0;
  return AF | overflow | carry;
}

/** C0, C2 and C3; C1; all of them. */
const C023 = 0x4500;
const C1 = 0x200;

const CONDITION_CODES: readonly (readonly [RegExp, number])[] = [
  [/^FU?COM|^FICOM|^FTST|^FXAM|^FPREM|^FNINIT|^FLDENV|^FRSTOR|^FNSAVE/, 0],
  [/^(FNOP|FWAIT|FNCLEX|FFREE|FLDCW|FNST)/, C023 | C1],
  [/^(FSIN|FCOS|FSINCOS|FPTAN)$/, 0x4100 | C1],
  [/^(F2XM1|FYL2X|FYL2XP1|FPATAN)$/, C023 | C1],
  [/^F(?!X(SAVE|RSTOR))/, C023],
];

/** Registers that time or chance decides on. */
function markUnknowable({ form, registers, undefined: marks }: Draft): void {
  if (form.options.has('time')) marks.gprs = form.mnemonic === 'CPUID' ? 0xf : form.mnemonic === 'RDTSCP' ? 0x7 : 0x5;
  if (form.options.has('chance')) marks.gprs = 1 << registers[0];
}

/** BSF and BSR with any prefixes, which may make them TZCNT and LZCNT, of any size, with any registers. */
function markScan({ registers, initial, undefined: marks }: Draft): void {
  marks.rflags = CF | OF | SF | AF | PF;
  const [to, from] = registers.map((register) => register & 7);
  const narrow = (register: number): boolean => (initial.gpr[register] & 0xffffn) === 0n;
  if (narrow(from) || narrow(from + 8)) marks.gprs = (1 << to) | (1 << (to + 8));
}

export function markUndefined(draft: Draft): void {
  const { form, undefined: marks } = draft;
  if (form.options.has('shift')) marks.rflags = shiftFlags(draft);
  else marks.rflags = ALWAYS[form.mnemonic.replace('LOCK_', '')] ?? 0;
  if (form.options.has('approximate')) marks.tolerance = 'rcp-single';
  if (form.options.has('transcendental')) marks.tolerance = 'x87-ulp';
  marks.fsw = CONDITION_CODES.find(([pattern]) => pattern.test(form.mnemonic))?.[1] ?? 0;
  if (form.options.has('bit-scan')) markScan(draft);
  markUnknowable(draft);
  const wideCount = /^SH[LR]D$/.test(form.mnemonic) && shiftCount(draft) > form.operands[0].size * 8;
  const emptySource = /^BS[FR]$/.test(form.mnemonic) && getOperand(draft, 1) === 0n;
  if ((wideCount && !form.memory) || emptySource) marks.gprs = 1 << containerOf(draft, 0);
}
