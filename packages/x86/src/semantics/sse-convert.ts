/** Conversions of SSE2, where WebAssembly's are the same (see `float-parts.ts`). */
import { type Expr, f32, f64, i32, i64, op, type Sem } from '../sem.js';
import type { Definition, Definitions } from './definitions.js';
import {
  all,
  any,
  both,
  constant,
  either,
  inexactIsFree,
  inlineIf,
  isDenormal,
  isNan,
  isZero,
  type Real,
} from './float-parts.js';
import { aligned } from './vector-parts.js';

type Scalar = 'f32' | 'f64';
const laneOf = (p: Scalar): 'f' | 'd' => (p === 'f32' ? 'f' : 'd');

/** An integer of at most `significand` bits is converted exactly. */
const fromInteger =
  (p: Scalar): Definition =>
  (s) => {
    const value = s.get(1);
    if (p === 'f32' || s.operandWidth(1) === 64) {
      const limit = p === 'f32' ? 2n ** 24n : 2n ** 53n;
      const exact = op('i64.le_u', op('i64.add', value, i64(limit)), i64(2n * limit));
      inlineIf(s, op('i32.or', exact, inexactIsFree(s.statePlace())));
    }
    s.setLane(0, op(`${p}.convert_i64_s`, value));
  };
/** To the nearest integer or towards zero; what does not fit is the exact definition's. */
const toInteger =
  (p: Scalar, truncate: boolean): Definition =>
  (s) => {
    const a = s.lane(1, laneOf(p));
    const whole = s.let(op(`${p}.${truncate ? 'trunc' : 'nearest'}`, a));
    const limit = s.operandWidth(0) === 64 ? 2 ** 63 : 2 ** 31;
    const number = p === 'f32' ? f32 : f64;
    const fits = op('i32.and', op(`${p}.ge`, whole, number(-limit)), op(`${p}.lt`, whole, number(limit)));
    inlineIf(s, op('i32.and', fits, op('i32.or', op(`${p}.eq`, whole, a), inexactIsFree(s.statePlace()))));
    s.set(0, op(`i64.trunc_sat_${p}_s`, whole));
  };
/** A narrowed value is right if it is normal, or zero from zero; widened again it tells whether it is exact. */
const narrowed = (s: Sem, p: Real, a: Expr, again: Expr): void => {
  const least = constant(p, 2 ** -126);
  const magnitude = op(`${p}.abs`, again);
  const normal = both(p, op(`${p}.gt`, magnitude, least), op(`${p}.lt`, magnitude, constant(p, Infinity)));
  const good = all(p, either(p, normal, isZero(p, a)));
  inlineIf(s, op('i32.and', good, op('i32.or', all(p, op(`${p}.eq`, again, a)), inexactIsFree(s.statePlace()))));
};

export const sseConvert: Definitions = {
  CVTSI2SS: fromInteger('f32'),
  CVTSI2SD: fromInteger('f64'),
  CVTSS2SI: toInteger('f32', false),
  CVTSD2SI: toInteger('f64', false),
  CVTTSS2SI: toInteger('f32', true),
  CVTTSD2SI: toInteger('f64', true),
  CVTSS2SD: (s) => {
    const a = s.lane(1, 'f');
    inlineIf(s, op('i32.eqz', op('i32.or', isNan('f32', a), isDenormal('f32', a))));
    s.setLane(0, op('f64.promote_f32', a));
  },
  CVTSD2SS: (s) => {
    const a = s.lane(1, 'd');
    const result = s.let(op('f32.demote_f64', a));
    narrowed(s, 'f64', a, s.let(op('f64.promote_f32', result)));
    s.setLane(0, result);
  },
  CVTPS2PD: (s) => {
    const result = s.let(op('f64x2.promote_low_f32x4', s.vector(1)));
    const tiny = op('f64x2.lt', op('f64x2.abs', result), constant('f64x2', 2 ** -126));
    const denormal = op('v128.andnot', tiny, isZero('f64x2', result));
    inlineIf(s, op('i32.eqz', any('f64x2', either('f64x2', isNan('f64x2', result), denormal))));
    s.setVector(0, result);
  },
  CVTPD2PS: (s) => {
    const a = aligned(s, 1);
    const result = s.let(op('f32x4.demote_f64x2_zero', a));
    narrowed(s, 'f64x2', a, s.let(op('f64x2.promote_low_f32x4', result)));
    s.setVector(0, result);
  },
  CVTDQ2PD: (s) => s.setVector(0, op('f64x2.convert_low_i32x4_s', s.vector(1))),
  CVTDQ2PS: (s) => {
    const a = aligned(s, 1);
    const magnitude = op('i32x4.abs', a);
    const exact = op('i32.eqz', op('v128.any_true', op('i32x4.shr_u', magnitude, i32(24))));
    inlineIf(s, op('i32.or', exact, inexactIsFree(s.statePlace())));
    s.setVector(0, op('f32x4.convert_i32x4_s', a));
  },
  CVTTPS2DQ: (s) => {
    const a = aligned(s, 1);
    const result = s.let(op('i32x4.trunc_sat_f32x4_s', a));
    const fits = both(
      'f32x4',
      op('f32x4.ge', a, constant('f32x4', -(2 ** 31))),
      op('f32x4.lt', a, constant('f32x4', 2 ** 31)),
    );
    const exact = all('f32x4', op('f32x4.eq', op('f32x4.convert_i32x4_s', result), a));
    inlineIf(s, op('i32.and', all('f32x4', fits), op('i32.or', exact, inexactIsFree(s.statePlace()))));
    s.setVector(0, result);
  },
};
