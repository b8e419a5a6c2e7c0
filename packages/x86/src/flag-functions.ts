/** Lazy flags made real, as functions that every generated module has a copy of. */
import { callExpr, type Expr, FunctionBuilder, i32, i64, op, select } from '@paravane/wasm-emit';
import { FlagKind } from './state.js';

/** Bits of RFLAGS. */
export const EFL = { CF: 1, PF: 4, AF: 16, ZF: 64, SF: 128, OF: 2048 } as const;

/** (kind, a, b) → CF, PF, AF, ZF, SF, OF at their places in RFLAGS. */
export function eflagsFunction(): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'l', 'l'], ['i']);
  const [kind, a, b] = [f.param(0), f.param(1), f.param(2)];
  f.if(op('i32.ge_u', kind, i32(FlagKind.bits)), () => f.return(op('i32.wrap_i64', b)));
  f.return(eflagsOfAnyKind(f, kind, a, b));
  return f;
}

/** One of two, neither of which has an effect: where the condition is known, nothing is left of it and of the other. */
function choose(condition: Expr, yes: Expr, no: Expr): Expr {
  if (condition.kind !== 'const') return select(condition, yes, no);
  return condition.value === 0 ? no : yes;
}

/**
 * RFLAGS bits of lazy flags, in place: without branches and calls, so that it costs nothing where nobody asks. Of a kind
 * that is a constant, only what it needs is in the code.
 */
export function eflagsOfAnyKind(f: FunctionBuilder, kind: Expr, a: Expr, b: Expr): Expr {
  const named = (value: Expr): Expr => (value.kind === 'get' ? value : f.let(value));
  const shift = named(
    op('i64.extend_i32_u', op('i32.sub', i32(64), op('i32.shl', i32(8), op('i32.and', kind, i32(3))))),
  );
  const at = (value: Expr): Expr => op('i64.shl', value, shift);
  const negative = (value: Expr, bit: number): Expr => op('i32.shl', op('i64.lt_s', at(value), i64(0)), i32(bit));
  const isDifference = named(op('i32.lt_u', kind, i32(FlagKind.add)));
  const isPlain = named(op('i32.ge_u', kind, i32(FlagKind.result)));
  const result = named(choose(isDifference, op('i64.sub', a, b), choose(isPlain, a, op('i64.add', a, b))));
  // a of a difference, the result of a sum: what is less than the other operand where it carries.
  const least = named(choose(isDifference, a, result));
  const carry = op('i64.lt_u', at(least), at(choose(isDifference, b, a)));
  const half = op('i32.and', op('i32.wrap_i64', op('i64.xor', op('i64.xor', a, b), result)), i32(16));
  const overflow = op('i64.and', op('i64.xor', least, b), op('i64.xor', a, result));
  const bits = op('i32.wrap_i64', b);
  const own = choose(isPlain, bits, op('i32.or', op('i32.or', carry, half), negative(overflow, 11)));
  const ofResult = op('i32.or', op('i32.or', zeroBit(at(result)), parityBit(result)), negative(result, 7));
  return choose(op('i32.ge_u', kind, i32(FlagKind.bits)), bits, op('i32.or', own, ofResult));
}

const zeroBit = (value: Expr): Expr => op('i32.shl', op('i64.eqz', value), i32(6));
const parityBit = (value: Expr): Expr => {
  const ones = op('i32.popcnt', op('i32.and', op('i32.wrap_i64', value), i32(255)));
  return op('i32.shl', op('i32.eqz', op('i32.and', ones, i32(1))), i32(2));
};

/** (kind, a, b, condition code) → 0 or 1 (Intel SDM vol. 1, appendix B). */
export function conditionFunction(eflags: number): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'l', 'l', 'i'], ['i']);
  const flags = f.let(callExpr('i', eflags, f.param(0), f.param(1), f.param(2)));
  const code = f.param(3);
  const condition = f.let(op('i32.shr_u', code, i32(1)));
  const value = [0, 1, 2, 3, 4, 5, 6].reduceRight(
    (otherwise, n) => select(op('i32.eq', condition, i32(n)), conditionOfBits(flags, n), otherwise),
    conditionOfBits(flags, 7),
  );
  f.return(op('i32.xor', value, op('i32.and', code, i32(1))));
  return f;
}

/** A condition, by its code without the lowest bit, which negates it, of bits of RFLAGS: 0 or 1. */
export function conditionOfBits(flags: Expr, condition: number): Expr {
  const bit = (position: number): Expr => op('i32.and', op('i32.shr_u', flags, i32(position)), i32(1));
  const any = (bits: number): Expr => op('i32.ne', op('i32.and', flags, i32(bits)), i32(0));
  const less = (): Expr => op('i32.xor', bit(7), bit(11));
  switch (condition) {
    case 0:
      return bit(11);
    case 1:
      return bit(0);
    case 2:
      return bit(6);
    case 3:
      return any(EFL.CF | EFL.ZF);
    case 4:
      return bit(7);
    case 5:
      return bit(2);
    case 6:
      return less();
    default:
      return op('i32.or', less(), bit(6));
  }
}
