/**
 * Arithmetic on the x87's extended-precision values, exact to the bit: every
 * operation is done on integers and rounded once (Intel SDM vol. 1, chapters 4
 * and 8). The results are those of masked exceptions; an unmasked overflow or
 * underflow gives the result with its exponent wrapped, and what an unmasked
 * exception of the operands means is left to the caller, who finds all
 * exceptions in `Rounding.flags`.
 */

/** Exception flags as in the status word, and masks as in the control word. */
export const Exception = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
const { IE, DE, ZE, OE, UE, PE } = Exception;

/** Rounding control as in the control word. */
export const RoundingControl = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

/** How to round, and what happened. */
export interface Rounding {
  /** `RoundingControl`. */
  control: number;
  /** Bits of the significand: 24, 53 or 64. */
  precision: number;
  /** Masked exceptions. */
  masks: number;
  /** Exceptions that occurred. */
  flags: number;
  /** Whether the last inexact result is larger in magnitude than the exact one. */
  up: boolean;
}

/** An 80-bit value as encoded: sign 0 or 1, biased exponent, significand with its explicit integer bit. */
export class F80 {
  constructor(
    readonly sign: number,
    readonly exp: number,
    readonly sig: bigint,
  ) {}
}

export const BIAS = 0x3fff;
const TOP_EXP = 0x7fff;
const INTEGER_BIT = 1n << 63n;
const QUIET_BIT = 1n << 62n;
const TWO_64 = 1n << 64n;
/** Added to or taken from the exponent of an unmasked underflow or overflow. */
const WRAP = 0x6000;

/** The default NaN: QNaN real indefinite. */
export const INDEFINITE = new F80(1, TOP_EXP, INTEGER_BIT | QUIET_BIT);
export const ONE = new F80(0, BIAS, INTEGER_BIT);
export const zero = (sign: number): F80 => new F80(sign, 0, 0n);
export const infinity = (sign: number): F80 => new F80(sign, TOP_EXP, INTEGER_BIT);

export const isZero = (a: F80): boolean => a.sig === 0n && a.exp === 0;
export const isInfinity = (a: F80): boolean => a.exp === TOP_EXP && a.sig === INTEGER_BIT;
export const isNaN80 = (a: F80): boolean => a.exp === TOP_EXP && a.sig > INTEGER_BIT;
export const isSignalling = (a: F80): boolean => isNaN80(a) && (a.sig & QUIET_BIT) === 0n;
/** Unnormals, pseudo-NaNs and pseudo-infinities (Intel SDM vol. 1, table 8-3). */
export const isUnsupported = (a: F80): boolean => a.exp !== 0 && a.sig < INTEGER_BIT;
/** Denormals and pseudo-denormals. */
export const isDenormal = (a: F80): boolean => a.exp === 0 && a.sig !== 0n;
export const isNormal = (a: F80): boolean => a.exp !== 0 && a.exp !== TOP_EXP && a.sig >= INTEGER_BIT;
export const negate = (a: F80): F80 => new F80(a.sign ^ 1, a.exp, a.sig);
export const withSign = (a: F80, sign: number): F80 => (a.sign === sign ? a : new F80(sign, a.exp, a.sig));

/** Leading zeros of a 64-bit value. */
export function clz64(value: bigint): number {
  const high = Number(value >> 32n);
  return high !== 0 ? Math.clz32(high) : 32 + Math.clz32(Number(value));
}
/** Bits of a positive integer of any size. */
export function bitLength(value: bigint): number {
  const digits = value.toString(16);
  return digits.length * 4 - Math.clz32(parseInt(digits[0]!, 16)) + 28;
}

export function invalid(r: Rounding): F80 {
  r.flags |= IE;
  return INDEFINITE;
}
export const quiet = (a: F80): F80 => new F80(a.sign, a.exp, a.sig | QUIET_BIT);

/** The NaN that an operation on these operands gives, or null if none is a NaN or unsupported (Intel SDM vol. 1, table 4-7). */
export function propagate(a: F80, b: F80, r: Rounding): F80 | null {
  if (isUnsupported(a) || isUnsupported(b)) return invalid(r);
  const [aNaN, bNaN] = [isNaN80(a), isNaN80(b)];
  if (!aNaN && !bNaN) return null;
  const [aSignals, bSignals] = [isSignalling(a), isSignalling(b)];
  if (aSignals || bSignals) r.flags |= IE;
  if (!bNaN) return quiet(a);
  if (!aNaN) return quiet(b);
  if (aSignals !== bSignals) return aSignals ? b : a;
  if (a.sig !== b.sig) return quiet(a.sig > b.sig ? a : b);
  return quiet(a.sign === 0 ? a : b);
}
export const propagateOne = (a: F80, r: Rounding): F80 | null => propagate(a, a, r);

/** A finite value not zero with its integer bit set; the exponent may then be zero or less. Sets DE for a denormal. */
export function normalize(a: F80, r: Rounding): F80 {
  if (a.exp !== 0) return a;
  r.flags |= DE;
  const shift = clz64(a.sig);
  return new F80(a.sign, 1 - shift, a.sig << BigInt(shift));
}

/**
 * What lies below the last bit kept, as two bits: a half, and anything smaller.
 * Rounding needs no more of an exact result.
 */
type Rest = number;

function restOf(low: bigint, half: bigint, smaller: boolean): Rest {
  if (low === 0n) return smaller ? 1 : 0;
  if (low === half) return smaller ? 3 : 2;
  return low < half ? 1 : 3;
}
function roundsUp(control: number, sign: number, odd: boolean, rest: Rest): boolean {
  if (rest === 0) return false;
  if (control === 0) return rest === 3 || (rest === 2 && odd);
  return control === 1 ? sign === 1 : control === 2 ? sign === 0 : false;
}

/** Bits of significand and range of exponents (biased as extended) of a result. */
interface Target {
  precision: number;
  lowest: number;
  highest: number;
  /** Exponent offset of unmasked overflow and underflow. */
  wrap: number;
}
const EXTENDED_64: Target = { precision: 64, lowest: 1, highest: TOP_EXP - 1, wrap: WRAP };
const EXTENDED_53: Target = { ...EXTENDED_64, precision: 53 };
const EXTENDED_24: Target = { ...EXTENDED_64, precision: 24 };
const DOUBLE: Target = { precision: 53, lowest: BIAS - 1022, highest: BIAS + 1023, wrap: 0 };
const SINGLE: Target = { precision: 24, lowest: BIAS - 126, highest: BIAS + 127, wrap: 0 };

/** Rounds an exact result (integer bit set, any exponent) to the precision in force. */
export function round(sign: number, exp: number, sig: bigint, rest: Rest, r: Rounding): F80 {
  if (r.precision !== 64 || exp <= 0 || exp >= TOP_EXP - 1) {
    const target = r.precision === 64 ? EXTENDED_64 : r.precision === 53 ? EXTENDED_53 : EXTENDED_24;
    return encodeDenormal(roundTo(sign, exp, sig, rest, r, target));
  }
  if (rest === 0) return new F80(sign, exp, sig);
  r.flags |= PE;
  r.up = roundsUp(r.control, sign, (sig & 1n) !== 0n, rest);
  if (!r.up) return new F80(sign, exp, sig);
  const next = sig + 1n;
  return next === TWO_64 ? new F80(sign, exp + 1, INTEGER_BIT) : new F80(sign, exp, next);
}
/** The same with 64 bits whatever the precision control says. */
export const roundFull = (sign: number, exp: number, sig: bigint, rest: Rest, r: Rounding): F80 =>
  encodeDenormal(roundTo(sign, exp, sig, rest, r, EXTENDED_64));

/** Rounds mantissa × 2^scale, plus something smaller than the mantissa's last bit, to 64 bits. */
export function roundWide(sign: number, mantissa: bigint, scale: number, smaller: boolean, r: Rounding): F80 {
  const extra = bitLength(mantissa) - 64;
  const exp = extra + scale + 63 + BIAS;
  if (extra <= 0) return roundFull(sign, exp, mantissa << BigInt(-extra), smaller ? 1 : 0, r);
  const shift = BigInt(extra);
  return roundFull(
    sign,
    exp,
    mantissa >> shift,
    restOf(BigInt.asUintN(extra, mantissa), 1n << (shift - 1n), smaller),
    r,
  );
}

/** A result with the exponent of a denormal has its integer bit clear and the lowest exponent. */
function roundTo(sign: number, exp: number, sig: bigint, rest: Rest, r: Rounding, target: Target): F80 {
  const drop = 64 - target.precision;
  const rounded = (value: bigint, below: Rest): { sig: bigint; inexact: boolean; up: boolean } => {
    const shift = BigInt(drop);
    const left = drop === 0 ? below : restOf(BigInt.asUintN(drop, value), 1n << (shift - 1n), below !== 0);
    const kept = value >> shift;
    const up = roundsUp(r.control, sign, (kept & 1n) !== 0n, left);
    return { sig: (up ? kept + 1n : kept) << shift, inexact: left !== 0, up };
  };
  let result = rounded(sig, rest);
  let e = exp;
  if (result.sig === TWO_64) e++;
  if (e < target.lowest) {
    if (!(r.masks & UE) && target.wrap !== 0 && e + target.wrap < target.lowest) {
      // Too small even to be wrapped: zero, however it is to be rounded.
      r.flags |= UE | PE;
      return new F80(sign, target.lowest, 0n);
    }
    if (r.masks & UE) {
      const shift = target.lowest - exp;
      const wide = sig << 2n;
      const by = BigInt(Math.min(shift, 70));
      const low = BigInt.asUintN(Number(by) + 2, wide | BigInt(rest));
      const shifted = sig >> by;
      result = rounded(shifted, restOf(low, 1n << (by + 1n), false));
      if (result.inexact) {
        r.flags |= UE | PE;
        r.up = result.up;
      }
      return new F80(sign, target.lowest, result.sig);
    }
    r.flags |= UE;
    e += target.wrap;
  } else if (e > target.highest) {
    r.flags |= OE;
    const massive = target.wrap !== 0 && e - target.wrap > target.highest;
    if (r.masks & OE || massive) {
      r.flags |= PE;
      // Where the exponent is too large even to be wrapped, rounding does not matter.
      const infinite = massive && !(r.masks & OE);
      r.up = infinite || r.control === 0 || (r.control === 1 && sign === 1) || (r.control === 2 && sign === 0);
      return r.up
        ? new F80(sign, target.highest + 1, INTEGER_BIT)
        : new F80(sign, target.highest, TWO_64 - (1n << BigInt(drop)));
    }
    e -= target.wrap;
  }
  if (result.inexact) {
    r.flags |= PE;
    r.up = result.up;
  }
  return new F80(sign, e, result.sig === TWO_64 ? INTEGER_BIT : result.sig);
}

/** Denormals of extended precision are encoded with exponent zero. */
const encodeDenormal = (a: F80): F80 => (a.exp === 1 && a.sig < INTEGER_BIT ? new F80(a.sign, 0, a.sig) : a);

export function add(a: F80, b: F80, r: Rounding): F80 {
  return addSigned(a, b, b.sign, r);
}
export function subtract(a: F80, b: F80, r: Rounding): F80 {
  return addSigned(a, b, b.sign ^ 1, r);
}
function addSigned(a0: F80, b0: F80, bSign: number, r: Rounding): F80 {
  let a = a0;
  let b = b0;
  if (!isNormal(a) || !isNormal(b)) {
    const nan = propagate(a, b, r);
    if (nan) return nan;
    if (isInfinity(a)) {
      if (isInfinity(b) && a.sign !== bSign) return invalid(r);
      if (isDenormal(b)) r.flags |= DE;
      return a;
    }
    if (isDenormal(a)) r.flags |= DE;
    if (isInfinity(b)) return infinity(bSign);
    if (isDenormal(b)) r.flags |= DE;
    if (isZero(a) && isZero(b)) return zero(a.sign === bSign ? a.sign : r.control === 1 ? 1 : 0);
    if (isZero(a) || isZero(b)) {
      const other = isZero(a) ? normalize(b, r) : normalize(a, r);
      return round(isZero(a) ? bSign : a.sign, other.exp, other.sig, 0, r);
    }
    a = normalize(a, r);
    b = normalize(b, r);
  }
  let sign = a.sign;
  const same = sign === bSign;
  if (a.exp < b.exp || (a.exp === b.exp && a.sig < b.sig)) {
    [a, b] = [b, a];
    sign = bSign;
  }
  // Three bits below the significand, the last of which stands for all that follow.
  const distance = a.exp - b.exp;
  let small = b.sig << 3n;
  if (distance > 66) small = 1n;
  else if (distance > 0) {
    const shift = BigInt(distance);
    const shifted = small >> shift;
    small = shifted << shift === small ? shifted : shifted | 1n;
  }
  if (same) {
    const sum = (a.sig << 3n) + small;
    const extra = sum >> 67n === 0n ? 3 : 4;
    return finish(sign, a.exp + extra - 3, sum, extra, r);
  }
  let difference = (a.sig << 3n) - small;
  if (difference === 0n) return zero(r.control === 1 ? 1 : 0);
  let exp = a.exp;
  if (difference >> 66n === 0n) {
    const shift = difference >> 64n !== 0n ? (difference >> 65n === 0n ? 2 : 1) : clz64(difference) + 3;
    difference <<= BigInt(shift);
    exp -= shift;
  }
  return finish(sign, exp, difference, 3, r);
}
/** Rounds a value with `extra` (3 or 4) bits below its significand. */
function finish(sign: number, exp: number, value: bigint, extra: number, r: Rounding): F80 {
  const low = Number(BigInt.asUintN(extra, value));
  const half = 1 << (extra - 1);
  const rest = low === 0 ? 0 : low < half ? 1 : low === half ? 2 : 3;
  return round(sign, exp, value >> BigInt(extra), rest, r);
}

export function multiply(a0: F80, b0: F80, r: Rounding): F80 {
  let a = a0;
  let b = b0;
  const sign = a.sign ^ b.sign;
  if (!isNormal(a) || !isNormal(b)) {
    const nan = propagate(a, b, r);
    if (nan) return nan;
    if ((isInfinity(a) && isZero(b)) || (isZero(a) && isInfinity(b))) return invalid(r);
    if (isDenormal(a) || isDenormal(b)) r.flags |= DE;
    if (isInfinity(a) || isInfinity(b)) return infinity(sign);
    if (isZero(a) || isZero(b)) return zero(sign);
    a = normalize(a, r);
    b = normalize(b, r);
  }
  const product = a.sig * b.sig;
  const carry = product >> 127n !== 0n;
  const bits = carry ? 64n : 63n;
  const rest = restOf(BigInt.asUintN(Number(bits), product), 1n << (bits - 1n), false);
  return round(sign, a.exp + b.exp - BIAS + (carry ? 1 : 0), product >> bits, rest, r);
}

export function divide(a0: F80, b0: F80, r: Rounding): F80 {
  let a = a0;
  let b = b0;
  const sign = a.sign ^ b.sign;
  if (!isNormal(a) || !isNormal(b)) {
    const nan = propagate(a, b, r);
    if (nan) return nan;
    if ((isInfinity(a) && isInfinity(b)) || (isZero(a) && isZero(b))) return invalid(r);
    if (isInfinity(a)) {
      if (isDenormal(b)) r.flags |= DE;
      return infinity(sign);
    }
    if (isZero(b)) {
      r.flags |= ZE;
      return infinity(sign);
    }
    if (isDenormal(a) || isDenormal(b)) r.flags |= DE;
    if (isInfinity(b) || isZero(a)) return zero(sign);
    a = normalize(a, r);
    b = normalize(b, r);
  }
  const below = a.sig < b.sig;
  const dividend = a.sig << (below ? 64n : 63n);
  const quotient = dividend / b.sig;
  const left = (dividend - quotient * b.sig) << 1n;
  const rest = left === 0n ? 0 : left < b.sig ? 1 : left === b.sig ? 2 : 3;
  return round(sign, a.exp - b.exp + BIAS - (below ? 1 : 0), quotient, rest, r);
}

/** Integer square root of a value below 2^128. */
function integerRoot(n: bigint): bigint {
  let root = BigInt(Math.floor(Math.sqrt(Number(n))));
  // One Newton step doubles the 52 good bits of the estimate; then it is off by at most one.
  root = (root + n / root) >> 1n;
  while (root * root > n) root--;
  while ((root + 1n) * (root + 1n) <= n) root++;
  return root;
}

export function squareRoot(a0: F80, r: Rounding): F80 {
  const nan = propagateOne(a0, r);
  if (nan) return nan;
  if (isZero(a0)) return a0;
  if (a0.sign === 1) return invalid(r);
  if (isInfinity(a0)) return a0;
  const a = normalize(a0, r);
  const e = a.exp - BIAS;
  const odd = e & 1;
  const n = a.sig << (odd ? 64n : 63n);
  const root = integerRoot(n);
  const left = n - root * root;
  return round(0, (e - odd) / 2 + BIAS, root, left === 0n ? 0 : left > root ? 3 : 1, r);
}

/** −1, 0, 1 for a < b, a = b, a > b; 2 where they are unordered. `signalQuiet`: a QNaN is invalid too. */
export function compare(a: F80, b: F80, signalQuiet: boolean, r: Rounding): number {
  if (isUnsupported(a) || isUnsupported(b)) {
    r.flags |= IE;
    return 2;
  }
  if (isNaN80(a) || isNaN80(b)) {
    if (signalQuiet || isSignalling(a) || isSignalling(b)) r.flags |= IE;
    return 2;
  }
  if (isDenormal(a) || isDenormal(b)) r.flags |= DE;
  if (isZero(a) && isZero(b)) return 0;
  if (a.sign !== b.sign) return a.sign === 1 ? -1 : 1;
  // A pseudo-denormal equals the normal with exponent one.
  const [ae, be] = [a.exp || 1, b.exp || 1];
  const magnitude = isZero(a)
    ? -1
    : isZero(b)
      ? 1
      : ae !== be
        ? ae < be
          ? -1
          : 1
        : a.sig < b.sig
          ? -1
          : a.sig > b.sig
            ? 1
            : 0;
  return magnitude === 0 ? 0 : a.sign === 1 ? -magnitude : magnitude;
}

/** Integer part of a finite value by the rounding control, as magnitude, and whether it is inexact. */
function integerPart(a: F80, control: number): { magnitude: bigint; inexact: boolean; up: boolean } {
  const fraction = BIAS + 63 - (a.exp || 1);
  if (fraction <= 0) return { magnitude: a.sig << BigInt(-fraction), inexact: false, up: false };
  const shift = BigInt(Math.min(fraction, 70));
  const kept = a.sig >> shift;
  const rest = restOf(BigInt.asUintN(Number(shift), a.sig), 1n << (shift - 1n), false);
  const up = roundsUp(control, a.sign, (kept & 1n) !== 0n, rest);
  return { magnitude: up ? kept + 1n : kept, inexact: rest !== 0, up };
}

/** FRNDINT. */
export function roundToInteger(a: F80, r: Rounding): F80 {
  const nan = propagateOne(a, r);
  if (nan) return nan;
  if (isDenormal(a)) r.flags |= DE;
  if (isZero(a) || a.exp >= BIAS + 63) return a;
  const { magnitude, inexact, up } = integerPart(a, r.control);
  if (inexact) {
    r.flags |= PE;
    r.up = up;
  }
  return fromInteger(a.sign, magnitude);
}

/** An integer of at most 64 bits, exactly. */
export function fromInteger(sign: number, magnitude: bigint): F80 {
  if (magnitude === 0n) return zero(sign);
  const shift = clz64(magnitude);
  return new F80(sign, BIAS + 63 - shift, magnitude << BigInt(shift));
}

/** To a signed integer of `bits` bits; null (and IE) if it does not fit. */
export function toInteger(a: F80, bits: number, control: number, r: Rounding): bigint | null {
  const limit = 1n << BigInt(bits - 1);
  const { magnitude, inexact, up } =
    isUnsupported(a) || a.exp >= BIAS + 64 ? { magnitude: TWO_64, inexact: false, up: false } : integerPart(a, control);
  if (magnitude > limit || (magnitude === limit && a.sign === 0)) {
    r.flags |= IE;
    return null;
  }
  if (inexact) {
    r.flags |= PE;
    r.up = up;
  }
  return a.sign === 1 ? -magnitude : magnitude;
}

/** A format in memory: single or double. */
interface Format {
  target: Target;
  /** Bits of fraction. */
  fraction: number;
  fractionShift: bigint;
  /** Largest exponent field: infinities and NaNs. */
  highest: number;
  /** Biased exponent here of exponent field 0; field 1 is one more. */
  offset: number;
  /** Bits of the 64 that do not fit. */
  drop: number;
  dropShift: bigint;
}
const format = (target: Target, exponentBits: number): Format => ({
  target,
  fraction: target.precision - 1,
  fractionShift: BigInt(target.precision - 1),
  highest: (1 << exponentBits) - 1,
  offset: target.lowest - 1,
  drop: 64 - target.precision,
  dropShift: BigInt(64 - target.precision),
});
const DOUBLE_FORMAT = format(DOUBLE, 11);
const SINGLE_FORMAT = format(SINGLE, 8);

/** Sets DE for a denormal. An SNaN stays one. */
function fromFormat(bits: bigint, f: Format, r: Rounding): F80 {
  const head = Number(bits >> f.fractionShift);
  const exp = head & f.highest;
  const sign = head > f.highest ? 1 : 0;
  const fraction = BigInt.asUintN(f.fraction, bits) << f.dropShift;
  if (exp !== 0 && exp !== f.highest) return new F80(sign, exp + f.offset, fraction | INTEGER_BIT);
  if (exp !== 0) return new F80(sign, TOP_EXP, fraction | INTEGER_BIT);
  if (fraction === 0n) return zero(sign);
  r.flags |= DE;
  const shift = clz64(fraction);
  return new F80(sign, f.offset + 1 - shift, fraction << BigInt(shift));
}
export const fromSingle = (bits: bigint, r: Rounding): F80 => fromFormat(bits, SINGLE_FORMAT, r);
export const fromDouble = (bits: bigint, r: Rounding): F80 => fromFormat(bits, DOUBLE_FORMAT, r);

function toFormat(a: F80, f: Format, r: Rounding): bigint {
  if (a.exp > f.offset && a.exp < f.target.highest && a.sig >= INTEGER_BIT) return toNormal(a, f, r);
  const encode = (sign: number, exp: number, sig: bigint): bigint =>
    (BigInt(sign * (f.highest + 1) + exp) << f.fractionShift) | BigInt.asUintN(f.fraction, sig >> f.dropShift);
  const nan = propagateOne(a, r);
  if (nan) return encode(nan.sign, f.highest, nan.sig);
  if (isInfinity(a)) return encode(a.sign, f.highest, 0n);
  if (isZero(a)) return encode(a.sign, 0, 0n);
  // A denormal here is not reported as an operand: it is far below the format's range.
  const n = normalize(a, { ...r });
  const result = roundTo(a.sign, n.exp, n.sig, 0, r, f.target);
  return encode(result.sign, result.sig < INTEGER_BIT ? 0 : result.exp - f.offset, result.sig);
}
/** A value that is normal in the format too, whichever way it is rounded. */
function toNormal(a: F80, f: Format, r: Rounding): bigint {
  const low = Number(BigInt.asUintN(f.drop, a.sig));
  let kept = a.sig >> f.dropShift;
  if (low !== 0) {
    const half = 2 ** (f.drop - 1);
    r.flags |= PE;
    r.up = roundsUp(r.control, a.sign, (kept & 1n) !== 0n, low < half ? 1 : low === half ? 2 : 3);
    if (r.up) kept++;
  }
  // The integer bit adds one to the exponent field, and so does a carry.
  return (BigInt(a.sign * (f.highest + 1) + a.exp - f.offset - 1) << f.fractionShift) + kept;
}
export const toSingle = (a: F80, r: Rounding): bigint => toFormat(a, SINGLE_FORMAT, r);
export const toDouble = (a: F80, r: Rounding): bigint => toFormat(a, DOUBLE_FORMAT, r);

/** a × 2^n for a finite value not zero. */
export function scaleBy(a0: F80, n: number, r: Rounding): F80 {
  const a = normalize(a0, r);
  return roundFull(a.sign, a.exp + n, a.sig, 0, r);
}
