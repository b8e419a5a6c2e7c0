/** SSE to SSE4.2: what is generated; the rest is in `slow/sse.ts` (Intel SDM vol. 2). */
import { i32, load, op, type Sem } from '../sem.js';
import { State } from '../state.js';
import type { Definition, Definitions } from './definitions.js';
import { sseConvert } from './sse-convert.js';
import { sseFloat } from './sse-float.js';
import { sseInt } from './sse-int.js';
import { sseMove } from './sse-move.js';
import { sse4 } from './sse4.js';

const CR0_EM = 4;
const CR0_TS = 8;

/** #UD or #NM where XMM registers are not to be used now. */
const check = (s: Sem): void =>
  s.once('sse', () => {
    const cr0 = s.let(load('i32.load', s.statePlace(), State.sseTraps));
    s.f.ifUnlikely(op('i32.and', cr0, i32(CR0_EM | CR0_TS)), () => {
      s.if(op('i32.and', cr0, i32(CR0_EM)), () => s.raise(6, -1));
      s.raise(7, -1);
    });
  });
const checked =
  (definition: Definition): Definition =>
  (s) => {
    if (s.forms.some((form) => form.kind === 'x')) check(s);
    definition(s);
  };

export const sse: Definitions = Object.fromEntries(
  Object.entries({ ...sseMove, ...sseInt, ...sse4, ...sseFloat, ...sseConvert }).map(([mnemonic, definition]) => [
    mnemonic,
    checked(definition),
  ]),
);
