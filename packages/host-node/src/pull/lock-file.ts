/** The record of a pull, beside what was pulled: where it came from, and every checksum. */
import { writeWhole } from '../files.js';
import { sha256 } from './source.js';

export interface LockedFile {
  readonly file: string;
  readonly size: number;
  readonly sha256: string;
}

export interface LockedPackage extends LockedFile {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

export interface LockFile {
  readonly lockVersion: 1;
  readonly guest: string;
  readonly source: Readonly<Record<string, string>>;
  readonly packages: readonly LockedPackage[];
  /** What was made from them. */
  readonly files: readonly LockedFile[];
}

export const lockFileName = 'lock.json';

export function lockedFile(file: string, bytes: Uint8Array): LockedFile {
  return { file, size: bytes.length, sha256: sha256(bytes) };
}

export function writeLockFile(path: string, lock: LockFile): void {
  writeWhole(path, `${JSON.stringify(lock, null, 2)}\n`);
}
