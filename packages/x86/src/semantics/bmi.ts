/** BMI1, BMI2 and ADX (Intel SDM vol. 2). */
import { EFL, type Expr, i32, i64, op, type Sem, select } from '../sem.js';
import { highUnsigned } from './arithmetic.js';
import type { Definition, Definitions } from './definitions.js';

/** BLSR, BLSMSK, BLSI: flags of the result, CF by whether the source is zero. */
const lowest =
  (make: (a: Expr) => Expr, carryIfZero: boolean): Definition =>
  (s) => {
    const a = s.get(1);
    const result = s.let(s.signExtend(make(a)));
    const zero = op('i64.eqz', a);
    s.set(0, result);
    s.flagsResult(result, s.let(carryIfZero ? zero : op('i32.eqz', zero)));
  };

/** Shifts that change no flag; the count is masked by the operand size. */
const shift =
  (name: 'i64.shl' | 'i64.shr_u' | 'i64.shr_s'): Definition =>
  (s) => {
    const a = name === 'i64.shr_s' ? s.get(1) : s.getUnsigned(1);
    s.set(0, op(name, a, op('i64.and', s.get(2), i64(s.width - 1))));
  };

/** ADCX and ADOX: an addition that reads and writes one flag only. */
const addWithFlag =
  (bit: number): Definition =>
  (s) => {
    const flags = s.eflags();
    const carryIn = op('i64.extend_i32_u', op('i32.ne', op('i32.and', flags, i32(bit)), i32(0)));
    const a = s.getUnsigned(0);
    const b = s.getUnsigned(1);
    const partial = s.let(s.zeroExtend(op('i64.add', a, b)));
    const sum = s.let(s.zeroExtend(op('i64.add', partial, carryIn)));
    const carry = op('i32.or', op('i64.lt_u', partial, a), op('i64.lt_u', sum, partial));
    const next = s.let(op('i32.or', op('i32.and', flags, i32(~bit)), s.bit(carry, bit)));
    s.set(0, sum);
    s.flagsBits(next);
  };

export const bmi: Definitions = {
  ANDN: (s) => {
    const result = s.let(op('i64.and', op('i64.xor', s.get(1), i64(-1)), s.get(2)));
    s.set(0, result);
    s.flagsLogic(result);
  },
  BLSR: lowest((a) => op('i64.and', a, op('i64.sub', a, i64(1))), true),
  BLSMSK: lowest((a) => op('i64.xor', a, op('i64.sub', a, i64(1))), true),
  BLSI: lowest((a) => op('i64.and', a, op('i64.sub', i64(0), a)), false),
  BEXTR: (s) => {
    const a = s.getUnsigned(1);
    const control = s.get(2);
    const start = s.let(op('i64.and', control, i64(0xff)));
    const length = s.let(op('i64.and', op('i64.shr_u', control, i64(8)), i64(0xff)));
    const moved = select(op('i64.ge_u', start, i64(64)), i64(0), op('i64.shr_u', a, start));
    const mask = select(op('i64.ge_u', length, i64(64)), i64(-1), op('i64.sub', op('i64.shl', i64(1), length), i64(1)));
    const result = s.let(op('i64.and', moved, mask));
    s.set(0, result);
    s.flagsBits(s.let(s.bit(op('i64.eqz', result), EFL.ZF)));
  },
  BZHI: (s) => {
    const a = s.getUnsigned(1);
    const index = s.let(op('i64.and', s.get(2), i64(0xff)));
    const beyond = s.let(op('i64.ge_u', index, i64(s.width)));
    const result = s.let(select(beyond, a, op('i64.and', a, op('i64.sub', op('i64.shl', i64(1), index), i64(1)))));
    s.set(0, result);
    s.flagsResult(s.let(s.signExtend(result)), beyond);
  },
  MULX: (s) => {
    const a = s.let(s.gpr(2, s.width, false));
    const b = s.getUnsigned(2);
    const low = s.let(op('i64.mul', a, b));
    const high = s.width === 64 ? highUnsigned(s, a, b) : s.let(op('i64.shr_u', low, i64(32)));
    // With one destination for both halves the high one stays.
    s.set(1, low);
    s.set(0, high);
  },
  RORX: (s: Sem) => {
    const a = s.getUnsigned(1);
    const count = s.let(op('i64.and', s.get(2), i64(s.width - 1)));
    if (s.width === 64) return s.set(0, op('i64.rotr', a, count));
    s.set(0, op('i64.or', op('i64.shr_u', a, count), op('i64.shl', a, op('i64.sub', i64(32), count))));
  },
  SHLX: shift('i64.shl'),
  SHRX: shift('i64.shr_u'),
  SARX: shift('i64.shr_s'),
  ADCX: addWithFlag(EFL.CF),
  ADOX: addWithFlag(EFL.OF),
};
