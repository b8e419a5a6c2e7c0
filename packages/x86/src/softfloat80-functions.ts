/**
 * The transcendental functions of the x87 (Intel SDM vol. 1, 8.3.6 and 8.3.10),
 * computed in fixed point with 256 bits of fraction and rounded once, which
 * leaves less than half a unit in the last place of error and then some 2^-100.
 * They round to 64 bits whatever the precision control says.
 *
 * Sine, cosine and tangent reduce their argument by π with the 66 bits that the
 * manual gives the processor's π.
 */
import {
  BIAS,
  Exception,
  F80,
  infinity,
  invalid,
  isDenormal,
  isInfinity,
  isZero,
  normalize,
  ONE,
  propagate,
  propagateOne,
  type Rounding,
  roundWide,
  withSign,
  zero,
} from './softfloat80.js';

const P = 256;
const BITS = 256n;
const UNIT = 1n << BITS;
/** Below this exponent a function is its first-order approximation to far more than 64 bits. */
const SMALL = -70;
/** π × 2^66 as the processor keeps it (Intel SDM vol. 1, 8.3.8). */
const PROCESSOR_PI = 0xc90fdaa22168c234cn;

const times = (a: bigint, b: bigint): bigint => (a * b) >> BITS;
const exponentOf = (a: F80): number => a.exp - BIAS;
/** Fixed-point value of a normalized number, without its sign. */
function fixed(a: F80): bigint {
  const shift = P - 63 + exponentOf(a);
  return shift >= 0 ? a.sig << BigInt(shift) : a.sig >> BigInt(-shift);
}

/** t + sign·t³/3 + t⁵/5 + …: the inverse tangent (sign −1) or hyperbolic tangent (sign 1) of a small argument. */
function inverseSeries(t: bigint, sign: 1 | -1): bigint {
  const square = times(t, t);
  let power = t;
  let sum = t;
  for (let n = 3n; power !== 0n; n += 2n) {
    power = times(power, square);
    if (sign < 0) power = -power;
    // A negative power approaches −1, not 0, by arithmetic shifts.
    if (power === -1n) break;
    sum += power / n;
  }
  return sum;
}
const inverseOf = (n: bigint, sign: 1 | -1): bigint => inverseSeries(UNIT / n, sign);

const LN2 = 2n * inverseOf(3n, 1);
const LOG2_E = (UNIT << BITS) / LN2;
/** Machin's formula. */
const PI = 4n * (4n * inverseOf(5n, -1) - inverseOf(239n, -1));

/** Natural logarithms of 1 + k/16 for k from −5 to 7, and inverse tangents of k/8, made when first used. */
const logarithms = new Map<bigint, bigint>();
const tangents = new Map<bigint, bigint>();
function remembered(map: Map<bigint, bigint>, key: bigint, make: () => bigint): bigint {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** Natural logarithm of a fixed-point value in [0.7, 1.42]. */
function logarithm(m: bigint): bigint {
  const sixteenths = (m * 16n + UNIT / 2n) >> BITS;
  const near = (sixteenths << BITS) / 16n;
  const far = remembered(logarithms, sixteenths, () => 2n * inverseSeries(((near - UNIT) << BITS) / (near + UNIT), 1));
  return far + 2n * inverseSeries(((m - near) << BITS) / (m + near), 1);
}
/** Inverse tangent of a fixed-point value in [0, 1]. */
function inverseTangent(t: bigint): bigint {
  const eighths = (t * 8n + UNIT / 2n) >> BITS;
  const near = (eighths << BITS) / 8n;
  // The table's own entries need two steps, as the series converges slowly near 1.
  const far = remembered(tangents, eighths, () =>
    eighths === 0n ? 0n : PI / 4n - inverseSeries(((UNIT - near) << BITS) / (UNIT + near), -1),
  );
  return far + inverseSeries(((t - near) << BITS) / (UNIT + times(t, near)), -1);
}
/** Sine and cosine of a fixed-point value within ±π/4. */
function sineAndCosine(angle: bigint): { sine: bigint; cosine: bigint } {
  const square = times(angle, angle);
  let sine = 0n;
  let cosine = 0n;
  let [a, b] = [angle, UNIT];
  for (let n = 1n; a !== 0n || b !== 0n; n += 2n) {
    cosine += b;
    sine += a;
    b = -times(b, square) / (n * (n + 1n));
    a = -times(a, square) / ((n + 1n) * (n + 2n));
    if (a === 1n || a === -1n) a = 0n;
    if (b === 1n || b === -1n) b = 0n;
  }
  return { sine, cosine };
}
/** e^x − 1 for a fixed-point x within ±1. */
function exponentialLessOne(x: bigint): bigint {
  const halvings = 8;
  const small = x >> BigInt(halvings);
  let term = small;
  let sum = small;
  for (let n = 2n; term !== 0n && term !== -1n; n++) {
    term = times(term, small) / n;
    sum += term;
  }
  for (let i = 0; i < halvings; i++) sum = times(sum, 2n * UNIT + sum);
  return sum;
}

/** Rounds a fixed-point value that is not exact. */
const inexact = (value: bigint, r: Rounding, sign = 0): F80 =>
  value < 0n ? roundWide(sign ^ 1, -value, -P, true, r) : roundWide(sign, value, -P, true, r);
/** A result that is its argument but for less than a processor looks at: exact, but never called so. */
function nearly(a: F80, r: Rounding): F80 {
  const result = roundWide(a.sign, a.sig, exponentOf(a) - 63, false, r);
  r.flags |= a.exp <= 0 ? Exception.PE | Exception.UE : Exception.PE;
  return result;
}

export interface Angles {
  /** The argument is 2^63 or larger: there is no result. */
  outOfRange: boolean;
  sine: () => F80;
  cosine: () => F80;
  tangent: () => F80;
  /** What FPTAN pushes: one, or the NaN that the tangent is too. */
  one: F80;
}

/** Sine, cosine and tangent of one argument; all three are NaN or invalid together. */
export function angles(a0: F80, r: Rounding): Angles {
  const always = (value: F80): Angles => ({
    outOfRange: false,
    sine: () => value,
    cosine: () => value,
    tangent: () => value,
    one: value,
  });
  const nan = propagateOne(a0, r);
  if (nan) return always(nan);
  if (isInfinity(a0)) return always(invalid(r));
  if (isZero(a0)) return { outOfRange: false, sine: () => a0, cosine: () => ONE, tangent: () => a0, one: ONE };
  if (a0.exp >= BIAS + 63) return { ...always(a0), outOfRange: true };
  const a = normalize(a0, r);
  const e = exponentOf(a);
  if (e < SMALL) {
    const same = (): F80 => nearly(a, r);
    return { outOfRange: false, sine: same, cosine: () => nearly(ONE, r), tangent: same, one: ONE };
  }
  const scale = Math.max(67, 63 - e);
  const argument = a.sig << BigInt(scale - (63 - e));
  const quarter = PROCESSOR_PI << BigInt(scale - 67);
  const turns = (2n * argument + quarter) / (2n * quarter);
  const rest = (argument - turns * quarter) << BigInt(P - scale);
  const { sine, cosine } = sineAndCosine(rest);
  const quadrant = Number(turns & 3n);
  const s = [sine, cosine, -sine, -cosine][quadrant]!;
  const c = [cosine, -sine, -cosine, sine][quadrant]!;
  return {
    outOfRange: false,
    sine: () => inexact(s, r, a.sign),
    cosine: () => inexact(c, r),
    tangent: () => inexact((s << BITS) / c, r, a.sign),
    one: ONE,
  };
}

/** FPATAN: the angle of the point (x, y). */
export function angleOf(y0: F80, x0: F80, r: Rounding): F80 {
  const nan = propagate(y0, x0, r);
  if (nan) return nan;
  if (isDenormal(y0) || isDenormal(x0)) r.flags |= Exception.DE;
  const sign = y0.sign;
  const partOfPi = (numerator: bigint, denominator: bigint): F80 => inexact((PI * numerator) / denominator, r, sign);
  if (isInfinity(y0)) return isInfinity(x0) ? partOfPi(x0.sign ? 3n : 1n, 4n) : partOfPi(1n, 2n);
  if (isZero(y0) || isInfinity(x0)) return x0.sign ? partOfPi(1n, 1n) : zero(sign);
  if (isZero(x0)) return partOfPi(1n, 2n);
  const [y, x] = [normalize(y0, r), normalize(x0, r)];
  const steep = y.exp > x.exp || (y.exp === x.exp && y.sig > x.sig);
  const [short, long] = steep ? [x, y] : [y, x];
  const distance = short.exp - long.exp;
  if (distance < SMALL && !steep && x.sign === 0) {
    if (x.sig === ONE.sig) return nearly(new F80(sign, distance + BIAS, y.sig), r);
    const quotient = (short.sig << 192n) / long.sig;
    return roundWide(sign, quotient - 1n, distance - 192, true, r);
  }
  // So small an angle only tells on which side of a part of π the result lies.
  const angle = distance < SMALL ? 1n : inverseTangent((short.sig << BigInt(P + distance)) / long.sig);
  if (!steep) return inexact(x.sign ? PI - angle : angle, r, sign);
  return inexact(x.sign ? PI / 2n + angle : PI / 2n - angle, r, sign);
}

/** F2XM1: 2^x − 1 for x within ±1. */
export function powerLessOne(x0: F80, r: Rounding): F80 {
  const nan = propagateOne(x0, r);
  if (nan) return nan;
  if (isInfinity(x0)) return x0.sign ? withSign(ONE, 1) : x0;
  if (isZero(x0)) return x0;
  const x = normalize(x0, r);
  const e = exponentOf(x);
  if (e >= 0) {
    // Beyond ±1 the manual defines nothing; processors leave the argument as it is.
    r.flags |= Exception.PE;
    return e === 0 && x.sig === ONE.sig && x.sign ? new F80(1, BIAS - 1, ONE.sig) : x0;
  }
  if (e < SMALL) {
    const half = times(fixed(x), LN2) / 2n;
    return roundWide(x.sign, x.sig * times(LN2, x.sign ? UNIT - half : UNIT + half), e - 63 - P, true, r);
  }
  const argument = times(fixed(x), LN2);
  return inexact(exponentialLessOne(x.sign ? -argument : argument), r);
}

/** y × value, for a fixed-point value that is not exact. */
function product(y: F80, value: bigint, r: Rounding): F80 {
  const magnitude = value < 0n ? -value : value;
  return roundWide(y.sign ^ (value < 0n ? 1 : 0), y.sig * magnitude, exponentOf(y) - 63 - P, true, r);
}

/** FYL2X: y × log2 x. */
export function timesLogarithm(y0: F80, x0: F80, r: Rounding): F80 {
  const nan = propagate(y0, x0, r);
  if (nan) return nan;
  if (isZero(x0)) {
    if (isZero(y0)) return invalid(r);
    if (!isInfinity(y0)) r.flags |= Exception.ZE;
    return infinity(y0.sign ^ 1);
  }
  if (x0.sign) return invalid(r);
  if (isInfinity(x0)) {
    if (isZero(y0)) return invalid(r);
    if (isDenormal(y0)) r.flags |= Exception.DE;
    return infinity(y0.sign);
  }
  const isOne = x0.exp === BIAS && x0.sig === ONE.sig;
  if (isInfinity(y0)) {
    if (isOne) return invalid(r);
    if (isDenormal(x0)) r.flags |= Exception.DE;
    return infinity(y0.sign ^ (x0.exp < BIAS ? 1 : 0));
  }
  if (isDenormal(x0) || isDenormal(y0)) r.flags |= Exception.DE;
  if (isZero(y0)) return zero(y0.sign ^ (x0.exp < BIAS ? 1 : 0));
  if (isOne) return zero(y0.sign);
  const [x, y] = [normalize(x0, r), normalize(y0, r)];
  let e = exponentOf(x);
  if (x.sig === ONE.sig) return exactProduct(y, e, r);
  let m = x.sig << BigInt(P - 63);
  // √2 is the middle of an octave.
  if (x.sig > 0xb504f333f9de6484n) {
    m >>= 1n;
    e++;
  }
  return product(y, (BigInt(e) << BITS) + times(logarithm(m), LOG2_E), r);
}
/** y × n for a small integer not zero, rounded to 64 bits; processors call it inexact in any case. */
function exactProduct(y: F80, n: number, r: Rounding): F80 {
  const result = roundWide(y.sign ^ (n < 0 ? 1 : 0), y.sig * BigInt(Math.abs(n)), exponentOf(y) - 63, false, r);
  r.flags |= isDenormal(result) ? Exception.PE | Exception.UE : Exception.PE;
  return result;
}

/** FYL2XP1: y × log2(x + 1), for x near zero. */
export function timesLogarithmOfSum(y0: F80, x0: F80, r: Rounding): F80 {
  const nan = propagate(y0, x0, r);
  if (nan) return nan;
  if (isInfinity(x0)) {
    if (x0.sign || isZero(y0)) return invalid(r);
    if (isDenormal(y0)) r.flags |= Exception.DE;
    return infinity(y0.sign);
  }
  if (isInfinity(y0)) {
    if (isZero(x0)) return invalid(r);
    if (isDenormal(x0)) r.flags |= Exception.DE;
    return infinity(y0.sign ^ x0.sign);
  }
  if (isDenormal(x0) || isDenormal(y0)) r.flags |= Exception.DE;
  if (isZero(x0) || isZero(y0)) return zero(x0.sign ^ y0.sign);
  const [x, y] = [normalize(x0, r), normalize(y0, r)];
  const e = exponentOf(x);
  if (e < SMALL) {
    const half = fixed(x) / 2n;
    const slope = times(LOG2_E, x.sign ? UNIT + half : UNIT - half);
    return roundWide(x.sign ^ y.sign, x.sig * y.sig * slope, e + exponentOf(y) - 126 - P, true, r);
  }
  if (x.sign && e >= 0) {
    // As above: undefined, and left as it is.
    r.flags |= Exception.PE;
    return x0;
  }
  if (e > 62) return timesLogarithm(y0, x0, r);
  let sum = x.sign ? UNIT - fixed(x) : UNIT + fixed(x);
  let exponent = 0;
  for (; sum > (UNIT * 181n) / 128n; exponent++) sum >>= 1n;
  for (; sum < (UNIT * 181n) / 256n; exponent--) sum <<= 1n;
  return product(y, (BigInt(exponent) << BITS) + times(logarithm(sum), LOG2_E), r);
}
