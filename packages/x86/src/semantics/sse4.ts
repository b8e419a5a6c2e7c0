/** SSE4.1 and SSE4.2 but for floating point and strings (Intel SDM vol. 2). */
import { extractLane } from '@paravane/wasm-emit';
import { EFL, type Expr, i32, load, op, type Sem } from '../sem.js';
import { State } from '../state.js';
import type { Definition, Definitions } from './definitions.js';
import { multiplyEven } from './sse-int.js';
import { aligned, and, binary, imm8, isMemory, laneMask, operators, repeat, u8, u32, ZERO } from './vector-parts.js';

const simple = operators(`
  PCMPEQQ i64x2.eq
  PCMPGTQ i64x2.gt_s
  PACKUSDW i16x8.narrow_i32x4_u
  PMINSB i8x16.min_s
  PMINSD i32x4.min_s
  PMINUW i16x8.min_u
  PMINUD i32x4.min_u
  PMAXSB i8x16.max_s
  PMAXSD i32x4.max_s
  PMAXUW i16x8.max_u
  PMAXUD i32x4.max_u
  PMULLD i32x4.mul`);

const DOUBLINGS = ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4'] as const;
/** Widens the lowest lanes, one doubling after another. */
const extend =
  (from: number, to: number, sign: 's' | 'u'): Definition =>
  (s) => {
    let value = s.forms[1]!.width === 16 ? op('i64x2.splat', s.getUnsigned(1)) : s.vector(1);
    for (const doubling of DOUBLINGS.slice(from, to)) value = op(`${doubling}_${sign}`, value);
    s.setVector(0, value);
  };
/** Lanes of the source where the sign bit of XMM0's lane is set. */
const blendByXmm0 = (sized: (mask: Expr) => Expr): Definition =>
  binary((a, b, s) => op('v128.bitselect', b, a, sized(load('v128.load', s.statePlace(), State.xmm))));
const blendByImmediate =
  (size: 2 | 4 | 8): Definition =>
  (s) => {
    const b = aligned(s, 1);
    s.setVector(0, op('v128.bitselect', b, s.vector(0), laneMask(imm8(s, 2), size)));
  };
/** INSERTPS: a lane of the source (the only one, of memory) to a lane of the destination; then lanes are cleared. */
const insertSingle = (s: Sem): void => {
  const source = s.vector(1);
  const imm = imm8(s, 2);
  const from = isMemory(s, 1) ? i32(0) : op('i32.shr_u', imm, i32(6));
  const indices = op('i32x4.add', op('i32x4.splat', op('i32.mul', from, i32(0x04040404))), u32(repeat(0x03020100, 4)));
  const to = op('i32.and', op('i32.shr_u', imm, i32(4)), i32(3));
  const place = op('i32x4.eq', u32([0, 1, 2, 3]), op('i32x4.splat', to));
  const joined = op('v128.bitselect', op('i8x16.swizzle', source, indices), s.vector(0), place);
  s.setVector(0, op('v128.andnot', joined, laneMask(op('i32.and', imm, i32(15)), 4)));
};

export const sse4: Definitions = {
  ...simple,
  ...Object.fromEntries(
    ['BW', 'BD', 'BQ', 'WD', 'WQ', 'DQ'].flatMap((pair) => {
      const [from, to] = ['BWDQ'.indexOf(pair[0]!), 'BWDQ'.indexOf(pair[1]!)];
      return [
        [`PMOVSX${pair}`, extend(from, to, 's')],
        [`PMOVZX${pair}`, extend(from, to, 'u')],
      ];
    }),
  ),
  PMULDQ: multiplyEven('s'),
  PBLENDVB: blendByXmm0((mask) => op('i8x16.lt_s', mask, ZERO)),
  BLENDVPS: blendByXmm0((mask) => op('i32x4.lt_s', mask, ZERO)),
  BLENDVPD: blendByXmm0((mask) => op('i64x2.lt_s', mask, ZERO)),
  BLENDPS: blendByImmediate(4),
  BLENDPD: blendByImmediate(8),
  PBLENDW: blendByImmediate(2),
  INSERTPS: insertSingle,
  PTEST: (s) => {
    const b = aligned(s, 1);
    const a = s.vector(0);
    const isZero = (v: Expr): Expr => op('i32.eqz', op('v128.any_true', v));
    const zero = s.bit(isZero(and(a, b)), EFL.ZF);
    s.flagsBits(s.let(op('i32.or', zero, isZero(op('v128.andnot', b, a)))));
  },
  /** The least 16-bit lane (the first of several) and its number. */
  PHMINPOSUW: (s) => {
    const source = aligned(s, 1);
    const ranked = (lane: number): Expr =>
      op('i32.or', op('i32.shl', extractLane('i16x8.extract_lane_u', lane, source), i32(3)), i32(lane));
    const least = s.f.local('i');
    s.f.set(least, ranked(0));
    for (let lane = 1; lane < 8; lane++) {
      const other = s.let(ranked(lane));
      s.if(op('i32.lt_u', other, least), () => s.f.set(least, other));
    }
    const joined = op('i32.or', op('i32.shr_u', least, i32(3)), op('i32.shl', op('i32.and', least, i32(7)), i32(16)));
    s.setVector(0, and(op('i32x4.splat', joined), u8([255, 255, 255, 255, ...repeat(0, 12)])));
  },
};
