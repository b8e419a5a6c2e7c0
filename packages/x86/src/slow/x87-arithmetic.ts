/** x87 arithmetic and comparison (Intel SDM vol. 2). */
import { Flag } from '@paravane/engine-api';
import {
  add,
  BIAS,
  compare,
  divide,
  Exception,
  F80,
  fromInteger,
  INDEFINITE,
  infinity,
  invalid,
  isDenormal,
  isInfinity,
  isNaN80,
  isUnsupported,
  isZero,
  multiply,
  negate,
  normalize,
  propagate,
  propagateOne,
  type Rounding,
  roundFull,
  roundToInteger,
  scaleBy,
  squareRoot,
  subtract,
  withSign,
  zero,
} from '../softfloat80.js';
import type { SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { enter, memorySource, replaceResult, Status, stackIndex, type X87 } from './x87-unit.js';

type Binary = (destination: F80, source: F80, r: Rounding) => F80;

const BINARY: Record<string, Binary> = {
  ADD: add,
  MUL: multiply,
  SUB: subtract,
  SUBR: (destination, source, r) => subtract(source, destination, r),
  DIV: divide,
  DIVR: (destination, source, r) => divide(source, destination, r),
};

/** ST(0) with memory, or two stack registers, of which ST(0) may then be popped. */
const binary =
  (operation: Binary, integer: boolean, pops: number): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const r = fpu.rounding;
    if (c.insn.memory) {
      const source = memorySource(fpu, integer);
      return replaceResult(fpu, 0, [0], () => {
        const result = operation(fpu.read(0), source(), r);
        // A NaN and a division by zero come before what else there is to say of a denormal operand in memory.
        if (isNaN80(result) || r.flags & Exception.ZE) r.flags &= ~Exception.DE;
        return result;
      });
    }
    const [to, from] = [stackIndex(c, 0), stackIndex(c, 1)];
    replaceResult(fpu, to, [to, from], () => operation(fpu.read(to), fpu.read(from), r), pops);
  };

const CODES_OF_ORDER = new Map([
  [-1, Status.C0],
  [0, Status.C3],
  [1, 0],
  [2, Status.C0 | Status.C2 | Status.C3],
]);

/** Compares ST(0) with `other`, hands the order to `report`, and pops. */
function comparison(
  fpu: X87,
  needs: readonly number[],
  other: () => F80,
  signalQuiet: boolean,
  pops: number,
  report: (order: number) => void,
): void {
  let order = 2;
  let complete: boolean;
  if (needs.some((i) => fpu.isEmpty(i))) {
    fpu.setCodes(0, Status.C1);
    complete = fpu.stackFault(false);
  } else {
    const r = fpu.rounding;
    const value = other();
    order = compare(fpu.read(0), value, signalQuiet, r);
    if (order === 2) r.flags &= ~Exception.DE;
    complete = fpu.accept();
  }
  // The order is reported even where an unmasked exception stops the pops.
  report(order);
  if (complete) fpu.popMany(pops);
  fpu.leave();
}
const reportCodes =
  (fpu: X87) =>
  (order: number): void =>
    fpu.setCodes(CODES_OF_ORDER.get(order)!);

const compareCodes =
  (integer: boolean, signalQuiet: boolean, pops: number): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    if (c.insn.memory) return comparison(fpu, [0], memorySource(fpu, integer), signalQuiet, pops, reportCodes(fpu));
    const from = c.insn.operands.length > 1 ? stackIndex(c, 1) : 1;
    comparison(fpu, [0, from], () => fpu.read(from), signalQuiet, pops, reportCodes(fpu));
  };
const compareFlags =
  (signalQuiet: boolean, pops: number): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const from = stackIndex(c, 1);
    comparison(
      fpu,
      [0, from],
      () => fpu.read(from),
      signalQuiet,
      pops,
      (order) => {
        const flags = order === 2 ? Flag.ZF | Flag.PF | Flag.CF : order === 0 ? Flag.ZF : order < 0 ? Flag.CF : 0;
        c.eflags = (c.eflags & ~(Flag.OF | Flag.SF | Flag.ZF | Flag.AF | Flag.PF | Flag.CF)) | flags;
      },
    );
  };

/** FXAM's class of a value in C3, C2, C0. */
function classOf(a: F80): number {
  if (isUnsupported(a)) return 0;
  if (isNaN80(a)) return Status.C0;
  if (isInfinity(a)) return Status.C0 | Status.C2;
  if (isZero(a)) return Status.C3;
  return isDenormal(a) ? Status.C2 | Status.C3 : Status.C2;
}

/** A result from ST(0) alone. */
const unary =
  (operation: (a: F80, r: Rounding) => F80): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    replaceResult(fpu, 0, [0], () => operation(fpu.read(0), fpu.rounding));
  };

/** FSCALE: ST(0) × 2^(integer part of ST(1)). */
function scale(a: F80, b: F80, r: Rounding): F80 {
  const nan = propagate(a, b, r);
  if (nan) return nan;
  if (isInfinity(b)) {
    if (b.sign === 0 ? isZero(a) : isInfinity(a)) return invalid(r);
    if (isDenormal(a)) r.flags |= Exception.DE;
    return isInfinity(a) || isZero(a) ? a : b.sign === 0 ? infinity(a.sign) : zero(a.sign);
  }
  if (isDenormal(a) || isDenormal(b)) r.flags |= Exception.DE;
  if (isInfinity(a) || isZero(a)) return a;
  const truncated = roundToInteger(b, { ...r, control: 3 });
  const limit = 0x12000;
  const distance = BIAS + 63 - truncated.exp;
  const magnitude = isZero(truncated)
    ? 0
    : distance < 40
      ? limit
      : Math.min(limit, Number(truncated.sig >> BigInt(distance)));
  return scaleBy(a, b.sign === 1 ? -magnitude : magnitude, r);
}

/** FXTRACT: the exponent replaces ST(0), the significand is pushed. */
const extract: SlowDefinition = (c) => {
  const fpu = enter(c);
  fpu.setCodes(0, Status.C1);
  const both = (exponent: F80, significand: F80): void => {
    fpu.write(0, exponent);
    fpu.push(significand);
  };
  if (fpu.isEmpty(0) || !fpu.isEmpty(7)) {
    if (fpu.stackFault(!fpu.isEmpty(0))) both(INDEFINITE, INDEFINITE);
    return fpu.leave();
  }
  const r = fpu.rounding;
  const a = fpu.read(0);
  const nan = propagateOne(a, r);
  let exponent = nan ?? infinity(0);
  let significand = nan ?? a;
  if (!nan && isZero(a)) {
    r.flags |= Exception.ZE;
    exponent = infinity(1);
  } else if (!nan && !isInfinity(a)) {
    const n = normalize(a, r);
    const e = n.exp - BIAS;
    exponent = fromInteger(e < 0 ? 1 : 0, BigInt(Math.abs(e)));
    significand = new F80(n.sign, BIAS, n.sig);
  }
  if (fpu.accept()) both(exponent, significand);
  fpu.leave();
};

/** FPREM (`nearest` false: quotient truncated) and FPREM1 (to nearest even). Reduces by 63 exponents at most at a time. */
const partialRemainder =
  (nearest: boolean): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const r = fpu.rounding;
    // Without a quotient C0 and C3 stay what they were.
    let codes = fpu.fsw & (Status.C0 | Status.C3);
    const operation = (): F80 => {
      const [a0, b0] = [fpu.read(0), fpu.read(1)];
      const nan = propagate(a0, b0, r);
      if (nan) return nan;
      if (isInfinity(a0) || isZero(b0)) return invalid(r);
      if (isDenormal(a0) || isDenormal(b0)) r.flags |= Exception.DE;
      if (isZero(a0) || isInfinity(b0)) codes = 0;
      if (isZero(a0) || isInfinity(b0)) return isZero(a0) || a0.exp !== 0 ? a0 : scaleBy(a0, 0, r);
      const [a, b] = [normalize(a0, r), normalize(b0, r)];
      const distance = a.exp - b.exp;
      codes = 0;
      if (distance < (nearest ? -1 : 0)) return scaleBy(a0, 0, r);
      let quotient: bigint;
      let rest: bigint;
      let sign = a.sign;
      let exp = b.exp;
      if (distance >= 64) {
        const steps = (distance & 31) | 32;
        codes = Status.C2;
        rest = (a.sig << BigInt(steps)) % b.sig;
        exp = a.exp - steps;
      } else {
        // With a distance of −1 both are counted in units of half the divisor's last bit.
        const dividend = distance < 0 ? a.sig : a.sig << BigInt(distance);
        const divisor = distance < 0 ? b.sig << 1n : b.sig;
        exp = distance < 0 ? a.exp : b.exp;
        quotient = dividend / divisor;
        rest = dividend - quotient * divisor;
        const twice = rest << 1n;
        if (nearest && (twice > divisor || (twice === divisor && quotient & 1n))) {
          rest = divisor - rest;
          sign ^= 1;
          quotient++;
        }
        const low = Number(quotient & 7n);
        codes = (low & 4 ? Status.C0 : 0) | (low & 2 ? Status.C3 : 0) | (low & 1 ? Status.C1 : 0);
      }
      if (rest === 0n) return zero(a.sign);
      const whole = fromInteger(sign, rest);
      return roundFull(sign, whole.exp - BIAS - 63 + exp, whole.sig, 0, r);
    };
    fpu.setCodes(codes);
    if (fpu.isEmpty(0) || fpu.isEmpty(1)) {
      if (fpu.stackFault(false)) fpu.write(0, INDEFINITE);
    } else {
      const result = operation();
      if (fpu.accept()) {
        fpu.write(0, result);
        fpu.setCodes(codes);
      }
    }
    fpu.leave();
  };

export const x87Arithmetic: SlowDefinitions = {
  ...Object.fromEntries(
    Object.entries(BINARY).flatMap(([name, operation]) => [
      [`F${name}`, binary(operation, false, 0)],
      [`FI${name}`, binary(operation, true, 0)],
      [`F${name}P`, binary(operation, false, 1)],
    ]),
  ),
  FCOM: compareCodes(false, true, 0),
  FCOMP: compareCodes(false, true, 1),
  FCOMPP: compareCodes(false, true, 2),
  FICOM: compareCodes(true, true, 0),
  FICOMP: compareCodes(true, true, 1),
  FUCOM: compareCodes(false, false, 0),
  FUCOMP: compareCodes(false, false, 1),
  FUCOMPP: compareCodes(false, false, 2),
  FCOMI: compareFlags(true, 0),
  FCOMIP: compareFlags(true, 1),
  FUCOMI: compareFlags(false, 0),
  FUCOMIP: compareFlags(false, 1),
  FTST: (c) => {
    const fpu = enter(c);
    comparison(fpu, [0], () => zero(0), true, 0, reportCodes(fpu));
  },
  FXAM: (c) => {
    const fpu = enter(c);
    const value = fpu.read(0);
    const kind = fpu.isEmpty(0) ? Status.C0 | Status.C3 : classOf(value);
    fpu.setCodes(kind | (value.sign ? Status.C1 : 0));
    fpu.leave();
  },
  FCHS: unary((a) => negate(a)),
  FABS: unary((a) => withSign(a, 0)),
  FSQRT: unary(squareRoot),
  FRNDINT: unary(roundToInteger),
  FSCALE: (c) => {
    const fpu = enter(c);
    replaceResult(fpu, 0, [0, 1], () => scale(fpu.read(0), fpu.read(1), fpu.rounding));
  },
  FXTRACT: extract,
  FPREM: partialRemainder(false),
  FPREM1: partialRemainder(true),
};
