/**
 * MMX, and SSE to SSSE3 on MMX registers (Intel SDM vol. 1, chapter 9). An MMX
 * register is the significand of a physical x87 register; every instruction but
 * EMMS marks all of them valid and makes R0 the top of the stack.
 */
import { extractLane, type Operator } from '@paravane/wasm-emit';
import { type Expr, i32, i64, load, op, type Sem, select } from '../sem.js';
import { State } from '../state.js';
import type { Definition, Definitions } from './definitions.js';
import { and, BYTES, everySecond, imm8, not, or, pick, repeat, u8, u16, u32, xor, ZERO } from './vector-parts.js';

const CR0_EM = 4;
const CR0_TS = 8;
const FSW_ES = 0x80;
const FSW_TOP = 0x3800;

/** #UD, #NM or #MF where MMX is not to be used now. */
function check(s: Sem): void {
  const cr0 = s.let(load('i32.load', s.statePlace(), State.cr0));
  const pending = load('i32.load16_u', s.statePlace(), State.fsw);
  const bad = op('i32.or', op('i32.and', cr0, i32(CR0_EM | CR0_TS)), op('i32.and', pending, i32(FSW_ES)));
  s.if(bad, () => {
    s.if(op('i32.and', cr0, i32(CR0_EM)), () => s.raise(6, -1));
    s.if(op('i32.and', cr0, i32(CR0_TS)), () => s.raise(7, -1));
    s.raise(16, -1);
  });
}
function resetTop(s: Sem): void {
  const place = s.statePlace();
  const fsw = op('i32.and', load('i32.load16_u', place, State.fsw), i32(0xffff & ~FSW_TOP));
  s.f.store('i32.store16', place, fsw, State.fsw);
}
const setTags = (s: Sem, tags: number): void => s.f.store('i32.store8', s.statePlace(), i32(tags), State.ftw);

/** The rest of the state changes when nothing of the instruction can fault any more; but a store that faults has moved TOP. */
const mmx =
  (body: Definition): Definition =>
  (s) => {
    check(s);
    const stores = s.forms[0]!.kind === 'm';
    if (stores) resetTop(s);
    body(s);
    if (!stores) resetTop(s);
    setTags(s, 0xff);
  };

const binary = (make: (a: Expr, b: Expr, s: Sem) => Expr): Definition =>
  mmx((s) => {
    const b = s.vector(1);
    s.setVector(0, make(s.vector(0), b, s));
  });
const unary = (make: (b: Expr, s: Sem) => Expr): Definition => mmx((s) => s.setVector(0, make(s.vector(1), s)));
const operators = (lines: string): Definitions =>
  Object.fromEntries(
    lines
      .trim()
      .split('\n')
      .map((line): [string, Definition] => {
        const [mnemonic, operator] = line.trim().split(' ');
        return [mnemonic!, binary((a, b) => op(operator as Operator, a, b))];
      }),
  );

/** `a` below `b` in one vector. */
const join = (a: Expr, b: Expr): Expr => pick(a, b, 8, [0, 2]);
const low64 = (v: Expr): Expr => extractLane('i64x2.extract_lane', 0, v);
const from64 = (value: Expr): Expr => op('i64x2.splat', value);

const pack = (operator: Operator): Definition =>
  binary((a, b, s) => {
    const both = s.let(join(a, b));
    return op(operator, both, both);
  });
/** Lanes of the low half of each operand, one of `a`, one of `b`, from lane `first`. */
const interleave = (size: number, high: boolean): Definition => {
  const count = 8 / size;
  const first = high ? count / 2 : 0;
  const lanes = Array.from({ length: count }, (_, i) => first + (i >> 1) + (i & 1 ? 16 / size : 0));
  return binary((a, b) => pick(a, b, size, [...lanes, ...lanes]));
};
/** Combines neighbouring lanes of `size` bytes, those of the destination first. */
const horizontal = (operator: Operator, size: 2 | 4): Definition =>
  binary((a, b, s) => {
    const both = s.let(join(a, b));
    const count = 8 / size;
    const lanes = (odd: 0 | 1): number[] => [...everySecond(count, odd), ...everySecond(count, odd)];
    return op(operator, pick(both, both, size, lanes(0)), pick(both, both, size, lanes(1)));
  });

/** Count of a shift: the immediate, or all 64 bits of the operand. */
const shiftCount = (s: Sem): Expr =>
  s.forms[1]!.kind === 'i' ? s.let(op('i64.extend_i32_u', imm8(s, 1))) : s.lane(1, 'l');
const shift = (operator: Operator, width: number): Definition =>
  mmx((s) => {
    const count = shiftCount(s);
    const fits = op('i64.lt_u', count, i64(width));
    const value = s.vector(0);
    s.setVector(0, select(fits, op(operator, value, op('i32.wrap_i64', count)), ZERO));
  });
const shiftSigned = (operator: Operator, width: number): Definition =>
  mmx((s) => {
    const count = shiftCount(s);
    const bounded = select(op('i64.lt_u', count, i64(width)), op('i32.wrap_i64', count), i32(width - 1));
    s.setVector(0, op(operator, s.vector(0), bounded));
  });

/** High words of the products of four words. */
const highProduct = (operator: Operator): Definition =>
  binary((a, b, s) => {
    const products = s.let(op(operator, a, b));
    return pick(products, products, 2, [...everySecond(4, 1), ...everySecond(4, 1)]);
  });
const sign = (size: 'i8x16' | 'i16x8' | 'i32x4'): Definition =>
  binary((a, b) => {
    const signed = op('v128.bitselect', op(`${size}.neg`, a), a, op(`${size}.lt_s`, b, ZERO));
    return and(signed, op(`${size}.ne`, b, ZERO));
  });
/** Bit position of the word that the low two bits of the immediate select. */
const wordShift = (s: Sem, i: number): Expr =>
  s.let(op('i64.extend_i32_u', op('i32.shl', op('i32.and', imm8(s, i), i32(3)), i32(4))));

const definitions: Definitions = {
  ...operators(`
    PADDB i8x16.add
    PADDW i16x8.add
    PADDD i32x4.add
    PADDQ i64x2.add
    PADDSB i8x16.add_sat_s
    PADDSW i16x8.add_sat_s
    PADDUSB i8x16.add_sat_u
    PADDUSW i16x8.add_sat_u
    PSUBB i8x16.sub
    PSUBW i16x8.sub
    PSUBD i32x4.sub
    PSUBQ i64x2.sub
    PSUBSB i8x16.sub_sat_s
    PSUBSW i16x8.sub_sat_s
    PSUBUSB i8x16.sub_sat_u
    PSUBUSW i16x8.sub_sat_u
    PCMPEQB i8x16.eq
    PCMPEQW i16x8.eq
    PCMPEQD i32x4.eq
    PCMPGTB i8x16.gt_s
    PCMPGTW i16x8.gt_s
    PCMPGTD i32x4.gt_s
    PAVGB i8x16.avgr_u
    PAVGW i16x8.avgr_u
    PMINUB i8x16.min_u
    PMAXUB i8x16.max_u
    PMINSW i16x8.min_s
    PMAXSW i16x8.max_s
    PMULLW i16x8.mul
    PMADDWD i32x4.dot_i16x8_s
  `),
  PAND: binary(and),
  PANDN: binary((a, b) => and(not(a), b)),
  POR: binary(or),
  PXOR: binary(xor),
  PACKSSWB: pack('i8x16.narrow_i16x8_s'),
  PACKUSWB: pack('i8x16.narrow_i16x8_u'),
  PACKSSDW: pack('i16x8.narrow_i32x4_s'),
  PUNPCKLBW: interleave(1, false),
  PUNPCKLWD: interleave(2, false),
  PUNPCKLDQ: interleave(4, false),
  PUNPCKHBW: interleave(1, true),
  PUNPCKHWD: interleave(2, true),
  PUNPCKHDQ: interleave(4, true),
  PSRLW: shift('i16x8.shr_u', 16),
  PSRLD: shift('i32x4.shr_u', 32),
  PSRLQ: shift('i64x2.shr_u', 64),
  PSLLW: shift('i16x8.shl', 16),
  PSLLD: shift('i32x4.shl', 32),
  PSLLQ: shift('i64x2.shl', 64),
  PSRAW: shiftSigned('i16x8.shr_s', 16),
  PSRAD: shiftSigned('i32x4.shr_s', 32),
  PMULHW: highProduct('i32x4.extmul_low_i16x8_s'),
  PMULHUW: highProduct('i32x4.extmul_low_i16x8_u'),
  PMULHRSW: binary((a, b, s) => {
    const products = op('i32x4.shr_s', op('i32x4.extmul_low_i16x8_s', a, b), i32(14));
    const rounded = s.let(op('i32x4.shr_s', op('i32x4.add', products, u32(repeat(1, 4))), i32(1)));
    return pick(rounded, rounded, 2, [...everySecond(4, 0), ...everySecond(4, 0)]);
  }),
  PMULUDQ: binary((a, b) => {
    const mask = i64(0xffffffffn);
    return from64(op('i64.mul', op('i64.and', low64(a), mask), op('i64.and', low64(b), mask)));
  }),
  PMADDUBSW: binary((a, b, s) => {
    const products = s.let(op('i16x8.mul', op('i16x8.extend_low_i8x16_u', a), op('i16x8.extend_low_i8x16_s', b)));
    const lanes = (odd: 0 | 1): number[] => [...everySecond(4, odd), ...everySecond(4, odd)];
    return op('i16x8.add_sat_s', pick(products, products, 2, lanes(0)), pick(products, products, 2, lanes(1)));
  }),
  PSADBW: binary((a, b, s) => {
    const difference = or(op('i8x16.sub_sat_u', a, b), op('i8x16.sub_sat_u', b, a));
    const sums = s.let(op('i32x4.dot_i16x8_s', op('i16x8.extend_low_i8x16_u', difference), u16(repeat(1, 8))));
    const lane = (i: number): Expr => extractLane('i32x4.extract_lane', i, sums);
    const total = op('i32.add', op('i32.add', lane(0), lane(1)), op('i32.add', lane(2), lane(3)));
    return from64(op('i64.extend_i32_u', total));
  }),
  PHADDW: horizontal('i16x8.add', 2),
  PHADDD: horizontal('i32x4.add', 4),
  PHADDSW: horizontal('i16x8.add_sat_s', 2),
  PHSUBW: horizontal('i16x8.sub', 2),
  PHSUBD: horizontal('i32x4.sub', 4),
  PHSUBSW: horizontal('i16x8.sub_sat_s', 2),
  PSIGNB: sign('i8x16'),
  PSIGNW: sign('i16x8'),
  PSIGND: sign('i32x4'),
  PABSB: unary((b) => op('i8x16.abs', b)),
  PABSW: unary((b) => op('i16x8.abs', b)),
  PABSD: unary((b) => op('i32x4.abs', b)),
  // A lane number with bit 7 set lies outside of the vector, which gives zero.
  PSHUFB: binary((a, b) => op('i8x16.swizzle', a, and(b, u8(repeat(0x87, 16))))),
  PALIGNR: binary((a, b, s) => {
    const lanes = op('i8x16.add_sat_u', u8(BYTES), op('i8x16.splat', imm8(s, 2)));
    return op('i8x16.swizzle', join(b, a), lanes);
  }),
  PSHUFW: unary((b, s) => {
    const order = imm8(s, 2);
    const lanes = [0, 1, 2, 3].map((i) => {
      const lane = op('i64.extend_i32_u', op('i32.and', op('i32.shr_u', order, i32(2 * i)), i32(3)));
      return op('i64.shl', op('i64.add', op('i64.mul', lane, i64(0x0202)), i64(0x0100)), i64(16 * i));
    });
    return op('i8x16.swizzle', b, from64(lanes.reduce((a, c) => op('i64.or', a, c))));
  }),
  PINSRW: mmx((s) => {
    const word = s.getUnsigned(1);
    const at = wordShift(s, 2);
    const kept = op('i64.and', low64(s.vector(0)), op('i64.xor', op('i64.shl', i64(0xffff), at), i64(-1)));
    s.setVector(0, from64(op('i64.or', kept, op('i64.shl', op('i64.and', word, i64(0xffff)), at))));
  }),
  PEXTRW: mmx((s) => s.set(0, op('i64.and', op('i64.shr_u', low64(s.vector(1)), wordShift(s, 2)), i64(0xffff)))),
  PMOVMSKB: mmx((s) => s.set(0, op('i64.extend_i32_u', op('i8x16.bitmask', s.vector(1))))),
  MOVD: mmx((s) => {
    if (s.forms[0]!.kind === 'p') s.setVector(0, from64(s.getUnsigned(1)));
    else s.set(0, low64(s.vector(1)));
  }),
  MOVQ: mmx((s) => s.setVector(0, s.vector(1))),
  MOVNTQ: mmx((s) => s.setVector(0, s.vector(1))),
  MOVQ2DQ: mmx((s) => s.setVector(0, s.vector(1))),
  MOVDQ2Q: mmx((s) => s.setVector(0, s.vector(1))),
};

/** Adds the MMX forms to definitions, some of which have the same name for XMM registers. */
export function withMmx(others: Definitions): Definitions {
  const forMmx = Object.entries(definitions).map(([mnemonic, definition]): [string, Definition] => {
    const other = others[mnemonic] ?? ((s: Sem): void => s.bail());
    return [mnemonic, (s) => (s.forms.some((form) => form.kind === 'p') ? definition(s) : other(s))];
  });
  const emms: Definition = (s) => {
    check(s);
    resetTop(s);
    setTags(s, 0);
  };
  return { ...others, ...Object.fromEntries(forMmx), EMMS: emms };
}
