/** The one place where each instruction's meaning is looked up by mnemonic. */
import type { Sem } from '../sem.js';
import { arithmetic } from './arithmetic.js';
import { bits } from './bits.js';
import { bmi } from './bmi.js';
import { control } from './control.js';
import { data } from './data.js';
import { withMmx } from './mmx.js';
import { shifts } from './shifts.js';
import { sse } from './sse.js';
import { string } from './string.js';
import { x87 } from './x87.js';

export type Definition = (s: Sem) => void;
export type Definitions = Record<string, Definition>;

export const DEFINITIONS: ReadonlyMap<string, Definition> = new Map(
  Object.entries(
    withMmx({ ...arithmetic, ...bits, ...bmi, ...control, ...data, ...shifts, ...sse, ...string, ...x87 }),
  ),
);
