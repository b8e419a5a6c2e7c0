/**
 * x87 with all exceptions masked and none pending, on normal numbers and zeros:
 * calls of the routines (`x87/routines.ts`). Everything else is the exact
 * definitions' in `slow/` (Intel SDM vol. 1, chapter 8; vol. 2).
 */
import type { Routine } from '../routines.js';
import { EFL, type Expr, i32, i64, load, op, type Sem } from '../sem.js';
import { State } from '../state.js';
import { CONSTANTS, significandOf } from '../x87/constants.js';
import { BIAS, INTEGER_BIT, ROUNDING, SIGN } from '../x87/parts.js';
import { Operand } from '../x87/routines.js';
import type { Definition, Definitions } from './definitions.js';
import { inlineIf } from './float-parts.js';

const CR0_TRAPS = 4 | 8;
/** Masks of the control word, and ES and B of the status word above it. */
const USUAL_MASK = 0x8080003f | 0;
const ALL_MASKED = 0x3f;
/** Of the status word: exceptions, stack fault, ES and B. */
const EXCEPTIONS = 0x80ff;
const TOP = 0x3800;
const C1 = 0x200;

/** Leaves an instruction where CR0 forbids the unit. */
const whereAvailable = (s: Sem): void =>
  s.once('x87 available', () => {
    const traps = op('i32.and', load('i32.load', s.statePlace(), State.cr0), i32(CR0_TRAPS));
    inlineIf(s, op('i32.eqz', traps));
  });
/** Leaves one that looks at pending exceptions where there are any, or where one may be unmasked. */
const enter = (s: Sem): void =>
  s.once('x87 usual', () => {
    const words = op('i32.and', load('i32.load', s.statePlace(), State.fcw), i32(USUAL_MASK));
    const traps = op('i32.and', load('i32.load', s.statePlace(), State.cr0), i32(CR0_TRAPS));
    inlineIf(s, op('i32.eqz', op('i32.or', traps, op('i32.xor', words, i32(ALL_MASKED)))));
  });
const hasMemory = (s: Sem): boolean => s.forms.some((form) => form.kind === 'm');
/** The instruction becomes the last one. */
function leave(s: Sem): void {
  s.f.store('i64.store', s.statePlace(), s.instructionAddress(), State.fip);
  if (hasMemory(s)) s.f.store('i64.store', s.statePlace(), s.address(), State.fdp);
}
const call = (s: Sem, routine: Routine, ...args: Expr[]): Expr => s.routine(routine, s.statePlace(), ...args);
const attempt = (s: Sem, routine: Routine, ...args: Expr[]): void => inlineIf(s, call(s, routine, ...args));
const words = (s: Sem, constant: number): Expr => op('i32.or', s.stackRegisters(), i32(constant));

/** The memory operand's bits, and their kind. */
function memorySource(s: Sem, integer: boolean): { kind: number; bits: Expr } {
  if (integer) return { kind: Operand.integer, bits: s.get(0) };
  return { kind: s.operandWidth(0) === 32 ? Operand.single : Operand.double, bits: s.getUnsigned(0) };
}
const binary =
  (routine: 'add' | 'multiply' | 'divide', flags: number, integer: boolean): Definition =>
  (s) => {
    enter(s);
    if (hasMemory(s)) {
      const { kind, bits } = memorySource(s, integer);
      attempt(s, routine, i32(kind | flags), bits);
    } else attempt(s, routine, words(s, flags), i64(0));
    leave(s);
  };
const BINARY: readonly [string, 'add' | 'multiply' | 'divide', number][] = [
  ['ADD', 'add', 0],
  ['SUB', 'add', Operand.negateSource],
  ['SUBR', 'add', Operand.negateDestination],
  ['MUL', 'multiply', 0],
  ['DIV', 'divide', 0],
  ['DIVR', 'divide', Operand.reverse],
];

/** The comparison's answer. */
function order(s: Sem, flags: number, integer: boolean): Expr {
  enter(s);
  // FCOMPP and FUCOMPP name no registers.
  const second = s.forms.length === 0 ? 1 << 8 : 0;
  const memory = hasMemory(s) ? memorySource(s, integer) : null;
  const operands = memory ? i32(memory.kind | flags) : words(s, flags | second);
  const answer = s.let(call(s, 'compare', operands, memory?.bits ?? i64(0)));
  inlineIf(s, answer);
  return answer;
}
const compareCodes =
  (flags: number, integer = false): Definition =>
  (s) => {
    order(s, flags, integer);
    leave(s);
  };
const compareFlags =
  (flags: number): Definition =>
  (s) => {
    const answer = order(s, flags | Operand.toFlags, false);
    s.flagsBits(s.let(op('i32.and', answer, i32(EFL.CF | EFL.ZF))));
    leave(s);
  };

const loadFloat: Definition = (s) => {
  enter(s);
  if (!hasMemory(s)) attempt(s, 'push', op('i32.shl', s.stackRegisters(), i32(8)), i64(0));
  else if (s.forms[0]!.width === 80) {
    const host = s.let(s.translate(s.address(), 10, false));
    attempt(s, 'pushExtended', load('i32.load16_u', host, 8), load('i64.load', host));
  } else {
    const { kind, bits } = memorySource(s, false);
    attempt(s, 'push', i32(kind), bits);
  }
  leave(s);
};
const loadInteger: Definition = (s) => {
  enter(s);
  attempt(s, 'push', i32(Operand.integer), s.get(0));
  leave(s);
};
const constant =
  (head: number, sig: bigint, needsNearest: boolean): Definition =>
  (s) => {
    enter(s);
    if (needsNearest) {
      const control = load('i32.load16_u', s.statePlace(), State.fcw);
      inlineIf(s, op('i32.eqz', op('i32.and', control, i32(ROUNDING))));
    }
    attempt(s, 'pushExtended', i32(head), i64(sig));
    leave(s);
  };

/** Stores to memory through a routine. All exceptions are masked, so the store is made whatever the value is. */
function storeTo(s: Sem, routine: Routine, bytes: number, flags: number): void {
  enter(s);
  // A processor leaves the significand in memory where the exponent's page then faults.
  if (bytes === 10) inlineIf(s, op('i32.le_u', op('i32.and', op('i32.wrap_i64', s.address()), i32(4095)), i32(4086)));
  const host = s.let(s.translate(s.address(), bytes, true));
  attempt(s, routine, i32(flags), host);
  leave(s);
  s.stored(host);
}
const storeFloat =
  (flags: number): Definition =>
  (s) => {
    if (hasMemory(s)) {
      const { width } = s.forms[0]!;
      const routine = width === 32 ? 'storeSingle' : width === 64 ? 'storeDouble' : 'storeExtended';
      return storeTo(s, routine, width / 8, flags);
    }
    enter(s);
    attempt(s, 'storeRegister', words(s, flags));
    leave(s);
  };
const storeInteger =
  (flags: number): Definition =>
  (s) => {
    const width = s.operandWidth(0) as 16 | 32 | 64;
    storeTo(s, `storeInteger${width}`, width / 8, flags);
  };

/** A routine that works on ST(0) alone. */
const unary =
  (routine: Routine, ...args: Expr[]): Definition =>
  (s) => {
    enter(s);
    attempt(s, routine, ...args);
    leave(s);
  };
const conditionalMove =
  (code: number): Definition =>
  (s) => {
    enter(s);
    attempt(s, 'conditionalMove', s.stackRegisters(), s.condition(code));
    leave(s);
  };
/** Moves TOP without looking at tags. */
const turn =
  (by: number): Definition =>
  (s) => {
    enter(s);
    const fsw = s.let(load('i32.load16_u', s.statePlace(), State.fsw));
    const top = op('i32.and', op('i32.add', fsw, i32(by * 0x800)), i32(TOP));
    s.f.store(
      'i32.store16',
      s.statePlace(),
      op('i32.or', op('i32.and', fsw, i32(0xffff & ~(TOP | C1))), top),
      State.fsw,
    );
    leave(s);
  };

const POP = Operand.pop;
export const x87: Definitions = {
  ...Object.fromEntries(
    BINARY.flatMap(([name, routine, flags]) => [
      [`F${name}`, binary(routine, flags, false)],
      [`FI${name}`, binary(routine, flags, true)],
      [`F${name}P`, binary(routine, flags | POP, false)],
    ]),
  ),
  FCOM: compareCodes(0),
  FCOMP: compareCodes(POP),
  FCOMPP: compareCodes(Operand.popTwice),
  FUCOM: compareCodes(0),
  FUCOMP: compareCodes(POP),
  FUCOMPP: compareCodes(Operand.popTwice),
  FICOM: compareCodes(0, true),
  FICOMP: compareCodes(POP, true),
  FCOMI: compareFlags(0),
  FUCOMI: compareFlags(0),
  FCOMIP: compareFlags(POP),
  FUCOMIP: compareFlags(POP),
  /** With zero. */
  FTST: (s) => {
    enter(s);
    attempt(s, 'compare', i32(Operand.integer), i64(0));
    leave(s);
  },
  FLD: loadFloat,
  FILD: loadInteger,
  FST: storeFloat(0),
  FSTP: storeFloat(POP),
  FIST: storeInteger(0),
  FISTP: storeInteger(POP),
  FISTTP: storeInteger(POP | Operand.truncate),
  FLDZ: constant(0, 0n, false),
  FLD1: constant(BIAS, INTEGER_BIT, false),
  ...Object.fromEntries(
    Object.entries(CONSTANTS).map(([name, [exp, wide]]) => [
      name,
      constant(BIAS + exp, significandOf(wide, false, true), true),
    ]),
  ),
  FXCH: (s) => {
    enter(s);
    attempt(s, 'exchange', s.stackRegisters());
    leave(s);
  },
  FCHS: unary('changeSign', i32(0xffff), i32(SIGN)),
  FABS: unary('changeSign', i32(SIGN - 1), i32(0)),
  FSQRT: unary('squareRoot'),
  FRNDINT: unary('roundToInteger'),
  FCMOVB: conditionalMove(2),
  FCMOVNB: conditionalMove(3),
  FCMOVE: conditionalMove(4),
  FCMOVNE: conditionalMove(5),
  FCMOVBE: conditionalMove(6),
  FCMOVNBE: conditionalMove(7),
  FCMOVU: conditionalMove(10),
  FCMOVNU: conditionalMove(11),
  FINCSTP: turn(1),
  FDECSTP: turn(-1),
  FFREE: (s) => {
    enter(s);
    const place = s.statePlace();
    const top = op('i32.shr_u', load('i32.load16_u', place, State.fsw), i32(11));
    const n = op('i32.and', op('i32.add', top, s.stackRegisters()), i32(7));
    const others = op('i32.xor', op('i32.shl', i32(1), n), i32(-1));
    s.f.store('i32.store8', place, op('i32.and', load('i32.load8_u', place, State.ftw), others), State.ftw);
    leave(s);
  },
  FNOP: (s) => {
    enter(s);
    leave(s);
  },
  /** A new control word that unmasks anything is not for what comes behind it either. */
  FLDCW: (s) => {
    enter(s);
    const claimed = s.let(op('i32.wrap_i64', s.getUnsigned(0)));
    inlineIf(s, op('i32.eq', op('i32.and', claimed, i32(ALL_MASKED)), i32(ALL_MASKED)));
    s.f.store('i32.store16', s.statePlace(), controlWord(claimed), State.fcw);
  },
  FNCLEX: (s) => {
    whereAvailable(s);
    const kept = op('i32.and', load('i32.load16_u', s.statePlace(), State.fsw), i32(0xffff & ~EXCEPTIONS));
    s.f.store('i32.store16', s.statePlace(), kept, State.fsw);
  },
  FNSTCW: (s) => {
    whereAvailable(s);
    s.set(0, load('i64.load16_u', s.statePlace(), State.fcw));
  },
  FNSTSW: (s) => {
    whereAvailable(s);
    const word = load('i64.load16_u', s.statePlace(), State.fsw);
    if (hasMemory(s)) s.set(0, word);
    else s.setGpr(0, word, 16);
  },
};

/** As `controlWord` of `slow/x87-control.ts`. */
function controlWord(claimed: Expr): Expr {
  return op('i32.or', op('i32.and', claimed, i32(0x1f3f)), i32(0x40));
}
