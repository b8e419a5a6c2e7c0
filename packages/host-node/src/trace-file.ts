/** A file that takes lines fast: they are gathered and written a block at a time. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { ParavaneError } from '@paravane/types';
import { fileCause } from './files.js';

export interface TraceFile {
  /** Adds a line; the newline is put behind it. */
  write(line: string): void;
  /** Writes what is left. Calling it again does nothing. */
  close(): void;
}

const blockLength = 1 << 16;

/** `what` is in errors; so many characters are gathered before they are written, 0 for each line by itself. */
export function openTraceFile(file: string, { what = 'the trace', gather = blockLength } = {}): TraceFile {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'w');
  } catch (cause) {
    throw new ParavaneError('trace-unwritable', `cannot write ${what} to ${file}: ${fileCause(cause, file)}`, {
      cause,
      data: { file },
    });
  }
  let open = true;
  let gathered = '';
  const flush = (): void => {
    const block = gathered;
    gathered = '';
    try {
      writeSync(descriptor, block);
    } catch (cause) {
      throw new ParavaneError('file-unwritable', `cannot write ${file}: ${fileCause(cause)}`, {
        cause,
        data: { file },
      });
    }
  };
  return {
    write(line) {
      gathered += `${line}\n`;
      if (gathered.length >= gather) flush();
    },
    close() {
      if (!open) return;
      open = false;
      flush();
      closeSync(descriptor);
    },
  };
}
