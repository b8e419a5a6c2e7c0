/**
 * Compares what an engine made of a case with what the processor made of it, and says the difference in a few lines.
 *
 * Not compared: flags and registers that the manual leaves undefined for the case, and the x87 last-instruction
 * pointers (FIP, FDP, FOP), which processors record under different conditions. RCPPS, RSQRTPS and their scalar forms
 * are held to the manual's relative error (1.5 × 2^-12), the x87 transcendental functions to one unit in the last place.
 */

import type { CaseResult, CpuException, SiliconCase } from './case.js';
import { type CpuSnapshot, LAYOUT } from './state.js';

const GPR_NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const FLAG_NAMES: readonly [string, number][] = [
  ['CF', 0x1],
  ['PF', 0x4],
  ['AF', 0x10],
  ['ZF', 0x40],
  ['SF', 0x80],
  ['DF', 0x400],
  ['OF', 0x800],
  ['NT', 0x4000],
  ['AC', 0x4_0000],
  ['ID', 0x20_0000],
];
const RECIPROCAL_ERROR = 2 ** -12 * 1.5;

function hex(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

function bytesHex(bytes: Uint8Array, reverse = false): string {
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'));
  return (reverse ? digits.reverse() : digits).join(reverse ? '' : ' ');
}

function flagsText(flags: number): string {
  const set = FLAG_NAMES.filter(([, bit]) => (flags & bit) !== 0).map(([name]) => name);
  return `[${set.join(' ')}]`;
}

function exceptionText(exception: CpuException | undefined): string {
  if (!exception) return 'none';
  const { vector, errorCode, address } = exception;
  return `vector ${vector} error ${hex(errorCode)}${vector === 14 ? ` at ${hex(address)}` : ''}`;
}

function lane(bytes: Uint8Array, index: number, size: number): Uint8Array {
  return bytes.subarray(index * size, index * size + size);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

/** Both lanes NaN or within the manual's bound for the reciprocal approximations. */
function closeSingles(expected: Uint8Array, actual: Uint8Array): boolean {
  const a = new DataView(expected.buffer, expected.byteOffset, 16);
  const b = new DataView(actual.buffer, actual.byteOffset, 16);
  for (let at = 0; at < 16; at += 4) {
    if (a.getUint32(at, true) === b.getUint32(at, true)) continue;
    const want = a.getFloat32(at, true);
    const got = b.getFloat32(at, true);
    // Both may lie on opposite sides of the true value.
    if (!(Math.abs(want - got) <= Math.abs(want) * 2 * RECIPROCAL_ERROR)) return false;
  }
  return true;
}

/** Extended-precision values with the same sign whose encodings are at most two units apart. */
function closeExtended(expected: Uint8Array, actual: Uint8Array): boolean {
  const a = new DataView(expected.buffer, expected.byteOffset, 10);
  const b = new DataView(actual.buffer, actual.byteOffset, 10);
  const wantHead = a.getUint16(8, true);
  const gotHead = b.getUint16(8, true);
  if ((wantHead ^ gotHead) & 0x8000) return false;
  const order = (view: DataView, head: number): bigint =>
    (BigInt(head & 0x7fff) << 63n) | (view.getBigUint64(0, true) & 0x7fff_ffff_ffff_ffffn);
  const distance = order(a, wantHead) - order(b, gotHead);
  return distance <= 2n && distance >= -2n;
}

class Differences {
  readonly lines: string[] = [];
  check(what: string, same: boolean, expected: () => string, actual: () => string): void {
    if (!same) this.lines.push(`  ${what}: expected ${expected()}, actual ${actual()}`);
  }
  number(what: string, expected: number | bigint, actual: number | bigint): void {
    this.check(
      what,
      expected === actual,
      () => hex(expected),
      () => hex(actual),
    );
  }
}

function compareVectors(one: SiliconCase, actual: CpuSnapshot, differences: Differences): void {
  const approximate = one.undefined.tolerance === 'rcp-single';
  for (let i = 0; i < 16; i++) {
    const expected = lane(one.final.xmm, i, 16);
    const got = lane(actual.xmm, i, 16);
    const same = sameBytes(expected, got) || (approximate && closeSingles(expected, got));
    differences.check(
      `xmm${i}`,
      same,
      () => bytesHex(expected, true),
      () => bytesHex(got, true),
    );
  }
}

function compareX87(one: SiliconCase, actual: CpuSnapshot, differences: Differences): void {
  const expected = one.final.x87;
  const approximate = one.undefined.tolerance === 'x87-ulp';
  const fswMask = 0xffff & ~one.undefined.fsw;
  differences.number('fcw', expected.fcw, actual.x87.fcw);
  differences.number('fsw', expected.fsw & fswMask, actual.x87.fsw & fswMask);
  differences.number('ftw', expected.ftw, actual.x87.ftw);
  for (let i = 0; i < 8; i++) {
    const want = lane(expected.st, i, 10);
    const got = lane(actual.x87.st, i, 10);
    const same = sameBytes(want, got) || (approximate && closeExtended(want, got));
    differences.check(
      `st${i}`,
      same,
      () => bytesHex(want, true),
      () => bytesHex(got, true),
    );
  }
}

/** By words where the arrays allow it: most windows are equal, and this is the longest loop of a replay. */
function sameWindow(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length || a.length % 4 !== 0 || a.byteOffset % 4 !== 0 || b.byteOffset % 4 !== 0)
    return sameBytes(a, b);
  const left = new Int32Array(a.buffer, a.byteOffset, a.length / 4);
  const right = new Int32Array(b.buffer, b.byteOffset, b.length / 4);
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}

function compareData(one: SiliconCase, actual: CpuSnapshot, differences: Differences): void {
  const expected = one.final.data;
  if (sameWindow(expected, actual.data)) return;
  let first = -1;
  let last = -1;
  for (let i = 0; i < expected.length; i++) {
    if (expected[i] === actual.data[i]) continue;
    if (first < 0) first = i;
    last = i;
  }
  if (first < 0) return;
  const end = Math.min(last + 1, first + 32);
  differences.check(
    `memory ${hex(LAYOUT.dataBase + first)}..${hex(LAYOUT.dataBase + last)}`,
    false,
    () => bytesHex(expected.subarray(first, end)),
    () => bytesHex(actual.data.subarray(first, end)),
  );
}

function changedBytes(one: SiliconCase): string {
  const { data } = one.initial;
  const touched = one.final.data.findIndex((byte, i) => byte !== data[i]);
  if (touched < 0) return '';
  const from = touched & ~7;
  return `  memory ${hex(LAYOUT.dataBase + from)}: ${bytesHex(data.subarray(from, from + 16))}\n`;
}

/** What went in: everything that can matter for an integer, vector or x87 instruction, by what the case uses. */
export function describeInputs(one: SiliconCase): string {
  const { gpr, rflags, xmm, mxcsr, x87 } = one.initial;
  const registers = GPR_NAMES.map((name, i) => `${name}=${(gpr[i] ?? 0n).toString(16)}`).join(' ');
  let text = `  ${registers} flags=${flagsText(rflags)}\n${changedBytes(one)}`;
  if (/mm|ps|pd|ss|sd/i.test(one.name)) {
    const lanes = Array.from({ length: 16 }, (_, i) => `xmm${i}=${bytesHex(lane(xmm, i, 16), true)}`);
    text += `  mxcsr=${hex(mxcsr)} ${lanes.join(' ')}\n`;
  }
  if (x87.ftw !== 0) {
    const stack = Array.from({ length: 8 }, (_, i) => `st${i}=${bytesHex(lane(x87.st, i, 10), true)}`);
    text += `  fcw=${hex(x87.fcw)} fsw=${hex(x87.fsw)} ftw=${hex(x87.ftw)} ${stack.join(' ')}\n`;
  }
  return text;
}

/** `null` if the result is what the processor did, else a readable difference. */
export function compare(one: SiliconCase, result: CaseResult): string | null {
  const differences = new Differences();
  const { final, exception } = result;
  const same =
    exception?.vector === one.exception?.vector &&
    (exception?.errorCode ?? 0) === (one.exception?.errorCode ?? 0) &&
    (one.exception?.vector !== 14 || exception?.address === one.exception.address);
  differences.check(
    'exception',
    same,
    () => exceptionText(one.exception),
    () => exceptionText(exception),
  );
  differences.number('rip', one.final.rip, final.rip);
  for (let i = 0; i < 16; i++) {
    if ((one.undefined.gprs >> i) & 1) continue;
    differences.number(GPR_NAMES[i] ?? `gpr${i}`, one.final.gpr[i] ?? 0n, final.gpr[i] ?? 0n);
  }
  const flagMask = FLAG_NAMES.reduce((mask, [, bit]) => mask | bit, 0) & ~one.undefined.rflags;
  const expectedFlags = one.final.rflags & flagMask;
  const actualFlags = final.rflags & flagMask;
  differences.check(
    'flags',
    expectedFlags === actualFlags,
    () => flagsText(expectedFlags),
    () => flagsText(actualFlags),
  );
  compareVectors(one, final, differences);
  differences.number('mxcsr', one.final.mxcsr, final.mxcsr);
  compareX87(one, final, differences);
  compareData(one, final, differences);
  if (differences.lines.length === 0) return null;
  return `${one.name} (case ${one.ordinal}): ${bytesHex(one.code)}\n${describeInputs(one)}${differences.lines.join('\n')}`;
}
