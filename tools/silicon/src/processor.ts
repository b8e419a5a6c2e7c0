/** Runs cases on this machine's processor through the native runner, and says which processor that is. */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { CaseResult } from '../../../packages/x86/silicon/case.js';
import { type CpuSnapshot, LAYOUT, SNAPSHOT_FLAGS } from '../../../packages/x86/silicon/state.js';

const FX_SIZE = 416;
const REQUEST_SIZE = 16 + 16 + 8 + 128 + FX_SIZE + LAYOUT.dataSize;
const ANSWER_SIZE = 128 + 40 + 16 + FX_SIZE + LAYOUT.dataSize;
const BATCH = 2048;

export interface Question {
  code: Uint8Array;
  initial: CpuSnapshot;
  /** ES, CS, SS, DS, FS, GS, and then `initial.rip` counts; without them the runner's own. */
  selectors?: readonly number[];
}

function writeFx(view: DataView, at: number, from: CpuSnapshot): void {
  const { x87 } = from;
  view.setUint16(at, x87.fcw, true);
  view.setUint16(at + 2, x87.fsw, true);
  view.setUint8(at + 4, x87.ftw);
  view.setUint16(at + 6, x87.fop, true);
  view.setBigUint64(at + 8, x87.fip, true);
  view.setBigUint64(at + 16, x87.fdp, true);
  view.setUint32(at + 24, from.mxcsr, true);
  const bytes = new Uint8Array(view.buffer, view.byteOffset);
  for (let i = 0; i < 8; i++) bytes.set(x87.st.subarray(i * 10, i * 10 + 10), at + 32 + i * 16);
  bytes.set(from.xmm, at + 160);
}

function writeRequest(view: DataView, at: number, { code, initial, selectors }: Question): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset);
  bytes.set(code, at);
  selectors?.forEach((selector, i) => view.setUint16(at + 16 + i * 2, selector, true));
  if (selectors) view.setUint32(at + 28, Number(initial.rip), true);
  view.setUint32(at + 32, code.length, true);
  view.setUint32(at + 36, initial.rflags, true);
  for (let i = 0; i < 16; i++) view.setBigUint64(at + 40 + i * 8, initial.gpr[i], true);
  writeFx(view, at + 168, initial);
  bytes.set(initial.data, at + 168 + FX_SIZE);
}

function readAnswer(view: DataView, at: number): CaseResult & { selectors: number[] } {
  const gpr = new BigUint64Array(16);
  for (let i = 0; i < 16; i++) gpr[i] = view.getBigUint64(at + i * 8, true);
  const fx = at + 184;
  const bytes = new Uint8Array(view.buffer, view.byteOffset);
  const st = new Uint8Array(80);
  for (let i = 0; i < 8; i++) st.set(bytes.subarray(fx + 32 + i * 16, fx + 42 + i * 16), i * 10);
  const vector = view.getBigUint64(at + 144, true);
  const final: CpuSnapshot = {
    gpr,
    rip: view.getBigUint64(at + 128, true),
    rflags: Number(view.getBigUint64(at + 136, true)) & SNAPSHOT_FLAGS,
    xmm: bytes.slice(fx + 160, fx + 416),
    mxcsr: view.getUint32(fx + 24, true),
    x87: {
      fcw: view.getUint16(fx, true),
      fsw: view.getUint16(fx + 2, true),
      ftw: view.getUint8(fx + 4),
      fop: view.getUint16(fx + 6, true),
      fip: view.getBigUint64(fx + 8, true),
      fdp: view.getBigUint64(fx + 16, true),
      st,
    },
    data: bytes.slice(fx + FX_SIZE, fx + FX_SIZE + LAYOUT.dataSize),
  };
  const selectors = Array.from({ length: 6 }, (_, i) => view.getUint16(at + 168 + i * 2, true));
  if (vector === 0xffff_ffff_ffff_ffffn) return { final, selectors };
  const errorCode = Number(view.getBigUint64(at + 152, true));
  return {
    final,
    selectors,
    exception: { vector: Number(vector), errorCode, address: view.getBigUint64(at + 160, true) },
  };
}

function runBatch(runner: string, questions: Question[]): ReturnType<typeof readAnswer>[] {
  const input = new Uint8Array(questions.length * REQUEST_SIZE);
  const view = new DataView(input.buffer);
  questions.forEach((question, i) => writeRequest(view, i * REQUEST_SIZE, question));
  const result = spawnSync(runner, [], { input, maxBuffer: questions.length * ANSWER_SIZE + 4096, timeout: 60_000 });
  const { stdout } = result;
  const answered = Math.floor(stdout.length / ANSWER_SIZE);
  if (answered !== questions.length) {
    const { code } = questions[answered];
    const text = Buffer.from(code).toString('hex');
    throw new Error(
      `the native runner stopped (status ${result.status}, signal ${result.signal}) at the instruction ${text}`,
    );
  }
  const answers = new DataView(stdout.buffer, stdout.byteOffset, stdout.byteLength);
  return questions.map((_, i) => readAnswer(answers, i * ANSWER_SIZE));
}

/** Answers in the order of the questions. */
export function* runOnProcessor(
  runner: string,
  questions: Iterable<Question>,
): Generator<ReturnType<typeof readAnswer>> {
  let batch: Question[] = [];
  for (const question of questions) {
    batch.push(question);
    if (batch.length < BATCH) continue;
    yield* runBatch(runner, batch);
    batch = [];
  }
  if (batch.length > 0) yield* runBatch(runner, batch);
}

export interface ProcessorName {
  vendor: string;
  model: string;
  signature: number;
}

/** As Linux tells it; the signature is put together as CPUID.1:EAX has it. */
export function identifyProcessor(): ProcessorName {
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  const field = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1] ?? '';
  const family = Number(field('cpu family'));
  const model = Number(field('model'));
  const baseFamily = Math.min(family, 15);
  const signature =
    ((family - baseFamily) << 20) |
    ((model >> 4) << 16) |
    (baseFamily << 8) |
    ((model & 15) << 4) |
    Number(field('stepping'));
  return { vendor: field('vendor_id'), model: field('model name'), signature: signature >>> 0 };
}
