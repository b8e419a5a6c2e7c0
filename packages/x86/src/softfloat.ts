/**
 * IEEE 754 binary32 and binary64 as SSE does them: with every rounding mode,
 * denormals-are-zeros, flush-to-zero, and the exceptions that MXCSR collects
 * (Intel SDM vol. 1, 4.8, 4.9, 11.5, 11.6; vol. 1 table 4-7 for NaNs). Numbers
 * are their encodings as bigint. Exact and slow: used where WebAssembly's own
 * arithmetic would not give the same result or flags.
 */

/** Exception flags, at their places in MXCSR; the masks are the same bits seven places up. */
export const FloatFlag = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
/** Rounding modes as in MXCSR.RC. */
export const Rounding = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

const DAZ = 1 << 6;
const FTZ = 1 << 15;
const MASKS = 7;

export interface Format {
  readonly bits: 32 | 64;
  /** Bits of the significand with the implied one. */
  readonly precision: number;
  readonly exponentBits: number;
  /** Exponents of the least and greatest normal number, in units of the leading bit. */
  readonly emin: number;
  readonly emax: number;
  readonly quietBit: bigint;
  readonly defaultNan: bigint;
  readonly infinity: bigint;
}

const format = (bits: 32 | 64, precision: number, exponentBits: number): Format => {
  const emax = 2 ** (exponentBits - 1) - 1;
  const infinity = ((1n << BigInt(exponentBits)) - 1n) << BigInt(precision - 1);
  const quietBit = 1n << BigInt(precision - 2);
  return {
    bits,
    precision,
    exponentBits,
    emin: 1 - emax,
    emax,
    quietBit,
    infinity,
    defaultNan: (1n << BigInt(bits - 1)) | infinity | quietBit,
  };
};
export const SINGLE = format(32, 24, 8);
export const DOUBLE = format(64, 53, 11);

/** The environment of an instruction: what MXCSR asks for, and the flags raised so far. */
export class FloatContext {
  flags = 0;
  constructor(readonly mxcsr: number) {}
  get rounding(): number {
    return (this.mxcsr >> 13) & 3;
  }
  get denormalsAreZeros(): boolean {
    return (this.mxcsr & DAZ) !== 0;
  }
  masked(flag: number): boolean {
    return (this.mxcsr & (flag << MASKS)) !== 0;
  }
  /** Tiny results become zero only while underflow is masked. */
  get flushesToZero(): boolean {
    return (this.mxcsr & FTZ) !== 0 && this.masked(FloatFlag.UE);
  }
  /**
   * What the instruction leaves in MXCSR, and whether it raises #XM. Exceptions
   * of operands that are not masked keep the operation from being carried out,
   * so that none of the result are seen.
   */
  finish(): { mxcsr: number; fault: boolean } {
    const unmasked = ~(this.mxcsr >> MASKS) & 0x3f;
    const ofOperands = this.flags & (FloatFlag.IE | FloatFlag.DE | FloatFlag.ZE);
    const seen = ofOperands & unmasked ? ofOperands : this.flags;
    return { mxcsr: this.mxcsr | seen, fault: (seen & unmasked) !== 0 };
  }
}

interface Unpacked {
  sign: boolean;
  kind: 'zero' | 'finite' | 'infinity' | 'nan';
  denormal: boolean;
  /** A finite value is significand × 2^exponent. */
  significand: bigint;
  exponent: number;
}

/** All bits but the sign. */
const lowMask = (f: Format): bigint => (1n << BigInt(f.bits - 1)) - 1n;
export const isNan = (f: Format, x: bigint): boolean => (x & lowMask(f)) > f.infinity;
const isSignaling = (f: Format, x: bigint): boolean => isNan(f, x) && (x & f.quietBit) === 0n;
const signBit = (f: Format, sign: boolean): bigint => (sign ? 1n << BigInt(f.bits - 1) : 0n);

function unpack(c: FloatContext, f: Format, x: bigint): Unpacked {
  const sign = x >> BigInt(f.bits - 1) !== 0n;
  const magnitude = x & lowMask(f);
  const fractionBits = f.precision - 1;
  const biased = Number(magnitude >> BigInt(fractionBits));
  const fraction = magnitude & ((1n << BigInt(fractionBits)) - 1n);
  const zero: Unpacked = { sign, kind: 'zero', denormal: false, significand: 0n, exponent: 0 };
  if (magnitude === 0n) return zero;
  if (magnitude > f.infinity) return { ...zero, kind: 'nan' };
  if (magnitude === f.infinity) return { ...zero, kind: 'infinity' };
  if (biased === 0) {
    if (c.denormalsAreZeros) return zero;
    return { sign, kind: 'finite', denormal: true, significand: fraction, exponent: f.emin - fractionBits };
  }
  return {
    sign,
    kind: 'finite',
    denormal: false,
    significand: fraction | (1n << BigInt(fractionBits)),
    exponent: biased - 1 + f.emin - fractionBits,
  };
}

const bitLength = (x: bigint): number => x.toString(2).length;

/** value × 2^−shift, rounded. */
function roundShift(
  value: bigint,
  shift: number,
  rounding: number,
  sign: boolean,
): { value: bigint; inexact: boolean } {
  if (shift <= 0) return { value: value << BigInt(-shift), inexact: false };
  const kept = value >> BigInt(shift);
  const rest = value - (kept << BigInt(shift));
  if (rest === 0n) return { value: kept, inexact: false };
  const half = 1n << BigInt(shift - 1);
  const up =
    rounding === Rounding.nearest
      ? rest > half || (rest === half && (kept & 1n) === 1n)
      : rounding === Rounding.up
        ? !sign
        : rounding === Rounding.down && sign;
  return { value: up ? kept + 1n : kept, inexact: true };
}

/** Encodes ±significand × 2^exponent (not zero), rounded, with the exceptions of results. */
function pack(c: FloatContext, f: Format, sign: boolean, significand: bigint, exponent: number): bigint {
  const excess = bitLength(significand) - f.precision;
  const top = exponent + excess + f.precision - 1;
  const leastExponent = f.emin - f.precision + 1;
  if (top < f.emin) {
    // Tininess is seen after rounding as if the exponent had no bound.
    const unbounded = roundShift(significand, excess, c.rounding, sign);
    const tiny = top + (bitLength(unbounded.value) > f.precision ? 1 : 0) < f.emin;
    if (tiny && c.flushesToZero) {
      c.flags |= FloatFlag.UE | FloatFlag.PE;
      return signBit(f, sign);
    }
    if (tiny && !c.masked(FloatFlag.UE)) {
      // What is exact for an unbounded exponent is so for the handler; the destination is not written.
      c.flags |= FloatFlag.UE | (unbounded.inexact ? FloatFlag.PE : 0);
      return signBit(f, sign);
    }
    if (tiny && roundShift(significand, leastExponent - exponent, c.rounding, sign).inexact) c.flags |= FloatFlag.UE;
  }
  const shift = Math.max(excess, leastExponent - exponent);
  const { value, inexact } = roundShift(significand, shift, c.rounding, sign);
  if (inexact) c.flags |= FloatFlag.PE;
  const scale = exponent + shift;
  if (scale + bitLength(value) - 1 > f.emax) {
    c.flags |= FloatFlag.OE | (c.masked(FloatFlag.OE) ? FloatFlag.PE : 0);
    const toInfinity = c.rounding === Rounding.nearest || c.rounding === (sign ? Rounding.down : Rounding.up);
    return signBit(f, sign) | (toInfinity ? f.infinity : f.infinity - 1n);
  }
  // A normal significand carries one unit of the biased exponent in its leading bit.
  return signBit(f, sign) | ((BigInt(scale - leastExponent) << BigInt(f.precision - 1)) + value);
}

const zero = (f: Format, sign: boolean): bigint => signBit(f, sign);
const invalid = (c: FloatContext, f: Format): bigint => {
  c.flags |= FloatFlag.IE;
  return f.defaultNan;
};
/** The NaN that comes of operands with at least one: the first, made quiet. */
function propagate(c: FloatContext, f: Format, a: bigint, b: bigint): bigint {
  if (isSignaling(f, a) || isSignaling(f, b)) c.flags |= FloatFlag.IE;
  return (isNan(f, a) ? a : b) | f.quietBit;
}
const noteDenormal = (c: FloatContext, ...operands: Unpacked[]): void => {
  if (operands.some((operand) => operand.denormal)) c.flags |= FloatFlag.DE;
};

export type Binary = (c: FloatContext, f: Format, a: bigint, b: bigint) => bigint;

export const add: Binary = (c, f, a, b) => {
  const [x, y] = [unpack(c, f, a), unpack(c, f, b)];
  if (x.kind === 'nan' || y.kind === 'nan') return propagate(c, f, a, b);
  if (x.kind === 'infinity' && y.kind === 'infinity' && x.sign !== y.sign) return invalid(c, f);
  noteDenormal(c, x, y);
  if (x.kind === 'infinity') return a;
  if (y.kind === 'infinity') return b;
  const exponent = Math.min(x.kind === 'zero' ? y.exponent : x.exponent, y.kind === 'zero' ? x.exponent : y.exponent);
  const term = (v: Unpacked): bigint => {
    const aligned = v.significand === 0n ? 0n : v.significand << BigInt(v.exponent - exponent);
    return v.sign ? -aligned : aligned;
  };
  const sum = term(x) + term(y);
  if (sum === 0n) return zero(f, x.sign === y.sign ? x.sign : c.rounding === Rounding.down);
  return pack(c, f, sum < 0n, sum < 0n ? -sum : sum, exponent);
};
export const sub: Binary = (c, f, a, b) => (isNan(f, b) ? add(c, f, a, b) : add(c, f, a, b ^ signBit(f, true)));

export const mul: Binary = (c, f, a, b) => {
  const [x, y] = [unpack(c, f, a), unpack(c, f, b)];
  if (x.kind === 'nan' || y.kind === 'nan') return propagate(c, f, a, b);
  const sign = x.sign !== y.sign;
  const [infinite, nothing] = [x.kind === 'infinity' || y.kind === 'infinity', x.kind === 'zero' || y.kind === 'zero'];
  if (infinite && nothing) return invalid(c, f);
  noteDenormal(c, x, y);
  if (infinite) return signBit(f, sign) | f.infinity;
  if (nothing) return zero(f, sign);
  return pack(c, f, sign, x.significand * y.significand, x.exponent + y.exponent);
};

export const div: Binary = (c, f, a, b) => {
  const [x, y] = [unpack(c, f, a), unpack(c, f, b)];
  if (x.kind === 'nan' || y.kind === 'nan') return propagate(c, f, a, b);
  const sign = x.sign !== y.sign;
  if (x.kind === y.kind && (x.kind === 'zero' || x.kind === 'infinity')) return invalid(c, f);
  if (y.kind === 'zero' && x.kind === 'finite') {
    c.flags |= FloatFlag.ZE;
    return signBit(f, sign) | f.infinity;
  }
  noteDenormal(c, x, y);
  if (x.kind === 'infinity') return signBit(f, sign) | f.infinity;
  if (x.kind === 'zero' || y.kind === 'infinity') return zero(f, sign);
  const shift = Math.max(0, f.precision + 2 + bitLength(y.significand) - bitLength(x.significand));
  const dividend = x.significand << BigInt(shift);
  const quotient = dividend / y.significand;
  const sticky = quotient * y.significand === dividend ? 0n : 1n;
  return pack(c, f, sign, (quotient << 1n) | sticky, x.exponent - y.exponent - shift - 1);
};

function integerRoot(n: bigint): bigint {
  let root = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

export function sqrt(c: FloatContext, f: Format, a: bigint): bigint {
  const x = unpack(c, f, a);
  if (x.kind === 'nan') return propagate(c, f, a, a);
  if (x.kind === 'zero') return zero(f, x.sign);
  if (x.sign) return invalid(c, f);
  noteDenormal(c, x);
  if (x.kind === 'infinity') return a;
  let shift = Math.max(0, 2 * f.precision + 4 - bitLength(x.significand));
  if ((x.exponent - shift) % 2 !== 0) shift++;
  const radicand = x.significand << BigInt(shift);
  const root = integerRoot(radicand);
  const sticky = root * root === radicand ? 0n : 1n;
  return pack(c, f, false, (root << 1n) | sticky, (x.exponent - shift) / 2 - 1);
}

/** An order-preserving integer of a number that is not a NaN; both zeros are 0. */
const rank = (f: Format, x: Unpacked, bits: bigint): bigint => {
  if (x.kind === 'zero') return 0n;
  const magnitude = bits & lowMask(f);
  return x.sign ? -magnitude : magnitude;
};
export type Order = 'less' | 'equal' | 'greater' | 'unordered';
/** `quiet`: only a signaling NaN is invalid, else any is. */
export function compare(c: FloatContext, f: Format, a: bigint, b: bigint, quiet: boolean): Order {
  const [x, y] = [unpack(c, f, a), unpack(c, f, b)];
  if (x.kind === 'nan' || y.kind === 'nan') {
    if (!quiet || isSignaling(f, a) || isSignaling(f, b)) c.flags |= FloatFlag.IE;
    return 'unordered';
  }
  noteDenormal(c, x, y);
  const [ra, rb] = [rank(f, x, a), rank(f, y, b)];
  return ra < rb ? 'less' : ra > rb ? 'greater' : 'equal';
}
/** MIN and MAX: the second operand unless the first is strictly less (greater). */
const extreme =
  (wanted: Order): Binary =>
  (c, f, a, b) => {
    const order = compare(c, f, a, b, false);
    const chosen = order === wanted ? a : b;
    const value = unpack(c, f, chosen);
    return value.kind === 'zero' ? zero(f, value.sign) : chosen;
  };
export const min = extreme('less');
export const max = extreme('greater');

/** Between the formats. */
export function convert(c: FloatContext, from: Format, to: Format, a: bigint): bigint {
  const x = unpack(c, from, a);
  const shift = to.precision - from.precision;
  if (x.kind === 'nan') {
    if (isSignaling(from, a)) c.flags |= FloatFlag.IE;
    const payload = a & (from.quietBit - 1n);
    const moved = shift > 0 ? payload << BigInt(shift) : payload >> BigInt(-shift);
    return signBit(to, x.sign) | to.infinity | to.quietBit | moved;
  }
  if (x.kind === 'infinity') return signBit(to, x.sign) | to.infinity;
  if (x.kind === 'zero') return zero(to, x.sign);
  noteDenormal(c, x);
  return pack(c, to, x.sign, x.significand, x.exponent);
}
export function fromInteger(c: FloatContext, f: Format, value: bigint): bigint {
  if (value === 0n) return 0n;
  return pack(c, f, value < 0n, value < 0n ? -value : value, 0);
}
/** A signed integer of `width` bits, or the integer indefinite; unsigned encoding. */
export function toInteger(c: FloatContext, f: Format, a: bigint, width: number, rounding = c.rounding): bigint {
  const x = unpack(c, f, a);
  const indefinite = 1n << BigInt(width - 1);
  if (x.kind === 'zero') return 0n;
  if (x.kind === 'finite') {
    const { value, inexact } = roundShift(x.significand, -x.exponent, rounding, x.sign);
    const signed = x.sign ? -value : value;
    if (BigInt.asIntN(width, signed) === signed) {
      if (inexact) c.flags |= FloatFlag.PE;
      return BigInt.asUintN(width, signed);
    }
  }
  c.flags |= FloatFlag.IE;
  return indefinite;
}
/** ROUNDSS and its kin: the control byte chooses the mode, or MXCSR's, and may suppress PE. */
export function roundToIntegral(c: FloatContext, f: Format, a: bigint, control: number): bigint {
  const x = unpack(c, f, a);
  if (x.kind === 'nan') return propagate(c, f, a, a);
  if (x.kind === 'infinity') return a;
  if (x.kind === 'zero') return zero(f, x.sign);
  const { value, inexact } = roundShift(x.significand, -x.exponent, control & 4 ? c.rounding : control & 3, x.sign);
  if (inexact && !(control & 8)) c.flags |= FloatFlag.PE;
  if (value === 0n) return zero(f, x.sign);
  return inexact ? pack(c, f, x.sign, value, 0) : a;
}
