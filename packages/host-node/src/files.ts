/** Files, with errors that name the file, the cause and the remedy. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ParavaneError } from '@paravane/types';

const causes: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied; check the permissions of it and of its folders',
  EPERM: 'permission denied; check the permissions of it and of its folders',
  EISDIR: 'it is a folder, not a file',
  ENOTDIR: 'a part of its path is not a folder',
  EMFILE: 'too many files are open',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
  EEXIST: 'a file is where a folder should be',
};

/** The cause of a failed file operation, in words. `made` is the file if it did not have to be there. */
export function fileCause(error: unknown, made?: string): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (made !== undefined && code === 'ENOENT') return `there is no folder ${dirname(made)}`;
  const known = typeof code === 'string' ? causes[code] : undefined;
  return known ?? (error instanceof Error ? error.message : String(error));
}

/** Reads a whole file. `what` names its part in the sentence of an error: "the kernel". */
export function readWhole(file: string, what: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new ParavaneError('file-unreadable', `cannot read ${what} ${file}: ${fileCause(cause)}`, {
      cause,
      data: { file },
    });
  }
}

/** Writes a whole file so that it is there complete or not at all; makes its folder where that is missing. */
export function writeWhole(file: string, content: Uint8Array | string): void {
  const unfinished = `${file}.${process.pid}.part`;
  try {
    mkdirSync(dirname(file), { recursive: true });
    try {
      writeFileSync(unfinished, content);
      renameSync(unfinished, file);
    } finally {
      rmSync(unfinished, { force: true });
    }
  } catch (cause) {
    throw new ParavaneError('file-unwritable', `cannot write ${file}: ${fileCause(cause)}`, { cause, data: { file } });
  }
}
