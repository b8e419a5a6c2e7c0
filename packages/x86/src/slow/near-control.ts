/**
 * Branches and the stack where segments are not flat (`segments.ts`): the stack
 * pointer may have 16 bits, both stack and code have a base and a limit. On the
 * fast path generated code does these.
 */
import { Flag, Seg } from '@paravane/engine-api';
import { CONDITIONS } from '../sem.js';
import { integerSlow } from './integer.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { branchTarget, push, setStackPointer, stackPointer } from './stack.js';

/** A condition by its code (Intel SDM vol. 1, appendix B). */
function holds(c: SlowCpu, code: number): boolean {
  const flag = (bit: number): boolean => (c.eflags & bit) !== 0;
  const less = flag(Flag.SF) !== flag(Flag.OF);
  const value = [
    flag(Flag.OF),
    flag(Flag.CF),
    flag(Flag.ZF),
    flag(Flag.CF) || flag(Flag.ZF),
    flag(Flag.SF),
    flag(Flag.PF),
    less,
    less || flag(Flag.ZF),
  ][code >> 1]!;
  return value !== ((code & 1) === 1);
}

const next = (c: SlowCpu): bigint => BigInt.asUintN(32, c.rip + BigInt(c.insn.length));
/** Where a near branch leads: its displacement, or a register or memory. */
const target = (c: SlowCpu): bigint => {
  const operand = c.insn.operands[0]!;
  return operand.kind === 'j' ? branchTarget(c, operand.value) : c.operand(0);
};

export const SEGMENTED_DEFINITIONS: ReadonlyMap<string, SlowDefinition> = new Map(
  Object.entries({
    ...Object.fromEntries(
      CONDITIONS.map((name, code): [string, SlowDefinition] => [
        `J${name}`,
        (c) => {
          if (holds(c, code)) c.jump(target(c));
        },
      ]),
    ),
    LOOP: integerSlow.LOOP!,
    LOOPE: integerSlow.LOOPE!,
    LOOPNE: integerSlow.LOOPNE!,
    JRCXZ: integerSlow.JRCXZ!,
    POP: integerSlow.POP!,
    JMP: (c) => c.jump(target(c)),
    CALL: (c) => {
      // The return address is written before the target is looked at, as on processors; the pointer moves at the end.
      const to = target(c);
      const before = c.regs[4]!;
      push(c, next(c));
      const pushed = c.regs[4]!;
      c.regs[4] = before;
      c.jump(to);
      c.regs[4] = pushed;
    },
    RET: (c) => {
      const from = stackPointer(c);
      const size = c.insn.width / 8;
      const to = c.load(c.linear(Seg.ss, from), size);
      const extra = c.insn.operands.length > 0 ? c.operand(0) & 0xffffn : 0n;
      c.jump(to);
      setStackPointer(c, from + BigInt(size) + extra);
    },
    PUSH: (c) => push(c, c.operand(0)),
    LEAVE: (c) => {
      const frame = BigInt.asUintN(c.stackWidth, c.regs[5]!);
      const value = c.load(c.linear(Seg.ss, frame), c.insn.width / 8);
      setStackPointer(c, frame + BigInt(c.insn.width / 8));
      c.setGpr(5, value, c.insn.width);
    },
  } satisfies SlowDefinitions),
);
