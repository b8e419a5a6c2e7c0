/** The last lines that a console showed, kept for a crash report. Bytes are kept as they came, read as Latin-1. */
export interface ConsoleTail {
  add(bytes: Uint8Array): void;
  /** Oldest first, without escape sequences and carriage returns, without empty lines at the end. */
  lines(): string[];
}

export function createConsoleTail(lineCount = 50, longestLine = 400): ConsoleTail {
  const kept: string[] = [];
  let current = '';
  return {
    add(bytes) {
      for (const byte of bytes) {
        if (byte === 10) {
          kept.push(current);
          if (kept.length > lineCount) kept.shift();
          current = '';
        } else if (current.length < longestLine) {
          current += String.fromCharCode(byte);
        }
      }
    },
    lines() {
      const all = [...kept, current].map(plain).slice(-lineCount);
      while (all.length > 0 && all.at(-1) === '') all.pop();
      return all;
    },
  };
}

function plain(line: string): string {
  return line.replace(/\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])/g, '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
}
