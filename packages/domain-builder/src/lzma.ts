/**
 * The LZMA decoder: a range coder with adaptive bits over literals, matches and repeated matches.
 * (LZMA specification in the LZMA SDK.) The output array is the dictionary: nothing slides, so a match is checked
 * against what was written since the dictionary was last reset.
 *
 * The input is not trusted. Reading past its end yields zeros, which is found out afterwards; writing past the output's
 * end is refused at once.
 */
import { invalid } from './failure.js';

const PROBABILITY_BITS = 11;
const EVEN = 1 << (PROBABILITY_BITS - 1);
const ADAPTION = 5;

const STATES = 12;
const POSITION_STATES = 16;
/** After a literal the state falls below this. */
const LITERAL_STATES = 7;
const SHORTEST_MATCH = 2;
const LENGTH_CONTEXTS = 4;
const FIRST_SLOT_WITH_MODEL = 4;
const FIRST_SLOT_WITH_DIRECT_BITS = 14;
const ALIGN_BITS = 4;

/** Where each group of adaptive bits begins in the one array that holds all. */
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITION_STATES;
const IS_REP_G0 = IS_REP + STATES;
const IS_REP_G1 = IS_REP_G0 + STATES;
const IS_REP_G2 = IS_REP_G1 + STATES;
const IS_REP0_LONG = IS_REP_G2 + STATES;
const SLOT = IS_REP0_LONG + STATES * POSITION_STATES;
const SPECIAL = SLOT + LENGTH_CONTEXTS * 64;
const ALIGN = SPECIAL + 128;
const MATCH_LENGTH = ALIGN + (1 << ALIGN_BITS);
/** In a length coder: choice, second choice, 16 × 8 low, 16 × 8 middle, 256 high. */
const LENGTH_LOW = 2;
const LENGTH_MIDDLE = LENGTH_LOW + POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MIDDLE + POSITION_STATES * 8;
const REP_LENGTH = MATCH_LENGTH + LENGTH_HIGH + 256;
const LITERAL = REP_LENGTH + LENGTH_HIGH + 256;
const LITERAL_SIZE = 0x300;

const damaged = (): Error => invalid('the LZMA data are damaged');

export class LzmaDecoder {
  readonly #output: Uint8Array;
  /** Where the next byte goes. */
  at = 0;
  #dictionaryStart = 0;

  #literalContextBits = 0;
  #literalPositionMask = 0;
  #positionMask = 0;
  #probabilities = new Uint16Array(LITERAL);
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;

  #input: Uint8Array = new Uint8Array(0);
  #inputAt = 0;
  #range = 0;
  #code = 0;

  constructor(output: Uint8Array) {
    this.#output = output;
  }

  /** The properties byte: (pb × 5 + lp) × 9 + lc. LZMA2 allows at most 4 for lc + lp. */
  setProperties(byte: number, mostLiteralBits = 12): void {
    const lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    const pb = Math.floor(byte / 45);
    if (pb > 4 || lc + lp > mostLiteralBits) throw damaged();
    this.#literalContextBits = lc;
    this.#literalPositionMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
    this.#probabilities = new Uint16Array(LITERAL + (LITERAL_SIZE << (lc + lp)));
  }

  resetDictionary(): void {
    this.#dictionaryStart = this.at;
  }

  resetState(): void {
    this.#probabilities.fill(EVEN);
    this.#state = 0;
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  /** Takes bytes that were not compressed. */
  copy(bytes: Uint8Array): void {
    if (this.at + bytes.length > this.#output.length) throw damaged();
    this.#output.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** Unpacks until the output has `end` bytes, or to an end marker; true if a marker was met. */
  decode(input: Uint8Array, end: number): boolean {
    if (end > this.#output.length || input.length < 5 || input[0] !== 0) throw damaged();
    this.#input = input;
    this.#range = -1;
    this.#code = (input[1] << 24) | (input[2] << 16) | (input[3] << 8) | input[4];
    this.#inputAt = 5;
    const marker = this.#run(end);
    if (this.#inputAt > input.length) throw damaged();
    return marker;
  }

  #run(end: number): boolean {
    while (this.at < end) {
      const positionState = this.at & this.#positionMask;
      if (this.#bit(IS_MATCH + this.#state * POSITION_STATES + positionState) === 0) {
        this.#literal();
        continue;
      }
      let length: number;
      if (this.#bit(IS_REP + this.#state) === 0) {
        this.#rep3 = this.#rep2;
        this.#rep2 = this.#rep1;
        this.#rep1 = this.#rep0;
        length = this.#length(MATCH_LENGTH, positionState);
        this.#state = this.#state < LITERAL_STATES ? 7 : 10;
        this.#rep0 = this.#distance(length);
        if (this.#rep0 === -1) return true;
      } else if (this.#isShortRep(positionState)) {
        length = 1 - SHORTEST_MATCH;
        this.#state = this.#state < LITERAL_STATES ? 9 : 11;
      } else {
        length = this.#length(REP_LENGTH, positionState);
        this.#state = this.#state < LITERAL_STATES ? 8 : 11;
      }
      this.#match(length + SHORTEST_MATCH, end);
      if (this.#inputAt > this.#input.length) throw damaged();
    }
    return false;
  }

  /** One adaptive bit. */
  #bit(index: number): number {
    const probability = this.#probabilities[index];
    const range = this.#range;
    const bound = Math.imul(range >>> PROBABILITY_BITS, probability);
    let bit: number;
    let rest: number;
    if (this.#code >>> 0 < bound >>> 0) {
      this.#probabilities[index] = probability + (((1 << PROBABILITY_BITS) - probability) >> ADAPTION);
      rest = bound;
      bit = 0;
    } else {
      this.#probabilities[index] = probability - (probability >> ADAPTION);
      this.#code = (this.#code - bound) | 0;
      rest = (range - bound) | 0;
      bit = 1;
    }
    if (rest >>> 24 === 0) {
      rest <<= 8;
      this.#code = (this.#code << 8) | this.#input[this.#inputAt++];
    }
    this.#range = rest;
    return bit;
  }

  /** `count` bits of even probability. */
  #direct(count: number): number {
    let value = 0;
    for (let left = count; left > 0; left--) {
      this.#range >>>= 1;
      const bit = this.#code >>> 0 >= this.#range ? 1 : 0;
      if (bit === 1) this.#code = (this.#code - this.#range) | 0;
      value = (value << 1) | bit;
      if (this.#range >>> 24 === 0) {
        this.#range <<= 8;
        this.#code = (this.#code << 8) | this.#input[this.#inputAt++];
      }
    }
    return value;
  }

  /** A tree of `bits` adaptive bits, high bit first. */
  #tree(base: number, bits: number): number {
    let node = 1;
    for (let left = bits; left > 0; left--) node = (node << 1) | this.#bit(base + node);
    return node - (1 << bits);
  }

  /** A tree of `bits` adaptive bits, low bit first. */
  #reverseTree(base: number, bits: number): number {
    let node = 1;
    let value = 0;
    for (let place = 0; place < bits; place++) {
      const bit = this.#bit(base + node);
      node = (node << 1) | bit;
      value |= bit << place;
    }
    return value;
  }

  #literal(): void {
    const output = this.#output;
    const before = this.at > this.#dictionaryStart ? output[this.at - 1] : 0;
    const bits = this.#literalContextBits;
    const context = ((this.at & this.#literalPositionMask) << bits) + (before >> (8 - bits));
    const base = LITERAL + LITERAL_SIZE * context;
    let node = 1;
    if (this.#state >= LITERAL_STATES) {
      // After a match the byte that the match would have gone on with helps to predict, as long as it is right.
      let expected = output[this.at - this.#rep0 - 1];
      while (node < 0x100) {
        const expectedBit = (expected >> 7) & 1;
        expected <<= 1;
        const bit = this.#bit(base + ((1 + expectedBit) << 8) + node);
        node = (node << 1) | bit;
        if (bit !== expectedBit) break;
      }
    }
    while (node < 0x100) node = (node << 1) | this.#bit(base + node);
    output[this.at++] = node;
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
  }

  /** A match of an earlier distance: true where it is one byte of the last distance; else that distance is made the last. */
  #isShortRep(positionState: number): boolean {
    const state = this.#state;
    if (this.#bit(IS_REP_G0 + state) === 0) {
      return this.#bit(IS_REP0_LONG + state * POSITION_STATES + positionState) === 0;
    }
    let distance = this.#rep1;
    if (this.#bit(IS_REP_G1 + state) === 1) {
      distance = this.#rep2;
      if (this.#bit(IS_REP_G2 + state) === 1) {
        distance = this.#rep3;
        this.#rep3 = this.#rep2;
      }
      this.#rep2 = this.#rep1;
    }
    this.#rep1 = this.#rep0;
    this.#rep0 = distance;
    return false;
  }

  #length(coder: number, positionState: number): number {
    if (this.#bit(coder) === 0) return this.#tree(coder + LENGTH_LOW + positionState * 8, 3);
    if (this.#bit(coder + 1) === 0) return 8 + this.#tree(coder + LENGTH_MIDDLE + positionState * 8, 3);
    return 16 + this.#tree(coder + LENGTH_HIGH, 8);
  }

  /** The distance less one; -1 is the end marker. */
  #distance(length: number): number {
    const context = Math.min(length, LENGTH_CONTEXTS - 1);
    const slot = this.#tree(SLOT + context * 64, 6);
    if (slot < FIRST_SLOT_WITH_MODEL) return slot;
    const bits = (slot >> 1) - 1;
    const high = (2 | (slot & 1)) << bits;
    if (slot < FIRST_SLOT_WITH_DIRECT_BITS) return high + this.#reverseTree(SPECIAL + high - slot, bits);
    const middle = this.#direct(bits - ALIGN_BITS) << ALIGN_BITS;
    return (high + middle + this.#reverseTree(ALIGN, ALIGN_BITS)) | 0;
  }

  #match(length: number, end: number): void {
    const output = this.#output;
    const distance = this.#rep0 + 1;
    let to = this.at;
    // A negative one is above 2 GB.
    if (distance <= 0 || distance > to - this.#dictionaryStart || to + length > end) throw damaged();
    const stop = to + length;
    for (let from = to - distance; to < stop; ) output[to++] = output[from++];
    this.at = to;
  }
}

/**
 * Unpacks an ".lzma" file: properties, dictionary size, then the unpacked size (all ones where unknown).
 * Fails where it is damaged or would unpack to more than `maxBytes`.
 */
export function unpackLzma(packed: Uint8Array, maxBytes: number): Uint8Array {
  if (packed.length < 18) throw damaged();
  const claimedSize = new DataView(packed.buffer, packed.byteOffset).getBigUint64(5, true);
  const known = claimedSize !== 0xffff_ffff_ffff_ffffn;
  if (known && claimedSize > BigInt(maxBytes)) throw invalid(`the LZMA data claim to unpack to ${claimedSize} bytes`);
  const output = new Uint8Array(known ? Number(claimedSize) : maxBytes);
  const decoder = new LzmaDecoder(output);
  decoder.setProperties(packed[0]);
  decoder.resetState();
  decoder.decode(packed.subarray(13), output.length);
  if (known && decoder.at !== output.length) throw damaged();
  return output.subarray(0, decoder.at);
}
