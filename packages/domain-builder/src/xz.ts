/**
 * The .xz container with LZMA2, and with the x86 filter that Linux's build puts before it.
 * (The .xz file format 1.2; LZMA2 as in XZ for Java's and XZ Embedded's documentation.)
 *
 * The input is not trusted: the index at the file's end says how much comes out, that is held against a limit before
 * anything is reserved, and each block must then yield exactly what the index claims. CRC32 checks are verified, also
 * the headers' own; other checks (CRC64, SHA-256) are passed over.
 */
import { crc32 } from './crc32.js';
import { invalid, megabytes } from './failure.js';
import { LzmaDecoder } from './lzma.js';
import { undoX86Filter } from './x86-filter.js';

const STREAM_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
const HEADER_SIZE = 12;
const CHECK_CRC32 = 1;
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];
const FILTER_X86 = 4;
const FILTER_LZMA2 = 0x21;

interface Block {
  /** Header, packed data and check, without the padding to a multiple of four. */
  readonly unpadded: number;
  readonly unpacked: number;
}

const damaged = (what: string): Error => invalid(`the xz data are damaged: ${what}`);

/** Unpacks a file of one stream. Fails where it is damaged or would unpack to more than `maxBytes`. */
export function unpackXz(packed: Uint8Array, maxBytes: number): Uint8Array {
  const file = withoutPadding(packed);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 2 * HEADER_SIZE || !STREAM_MAGIC.every((byte, at) => file[at] === byte)) throw damaged('no header');
  const footer = file.length - HEADER_SIZE;
  if (!FOOTER_MAGIC.every((byte, at) => file[footer + 10 + at] === byte)) throw damaged('it does not end as it has to');
  checkCrc(file, 6, 8, view.getUint32(8, true), 'header');
  checkCrc(file, footer + 4, footer + 10, view.getUint32(footer, true), 'footer');
  const indexStart = footer - (view.getUint32(footer + 4, true) + 1) * 4;
  if (indexStart < HEADER_SIZE) throw damaged('its index is longer than it');
  checkCrc(file, indexStart, footer - 4, view.getUint32(footer - 4, true), 'index');

  const blocks = readIndex(new Reader(file, indexStart, footer - 4));
  const size = blocks.reduce((sum, { unpacked }) => sum + unpacked, 0);
  if (size > maxBytes)
    throw invalid(`the xz data claim to unpack to ${megabytes(size)}, the limit is ${megabytes(maxBytes)}`);
  const output = new Uint8Array(size);
  const check = file[7] & 15;
  let at = HEADER_SIZE;
  let to = 0;
  for (const block of blocks) {
    // The padding is between the data and their check, whose own size is a multiple of four.
    const end = at + Math.ceil(block.unpadded / 4) * 4;
    if (end > indexStart) throw damaged('its blocks overlap its index');
    unpackBlock(file.subarray(at, end), output.subarray(to, to + block.unpacked), check);
    at = end;
    to += block.unpacked;
  }
  if (at !== indexStart) throw damaged('its blocks do not reach its index');
  return output;
}

/** A file may be filled up with zeros, four at a time. */
function withoutPadding(packed: Uint8Array): Uint8Array {
  let end = packed.length;
  while (end >= 4 && packed[end - 1] === 0 && packed[end - 2] === 0 && packed[end - 3] === 0 && packed[end - 4] === 0) {
    end -= 4;
  }
  return packed.subarray(0, end);
}

function checkCrc(file: Uint8Array, start: number, end: number, expected: number, what: string): void {
  if (crc32(file.subarray(start, end)) !== expected) throw damaged(`the checksum of its ${what} is wrong`);
}

/** Bytes and variable-length numbers in order, none from beyond the end. */
class Reader {
  constructor(
    readonly bytes: Uint8Array,
    public at: number,
    readonly end: number,
  ) {}

  byte(): number {
    if (this.at >= this.end) throw damaged('it is cut short');
    return this.bytes[this.at++];
  }

  number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (!Number.isSafeInteger(value)) throw damaged('a number is too large');
      if (byte < 128) return value;
    }
  }

  take(length: number): Uint8Array {
    if (length > this.end - this.at) throw damaged('it is cut short');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

function readIndex(reader: Reader): Block[] {
  if (reader.byte() !== 0) throw damaged('no index');
  const blocks: Block[] = [];
  for (let left = reader.number(); left > 0; left--)
    blocks.push({ unpadded: reader.number(), unpacked: reader.number() });
  return blocks;
}

function unpackBlock(block: Uint8Array, output: Uint8Array, check: number): void {
  const checkSize = CHECK_SIZES[check];
  const headerSize = block.length > 0 ? (block[0] + 1) * 4 : 0;
  if (headerSize < 8 || headerSize + checkSize > block.length) throw damaged('a block is too short');
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  checkCrc(block, 0, headerSize - 4, view.getUint32(headerSize - 4, true), "block's header");
  const x86Start = readFilters(new Reader(block, 1, headerSize - 4));
  unpackLzma2(new Reader(block, headerSize, block.length - checkSize), output);
  if (x86Start !== undefined) undoX86Filter(output, x86Start);
  if (check === CHECK_CRC32) {
    checkCrc(output, 0, output.length, view.getUint32(block.length - checkSize, true), 'contents');
  }
}

/** The address that the x86 filter counts from; undefined where there is no such filter. */
function readFilters(header: Reader): number | undefined {
  const flags = header.byte();
  if (flags & 0x3c) throw damaged('a block has unknown flags');
  if (flags & 0x40) header.number();
  if (flags & 0x80) header.number();
  const filters = Array.from({ length: (flags & 3) + 1 }, () => ({
    id: header.number(),
    properties: header.take(header.number()),
  }));
  const last = filters.pop();
  if (last?.id !== FILTER_LZMA2) throw invalid('the xz data are not of the LZMA2 kind');
  if (filters.length === 0) return undefined;
  const [{ id, properties }] = filters;
  if (filters.length > 1 || id !== FILTER_X86)
    throw invalid(`the xz data use filter ${id}; only the x86 filter is known`);
  if (properties.length !== 4) return 0;
  return new DataView(properties.buffer, properties.byteOffset).getUint32(0, true);
}

function unpackLzma2(reader: Reader, output: Uint8Array): void {
  const decoder = new LzmaDecoder(output);
  // The first chunk has to reset all; later ones may go on with what there is.
  let needDictionary = true;
  let needState = true;
  for (;;) {
    const control = reader.byte();
    if (control === 0) break;
    if (control >= 0xe0 || control === 1) {
      decoder.resetDictionary();
      needDictionary = false;
    }
    if (needDictionary || (control > 2 && control < 0x80)) throw damaged('a chunk of an unknown kind');
    const low = reader.byte() * 256 + reader.byte() + 1;
    if (control < 0x80) {
      decoder.copy(reader.take(low));
      continue;
    }
    const end = decoder.at + (control & 0x1f) * 0x10000 + low;
    const packedLength = reader.byte() * 256 + reader.byte() + 1;
    if (control >= 0xc0) decoder.setProperties(reader.byte(), 4);
    if (control >= 0xa0) decoder.resetState();
    if (control < 0xc0 && needState) throw damaged('a chunk without properties');
    needState = false;
    if (decoder.decode(reader.take(packedLength), end)) throw damaged('an end marker inside');
  }
  if (decoder.at !== output.length || reader.at > reader.end) throw damaged('a block is shorter than its index says');
}
