import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  add,
  BIAS,
  compare,
  divide,
  Exception,
  F80,
  fromDouble,
  fromInteger,
  fromSingle,
  INDEFINITE,
  infinity,
  isNaN80,
  multiply,
  negate,
  ONE,
  type Rounding,
  RoundingControl,
  roundToInteger,
  squareRoot,
  subtract,
  toDouble,
  toInteger,
  toSingle,
  zero,
} from './softfloat80.js';

const ALL_MASKED = 0x3f;
const rounding = (fields: Partial<Rounding> = {}): Rounding => ({
  control: 0,
  precision: 64,
  masks: ALL_MASKED,
  flags: 0,
  up: false,
  ...fields,
});

const view = new DataView(new ArrayBuffer(8));
function bitsOf(value: number): bigint {
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}
function doubleOf(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}
function singleBits(value: number): bigint {
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}
const from = (value: number): F80 => fromDouble(bitsOf(value), rounding());
const back = (value: F80): number => doubleOf(toDouble(value, rounding()));

const isNormalDouble = (value: number): boolean =>
  value === 0 || (Number.isFinite(value) && Math.abs(value) >= 2 ** -1022);
/** Doubles of all magnitudes, with many that are close to each other. */
const double = fc.oneof(
  fc.double({ noNaN: true }),
  fc.integer().map(Number),
  fc.double({ min: -8, max: 8, noNaN: true }),
);
const extended = fc
  .tuple(
    fc.integer({ min: 0, max: 1 }),
    fc.oneof(fc.integer({ min: 1, max: 0x7ffe }), fc.integer({ min: BIAS - 70, max: BIAS + 70 })),
    fc.bigInt({ min: 0n, max: (1n << 63n) - 1n }),
  )
  .map(([sign, exp, fraction]) => new F80(sign, exp, (1n << 63n) | fraction));
const near = extended.map((a) => new F80(a.sign, BIAS - 40 + (a.exp % 80), a.sig));
const control = fc.integer({ min: 0, max: 3 });

/** Exact value of a finite number in units of 2^-200. */
const UNITS = 200;
function exactly(a: F80): bigint {
  const shift = a.exp - BIAS - 63 + UNITS;
  const magnitude = a.sig << BigInt(shift);
  return a.sign ? -magnitude : magnitude;
}

/** Encodings between two values of one sign; a zero has any sign. */
function ulps(a: F80, b: F80): bigint {
  const order = (x: F80): bigint => (BigInt(x.exp) << 63n) | (x.sig & ((1n << 63n) - 1n));
  const d = order(a) - order(b);
  return a.sig === 0n && b.sig === 0n ? 0n : d < 0n ? -d : d;
}

describe('softfloat80 at double precision', () => {
  const operations: [string, (a: F80, b: F80, r: Rounding) => F80, (a: number, b: number) => number][] = [
    ['sum', add, (a, b) => a + b],
    ['difference', subtract, (a, b) => a - b],
    ['product', multiply, (a, b) => a * b],
    ['quotient', divide, (a, b) => a / b],
  ];
  it.each(operations)('gives the %s that double arithmetic gives', (_, operation, reference) => {
    fc.assert(
      fc.property(double, double, (a, b) => {
        const expected = reference(a, b);
        fc.pre(isNormalDouble(expected));
        const r = rounding({ precision: 53 });
        const result = operation(from(a), from(b), r);
        const again = back(result);
        // Where the double result rounds to zero or the smallest normal the extended one still has its own value.
        fc.pre(expected !== 0 || result.sig === 0n);
        expect(Object.is(again, expected) || Math.abs(expected) === 2 ** -1022).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
  it('gives the square root that double arithmetic gives', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true }), (a) => {
        expect(back(squareRoot(from(a), rounding({ precision: 53 })))).toBe(Math.sqrt(a));
      }),
    );
  });
});

describe('softfloat80 conversions', () => {
  it('takes every double there and back', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (a) => {
        expect(back(from(a))).toBe(a);
      }),
    );
  });
  it('rounds to single as Math.fround does', () => {
    fc.assert(
      fc.property(fc.oneof(double, fc.double({ min: -1e-37, max: 1e-37, noNaN: true })), (a) => {
        expect(toSingle(from(a), rounding())).toBe(singleBits(Math.fround(a)));
      }),
      { numRuns: 2000 },
    );
  });
  it('takes integers of 64 bits there and back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), (n) => {
        const r = rounding();
        expect(toInteger(fromInteger(n < 0n ? 1 : 0, n < 0n ? -n : n), 64, 0, r)).toBe(n);
        expect(r.flags).toBe(0);
      }),
    );
  });
  it('refuses what an integer can not hold', () => {
    const r = rounding();
    expect(toInteger(from(32768), 16, 0, r)).toBeNull();
    expect(toInteger(from(-32768.5), 16, RoundingControl.nearest, r)).toBe(-32768n);
    expect(toInteger(from(-32768.5), 16, RoundingControl.down, r)).toBeNull();
    expect(toInteger(INDEFINITE, 64, 0, r)).toBeNull();
    expect(r.flags & Exception.IE).toBe(Exception.IE);
  });
  it('leaves an SNaN what it is, and reports denormals on the way in', () => {
    const r = rounding();
    expect(fromSingle(0x7f800001n, r)).toEqual(new F80(0, 0x7fff, 0x8000010000000000n));
    expect(r.flags).toBe(0);
    expect(fromSingle(1n, r)).toEqual(new F80(0, BIAS - 149, 1n << 63n));
    expect(r.flags).toBe(Exception.DE);
  });
});

describe('softfloat80 at full precision', () => {
  it('commutes, and subtracts as it adds the negative', () => {
    fc.assert(
      fc.property(extended, extended, control, (a, b, c) => {
        const r = rounding({ control: c });
        expect(add(a, b, r)).toEqual(add(b, a, r));
        expect(multiply(a, b, r)).toEqual(multiply(b, a, r));
        expect(subtract(a, b, r)).toEqual(add(a, negate(b), r));
      }),
    );
  });
  /** A value and the neighbours that it is rounded to; sum and product of the operands exactly, in the units given. */
  const enclosed = (a: F80, b: F80): [(a: F80, b: F80, r: Rounding) => F80, bigint, number][] => [
    [add, exactly(a) + exactly(b), 0],
    [multiply, exactly(a) * exactly(b), UNITS],
  ];
  it('rounds down and up to neighbours around the exact sum and product', () => {
    fc.assert(
      fc.property(near, near, (a, b) => {
        for (const [operation, exact, scale] of enclosed(a, b)) {
          const by = (c: number): F80 => operation(a, b, rounding({ control: c }));
          const [nearest, down, up, towardsZero] = [by(0), by(1), by(2), by(3)];
          expect(exactly(down) << BigInt(scale) <= exact && exact <= exactly(up) << BigInt(scale)).toBe(true);
          expect(exact === 0n || (exact < 0n ? up : down).sig === towardsZero.sig).toBe(true);
          expect(exact === 0n || [down.sig, up.sig].includes(nearest.sig)).toBe(true);
          expect(ulps(down, up) <= 1n).toBe(true);
        }
      }),
    );
  });
  it('divides so that quotient times divisor encloses the dividend', () => {
    fc.assert(
      fc.property(near, near, (a, b) => {
        const [x, y] = [new F80(0, a.exp, a.sig), new F80(0, b.exp, b.sig)];
        const down = divide(x, y, rounding({ control: RoundingControl.down }));
        const up = divide(x, y, rounding({ control: RoundingControl.up }));
        const scaled = exactly(x) << BigInt(UNITS);
        expect(exactly(down) * exactly(y) <= scaled && scaled <= exactly(up) * exactly(y)).toBe(true);
      }),
    );
  });
  it('takes square roots that enclose the value, and exact ones of squares', () => {
    fc.assert(
      fc.property(near, fc.bigInt({ min: 1n, max: (1n << 32n) - 1n }), (a, n) => {
        const x = new F80(0, a.exp, a.sig);
        const down = exactly(squareRoot(x, rounding({ control: RoundingControl.down })));
        const up = exactly(squareRoot(x, rounding({ control: RoundingControl.up })));
        const scaled = exactly(x) << BigInt(UNITS);
        expect(down * down <= scaled && scaled <= up * up).toBe(true);
        const r = rounding();
        expect(squareRoot(fromInteger(0, n * n), r)).toEqual(fromInteger(0, n));
        expect(r.flags).toBe(0);
      }),
    );
  });
  it('compares as subtraction does', () => {
    fc.assert(
      fc.property(near, near, (a, b) => {
        const difference = subtract(a, b, rounding());
        const order = compare(a, b, true, rounding());
        expect(order).toBe(difference.sig === 0n ? 0 : difference.sign ? -1 : 1);
      }),
    );
  });
  it('rounds to integers by the rounding control', () => {
    const of = (value: number, c: number): number => back(roundToInteger(from(value), rounding({ control: c })));
    expect([2.5, 3.5, -2.5, 0.3].map((value) => of(value, RoundingControl.nearest))).toEqual([2, 4, -2, 0]);
    expect([2.5, -2.5].map((value) => of(value, RoundingControl.down))).toEqual([2, -3]);
    expect([2.5, -2.5].map((value) => of(value, RoundingControl.up))).toEqual([3, -2]);
    expect([2.5, -2.5].map((value) => of(value, RoundingControl.zero))).toEqual([2, -2]);
  });
});

describe('softfloat80 exceptions', () => {
  const largest = new F80(0, 0x7ffe, 0xffffffffffffffffn);
  const smallest = new F80(0, 1, 1n << 63n);

  it('overflows to infinity or the largest value, or wraps where that is unmasked', () => {
    const r = rounding();
    expect(add(largest, largest, r)).toEqual(infinity(0));
    expect(r.flags).toBe(Exception.OE | Exception.PE);
    expect(add(largest, largest, rounding({ control: RoundingControl.down }))).toEqual(largest);
    const wrapped = rounding({ masks: ALL_MASKED & ~Exception.OE });
    expect(add(largest, largest, wrapped)).toEqual(new F80(0, 0x7fff - 0x6000, 0xffffffffffffffffn));
    expect(wrapped.flags).toBe(Exception.OE);
  });
  it('underflows to a denormal without a flag if that is exact, and wraps where it is unmasked', () => {
    const half = from(0.5);
    const r = rounding();
    expect(multiply(smallest, half, r)).toEqual(new F80(0, 0, 1n << 62n));
    expect(r.flags).toBe(0);
    const wrapped = rounding({ masks: ALL_MASKED & ~Exception.UE });
    expect(multiply(smallest, half, wrapped)).toEqual(new F80(0, 0x6000, 1n << 63n));
    expect(wrapped.flags).toBe(Exception.UE);
    const lost = rounding();
    multiply(new F80(0, 1, (1n << 63n) | 1n), half, lost);
    expect(lost.flags).toBe(Exception.UE | Exception.PE);
  });
  it('divides by zero to infinity, and zero by zero to the indefinite NaN', () => {
    const r = rounding();
    expect(divide(negate(ONE), zero(0), r)).toEqual(infinity(1));
    expect(r.flags).toBe(Exception.ZE);
    r.flags = 0;
    expect(divide(zero(1), zero(0), r)).toEqual(INDEFINITE);
    expect(r.flags).toBe(Exception.IE);
  });
  it('keeps the larger NaN, quiet', () => {
    const signalling = new F80(1, 0x7fff, (1n << 63n) | 5n);
    const quiet = new F80(0, 0x7fff, (3n << 62n) | 1n);
    const r = rounding();
    expect(add(signalling, ONE, r)).toEqual(new F80(1, 0x7fff, (3n << 62n) | 5n));
    expect(r.flags).toBe(Exception.IE);
    expect(add(signalling, quiet, rounding())).toEqual(quiet);
    expect(isNaN80(subtract(infinity(0), infinity(0), rounding()))).toBe(true);
  });
  it('refuses unnormals and reports denormals', () => {
    const r = rounding();
    expect(add(new F80(0, BIAS, 1n << 62n), ONE, r)).toEqual(INDEFINITE);
    expect(r.flags).toBe(Exception.IE);
    r.flags = 0;
    add(new F80(0, 0, 1n), ONE, r);
    expect(r.flags).toBe(Exception.DE | Exception.PE);
  });
});
