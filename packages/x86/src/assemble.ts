/**
 * The assembler: text in the disassembler's syntax to bytes, by the instruction
 * table. For tests and stubs, so it is small: no macros, no sections, no
 * relocations.
 *
 * Of all encodings the shortest is taken. `[rel NAME]` is relative to RIP; a
 * number where a branch wants its target is an absolute address.
 */
import type { CodeMode } from '@paravane/engine-api';
import { ParavaneError } from '@paravane/types';
import { registerName, SEGMENTS, SIZE_NAMES, spokenNames } from './disassemble.js';
import { encode, type Wanted, type WantedMemory, type Wish } from './encode.js';
import { type Entry, TABLE } from './notation.js';

const SIZES = Object.fromEntries(Object.entries(SIZE_NAMES).map(([bits, name]) => [name, Number(bits)]));
const PREFIXES: Partial<Record<string, number>> = {
  lock: 0xf0,
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
};
/** Other names of the conditions (Intel SDM vol. 1, appendix B). */
const CONDITION_NAMES: Partial<Record<string, string>> = {
  e: 'z',
  ne: 'nz',
  c: 'b',
  nc: 'nb',
  ae: 'nb',
  nae: 'b',
  a: 'nbe',
  na: 'be',
  g: 'nle',
  ng: 'le',
  ge: 'nl',
  nge: 'l',
  pe: 'p',
  po: 'np',
};

type Register = Extract<Wanted, { n: number }>;
const REGISTERS: ReadonlyMap<string, Register> = (() => {
  const map = new Map<string, Register>();
  for (let n = 0; n < 16; n++) {
    for (const width of [8, 16, 32, 64]) map.set(registerName(n, width), { kind: 'r', n, width, high: false });
    if (n < 4) map.set(registerName(n, 8, true), { kind: 'r', n, width: 8, high: true });
    map.set(`xmm${n}`, { kind: 'x', n, width: 128, high: false });
    for (const name of [`cr${n}`, `dr${n}`]) map.set(name, { kind: 's', name, n });
    if (n >= 8) continue;
    map.set(`mm${n}`, { kind: 'p', n, width: 64, high: false });
    map.set(`st${n}`, { kind: 'st', n, width: 80, high: false });
  }
  SEGMENTS.forEach((name, n) => map.set(name, { kind: 's', name, n }));
  return map;
})();

const BY_NAME: ReadonlyMap<string, readonly Entry[]> = (() => {
  const map = new Map<string, Entry[]>();
  for (const entry of TABLE) {
    for (const name of new Set(spokenNames(entry.mnemonic))) map.set(name, [...(map.get(name) ?? []), entry]);
  }
  return map;
})();

const complain = (message: string): never => {
  throw new ParavaneError('assembly', message);
};

/** Where names of a program are looked up. */
type Symbols = (name: string) => bigint | undefined;

function nameOf(text: string): string {
  if (BY_NAME.has(text)) return text;
  const found = /^(j|set|cmov)(\w+)$/.exec(text);
  const condition = found && CONDITION_NAMES[found[2]!];
  if (condition) return found[1]! + condition;
  if (text === 'movsxd') return 'movsx';
  return complain(`no instruction is called "${text}": names are those of the Intel manual`);
}

function number(text: string, symbols: Symbols): bigint {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) return BigInt(text);
  return symbols(text) ?? complain(`"${text}" is no register, number or label`);
}

/** Signed terms of a sum: `rax+rcx*4-8`. */
function terms(text: string): { sign: bigint; term: string }[] {
  const parts = text.replace(/\s+/g, '').match(/[+-]?[^+-]+/g) ?? complain(`"${text}" is no expression`);
  return parts.map((part) => ({ sign: part[0] === '-' ? -1n : 1n, term: part.replace(/^[+-]/, '') }));
}
const sum = (text: string, symbols: Symbols): bigint =>
  terms(text).reduce((total, { sign, term }) => total + sign * number(term, symbols), 0n);

function memory(size: number, segment: string, inner: string, mode: CodeMode, symbols: Symbols): WantedMemory {
  const m: WantedMemory = {
    kind: 'm',
    width: size,
    segment: segment === '' ? -1 : SEGMENTS.indexOf(segment),
    addressWidth: mode,
    base: -1,
    index: -1,
    scale: 0,
    disp: 0n,
    relative: false,
  };
  const relative = /^rel\s+(.*)$/.exec(inner);
  if (relative) return { ...m, base: -2, relative: true, disp: sum(relative[1]!, symbols) };
  for (const { sign, term } of terms(inner)) {
    const [, name = '', factor = ''] = /^(\w+?)(?:\*([1248]))?$/.exec(term) ?? [];
    const register = REGISTERS.get(name);
    if (term === 'rip') m.base = -2;
    else if (register?.kind !== 'r') m.disp += sign * number(term, symbols);
    else {
      m.addressWidth = register.width as WantedMemory['addressWidth'];
      if (m.base === -1 && (factor === '' || factor === '1')) m.base = register.n;
      else if (m.index < 0) [m.index, m.scale] = [register.n, Math.log2(Number(factor || 1))];
      else complain(`[${inner}] has more than a base and an index`);
    }
  }
  // RSP can be no index; 16-bit addresses are written base first.
  const swap = m.scale === 0 && m.index >= 0 && (m.index === 4 || (m.addressWidth === 16 && m.base >= 6));
  return swap ? { ...m, base: m.index, index: m.base } : m;
}

function operand(text: string, mode: CodeMode, symbols: Symbols): Wanted {
  const register = REGISTERS.get(text);
  if (register) return register;
  const [, size = '', segment = '', inner] = /^(?:(\w+)\b\s*)?(?:\b(\w+):)?\[(.*)\]$/.exec(text) ?? [];
  if (inner !== undefined) {
    const width =
      size === '' ? 0 : (SIZES[size] ?? complain(`"${size}" is no size: use ${Object.keys(SIZES).join(', ')}`));
    return memory(width, segment, inner.trim(), mode, symbols);
  }
  const width = SIZES[text];
  return width ? { kind: 'size', width } : { kind: 'i', value: sum(text, symbols) };
}

/** What a line of text asks for. */
export function wishOf(text: string, mode: CodeMode, symbols: Symbols = () => undefined): Wish {
  let rest = text.trim().toLowerCase();
  let [lock, rep] = [false, 0];
  for (;;) {
    const [word = ''] = rest.split(/\s/, 1);
    const prefix = PREFIXES[word];
    if (prefix === undefined) break;
    if (prefix === 0xf0) lock = true;
    else rep = prefix;
    rest = rest.slice(word.length).trim();
  }
  const [, name = '', operands = ''] = /^(\w+(?: far\b)?)\s*(.*)$/.exec(rest) ?? [];
  const list = operands === '' ? [] : operands.split(',').map((part) => operand(part.trim(), mode, symbols));
  return { name: nameOf(name), lock, rep, operands: list };
}

/** All encodings of a wish, shortest first. */
function encodings(text: string, wish: Wish, mode: CodeMode, address: bigint): Uint8Array[] {
  const all = BY_NAME.get(wish.name)!.map((entry) => encode(entry, wish, mode, address));
  const found = all.filter((bytes) => bytes !== null).sort((a, b) => a.length - b.length);
  return found.length > 0 ? found : complain(`"${text.trim()}" has no encoding: check operand kinds, sizes and ranges`);
}

export interface AssembleOptions {
  /** 64 without it. */
  mode?: CodeMode;
  /** Where the instruction will lie; 0 without it. */
  address?: bigint;
}

/** Bytes of one instruction. A text that has none is a `ParavaneError` with code `assembly`. */
export function assemble(text: string, options: AssembleOptions = {}): Uint8Array {
  const { mode = 64, address = 0n } = options;
  const wish = wishOf(text, mode);
  return encodings(text, wish, mode, address)[0]!;
}

export interface Program {
  bytes: Uint8Array;
  /** Addresses by name. */
  labels: ReadonlyMap<string, bigint>;
}

const DATA: Partial<Record<string, number>> = { db: 1, dw: 2, dd: 4, dq: 8 };

/** Bytes of one line at an address, of at least `least` bytes where it has a longer form. */
function lineBytes(line: string, mode: CodeMode, address: bigint, symbols: Symbols, least: number): Uint8Array {
  const [word = ''] = line.split(/\s/, 1);
  const size = DATA[word];
  if (size === undefined) {
    const all = encodings(line, wishOf(line, mode, symbols), mode, address);
    return all.find((bytes) => bytes.length >= least) ?? all.at(-1)!;
  }
  const values = line.slice(word.length).split(',');
  const bytes = new DataView(new ArrayBuffer(values.length * size));
  for (const [i, value] of values.entries()) {
    const bits = BigInt.asUintN(64, sum(value.toLowerCase(), symbols));
    for (let byte = 0; byte < size; byte++) bytes.setUint8(i * size + byte, Number((bits >> BigInt(8 * byte)) & 0xffn));
  }
  return new Uint8Array(bytes.buffer);
}

/**
 * Bytes of a program that will lie at `base`: a line has a label (`name:`), an
 * instruction or data (db, dw, dd, dq), or a comment behind `;`. Errors name the
 * line.
 */
export function assembleProgram(text: string, base: bigint, mode: CodeMode = 64): Program {
  const lines = text.split('\n').map((line, i) => {
    const [, label, rest = ''] = /^\s*(?:([a-z_.]\w*):)?\s*([^;]*)/i.exec(line) ?? [];
    return { number: i + 1, label: label?.toLowerCase(), text: rest.trim(), bytes: new Uint8Array(0) as Uint8Array };
  });
  const names = new Set(lines.map(({ label }) => label));
  let labels = new Map<string, bigint>();
  // Lengths only grow from pass to pass, so the passes come to an end.
  for (let moved = true; moved; ) {
    moved = false;
    let address = base;
    const next = new Map<string, bigint>();
    const symbols: Symbols = (name) => (names.has(name) ? (labels.get(name) ?? address) : undefined);
    for (const line of lines) {
      if (line.label) next.set(line.label, address);
      if (line.text === '') continue;
      try {
        line.bytes = lineBytes(line.text, mode, address, symbols, line.bytes.length);
      } catch (cause) {
        if (!(cause instanceof ParavaneError)) throw cause;
        throw new ParavaneError('assembly', `line ${line.number}: ${cause.message}`, {
          cause,
          data: { line: line.number },
        });
      }
      address += BigInt(line.bytes.length);
    }
    for (const [name, at] of next) if (labels.get(name) !== at) moved = true;
    labels = next;
  }
  return { bytes: Uint8Array.from(lines.flatMap(({ bytes }) => [...bytes])), labels };
}
