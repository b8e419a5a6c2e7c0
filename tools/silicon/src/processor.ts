/** Runs cases on this machine's processor through the native runner, and says which processor that is. */

import { spawnSync } from 'node:child_process';
import { existsSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CaseResult } from '../../../packages/x86/silicon/case.js';
import { type CpuSnapshot, LAYOUT, SELECTORS, SNAPSHOT_FLAGS } from '../../../packages/x86/silicon/state.js';

const FX_SIZE = 416;
const REQUEST_SIZE = 16 + 16 + 8 + 128 + FX_SIZE + LAYOUT.dataSize;
const ANSWER_SIZE = 128 + 40 + 16 + FX_SIZE + LAYOUT.dataSize;
const BATCH = 2048;

export interface Question {
  code: Uint8Array;
  initial: CpuSnapshot;
  /** Bits of the code; 64 without it. */
  mode?: 64 | 32;
  /** ES, CS, SS, DS, FS, GS, and then `initial.rip` counts; without them Linux's for the mode. */
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

function writeRequest(view: DataView, at: number, question: Question): void {
  const { code, initial } = question;
  const selectors = question.selectors ?? (question.mode === 32 ? SELECTORS[32] : []);
  const bytes = new Uint8Array(view.buffer, view.byteOffset);
  bytes.set(code, at);
  for (let i = 0; i < 6; i++) view.setUint16(at + 16 + i * 2, selectors[i] ?? 0, true);
  view.setUint32(at + 28, Number(initial.rip), true);
  view.setUint32(at + 32, code.length, true);
  view.setUint32(at + 36, initial.rflags, true);
  new BigUint64Array(view.buffer, at + 40, 16).set(initial.gpr);
  writeFx(view, at + 168, initial);
  bytes.set(initial.data, at + 168 + FX_SIZE);
}

/** The data window of an answer: the question's own where nothing changed, as mostly. */
function readData(bytes: Uint8Array, initial: Uint8Array): Uint8Array {
  const now = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const before = new Uint32Array(initial.buffer, initial.byteOffset, initial.length / 4);
  for (let i = 0; i < now.length; i++) if (now[i] !== before[i]) return bytes.slice();
  return initial;
}

function readAnswer(view: DataView, at: number, asked: CpuSnapshot): CaseResult & { selectors: number[] } {
  const gpr = new BigUint64Array(view.buffer, at, 16).slice();
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
    data: readData(bytes.subarray(fx + FX_SIZE, fx + FX_SIZE + LAYOUT.dataSize), asked.data),
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

/** Files that the native runner maps, in memory where there is a file system for that; gone once they are closed. */
function openScratch(): number {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'silicon-'));
  const file = openSync(join(folder, 'scratch'), 'w+');
  rmSync(folder, { recursive: true });
  return file;
}
let scratch: { requests: number; answers: number } | undefined;
const input = new Uint8Array(BATCH * REQUEST_SIZE);
const output = new Uint8Array(BATCH * ANSWER_SIZE);

function runBatch(runner: string, questions: Question[]): ReturnType<typeof readAnswer>[] {
  scratch ??= { requests: openScratch(), answers: openScratch() };
  const { requests, answers } = scratch;
  const view = new DataView(input.buffer);
  questions.forEach((question, i) => writeRequest(view, i * REQUEST_SIZE, question));
  ftruncateSync(requests, questions.length * REQUEST_SIZE);
  writeSync(requests, input, 0, questions.length * REQUEST_SIZE, 0);
  ftruncateSync(answers, 0);
  ftruncateSync(answers, questions.length * ANSWER_SIZE);
  const told = new DataView(output.buffer);
  let trouble = '';
  // Now and then a hypervisor in between ends the runner for no reason of a case's own.
  for (let attempt = 0; attempt < 4; attempt++) {
    const { status, signal } = spawnSync(runner, [], { stdio: [requests, answers, 'inherit'], timeout: 60_000 });
    readSync(answers, output, 0, questions.length * ANSWER_SIZE, 0);
    // IF is set in every answer.
    const complete = told.getUint32((questions.length - 1) * ANSWER_SIZE + 136, true) !== 0;
    trouble = status === 0 && complete ? '' : `status ${status}, signal ${signal}`;
    if (trouble === '') break;
  }
  if (trouble !== '') {
    const at = questions.findIndex((_, i) => told.getUint32(i * ANSWER_SIZE + 136, true) === 0);
    const code = Buffer.from(questions[Math.max(at, 0)].code).toString('hex');
    throw new Error(`the native runner stopped (${trouble}) at the instruction ${code}`);
  }
  return questions.map(({ initial }, i) => readAnswer(told, i * ANSWER_SIZE, initial));
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
