/**
 * The files of lzop, as Linux compresses its kernel with (CONFIG_KERNEL_LZO): a header, then blocks of up to 256 KiB
 * of text, each with checksums, compressed with LZO1X or stored. (Linux, Documentation/staging/lzo.rst for the stream;
 * lib/decompress_unlzo.c for the header's fields.)
 *
 * The input is not trusted: each length is checked against the block and each match against what was written so far.
 */
import { hex, invalid, megabytes } from './failure.js';
import { joined } from './joined.js';

const MAGIC = [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a];
const BLOCK_LIMIT = 256 << 10;
/** From this version of lzop on, the header has a level and 64 bits of time. */
const LONG_HEADER = 0x0940;
/** Checksums of a block: Adler-32 and CRC-32 of the text, and of what is packed. */
const Flag = { adlerText: 1, adlerPacked: 2, filter: 0x800, crcText: 0x100, crcPacked: 0x200 } as const;
/** The largest distance of a short match after literals, and of the middle ones. */
const AFTER_LITERALS = 2049;
const FAR = 16384;

const damaged = (at: number): Error => invalid(`the lzo payload is damaged at byte ${hex(at)}`);

/** Unpacks a file of lzop. Fails where it is damaged or would unpack to more than `maxBytes`. */
export function unpackLzo(file: Uint8Array, maxBytes: number): Uint8Array {
  if (!MAGIC.every((byte, at) => file[at] === byte)) throw invalid('no file of lzop');
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  try {
    const { flags, end } = header(view);
    return unpackBlocks(file, view, flags, end, maxBytes);
  } catch (error) {
    if (error instanceof RangeError) throw invalid('the lzo payload is cut short');
    throw error;
  }
}

function header(view: DataView): { flags: number; end: number } {
  const long = view.getUint16(MAGIC.length, false) >= LONG_HEADER;
  // Versions of the program, of the library and of what must unpack this; the method, and the level.
  let at = MAGIC.length + (long ? 8 : 7);
  const flags = view.getUint32(at, false);
  at += flags & Flag.filter ? 8 : 4;
  // Mode and time; name; checksum of the header.
  at += long ? 12 : 8;
  return { flags, end: at + 1 + view.getUint8(at) + 4 };
}

function unpackBlocks(file: Uint8Array, view: DataView, flags: number, start: number, maxBytes: number): Uint8Array {
  const textSums = (flags & Flag.adlerText ? 4 : 0) + (flags & Flag.crcText ? 4 : 0);
  const packedSums = (flags & Flag.adlerPacked ? 4 : 0) + (flags & Flag.crcPacked ? 4 : 0);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let at = start; ; ) {
    const length = view.getUint32(at, false);
    if (length === 0) break;
    const claimedPacked = view.getUint32(at + 4, false);
    if (length > BLOCK_LIMIT || claimedPacked === 0 || claimedPacked > length) throw damaged(at);
    total += length;
    if (total > maxBytes) throw invalid(`the lzo payload unpacks to more than ${megabytes(maxBytes)}`);
    const sum = flags & Flag.adlerText ? view.getUint32(at + 8, false) : undefined;
    at += 8 + textSums + (claimedPacked < length ? packedSums : 0);
    if (at + claimedPacked > file.length) throw invalid('the lzo payload is cut short');
    const packed = file.subarray(at, at + claimedPacked);
    const text = claimedPacked === length ? packed : unpackBlock(packed, length, at);
    if (sum !== undefined && adler32(text) !== sum) throw invalid('the lzo payload has a wrong checksum');
    parts.push(text);
    at += claimedPacked;
  }
  return joined(parts, total);
}

/** One block of LZO1X. */
function unpackBlock(packed: Uint8Array, length: number, place: number): Uint8Array {
  const text = new Uint8Array(length);
  let at = 0;
  let to = 0;
  /** Literals that the instruction before copied: 0 to 3, or 4 for a run of them. */
  let state = 0;

  const next = (): number => {
    if (at >= packed.length) throw damaged(place + at);
    return packed[at++]!;
  };
  const literals = (count: number): void => {
    if (at + count > packed.length || to + count > length) throw damaged(place + at);
    for (let left = count; left > 0; left--) text[to++] = packed[at++]!;
  };
  const match = (distance: number, count: number): void => {
    if (distance > to || to + count > length) throw damaged(place + at);
    for (let left = count; left > 0; left--, to++) text[to] = text[to - distance]!;
  };
  /** A length that goes on in the bytes that follow: zeros count 255 each. */
  const long = (base: number): number => {
    let count = base;
    let byte = next();
    for (; byte === 0; byte = next()) {
      count += 255;
      if (count > BLOCK_LIMIT) throw damaged(place + at);
    }
    return count + byte;
  };
  const word = (): number => next() | (next() << 8);

  if (packed[0]! > 17) {
    const count = next() - 17;
    literals(count);
    state = Math.min(count, 4);
  }
  for (;;) {
    const byte = next();
    let trailing: number;
    if (byte >= 64) {
      const far = next();
      const near = (byte >> 2) & 7;
      match((far << 3) + near + 1, byte >= 128 ? 5 + ((byte >> 5) & 3) : 3 + ((byte >> 5) & 1));
      trailing = byte & 3;
    } else if (byte >= 32) {
      const count = (byte & 31) === 0 ? long(33) : 2 + (byte & 31);
      const distance = word();
      match((distance >> 2) + 1, count);
      trailing = distance & 3;
    } else if (byte >= 16) {
      const count = (byte & 7) === 0 ? long(9) : 2 + (byte & 7);
      const low = word();
      const distance = FAR + ((byte & 8) << 11) + (low >> 2);
      if (distance === FAR) break;
      match(distance, count);
      trailing = low & 3;
    } else if (state === 0) {
      literals(byte === 0 ? long(18) : 3 + byte);
      state = 4;
      continue;
    } else {
      const far = next();
      const distance = (far << 2) + (byte >> 2);
      if (state === 4) match(distance + AFTER_LITERALS, 3);
      else match(distance + 1, 2);
      trailing = byte & 3;
    }
    literals(trailing);
    state = trailing;
  }
  if (to !== length) throw damaged(place + at);
  return text;
}

const ADLER_MODULUS = 65521;
/** Steps after which the sums must be brought down, not to leave 32 bits. */
const ADLER_STEPS = 3800;

function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (let start = 0; start < bytes.length; start += ADLER_STEPS) {
    const end = Math.min(start + ADLER_STEPS, bytes.length);
    for (let at = start; at < end; at++) {
      a += bytes[at]!;
      b += a;
    }
    a %= ADLER_MODULUS;
    b %= ADLER_MODULUS;
  }
  return b * 0x10000 + a;
}
