/** Bit tests, scans and counts (Intel SDM vol. 2). */
import { EFL, type Expr, i32, i64, op, type Sem, select } from '../sem.js';
import type { Definitions } from './definitions.js';

/**
 * BT and its kin. With a register offset and a memory operand the offset counts
 * from the operand's address over all of memory, in units of the operand size.
 */
const bitTest =
  (change: ((value: Expr, mask: Expr) => Expr) | null) =>
  (s: Sem): void => {
    const width = s.width;
    const offset = s.get(1);
    const inWord = s.let(op('i64.and', offset, i64(width - 1)));
    const far = s.forms[0]!.kind === 'm' && s.forms[1]!.kind === 'r';
    let value: Expr;
    let host: Expr | null = null;
    if (far) {
      const step = op('i64.mul', op('i64.shr_s', offset, i64(Math.log2(width))), i64(width / 8));
      const address = s.let(s.stackAddress(op('i64.add', s.address(), step)));
      if (change) {
        host = address;
        // Read through a translation for the write, so that the write can't fault.
        s.let(s.translate(address, width / 8, true));
      }
      value = s.loadAt(address, width);
    } else value = change ? s.modify(0) : s.get(0);
    const bit = s.let(op('i32.and', op('i32.wrap_i64', op('i64.shr_u', value, inWord)), i32(1)));
    const flags = s.let(op('i32.or', op('i32.and', s.eflags(), i32(~EFL.CF)), bit));
    if (change) {
      const result = s.let(change(value, op('i64.shl', i64(1), inWord)));
      if (host) s.storeAt(host, width, result);
      else s.set(0, result);
    }
    s.flagsBits(flags);
  };

/** BSF and BSR leave the destination as it was when the source is zero (as processors do). */
const scan =
  (forward: boolean) =>
  (s: Sem): void => {
    const source = s.getUnsigned(1);
    const index = forward ? op('i64.ctz', source) : op('i64.sub', i64(63), op('i64.clz', source));
    s.if(op('i64.ne', source, i64(0)), () => s.set(0, index));
    s.flagsBits(s.let(s.bit(op('i64.eqz', source), EFL.ZF)));
  };

const countZeros =
  (trailing: boolean) =>
  (s: Sem): void => {
    const source = s.getUnsigned(1);
    const result = s.let(
      trailing
        ? select(op('i64.eqz', source), i64(s.width), op('i64.ctz', source))
        : op('i64.sub', op('i64.clz', source), i64(64 - s.width)),
    );
    s.set(0, result);
    s.flagsBits(s.let(op('i32.or', s.bit(op('i64.eqz', result), EFL.ZF), op('i64.eqz', source))));
  };

export const bits: Definitions = {
  BT: bitTest(null),
  BTS: bitTest((value, mask) => op('i64.or', value, mask)),
  BTR: bitTest((value, mask) => op('i64.and', value, op('i64.xor', mask, i64(-1)))),
  BTC: bitTest((value, mask) => op('i64.xor', value, mask)),
  BSF: scan(true),
  BSR: scan(false),
  TZCNT: countZeros(true),
  LZCNT: countZeros(false),
  POPCNT: (s) => {
    const source = s.getUnsigned(1);
    s.set(0, op('i64.popcnt', source));
    s.flagsBits(s.let(s.bit(op('i64.eqz', source), EFL.ZF)));
  },
  BSWAP: (s) => {
    const a = s.get(0);
    const swapPairs = (value: Expr, shift: number, mask: bigint): Expr =>
      s.let(
        op(
          'i64.or',
          op('i64.and', op('i64.shr_u', value, i64(shift)), i64(mask)),
          op('i64.shl', op('i64.and', value, i64(mask)), i64(shift)),
        ),
      );
    const reversed = op('i64.rotl', swapPairs(swapPairs(a, 8, 0x00ff00ff00ff00ffn), 16, 0x0000ffff0000ffffn), i64(32));
    // With a 16-bit operand processors write zero.
    s.set(0, s.width === 64 ? reversed : s.width === 32 ? op('i64.shr_u', reversed, i64(32)) : i64(0));
  },
};
