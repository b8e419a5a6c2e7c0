import { describe, expect, it } from 'vitest';
import {
  add,
  type Binary,
  compare,
  convert,
  DOUBLE,
  div,
  FloatContext,
  FloatFlag,
  type Format,
  fromInteger,
  max,
  min,
  mul,
  Rounding,
  roundToIntegral,
  SINGLE,
  sqrt,
  sub,
  toInteger,
} from './softfloat.js';

const MASKED = 0x1f80;
const DAZ = 0x40;
const FTZ = 0x8000;
const { IE, DE, ZE, OE, UE, PE } = FloatFlag;

const view = new DataView(new ArrayBuffer(8));
const encode = (f: Format, x: number): bigint => {
  if (f === DOUBLE) view.setFloat64(0, x);
  else view.setFloat32(0, x);
  return f === DOUBLE ? view.getBigUint64(0) : BigInt(view.getUint32(0));
};
const decode = (f: Format, bits: bigint): number => {
  if (f === DOUBLE) view.setBigUint64(0, bits);
  else view.setUint32(0, Number(bits));
  return f === DOUBLE ? view.getFloat64(0) : view.getFloat32(0);
};
/** Result and flags of an operation under an MXCSR. */
function run(operation: Binary, f: Format, a: number | bigint, b: number | bigint, mxcsr = MASKED) {
  const context = new FloatContext(mxcsr);
  const bits = (x: number | bigint): bigint => (typeof x === 'bigint' ? x : encode(f, x));
  const value = operation(context, f, bits(a), bits(b));
  return { value, number: decode(f, value), flags: context.flags, ...context.finish() };
}

/** Encodings that are spread over the exponents, with corners among them. */
function* samples(f: Format, count: number): Generator<bigint> {
  let state = 12345n;
  const corners = [0n, 1n, f.quietBit, f.infinity, f.infinity - 1n, 1n << BigInt(f.precision - 1)];
  for (let i = 0; i < count; i++) {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    const bits = BigInt.asUintN(f.bits, state >> (f.bits === 64 ? 0n : 20n));
    yield i % 7 === 0 ? corners[i % 6]! | (bits & (1n << BigInt(f.bits - 1))) : bits;
  }
}

describe.each([
  ['binary64', DOUBLE],
  ['binary32', SINGLE],
] as const)('%s', (_name, f) => {
  const round = f === DOUBLE ? (x: number) => x : Math.fround;
  const operations: [string, Binary, (a: number, b: number) => number][] = [
    ['add', add, (a, b) => a + b],
    ['sub', sub, (a, b) => a - b],
    ['mul', mul, (a, b) => a * b],
    ['div', div, (a, b) => a / b],
    ['sqrt', (c, g, a) => sqrt(c, g, a), (a) => Math.sqrt(a)],
  ];
  it.each(operations)('%s agrees with the host when rounding to nearest', (_label, operation, native) => {
    const values = [...samples(f, 400)];
    for (const [i, a] of values.entries()) {
      const b = values[(i * 7 + 3) % values.length]!;
      const near = i % 2 === 0 ? b : a ^ (b & 0xfffn);
      const expected = round(native(decode(f, a), decode(f, near)));
      const { value } = run(operation, f, a, near);
      // Of a NaN any payload will do here.
      expect(Number.isNaN(expected) ? value & f.infinity : value).toBe(
        Number.isNaN(expected) ? f.infinity : encode(f, expected),
      );
    }
  });
  it('brackets the result between rounding down and up, and sets PE exactly when they differ', () => {
    const values = [...samples(f, 200)].filter((x) => Number.isFinite(decode(f, x)));
    for (const [i, a] of values.entries()) {
      const b = values[(i * 5 + 1) % values.length]!;
      const [down, up, zero] = [Rounding.down, Rounding.up, Rounding.zero].map((rc) =>
        run(add, f, a, b, MASKED | (rc << 13)),
      );
      expect((down!.flags & PE) !== 0).toBe(down!.number !== up!.number);
      expect(zero!.number).toBe(Math.abs(down!.number) < Math.abs(up!.number) ? down!.number : up!.number);
    }
  });
});

describe('exceptions', () => {
  it('are those of the manual', () => {
    expect(run(sub, DOUBLE, Infinity, Infinity)).toMatchObject({ value: 0xfff8000000000000n, flags: IE });
    expect(run(mul, DOUBLE, 0, Infinity)).toMatchObject({ value: 0xfff8000000000000n, flags: IE });
    expect(run(div, SINGLE, 0, 0)).toMatchObject({ value: 0xffc00000n, flags: IE });
    expect(run(div, DOUBLE, -1, 0)).toMatchObject({ number: -Infinity, flags: ZE });
    expect(run(mul, DOUBLE, 1e200, 1e200)).toMatchObject({ number: Infinity, flags: OE | PE });
    expect(run(mul, DOUBLE, 1e200, 1e200, MASKED | (Rounding.zero << 13)).number).toBe(Number.MAX_VALUE);
    expect(run(mul, DOUBLE, 1e-200, 1e-200)).toMatchObject({ number: 0, flags: UE | PE });
    expect(run(add, DOUBLE, Number.MIN_VALUE, 1)).toMatchObject({ number: 1, flags: DE | PE });
    expect(run(add, DOUBLE, Number.MIN_VALUE, Number.MIN_VALUE).flags).toBe(DE);
  });
  it('take the first NaN, made quiet', () => {
    expect(run(add, SINGLE, 0x7fa00001n, 0xffc00002n)).toMatchObject({ value: 0x7fe00001n, flags: IE });
    expect(run(add, SINGLE, 1, 0xffc00002n)).toMatchObject({ value: 0xffc00002n, flags: 0 });
    expect(run(sub, SINGLE, 1, 0x7fc00002n).value).toBe(0x7fc00002n);
  });
  it('that are not masked fault; those of operands hide those of results', () => {
    const unmasked = (flag: number): number => MASKED & ~(flag << 7);
    expect(run(div, DOUBLE, 1, 3, unmasked(PE))).toMatchObject({ fault: true, mxcsr: unmasked(PE) | PE });
    expect(run(add, DOUBLE, Number.MIN_VALUE, 1, unmasked(DE))).toMatchObject({
      fault: true,
      mxcsr: unmasked(DE) | DE,
    });
    expect(run(mul, DOUBLE, 2 ** -1022, 0.5, unmasked(UE))).toMatchObject({ fault: true, flags: UE });
    expect(run(mul, DOUBLE, 2 ** -1022, 0.5)).toMatchObject({ fault: false, flags: 0, number: 2 ** -1023 });
  });
  it('see tininess after rounding', () => {
    const belowOne = 1 - 2 ** -53;
    expect(run(mul, DOUBLE, 2 ** -1022, belowOne)).toMatchObject({ number: 2 ** -1022, flags: UE | PE });
    expect(run(mul, DOUBLE, 2 ** -1022 * (1 + 2 ** -52), belowOne)).toMatchObject({ number: 2 ** -1022, flags: PE });
  });
  it('denormals can be zeros, tiny results can be flushed', () => {
    expect(run(add, DOUBLE, Number.MIN_VALUE, 1, MASKED | DAZ)).toMatchObject({ number: 1, flags: 0 });
    expect(run(mul, DOUBLE, -(2 ** -1022), 0.5, MASKED | FTZ)).toMatchObject({ value: 1n << 63n, flags: UE | PE });
  });
});

describe('comparisons and conversions', () => {
  it('MIN and MAX give the second operand for NaNs and zeros', () => {
    expect(run(min, DOUBLE, 0, -0).value).toBe(1n << 63n);
    expect(run(max, DOUBLE, NaN, 5)).toMatchObject({ number: 5, flags: IE });
    expect(run(min, SINGLE, 5, 0x7fa00000n)).toMatchObject({ value: 0x7fa00000n, flags: IE });
    expect(run(max, DOUBLE, 3, 5).number).toBe(5);
  });
  it('a quiet comparison takes quiet NaNs', () => {
    const order = (a: bigint, quiet: boolean): [string, number] => {
      const context = new FloatContext(MASKED);
      return [compare(context, SINGLE, a, encode(SINGLE, 1), quiet), context.flags];
    };
    expect(order(0x7fc00000n, true)).toEqual(['unordered', 0]);
    expect(order(0x7fc00000n, false)).toEqual(['unordered', IE]);
    expect(order(0x7fa00000n, true)).toEqual(['unordered', IE]);
    expect(order(encode(SINGLE, -0), true)).toEqual(['less', 0]);
  });
  it('integers are rounded as asked; what does not fit is the integer indefinite', () => {
    const integer = (x: number, rounding: number, width = 32): [bigint, number] => {
      const context = new FloatContext(MASKED | (rounding << 13));
      return [BigInt.asIntN(width, toInteger(context, DOUBLE, encode(DOUBLE, x), width)), context.flags];
    };
    expect(integer(2.5, Rounding.nearest)).toEqual([2n, PE]);
    expect(integer(-2.5, Rounding.down)).toEqual([-3n, PE]);
    expect(integer(-2147483648.5, Rounding.zero)).toEqual([-2147483648n, PE]);
    expect(integer(2147483648, Rounding.nearest)).toEqual([-2147483648n, IE]);
    expect(integer(NaN, Rounding.nearest, 64)).toEqual([-(2n ** 63n), IE]);
  });
  it('formats convert, with payloads of NaNs', () => {
    const context = new FloatContext(MASKED);
    expect(convert(context, SINGLE, DOUBLE, 0x7fa00001n)).toBe(0x7ffc000020000000n);
    expect(context.flags).toBe(IE);
    expect(decode(SINGLE, convert(new FloatContext(MASKED), DOUBLE, SINGLE, encode(DOUBLE, 0.1)))).toBe(
      Math.fround(0.1),
    );
    expect(decode(DOUBLE, fromInteger(new FloatContext(MASKED), DOUBLE, -(2n ** 63n)))).toBe(-(2 ** 63));
  });
  it('ROUND chooses its mode and may keep quiet', () => {
    const rounded = (x: number, control: number): [number, number] => {
      const context = new FloatContext(MASKED);
      return [decode(DOUBLE, roundToIntegral(context, DOUBLE, encode(DOUBLE, x), control)), context.flags];
    };
    expect(rounded(1.5, Rounding.nearest)).toEqual([2, PE]);
    expect(rounded(1.5, Rounding.down | 8)).toEqual([1, 0]);
    expect(rounded(-0.2, Rounding.up)).toEqual([-0, PE]);
  });
});
