/** SSE to SSE4.2: what is generated; the rest is in `slow/sse.ts` (Intel SDM vol. 2). */
import type { Definitions } from './definitions.js';
import { sse4 } from './sse4.js';
import { sseConvert } from './sse-convert.js';
import { sseFloat } from './sse-float.js';
import { sseInt } from './sse-int.js';
import { sseMove } from './sse-move.js';

export const sse: Definitions = { ...sseMove, ...sseInt, ...sse4, ...sseFloat, ...sseConvert };
