/**
 * What a terminal shows: lines of text and a cursor. Of the control sequences of ECMA-48 it does those that shells and
 * kernels use to edit lines and to clear; colours and the rest are read over.
 */
export const ROWS = 25;
export const COLUMNS = 80;
/** Lines kept above the screen. */
const HISTORY = 2000;

export interface Screen {
  write(bytes: Uint8Array): void;
  /** All lines, the history first. */
  text(): string;
  /** Of the cursor, in `text()`. */
  position(): { readonly line: number; readonly column: number };
}

/** @param answer takes what the terminal says itself: where its cursor is, when asked */
export function createScreen(answer: (bytes: Uint8Array) => void): Screen {
  const decoder = new TextDecoder();
  let lines: string[] = [''];
  /** Of the cursor; rows count from the top of the screen, which is the last ROWS lines. */
  let line = 0;
  let column = 0;
  /** A sequence that has begun. */
  let pending = '';

  const top = (): number => Math.max(0, lines.length - ROWS);
  const goTo = (row: number, to: number): void => {
    line = top() + Math.min(Math.max(row, 0), ROWS - 1);
    while (lines.length <= line) lines.push('');
    column = Math.min(Math.max(to, 0), COLUMNS - 1);
  };
  const feed = (): void => {
    line++;
    if (line === lines.length) lines.push('');
    if (lines.length > HISTORY + ROWS) {
      lines = lines.slice(-HISTORY);
      line = lines.length - 1;
    }
  };
  const put = (character: string): void => {
    if (column === COLUMNS) {
      feed();
      column = 0;
    }
    const old = lines[line]!.padEnd(column);
    lines[line] = old.slice(0, column) + character + old.slice(column + 1);
    column++;
  };

  function control(sequence: string): void {
    const final = sequence.at(-1)!;
    const [first = 0, second = 0] = sequence
      .slice(2, -1)
      .split(';')
      .map((word) => Number.parseInt(word, 10) || 0);
    const row = line - top();
    const by = Math.max(first, 1);
    const here = lines[line]!;
    if (final === 'A') goTo(row - by, column);
    else if (final === 'B') goTo(row + by, column);
    else if (final === 'C') goTo(row, column + by);
    else if (final === 'D') goTo(row, column - by);
    else if (final === 'G') goTo(row, by - 1);
    else if (final === 'H' || final === 'f') goTo(by - 1, Math.max(second, 1) - 1);
    else if (final === 'K') {
      if (first === 0) lines[line] = here.slice(0, column);
      else lines[line] = first === 1 ? here.slice(column).padStart(here.length) : '';
    } else if (final === 'J') {
      if (first === 0) {
        lines[line] = here.slice(0, column);
        lines.length = line + 1;
      } else if (first >= 2) lines = lines.map((text, i) => (i < top() ? text : ''));
    } else if (final === 'P') lines[line] = here.slice(0, column) + here.slice(column + by);
    else if (final === 'n' && first === 6) answer(new TextEncoder().encode(`\x1b[${row + 1};${column + 1}R`));
  }

  function take(character: string): void {
    if (pending !== '') {
      pending += character;
      const complete = pending.length === 2 ? !/[[()]/.test(character) : /^\x1b[()]|[@-~]$/.test(pending);
      if (!complete && pending.length < 64) return;
      if (pending.startsWith('\x1b[') && complete) control(pending);
      pending = '';
    } else if (character === '\x1b') pending = character;
    else if (character === '\n') feed();
    else if (character === '\r') column = 0;
    else if (character === '\b') column = Math.max(0, column - 1);
    else if (character === '\t') column = Math.min(COLUMNS - 1, (column | 7) + 1);
    else if (character >= ' ' && character !== '\x7f') put(character);
  }

  return {
    write(bytes) {
      for (const character of decoder.decode(bytes, { stream: true })) take(character);
    },
    text: () => lines.join('\n'),
    position: () => ({ line, column }),
  };
}
