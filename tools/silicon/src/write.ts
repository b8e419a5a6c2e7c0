/** Writes the stored form of answered cases; the reader and the layout are in packages/x86/silicon/format.ts. */

import { type CaseResult, TOLERANCES, type Undefined } from '../../../packages/x86/silicon/case.js';
import { CODE_32, FORMAT_VERSION, SECTION } from '../../../packages/x86/silicon/format.js';
import { type CpuSnapshot, PROFILES, type Profile, type X87Snapshot } from '../../../packages/x86/silicon/state.js';
import { littleEndian } from './encode.js';
import type { ProcessorName } from './processor.js';

export interface Answered {
  code: Uint8Array;
  /** What the seed alone gives. */
  seeded: CpuSnapshot;
  initial: CpuSnapshot;
  result: CaseResult;
  undefined: Undefined;
}

export interface AnsweredForm {
  name: string;
  profile: Profile;
  mode: 64 | 32;
  cases: Answered[];
}

const u16 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];
const u32 = (value: number): number[] => littleEndian(value >>> 0, 4);
const u64 = (value: bigint): number[] => littleEndian(value, 8);

function text(value: string): number[] {
  return [value.length, ...Array.from(value, (character) => character.charCodeAt(0))];
}

function lanes(before: Uint8Array, after: Uint8Array, size: number, maskBytes: number): number[] | null {
  let mask = 0;
  const changed: number[] = [];
  for (let i = 0; i * size < before.length; i++) {
    const lane = after.subarray(i * size, i * size + size);
    if (lane.every((byte, k) => byte === before[i * size + k])) continue;
    mask |= 1 << i;
    changed.push(...lane);
  }
  return mask === 0 ? null : [...littleEndian(mask, maskBytes), ...changed];
}

function registers(before: BigUint64Array, after: BigUint64Array): number[] | null {
  let mask = 0;
  const changed: number[] = [];
  after.forEach((value, i) => {
    if (value === before[i]) return;
    mask |= 1 << i;
    changed.push(...u64(value));
  });
  return mask === 0 ? null : [...u16(mask), ...changed];
}

function control(before: X87Snapshot, after: X87Snapshot): number[] | null {
  const pack = (x87: X87Snapshot): number[] => [
    ...u16(x87.fcw),
    ...u16(x87.fsw),
    x87.ftw,
    ...u16(x87.fop),
    ...u64(x87.fip),
    ...u64(x87.fdp),
  ];
  const now = pack(after);
  return pack(before).every((byte, i) => byte === now[i]) ? null : now;
}

/** Segments of changed bytes; gaps of up to eight equal bytes are joined. */
function memory(before: Uint8Array, after: Uint8Array): number[] | null {
  const segments: [number, number][] = [];
  for (let i = 0; i < after.length; i++) {
    if (before[i] === after[i]) continue;
    const last = segments.at(-1);
    if (last && i - last[1] <= 8) last[1] = i + 1;
    else segments.push([i, i + 1]);
  }
  if (segments.length === 0) return null;
  if (segments.length > 255) throw new Error('a case changes memory in more than 255 places');
  return [
    segments.length,
    ...segments.flatMap(([from, to]) => [...u16(from), ...u16(to - from), ...after.subarray(from, to)]),
  ];
}

function scalar(before: number, after: number): number[] | null {
  return before === after ? null : u32(after);
}

function encodeCase({ code, seeded, initial, result, undefined: unknown }: Answered): number[] {
  const { final, exception } = result;
  const nothingUndefined =
    unknown.rflags === 0 && unknown.gprs === 0 && unknown.fsw === 0 && unknown.tolerance === 'exact';
  const sections: [number, number[] | null][] = [
    [SECTION.initialGpr, registers(seeded.gpr, initial.gpr)],
    [SECTION.initialRflags, scalar(seeded.rflags, initial.rflags)],
    [SECTION.initialMxcsr, scalar(seeded.mxcsr, initial.mxcsr)],
    [SECTION.initialXmm, lanes(seeded.xmm, initial.xmm, 16, 2)],
    [SECTION.initialX87, control(seeded.x87, initial.x87)],
    [SECTION.initialSt, lanes(seeded.x87.st, initial.x87.st, 10, 1)],
    [SECTION.initialData, memory(seeded.data, initial.data)],
    [
      SECTION.undefined,
      nothingUndefined
        ? null
        : [...u32(unknown.rflags), ...u16(unknown.gprs), ...u16(unknown.fsw), TOLERANCES.indexOf(unknown.tolerance)],
    ],
    [SECTION.finalGpr, registers(initial.gpr, final.gpr)],
    [SECTION.finalRflags, scalar(initial.rflags, final.rflags)],
    [SECTION.finalMxcsr, scalar(initial.mxcsr, final.mxcsr)],
    [SECTION.finalXmm, lanes(initial.xmm, final.xmm, 16, 2)],
    [SECTION.finalX87, control(initial.x87, final.x87)],
    [SECTION.finalSt, lanes(initial.x87.st, final.x87.st, 10, 1)],
    [SECTION.finalData, memory(initial.data, final.data)],
    [SECTION.exception, exception ? [exception.vector, ...u32(exception.errorCode), ...u64(exception.address)] : null],
  ];
  let mask = 0;
  const body: number[] = [];
  for (const [section, bytes] of sections) {
    if (!bytes) continue;
    mask |= section;
    body.push(...bytes);
  }
  return [code.length, ...code, ...u16(mask), ...body, ...u32(Number(final.rip))];
}

export function encodeForm({ name, profile, mode, cases }: AnsweredForm): Uint8Array {
  const how = PROFILES.indexOf(profile) | (mode === 32 ? CODE_32 : 0);
  const bytes = [...text(name), how, ...u16(cases.length)];
  for (const one of cases) for (const byte of encodeCase(one)) bytes.push(byte);
  return Uint8Array.from(bytes);
}

export function encodeFile(processor: ProcessorName, group: string, fileSeed: number, forms: Uint8Array[]): Uint8Array {
  const head = [...text('PVSI').slice(1), FORMAT_VERSION, ...u32(fileSeed)];
  head.push(...text(processor.vendor), ...text(processor.model), ...u32(processor.signature), ...text(group));
  return new Uint8Array(Buffer.concat([Uint8Array.from([...head, ...u16(forms.length)]), ...forms]));
}
