/** AES, PCLMULQDQ and SHA instructions (Intel SDM vol. 2; FIPS 197, FIPS 180-4). */
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { bytesOf, immediate, register, source, xmm } from './sse-access.js';

// AES. A state is its sixteen bytes, column by column.

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(a: number, b: number): number {
  let product = 0;
  for (let x = a, y = b; y !== 0; y >>= 1) {
    if (y & 1) product ^= x;
    x = (x << 1) ^ (x & 0x80 ? 0x11b : 0);
  }
  return product;
}
const SBOX = new Uint8Array(256);
SBOX[0] = 0x63;
// Powers of 3 are all elements but zero, and those of 0xf6 their inverses.
for (
  let element = 3, inverse = 0xf6, i = 0;
  i < 255;
  i++, element = times(element, 3), inverse = times(inverse, 0xf6)
) {
  const turned = (by: number): number => (inverse << by) | (inverse >> (8 - by));
  SBOX[element] = inverse ^ turned(1) ^ turned(2) ^ turned(3) ^ turned(4) ^ 0x63;
}
const INVERSE_SBOX = new Uint8Array(256);
for (const [value, substituted] of SBOX.entries()) INVERSE_SBOX[substituted] = value;

type State = Uint8Array;
const substitute = (s: State, box: Uint8Array): State => s.map((byte) => box[byte]!);
/** Row r moves left (or right) by r columns. */
const shiftRows = (s: State, direction: 1 | -1): State => s.map((_, i) => s[(i + 16 + direction * 4 * (i & 3)) & 15]!);
const mixColumns = (s: State, factors: readonly number[]): State =>
  s.map((_, i) => factors.reduce((sum, factor, k) => sum ^ times(s[(i & 12) | ((i + k) & 3)]!, factor), 0));
const FORWARD = [2, 3, 1, 1];
const BACKWARD = [14, 11, 13, 9];
const addKey = (s: State, key: State): State => s.map((byte, i) => byte ^ key[i]!);

const aesRound =
  (round: (state: State) => State): SlowDefinition =>
  (c) => {
    const key = bytesOf(source(c, 1));
    const destination = bytesOf(register(c, 0));
    destination.set(addKey(round(destination.slice()), key));
  };
const encryptLast = (s: State): State => shiftRows(substitute(s, SBOX), 1);
const decryptLast = (s: State): State => shiftRows(substitute(s, INVERSE_SBOX), -1);

const keyAssist: SlowDefinition = (c) => {
  const from = source(c, 1);
  const constant = immediate(c, 2);
  const word = (at: number): number => [3, 2, 1, 0].reduce((sum, i) => (sum << 8) | SBOX[from.getUint8(at + i)]!, 0);
  const [x1, x3] = [word(4), word(12)];
  const turned = (x: number): number => (x >>> 8) | (x << 24);
  for (const [i, value] of [x1, turned(x1) ^ constant, x3, turned(x3) ^ constant].entries())
    register(c, 0).setUint32(i * 4, value, true);
};

/** Carry-less product of the halves that the immediate chooses. */
const carrylessMultiply: SlowDefinition = (c) => {
  const [a, b] = [source(c, 0), source(c, 1)];
  const control = immediate(c, 2);
  const x = a.getBigUint64(control & 1 ? 8 : 0, true);
  let product = 0n;
  for (let y = b.getBigUint64(control & 16 ? 8 : 0, true), shift = 0n; y !== 0n; y >>= 1n, shift++)
    if (y & 1n) product ^= x << shift;
  register(c, 0).setBigUint64(0, BigInt.asUintN(64, product), true);
  register(c, 0).setBigUint64(8, product >> 64n, true);
};

// SHA. Words are numbered from the lowest.

const wordsOf = (v: DataView): number[] => [0, 4, 8, 12].map((at) => v.getInt32(at, true));
const left = (x: number, by: number): number => (x << by) | (x >>> (32 - by));
const right = (x: number, by: number): number => left(x, 32 - by);
const choose = (x: number, y: number, z: number): number => (x & y) ^ (~x & z);
const majority = (x: number, y: number, z: number): number => (x & y) ^ (x & z) ^ (y & z);
const parity = (x: number, y: number, z: number): number => x ^ y ^ z;
const sigma0 = (x: number): number => right(x, 7) ^ right(x, 18) ^ (x >>> 3);
const sigma1 = (x: number): number => right(x, 17) ^ right(x, 19) ^ (x >>> 10);

const onWords =
  (compute: (a: number[], b: number[], c: SlowCpu) => number[]): SlowDefinition =>
  (c) => {
    const b = wordsOf(source(c, 1));
    const destination = register(c, 0);
    for (const [i, word] of compute(wordsOf(destination), b, c).entries()) destination.setInt32(i * 4, word, true);
  };
const SHA1_ROUNDS = [
  [choose, 0x5a827999],
  [parity, 0x6ed9eba1],
  [majority, 0x8f1bbcdc],
  [parity, 0xca62c1d6],
] as const;

function sha1Rounds(state: number[], schedule: number[], c: SlowCpu): number[] {
  const [mix, constant] = SHA1_ROUNDS[immediate(c, 2) & 3]!;
  let [d, cc, b, a, e] = [state[0]!, state[1]!, state[2]!, state[3]!, 0];
  for (let round = 0; round < 4; round++) {
    const next = (mix(b, cc, d) + left(a, 5) + schedule[3 - round]! + e + constant) | 0;
    [e, d, cc, b, a] = [d, cc, left(b, 30), a, next];
  }
  return [d, cc, b, a];
}
function sha256Rounds(low: number[], high: number[], c: SlowCpu): number[] {
  let [f, e, b, a] = [high[0]!, high[1]!, high[2]!, high[3]!];
  let [h, g, d, cc] = [low[0]!, low[1]!, low[2]!, low[3]!];
  const schedule = wordsOf(xmm(c, 0));
  for (let round = 0; round < 2; round++) {
    const sum1 = right(e, 6) ^ right(e, 11) ^ right(e, 25);
    const sum0 = right(a, 2) ^ right(a, 13) ^ right(a, 22);
    const first = (choose(e, f, g) + sum1 + schedule[round]! + h) | 0;
    const next = (first + majority(a, b, cc) + sum0) | 0;
    [h, g, f, e, d, cc, b, a] = [g, f, e, (first + d) | 0, cc, b, a, next];
  }
  return [f, e, b, a];
}

export const sseCrypto: SlowDefinitions = {
  AESENC: aesRound((s) => mixColumns(encryptLast(s), FORWARD)),
  AESENCLAST: aesRound(encryptLast),
  AESDEC: aesRound((s) => mixColumns(decryptLast(s), BACKWARD)),
  AESDECLAST: aesRound(decryptLast),
  AESIMC: (c) => bytesOf(register(c, 0)).set(mixColumns(bytesOf(source(c, 1)), BACKWARD)),
  AESKEYGENASSIST: keyAssist,
  PCLMULQDQ: carrylessMultiply,
  SHA1NEXTE: onWords((a, b) => [b[0]!, b[1]!, b[2]!, (b[3]! + left(a[3]!, 30)) | 0]),
  SHA1MSG1: onWords((a, b) => [a[0]! ^ b[2]!, a[1]! ^ b[3]!, a[2]! ^ a[0]!, a[3]! ^ a[1]!]),
  SHA1MSG2: onWords((a, b) => {
    const newest = left(a[3]! ^ b[2]!, 1);
    return [left(a[0]! ^ newest, 1), left(a[1]! ^ b[0]!, 1), left(a[2]! ^ b[1]!, 1), newest];
  }),
  SHA1RNDS4: onWords(sha1Rounds),
  SHA256RNDS2: onWords(sha256Rounds),
  SHA256MSG1: onWords((a, b) => a.map((word, i) => (word + sigma0(i < 3 ? a[i + 1]! : b[0]!)) | 0)),
  SHA256MSG2: onWords((a, b) => {
    const w16 = (a[0]! + sigma1(b[2]!)) | 0;
    const w17 = (a[1]! + sigma1(b[3]!)) | 0;
    return [w16, w17, (a[2]! + sigma1(w16)) | 0, (a[3]! + sigma1(w17)) | 0];
  }),
};
