/**
 * The syntax of xl configuration files, as xl.cfg(5) and xl's own grammar define it: `key = value` and `key += value`,
 * separated by newlines or semicolons; strings in single or double quotes with C escapes, numbers (decimal, octal with a
 * leading 0, hexadecimal with 0x), and lists, which may nest and span lines; comments from `#` to the end of the line.
 *
 * Every value and every complaint knows its line and column (both from 1). A bad statement is reported and skipped, so
 * that one reading finds all mistakes. What a key means is the business of `domain-config.ts`.
 */

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface Diagnostic extends Position {
  readonly severity: 'error' | 'warning';
  readonly message: string;
}

/** A string or a number. xl takes either where the other is expected, so both keep their text. */
export interface Atom {
  readonly kind: 'string' | 'number';
  readonly text: string;
  readonly at: Position;
}

export interface List {
  readonly kind: 'list';
  readonly items: readonly Value[];
  readonly at: Position;
}

export type Value = Atom | List;

export interface Setting {
  readonly key: string;
  readonly value: Value;
  /** Where the key stands. */
  readonly at: Position;
}

export interface ParsedConfig {
  /** By key. A later assignment replaces an earlier one; `+=` has been carried out. */
  readonly settings: ReadonlyMap<string, Setting>;
  readonly diagnostics: readonly Diagnostic[];
}

/** Thrown and caught inside this module, to give up a statement. */
class SyntaxFault {
  constructor(
    readonly message: string,
    readonly at: Position,
  ) {}
}

const simpleEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  '?': '?',
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

const maximumNesting = 64;

/** So many mistakes are told; who made more of them gave us something else than a configuration. */
const maximumErrors = 20;

class Reader {
  private offset = 0;
  private line = 1;
  private lineStart = 0;

  constructor(private readonly text: string) {}

  get at(): Position {
    return { line: this.line, column: this.offset - this.lineStart + 1 };
  }

  /** The next character, or the empty string at the end. */
  peek(): string {
    return this.text.charAt(this.offset);
  }

  /** The same, but for a character of two UTF-16 units, of which `peek` gives the first. */
  peekWhole(): string {
    const code = this.text.codePointAt(this.offset);
    return code === undefined ? '' : String.fromCodePoint(code);
  }

  next(): string {
    const character = this.text.charAt(this.offset);
    this.offset += 1;
    if (character === '\n') {
      this.line += 1;
      this.lineStart = this.offset;
    }
    return character;
  }

  /** Takes what `pattern` (sticky) matches here, if anything. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.offset;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.offset += found.length;
    return found;
  }

  skipBlanks(): void {
    this.take(/[ \t\r\f\v]*(?:#[^\n]*)?/y);
  }

  skipBlanksAndNewlines(): void {
    this.skipBlanks();
    while (this.peek() === '\n') {
      this.next();
      this.skipBlanks();
    }
  }

  skipLine(): void {
    this.take(/[^\n]*/y);
  }
}

/** Parses the text of a configuration file. Never throws. */
export function parseXlConfig(text: string): ParsedConfig {
  const settings = new Map<string, Setting>();
  const diagnostics: Diagnostic[] = [];
  if (text.includes('\0')) {
    const message = 'this is not text, so no configuration; a kernel is named in one (kernel = "FILE") or by --kernel';
    return { settings, diagnostics: [{ severity: 'error', message, line: 1, column: 1 }] };
  }
  const reader = new Reader(text.startsWith('\uFEFF') ? text.slice(1) : text);
  for (;;) {
    reader.skipBlanksAndNewlines();
    if (reader.peek() === '') break;
    if (reader.peek() === ';') {
      reader.next();
      continue;
    }
    try {
      const { setting, appends } = readAssignment(reader);
      const earlier = appends ? settings.get(setting.key) : undefined;
      settings.set(setting.key, earlier === undefined ? setting : append(earlier, setting));
    } catch (fault) {
      if (!(fault instanceof SyntaxFault)) throw fault;
      if (diagnostics.length === maximumErrors) {
        const message = `there are more than ${maximumErrors} mistakes; nothing is read from here on`;
        diagnostics.push({ severity: 'error', message, ...fault.at });
        break;
      }
      diagnostics.push({ severity: 'error', message: fault.message, ...fault.at });
      reader.skipLine();
    }
  }
  return { settings, diagnostics };
}

function readAssignment(reader: Reader): { setting: Setting; appends: boolean } {
  const at = reader.at;
  const key = reader.take(/[A-Za-z_][A-Za-z0-9_]*/y);
  if (key === '') throw new SyntaxFault(`expected a key, found ${shown(reader)}`, at);
  reader.skipBlanks();
  const operator = reader.take(/\+?=/y);
  if (operator === '') throw new SyntaxFault(`expected "=" after "${key}", found ${shown(reader)}`, reader.at);
  reader.skipBlanks();
  const value = readValue(reader, 0);
  reader.skipBlanks();
  const end = reader.peek();
  if (end !== '' && end !== '\n' && end !== ';') {
    throw new SyntaxFault(`expected a new line or ";" after the value of "${key}", found ${shown(reader)}`, reader.at);
  }
  return { setting: { key, value, at }, appends: operator === '+=' };
}

function append(earlier: Setting, later: Setting): Setting {
  const [first, second] = [earlier.value, later.value];
  if (first.kind === 'list' && second.kind === 'list') {
    return { ...later, value: { ...first, items: [...first.items, ...second.items] } };
  }
  if (first.kind !== 'list' && second.kind !== 'list') {
    return { ...later, value: { ...first, kind: 'string', text: first.text + second.text } };
  }
  throw new SyntaxFault(
    `"+=" cannot join a list and a single value: "${later.key}" was set on line ${earlier.at.line}`,
    later.at,
  );
}

function readValue(reader: Reader, depth: number): Value {
  const at = reader.at;
  const first = reader.peek();
  if (first === '[') return readList(reader, depth);
  if (first === '"' || first === "'") return { kind: 'string', text: readString(reader), at };
  const word = reader.take(/[A-Za-z0-9_][A-Za-z0-9_./:@+-]*/y);
  if (word === '') throw new SyntaxFault(`expected a string, a number or a list, found ${shown(reader)}`, at);
  if (!/^[0-9]/.test(word)) throw new SyntaxFault(`put quotes around the text: "${word}"`, at);
  if (parseNumber(word) === undefined) {
    throw new SyntaxFault(`"${word}" is not a number; text needs quotes around it`, at);
  }
  return { kind: 'number', text: word, at };
}

function readList(reader: Reader, depth: number): List {
  const at = reader.at;
  if (depth >= maximumNesting) throw new SyntaxFault(`lists are nested more than ${maximumNesting} deep`, at);
  reader.next();
  const items: Value[] = [];
  reader.skipBlanksAndNewlines();
  while (reader.peek() !== ']') {
    if (reader.peek() === '') throw new SyntaxFault('this list has no closing "]"', at);
    items.push(readValue(reader, depth + 1));
    reader.skipBlanksAndNewlines();
    if (reader.peek() === ',') {
      reader.next();
      reader.skipBlanksAndNewlines();
    } else if (reader.peek() === '') {
      throw new SyntaxFault('this list has no closing "]"', at);
    } else if (reader.peek() !== ']') {
      throw new SyntaxFault(`expected "," or "]" in the list, found ${shown(reader)}`, reader.at);
    }
  }
  reader.next();
  return { kind: 'list', items, at };
}

function readString(reader: Reader): string {
  const start = reader.at;
  const quote = reader.next();
  let text = '';
  for (;;) {
    const at = reader.at;
    const character = reader.peek();
    if (character === '' || character === '\n') {
      throw new SyntaxFault(`this string has no closing ${quote}`, start);
    }
    reader.next();
    if (character === quote) return text;
    text += character === '\\' ? readEscape(reader, at) : character;
  }
}

function readEscape(reader: Reader, at: Position): string {
  const hexadecimal = reader.take(/x[0-9A-Fa-f]{1,2}/y);
  if (hexadecimal !== '') return String.fromCharCode(Number.parseInt(hexadecimal.slice(1), 16));
  const octal = reader.take(/[0-7]{1,3}/y);
  if (octal !== '') return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
  if (reader.peek() === '' || reader.peek() === '\n') {
    throw new SyntaxFault('a string has to end on its line; join strings by +=', at);
  }
  const simple = simpleEscapes[reader.peek()];
  if (simple === undefined) {
    throw new SyntaxFault(`unknown escape "\\${reader.peek()}" in a string; write "\\\\" for a backslash`, at);
  }
  reader.next();
  return simple;
}

function shown(reader: Reader): string {
  const character = reader.peek();
  if (character === '') return 'the end of the file';
  if (character === '\n') return 'the end of the line';
  return `"${reader.peekWhole()}"`;
}

/** A number as xl reads one: decimal, octal after `0`, hexadecimal after `0x`. Undefined if `text` is none. */
export function parseNumber(text: string): number | undefined {
  const digits = text.trim();
  if (/^0x[0-9a-f]+$/i.test(digits)) return Number.parseInt(digits.slice(2), 16);
  if (/^0[0-7]*$/.test(digits)) return Number.parseInt(digits, 8);
  if (/^[1-9][0-9]*$/.test(digits)) return Number.parseInt(digits, 10);
  return undefined;
}
