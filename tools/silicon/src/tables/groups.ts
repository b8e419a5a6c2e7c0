/** All groups: one stored file each. */

import type { Profile } from '../../../../packages/x86/silicon/state.js';
import { INTEGER_GROUPS } from './integer.js';
import { VECTOR } from './vector.js';
import { X87 } from './x87.js';

export interface Line {
  line: string;
  profile: Profile;
}

function withProfile(lines: string[], profile: Profile): Line[] {
  return lines.map((line) => ({ line, profile }));
}

const integerGroups = Object.entries(INTEGER_GROUPS).map(([name, lines]) => [name, withProfile(lines, 'int')]);

export const GROUPS: Record<string, Line[]> = {
  ...(Object.fromEntries(integerGroups) as Record<string, Line[]>),
  'sse-single': withProfile(VECTOR.single, 'f32'),
  'sse-double': withProfile(VECTOR.double, 'f64'),
  'sse-convert': [
    ...withProfile(VECTOR.convertSingle, 'f32'),
    ...withProfile(VECTOR.convertDouble, 'f64'),
    ...withProfile(VECTOR.convertInteger, 'int'),
    ...withProfile(VECTOR.convertMmx, 'mmx'),
  ],
  'sse-move': withProfile(VECTOR.moves, 'int'),
  'sse-integer': withProfile(VECTOR.packedXmm, 'int'),
  ssse3: withProfile(VECTOR.ssse3, 'int'),
  sse4: withProfile(VECTOR.sse4, 'int'),
  crypto: withProfile(VECTOR.crypto, 'int'),
  mmx: withProfile(VECTOR.packedMmx, 'mmx'),
  // Registers filled: whether state that was loaded with its initial values is in use differs by processor.
  xsave: withProfile(VECTOR.xsaves, 'x87'),
  'x87-arithmetic': withProfile(X87.arithmetic, 'x87'),
  'x87-move': withProfile(X87.moves, 'x87'),
  'x87-control': withProfile(X87.control, 'x87'),
  'x87-transcendental': withProfile(X87.transcendental, 'x87'),
  'x87-alias': withProfile(X87.aliases, 'x87'),
  'sse4-more': withProfile(VECTOR.more, 'int'),
};
