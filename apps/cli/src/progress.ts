/** A bar on a terminal, for work that takes a while. Where standard error is no terminal, nothing is printed. */
import type { CliContext } from './context.js';

export interface Progress {
  /** From 0 to 1. */
  show(part: number, words?: string): void;
  /** Takes the bar away. */
  end(): void;
}

const width = 40;

export function createProgress(context: CliContext, what: string): Progress {
  const { stderr } = context.process;
  let shown = '';
  return {
    show(part, words = '') {
      if (stderr.isTTY !== true) return;
      const filled = Math.round(Math.min(Math.max(part, 0), 1) * width);
      const percent = String(Math.floor(part * 100)).padStart(3);
      const line = `${what} [${'#'.repeat(filled)}${' '.repeat(width - filled)}] ${percent} %${words === '' ? '' : `  ${words}`}`;
      if (line === shown) return;
      stderr.write(`\r${line}${' '.repeat(Math.max(shown.length - line.length, 0))}`);
      shown = line;
    },
    end() {
      if (shown !== '') stderr.write(`\r${' '.repeat(shown.length)}\r`);
      shown = '';
    },
  };
}

/** Bytes in the largest unit that leaves a number of 1 or more. */
export function bytesInWords(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1);
  const value = bytes / 1024 ** step;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[step]}`;
}
