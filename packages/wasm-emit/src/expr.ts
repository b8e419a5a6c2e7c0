/**
 * Expressions: trees of WebAssembly operators, with constants folded where they
 * are built. An expression has no effect of its own except through `call` and
 * loads, so whoever builds one decides by `FunctionBuilder.let` when it is
 * evaluated.
 */
import { LANES, type Lane, LOADS, type Load, OPERATORS, type Operator } from './operators.js';
import { leb } from './writer.js';

export type ValueType = 'i' | 'l' | 'f' | 'd' | 'v';

export type Expr =
  | { readonly kind: 'const'; readonly type: ValueType; readonly value: number | bigint }
  | { readonly kind: 'get'; readonly type: ValueType; readonly local: number }
  | {
      readonly kind: 'op';
      readonly type: ValueType;
      readonly args: readonly Expr[];
      readonly bytes: readonly number[];
    };

export const i32 = (value: number): Expr => ({ kind: 'const', type: 'i', value: value | 0 });
export const i64 = (value: number | bigint): Expr => ({
  kind: 'const',
  type: 'l',
  value: BigInt.asIntN(64, BigInt(value)),
});
export const f64 = (value: number): Expr => ({ kind: 'const', type: 'd', value });
export const f32 = (value: number): Expr => ({ kind: 'const', type: 'f', value });

const fold32: Partial<Record<string, (a: number, b: number) => number>> = {
  'i32.add': (a, b) => a + b,
  'i32.sub': (a, b) => a - b,
  'i32.and': (a, b) => a & b,
  'i32.or': (a, b) => a | b,
  'i32.xor': (a, b) => a ^ b,
  'i32.shl': (a, b) => a << (b & 31),
  'i32.shr_u': (a, b) => a >>> (b & 31),
  'i32.shr_s': (a, b) => a >> (b & 31),
  'i32.mul': (a, b) => Math.imul(a, b),
  'i32.eq': (a, b) => (a === b ? 1 : 0),
  'i32.ne': (a, b) => (a !== b ? 1 : 0),
  'i32.lt_u': (a, b) => (a >>> 0 < b >>> 0 ? 1 : 0),
  'i32.ge_u': (a, b) => (a >>> 0 >= b >>> 0 ? 1 : 0),
};
const fold64: Partial<Record<string, (a: bigint, b: bigint) => bigint>> = {
  'i64.add': (a, b) => a + b,
  'i64.sub': (a, b) => a - b,
  'i64.and': (a, b) => a & b,
  'i64.or': (a, b) => a | b,
  'i64.xor': (a, b) => a ^ b,
  'i64.mul': (a, b) => a * b,
  'i64.shl': (a, b) => a << (b & 63n),
  'i64.shr_u': (a, b) => BigInt.asUintN(64, a) >> (b & 63n),
  'i64.shr_s': (a, b) => a >> (b & 63n),
};
const compare64: Partial<Record<string, (a: bigint, b: bigint) => boolean>> = {
  'i64.eq': (a, b) => a === b,
  'i64.ne': (a, b) => a !== b,
};
/** Operators whose right operand 0 leaves the left one as it is. */
const RIGHT_ZERO = /^i(32|64)\.(add|sub|or|xor|shl|shr_u|shr_s|rotl|rotr)$/;

function fold(name: Operator, args: readonly Expr[]): Expr | null {
  const [a, b] = args;
  if (a?.kind === 'const' && args.length === 1) {
    if (name === 'i32.wrap_i64') return i32(Number(BigInt.asIntN(32, a.value as bigint)));
    if (name === 'i64.extend_i32_s') return i64(a.value as number);
    if (name === 'i64.extend_i32_u') return i64((a.value as number) >>> 0);
    if (name === 'i32.eqz') return i32(a.value === 0 ? 1 : 0);
  }
  if (b?.kind !== 'const') return null;
  if ((b.value === 0 || b.value === 0n) && RIGHT_ZERO.test(name)) return a!;
  if (a?.kind !== 'const') return null;
  const narrow = fold32[name];
  if (narrow) return i32(narrow(a.value as number, b.value as number));
  const compare = compare64[name];
  if (compare) return i32(compare(a.value as bigint, b.value as bigint) ? 1 : 0);
  const wide = fold64[name];
  return wide ? i64(wide(a.value as bigint, b.value as bigint)) : null;
}

export function op(name: Operator, ...args: Expr[]): Expr {
  const [bytes, types, type] = OPERATORS[name];
  if (args.length !== types.length || args.some((arg, i) => arg.type !== types[i])) {
    throw new TypeError(`${name} takes (${types}), given (${args.map((arg) => arg.type).join('')})`);
  }
  return fold(name, args) ?? { kind: 'op', type, args, bytes };
}

export function load(name: Load, address: Expr, offset = 0): Expr {
  const [bytes, type] = LOADS[name];
  return { kind: 'op', type, args: [address], bytes: [...bytes, 0, ...leb(offset)] };
}
/** The value of a global of the module, by its index. */
export const globalGet = (type: ValueType, index: number): Expr => ({
  kind: 'op',
  type,
  args: [],
  bytes: [0x23, ...leb(index)],
});
export const select = (condition: Expr, yes: Expr, no: Expr): Expr =>
  yes.type === 'v'
    ? { kind: 'op', type: 'v', args: [yes, no, condition], bytes: [0x1c, 1, 0x7b] }
    : { kind: 'op', type: yes.type, args: [yes, no, condition], bytes: [0x1b] };
export function extractLane(name: Lane, lane: number, vector: Expr): Expr {
  const [code, type] = LANES[name];
  return { kind: 'op', type, args: [vector], bytes: [0xfd, ...leb(code), lane] };
}
export const replaceLane = (name: Lane, lane: number, vector: Expr, value: Expr): Expr => ({
  kind: 'op',
  type: 'v',
  args: [vector, value],
  bytes: [0xfd, ...leb(LANES[name][0]), lane],
});
/** Sixteen byte indices, 0–15 into `a`, 16–31 into `b`. */
export const shuffle = (a: Expr, b: Expr, lanes: readonly number[]): Expr => ({
  kind: 'op',
  type: 'v',
  args: [a, b],
  bytes: [0xfd, 13, ...lanes],
});
/** A vector constant of sixteen bytes. */
export const v128 = (bytes: ArrayLike<number>): Expr => ({
  kind: 'op',
  type: 'v',
  args: [],
  bytes: [0xfd, 12, ...Array.from(bytes)],
});
