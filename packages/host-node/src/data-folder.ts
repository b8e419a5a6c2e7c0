/** Where pulled guests live: `$PARAVANE_HOME`, else `paravane` in the user's data folder. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function dataFolder(environment: Readonly<Record<string, string | undefined>>): string {
  if (environment.PARAVANE_HOME) return environment.PARAVANE_HOME;
  if (environment.XDG_DATA_HOME) return join(environment.XDG_DATA_HOME, 'paravane');
  return join(homedir(), '.local', 'share', 'paravane');
}
