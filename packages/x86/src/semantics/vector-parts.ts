/** Pieces that vector definitions are made of. */
import { type Operator, shuffle, v128 } from '@paravane/wasm-emit';
import { type Expr, i32, op, type Sem } from '../sem.js';
import type { Definition, Definitions } from './definitions.js';

export const u8 = (bytes: readonly number[]): Expr => v128(bytes);
export const u16 = (lanes: readonly number[]): Expr => v128(new Uint8Array(Uint16Array.from(lanes).buffer));
export const u32 = (lanes: readonly number[]): Expr => v128(new Uint8Array(Uint32Array.from(lanes).buffer));
export const repeat = (value: number, count: number): number[] => Array.from({ length: count }, () => value);
/** 0, 1, … 15. */
export const BYTES = Array.from({ length: 16 }, (_, i) => i);
export const ZERO = u8(repeat(0, 16));
export const ONES = u8(repeat(255, 16));

export const isMemory = (s: Sem, i: number): boolean => s.forms[i]!.kind === 'm';
/** The immediate byte of operand `i`, unsigned. */
export const imm8 = (s: Sem, i: number): Expr => s.let(op('i32.and', op('i32.wrap_i64', s.get(i)), i32(255)));
export const not = (value: Expr): Expr => op('v128.not', value);
export const and = (a: Expr, b: Expr): Expr => op('v128.and', a, b);
export const or = (a: Expr, b: Expr): Expr => op('v128.or', a, b);
export const xor = (a: Expr, b: Expr): Expr => op('v128.xor', a, b);

/** A vector operand that must lie on a 16-byte boundary if it is memory. */
export function aligned(s: Sem, i: number): Expr {
  s.requireAligned(i);
  return s.vector(i);
}

/** Destination and source to destination. */
export const binary =
  (make: (a: Expr, b: Expr, s: Sem) => Expr): Definition =>
  (s) => {
    const b = aligned(s, 1);
    s.setVector(0, make(s.vector(0), b, s));
  };
/** Source to destination. */
export const unary =
  (make: (a: Expr, s: Sem) => Expr): Definition =>
  (s) =>
    s.setVector(0, make(aligned(s, 1), s));
/** Definitions that are one operator each, from `MNEMONIC operator` lines. */
export const operators = (lines: string): Definitions =>
  Object.fromEntries(
    lines
      .trim()
      .split('\n')
      .map((line): [string, Definition] => {
        const [mnemonic, operator] = line.trim().split(' ');
        return [mnemonic!, binary((a, b) => op(operator as Operator, a, b))];
      }),
  );
/** Lanes of `size` bytes by number, 0… of `a`, then of `b`. */
export const pick = (a: Expr, b: Expr, size: number, lanes: readonly number[]): Expr =>
  shuffle(
    a,
    b,
    lanes.flatMap((lane) => Array.from({ length: size }, (_, i) => lane * size + i)),
  );
/** Numbers of the even (or odd) lanes of two vectors of `count` lanes. */
export const everySecond = (count: number, odd: 0 | 1): number[] =>
  Array.from({ length: count }, (_, i) => i * 2 + odd);
/** The bits of the low `count` bits of an immediate, as masks of `size` bytes a lane. */
export function laneMask(bits: Expr, size: 2 | 4 | 8): Expr {
  const count = 16 / size;
  const tests = Array.from({ length: count }, (_, i) => 1 << i);
  if (size === 2) {
    const tested = and(op('i16x8.splat', bits), u16(tests));
    return op('i16x8.ne', tested, ZERO);
  }
  const each = size === 4 ? tests : tests.flatMap((test) => [test, test]);
  return op('i32x4.ne', and(op('i32x4.splat', bits), u32(each)), ZERO);
}
