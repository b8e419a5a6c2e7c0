/** x87 transcendental instructions (Intel SDM vol. 2). */
import { type F80, INDEFINITE, type Rounding } from '../softfloat80.js';
import {
  type Angles,
  angleOf,
  angles,
  powerLessOne,
  timesLogarithm,
  timesLogarithmOfSum,
} from '../softfloat80-functions.js';
import type { SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { enter, replaceResult, Status, type X87 } from './x87-unit.js';

/** A function of ST(1) and ST(0): the result replaces ST(1), and ST(0) is popped. */
const ofTwo =
  (operation: (second: F80, first: F80, r: Rounding) => F80): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    replaceResult(fpu, 1, [0, 1], () => operation(fpu.read(1), fpu.read(0), fpu.rounding), 1);
  };

/** A function of an angle in ST(0); C2 says that it is too large. `pushed` is what goes on top of the result. */
const ofAngle =
  (result: (a: Angles) => F80, pushed?: (a: Angles) => F80): SlowDefinition =>
  (c) => {
    const fpu = enter(c);
    fpu.setCodes(0, Status.C1 | Status.C2);
    const full = pushed !== undefined && !fpu.isEmpty(7);
    if (fpu.isEmpty(0) || full) {
      if (fpu.stackFault(!fpu.isEmpty(0))) writeBoth(fpu, INDEFINITE, pushed && INDEFINITE);
      return fpu.leave();
    }
    const all = angles(fpu.read(0), fpu.rounding);
    if (all.outOfRange) fpu.setCodes(Status.C2, Status.C2);
    else {
      const [first, second] = [result(all), pushed?.(all)];
      if (fpu.accept()) writeBoth(fpu, first, second);
    }
    fpu.leave();
  };
function writeBoth(fpu: X87, first: F80, second: F80 | undefined): void {
  fpu.write(0, first);
  if (second) fpu.push(second);
}

export const x87Transcendental: SlowDefinitions = {
  F2XM1: (c) => {
    const fpu = enter(c);
    replaceResult(fpu, 0, [0], () => powerLessOne(fpu.read(0), fpu.rounding));
  },
  FYL2X: ofTwo(timesLogarithm),
  FYL2XP1: ofTwo(timesLogarithmOfSum),
  FPATAN: ofTwo(angleOf),
  FSIN: ofAngle((a) => a.sine()),
  FCOS: ofAngle((a) => a.cosine()),
  FSINCOS: ofAngle(
    (a) => a.sine(),
    (a) => a.cosine(),
  ),
  FPTAN: ofAngle(
    (a) => a.tangent(),
    (a) => a.one,
  ),
};
