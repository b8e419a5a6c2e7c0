/**
 * What the interpreter's loop does itself: the handlers that are part of it, and the sequences of instructions that one
 * of them does without a dispatch between.
 */
import type { HandlerShape } from './handlers.js';

/** Mnemonics whose handlers are part of the loop. */
const HOT =
  /^(ADD|SUB|CMP|AND|OR|XOR|TEST|INC|DEC|NEG|NOT|ADC|SBB|IMUL|MOV|MOVZX|MOVSX|LEA|NOP|PAUSE|XCHG|PUSH|POP|LEAVE|CBW|CWD|SHL|SHR|SAR|ROL|ROR|J\w+|CALL|RET|LOOP\w*|SET\w+|CMOV\w+|BT|BTS|BTR|BSF|BSR|TZCNT|CMPXCHG|XADD|MUL|DIV|MOVUPS|MOVAPS|MOVDQA|MOVDQU|MOVD|MOVQ|PXOR|POR|PAND|XORPS|MOVSD|MOVSS|PCMPEQB|PMOVMSKB|PMINUB|PSUBB|PADDD|PADDQ|PSHUFD|PUNPCKLQDQ|MOVHPS|ADDSD|SUBSD|MULSD|COMISD|UCOMISD|CVTSI2SD|CVTTSD2SI)$/;

/**
 * Sequences of instructions that one handler does without a dispatch between.
 * Pairs whose first is one of these keys, the second a branch on a condition in
 * its page:
 */
const FUSED_WITH_BRANCH =
  /^(CMP (64|32) (r..,r..|r..,m..|m..,r..|r..,i|m..,i)|CMP 8 (r8,i|m8,i)|TEST (64 r64,r64|32 r32,r32|32 r32,i|8 r8,r8|8 r8,i|8 m8,i)|DEC (64 r64|32 r32)|(SUB|AND) (64|32) r..,i)$/;
const FUSED_BRANCH = /^J(N?B|N?Z|N?BE|N?S|N?L|N?LE) 64 j$/;
/** Branches that follow a TEST or another logic instruction in earnest. */
const FUSED_LOGIC_BRANCH = /^J(N?Z|N?S|N?LE) 64 j$/;
const FUSED_PAIRS: readonly (readonly [string, string])[] = [
  // The most frequent ones of a Linux kernel's code, and a few of other compiled programs.
  ['POP 64 r64', 'POP 64 r64'],
  ['POP 64 r64', 'RET 64 '],
  ['POP 64 r64', 'JMP 64 J'],
  ['PUSH 64 r64', 'PUSH 64 r64'],
  ['PUSH 64 r64', 'MOV 64 r64,r64'],
  ['PUSH 64 r64', 'SUB 64 r64,i'],
  ['ADD 64 r64,i', 'POP 64 r64'],
  ['ADD 64 r64,r64', 'ADD 64 r64,i'],
  ['SUB 64 r64,i', 'MOV 64 r64,r64'],
  ['LEA 64 r64,m0', 'MOV 64 r64,r64'],
  ['MOV 64 r64,i', 'CALL 64 J'],
  ['MOV 64 r64,r64', 'CALL 64 J'],
  ['MOV 64 r64,r64', 'PUSH 64 r64'],
  ['MOV 64 r64,r64', 'POP 64 r64'],
  ['MOV 64 r64,r64', 'MOV 64 r64,r64'],
  ['MOV 64 r64,r64', 'MOV 32 r32,r32'],
  ['MOV 64 r64,r64', 'MOV 64 m64,r64'],
  ['MOV 64 r64,m64', 'MOV 64 r64,m64'],
  ['MOV 64 r64,m64', 'MOV 64 r64,r64'],
  ['MOV 64 r64,m64', 'MOV 64 m64,r64'],
  ['MOV 64 r64,m64', 'LEA 64 r64,m0'],
  ['MOV 64 m64,r64', 'MOV 64 m64,r64'],
  ['MOV 64 m64,r64', 'MOV 64 r64,m64'],
  ['MOV 64 m64,i', 'MOV 64 m64,i'],
  ['AND 32 r32,i', 'MOV 32 r32,m32'],
  ['XOR 32 r32,r32', 'JMP 64 j'],
];

/** Longer sequences: how compiled functions begin, call and end. Each beginning of one has a handler too. */
const FUSED_SEQUENCES: readonly (readonly string[])[] = (() => {
  const [push, pop] = ['PUSH 64 r64', 'POP 64 r64'];
  const frame = ['SUB 64 r64,i', 'MOV 64 r64,r64', 'MOV 64 r64,r64', 'MOV 64 m64,r64'];
  return [
    [push, push, ...frame],
    [push, push, push, ...frame],
    [push, push, push, push],
    ['LEA 64 r64,m0', 'MOV 64 r64,r64', 'CALL 64 J'],
    ['ADD 64 r64,r64', 'ADD 64 r64,i', pop, pop, pop, 'RET 64 '],
    ['ADD 64 r64,r64', 'ADD 64 r64,i', pop, pop, 'RET 64 '],
    ['ADD 64 r64,i', pop, pop, pop, 'RET 64 '],
    ['ADD 64 r64,i', pop, pop, 'RET 64 '],
    [pop, pop, pop, 'RET 64 '],
    [pop, pop, 'RET 64 '],
    // An index that is cut to a table's size.
    ['MOV 32 r32,r32', 'AND 32 r32,i', 'LEA 64 r64,m0', 'MOV 64 r64,r64', 'CALL 64 J'],
    ['MOV 32 r32,r32', 'AND 32 r32,i', 'MOV 32 r32,m32'],
  ];
})();

/** Instructions that one handler does: those of the handler `prefix`, and one more. */
export interface Sequence {
  number: number;
  prefix: number;
  shapes: HandlerShape[];
}

export function fusedSequences(
  hot: readonly HandlerShape[],
  handlers: ReadonlyMap<string, number>,
  firstNumber: number,
): Sequence[] {
  const branches = hot.filter((shape) => FUSED_BRANCH.test(shape.key)).map(({ key }) => key);
  const byKey = new Map(hot.map((shape) => [shape.key, shape]));
  const wanted = [
    ...hot
      .filter((shape) => FUSED_WITH_BRANCH.test(shape.key))
      .flatMap(({ key: first }) =>
        branches
          .filter((branch) => first.startsWith('CMP') || FUSED_LOGIC_BRANCH.test(branch))
          .map((branch) => [first, branch]),
      ),
    ...FUSED_PAIRS,
    // A byte that is looked at.
    ['MOVZX 32 r32,m8', 'CMP 32 r32,i'],
    ...branches.map((branch) => ['MOVZX 32 r32,m8', 'CMP 32 r32,i', branch]),
    ...FUSED_SEQUENCES.flatMap((keys) => keys.map((_, i) => keys.slice(0, i + 1))).filter(({ length }) => length > 1),
  ];
  const found = new Map<string, Sequence>();
  for (const keys of wanted) {
    const shapes = keys.flatMap((key) => byKey.get(key) ?? []);
    const name = keys.join('; ');
    if (shapes.length < keys.length || found.has(name)) continue;
    const before = keys.slice(0, -1);
    const prefix = before.length === 1 ? handlers.get(before[0]!)! : found.get(before.join('; '))!.number;
    found.set(name, { number: firstNumber + found.size, prefix, shapes });
  }
  return [...found.values()];
}

/**
 * Whether a handler is part of the loop. The time and memory that the host takes to optimize the loop grow faster than
 * its length, so widths and forms that compilers seldom use are functions of their own: all of 16 bits but moves, of
 * 8 bits all but plain arithmetic, shifts and read-modify-writes of memory beyond the common ones.
 */
export function isHot({ mnemonic, width, forms, key }: HandlerShape): boolean {
  if (forms[0]?.kind === 'j' || forms[0]?.kind === 'J' || /^(JMP|CALL|RET)$/.test(mnemonic)) return true;
  if (mnemonic.startsWith('REP ') || /^RDTSCP?$/.test(mnemonic)) return true;
  if (!HOT.test(mnemonic)) return false;
  if (key.endsWith('@32')) return width === 32;
  if (width === 16) return /^MOV$/.test(mnemonic);
  if (width === 8) return /^(MOV|ADD|SUB|CMP|AND|OR|XOR|TEST|SET\w+)$/.test(mnemonic);
  const toMemory = forms[0]?.kind === 'm';
  if (/^(SHL|SHR|SAR|ROL|ROR|BT|BTS|BTR|XCHG|ADC|SBB|NEG|NOT|CMPXCHG|XADD|MUL|DIV)$/.test(mnemonic)) {
    return !toMemory || mnemonic === 'CMPXCHG' || mnemonic === 'BT';
  }
  return true;
}
