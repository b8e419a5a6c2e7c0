/**
 * What the generated x87 instructions of interpreter and compiled code call: one
 * function for all forms of an operation, which does the usual case of the whole
 * instruction but for its pointers. Each answers 1, or 0 where it has left
 * everything as it was for the exact definition in TypeScript. The caller has
 * made sure that the unit may be used, that no exception is pending, and that
 * all are masked (`enter` in `semantics/x87.ts`).
 */
import {
  type Expr,
  FunctionBuilder,
  i32,
  i64,
  type Label,
  load,
  op,
  select,
  type ValueType,
} from '@paravane/wasm-emit';
import { State } from '../state.js';
import { exactProduct, exactQuotient, exactRoot, exactSum } from './arithmetic.js';
import {
  add,
  and,
  BIAS,
  biasDifference,
  C1,
  closeUnit,
  DOUBLE,
  declineIf,
  type Exact,
  exactLocals,
  exponent,
  type Format,
  fromFormat,
  fromInteger,
  isNormal,
  isZero,
  normalizedInteger,
  not,
  openUnit,
  or,
  PE,
  physical,
  placeOf,
  placeOfFull,
  pushValue,
  readAt,
  roundExact,
  roundsUp,
  SIGN,
  SINGLE,
  shl,
  shr,
  sub,
  toWide,
  type Unit,
  type Value,
  writeAt,
} from './parts.js';

/**
 * A word that says what a function works on. The low byte is the number of the
 * destination (or only) stack register, the next one that of the source.
 */
export const Operand = {
  /** The source is in the third parameter instead: a single, a double, or a signed integer. */
  single: 1 << 16,
  double: 2 << 16,
  integer: 3 << 16,
  /** Registers to pop in the end. */
  pop: 1 << 18,
  popTwice: 2 << 18,
  /** The operand that is negated, or the operands the other way round. */
  negateDestination: 1 << 20,
  negateSource: 1 << 21,
  reverse: 1 << 20,
  /** Comparisons: the status word is not changed. */
  toFlags: 1 << 22,
  /** Stores of integers: towards zero, whatever the control word says. */
  truncate: 1 << 22,
} as const;
const KIND_SHIFT = 16;
const POPS_SHIFT = 18;

const kindOf = (code: Expr): Expr => and(shr(code, KIND_SHIFT), 3);
const popsOf = (code: Expr): Expr => and(shr(code, POPS_SHIFT), 3);
const firstOf = (unit: Unit, code: Expr): Expr => physical(unit, and(code, 7));
const statusOf = ({ fsw }: Unit): Expr => and(fsw, 0xffff & ~C1);
const controlOf = (f: FunctionBuilder): Expr => f.let(load('i32.load16_u', f.param(0), State.fcw));

/** The source that `code` names, in locals of its own. */
function source(unit: Unit, code: Expr, bits: Expr): Value {
  const { f } = unit;
  const value = { head: f.local('i'), sig: f.local('l') };
  const kind = f.let(kindOf(code));
  f.if(
    not(kind),
    () => {
      const register = readAt(f, placeOfFull(unit, physical(unit, and(shr(code, 8), 7))));
      f.set(value.head, register.head);
      f.set(value.sig, register.sig);
    },
    () => fromMemory(f, kind, bits, value),
  );
  return value;
}
function fromMemory(f: FunctionBuilder, kind: Expr, bits: Expr, value: Value): void {
  f.if(
    op('i32.eq', kind, i32(Operand.double >> KIND_SHIFT)),
    () => fromFormat(f, bits, DOUBLE, value),
    () =>
      f.if(
        op('i32.eq', kind, i32(Operand.single >> KIND_SHIFT)),
        () => fromFormat(f, bits, SINGLE, value),
        () => fromInteger(f, bits, value),
      ),
  );
}

/** Rounds what `calculate` leaves in `result`, unless that branches to `done`, and writes it to a register. */
function roundInto(
  unit: Unit,
  place: Expr,
  code: Expr,
  calculate: (fcw: Expr, result: Exact, done: Label) => void,
): void {
  const { f } = unit;
  const fcw = controlOf(f);
  const result = exactLocals(f);
  const flags = f.local('i');
  f.set(flags, i32(0));
  f.block((done) => {
    calculate(fcw, result, done);
    f.set(flags, roundExact(unit, fcw, result));
  });
  writeAt(f, place, { head: or(result.sign, result.exp), sig: result.sig });
  closeUnit(unit, or(statusOf(unit), flags), popsOf(code));
}

/** (cpu, operands, source in memory) */
const BINARY: readonly ValueType[] = ['i', 'i', 'l'];
function binary(
  calculate: (f: FunctionBuilder, fcw: Expr, a: Value, b: Value, result: Exact, done: Label) => void,
  prepare: (f: FunctionBuilder, code: Expr, a: Value, b: Value) => void,
): FunctionBuilder {
  const f = new FunctionBuilder(BINARY, ['i']);
  const code = f.param(1);
  const unit = openUnit(f);
  const place = placeOfFull(unit, firstOf(unit, code));
  const a = readAt(f, place);
  const b = source(unit, code, f.param(2));
  prepare(f, code, a, b);
  roundInto(unit, place, code, (fcw, result, done) => calculate(f, fcw, a, b, result, done));
  return f;
}
function negateAsAsked(f: FunctionBuilder, code: Expr, a: Value, b: Value): void {
  const signAt = (bit: number): Expr => and(shr(code, Math.log2(bit / SIGN)), SIGN);
  f.set(a.head, op('i32.xor', a.head, signAt(Operand.negateDestination)));
  f.set(b.head, op('i32.xor', b.head, signAt(Operand.negateSource)));
}
function exchangeAsAsked(f: FunctionBuilder, code: Expr, a: Value, b: Value): void {
  f.if(and(code, Operand.reverse), () => {
    const [head, sig] = [f.let(a.head), f.let(a.sig)];
    f.set(a.head, b.head);
    f.set(a.sig, b.sig);
    f.set(b.head, head);
    f.set(b.sig, sig);
  });
}

/**
 * (cpu, operands, source in memory) → 2, and CF and ZF of the order in the places of RFLAGS, which in the second byte are
 * C0 and C3.
 */
function compare(): FunctionBuilder {
  const f = new FunctionBuilder(BINARY, ['i']);
  const [code, bits] = [f.param(1), f.param(2)];
  const unit = openUnit(f);
  const a = readAt(f, placeOfFull(unit, firstOf(unit, code)));
  const b = source(unit, code, bits);
  const [aIsZero, bIsZero] = [f.let(isZero(a)), f.let(isZero(b))];
  declineIf(f, not(and(or(isNormal(f, a), aIsZero), or(isNormal(f, b), bIsZero))));
  const order = f.local('i');
  f.if(
    and(aIsZero, bIsZero),
    () => f.set(order, i32(EQUAL)),
    () => {
      const aSign = f.let(shr(a.head, 15));
      f.if(
        op('i32.ne', aSign, shr(b.head, 15)),
        () => f.set(order, aSign),
        () => {
          const sameExponent = f.let(op('i32.eq', exponent(a), exponent(b)));
          const smaller = or(op('i32.lt_u', exponent(a), exponent(b)), and(sameExponent, op('i64.lt_u', a.sig, b.sig)));
          const same = and(sameExponent, op('i64.eq', a.sig, b.sig));
          f.set(order, select(same, i32(EQUAL), op('i32.xor', smaller, aSign)));
        },
      );
    },
  );
  const status = f.local('i');
  f.set(status, unit.fsw);
  f.if(not(and(code, Operand.toFlags)), () => f.set(status, or(and(status, 0xffff & ~CONDITION), shl(order, 8))));
  closeUnit(unit, status, popsOf(code), or(order, 2));
  return f;
}
const EQUAL = 0x40;
const CONDITION = 0x4700;

/** (cpu, operands, what to push where it is no register) */
function push(): FunctionBuilder {
  const f = new FunctionBuilder(BINARY, ['i']);
  const unit = openUnit(f);
  pushValue(unit, source(unit, f.param(1), f.param(2)));
  f.return(i32(1));
  return f;
}
/** (cpu, sign and exponent, significand) */
function pushExtended(): FunctionBuilder {
  const f = new FunctionBuilder(BINARY, ['i']);
  pushValue(openUnit(f), { head: f.param(1), sig: f.param(2) });
  f.return(i32(1));
  return f;
}

/** (cpu, operands, place in memory) */
const STORE: readonly ValueType[] = ['i', 'i', 'i'];
function storeFloat(format: Format): FunctionBuilder {
  const f = new FunctionBuilder(STORE, ['i']);
  const [code, host] = [f.param(1), f.param(2)];
  const unit = openUnit(f);
  const a = readAt(f, placeOf(unit, 0));
  const fcw = controlOf(f);
  const { exponentBits, fraction } = format;
  const [bits, status] = [f.local('l'), f.local('i')];
  const sign = f.let(and(a.head, SIGN));
  const signBit = op('i64.shl', toWide(sign), i64(fraction + exponentBits - 15));
  f.set(status, statusOf(unit));
  const field = f.let(sub(exponent(a), biasDifference(format)));
  // Normal in the format too, whichever way it is rounded.
  const inRange = op('i32.lt_u', sub(field, 1), i32((1 << exponentBits) - 3));
  f.if(
    and(inRange, op('i64.lt_s', a.sig, i64(0))),
    () => {
      const drop = 63 - fraction;
      const kept = f.let(op('i64.shr_u', a.sig, i64(drop)));
      // The integer bit adds one to the exponent, and so does a carry.
      f.set(bits, op('i64.add', op('i64.shl', toWide(sub(field, 1)), i64(fraction)), kept));
      f.set(bits, op('i64.add', bits, signBit));
      const below = f.let(op('i64.shl', a.sig, i64(64 - drop)));
      roundBits(f, fcw, sign, kept, below, bits, status);
    },
    () => {
      declineIf(f, not(isZero(a)));
      f.set(bits, signBit);
    },
  );
  f.store(format === DOUBLE ? 'i64.store' : 'i64.store32', host, bits);
  closeUnit(unit, status, popsOf(code));
  return f;
}
/** Adds one to `bits` where what is below rounds up, and notes that it is inexact. */
function roundBits(f: FunctionBuilder, fcw: Expr, sign: Expr, kept: Expr, below: Expr, bits: Expr, status: Expr): void {
  f.if(op('i64.ne', below, i64(0)), () => {
    const up = roundsUp(f, fcw, sign, op('i64.and', kept, i64(1)), below);
    f.set(bits, op('i64.add', bits, toWide(up)));
    f.set(status, or(status, or(shl(up, 9), PE)));
  });
}
function storeExtended(): FunctionBuilder {
  const f = new FunctionBuilder(STORE, ['i']);
  const [code, host] = [f.param(1), f.param(2)];
  const unit = openUnit(f);
  const { head, sig } = readAt(f, placeOf(unit, 0));
  f.store('i64.store', host, sig);
  f.store('i32.store16', host, head, 8);
  closeUnit(unit, statusOf(unit), popsOf(code));
  return f;
}
/** To another register. */
function storeRegister(): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'i'], ['i']);
  const code = f.param(1);
  const unit = openUnit(f);
  const value = readAt(f, placeOf(unit, 0));
  const to = firstOf(unit, code);
  writeAt(f, f.let(add(unit.cpu, shl(to, 4))), value);
  const tags = f.let(or(unit.ftw, op('i32.shl', i32(1), to)));
  f.store('i32.store8', unit.cpu, tags, State.ftw);
  closeUnit({ ...unit, ftw: tags }, statusOf(unit), popsOf(code));
  return f;
}

/** The magnitude of a normal number's or zero's integer part, rounded, in a local; `status` gets the flags. */
function integerPart(f: FunctionBuilder, a: Value, fcw: Expr, status: Expr): Expr {
  const magnitude = f.local('l');
  declineIf(f, not(or(isNormal(f, a), isZero(a))));
  f.set(magnitude, a.sig);
  const fraction = f.let(sub(i32(BIAS + 63), exponent(a)));
  f.if(fraction, () => {
    const below = f.local('l');
    f.if(
      op('i32.lt_u', fraction, i32(64)),
      () => {
        f.set(magnitude, op('i64.shr_u', a.sig, toWide(fraction)));
        f.set(below, op('i64.shl', a.sig, op('i64.sub', i64(64), toWide(fraction))));
      },
      () => {
        f.set(magnitude, i64(0));
        const some = toWide(op('i64.ne', a.sig, i64(0)));
        f.set(below, select(op('i32.eq', fraction, i32(64)), a.sig, some));
      },
    );
    roundBits(f, fcw, and(a.head, SIGN), magnitude, below, magnitude, status);
  });
  return magnitude;
}
function storeInteger(bits: 16 | 32 | 64): FunctionBuilder {
  const f = new FunctionBuilder(STORE, ['i']);
  const [code, host] = [f.param(1), f.param(2)];
  const unit = openUnit(f);
  const a = readAt(f, placeOf(unit, 0));
  declineIf(f, op('i32.ge_u', exponent(a), i32(BIAS + bits)));
  const fcw = f.let(or(controlOf(f), select(and(code, Operand.truncate), i32(TRUNCATE), i32(0))));
  const status = f.local('i');
  f.set(status, statusOf(unit));
  const magnitude = integerPart(f, a, fcw, status);
  // Negative numbers reach one further.
  const limit = op('i64.sub', i64(1n << BigInt(bits - 1)), toWide(not(and(a.head, SIGN))));
  declineIf(f, op('i64.gt_u', magnitude, limit));
  const value = select(and(a.head, SIGN), op('i64.sub', i64(0), magnitude), magnitude);
  f.store(bits === 64 ? 'i64.store' : bits === 32 ? 'i64.store32' : 'i64.store16', host, value);
  closeUnit(unit, status, popsOf(code));
  return f;
}
/** Both bits of rounding control. */
const TRUNCATE = 0xc00;

/** FRNDINT. */
function roundToInteger(): FunctionBuilder {
  const f = new FunctionBuilder(['i'], ['i']);
  const unit = openUnit(f);
  const place = placeOf(unit, 0);
  const a = readAt(f, place);
  declineIf(f, op('i32.ge_u', exponent(a), i32(BIAS + 63)));
  const status = f.local('i');
  f.set(status, statusOf(unit));
  const magnitude = integerPart(f, a, controlOf(f), status);
  const result = { head: f.local('i'), sig: magnitude };
  f.set(result.head, and(a.head, SIGN));
  f.if(op('i64.ne', magnitude, i64(0)), () => normalizedInteger(f, and(a.head, SIGN), f.let(magnitude), result));
  writeAt(f, place, result);
  closeUnit(unit, status, i32(0));
  return f;
}
function squareRoot(): FunctionBuilder {
  const f = new FunctionBuilder(['i'], ['i']);
  const unit = openUnit(f);
  const place = placeOf(unit, 0);
  const a = readAt(f, place);
  roundInto(unit, place, i32(0), (_, result, done) => exactRoot(f, a, result, done));
  return f;
}

/** (cpu, bits of the head to keep, bits to turn) */
function changeSign(): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'i', 'i'], ['i']);
  const unit = openUnit(f);
  const place = placeOf(unit, 0);
  const head = load('i32.load16_u', place, State.x87 + 8);
  f.store('i32.store16', place, op('i32.xor', and(head, f.param(1)), f.param(2)), State.x87 + 8);
  closeUnit(unit, statusOf(unit), i32(0));
  return f;
}
function exchange(): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'i'], ['i']);
  const unit = openUnit(f);
  const [first, second] = [placeOf(unit, 0), placeOfFull(unit, firstOf(unit, f.param(1)))];
  const [a, b] = [readAt(f, first), readAt(f, second)];
  writeAt(f, first, b);
  writeAt(f, second, a);
  closeUnit(unit, statusOf(unit), i32(0));
  return f;
}
/** (cpu, operands, whether to move) */
function conditionalMove(): FunctionBuilder {
  const f = new FunctionBuilder(['i', 'i', 'i'], ['i']);
  const unit = openUnit(f);
  const to = placeOf(unit, 0);
  const from = placeOfFull(unit, physical(unit, and(shr(f.param(1), 8), 7)));
  f.if(f.param(2), () => writeAt(f, to, readAt(f, from)));
  f.return(i32(1));
  return f;
}

export const X87_ROUTINES = {
  add: () => binary(exactSum, negateAsAsked),
  multiply: () =>
    binary(
      (f, _, ...rest) => exactProduct(f, ...rest),
      () => undefined,
    ),
  divide: () => binary((f, _, ...rest) => exactQuotient(f, ...rest), exchangeAsAsked),
  squareRoot,
  roundToInteger,
  compare,
  push,
  pushExtended,
  storeSingle: () => storeFloat(SINGLE),
  storeDouble: () => storeFloat(DOUBLE),
  storeExtended,
  storeInteger16: () => storeInteger(16),
  storeInteger32: () => storeInteger(32),
  storeInteger64: () => storeInteger(64),
  storeRegister,
  exchange,
  changeSign,
  conditionalMove,
} as const;
