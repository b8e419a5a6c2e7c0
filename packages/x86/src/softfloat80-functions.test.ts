import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  BIAS,
  F80,
  fromDouble,
  fromInteger,
  infinity,
  multiply,
  ONE,
  type Rounding,
  RoundingControl,
  toDouble,
  zero,
} from './softfloat80.js';
import { angleOf, angles, powerLessOne, timesLogarithm, timesLogarithmOfSum } from './softfloat80-functions.js';

const rounding = (control = 0): Rounding => ({ control, precision: 64, masks: 0x3f, flags: 0, up: false });
const view = new DataView(new ArrayBuffer(8));
function from(value: number): F80 {
  view.setFloat64(0, value);
  return fromDouble(view.getBigUint64(0), rounding());
}
function back(value: F80): number {
  view.setBigUint64(0, toDouble(value, rounding()));
  return view.getFloat64(0);
}
/** Units in the last place of extended precision between two values of like sign. */
const distance = (a: F80, b: F80): bigint => {
  const order = (x: F80): bigint => (BigInt(x.exp) << 63n) | (x.sig & ((1n << 63n) - 1n));
  const d = order(a) - order(b);
  return d < 0n ? -d : d;
};
const isClose = (actual: F80, expected: number): boolean =>
  Math.abs(back(actual) - expected) <= Math.abs(expected) * 1e-15 + Number.MIN_VALUE;
const finite = (limit: number): fc.Arbitrary<number> => fc.double({ min: -limit, max: limit, noNaN: true });

describe('transcendental functions', () => {
  it('agree with the functions on doubles', () => {
    fc.assert(
      fc.property(finite(3), fc.double({ min: 1e-300, max: 1e300, noNaN: true }), finite(1e100), (angle, x, y) => {
        const a = angles(from(angle), rounding());
        expect(isClose(a.sine(), Math.sin(angle))).toBe(true);
        expect(isClose(a.cosine(), Math.cos(angle))).toBe(true);
        expect(isClose(a.tangent(), Math.tan(angle))).toBe(true);
        expect(isClose(angleOf(from(y), from(x), rounding()), Math.atan2(y, x))).toBe(true);
        expect(isClose(angleOf(from(y), from(-x), rounding()), Math.atan2(y, -x))).toBe(true);
        expect(isClose(timesLogarithm(from(1), from(x), rounding()), Math.log2(x))).toBe(true);
      }),
    );
    fc.assert(
      fc.property(finite(0.29), finite(1), (x, y) => {
        expect(isClose(timesLogarithmOfSum(from(1), from(x), rounding()), Math.log1p(x) / Math.LN2)).toBe(true);
        expect(isClose(powerLessOne(from(y), rounding()), Math.expm1(y * Math.LN2))).toBe(true);
      }),
      // Math's own errors add up where its functions are composed.
      { examples: [[0, 0]], numRuns: 50 },
    );
  });
  it('have sine and cosine on the unit circle', () => {
    fc.assert(
      fc.property(finite(1e9), (angle) => {
        const { sine, cosine } = angles(from(angle), rounding());
        const r = rounding();
        const squares = [sine(), cosine()].map((value) => multiply(value, value, r));
        expect(distance(add(squares[0]!, squares[1]!, r), ONE) <= 2n).toBe(true);
      }),
    );
  });
  it('take the logarithm of a power of two exactly, and undo the exponential', () => {
    for (const n of [-16000, -1, 1, 2, 63, 16000]) {
      const result = timesLogarithm(ONE, new F80(0, BIAS + n, 1n << 63n), rounding());
      expect(result).toEqual(fromInteger(n < 0 ? 1 : 0, BigInt(Math.abs(n))));
    }
    fc.assert(
      fc.property(fc.double({ min: 2 ** -40, max: 0.25, noNaN: true }), (x) => {
        const power = powerLessOne(from(x), rounding());
        expect(distance(timesLogarithmOfSum(ONE, power, rounding()), from(x)) <= 2n).toBe(true);
      }),
    );
  });
  it('round down and up to neighbours', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 0.999, noNaN: true }), (x) => {
        const both = (f: (r: Rounding) => F80): [F80, F80] => [
          f(rounding(RoundingControl.down)),
          f(rounding(RoundingControl.up)),
        ];
        for (const [down, up] of [
          both((r) => powerLessOne(from(x), r)),
          both((r) => angles(from(x), r).sine()),
          both((r) => angleOf(from(x), ONE, r)),
          both((r) => timesLogarithmOfSum(ONE, from(x), r)),
        ]) {
          expect(distance(down, up)).toBe(1n);
        }
      }),
    );
  });
  it('give parts of π for points on the axes and diagonals', () => {
    const pi = new F80(0, BIAS + 1, 0xc90fdaa22168c235n);
    expect(angleOf(zero(0), from(-1), rounding())).toEqual(pi);
    expect(angleOf(from(1), zero(0), rounding())).toEqual(new F80(0, BIAS, pi.sig));
    expect(angleOf(infinity(1), infinity(0), rounding())).toEqual(new F80(1, BIAS - 1, pi.sig));
    expect(angleOf(zero(1), from(1), rounding())).toEqual(zero(1));
  });
  it('say where there is no result', () => {
    expect(angles(new F80(0, BIAS + 63, 1n << 63n), rounding()).outOfRange).toBe(true);
    expect(angles(new F80(1, BIAS + 62, 1n << 63n), rounding()).outOfRange).toBe(false);
    const r = rounding();
    angles(infinity(0), r);
    timesLogarithm(ONE, from(-1), r);
    expect(r.flags).toBe(1);
    timesLogarithm(ONE, zero(0), r);
    expect(r.flags).toBe(5);
  });
});
