/** Sum, product, quotient and root of 80-bit values, as exact values that are yet to be rounded. */
import { type Expr, type FunctionBuilder, i32, i64, type Label, op, select } from '@paravane/wasm-emit';
import {
  add,
  and,
  BIAS,
  DOWN,
  declineIf,
  type Exact,
  exponent,
  INTEGER_BIT,
  isNormal,
  isZero,
  not,
  or,
  ROUNDING,
  SIGN,
  sub,
  toWide,
  type Value,
  wideProduct,
} from './parts.js';

const signOf = ({ head }: Value): Expr => and(head, SIGN);
const signOfBoth = (a: Value, b: Value): Expr => and(op('i32.xor', a.head, b.head), SIGN);
const wrap = (value: Expr): Expr => op('i32.wrap_i64', value);

/** An exact zero, which needs no rounding. */
function setZero(f: FunctionBuilder, result: Exact, sign: Expr, done: Label): void {
  f.set(result.sign, sign);
  f.set(result.exp, i32(0));
  f.set(result.sig, i64(0));
  f.br(done);
}
/** Where an operand is not normal: declines unless it is zero, and tells what to do then. */
function unlessNormal(f: FunctionBuilder, a: Value, b: Value, zeros: (aIsZero: Expr, bIsZero: Expr) => void): void {
  const [aIsNormal, bIsNormal] = [isNormal(f, a), isNormal(f, b)];
  f.ifUnlikely(not(and(aIsNormal, bIsNormal)), () => {
    const [aIsZero, bIsZero] = [f.let(isZero(a)), f.let(isZero(b))];
    declineIf(f, not(and(or(aIsNormal, aIsZero), or(bIsNormal, bIsZero))));
    zeros(aIsZero, bIsZero);
  });
}

/** a + b. Branches to `done` with an exact zero. `a` and `b` are locals that may be changed. */
export function exactSum(f: FunctionBuilder, fcw: Expr, a: Value, b: Value, result: Exact, done: Label): void {
  const { sign, exp, sig, below } = result;
  const zeroSign = (): Expr => select(op('i32.eq', and(fcw, ROUNDING), i32(DOWN)), i32(SIGN), i32(0));
  const take = (value: Value): void => {
    f.set(sign, signOf(value));
    f.set(exp, exponent(value));
    f.set(sig, value.sig);
  };
  f.set(below, i64(0));
  f.block((summed) => {
    unlessNormal(f, a, b, (aIsZero, bIsZero) => {
      f.if(and(aIsZero, bIsZero), () => setZero(f, result, select(signOfBoth(a, b), zeroSign(), signOf(a)), done));
      f.if(
        aIsZero,
        () => take(b),
        () => take(a),
      );
      f.br(summed);
    });
    const distance = f.local('i');
    f.set(distance, sub(exponent(a), exponent(b)));
    const swaps = or(op('i32.lt_s', distance, i32(0)), and(not(distance), op('i64.lt_u', a.sig, b.sig)));
    f.if(swaps, () => {
      const [head, significand] = [f.let(a.head), f.let(a.sig)];
      f.set(a.head, b.head);
      f.set(a.sig, b.sig);
      f.set(b.head, head);
      f.set(b.sig, significand);
      f.set(distance, sub(i32(0), distance));
    });
    take(a);
    alignSmaller(f, distance, b.sig, below);
    f.if(
      signOfBoth(a, b),
      () => {
        const borrow = op('i64.extend_i32_u', op('i64.ne', below, i64(0)));
        f.set(sig, op('i64.sub', op('i64.sub', sig, b.sig), borrow));
        f.set(below, op('i64.sub', i64(0), below));
        f.ifUnlikely(op('i64.eqz', sig), () => {
          f.if(op('i64.eqz', below), () => setZero(f, result, zeroSign(), done));
          f.set(sig, below);
          f.set(below, i64(0));
          f.set(exp, sub(exp, 64));
        });
        f.if(op('i64.ge_s', sig, i64(0)), () => {
          const shift = f.let(op('i64.clz', sig));
          const moved = op('i64.shr_u', below, op('i64.sub', i64(64), shift));
          f.set(sig, op('i64.or', op('i64.shl', sig, shift), moved));
          f.set(below, op('i64.shl', below, shift));
          f.set(exp, sub(exp, wrap(shift)));
        });
      },
      () => {
        f.set(sig, op('i64.add', sig, b.sig));
        f.if(op('i64.lt_u', sig, b.sig), () => {
          const lost = op('i64.or', op('i64.shr_u', below, i64(1)), op('i64.and', below, i64(1)));
          f.set(below, op('i64.or', lost, op('i64.shl', sig, i64(63))));
          f.set(sig, op('i64.or', op('i64.shr_u', sig, i64(1)), i64(INTEGER_BIT)));
          f.set(exp, add(exp, 1));
        });
      },
    );
  });
}
/** Moves a significand `distance` bits down, into the 64 bits below it. */
function alignSmaller(f: FunctionBuilder, distance: Expr, sig: Expr, below: Expr): void {
  const by = f.let(toWide(distance));
  f.if(
    op('i32.lt_u', distance, i32(64)),
    () =>
      f.if(distance, () => {
        f.set(below, op('i64.shl', sig, op('i64.sub', i64(64), by)));
        f.set(sig, op('i64.shr_u', sig, by));
      }),
    () => {
      f.set(below, i64(1));
      f.if(op('i32.lt_u', distance, i32(128)), () => {
        const kept = f.let(op('i64.shr_u', sig, by));
        const lost = op('i64.ne', op('i64.shl', kept, by), sig);
        f.set(below, op('i64.or', kept, toWide(lost)));
      });
      f.set(sig, i64(0));
    },
  );
}

export function exactProduct(f: FunctionBuilder, a: Value, b: Value, result: Exact, done: Label): void {
  const { sign, exp, sig, below } = result;
  unlessNormal(f, a, b, () => setZero(f, result, signOfBoth(a, b), done));
  const [high, low] = wideProduct(f, a.sig, b.sig);
  f.set(sign, signOfBoth(a, b));
  f.set(exp, sub(add(exponent(a), exponent(b)), BIAS - 1));
  f.set(sig, high);
  f.set(below, low);
  f.if(op('i64.ge_s', high, i64(0)), () => {
    f.set(sig, op('i64.or', op('i64.shl', high, i64(1)), op('i64.shr_u', low, i64(63))));
    f.set(below, op('i64.shl', low, i64(1)));
    f.set(exp, sub(exp, 1));
  });
}

/** Stands for a remainder in units of the divisor: nothing, below a half, a half, above. */
function restOf(f: FunctionBuilder, rest: Expr, whole: Expr): Expr {
  const other = f.let(op('i64.sub', whole, rest));
  const more = select(op('i64.gt_u', rest, other), i64(INTEGER_BIT | 1n), i64(1));
  const some = select(op('i64.eq', rest, other), i64(INTEGER_BIT), more);
  return select(op('i64.eqz', rest), i64(0), some);
}
/** a ÷ b for b not zero, by two digits of 32 bits (Knuth, TAOCP vol. 2, 4.3.1, algorithm D). */
export function exactQuotient(f: FunctionBuilder, a: Value, b: Value, result: Exact, done: Label): void {
  const { sign, exp, sig, below } = result;
  unlessNormal(f, a, b, (_, bIsZero) => {
    declineIf(f, bIsZero);
    setZero(f, result, signOfBoth(a, b), done);
  });
  f.set(sign, signOfBoth(a, b));
  const smaller = f.let(op('i64.lt_u', a.sig, b.sig));
  f.set(exp, sub(add(sub(exponent(a), exponent(b)), BIAS), smaller));
  // The dividend, 128 bits, whose high half is below the divisor.
  const rest = f.local('l');
  f.set(rest, op('i64.shr_u', a.sig, toWide(not(smaller))));
  const low = f.let(select(smaller, i64(0), op('i64.shl', a.sig, i64(63))));
  const [high, rightmost] = [f.let(op('i64.shr_u', b.sig, i64(32))), f.let(op('i64.and', b.sig, i64(0xffffffffn)))];
  const digit = (next: Expr): Expr => {
    const guess = f.local('l');
    f.set(guess, op('i64.div_u', rest, high));
    const left = f.local('l');
    f.set(left, op('i64.sub', rest, op('i64.mul', guess, high)));
    const nextDigit = f.let(next);
    f.loop((again) => {
      const tooLarge = or(
        op('i64.ge_u', guess, i64(1n << 32n)),
        op('i64.gt_u', op('i64.mul', guess, rightmost), op('i64.or', op('i64.shl', left, i64(32)), nextDigit)),
      );
      f.if(tooLarge, () => {
        f.set(guess, op('i64.sub', guess, i64(1)));
        f.set(left, op('i64.add', left, high));
        f.brIf(op('i64.lt_u', left, i64(1n << 32n)), again);
      });
    });
    const brought = op('i64.or', op('i64.shl', rest, i64(32)), nextDigit);
    f.set(rest, op('i64.sub', brought, op('i64.mul', guess, b.sig)));
    return guess;
  };
  const first = digit(op('i64.shr_u', low, i64(32)));
  const second = digit(op('i64.and', low, i64(0xffffffffn)));
  f.set(sig, op('i64.add', op('i64.shl', first, i64(32)), second));
  f.set(below, restOf(f, rest, b.sig));
}

/** The root of a positive value, or of a zero. */
export function exactRoot(f: FunctionBuilder, a: Value, result: Exact, done: Label): void {
  const { sign, exp, sig, below } = result;
  const normal = isNormal(f, a);
  f.ifUnlikely(not(normal), () => {
    declineIf(f, not(isZero(a)));
    setZero(f, result, signOf(a), done);
  });
  declineIf(f, signOf(a));
  const e = f.let(sub(exponent(a), BIAS));
  const odd = f.let(and(e, 1));
  f.set(sign, i32(0));
  f.set(exp, add(op('i32.shr_s', sub(e, odd), i32(1)), BIAS));
  // The root of a 128-bit number, which has 64 bits: first by the host's root, which is right in 53 of them.
  const high = f.let(op('i64.shr_u', a.sig, toWide(not(odd))));
  const low = f.let(select(odd, i64(0), op('i64.shl', a.sig, i64(63))));
  const scale = (value: Expr): Expr => op('f64.mul', value, { kind: 'const', type: 'd', value: 2 ** 32 });
  const root = f.local('l');
  f.set(root, op('i64.trunc_sat_f64_u', scale(op('f64.sqrt', op('f64.convert_i64_u', high)))));
  const [restHigh, restLow] = [f.local('l'), f.local('l')];
  const remainder = (): void => {
    const [squareHigh, squareLow] = wideProduct(f, root, root);
    const borrow = op('i64.extend_i32_u', op('i64.lt_u', low, squareLow));
    f.set(restHigh, op('i64.sub', op('i64.sub', high, squareHigh), borrow));
    f.set(restLow, op('i64.sub', low, squareLow));
  };
  f.scope(remainder);
  // What is left, by the root's double, is what the root lacks.
  const left = op(
    'f64.add',
    op('f64.mul', op('f64.convert_i64_s', restHigh), { kind: 'const', type: 'd', value: 2 ** 64 }),
    op('f64.convert_i64_u', restLow),
  );
  const lacks = op(
    'f64.div',
    left,
    op('f64.mul', op('f64.convert_i64_u', root), { kind: 'const', type: 'd', value: 2 }),
  );
  const better = f.let(op('i64.add', root, op('i64.trunc_sat_f64_s', lacks)));
  // Where the sum goes beyond 64 bits, the root is the largest number.
  const wrapped = op('i64.ge_s', better, i64(0));
  f.set(root, select(wrapped, i64(-1), better));
  f.scope(remainder);
  const change = (by: 1 | -1): void => {
    // Taking one from the root adds 2 × root − 1 to what is left; adding one takes 2 × root + 1.
    const before = by < 0 ? f.let(op('i64.sub', root, i64(1))) : root;
    const twiceHigh = f.let(op('i64.shr_u', before, i64(63)));
    const twiceLow = f.let(op('i64.or', op('i64.shl', before, i64(1)), i64(1)));
    const sum = f.let(op(by < 0 ? 'i64.add' : 'i64.sub', restLow, twiceLow));
    const carry = by < 0 ? op('i64.lt_u', sum, twiceLow) : op('i64.lt_u', restLow, twiceLow);
    const step = op('i64.add', twiceHigh, toWide(carry));
    f.set(restHigh, op(by < 0 ? 'i64.add' : 'i64.sub', restHigh, step));
    f.set(restLow, sum);
    f.set(root, op('i64.add', root, i64(by)));
  };
  f.loop((again) => {
    f.if(op('i64.lt_s', restHigh, i64(0)), () => {
      change(-1);
      f.br(again);
    });
  });
  f.loop((again) => {
    // More than twice the root is left.
    const twiceHigh = op('i64.shr_u', root, i64(63));
    const twiceLow = op('i64.shl', root, i64(1));
    const more = or(
      op('i64.gt_s', restHigh, twiceHigh),
      and(op('i64.eq', restHigh, twiceHigh), op('i64.gt_u', restLow, twiceLow)),
    );
    f.if(more, () => {
      change(1);
      f.br(again);
    });
  });
  f.set(sig, root);
  const aboveHalf = or(op('i64.ne', restHigh, i64(0)), op('i64.gt_u', restLow, root));
  const some = select(aboveHalf, i64(INTEGER_BIT | 1n), i64(1));
  f.set(below, select(op('i64.eqz', op('i64.or', restHigh, restLow)), i64(0), some));
}
