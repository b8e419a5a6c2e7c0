/** All groups: one stored file each. */

import type { Profile } from '../../../../packages/x86/silicon/state.js';
import { INTEGER_GROUPS } from './integer.js';

export interface Line {
  line: string;
  profile: Profile;
}

function withProfile(lines: string[], profile: Profile): Line[] {
  return lines.map((line) => ({ line, profile }));
}

export const GROUPS: Record<string, Line[]> = Object.fromEntries(
  Object.entries(INTEGER_GROUPS).map(([name, lines]) => [name, withProfile(lines, 'int')]),
);
