/**
 * 80-bit values in the locals of generated functions: a significand with its
 * integer bit, and a head of sign and biased exponent. What is generated does
 * normal numbers and zeros, with all exceptions masked; whatever else there is
 * it declines, for the exact definitions in TypeScript (`softfloat80.ts`).
 */
import { type Expr, type FunctionBuilder, i32, i64, load, op, select } from '@paravane/wasm-emit';
import { State } from '../state.js';

export const BIAS = 0x3fff;
export const SIGN = 0x8000;
export const EXPONENT = 0x7fff;
export const INTEGER_BIT = 1n << 63n;
/** Bits of the status word. */
export const PE = 0x20;
export const C1 = 0x200;
const TOP = 0x3800;
const ONE_DOWN = 0x800;
/** Bits of the control word. */
export const ROUNDING = 0xc00;
export const DOWN = 0x400;
const UP = 0x800;
const FULL_PRECISION = 0x100;
const DOUBLE_PRECISION = 0x200;

export const and = (a: Expr, b: Expr | number): Expr => op('i32.and', a, typeof b === 'number' ? i32(b) : b);
export const or = (a: Expr, b: Expr | number): Expr => op('i32.or', a, typeof b === 'number' ? i32(b) : b);
export const add = (a: Expr, b: Expr | number): Expr => op('i32.add', a, typeof b === 'number' ? i32(b) : b);
export const sub = (a: Expr, b: Expr | number): Expr => op('i32.sub', a, typeof b === 'number' ? i32(b) : b);
export const shl = (a: Expr, by: number): Expr => op('i32.shl', a, i32(by));
export const shr = (a: Expr, by: number): Expr => op('i32.shr_u', a, i32(by));
export const not = (a: Expr): Expr => op('i32.eqz', a);
export const toWide = (a: Expr): Expr => op('i64.extend_i32_u', a);

export interface Value {
  head: Expr;
  sig: Expr;
}

/** What a generated function knows of the unit. */
export interface Unit {
  readonly f: FunctionBuilder;
  readonly cpu: Expr;
  readonly fsw: Expr;
  readonly ftw: Expr;
}

export function openUnit(f: FunctionBuilder): Unit {
  const cpu = f.param(0);
  return {
    f,
    cpu,
    fsw: f.let(load('i32.load16_u', cpu, State.fsw)),
    ftw: f.let(load('i32.load8_u', cpu, State.ftw)),
  };
}
/** Leaves the instruction as it is to TypeScript. */
export const declineIf = (f: FunctionBuilder, condition: Expr): void => f.ifUnlikely(condition, () => f.return(i32(0)));

/** Physical number of ST(i). */
export const physical = ({ f, fsw }: Unit, i: Expr | number): Expr => f.let(and(add(shr(fsw, 11), i), 7));
const tagOf = ({ ftw }: Unit, n: Expr): Expr => and(op('i32.shr_u', ftw, n), 1);
/** Where a physical register is; declines if it is empty. */
export function placeOfFull(unit: Unit, n: Expr): Expr {
  declineIf(unit.f, not(tagOf(unit, n)));
  return unit.f.let(add(unit.cpu, shl(n, 4)));
}
export const placeOf = (unit: Unit, i: Expr | number): Expr => placeOfFull(unit, physical(unit, i));
/** Reads a register into new locals. */
export const readAt = (f: FunctionBuilder, place: Expr): Value => ({
  head: f.let(load('i32.load16_u', place, State.x87 + 8)),
  sig: f.let(load('i64.load', place, State.x87)),
});
export function writeAt(f: FunctionBuilder, place: Expr, { head, sig }: Value): void {
  f.store('i64.store', place, sig, State.x87);
  f.store('i32.store16', place, head, State.x87 + 8);
}

/** Pushes a value unless the stack is full. */
export function pushValue(unit: Unit, value: Value): void {
  const { f, cpu, fsw, ftw } = unit;
  const n = physical(unit, 7);
  declineIf(f, tagOf(unit, n));
  writeAt(f, f.let(add(cpu, shl(n, 4))), value);
  f.store('i32.store16', cpu, or(and(fsw, 0xffff & ~(TOP | C1)), shl(n, 11)), State.fsw);
  f.store('i32.store8', cpu, or(ftw, op('i32.shl', i32(1), n)), State.ftw);
}
/** Writes the status word, pops as many registers as `pops` (i32, 0 to 2) says, and returns `answer`. */
export function closeUnit(unit: Unit, status: Expr, pops: Expr, answer: Expr = i32(1)): void {
  const { f, cpu, fsw, ftw } = unit;
  const word = f.local('i');
  f.set(word, status);
  f.if(pops, () => {
    const top = f.let(and(shr(fsw, 11), 7));
    const tags = f.local('i');
    f.set(tags, and(ftw, op('i32.xor', op('i32.shl', i32(1), top), i32(-1))));
    f.if(op('i32.gt_u', pops, i32(1)), () => {
      const second = and(add(top, 1), 7);
      f.set(tags, and(tags, op('i32.xor', op('i32.shl', i32(1), second), i32(-1))));
    });
    f.store('i32.store8', cpu, tags, State.ftw);
    const moved = add(word, op('i32.mul', pops, i32(ONE_DOWN)));
    f.set(word, or(and(word, 0xffff & ~TOP), and(moved, TOP)));
  });
  f.store('i32.store16', cpu, word, State.fsw);
  f.return(answer);
}

export const exponent = ({ head }: Value): Expr => and(head, EXPONENT);
export const isNormal = (f: FunctionBuilder, value: Value): Expr =>
  f.let(and(op('i32.lt_u', sub(exponent(value), 1), i32(EXPONENT - 1)), op('i64.lt_s', value.sig, i64(0))));
export const isZero = (value: Value): Expr => op('i64.eqz', op('i64.or', toWide(exponent(value)), value.sig));

/** An exact value that is to be rounded: significand with its integer bit, and the 64 bits below, the last of which stands for all that follow. */
export interface Exact {
  /** 0 or `SIGN`. */
  sign: Expr;
  exp: Expr;
  sig: Expr;
  below: Expr;
}
export const exactLocals = (f: FunctionBuilder): Exact => ({
  sign: f.local('i'),
  exp: f.local('i'),
  sig: f.local('l'),
  below: f.local('l'),
});

/** Whether what is below rounds up, i32: a significand whose last bit is `odd`, not below zero bits. */
export function roundsUp(f: FunctionBuilder, fcw: Expr, sign: Expr, odd: Expr, below: Expr): Expr {
  const up = f.local('i');
  const control = f.let(and(fcw, ROUNDING));
  f.if(
    not(control),
    () => {
      const more = op('i64.ne', op('i64.or', op('i64.shl', below, i64(1)), odd), i64(0));
      f.set(up, and(op('i64.lt_s', below, i64(0)), more));
    },
    () => {
      const towards = select(op('i32.eq', control, i32(UP)), not(sign), i32(0));
      f.set(up, select(op('i32.eq', control, i32(DOWN)), op('i32.ne', sign, i32(0)), towards));
    },
  );
  return up;
}

/**
 * Rounds to the precision in force; declines where the exponent comes near the ends of its range. Answers the flags for
 * the status word.
 */
export function roundExact(unit: Unit, fcw: Expr, { sign, exp, sig, below }: Exact): Expr {
  const { f } = unit;
  const unitOfLast = f.local('l');
  const flags = f.local('i');
  f.set(flags, i32(0));
  f.set(unitOfLast, i64(1));
  f.if(not(and(fcw, FULL_PRECISION)), () => {
    const drop = f.let(select(and(fcw, DOUBLE_PRECISION), i64(11), i64(40)));
    const rest = op('i64.shl', sig, op('i64.sub', i64(64), drop));
    f.set(below, op('i64.or', rest, toWide(op('i64.ne', below, i64(0)))));
    f.set(unitOfLast, op('i64.shl', i64(1), drop));
    f.set(sig, op('i64.and', sig, op('i64.sub', i64(0), unitOfLast)));
  });
  declineIf(f, op('i32.ge_u', sub(exp, 1), i32(EXPONENT - 2)));
  f.if(op('i64.ne', below, i64(0)), () => {
    f.set(flags, i32(PE));
    f.if(roundsUp(f, fcw, sign, op('i64.and', sig, unitOfLast), below), () => {
      f.set(flags, i32(PE | C1));
      f.set(sig, op('i64.add', sig, unitOfLast));
      f.ifUnlikely(op('i64.eqz', sig), () => {
        f.set(sig, i64(INTEGER_BIT));
        f.set(exp, add(exp, 1));
      });
    });
  });
  return flags;
}

/** Product of two 64-bit numbers, high and low half, in locals. */
export function wideProduct(f: FunctionBuilder, a: Expr, b: Expr): [Expr, Expr] {
  const mask = i64(0xffffffffn);
  const [al, bl] = [f.let(op('i64.and', a, mask)), f.let(op('i64.and', b, mask))];
  const [ah, bh] = [f.let(op('i64.shr_u', a, i64(32))), f.let(op('i64.shr_u', b, i64(32)))];
  const lowest = f.let(op('i64.mul', al, bl));
  const first = f.let(op('i64.add', op('i64.mul', ah, bl), op('i64.shr_u', lowest, i64(32))));
  const second = f.let(op('i64.add', op('i64.mul', al, bh), op('i64.and', first, mask)));
  const carries = op('i64.add', op('i64.shr_u', first, i64(32)), op('i64.shr_u', second, i64(32)));
  const high = f.let(op('i64.add', op('i64.mul', ah, bh), carries));
  const low = f.let(op('i64.or', op('i64.shl', second, i64(32)), op('i64.and', lowest, mask)));
  return [high, low];
}

/** Formats of memory operands: exponent bits, bits of fraction. */
export interface Format {
  exponentBits: number;
  fraction: number;
}
export const SINGLE: Format = { exponentBits: 8, fraction: 23 };
export const DOUBLE: Format = { exponentBits: 11, fraction: 52 };
/** What the biased exponent here is more than there. */
export const biasDifference = ({ exponentBits }: Format): number => BIAS - ((1 << (exponentBits - 1)) - 1);

/** A normal number or zero of a format, into `value`'s locals. */
export function fromFormat(f: FunctionBuilder, bits: Expr, format: Format, { head, sig }: Value): void {
  const { exponentBits, fraction } = format;
  const highest = (1 << exponentBits) - 1;
  const field = f.let(and(op('i32.wrap_i64', op('i64.shr_u', bits, i64(fraction))), highest));
  const sign = f.let(shl(op('i32.wrap_i64', op('i64.shr_u', bits, i64(fraction + exponentBits))), 15));
  f.set(sig, op('i64.shl', bits, i64(63 - fraction)));
  f.if(
    op('i32.lt_u', sub(field, 1), i32(highest - 1)),
    () => {
      f.set(sig, op('i64.or', sig, i64(INTEGER_BIT)));
      f.set(head, or(sign, add(field, biasDifference(format))));
    },
    () => {
      const isNoZero = op('i64.ne', op('i64.shl', bits, i64(64 - fraction - exponentBits)), i64(0));
      declineIf(f, isNoZero);
      f.set(sig, i64(0));
      f.set(head, sign);
    },
  );
}
export function fromInteger(f: FunctionBuilder, value: Expr, { head, sig }: Value): void {
  f.set(sig, i64(0));
  f.set(head, i32(0));
  f.if(op('i64.ne', value, i64(0)), () => {
    const negative = f.let(op('i64.lt_s', value, i64(0)));
    const magnitude = f.let(select(negative, op('i64.sub', i64(0), value), value));
    normalizedInteger(f, shl(negative, 15), magnitude, { head, sig });
  });
}
/** An integer that is not zero. */
export function normalizedInteger(f: FunctionBuilder, sign: Expr, magnitude: Expr, { head, sig }: Value): void {
  const shift = f.let(op('i64.clz', magnitude));
  f.set(sig, op('i64.shl', magnitude, shift));
  f.set(head, or(sign, sub(i32(BIAS + 63), op('i32.wrap_i64', shift))));
}
