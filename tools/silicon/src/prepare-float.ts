/** Sets up MXCSR and the x87 control word: rounding, precision, flush and denormal modes, masked and unmasked. */

import { chance, type Draft, pick } from './draft.js';

export function prepareFloat(draft: Draft): void {
  const { rng, initial } = draft;
  if (chance(rng, 30)) return;
  const rounding = rng.below(4);
  const masks = chance(rng, 75) ? 0x3f : rng.below(64);
  const sticky = chance(rng, 60) ? 0 : rng.below(64);
  initial.mxcsr =
    (rounding << 13) | (masks << 7) | sticky | (chance(rng, 20) ? 0x40 : 0) | (chance(rng, 20) ? 0x8000 : 0);
  const precision = pick(rng, [3, 3, 2, 0]);
  initial.x87.fcw = 0x40 | (rounding << 10) | (precision << 8) | (chance(rng, 80) ? 0x3f : rng.below(64));
}
