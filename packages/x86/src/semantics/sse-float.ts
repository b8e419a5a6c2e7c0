/** Floating-point arithmetic and comparisons of SSE to SSE3, where WebAssembly's is the same (see `float-parts.ts`). */
import { EFL, type Expr, i32, i64, op, type Sem, select } from '../sem.js';
import type { Definition, Definitions } from './definitions.js';
import {
  all,
  any,
  both,
  constant,
  either,
  inexactIsFree,
  inlineIf,
  isDenormal,
  isNan,
  isPacked,
  isSingle,
  isSurelyNormal,
  isZero,
  type Real,
  type Test,
} from './float-parts.js';
import { aligned, everySecond, imm8, pick, repeat, u32, xor } from './vector-parts.js';

const SUFFIXES = { SS: 'f32', SD: 'f64', PS: 'f32x4', PD: 'f64x2' } as const;
type Suffix = keyof typeof SUFFIXES;
/** A definition for each of the suffixes. */
const forms = (
  name: string,
  make: (p: Real) => Definition,
  suffixes: readonly Suffix[] = ['SS', 'SD', 'PS', 'PD'],
): Definitions => Object.fromEntries(suffixes.map((suffix) => [name + suffix, make(SUFFIXES[suffix])]));

const source = (s: Sem, p: Real): Expr => (isPacked(p) ? aligned(s, 1) : s.lane(1, isSingle(p) ? 'f' : 'd'));
const destination = (s: Sem, p: Real): Expr => (isPacked(p) ? s.vector(0) : s.lane(0, isSingle(p) ? 'f' : 'd'));
const write = (s: Sem, p: Real, value: Expr): void => (isPacked(p) ? s.setVector(0, value) : s.setLane(0, value));

type Operation = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';

/** Both factors have so few significant bits that their product is exact, i32. */
function isExactProduct(p: Real, a: Expr, b: Expr): Expr {
  if (isPacked(p)) {
    const mask = u32(isSingle(p) ? repeat(0xfff, 4) : [0x7ffffff, 0, 0x7ffffff, 0]);
    return op('i32.eqz', op('v128.any_true', op('v128.and', op('v128.or', a, b), mask)));
  }
  if (isSingle(p)) {
    const bits = op('i32.or', op('i32.reinterpret_f32', a), op('i32.reinterpret_f32', b));
    return op('i32.eqz', op('i32.and', bits, i32(0xfff)));
  }
  const bits = op('i64.or', op('i64.reinterpret_f64', a), op('i64.reinterpret_f64', b));
  return op('i64.eqz', op('i64.and', bits, i64(0x7ffffff)));
}
/** Nothing was lost by rounding, i32; may say no where it is so. */
function isExact(s: Sem, p: Real, operation: Operation, a: Expr, b: Expr, result: Expr): Expr {
  const product = (x: Expr, y: Expr, of: Expr): Expr =>
    op('i32.and', isExactProduct(p, x, y), all(p, op(`${p}.eq`, op(`${p}.mul`, x, y), of)));
  if (operation === 'mul') return isExactProduct(p, a, b);
  if (operation === 'div') return product(result, b, a);
  if (operation === 'sqrt') return product(result, result, a);
  // What rounding took from a sum is itself exact (Knuth, TAOCP vol. 2, 4.2.2, theorem B).
  const addend = operation === 'sub' ? op(`${p}.neg`, b) : b;
  const partOfB = s.let(op(`${p}.sub`, result, a));
  const partOfA = op(`${p}.sub`, result, partOfB);
  const lost = op(`${p}.add`, op(`${p}.sub`, a, partOfA), op(`${p}.sub`, addend, partOfB));
  // The sign of a sum that is zero depends on the rounding mode.
  return all(p, both(p, isZero(p, lost), op(`${p}.ne`, result, constant(p, 0))));
}
/** The result for ordinary operands; a zero must not come from underflow. */
function calculate(s: Sem, p: Real, operation: Operation, a: Expr, b: Expr): Expr {
  const unary = operation === 'sqrt';
  const result = s.let(unary ? op(`${p}.sqrt`, a) : op(`${p}.${operation}`, a, b));
  const zeroOperand =
    operation === 'mul' ? either(p, isZero(p, a), isZero(p, b)) : operation === 'div' ? isZero(p, a) : null;
  const exactZero = zeroOperand ? both(p, isZero(p, result), zeroOperand) : isZero(p, result);
  const good = all(p, either(p, isSurelyNormal(p, result), exactZero));
  const denormal = any(p, unary ? isDenormal(p, a) : either(p, isDenormal(p, a), isDenormal(p, b)));
  inlineIf(s, op('i32.and', good, op('i32.eqz', denormal)));
  s.if(op('i32.eqz', inexactIsFree(s)), () => inlineIf(s, isExact(s, p, operation, a, b, result)));
  return result;
}
const arithmetic =
  (operation: 'add' | 'sub' | 'mul' | 'div') =>
  (p: Real): Definition =>
  (s) => {
    const b = source(s, p);
    write(s, p, calculate(s, p, operation, destination(s, p), b));
  };
const squareRoot =
  (p: Real): Definition =>
  (s) => {
    const a = source(s, p);
    write(s, p, calculate(s, p, 'sqrt', a, a));
  };

/** Comparisons of numbers and infinities raise nothing, whatever MXCSR says. */
const inlineIfComparable = (s: Sem, p: Real, a: Expr, b: Expr): void => {
  const odd = (x: Expr): Test => either(p, isNan(p, x), isDenormal(p, x));
  inlineIf(s, op('i32.eqz', any(p, either(p, odd(a), odd(b)))));
};
/** The source, unless the destination is less (greater). */
const extreme =
  (test: 'lt' | 'gt') =>
  (p: Real): Definition =>
  (s) => {
    const b = source(s, p);
    const a = destination(s, p);
    inlineIfComparable(s, p, a, b);
    const chosen = op(`${p}.${test}`, a, b);
    write(s, p, isPacked(p) ? op('v128.bitselect', a, b, chosen) : select(chosen, a, b));
  };
/** Predicates EQ, LT, LE, UNORD and their negations; without NaNs the fourth never holds. */
const compare =
  (p: Real): Definition =>
  (s) => {
    const b = source(s, p);
    const a = destination(s, p);
    inlineIfComparable(s, p, a, b);
    const imm = imm8(s, 2);
    const bit = (shift: number): Expr => op('i32.and', op('i32.shr_u', imm, i32(shift)), i32(1));
    const minus = (value: Expr): Expr => op('i32.sub', i32(0), value);
    const asks = {
      eq: minus(op('i32.xor', bit(0), i32(1))),
      lt: minus(op('i32.xor', bit(0), bit(1))),
      not: minus(bit(2)),
    };
    const [equal, less] = [op(`${p}.eq`, a, b), op(`${p}.lt`, a, b)];
    if (isPacked(p)) {
      const masked = (test: Test, wanted: Expr): Expr => op('v128.and', test, op('i32x4.splat', wanted));
      s.setVector(
        0,
        op('v128.xor', op('v128.or', masked(equal, asks.eq), masked(less, asks.lt)), op('i32x4.splat', asks.not)),
      );
      return;
    }
    const masked = (test: Test, wanted: Expr): Expr => op('i32.and', minus(test), wanted);
    const mask = op('i32.xor', op('i32.or', masked(equal, asks.eq), masked(less, asks.lt)), asks.not);
    s.setLane(0, isSingle(p) ? mask : op('i64.extend_i32_s', mask));
  };
/** COMIS and UCOMIS: ZF and CF; they differ in what they raise for a quiet NaN. */
const compareToFlags =
  (p: Real): Definition =>
  (s) => {
    const b = source(s, p);
    const a = destination(s, p);
    inlineIfComparable(s, p, a, b);
    s.flagsBits(s.let(op('i32.or', op(`${p}.lt`, a, b) as Expr, s.bit(op(`${p}.eq`, a, b), EFL.ZF))));
  };
/** Adjacent lanes of destination and source. */
const horizontal =
  (operation: 'add' | 'sub') =>
  (p: Real): Definition =>
  (s) => {
    const b = source(s, p);
    const a = destination(s, p);
    const [size, count] = isSingle(p) ? [4, 4] : [8, 2];
    const half = (odd: 0 | 1): Expr => s.let(pick(a, b, size, everySecond(count, odd)));
    write(s, p, calculate(s, p, operation, half(0), half(1)));
  };
/** Even lanes are subtracted, odd ones added. */
const addSubtract =
  (p: Real): Definition =>
  (s) => {
    const signs = u32(isSingle(p) ? [0x80000000, 0, 0x80000000, 0] : [0, 0x80000000, 0, 0]);
    const b = s.let(xor(source(s, p), signs));
    write(s, p, calculate(s, p, 'add', destination(s, p), b));
  };

export const sseFloat: Definitions = {
  ...forms('ADD', arithmetic('add')),
  ...forms('SUB', arithmetic('sub')),
  ...forms('MUL', arithmetic('mul')),
  ...forms('DIV', arithmetic('div')),
  ...forms('SQRT', squareRoot),
  ...forms('MIN', extreme('lt')),
  ...forms('MAX', extreme('gt')),
  ...forms('CMP', compare),
  ...forms('COMI', compareToFlags, ['SS', 'SD']),
  ...forms('UCOMI', compareToFlags, ['SS', 'SD']),
  ...forms('HADD', horizontal('add'), ['PS', 'PD']),
  ...forms('HSUB', horizontal('sub'), ['PS', 'PD']),
  ...forms('ADDSUB', addSubtract, ['PS', 'PD']),
};
