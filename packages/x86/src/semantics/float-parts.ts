/**
 * What the inline forms of floating-point definitions ask before they trust
 * WebAssembly's arithmetic. It rounds to nearest, keeps no flags and leaves NaNs
 * open; so it stands in for the processor only where no flag but an already set
 * PE would be raised and no NaN appears. Everything else is left to the exact
 * definition in TypeScript (`slow/sse-float.ts`).
 */
import { v128 } from '@paravane/wasm-emit';
import { type Expr, f32, f64, i32, load, op, type Sem } from '../sem.js';
import { State } from '../state.js';

/** Operators of one number (`f32`, `f64`) or of the lanes of a vector. */
export type Real = 'f32' | 'f64' | 'f32x4' | 'f64x2';
export type Test = Expr;

export const isPacked = (p: Real): boolean => p.length > 3;
export const isSingle = (p: Real): boolean => p.startsWith('f32');
export const constant = (p: Real, value: number): Expr => {
  if (p === 'f32') return f32(value);
  if (p === 'f64') return f64(value);
  return v128(
    new Uint8Array(
      isSingle(p) ? Float32Array.of(value, value, value, value).buffer : Float64Array.of(value, value).buffer,
    ),
  );
};
export const leastNormal = (p: Real): Expr => constant(p, isSingle(p) ? 2 ** -126 : 2 ** -1022);
export const infinity = (p: Real): Expr => constant(p, Infinity);

/** Tests are i32 for a number, a mask for a vector. */
export const both = (p: Real, a: Test, b: Test): Test =>
  op(isPacked(p) ? 'v128.and' : 'i32.and', a as never, b as never);
export const either = (p: Real, a: Test, b: Test): Test =>
  op(isPacked(p) ? 'v128.or' : 'i32.or', a as never, b as never);
/** Any lane passes, i32. */
export const any = (p: Real, test: Test): Expr => (isPacked(p) ? op('v128.any_true', test) : test);
/** All lanes pass, i32. */
export const all = (p: Real, test: Test): Expr =>
  isPacked(p) ? op('i32.eqz', op('v128.any_true', op('v128.not', test))) : test;

export const isZero = (p: Real, x: Expr): Test => op(`${p}.eq`, x, constant(p, 0));
export const isNan = (p: Real, x: Expr): Test => op(`${p}.ne`, x, x);
export const isDenormal = (p: Real, x: Expr): Test =>
  both(p, op(`${p}.lt`, op(`${p}.abs`, x), leastNormal(p)), op(`${p}.ne`, x, constant(p, 0)));
/** A result that was not rounded up from below the normal numbers, and did not overflow. */
export const isSurelyNormal = (p: Real, x: Expr): Test =>
  both(p, op(`${p}.gt`, op(`${p}.abs`, x), leastNormal(p)), op(`${p}.lt`, op(`${p}.abs`, x), infinity(p)));

export const mxcsr = (cpu: Expr): Expr => load('i32.load', cpu, State.mxcsr);
/** MXCSR rounds to nearest with DAZ and FTZ off, masks every exception, and has PE set already. */
export const inexactIsFree = (cpu: Expr): Expr => op('i32.eq', op('i32.and', mxcsr(cpu), i32(0xffe0)), i32(0x1fa0));

/** Leaves the instruction to its exact definition unless the condition (i32) holds. */
export function inlineIf(s: Sem, condition: Expr): void {
  s.f.ifUnlikely(op('i32.eqz', condition), () => s.bail());
}
