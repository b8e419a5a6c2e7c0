/** x87 loads, stores, moves and constants (Intel SDM vol. 2). */
import { Flag } from '@paravane/engine-api';
import {
  BIAS,
  F80,
  fromInteger,
  INDEFINITE,
  ONE,
  propagateOne,
  RoundingControl,
  toDouble,
  toInteger,
  toSingle,
  zero,
} from '../softfloat80.js';
import { CONSTANTS, significandOf } from '../x87/constants.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { enter, memoryBytes, memorySource, pushResult, Status, stackIndex, type X87 } from './x87-unit.js';

/** Packed decimal of eighteen digits: magnitude below this. */
const DECIMAL_LIMIT = 10n ** 18n;

const loadMemory =
  (integer: boolean): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const source = memorySource(fpu, integer);
    // What is loaded as 80 bits is not looked at.
    if (integer || memoryBytes(c) === 10) return pushResult(fpu, source);
    pushResult(fpu, () => {
      const value = source();
      return propagateOne(value, fpu.rounding) ?? value;
    });
  };

function loadStack(c: SlowCpu): void {
  const fpu = enter(c);
  const from = stackIndex(c, 0);
  if (fpu.isEmpty(from) && fpu.isEmpty(7)) {
    fpu.setCodes(0, Status.C1);
    if (fpu.stackFault(false)) fpu.push(INDEFINITE);
    return fpu.leave();
  }
  pushResult(fpu, () => fpu.read(from));
}

/** Stores what `encode` makes of ST(0), or `indefinite` if it is empty, and pops. */
function storeResult(fpu: X87, encode: (a: F80) => bigint, indefinite: bigint, pops: number): void {
  const { c } = fpu;
  const bytes = memoryBytes(c);
  const va = fpu.address();
  fpu.setCodes(0, Status.C1);
  let value: bigint | null = null;
  if (fpu.isEmpty(0)) {
    if (fpu.stackFault(false)) value = indefinite;
  } else {
    const encoded = encode(fpu.read(0));
    if (fpu.acceptStore()) value = encoded;
  }
  if (value !== null) {
    if (bytes === 10) storeTen(c, va, value);
    else c.store(va, bytes, value);
    fpu.popMany(pops);
  }
  fpu.leave();
}
/** The significand first: processors leave it in memory even where the exponent then faults. */
function storeTen(c: SlowCpu, va: bigint, value: bigint): void {
  c.store(va, 8, BigInt.asUintN(64, value));
  c.store(BigInt.asUintN(c.pointerWidth, va + 8n), 2, value >> 64n);
}
const encodeExtended = (a: F80): bigint => (BigInt((a.sign << 15) | a.exp) << 64n) | a.sig;

const storeFloat =
  (pops: number): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const r = fpu.rounding;
    if (!c.insn.memory) return storeStack(fpu, pops);
    const bytes = memoryBytes(c);
    if (bytes === 4) storeResult(fpu, (a) => toSingle(a, r), 0xffc00000n, pops);
    else if (bytes === 8) storeResult(fpu, (a) => toDouble(a, r), 0xfff8000000000000n, pops);
    else storeResult(fpu, encodeExtended, encodeExtended(INDEFINITE), pops);
  };
function storeStack(fpu: X87, pops: number): void {
  const to = stackIndex(fpu.c, 0);
  fpu.setCodes(0, Status.C1);
  const empty = fpu.isEmpty(0);
  if (!empty || fpu.stackFault(false)) {
    fpu.write(to, empty ? INDEFINITE : fpu.read(0));
    fpu.popMany(pops);
  }
  fpu.leave();
}

/** An encoding that no manual has: FSTP that looks for no empty register, and then stores nothing. */
function storeUnchecked(c: SlowCpu): void {
  const fpu = enter(c);
  fpu.setCodes(0, Status.C1);
  if (!fpu.isEmpty(0)) fpu.write(stackIndex(c, 0), fpu.read(0));
  fpu.pop();
  fpu.leave();
}

const storeInteger =
  (pops: number, truncate: boolean): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const r = fpu.rounding;
    const bits = memoryBytes(c) * 8;
    const indefinite = 1n << BigInt(bits - 1);
    const control = truncate ? RoundingControl.zero : r.control;
    storeResult(fpu, (a) => BigInt.asUintN(bits, toInteger(a, bits, control, r) ?? indefinite), indefinite, pops);
  };

const DECIMAL_INDEFINITE = 0xffffc000000000000000n;

function encodeDecimal(a: F80, fpu: X87): bigint {
  const before = { ...fpu.rounding };
  const value = toInteger(a, 64, fpu.rounding.control, fpu.rounding);
  if (value === null) return DECIMAL_INDEFINITE;
  const magnitude = value < 0n ? -value : value;
  if (magnitude >= DECIMAL_LIMIT) {
    Object.assign(fpu.rounding, before, { flags: before.flags | 1 });
    return DECIMAL_INDEFINITE;
  }
  return (BigInt(a.sign) << 79n) | BigInt(`0x${magnitude.toString()}`);
}

function loadDecimal(c: SlowCpu): void {
  const fpu = enter(c);
  const bytes = c.loadBytes(c.address(), 10);
  let magnitude = 0n;
  for (let i = 8; i >= 0; i--) magnitude = magnitude * 100n + BigInt((bytes[i]! >> 4) * 10 + (bytes[i]! & 15));
  const sign = bytes[9]! >> 7;
  pushResult(fpu, () => fromInteger(sign, magnitude));
}

function exchange(c: SlowCpu): void {
  const fpu = enter(c);
  const i = stackIndex(c, 0);
  fpu.setCodes(0, Status.C1);
  const [first, second] = [fpu.isEmpty(0), fpu.isEmpty(i)];
  if ((!first && !second) || fpu.stackFault(false)) {
    const [a, b] = [first ? INDEFINITE : fpu.read(0), second ? INDEFINITE : fpu.read(i)];
    fpu.write(0, b);
    fpu.write(i, a);
  }
  fpu.leave();
}

const conditionalMove =
  (flags: number, wanted: boolean): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    const from = stackIndex(c, 1);
    if (fpu.isEmpty(0) || fpu.isEmpty(from)) {
      fpu.setCodes(0, Status.C1);
      if (fpu.stackFault(false)) fpu.write(0, INDEFINITE);
    } else if (((c.eflags & flags) !== 0) === wanted) fpu.write(0, fpu.read(from));
    fpu.leave();
  };

const constant =
  (exp: number, wide: bigint): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    pushResult(fpu, () => {
      const { control } = fpu.rounding;
      const sig = significandOf(wide, control === RoundingControl.up, control === RoundingControl.nearest);
      return new F80(0, BIAS + exp, sig);
    });
  };
const exactly =
  (value: F80): SlowDefinition =>
  (c) =>
    pushResult(enter(c), () => value);

const CONDITIONS: readonly [string, number][] = [
  ['B', Flag.CF],
  ['E', Flag.ZF],
  ['BE', Flag.CF | Flag.ZF],
  ['U', Flag.PF],
];

export const x87Moves: SlowDefinitions = {
  FLD: (c) => (c.insn.memory ? loadMemory(false)(c) : loadStack(c)),
  FILD: loadMemory(true),
  FBLD: loadDecimal,
  FST: storeFloat(0),
  FSTP: storeFloat(1),
  FSTPNCE: storeUnchecked,
  FIST: storeInteger(0, false),
  FISTP: storeInteger(1, false),
  FISTTP: storeInteger(1, true),
  FBSTP: (c) => {
    const fpu = enter(c);
    storeResult(fpu, (a) => encodeDecimal(a, fpu), DECIMAL_INDEFINITE, 1);
  },
  FXCH: exchange,
  ...Object.fromEntries(
    CONDITIONS.flatMap(([name, flags]): [string, SlowDefinition][] => [
      [`FCMOV${name}`, conditionalMove(flags, true)],
      [`FCMOVN${name}`, conditionalMove(flags, false)],
    ]),
  ),
  FLD1: exactly(ONE),
  FLDZ: exactly(zero(0)),
  ...Object.fromEntries(Object.entries(CONSTANTS).map(([name, [exp, wide]]) => [name, constant(exp, wide)])),
};
