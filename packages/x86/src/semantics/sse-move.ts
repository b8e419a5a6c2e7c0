/** Moves, shuffles and logic of SSE to SSE3 (Intel SDM vol. 2). */
import { type Expr, i32, op, type Sem } from '../sem.js';
import type { Definition, Definitions } from './definitions.js';
import {
  aligned,
  and,
  BYTES,
  binary,
  imm8,
  isMemory,
  operators,
  or,
  pick,
  repeat,
  u8,
  u16,
  u32,
  unary,
} from './vector-parts.js';

const move: Definition = (s) => s.setVector(0, s.vector(1));
const alignedMove: Definition = (s) => {
  s.requireAligned(0);
  s.setVector(0, aligned(s, 1));
};
/** MOVSS and MOVSD: from memory the rest is cleared, from a register it is kept. */
const scalarMove =
  (lane: 'i' | 'l'): Definition =>
  (s) => {
    if (isMemory(s, 1)) s.setVector(0, s.vector(1));
    else s.setLane(0, s.lane(1, lane));
  };
const low = (s: Sem, i: number): Expr => op('i64x2.splat', s.lane(i, 'l'));
const lowToHigh: Definition = (s) => {
  const source = low(s, 1);
  s.setVector(0, pick(s.vector(0), source, 8, [0, 2]));
};
const lowMove: Definition = (s) => s.setLane(0, s.lane(1, 'l'));
const bitmask =
  (name: 'i8x16.bitmask' | 'i32x4.bitmask' | 'i64x2.bitmask'): Definition =>
  (s) =>
    s.set(0, op('i64.extend_i32_u', op(name, s.vector(1))));
const unpack = (size: number, high: boolean): Definition => {
  const count = 16 / size;
  const from = high ? count / 2 : 0;
  return binary((a, b) =>
    pick(
      a,
      b,
      size,
      Array.from({ length: count }, (_, i) => from + (i >> 1) + (i & 1) * count),
    ),
  );
};
/** Byte indices of the 32-bit lanes that the four 2-bit fields of an immediate name. */
const dwordIndices = (imm: Expr): Expr => {
  const fields = op('i32x4.shr_u', op('i32x4.mul', op('i32x4.splat', imm), u32([64, 16, 4, 1])), i32(6));
  const bytes = op('i32x4.mul', and(fields, u32(repeat(3, 4))), u32(repeat(0x04040404, 4)));
  return or(bytes, u32(repeat(0x03020100, 4)));
};
/** PSHUFLW and PSHUFHW: four 16-bit lanes from `base` on are shuffled, the others stay. */
const shuffleWords =
  (base: 0 | 4): Definition =>
  (s) => {
    const source = aligned(s, 1);
    const multipliers = [64, 16, 4, 1];
    const ours = <T>(lanes: T[], others: T[]): T[] => (base === 0 ? [...lanes, ...others] : [...others, ...lanes]);
    const imm = op('i16x8.splat', imm8(s, 2));
    const fields = op('i16x8.shr_u', op('i16x8.mul', imm, u16(ours(multipliers, repeat(0, 4)))), i32(6));
    const bytes = op('i16x8.mul', and(fields, u16(repeat(3, 8))), u16(repeat(0x0202, 8)));
    const start = 0x0100 + base * 0x0202;
    const fixed = [0, 1, 2, 3].map((i) => 0x0100 + (i + 4 - base) * 0x0202);
    s.setVector(0, op('i8x16.swizzle', source, op('i8x16.add', bytes, u16(ours(repeat(start, 4), fixed)))));
  };
/** PSLLDQ and PSRLDQ: a byte index of 16 or more gives zero. */
const shiftBytes =
  (name: 'i8x16.sub' | 'i8x16.add'): Definition =>
  (s) => {
    const count = imm8(s, 1);
    const clamped = s.choose(
      op('i32.lt_u', count, i32(16)),
      () => count,
      () => i32(16),
    );
    s.setVector(0, op('i8x16.swizzle', s.vector(0), op(name, u8(BYTES), op('i8x16.splat', clamped))));
  };

const logic = operators(`
  ANDPS v128.and
  ANDPD v128.and
  PAND v128.and
  ORPS v128.or
  ORPD v128.or
  POR v128.or
  XORPS v128.xor
  XORPD v128.xor
  PXOR v128.xor`);
const andNot = binary((a, b) => op('v128.andnot', b, a));

export const sseMove: Definitions = {
  ...logic,
  ANDNPS: andNot,
  ANDNPD: andNot,
  PANDN: andNot,
  MOVUPS: move,
  MOVUPD: move,
  MOVDQU: move,
  LDDQU: move,
  MOVAPS: alignedMove,
  MOVAPD: alignedMove,
  MOVDQA: alignedMove,
  MOVNTPS: alignedMove,
  MOVNTPD: alignedMove,
  MOVNTDQ: alignedMove,
  MOVNTDQA: alignedMove,
  MOVNTI: (s) => s.set(0, s.get(1)),
  MOVSS: scalarMove('i'),
  MOVSD: scalarMove('l'),
  MOVD: (s) => {
    if (s.forms[0]!.kind !== 'x') {
      const wide = s.operandWidth(0) === 64;
      return s.set(0, wide ? s.lane(1, 'l') : op('i64.extend_i32_u', s.lane(1, 'i')));
    }
    const source = s.getUnsigned(1);
    s.setVector(0, pick(op('i64x2.splat', source), u8(repeat(0, 16)), 8, [0, 2]));
  },
  MOVQ: (s) => {
    const source = s.lane(1, 'l');
    if (isMemory(s, 0)) s.setLane(0, source);
    else s.setVector(0, pick(op('i64x2.splat', source), u8(repeat(0, 16)), 8, [0, 2]));
  },
  MOVHLPS: (s) => s.setVector(0, pick(s.vector(0), s.vector(1), 8, [3, 1])),
  MOVLHPS: lowToHigh,
  MOVLPS: lowMove,
  MOVLPD: lowMove,
  MOVHPS: (s) => (isMemory(s, 0) ? storeHigh(s) : lowToHigh(s)),
  MOVHPD: (s) => (isMemory(s, 0) ? storeHigh(s) : lowToHigh(s)),
  MOVDDUP: (s) => s.setVector(0, low(s, 1)),
  MOVSLDUP: unary((a) => pick(a, a, 4, [0, 0, 2, 2])),
  MOVSHDUP: unary((a) => pick(a, a, 4, [1, 1, 3, 3])),
  MOVMSKPS: bitmask('i32x4.bitmask'),
  MOVMSKPD: bitmask('i64x2.bitmask'),
  PMOVMSKB: bitmask('i8x16.bitmask'),
  UNPCKLPS: unpack(4, false),
  UNPCKHPS: unpack(4, true),
  UNPCKLPD: unpack(8, false),
  UNPCKHPD: unpack(8, true),
  PUNPCKLBW: unpack(1, false),
  PUNPCKHBW: unpack(1, true),
  PUNPCKLWD: unpack(2, false),
  PUNPCKHWD: unpack(2, true),
  PUNPCKLDQ: unpack(4, false),
  PUNPCKHDQ: unpack(4, true),
  PUNPCKLQDQ: unpack(8, false),
  PUNPCKHQDQ: unpack(8, true),
  PSHUFD: (s) => s.setVector(0, op('i8x16.swizzle', aligned(s, 1), dwordIndices(imm8(s, 2)))),
  PSHUFLW: shuffleWords(0),
  PSHUFHW: shuffleWords(4),
  SHUFPS: (s) => {
    const b = aligned(s, 1);
    const indices = s.let(dwordIndices(imm8(s, 2)));
    const from = (source: Expr): Expr => op('i8x16.swizzle', source, indices);
    s.setVector(0, pick(from(s.vector(0)), from(b), 8, [0, 3]));
  },
  SHUFPD: (s) => {
    const b = aligned(s, 1);
    const imm = imm8(s, 2);
    // Bit 0 chooses the half of the destination, bit 1 that of the source.
    const chosen = op('i32x4.shr_u', op('i32x4.mul', op('i32x4.splat', imm), u32([2, 2, 1, 1])), i32(1));
    const bytes = op('i32x4.mul', and(chosen, u32(repeat(1, 4))), u32(repeat(0x08080808, 4)));
    const indices = s.let(or(bytes, u8([...BYTES.slice(0, 8), ...BYTES.slice(0, 8)])));
    const from = (source: Expr): Expr => op('i8x16.swizzle', source, indices);
    s.setVector(0, pick(from(s.vector(0)), from(b), 8, [0, 3]));
  },
  PSLLDQ: shiftBytes('i8x16.sub'),
  PSRLDQ: shiftBytes('i8x16.add'),
};

/** Memory from the high half of a register. */
function storeHigh(s: Sem): void {
  const source = s.vector(1);
  s.setVector(0, pick(source, source, 8, [1, 1]));
}
