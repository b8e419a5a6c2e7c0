/**
 * Compiled code between runs: a file for each kernel or script that it was made from, BLAKE2b of its content first
 * (64 bytes). What is not whole is not used. Where it can't be read or written, all runs without it.
 *
 * The code that is kept runs in later processes as it is, so the folder is its owner's alone (0700). A file that somebody
 * else owns, or may write, is not read.
 */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeWhole } from './files.js';

const DIGEST_BYTES = 64;
/** Of all files; those that were written first go. */
const MOST_BYTES = 64 << 20;
const OTHERS_WRITE = 0o022;

const digest = (bytes: Uint8Array): Buffer => createHash('blake2b512').update(bytes).digest();

export interface KeptCode {
  /** What was kept last; null where there is none. */
  readonly bytes: Uint8Array | null;
  keep(bytes: Uint8Array): void;
}

/** Compiled code of what a kernel or a script has run. `failed` hears why it could not be kept. */
export function openKeptCode(folder: string, of: Uint8Array, failed: (cause: string) => void): KeptCode {
  const file = join(folder, `${digest(of).toString('hex').slice(0, 32)}.code`);
  return {
    get bytes() {
      return read(file);
    },
    keep(bytes) {
      try {
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        chmodSync(folder, 0o700);
        writeWhole(file, Buffer.concat([digest(bytes), bytes]));
        tidy(folder);
      } catch (error) {
        failed(error instanceof Error ? error.message : String(error));
      }
    },
  };
}

function read(file: string): Uint8Array | null {
  try {
    const { uid, mode } = statSync(file);
    if (uid !== (process.getuid?.() ?? uid) || (mode & OTHERS_WRITE) !== 0) return null;
    const whole = readFileSync(file);
    const bytes = whole.subarray(DIGEST_BYTES);
    return digest(bytes).equals(whole.subarray(0, DIGEST_BYTES)) ? bytes : null;
  } catch {
    return null;
  }
}

function tidy(folder: string): void {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.code'))
    .map((name) => ({ file: join(folder, name), ...sizeAndAge(join(folder, name)) }))
    .sort((a, b) => b.written - a.written);
  let bytes = 0;
  for (const { file, size } of files) {
    bytes += size;
    if (bytes > MOST_BYTES) rmSync(file, { force: true });
  }
}

/** Another process may have removed it. */
function sizeAndAge(file: string): { size: number; written: number } {
  const stat = statSync(file, { throwIfNoEntry: false });
  return { size: stat?.size ?? 0, written: stat?.mtimeMs ?? 0 };
}
