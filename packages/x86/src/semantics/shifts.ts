/** Shifts and rotates (Intel SDM vol. 2). A count of zero changes no flag. */
import { EFL, type Expr, i32, i64, op, type Sem, select } from '../sem.js';
import type { Definitions } from './definitions.js';

const maskedCount = (s: Sem, operand: number): Expr =>
  s.let(op('i64.and', s.getUnsigned(operand), i64(s.width === 64 ? 63 : 31)));

/** Runs `then` when the count is not zero; a 32-bit register is written (its upper half cleared) in any case. */
function unlessZero(s: Sem, count: Expr, value: Expr, then: () => void): void {
  s.if(op('i64.ne', count, i64(0)), then, () => {
    if (s.forms[0]!.kind === 'r') s.set(0, value);
  });
}

const topBit = (s: Sem, value: Expr): Expr =>
  op('i32.wrap_i64', op('i64.and', op('i64.shr_u', value, i64(s.width - 1)), i64(1)));

const shl = (s: Sem): void => {
  const a = s.modify(0);
  const count = maskedCount(s, 1);
  unlessZero(s, count, a, () => {
    const result = s.let(s.signExtend(op('i64.shl', a, count)));
    // The last bit shifted out: bit (width − count); zero once the count passes the width.
    const out = op('i64.shr_u', op('i64.shl', s.zeroExtend(a), op('i64.sub', count, i64(1))), i64(s.width - 1));
    const carry = s.let(op('i32.and', op('i32.wrap_i64', out), i32(1)));
    const overflow = op('i32.xor', carry, topBit(s, result));
    s.set(0, result);
    s.flagsResult(result, s.let(op('i32.or', carry, s.bit(overflow, EFL.OF))));
  });
};

const shr = (s: Sem): void => {
  const signed = s.modify(0);
  const a = s.let(s.zeroExtend(signed));
  const count = maskedCount(s, 1);
  unlessZero(s, count, signed, () => {
    const result = s.let(s.signExtend(op('i64.shr_u', a, count)));
    const carry = op('i32.wrap_i64', op('i64.and', op('i64.shr_u', a, op('i64.sub', count, i64(1))), i64(1)));
    const bits = s.let(op('i32.or', carry, s.bit(topBit(s, a), EFL.OF)));
    s.set(0, result);
    s.flagsResult(result, bits);
  });
};

const sar = (s: Sem): void => {
  const a = s.modify(0);
  const count = maskedCount(s, 1);
  unlessZero(s, count, a, () => {
    const result = s.let(op('i64.shr_s', a, count));
    const carry = s.let(op('i32.wrap_i64', op('i64.and', op('i64.shr_s', a, op('i64.sub', count, i64(1))), i64(1))));
    s.set(0, result);
    s.flagsResult(result, carry);
  });
};

/** Rotates change CF and OF only. */
function rotateFlags(s: Sem, carry: Expr, overflow: Expr): void {
  const kept = op('i32.and', s.eflags(), i32(~(EFL.CF | EFL.OF)));
  s.flagsBits(s.let(op('i32.or', kept, op('i32.or', carry, s.bit(overflow, EFL.OF)))));
}

const turned = (left: boolean, width: number, a: Expr, count: Expr): Expr => {
  if (width === 64) return op(left ? 'i64.rotl' : 'i64.rotr', a, count);
  const half = op(left ? 'i32.rotl' : 'i32.rotr', op('i32.wrap_i64', a), op('i32.wrap_i64', count));
  return op('i64.extend_i32_u', half);
};

const rotate =
  (left: boolean) =>
  (s: Sem): void => {
    const width = s.width;
    const signed = s.modify(0);
    const a = s.let(s.zeroExtend(signed));
    const count = maskedCount(s, 1);
    unlessZero(s, count, signed, () => {
      const turn = s.let(op('i64.and', count, i64(width - 1)));
      const back = op('i64.and', op('i64.sub', i64(width), turn), i64(width - 1));
      const result = s.let(
        width >= 32
          ? turned(left, width, a, count)
          : s.zeroExtend(op('i64.or', op('i64.shl', a, left ? turn : back), op('i64.shr_u', a, left ? back : turn))),
      );
      const top = s.let(topBit(s, result));
      const low = s.let(op('i32.and', op('i32.wrap_i64', result), i32(1)));
      const second = op('i32.and', op('i32.wrap_i64', op('i64.shr_u', result, i64(width - 2))), i32(1));
      const overflow = s.let(left ? op('i32.xor', top, low) : op('i32.xor', top, second));
      s.set(0, result);
      rotateFlags(s, left ? low : top, overflow);
    });
  };

/** RCL and RCR: the operand with CF as one more bit, turned by count modulo (width + 1). */
const rotateThroughCarry =
  (left: boolean) =>
  (s: Sem): void => {
    const width = s.width;
    const carryIn = s.let(op('i64.extend_i32_u', s.carry()));
    const signed = s.modify(0);
    const a = s.let(s.zeroExtend(signed));
    const masked = maskedCount(s, 1);
    const count = width >= 32 ? masked : s.let(op('i64.rem_u', masked, i64(width + 1)));
    // With an 8- or 16-bit operand a count of 9 or 17 is a full turn, which still defines CF and OF.
    unlessZero(s, masked, signed, () => {
      const wide = (value: Expr, by: Expr, name: 'i64.shl' | 'i64.shr_u'): Expr =>
        select(op('i64.ge_u', by, i64(64)), i64(0), op(name, value, by));
      const rest = s.let(op('i64.sub', i64(width + 1), count));
      const one = s.let(op('i64.sub', count, i64(1)));
      const moved = left
        ? op('i64.or', op('i64.or', op('i64.shl', a, count), op('i64.shl', carryIn, one)), wide(a, rest, 'i64.shr_u'))
        : op(
            'i64.or',
            op('i64.or', op('i64.shr_u', a, count), op('i64.shl', carryIn, op('i64.sub', i64(width), count))),
            wide(a, rest, 'i64.shl'),
          );
      const unturned = op('i64.eqz', count);
      const result = s.let(select(unturned, a, s.zeroExtend(moved)));
      const out = left ? op('i64.shr_u', a, op('i64.sub', i64(width), count)) : op('i64.shr_u', a, one);
      const carry = s.let(op('i32.and', op('i32.wrap_i64', select(unturned, carryIn, out)), i32(1)));
      const top = s.let(topBit(s, result));
      const second = op('i32.and', op('i32.wrap_i64', op('i64.shr_u', result, i64(width - 2))), i32(1));
      const overflow = s.let(left ? op('i32.xor', top, carry) : op('i32.xor', top, second));
      s.set(0, result);
      rotateFlags(s, carry, overflow);
    });
  };

/**
 * SHLD and SHRD: bits of the second operand come in. For 16 bits and a count over 16 the manual leaves the result
 * undefined; processors have the first operand follow the second once more.
 */
const doubleShift =
  (left: boolean) =>
  (s: Sem): void => {
    const width = s.width;
    const signed = s.modify(0);
    const a = s.let(s.zeroExtend(signed));
    const b = s.getUnsigned(1);
    const count = maskedCount(s, 2);
    unlessZero(s, count, signed, () => {
      const rest = s.let(op('i64.sub', i64(width), count));
      const one = op('i64.sub', count, i64(1));
      let moved: Expr;
      let out: Expr;
      if (width === 16) {
        const around = s.let(op('i64.or', op('i64.or', a, op('i64.shl', b, i64(16))), op('i64.shl', a, i64(32))));
        const back = s.let(op('i64.sub', i64(32), count));
        moved = op('i64.shr_u', around, left ? back : count);
        out = op('i64.shr_u', around, left ? op('i64.add', back, i64(16)) : one);
      } else if (left) {
        moved = op('i64.or', op('i64.shl', a, count), op('i64.shr_u', b, rest));
        out = op('i64.shr_u', a, rest);
      } else {
        moved = op('i64.or', op('i64.shr_u', a, count), op('i64.shl', b, rest));
        out = op('i64.shr_u', a, one);
      }
      const result = s.let(s.signExtend(moved));
      const carry = s.let(op('i32.and', op('i32.wrap_i64', out), i32(1)));
      const overflow = op('i32.xor', topBit(s, result), topBit(s, a));
      const bits = s.let(op('i32.or', carry, s.bit(overflow, EFL.OF)));
      s.set(0, result);
      s.flagsResult(result, bits);
    });
  };

export const shifts: Definitions = {
  SHL: shl,
  SHR: shr,
  SAR: sar,
  ROL: rotate(true),
  ROR: rotate(false),
  RCL: rotateThroughCarry(true),
  RCR: rotateThroughCarry(false),
  SHLD: doubleShift(true),
  SHRD: doubleShift(false),
};
