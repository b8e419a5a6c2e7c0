/** Integer arithmetic and logic (Intel SDM vol. 2). */
import { EFL, type Expr, i32, i64, load, op, type Sem, select } from '../sem.js';
import type { Definitions } from './definitions.js';

const logic =
  (name: 'i64.and' | 'i64.or' | 'i64.xor') =>
  (s: Sem): void => {
    const a = s.modify(0);
    const result = s.let(op(name, a, s.get(1)));
    s.set(0, result);
    s.flagsLogic(result);
  };

/** a + b + carry or a − b − carry; the flags are worked out at once, as a carry in has no lazy form. */
const withCarry =
  (subtract: boolean) =>
  (s: Sem): void => {
    const carryIn = s.let(op('i64.extend_i32_u', s.carry()));
    const a = s.modify(0);
    const b = s.get(1);
    const name = subtract ? 'i64.sub' : 'i64.add';
    const result = s.let(s.signExtend(op(name, op(name, a, b), carryIn)));
    // Intel SDM vol. 1, 3.4.3.1: carries out of each bit from operands and result.
    const carries = s.let(
      subtract
        ? op(
            'i64.or',
            op('i64.and', op('i64.xor', a, i64(-1)), b),
            op('i64.and', op('i64.xor', op('i64.xor', a, b), i64(-1)), result),
          )
        : op('i64.or', op('i64.and', a, b), op('i64.and', op('i64.or', a, b), op('i64.xor', result, i64(-1)))),
    );
    const overflow = subtract
      ? op('i64.and', op('i64.xor', a, b), op('i64.xor', a, result))
      : op('i64.and', op('i64.xor', a, result), op('i64.xor', b, result));
    const flags = op(
      'i32.or',
      op('i32.or', op('i64.lt_s', carries, i64(0)), s.bit(op('i64.lt_s', overflow, i64(0)), EFL.OF)),
      op('i32.and', op('i32.wrap_i64', op('i64.xor', op('i64.xor', a, b), result)), i32(EFL.AF)),
    );
    const bits = s.let(flags);
    s.set(0, result);
    s.flagsResult(result, bits);
  };

/** INC and DEC: CF stays, so the other flags are taken from the result and CF from before. */
const step =
  (delta: 1 | -1) =>
  (s: Sem): void => {
    const carry = s.carry();
    const a = s.modify(0);
    const result = s.let(s.signExtend(op('i64.add', a, i64(delta))));
    const width = BigInt(s.width);
    const overflowed = delta === 1 ? -(1n << (width - 1n)) : (1n << (width - 1n)) - 1n;
    const half = op('i32.eq', op('i32.and', op('i32.wrap_i64', result), i32(15)), i32(delta === 1 ? 0 : 15));
    const bits = s.let(
      op('i32.or', op('i32.or', carry, s.bit(op('i64.eq', result, i64(overflowed)), EFL.OF)), s.bit(half, EFL.AF)),
    );
    s.set(0, result);
    s.flagsResult(result, bits);
  };

/** High 64 bits of an unsigned product, from four 32-bit products. */
export function highUnsigned(s: Sem, a: Expr, b: Expr): Expr {
  const mask = i64(0xffffffffn);
  const [al, ah] = [s.let(op('i64.and', a, mask)), s.let(op('i64.shr_u', a, i64(32)))];
  const [bl, bh] = [s.let(op('i64.and', b, mask)), s.let(op('i64.shr_u', b, i64(32)))];
  const low = s.let(op('i64.add', op('i64.mul', ah, bl), op('i64.shr_u', op('i64.mul', al, bl), i64(32))));
  const mid = s.let(op('i64.add', op('i64.mul', al, bh), op('i64.and', low, mask)));
  return s.let(
    op('i64.add', op('i64.add', op('i64.mul', ah, bh), op('i64.shr_u', low, i64(32))), op('i64.shr_u', mid, i64(32))),
  );
}
/** High 64 bits of a signed product. */
function highSigned(s: Sem, a: Expr, b: Expr): Expr {
  const high = highUnsigned(s, a, b);
  const correction = op(
    'i64.add',
    op('i64.and', op('i64.shr_s', a, i64(63)), b),
    op('i64.and', op('i64.shr_s', b, i64(63)), a),
  );
  return s.let(op('i64.sub', high, correction));
}

const overflowFlags = (s: Sem, overflow: Expr, result: Expr): void =>
  s.flagsResult(result, s.let(op('i32.mul', overflow, i32(EFL.CF | EFL.OF))));

/** MUL and one-operand IMUL: rAX times the operand to rDX:rAX. */
const wideMultiply =
  (signed: boolean) =>
  (s: Sem): void => {
    const b = signed ? s.get(0) : s.getUnsigned(0);
    const a = s.let(s.gpr(0, s.width, signed));
    if (s.width === 64) {
      const low = s.let(op('i64.mul', a, b));
      const high = signed ? highSigned(s, a, b) : highUnsigned(s, a, b);
      s.setGpr(0, low, 64);
      s.setGpr(2, high, 64);
      overflowFlags(s, s.let(op('i64.ne', high, signed ? op('i64.shr_s', low, i64(63)) : i64(0))), low);
      return;
    }
    const product = s.let(op('i64.mul', a, b));
    const low = s.let(s.signExtend(product));
    const fits = signed ? low : s.zeroExtend(product);
    const overflow = s.let(op('i64.ne', product, fits));
    if (s.width === 8) s.setGpr(0, product, 16);
    else {
      s.setGpr(0, product, s.width);
      s.setGpr(2, op('i64.shr_u', product, i64(s.width)), s.width);
    }
    overflowFlags(s, overflow, low);
  };

/** DIV and IDIV where the dividend fits 64 bits; the rest is left to TypeScript. */
const divide =
  (signed: boolean) =>
  (s: Sem): void => {
    const width = s.width;
    const divisor = signed ? s.get(0) : s.getUnsigned(0);
    s.if(op('i64.eqz', divisor), () => s.raise(0, -1));
    let dividend: Expr;
    if (width === 8) dividend = s.let(s.gpr(0, 16, signed));
    else if (width === 64) {
      dividend = s.let(s.gpr(0, 64));
      const high = s.gpr(2, 64);
      s.if(op('i64.ne', high, signed ? op('i64.shr_s', dividend, i64(63)) : i64(0)), () => s.bail());
      if (signed) {
        const extreme = op('i32.and', op('i64.eq', divisor, i64(-1)), op('i64.eq', dividend, i64(-(1n << 63n))));
        s.if(extreme, () => s.raise(0, -1));
      }
    } else {
      const high = op('i64.shl', s.gpr(2, width, signed), i64(width));
      dividend = s.let(op('i64.or', high, s.gpr(0, width, false)));
      // The one 32-bit case whose quotient does not fit 64 bits either.
      if (signed && width === 32) {
        const extreme = op('i32.and', op('i64.eq', divisor, i64(-1)), op('i64.eq', dividend, i64(-(1n << 63n))));
        s.if(extreme, () => s.raise(0, -1));
      }
    }
    const quotient = s.let(op(signed ? 'i64.div_s' : 'i64.div_u', dividend, divisor));
    const remainder = s.let(op('i64.sub', dividend, op('i64.mul', quotient, divisor)));
    if (width !== 64) {
      const fits = signed ? s.signExtend(quotient) : s.zeroExtend(quotient);
      s.if(op('i64.ne', quotient, fits), () => s.raise(0, -1));
    }
    if (width === 8) {
      s.setGpr(0, op('i64.or', s.zeroExtend(quotient, 8), op('i64.shl', s.zeroExtend(remainder, 8), i64(8))), 16);
    } else {
      s.setGpr(0, quotient, width);
      s.setGpr(2, remainder, width);
    }
  };

export const arithmetic: Definitions = {
  ADD: (s) => {
    const a = s.modify(0);
    const b = s.get(1);
    s.set(0, op('i64.add', a, b));
    s.flagsAdd(a, b);
  },
  SUB: (s) => {
    const a = s.modify(0);
    const b = s.get(1);
    s.set(0, op('i64.sub', a, b));
    s.flagsSub(a, b);
  },
  CMP: (s) => s.flagsSub(s.get(0), s.get(1)),
  AND: logic('i64.and'),
  OR: logic('i64.or'),
  XOR: logic('i64.xor'),
  TEST: (s) => s.flagsLogic(s.let(op('i64.and', s.get(0), s.get(1)))),
  ADC: withCarry(false),
  SBB: withCarry(true),
  INC: step(1),
  DEC: step(-1),
  NEG: (s) => {
    const a = s.modify(0);
    s.set(0, op('i64.sub', i64(0), a));
    s.flagsSub(i64(0), a);
  },
  NOT: (s) => s.set(0, op('i64.xor', s.modify(0), i64(-1))),
  MUL: wideMultiply(false),
  IMUL1: wideMultiply(true),
  IMUL: (s) => {
    const a = s.get(s.forms.length - 2);
    const b = s.get(s.forms.length - 1);
    const product = s.let(op('i64.mul', a, b));
    if (s.width === 64) {
      const high = highSigned(s, a, b);
      s.set(0, product);
      overflowFlags(s, s.let(op('i64.ne', high, op('i64.shr_s', product, i64(63)))), product);
    } else {
      const low = s.let(s.signExtend(product));
      const overflow = s.let(op('i64.ne', low, product));
      s.set(0, low);
      overflowFlags(s, overflow, low);
    }
  },
  DIV: divide(false),
  IDIV: divide(true),
  XADD: (s) => {
    const a = s.modify(0);
    const b = s.get(1);
    s.set(1, a);
    s.set(0, op('i64.add', a, b));
    s.flagsAdd(a, b);
  },
  CMPXCHG: (s) => {
    const destination = s.modify(0);
    const source = s.get(1);
    const accumulator = s.let(s.gpr(0, s.width));
    const equal = s.let(op('i64.eq', accumulator, destination));
    // The destination is written in both cases; a 32-bit register not equal is left as it is.
    if (s.forms[0]!.kind === 'm') s.set(0, select(equal, source, destination));
    else s.if(equal, () => s.set(0, source));
    s.if(op('i32.eqz', equal), () => s.setGpr(0, destination, s.width));
    s.flagsSub(accumulator, destination);
  },
  CMPXCHG8B: (s) => {
    const address = s.let(s.address());
    const host = s.let(s.translate(address, 8, true));
    const memory = s.let({ kind: 'op', type: 'l', args: [host], bytes: [0x29, 0, 0] });
    const wanted = s.let(op('i64.or', op('i64.shl', s.gpr(2, 32, false), i64(32)), s.gpr(0, 32, false)));
    const fresh = s.let(op('i64.or', op('i64.shl', s.gpr(1, 32, false), i64(32)), s.gpr(3, 32, false)));
    const equal = s.let(op('i64.eq', memory, wanted));
    const flags = s.let(op('i32.or', op('i32.and', s.eflags(), i32(~EFL.ZF)), s.bit(equal, EFL.ZF)));
    s.storeAt(address, 64, select(equal, fresh, memory));
    s.if(op('i32.eqz', equal), () => {
      s.setGpr(0, memory, 32);
      s.setGpr(2, op('i64.shr_u', memory, i64(32)), 32);
    });
    s.flagsBits(flags);
  },
  CMPXCHG16B: (s) => {
    const address = s.let(s.address());
    s.if(op('i64.ne', op('i64.and', address, i64(15)), i64(0)), () => s.bail());
    const host = s.let(s.translate(address, 16, true));
    const [low, high] = [s.let(load('i64.load', host)), s.let(load('i64.load', host, 8))];
    const different = op('i64.or', op('i64.xor', low, s.gpr(0)), op('i64.xor', high, s.gpr(2)));
    const equal = s.let(op('i64.eqz', different));
    const flags = s.let(op('i32.or', op('i32.and', s.eflags(), i32(~EFL.ZF)), s.bit(equal, EFL.ZF)));
    s.f.store('i64.store', host, select(equal, s.gpr(3), low));
    s.f.store('i64.store', host, select(equal, s.gpr(1), high), 8);
    s.stored(host);
    s.if(op('i32.eqz', equal), () => {
      s.setGpr(0, low);
      s.setGpr(2, high);
    });
    s.flagsBits(flags);
  },
};
