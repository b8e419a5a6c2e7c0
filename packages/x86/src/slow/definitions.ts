/** Instructions whose meaning is ordinary TypeScript, by mnemonic: the rare and the privileged ones. */
import { fxState } from './fx-state.js';
import { integerSlow } from './integer.js';
import { mmxSlow } from './mmx.js';
import type { SlowDefinition } from './slow-cpu.js';
import { sseSlow } from './sse.js';
import { stringSlow } from './string.js';
import { systemSlow } from './system.js';
import { x87Arithmetic } from './x87-arithmetic.js';
import { x87Control } from './x87-control.js';
import { x87Moves } from './x87-move.js';
import { x87Transcendental } from './x87-transcendental.js';
import { xsave } from './xsave.js';

export const SLOW_DEFINITIONS: ReadonlyMap<string, SlowDefinition> = new Map(
  Object.entries({
    ...integerSlow,
    ...stringSlow,
    ...systemSlow,
    ...mmxSlow,
    ...sseSlow,
    ...fxState,
    ...xsave,
    ...x87Arithmetic,
    ...x87Control,
    ...x87Moves,
    ...x87Transcendental,
  }),
);
