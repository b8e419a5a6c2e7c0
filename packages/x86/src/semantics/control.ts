/** Branches (Intel SDM vol. 2). A branch is the last thing that a definition does. */
import { CONDITIONS, type Expr, i64, op, type Sem } from '../sem.js';
import type { Definition, Definitions } from './definitions.js';

/** Linear address of an instruction pointer value read from an operand or the stack. */
const pointer = (s: Sem, value: Expr): Expr =>
  s.let(s.mode === 64 ? s.zeroExtend(value) : s.zeroExtend(value, Math.min(s.width, 32)));

/** LOOP and JRCXZ count in RCX, or ECX by address size; the latter is left to TypeScript. */
const loop =
  (zero: boolean | null): Definition =>
  (s) => {
    const count = s.let(
      s.mode === 64 ? op('i64.sub', s.gpr(1), i64(1)) : s.zeroExtend(op('i64.sub', s.gpr(1), i64(1)), 32),
    );
    const again = op('i64.ne', count, i64(0));
    const taken = s.let(zero === null ? again : op('i32.and', again, s.condition(zero ? 4 : 5)));
    s.setGpr(1, count, s.mode);
    s.if(taken, () => s.branch());
  };

export const control: Definitions = {
  ...Object.fromEntries(
    CONDITIONS.map((name, code): [string, Definition] => [
      `J${name}`,
      (s) => s.if(s.condition(code), () => s.branch()),
    ]),
  ),
  LOOP: loop(null),
  LOOPE: loop(true),
  LOOPNE: loop(false),
  JRCXZ: (s) => s.if(op('i64.eqz', s.mode === 64 ? s.gpr(1) : s.gpr(1, 32)), () => s.branch()),
  JMP: (s) => (isBranch(s) ? s.branch() : s.branchTo(pointer(s, s.get(0)))),
  CALL: (s) => {
    if (isBranch(s)) {
      s.push(s.returnAddress());
      s.branch();
    } else {
      const target = pointer(s, s.get(0));
      s.push(s.returnAddress());
      s.branchTo(target);
    }
  },
  RET: (s) => {
    const target = pointer(s, s.top());
    const extra = s.forms.length > 0 ? s.zeroExtend(s.get(0), 16) : i64(0);
    s.drop(s.let(op('i64.add', extra, i64(s.width / 8))));
    s.branchTo(target);
  },
};

const isBranch = (s: Sem): boolean => s.forms[0]!.kind === 'j' || s.forms[0]!.kind === 'J';
