/**
 * Whether WebAssembly's result of a floating-point operation is the processor's,
 * flags included: asked where an operand is not normal, or where the result or
 * MXCSR is not what they usually are (see `semantics/float-parts.ts`).
 */
import { type Expr, FunctionBuilder, i32, i64, op, type ValueType } from '@paravane/wasm-emit';
import {
  all,
  any,
  both,
  constant,
  either,
  inexactIsFree,
  isDenormal,
  isNan,
  isPacked,
  isSingle,
  isSurelyNormal,
  isZero,
  mxcsr,
  type Real,
} from './semantics/float-parts.js';
import { repeat, u32 } from './semantics/vector-parts.js';

export const FloatOperation = { add: 0, sub: 1, mul: 2, div: 3, sqrt: 4, compare: 5 } as const;
export type FloatOperation = keyof typeof FloatOperation;

const MXCSR_ROUNDING = 0x6000;

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
interface Operation {
  f: FunctionBuilder;
  p: Real;
  a: Expr;
  b: Expr;
  result: Expr;
}
/** A sum that has lost nothing by rounding, i32. */
function isExactSum({ f, p, a, b, result }: Operation, operation: 'add' | 'sub', rounding: Expr): Expr {
  // What rounding took from a sum is itself exact (Knuth, TAOCP vol. 2, 4.2.2, theorem B).
  const addend = operation === 'sub' ? op(`${p}.neg`, b) : b;
  const partOfB = f.let(op(`${p}.sub`, result, a));
  const partOfA = op(`${p}.sub`, result, partOfB);
  const lost = op(`${p}.add`, op(`${p}.sub`, a, partOfA), op(`${p}.sub`, addend, partOfB));
  // The sign of a sum that is zero depends on the rounding mode.
  const signed = op('i32.or', op('i32.eqz', rounding), all(p, op(`${p}.ne`, result, constant(p, 0))));
  return op('i32.and', all(p, isZero(p, lost)), signed);
}
/** Leaves with 0 unless nothing was lost by rounding; may say so where nothing was. */
function declineInexact(operation: Operation, kind: Expr): void {
  const { f, p, a, b, result } = operation;
  const rounding = op('i32.and', mxcsr(f.param(0)), i32(MXCSR_ROUNDING));
  const product = (x: Expr, y: Expr, of: Expr): Expr =>
    op('i32.and', isExactProduct(p, x, y), all(p, op(`${p}.eq`, op(`${p}.mul`, x, y), of)));
  const exact: [FloatOperation, () => Expr][] = [
    ['add', () => isExactSum(operation, 'add', rounding)],
    ['sub', () => isExactSum(operation, 'sub', rounding)],
    ['mul', () => isExactProduct(p, a, b)],
    ['div', () => product(result, b, a)],
    ['sqrt', () => product(result, result, a)],
  ];
  for (const [name, test] of exact) {
    f.if(op('i32.eq', kind, i32(FloatOperation[name])), () => f.return(test()));
  }
}

/** (cpu, `FloatOperation`, operands, result) → whether the result is right and raises nothing; for comparisons, whether they are ordered and normal. */
function isUsual(p: Real): FunctionBuilder {
  const type: ValueType = isPacked(p) ? 'v' : isSingle(p) ? 'f' : 'd';
  const f = new FunctionBuilder(['i', 'i', type, type, type], ['i']);
  const [cpu, kind, a, b, result] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
  const decline = (condition: Expr): void => f.if(condition, () => f.return(i32(0)));
  const is = (name: FloatOperation): Expr => op('i32.eq', kind, i32(FloatOperation[name]));
  decline(any(p, either(p, isDenormal(p, a), isDenormal(p, b))));
  f.if(is('compare'), () => f.return(op('i32.eqz', any(p, either(p, isNan(p, a), isNan(p, b))))));
  // A zero must not come from underflow.
  const good = (zero: Expr): Expr => all(p, either(p, isSurelyNormal(p, result), zero));
  const isExactZero = isZero(p, result);
  f.if(
    is('mul'),
    () => decline(op('i32.eqz', good(both(p, isExactZero, either(p, isZero(p, a), isZero(p, b)))))),
    () =>
      f.if(
        is('div'),
        () => decline(op('i32.eqz', good(both(p, isExactZero, isZero(p, a))))),
        () => decline(op('i32.eqz', good(isExactZero))),
      ),
  );
  f.if(op('i32.eqz', inexactIsFree(cpu)), () => declineInexact({ f, p, a, b, result }, kind));
  f.return(i32(1));
  return f;
}

export const SSE_ROUTINES = {
  isUsualF32: () => isUsual('f32'),
  isUsualF64: () => isUsual('f64'),
  isUsualF32x4: () => isUsual('f32x4'),
  isUsualF64x2: () => isUsual('f64x2'),
} as const;
