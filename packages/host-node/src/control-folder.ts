/**
 * The folder of the control sockets of this user's processes: `$PARAVANE_RUN_DIR`, else `paravane` in
 * `$XDG_RUNTIME_DIR`, else a folder of the user's own among the temporary ones. Nobody else may look into it.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ParavaneError } from '@paravane/types';
import { fileCause } from './files.js';

export function controlFolder(environment: Readonly<Record<string, string | undefined>>): string {
  if (environment.PARAVANE_RUN_DIR) return environment.PARAVANE_RUN_DIR;
  if (environment.XDG_RUNTIME_DIR) return join(environment.XDG_RUNTIME_DIR, 'paravane');
  return join(tmpdir(), `paravane-${process.getuid?.() ?? 'user'}`);
}

/** Whether the folder is there. Throws where it is somebody else's or open to others: what is in it can't be trusted. */
export function checkControlFolder(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (found === undefined) return false;
  const owner = process.getuid?.();
  const own = owner === undefined || (found.uid === owner && (found.mode & 0o077) === 0);
  if (found.isDirectory() && own) return true;
  throw new ParavaneError(
    'host-run-folder',
    `${folder} is no folder that only you can enter: remove it, chmod it to 700, or set PARAVANE_RUN_DIR to another`,
    { data: { folder } },
  );
}

/** Makes the folder if need be. */
export function makeControlFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new ParavaneError(
      'host-run-folder',
      `cannot make ${folder}, the folder of control sockets: ${fileCause(cause)}; set PARAVANE_RUN_DIR to another`,
      { cause, data: { folder } },
    );
  }
  checkControlFolder(folder);
}
