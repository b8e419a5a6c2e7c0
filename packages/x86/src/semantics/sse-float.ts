/** Floating-point arithmetic and comparisons of SSE to SSE3, where WebAssembly's is the same (see `float-parts.ts`). */

import { EFL, type Expr, i32, i64, op, type Sem, select } from '../sem.js';
import { FloatOperation } from '../sse-routines.js';
import type { Definition, Definitions } from './definitions.js';
import {
  both,
  inexactIsFree,
  infinity,
  inlineIf,
  isPacked,
  isSingle,
  leastNormal,
  type Real,
  type Test,
} from './float-parts.js';
import { aligned, everySecond, imm8, pick, u32, xor } from './vector-parts.js';

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

const ROUTINES = { f32: 'isUsualF32', f64: 'isUsualF64', f32x4: 'isUsualF32x4', f64x2: 'isUsualF64x2' } as const;

/** Exponent field, in the high bits of a 32-bit number, of a scalar. */
const exponentOf = (p: Real, x: Expr): Expr => {
  const high = p === 'f32' ? op('i32.reinterpret_f32', x) : wrapHigh(op('i64.reinterpret_f64', x));
  return op('i32.shl', high, i32(1));
};
const wrapHigh = (bits: Expr): Expr => op('i32.wrap_i64', op('i64.shr_u', bits, i64(32)));
/** Tests, i32, one of which holds unless all operands and the result are normal, and the result not the least normal number. */
function unusualNumbers(s: Sem, p: Real, operands: readonly Expr[], result: Expr | null): Expr[] {
  const magnitude = (x: Expr): Expr => op(`${p}.abs`, x);
  if (p === 'f32x4' || p === 'f64x2') {
    const all = [...operands, ...(result ? [result] : [])].map(magnitude);
    // The least of them; a NaN among the operands is one in the result.
    const least = all.reduce((x, y) => op(`${p}.pmin`, x, y));
    const tests = both(p, op(`${p}.gt`, least, leastNormal(p)), op(`${p}.lt`, all.at(-1)!, infinity(p)));
    const finite = result ? tests : all.slice(0, -1).reduce((x, y) => both(p, x, op(`${p}.lt`, y, infinity(p))), tests);
    return [op('i32.ne', op(p === 'f32x4' ? 'i32x4.bitmask' : 'i64x2.bitmask', finite), i32(p === 'f32x4' ? 15 : 3))];
  }
  // By their exponents: compared as 32-bit integers they need no registers but those of the flags.
  const lowest = p === 'f32' ? 1 << 24 : 1 << 21;
  const highest = p === 'f32' ? 0xff : 0x7ff;
  const within = (x: Expr, from: number): Expr => {
    const field = op('i32.sub', exponentOf(p, x), i32(from * lowest));
    return op('i32.ge_u', field, i32((highest - from) * lowest));
  };
  if (!result) return operands.map((x) => within(x, 1));
  // Infinities and NaNs show in the result.
  return [...operands.map((x) => op('i32.lt_u', exponentOf(p, x), i32(lowest))), within(result, 2)];
}
/** Goes on where none of `unusual` holds, or else where the routine finds that all is right. */
function inlineIfUsual(s: Sem, p: Real, operation: FloatOperation, unusual: Expr[], a: Expr, b: Expr, r: Expr): void {
  s.f.block((usual) => {
    s.f.block((ask) => {
      for (const test of unusual) s.f.brIfUnlikely(test, ask);
      s.f.br(usual);
    });
    inlineIf(s, s.routine(ROUTINES[p], s.statePlace(), i32(FloatOperation[operation]), a, b, r));
  });
}
/** The result for ordinary operands. */
function calculate(s: Sem, p: Real, operation: Exclude<FloatOperation, 'compare'>, a: Expr, b: Expr): Expr {
  const unary = operation === 'sqrt';
  const result = s.let(unary ? op(`${p}.sqrt`, a) : op(`${p}.${operation}`, a, b));
  const unusual = unusualNumbers(s, p, unary ? [a] : [a, b], result);
  inlineIfUsual(s, p, operation, [...unusual, op('i32.eqz', inexactIsFree(s.statePlace()))], a, b, result);
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
const inlineIfComparable = (s: Sem, p: Real, a: Expr, b: Expr): void =>
  inlineIfUsual(s, p, 'compare', unusualNumbers(s, p, [a, b], null), a, b, a);
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
