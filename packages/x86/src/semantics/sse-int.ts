/** Integer arithmetic, comparisons, packing and shifts of SSE2 and SSSE3 (Intel SDM vol. 2). */
import { extractLane } from '@paravane/wasm-emit';
import { type Expr, i32, i64, op, select } from '../sem.js';
import type { Definition, Definitions } from './definitions.js';
import {
  aligned,
  and,
  BYTES,
  binary,
  everySecond,
  imm8,
  operators,
  or,
  pick,
  repeat,
  u8,
  u16,
  unary,
  xor,
  ZERO,
} from './vector-parts.js';

const simple = operators(`
  PADDB i8x16.add
  PADDW i16x8.add
  PADDD i32x4.add
  PADDQ i64x2.add
  PSUBB i8x16.sub
  PSUBW i16x8.sub
  PSUBD i32x4.sub
  PSUBQ i64x2.sub
  PADDSB i8x16.add_sat_s
  PADDSW i16x8.add_sat_s
  PADDUSB i8x16.add_sat_u
  PADDUSW i16x8.add_sat_u
  PSUBSB i8x16.sub_sat_s
  PSUBSW i16x8.sub_sat_s
  PSUBUSB i8x16.sub_sat_u
  PSUBUSW i16x8.sub_sat_u
  PMINUB i8x16.min_u
  PMAXUB i8x16.max_u
  PMINSW i16x8.min_s
  PMAXSW i16x8.max_s
  PAVGB i8x16.avgr_u
  PAVGW i16x8.avgr_u
  PCMPEQB i8x16.eq
  PCMPEQW i16x8.eq
  PCMPEQD i32x4.eq
  PCMPGTB i8x16.gt_s
  PCMPGTW i16x8.gt_s
  PCMPGTD i32x4.gt_s
  PMULLW i16x8.mul
  PMADDWD i32x4.dot_i16x8_s
  PACKSSWB i8x16.narrow_i16x8_s
  PACKUSWB i8x16.narrow_i16x8_u
  PACKSSDW i16x8.narrow_i32x4_s`);

type LaneType = 'i8x16' | 'i16x8' | 'i32x4' | 'i64x2';
const laneBits = (type: LaneType): number => Number(type.slice(1, type.indexOf('x')));

/** A count as wide as a lane or wider gives zeros, or copies of the sign. */
const shift =
  (type: 'i16x8' | 'i32x4' | 'i64x2', direction: 'shl' | 'shr_u' | 'shr_s'): Definition =>
  (s) => {
    const bits = laneBits(type);
    const count =
      s.forms[1]!.kind === 'i'
        ? op('i64.extend_i32_u', imm8(s, 1))
        : extractLane('i64x2.extract_lane', 0, aligned(s, 1));
    const whole = s.let(count);
    const inRange = op('i64.lt_u', whole, i64(bits));
    const last = op('i32.wrap_i64', whole);
    const value = s.vector(0);
    if (direction === 'shr_s') s.setVector(0, op(`${type}.shr_s`, value, select(inRange, last, i32(bits - 1))));
    else s.setVector(0, select(inRange, op(`${type}.${direction}`, value, last), ZERO));
  };
/** High halves of 16-bit products. */
const multiplyHigh = (sign: 's' | 'u'): Definition =>
  binary((a, b) =>
    pick(op(`i32x4.extmul_low_i16x8_${sign}`, a, b), op(`i32x4.extmul_high_i16x8_${sign}`, a, b), 2, everySecond(8, 1)),
  );
/** 64-bit products of the even 32-bit lanes. */
export const multiplyEven = (sign: 's' | 'u'): Definition => {
  const even = (v: Expr): Expr => pick(v, v, 4, [0, 2, 0, 2]);
  return binary((a, b) => op(`i64x2.extmul_low_i32x4_${sign}`, even(a), even(b)));
};
/** Adjacent lanes of destination and source, by an operator. */
const horizontal = (type: 'i16x8' | 'i32x4', operation: 'add' | 'sub' | 'add_sat_s' | 'sub_sat_s'): Definition => {
  const [size, count] = type === 'i16x8' ? [2, 8] : [4, 4];
  const name = `${type}.${operation}` as 'i16x8.add';
  return binary((a, b) => op(name, pick(a, b, size, everySecond(count, 0)), pick(a, b, size, everySecond(count, 1))));
};
/** The destination negated, kept or cleared by the sign of the source. */
const sign = (type: 'i8x16' | 'i16x8' | 'i32x4'): Definition =>
  binary((a, b, s) => {
    const negative = s.let(op(`${type}.lt_s`, b, ZERO));
    const turned = op(`${type}.sub`, xor(a, negative), negative);
    return op('v128.andnot', turned, op(`${type}.eq`, b, ZERO));
  });

export const sseInt: Definitions = {
  ...simple,
  PSLLW: shift('i16x8', 'shl'),
  PSLLD: shift('i32x4', 'shl'),
  PSLLQ: shift('i64x2', 'shl'),
  PSRLW: shift('i16x8', 'shr_u'),
  PSRLD: shift('i32x4', 'shr_u'),
  PSRLQ: shift('i64x2', 'shr_u'),
  PSRAW: shift('i16x8', 'shr_s'),
  PSRAD: shift('i32x4', 'shr_s'),
  PMULHW: multiplyHigh('s'),
  PMULHUW: multiplyHigh('u'),
  PMULUDQ: multiplyEven('u'),
  /** Sums of absolute differences of eight bytes: bytes are added to 16, 32 and 64 bits within each half. */
  PSADBW: binary((a, b, s) => {
    const difference = s.let(or(op('i8x16.sub_sat_u', a, b), op('i8x16.sub_sat_u', b, a)));
    const fold = (v: Expr, by: number, mask: readonly number[]): Expr =>
      s.let(op('i64x2.add', and(v, u8(mask)), and(op('i64x2.shr_u', v, i32(by)), u8(mask))));
    const words = fold(
      difference,
      8,
      BYTES.map((i) => (i & 1 ? 0 : 255)),
    );
    const dwords = fold(
      words,
      16,
      BYTES.map((i) => (i & 2 ? 0 : 255)),
    );
    return fold(
      dwords,
      32,
      BYTES.map((i) => (i & 4 ? 0 : 255)),
    );
  }),
  PSHUFB: binary((a, b) => op('i8x16.swizzle', a, and(b, u8(repeat(0x8f, 16))))),
  PHADDW: horizontal('i16x8', 'add'),
  PHADDD: horizontal('i32x4', 'add'),
  PHADDSW: horizontal('i16x8', 'add_sat_s'),
  PHSUBW: horizontal('i16x8', 'sub'),
  PHSUBD: horizontal('i32x4', 'sub'),
  PHSUBSW: horizontal('i16x8', 'sub_sat_s'),
  PMADDUBSW: binary((a, b) => {
    const evenBytes = op(
      'i16x8.mul',
      and(a, u16(repeat(0xff, 8))),
      op('i16x8.shr_s', op('i16x8.shl', b, i32(8)), i32(8)),
    );
    const oddBytes = op('i16x8.mul', op('i16x8.shr_u', a, i32(8)), op('i16x8.shr_s', b, i32(8)));
    return op('i16x8.add_sat_s', evenBytes, oddBytes);
  }),
  PSIGNB: sign('i8x16'),
  PSIGNW: sign('i16x8'),
  PSIGND: sign('i32x4'),
  /** −1 × −1 does not saturate as in WebAssembly: it wraps to −1. */
  PMULHRSW: binary((a, b) => {
    const least = u16(repeat(0x8000, 8));
    const wraps = and(op('i16x8.eq', a, least), op('i16x8.eq', b, least));
    return xor(op('i16x8.q15mulr_sat_s', a, b), wraps);
  }),
  PABSB: unary((a) => op('i8x16.abs', a)),
  PABSW: unary((a) => op('i16x8.abs', a)),
  PABSD: unary((a) => op('i32x4.abs', a)),
  PALIGNR: (s) => {
    const b = aligned(s, 1);
    const imm = imm8(s, 2);
    const count = op('i8x16.splat', select(op('i32.lt_u', imm, i32(32)), imm, i32(32)));
    const indices = s.let(op('i8x16.add', u8(BYTES), count));
    const above = op('i8x16.swizzle', s.vector(0), op('i8x16.sub', indices, u8(repeat(16, 16))));
    s.setVector(0, or(op('i8x16.swizzle', b, indices), above));
  },
  PINSRB: insert('i8x16'),
  PINSRW: insert('i16x8'),
  PINSRD: (s) => insert(s.operandWidth(1) === 64 ? 'i64x2' : 'i32x4')(s),
  PEXTRB: extract('i8x16'),
  PEXTRW: extract('i16x8'),
  PEXTRD: (s) => extract(s.operandWidth(0) === 64 ? 'i64x2' : 'i32x4')(s),
  EXTRACTPS: extract('i32x4'),
};

/** Every lane of `type` holds its number. */
const laneNumbers = (type: LaneType): Expr => {
  const size = laneBits(type) / 8;
  return u8(BYTES.map((i) => (i % size === 0 ? i / size : 0)));
};
function splat(type: LaneType, value: Expr): Expr {
  if (type === 'i64x2') return op('i64x2.splat', value.type === 'l' ? value : op('i64.extend_i32_u', value));
  return op(`${type}.splat`, value.type === 'l' ? op('i32.wrap_i64', value) : value);
}
/** The lane that the immediate names is replaced by an integer operand. */
function insert(type: LaneType): Definition {
  return (s) => {
    const value = s.getUnsigned(1);
    const lane = op('i32.and', imm8(s, 2), i32(128 / laneBits(type) - 1));
    const mask = op(`${type}.eq`, laneNumbers(type), splat(type, lane));
    s.setVector(0, op('v128.bitselect', splat(type, value), s.vector(0), mask));
  };
}
/** The lane that the immediate names, zero-extended. */
function extract(type: LaneType): Definition {
  return (s) => {
    const size = laneBits(type) / 8;
    const lane = op('i32.and', imm8(s, 2), i32(16 / size - 1));
    const start = op('i8x16.splat', op('i32.mul', lane, i32(size)));
    const moved = op('i8x16.swizzle', s.vector(1), op('i8x16.add', start, u8(BYTES)));
    const value = extractLane('i64x2.extract_lane', 0, moved);
    s.set(0, size === 8 ? value : op('i64.and', value, i64((1n << BigInt(size * 8)) - 1n)));
  };
}
