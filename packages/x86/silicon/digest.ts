/**
 * Answers in short: of each case eight bits, and of each block of cases 32 bits that vouch for them. What an instruction
 * is asked is not stored at all: `tools/silicon/src/questions.ts` makes it again. So a thousand cases of an encoding
 * take a little more than a kilobyte, and a case that differs is found by its number.
 *
 * A digest is over everything that `compare` compares, with what is undefined left out; where the manual gives only
 * bounds (`Tolerance`) it leaves those registers to the cases stored in full. Little-endian:
 *
 *     file    := "PVSD" u8:version u32:headLength JSON(DigestHead) answers*
 *     answers := (for each form) u8 × cases, u32 × ceil(cases / BLOCK)
 */

import type { CaseResult, Undefined } from './case.js';
import type { CpuSnapshot } from './state.js';

export const BLOCK = 32;
const VERSION = 1;
const COMPARED_FLAGS = 0x24_4cd5;
const X87_WORDS = 20;

export interface DigestForm {
  /** Group, line of the tables, width and kind of operand. */
  key: string;
  cases: number;
  /** Digest of the questions: another one says that the tables have changed since the processor was asked. */
  questions: number;
}

export interface DigestHead {
  vendor: string;
  model: string;
  /** CPUID.1:EAX. */
  signature: number;
  forms: DigestForm[];
}

export interface FormAnswers extends DigestForm {
  answers: Uint8Array;
  blocks: Uint32Array;
}

export interface DigestFile extends Omit<DigestHead, 'forms'> {
  forms: ReadonlyMap<string, FormAnswers>;
}

/** Mixes words of 32 bits into one; not for adversaries. */
export class Digest {
  value = 0x811c9dc5;
  word(word: number): void {
    let mixed = Math.imul(this.value ^ word, 0x9e3779b1);
    mixed ^= mixed >>> 15;
    this.value = Math.imul(mixed, 0x85ebca77) ^ (mixed >>> 13);
  }
  words(words: Uint32Array): void {
    for (let i = 0; i < words.length; i++) this.word(words[i]!);
  }
  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.word(byte);
  }
}

const wordsOf = (bytes: Uint8Array | BigUint64Array): Uint32Array =>
  new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);

/** Where memory differs, and how. */
function digestMemory(digest: Digest, before: Uint8Array, after: Uint8Array): void {
  const [old, now] = [wordsOf(before), wordsOf(after)];
  for (let i = 0; i < now.length; i++) {
    if (now[i] === old[i]) continue;
    digest.word(i);
    digest.word(now[i]!);
  }
}

/** What an engine, or a processor, made of a case. The arrays of the states begin at multiples of four bytes. */
export function digestOf(initial: CpuSnapshot, { final, exception }: CaseResult, unknown: Undefined): number {
  const digest = new Digest();
  digest.word(exception ? exception.vector : 0x100);
  if (exception) digest.word(exception.errorCode);
  if (exception?.vector === 14) {
    digest.word(Number(exception.address & 0xffffffffn));
    digest.word(Number(exception.address >> 32n));
  }
  digest.word(Number(final.rip & 0xffffffffn));
  const registers = wordsOf(final.gpr);
  for (let i = 0; i < 16; i++) {
    if ((unknown.gprs >> i) & 1) continue;
    digest.word(registers[2 * i]!);
    digest.word(registers[2 * i + 1]!);
  }
  digest.word(final.rflags & COMPARED_FLAGS & ~unknown.rflags);
  if (unknown.tolerance !== 'rcp-single') digest.words(wordsOf(final.xmm));
  digest.word(final.mxcsr);
  const { fcw, fsw, ftw, st } = final.x87;
  digest.word(fcw);
  digest.word(fsw & ~unknown.fsw & 0xffff);
  digest.word(ftw);
  if (unknown.tolerance !== 'x87-ulp') digest.words(wordsOf(st).subarray(0, X87_WORDS));
  digestMemory(digest, initial.data, final.data);
  return digest.value >>> 0;
}

/** Puts the digests of a form's cases together. */
export function packAnswers(digests: readonly number[]): Pick<FormAnswers, 'answers' | 'blocks'> {
  const blocks = new Uint32Array(Math.ceil(digests.length / BLOCK));
  for (let block = 0; block < blocks.length; block++) {
    const digest = new Digest();
    for (const one of digests.slice(block * BLOCK, block * BLOCK + BLOCK)) digest.word(one);
    blocks[block] = digest.value;
  }
  return { answers: Uint8Array.from(digests, (digest) => digest & 0xff), blocks };
}

/**
 * Which of a block's cases differ, by their place in it: empty if none does, all if only the block as a whole tells that
 * one of them does. `digests` are those of all its cases.
 */
export function differingInBlock(stored: FormAnswers, block: number, digests: readonly number[]): number[] {
  const { answers, blocks } = packAnswers(digests);
  if (stored.blocks[block] === blocks[0]) return [];
  const different = digests.flatMap((_, i) => (answers[i] === stored.answers[block * BLOCK + i] ? [] : [i]));
  return different.length > 0 ? different : digests.map((_, i) => i);
}

export function writeDigests(head: Omit<DigestHead, 'forms'>, forms: readonly FormAnswers[]): Uint8Array {
  const listed: DigestHead = { ...head, forms: forms.map(({ key, cases, questions }) => ({ key, cases, questions })) };
  const json = new TextEncoder().encode(JSON.stringify(listed));
  const size = forms.reduce((sum, { answers, blocks }) => sum + answers.length + blocks.length * 4, 0);
  const bytes = new Uint8Array(9 + json.length + size);
  const view = new DataView(bytes.buffer);
  bytes.set([0x50, 0x56, 0x53, 0x44, VERSION]);
  view.setUint32(5, json.length, true);
  bytes.set(json, 9);
  let at = 9 + json.length;
  for (const { answers, blocks } of forms) {
    bytes.set(answers, at);
    at += answers.length;
    for (const block of blocks) {
      view.setUint32(at, block, true);
      at += 4;
    }
  }
  return bytes;
}

/** Opens a file's bytes, already gunzipped. */
export function readDigests(bytes: Uint8Array): DigestFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = String.fromCharCode(...bytes.subarray(0, 4));
  if (magic !== 'PVSD' || bytes[4] !== VERSION)
    throw new Error(`not a file of silicon digests of version ${VERSION}: it starts with "${magic}"`);
  const length = view.getUint32(5, true);
  const { forms: listed, ...processor } = JSON.parse(
    new TextDecoder().decode(bytes.subarray(9, 9 + length)),
  ) as DigestHead;
  let at = 9 + length;
  const forms = new Map<string, FormAnswers>();
  for (const form of listed) {
    const answers = bytes.subarray(at, at + form.cases);
    at += form.cases;
    const blocks = Uint32Array.from({ length: Math.ceil(form.cases / BLOCK) }, (_, i) =>
      view.getUint32(at + i * 4, true),
    );
    at += blocks.length * 4;
    forms.set(form.key, { ...form, answers, blocks });
  }
  return { ...processor, forms };
}
