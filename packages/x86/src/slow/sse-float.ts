/** SSE floating point, exactly (Intel SDM vol. 1, 11.5; vol. 2): what the inline definitions leave, and ROUND, DP, RCP. */
import { Flag } from '@paravane/engine-api';
import {
  add,
  type Binary,
  compare,
  convert,
  DOUBLE,
  div,
  type FloatContext,
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
} from '../softfloat.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { calculate, getLane, immediate, register, setLane, source } from './sse-access.js';

/** Format and number of lanes of each suffix. */
const SUFFIXES = { SS: [SINGLE, 1], SD: [DOUBLE, 1], PS: [SINGLE, 4], PD: [DOUBLE, 2] } as const;
type Suffix = keyof typeof SUFFIXES;
type PerLane = (c: SlowCpu, f: Format, lanes: number) => void;
const forms = (name: string, make: PerLane, suffixes: readonly Suffix[] = ['SS', 'SD', 'PS', 'PD']): SlowDefinitions =>
  Object.fromEntries(
    suffixes.map((suffix) => [name + suffix, (c: SlowCpu) => make(c, SUFFIXES[suffix][0], SUFFIXES[suffix][1])]),
  );

/** Writes the low lanes of the destination with what `compute` gives for each. */
function eachLane(
  c: SlowCpu,
  f: Format,
  lanes: number,
  compute: (context: FloatContext, lane: number) => bigint,
): void {
  const results = calculate(c, (context) => Array.from({ length: lanes }, (_, lane) => compute(context, lane)));
  const destination = register(c, 0);
  for (const [lane, value] of results.entries()) setLane(destination, f, lane, value);
}
const binary =
  (operation: Binary): PerLane =>
  (c, f, lanes) => {
    const [a, b] = [source(c, 0), source(c, 1)];
    eachLane(c, f, lanes, (context, lane) => operation(context, f, getLane(a, f, lane), getLane(b, f, lane)));
  };
const unary =
  (operation: (context: FloatContext, f: Format, a: bigint, control: number) => bigint): PerLane =>
  (c, f, lanes) => {
    const a = source(c, 1);
    const control = c.insn.operands.length > 2 ? immediate(c, 2) : 0;
    eachLane(c, f, lanes, (context, lane) => operation(context, f, getLane(a, f, lane), control));
  };
/** EQ, LT, LE, UNORD and their negations; LT, LE and theirs take no quiet NaN. */
const comparePredicate: PerLane = (c, f, lanes) => {
  const [a, b] = [source(c, 0), source(c, 1)];
  const predicate = immediate(c, 2) & 7;
  const wanted = [['equal'], ['less'], ['less', 'equal'], ['unordered']][predicate & 3]!;
  const quiet = (predicate & 3) === 0 || (predicate & 3) === 3;
  const ones = (1n << BigInt(f.bits)) - 1n;
  eachLane(c, f, lanes, (context, lane) => {
    const holds = wanted.includes(compare(context, f, getLane(a, f, lane), getLane(b, f, lane), quiet));
    return holds === predicate < 4 ? ones : 0n;
  });
};
const compareToFlags =
  (quiet: boolean): PerLane =>
  (c, f) => {
    const [a, b] = [source(c, 0), source(c, 1)];
    const order = calculate(c, (context) => compare(context, f, getLane(a, f, 0), getLane(b, f, 0), quiet));
    const result = { greater: 0, less: Flag.CF, equal: Flag.ZF, unordered: Flag.ZF | Flag.PF | Flag.CF }[order];
    c.eflags = (c.eflags & ~(Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF)) | result;
  };
/** Adjacent lanes: those of the destination first. */
const horizontal =
  (operation: Binary): PerLane =>
  (c, f, lanes) => {
    const [a, b] = [source(c, 0), source(c, 1)];
    eachLane(c, f, lanes, (context, lane) => {
      const from = lane * 2 < lanes ? a : b;
      const at = (lane * 2) % lanes;
      return operation(context, f, getLane(from, f, at), getLane(from, f, at + 1));
    });
  };
const addSubtract: PerLane = (c, f, lanes) => {
  const [a, b] = [source(c, 0), source(c, 1)];
  eachLane(c, f, lanes, (context, lane) =>
    (lane & 1 ? add : sub)(context, f, getLane(a, f, lane), getLane(b, f, lane)),
  );
};
/**
 * DPPS and DPPD: products chosen by the high half of the immediate, summed in
 * pairs, to lanes chosen by the low half. Each step takes its own exceptions;
 * the order of each sum is seen where NaNs meet.
 */
const dotProduct: PerLane = (c, f, lanes) => {
  const [a, b] = [source(c, 0), source(c, 1)];
  const control = immediate(c, 2);
  const products = calculate(c, (context) =>
    Array.from({ length: lanes }, (_, i) =>
      control & (16 << i) ? mul(context, f, getLane(a, f, i), getLane(b, f, i)) : 0n,
    ),
  );
  const ownFirst = lanes === 2;
  let values = calculate(c, (context) =>
    products.map((own, i) => {
      const other = products[i ^ 1]!;
      return ownFirst ? add(context, f, own, other) : add(context, f, other, own);
    }),
  );
  if (lanes === 4) {
    const sums = values;
    values = calculate(c, (context) => sums.map((value, i) => add(context, f, value, sums[i ^ 2]!)));
  }
  const destination = register(c, 0);
  for (const [lane, value] of values.entries()) setLane(destination, f, lane, control & (1 << lane) ? value : 0n);
};

/** The approximations: no exceptions, denormals are zeros; 12 bits of the significand are given. */
const approximate =
  (exact: (x: number) => number): PerLane =>
  (c, _f, lanes) => {
    const a = source(c, 1);
    const destination = register(c, 0);
    for (let lane = 0; lane < lanes; lane++) {
      const bits = a.getUint32(lane * 4, true);
      destination.setUint32(lane * 4, approximateSingle(bits, exact), true);
    }
  };
const scratch = new DataView(new ArrayBuffer(4));
function approximateSingle(bits: number, exact: (x: number) => number): number {
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (bits | 0x400000) >>> 0;
  scratch.setUint32(0, magnitude < 0x800000 ? bits & 0x80000000 : bits);
  const result = exact(scratch.getFloat32(0));
  if (Number.isNaN(result)) return 0xffc00000;
  scratch.setFloat32(0, result);
  const raw = scratch.getUint32(0);
  if ((raw & 0x7fffffff) >= 0x7f800000) return raw;
  return (raw & 0x7fffffff) < 0x800000 ? (raw & 0x80000000) >>> 0 : ((raw + 0x400) & 0xfffff800) >>> 0;
}

/** Conversions of each lane between formats, or between a format and signed integers of 32 bits. */
const packedConversion =
  (
    lanes: number,
    from: number,
    to: number,
    convertLane: (context: FloatContext, value: bigint) => bigint,
  ): SlowDefinition =>
  (c) => {
    const a = source(c, 1);
    const read = (lane: number): bigint =>
      from === 8 ? a.getBigUint64(lane * 8, true) : BigInt(a.getUint32(lane * 4, true));
    const results = calculate(c, (context) =>
      Array.from({ length: lanes }, (_, lane) => convertLane(context, read(lane))),
    );
    const destination = register(c, 0);
    if (lanes * to < 16) destination.setBigUint64(8, 0n, true);
    for (const [lane, value] of results.entries()) {
      if (to === 8) destination.setBigUint64(lane * 8, value, true);
      else destination.setUint32(lane * 4, Number(value), true);
    }
  };
const scalarConversion =
  (from: Format, to: Format): SlowDefinition =>
  (c) => {
    const a = source(c, 1);
    eachLane(c, to, 1, (context) => convert(context, from, to, getLane(a, from, 0)));
  };
const integerToScalar =
  (to: Format): SlowDefinition =>
  (c) => {
    const width = c.insn.width === 64 ? 64 : 32;
    const value = BigInt.asIntN(width, c.operand(1));
    eachLane(c, to, 1, (context) => fromInteger(context, to, value));
  };
const scalarToInteger =
  (from: Format, truncate: boolean): SlowDefinition =>
  (c) => {
    const width = c.insn.width === 64 ? 64 : 32;
    const a = getLane(source(c, 1), from, 0);
    c.setOperand(
      0,
      calculate(c, (context) => toInteger(context, from, a, width, truncate ? Rounding.zero : context.rounding)),
    );
  };
const toDword =
  (from: Format, truncate: boolean) =>
  (context: FloatContext, value: bigint): bigint =>
    toInteger(context, from, value, 32, truncate ? Rounding.zero : context.rounding);

export const sseFloatSlow: SlowDefinitions = {
  ...forms('ADD', binary(add)),
  ...forms('SUB', binary(sub)),
  ...forms('MUL', binary(mul)),
  ...forms('DIV', binary(div)),
  ...forms('MIN', binary(min)),
  ...forms('MAX', binary(max)),
  ...forms('SQRT', unary(sqrt)),
  ...forms('ROUND', unary(roundToIntegral)),
  ...forms('CMP', comparePredicate),
  ...forms('COMI', compareToFlags(false), ['SS', 'SD']),
  ...forms('UCOMI', compareToFlags(true), ['SS', 'SD']),
  ...forms('HADD', horizontal(add), ['PS', 'PD']),
  ...forms('HSUB', horizontal(sub), ['PS', 'PD']),
  ...forms('ADDSUB', addSubtract, ['PS', 'PD']),
  ...forms('DP', dotProduct, ['PS', 'PD']),
  ...forms(
    'RCP',
    approximate((x) => 1 / x),
    ['SS', 'PS'],
  ),
  ...forms(
    'RSQRT',
    approximate((x) => (x === 0 ? 1 / x : 1 / Math.sqrt(x))),
    ['SS', 'PS'],
  ),
  CVTSS2SD: scalarConversion(SINGLE, DOUBLE),
  CVTSD2SS: scalarConversion(DOUBLE, SINGLE),
  CVTSI2SS: integerToScalar(SINGLE),
  CVTSI2SD: integerToScalar(DOUBLE),
  CVTSS2SI: scalarToInteger(SINGLE, false),
  CVTSD2SI: scalarToInteger(DOUBLE, false),
  CVTTSS2SI: scalarToInteger(SINGLE, true),
  CVTTSD2SI: scalarToInteger(DOUBLE, true),
  CVTPS2PD: packedConversion(2, 4, 8, (context, a) => convert(context, SINGLE, DOUBLE, a)),
  CVTPD2PS: packedConversion(2, 8, 4, (context, a) => convert(context, DOUBLE, SINGLE, a)),
  CVTDQ2PS: packedConversion(4, 4, 4, (context, a) => fromInteger(context, SINGLE, BigInt.asIntN(32, a))),
  CVTDQ2PD: packedConversion(2, 4, 8, (context, a) => fromInteger(context, DOUBLE, BigInt.asIntN(32, a))),
  CVTPS2DQ: packedConversion(4, 4, 4, toDword(SINGLE, false)),
  CVTTPS2DQ: packedConversion(4, 4, 4, toDword(SINGLE, true)),
  CVTPD2DQ: packedConversion(2, 8, 4, toDword(DOUBLE, false)),
  CVTTPD2DQ: packedConversion(2, 8, 4, toDword(DOUBLE, true)),
};
