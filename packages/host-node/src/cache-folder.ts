/** Where what can be made anew is kept: `cache` in `$PARAVANE_HOME`, else `paravane` in the user's cache folder. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): string {
  if (environment.PARAVANE_HOME) return join(environment.PARAVANE_HOME, 'cache');
  if (environment.XDG_CACHE_HOME) return join(environment.XDG_CACHE_HOME, 'paravane');
  return join(homedir(), '.cache', 'paravane');
}
