/** Conversions between XMM and MMX registers (Intel SDM vol. 2). They enter MMX before their exceptions are raised. */
import { DOUBLE, type Format, fromInteger, Rounding, SINGLE, toInteger } from '../softfloat.js';
import { State } from '../state.js';
import { checkMmx, claimRegisters } from './mmx.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { calculate, getLane, register, setLane, source } from './sse-access.js';

const mmxPlace = (c: SlowCpu, i: number): number => {
  const operand = c.insn.operands[i]!;
  return c.base + State.x87 + 16 * (operand.kind === 'p' ? operand.n : 0);
};

const toMmx =
  (from: Format, truncate: boolean): SlowDefinition =>
  (c) => {
    checkMmx(c);
    const a = source(c, 1);
    claimRegisters(c);
    const [low, high] = calculate(c, (context) =>
      [0, 1].map((lane) =>
        toInteger(context, from, getLane(a, from, lane), 32, truncate ? Rounding.zero : context.rounding),
      ),
    );
    c.view.setBigUint64(mmxPlace(c, 0), low! | (high! << 32n), true);
    c.view.setUint16(mmxPlace(c, 0) + 8, 0xffff, true);
  };
/** From memory MMX is left alone. */
const fromMmx =
  (to: Format): SlowDefinition =>
  (c) => {
    const inMemory = c.insn.operands[1]!.kind === 'm';
    if (!inMemory) checkMmx(c);
    const both = inMemory ? c.load(c.address(), 8) : c.view.getBigUint64(mmxPlace(c, 1), true);
    if (!inMemory) claimRegisters(c);
    const results = calculate(c, (context) =>
      [both, both >> 32n].map((value) => fromInteger(context, to, BigInt.asIntN(32, value))),
    );
    for (const [lane, value] of results.entries()) setLane(register(c, 0), to, lane, value);
  };

export const sseMmx: SlowDefinitions = {
  CVTPS2PI: toMmx(SINGLE, false),
  CVTTPS2PI: toMmx(SINGLE, true),
  CVTPD2PI: toMmx(DOUBLE, false),
  CVTTPD2PI: toMmx(DOUBLE, true),
  CVTPI2PS: fromMmx(SINGLE),
  CVTPI2PD: fromMmx(DOUBLE),
};
