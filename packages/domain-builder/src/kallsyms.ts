/**
 * Linux's kallsyms: the symbol table that a kernel carries in its own read-only data, found by its structure alone.
 * (Linux, scripts/kallsyms.c and kernel/kallsyms.c, 4.20 and later; each table starts at a multiple of 8.)
 *
 *   to 6.3:   offsets, relative_base, num_syms, names, markers, [6.2: seqs_of_names,] token_table, token_index
 *   from 6.4: num_syms, names, markers, token_table, token_index, offsets, relative_base, seqs_of_names
 *
 * names holds for each symbol a length and that many tokens; the tokens, put together, give a type letter and the name.
 * token_index says where each of the 256 tokens begins in token_table, which makes the pair easy to recognize; the
 * number of symbols is then the one from which a walk through the names ends exactly where the markers and tokens begin.
 *
 * The bytes may be a guest's memory: all is checked, and the search gives up after a bounded number of steps.
 */
import type { Gva } from '@paravane/types';
import { type KernelSymbols, sortedSymbols } from './symbols.js';

const TOKENS = 256;
const LONGEST_TOKEN = 64;
const MARKER_EVERY = 256;
const FEWEST_SYMBOLS = 16;
const MOST_SYMBOLS = 1 << 22;
const LONGEST_NAME = 1024;
/** How far before the tokens the number of symbols may lie. */
const LONGEST_NAMES = 64 << 20;
/** Places looked at and names walked over, all candidates together. */
const WALK_BUDGET = 64_000_000;

const align8 = (offset: number): number => Math.ceil(offset / 8) * 8;

interface Tokens {
  readonly table: number;
  readonly index: number;
}

interface Names {
  readonly count: number;
  /** Offset of `num_syms`. */
  readonly header: number;
  /** Offset of each symbol's length byte. */
  readonly starts: Uint32Array;
}

/**
 * Finds the symbols in a kernel's read-only data or in a guest's memory; `bytes` has to begin at a multiple of 8.
 * `end` is the first address after the kernel. Undefined where there is no such table.
 */
export function findKallsyms(bytes: Uint8Array, end: Gva): KernelSymbols | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const budget = { steps: WALK_BUDGET };
  for (const tokens of findTokens(bytes, view)) {
    const names = findNames(bytes, view, tokens, budget);
    const addresses = names && readAddresses(view, bytes.length, tokens, names);
    if (names && addresses) return symbolsOf(bytes, view, tokens, names, addresses, end);
  }
  return undefined;
}

function* findTokens(bytes: Uint8Array, view: DataView): Iterable<Tokens> {
  for (let at = 0; at + TOKENS * 2 <= bytes.length; at += 8) {
    // Most places fail here: the first token begins at 0, the second a few bytes on.
    if (view.getUint16(at, true) !== 0) continue;
    const second = view.getUint16(at + 2, true);
    if (second < 2 || second > LONGEST_TOKEN) continue;
    const table = tokenTableBefore(bytes, view, at);
    if (table !== undefined) yield { table, index: at };
  }
}

function tokenTableBefore(bytes: Uint8Array, view: DataView, index: number): number | undefined {
  for (let token = 1; token < TOKENS; token++) {
    const length = view.getUint16(index + token * 2, true) - view.getUint16(index + token * 2 - 2, true);
    if (length < 2 || length > LONGEST_TOKEN) return undefined;
  }
  // The last token ends in a NUL and up to seven bytes of padding.
  let lastEnd = index - 1;
  while (lastEnd > 0 && index - lastEnd <= 8 && bytes[lastEnd] === 0) lastEnd--;
  let lastStart = lastEnd;
  while (lastStart > 0 && lastEnd - lastStart < LONGEST_TOKEN && bytes[lastStart - 1] !== 0) lastStart--;
  const table = lastStart - view.getUint16(index + (TOKENS - 1) * 2, true);
  if (table < 0 || table % 8 !== 0) return undefined;
  for (let token = 1; token < TOKENS; token++) {
    if (bytes[table + view.getUint16(index + token * 2, true) - 1] !== 0) return undefined;
  }
  return table;
}

function findNames(bytes: Uint8Array, view: DataView, tokens: Tokens, budget: { steps: number }): Names | undefined {
  const lowest = Math.max(0, tokens.table - LONGEST_NAMES);
  for (let header = tokens.table - 8; header >= lowest && --budget.steps > 0; header -= 8) {
    const claimedCount = view.getUint32(header, true);
    if (claimedCount < FEWEST_SYMBOLS || claimedCount > MOST_SYMBOLS || view.getUint32(header + 4, true) !== 0)
      continue;
    // A symbol takes a length and one token at the least.
    if (header + 8 + claimedCount * 2 > tokens.table) continue;
    const end = walkNames(bytes, header + 8, claimedCount, tokens.table, budget);
    if (end === undefined) continue;
    const starts = new Uint32Array(claimedCount);
    walkNames(bytes, header + 8, claimedCount, tokens.table, budget, starts);
    if (markersFit(view, starts, end, tokens.table)) return { count: claimedCount, header, starts };
  }
  return undefined;
}

/** Where the names end; fills in where each begins. Undefined where they do not end before `limit`. */
function walkNames(
  bytes: Uint8Array,
  from: number,
  count: number,
  limit: number,
  budget: { steps: number },
  starts?: Uint32Array,
): number | undefined {
  let at = from;
  for (let symbol = 0; symbol < count; symbol++) {
    if (starts !== undefined) starts[symbol] = at;
    const length = bytes[at];
    if (length === 0 || at >= limit || --budget.steps <= 0) return undefined;
    // Since 6.1 a length of 128 or more takes two bytes.
    at += length < 128 ? 1 + length : 2 + ((length & 127) | (bytes[at + 1] << 7));
  }
  return at <= limit ? at : undefined;
}

/** Whether the markers (the place of each 256th name) follow the names, and the tokens follow them. */
function markersFit(view: DataView, starts: Uint32Array, namesEnd: number, table: number): boolean {
  const markers = align8(namesEnd);
  const markerCount = Math.ceil(starts.length / MARKER_EVERY);
  return [4, 8].some((width) => {
    const end = align8(markers + markerCount * width);
    if (end !== table && align8(end + starts.length * 3) !== table) return false;
    for (let marker = 0; marker < markerCount; marker++) {
      if (view.getUint32(markers + marker * width, true) !== starts[marker * MARKER_EVERY] - starts[0]) return false;
    }
    return true;
  });
}

/** The addresses, from the tables before the names (to 6.3) or after the tokens; the base tells which are right. */
function readAddresses(view: DataView, length: number, tokens: Tokens, names: Names): BigUint64Array | undefined {
  const bytesOfOffsets = align8(names.count * 4);
  const before = names.header - 8 - bytesOfOffsets;
  const after = align8(tokens.index + TOKENS * 2);
  return (
    absoluteAddresses(view, names) ??
    relativeAddresses(view, length, before, names.header - 8, names.count) ??
    relativeAddresses(view, length, after, after + bytesOfOffsets, names.count)
  );
}

/** Kernel addresses have their upper bits set; nothing else in these places does. */
const isKernelAddress = (address: bigint): boolean => address >> 47n === 0x1ffffn;

function relativeAddresses(
  view: DataView,
  length: number,
  offsets: number,
  baseAt: number,
  count: number,
): BigUint64Array | undefined {
  if (offsets < 0 || baseAt + 8 > length) return undefined;
  const base = view.getBigUint64(baseAt, true);
  if (!isKernelAddress(base)) return undefined;
  const values = Array.from({ length: count }, (_, index) => view.getInt32(offsets + index * 4, true));
  // With per-CPU symbols as absolute values, the others count downward from base - 1; a kernel is far below 2 GB.
  const absolutePercpu = values.some((value) => value < 0);
  return BigUint64Array.from(values, (value) => {
    if (!absolutePercpu) return base + BigInt(value);
    return value >= 0 ? BigInt(value) : base - 1n - BigInt(value);
  });
}

function absoluteAddresses(view: DataView, { header, count }: Names): BigUint64Array | undefined {
  const start = header - count * 8;
  if (start < 0) return undefined;
  const address = (index: number): bigint => view.getBigUint64(start + index * 8, true);
  // The half that is below the kernel, per-CPU, is never the greater one.
  if (![count >> 1, count - 2, count - 1].every((index) => isKernelAddress(address(index)))) return undefined;
  return BigUint64Array.from({ length: count }, (_, index) => address(index));
}

function symbolsOf(
  bytes: Uint8Array,
  view: DataView,
  tokens: Tokens,
  names: Names,
  addresses: BigUint64Array,
  end: Gva,
): KernelSymbols {
  const tokenTexts = Array.from({ length: TOKENS }, (_, token) => {
    let text = '';
    for (let at = tokens.table + view.getUint16(tokens.index + token * 2, true); bytes[at] !== 0; at++) {
      text += String.fromCharCode(bytes[at]);
    }
    return text;
  });
  // A copy, so that the kernel's file need not be kept for it.
  const first = names.starts[0];
  const packed = bytes.slice(first, tokens.table);
  /** Type letter and name. */
  const textOf = (index: number): string => {
    let at = names.starts[index] - first;
    let length = packed[at++];
    if (length >= 128) length = (length & 127) | (packed[at++] << 7);
    let text = '';
    for (; length > 0 && text.length < LONGEST_NAME; length--) text += tokenTexts[packed[at++]];
    return text;
  };
  return sortedSymbols({
    addresses,
    name: (index) => textOf(index).slice(1),
    isCode: (index) => 'tTwW'.includes(textOf(index).slice(0, 1)),
    end,
  });
}
