/** Where an indirect jump goes on within a region, told by its target. */
import { type Expr, type FunctionBuilder, i32, i64, type Label, op } from '@paravane/wasm-emit';

/** Compares that are made one after the other before a table pays. */
const FEW = 3;
/** Multipliers that are tried for a table of one size. */
const TRIES = 400;

/** Goes to `arm` of the one of `targets` that `distance`, i64, is equal to; behind it is what to do where it is none. */
export function emitDispatch(
  f: FunctionBuilder,
  distance: Expr,
  targets: readonly number[],
  arm: (target: number) => void,
): void {
  if (targets.length <= FEW) {
    for (const target of targets) f.if(op('i64.eq', distance, i64(target)), () => arm(target));
    return;
  }
  const { multiplier, bits, table } = perfectHash(targets);
  const hash = op('i32.shr_u', op('i32.mul', op('i32.wrap_i64', distance), i32(multiplier)), i32(32 - bits));
  f.block((other) => {
    const labels: Label[] = [];
    const nest = (i: number): void => {
      if (i < 0) {
        const known = table.map((target) => (target < 0 ? other : labels[target]!));
        f.brTable(hash, known, other);
        return;
      }
      f.block((label) => {
        labels[i] = label;
        nest(i - 1);
      });
      f.brIfUnlikely(op('i64.ne', distance, i64(targets[i]!)), other);
      arm(targets[i]!);
    };
    nest(targets.length - 1);
  });
}

/** A multiplier whose products with the values differ in their upper `bits` of 32, and the values' indices by those bits, or -1. */
export function perfectHash(values: readonly number[]): { multiplier: number; bits: number; table: number[] } {
  for (let bits = Math.ceil(Math.log2(values.length)); ; bits++) {
    for (let i = 0, multiplier = 0x9e3779b1; i < TRIES; i++) {
      const table = Array.from({ length: 2 ** bits }, () => -1);
      const distinct = values.every((value, index) => {
        const at = Math.imul(value, multiplier) >>> (32 - bits);
        if (table[at] !== -1) return false;
        table[at] = index;
        return true;
      });
      if (distinct) return { multiplier: multiplier | 0, bits, table };
      multiplier = (Math.imul(multiplier, 0x2545f491) | 1) >>> 0;
    }
  }
}
