/**
 * The files of bzip2, as Linux compresses its kernel with (CONFIG_KERNEL_BZIP2): streams of blocks, each the
 * Burrows-Wheeler transform of up to 900,000 bytes, moved to front and coded by Huffman with up to six tables.
 * (Joe Tsai, "BZIP2: Format Specification".)
 *
 * The input is not trusted: every index that it leads to is bounded, and each block's checksum is compared.
 */
import { invalid, megabytes } from './failure.js';
import { joined } from './joined.js';

const BLOCK = 0x314159265359;
const END = 0x177245385090;
const BLOCK_UNIT = 100_000;
const MOST_TABLES = 6;
const GROUP = 50;
const LONGEST_CODE = 20;
const RUN_A = 0;
const RUN_B = 1;

const damaged = (): Error => invalid('the bzip2 payload is damaged');

interface Bits {
  /** Up to 24 bits, the first one highest. */
  read(count: number): number;
  /** The next bits without taking them, zeros beyond the end. */
  peek(count: number): number;
  skip(count: number): void;
  /** To the start of the next byte; false at the end of the file. */
  align(): boolean;
}

function readBits(bytes: Uint8Array): Bits {
  let at = 0;
  let held = 0;
  let bits = 0;
  return {
    read(count) {
      while (bits < count) {
        if (at >= bytes.length) throw invalid('the bzip2 payload is cut short');
        held = ((held & 0xffffff) << 8) | bytes[at++]!;
        bits += 8;
      }
      bits -= count;
      return (held >>> bits) & ((1 << count) - 1);
    },
    peek(count) {
      while (bits < count) {
        held = ((held & 0xffffff) << 8) | (at < bytes.length ? bytes[at]! : 0);
        at++;
        bits += 8;
      }
      return (held >>> (bits - count)) & ((1 << count) - 1);
    },
    skip(count) {
      bits -= count;
      if (at - (bits >> 3) > bytes.length) throw invalid('the bzip2 payload is cut short');
    },
    align() {
      bits -= bits % 8;
      return bits > 0 || at < bytes.length;
    },
  };
}

/** Unpacks a file of bzip2. Fails where it is damaged or would unpack to more than `maxBytes`. */
export function unpackBzip2(file: Uint8Array, maxBytes: number): Uint8Array {
  const bits = readBits(file);
  const parts: Uint8Array[] = [];
  let total = 0;
  do {
    if (bits.read(24) !== 0x425a68) throw damaged();
    const level = bits.read(8) - 0x30;
    if (level < 1 || level > 9) throw damaged();
    for (;;) {
      const magic = bits.read(24) * 0x1000000 + bits.read(24);
      const sum = bits.read(16) * 0x10000 + bits.read(16);
      if (magic === END) break;
      if (magic !== BLOCK) throw damaged();
      const part = unpackBlock(bits, level * BLOCK_UNIT, maxBytes - total);
      if (crc(part) !== sum) throw invalid('the bzip2 payload has a wrong checksum');
      parts.push(part);
      total += part.length;
    }
    // Streams may follow each other.
  } while (bits.align());
  return joined(parts, total);
}

function unpackBlock(bits: Bits, blockBytes: number, maxBytes: number): Uint8Array {
  // Randomised blocks were given up before any kernel was packed so.
  if (bits.read(1) !== 0) throw invalid('the bzip2 payload has a randomised block, which is not supported');
  const origin = bits.read(24);
  const symbols = readSymbols(bits);
  const block = decodeBlock(bits, symbols, blockBytes);
  if (origin >= block.length) throw damaged();
  return undoRuns(undoTransform(block, origin), maxBytes);
}

/** The bytes that occur in the block. */
function readSymbols(bits: Bits): number[] {
  const ranges = bits.read(16);
  const symbols: number[] = [];
  for (let range = 0; range < 16; range++) {
    if (!(ranges & (0x8000 >> range))) continue;
    const used = bits.read(16);
    for (let at = 0; at < 16; at++) if (used & (0x8000 >> at)) symbols.push(range * 16 + at);
  }
  if (symbols.length === 0) throw damaged();
  return symbols;
}

/** A canonical Huffman code: by length, the end of its codes (as if they had all bits) and the place of their symbols. */
interface Code {
  readonly limit: Int32Array;
  readonly offset: Int32Array;
  readonly symbols: Uint16Array;
  readonly shortest: number;
}

function readCode(bits: Bits, count: number): Code {
  const lengths = new Uint8Array(count);
  let length = bits.read(5);
  for (let symbol = 0; symbol < count; symbol++) {
    for (;;) {
      if (length < 1 || length > LONGEST_CODE) throw damaged();
      if (bits.read(1) === 0) break;
      length += bits.read(1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  const symbols = new Uint16Array(count);
  const limit = new Int32Array(LONGEST_CODE + 1);
  const offset = new Int32Array(LONGEST_CODE + 1);
  let place = 0;
  let code = 0;
  for (let size = 1; size <= LONGEST_CODE; size++) {
    const first = place;
    for (let symbol = 0; symbol < count; symbol++) if (lengths[symbol] === size) symbols[place++] = symbol;
    offset[size] = first - code;
    code += place - first;
    limit[size] = code << (LONGEST_CODE - size);
    code <<= 1;
  }
  return { limit, offset, symbols, shortest: Math.min(...lengths) };
}

function decodeSymbol(bits: Bits, { limit, offset, symbols, shortest }: Code): number {
  const ahead = bits.peek(LONGEST_CODE);
  let size = shortest;
  while (size <= LONGEST_CODE && ahead >= limit[size]!) size++;
  const symbol = symbols[(ahead >>> (LONGEST_CODE - size)) + offset[size]!];
  if (symbol === undefined) throw damaged();
  bits.skip(size);
  return symbol;
}

/** The transformed block: Huffman, runs of zeros and move-to-front undone. */
function decodeBlock(bits: Bits, bytes: number[], blockBytes: number): Uint8Array {
  const tables = bits.read(3);
  const selectorCount = bits.read(15);
  if (tables < 2 || tables > MOST_TABLES || selectorCount === 0) throw damaged();
  const recent = Array.from({ length: tables }, (_, table) => table);
  const selectors = new Uint8Array(selectorCount);
  for (let at = 0; at < selectorCount; at++) {
    let place = 0;
    while (bits.read(1) === 1) if (++place >= tables) throw damaged();
    recent.unshift(...recent.splice(place, 1));
    selectors[at] = recent[0]!;
  }
  const end = bytes.length + 1;
  const codes = Array.from({ length: tables }, () => readCode(bits, end + 1));

  const block = new Uint8Array(blockBytes);
  const front = Uint8Array.from(bytes);
  let to = 0;
  let run = 0;
  let weight = 1;
  const flushRun = (): void => {
    if (run === 0) return;
    if (to + run > blockBytes) throw damaged();
    block.fill(front[0]!, to, to + run);
    to += run;
    run = 0;
    weight = 1;
  };
  for (let group = 0; ; group++) {
    const code = codes[selectors[group] ?? -1];
    if (code === undefined) throw damaged();
    for (let left = GROUP; left > 0; left--) {
      const symbol = decodeSymbol(bits, code);
      if (symbol === RUN_A || symbol === RUN_B) {
        run += weight * (symbol + 1);
        weight *= 2;
        if (run > blockBytes) throw damaged();
        continue;
      }
      flushRun();
      if (symbol === end) return block.subarray(0, to);
      if (to >= blockBytes) throw damaged();
      const place = symbol - 1;
      const byte = front[place]!;
      // Most are near: a loop is faster than a call.
      for (let from = place; from > 0; from--) front[from] = front[from - 1]!;
      front[0] = byte;
      block[to++] = byte;
    }
  }
}

/** The Burrows-Wheeler transform undone. */
function undoTransform(block: Uint8Array, origin: number): Uint8Array {
  const starts = new Uint32Array(256);
  for (const byte of block) starts[byte] = starts[byte]! + 1;
  let sum = 0;
  for (let byte = 0; byte < 256; byte++) {
    const count = starts[byte]!;
    starts[byte] = sum;
    sum += count;
  }
  const follows = new Uint32Array(block.length);
  for (let at = 0; at < block.length; at++) {
    const byte = block[at]!;
    follows[starts[byte]!] = at;
    starts[byte] = starts[byte]! + 1;
  }
  const text = new Uint8Array(block.length);
  let at = follows[origin]!;
  for (let to = 0; to < text.length; to++) {
    text[to] = block[at]!;
    at = follows[at]!;
  }
  return text;
}

/** The first step of packing undone: four equal bytes have a count of more behind them. */
function undoRuns(text: Uint8Array, maxBytes: number): Uint8Array {
  let length = 0;
  walkRuns(text, (_, count) => {
    length += count;
  });
  if (length > maxBytes) throw invalid(`the bzip2 payload unpacks to more than ${megabytes(maxBytes)}`);
  const out = new Uint8Array(length);
  let to = 0;
  walkRuns(text, (byte, count) => {
    if (count === 1) out[to] = byte;
    else out.fill(byte, to, to + count);
    to += count;
  });
  return out;
}

function walkRuns(text: Uint8Array, emit: (byte: number, count: number) => void): void {
  let same = 0;
  let last = -1;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at]!;
    if (same === 4) {
      if (byte > 0) emit(last, byte);
      same = 0;
      last = -1;
      continue;
    }
    same = byte === last ? same + 1 : 1;
    last = byte;
    emit(byte, 1);
  }
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte << 24;
  for (let bit = 0; bit < 8; bit++) remainder = remainder < 0 ? (remainder << 1) ^ 0x04c11db7 : remainder << 1;
  return remainder;
});

/** CRC-32 with the highest bit first. */
function crc(bytes: Uint8Array): number {
  let sum = -1;
  for (const byte of bytes) sum = (sum << 8) ^ CRC_TABLE[((sum >>> 24) ^ byte) & 255]!;
  return ~sum >>> 0;
}
