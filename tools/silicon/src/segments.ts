/** Asks the processor about segments, 16-bit code, far transfers and single-step: see `packages/xen/silicon/segments.ts`. */

import { type CpuSnapshot, createRng, type Rng, seededState } from '../../../packages/x86/silicon/state.js';
import {
  codeOf,
  FLAT,
  hexOf,
  LAYOUT,
  SEGMENTS,
  type SegmentCase,
  type Selectors,
  startOf,
} from '../../../packages/xen/silicon/segments.js';
import { littleEndian } from './encode.js';
import { identifyProcessor, runOnProcessor } from './processor.js';

/** TF, IF and the bit that is always one. */
const FLAGS = 0x302;
const [EAX, ECX, EBX, ESP, EBP, ESI, EDI] = [0, 1, 3, 4, 5, 6, 7];
const [ES, CS, SS, DS, FS, GS] = [0, 1, 2, 3, 4, 5];
const at = LAYOUT.instructionAt - LAYOUT.codeBase;
const sel = (index: number): number => index * 8 + 7;

/** Code to run in: its segment, and the segments that fit to it. */
interface Mode {
  name: string;
  bits: 64 | 32 | 16;
  cs: number;
  rip: number;
  data: number;
}
const MODES: Mode[] = [
  { name: '64-bit', bits: 64, cs: FLAT.code64, rip: LAYOUT.instructionAt, data: FLAT.data },
  { name: '32-bit flat', bits: 32, cs: FLAT.code32, rip: LAYOUT.instructionAt, data: FLAT.data },
  { name: '32-bit', bits: 32, cs: sel(6), rip: at, data: sel(0) },
  { name: '16-bit', bits: 16, cs: sel(7), rip: at, data: sel(0) },
  { name: '32-bit limited', bits: 32, cs: sel(8), rip: at, data: sel(0) },
  { name: '16-bit limited', bits: 16, cs: sel(13), rip: at, data: sel(5) },
];
const SEGMENTED = MODES.slice(1);
const STACKS = [FLAT.data, sel(0), sel(1), sel(3), sel(4), sel(5), sel(12)];
const SELECTORS = [
  0,
  3,
  ...Array.from({ length: 16 }, (_, i) => sel(i)),
  ...[0x04, 0x34, 0x35, 0x3c, 0x18, 0x20, 0x23, 0x28, 0x2a, 0x2b, 0x30, 0x33],
];

type Question = Omit<SegmentCase, 'after'>;
interface Setup {
  segments?: Partial<Record<number, number>>;
  gpr?: Record<number, number | bigint>;
  data?: Record<number, number[]>;
  flags?: number;
}

function question(
  name: string,
  mode: Mode,
  code: number[],
  { segments = {}, gpr = {}, data = {}, flags }: Setup,
): Question {
  const selectors: Selectors = [ES, CS, SS, DS, FS, GS].map((register) =>
    register === CS ? mode.cs : (segments[register] ?? mode.data),
  );
  const hexes = (record: Record<number, number | bigint>): Record<number, string> =>
    Object.fromEntries(Object.entries(record).map(([n, value]) => [n, `0x${BigInt(value).toString(16)}`]));
  return {
    name: `${name}, ${mode.name}`,
    code: hexOf(Uint8Array.from(code)),
    selectors,
    rip: mode.rip,
    rflags: FLAGS | (flags ?? 0),
    gpr: hexes(gpr),
    data: Object.fromEntries(Object.entries(data).map(([n, bytes]) => [n, hexOf(Uint8Array.from(bytes))])),
  };
}

const pick = <T>(rng: Rng, list: readonly T[]): T => list[rng.below(list.length)];
/** Offsets on the edges of a segment, and one inside. */
function edges(rng: Rng, selector: number): number {
  if (selector === FLAT.data) return LAYOUT.dataBase + pick(rng, [0x10, 0x1ffc, 0x1fff, 0x2000, 0xffe, 0x1000]);
  const segment = SEGMENTS[selector >> 3];
  const limit = segment.rights & 0x8000 ? segment.limit * 4096 + 4095 : segment.limit;
  const near = [limit - 7, limit - 3, limit - 2, limit - 1, limit, limit + 1, limit + 2, limit + 0x20];
  return pick(rng, [...near, ...near, 0, 8, 0x40, 0x80, 0xfffc, 0xfffd, 0xfffe, 0xffff, 0x1_0000, 0xffff_ffff]) >>> 0;
}
/** An operand at (E)BX, or at (E)BP, of an instruction whose ModRM.reg is given. */
const modrm = (mode: Mode, reg: number, frame = false): number[] =>
  frame ? [0x40 | (reg << 3) | (mode.bits === 16 ? 6 : 5), 0] : [(reg << 3) | (mode.bits === 16 ? 7 : 3)];

const PREFIXES: [number, number[]][] = [
  [DS, []],
  [DS, [0x3e]],
  [ES, [0x26]],
  [SS, [0x36]],
  [FS, [0x64]],
  [GS, [0x65]],
];
const ACCESSES: [string, number[], number][] = [
  ['MOV load', [0x8b], EAX],
  ['MOV store', [0x89], EAX],
  ['MOV load byte', [0x8a], EAX],
  ['MOV store byte', [0x88], EAX],
  ['ADD to memory', [0x01], EAX],
  ['CMP memory', [0x39], EAX],
  ['XCHG', [0x87], ECX],
  ['MOVZX', [0x0f, 0xb7], ECX],
  ['INC', [0xff], 0],
  ['PUSH memory', [0xff], 6],
  ['MOVUPS', [0x0f, 0x10], 0],
  ['FLD m64', [0xdd], 0],
  ['LEA', [0x8d], ECX],
];

function* accesses(rng: Rng): Generator<Question> {
  for (let i = 0; i < 900; i++) {
    const mode = pick(rng, SEGMENTED);
    const [register, prefix] = pick(rng, PREFIXES);
    const selector = register === SS ? pick(rng, STACKS) : pick(rng, [0, ...STACKS, sel(2), sel(2), sel(6)]);
    const offset = selector === 0 ? 0x10 : edges(rng, selector);
    const [name, opcode, reg] = pick(rng, ACCESSES);
    const wide = rng.below(4) === 0 ? [0x66] : [];
    const frame = rng.below(4) === 0;
    const inSs = frame && prefix.length === 0;
    yield question(name, mode, [...prefix, ...wide, ...opcode, ...modrm(mode, reg, frame)], {
      segments: inSs ? { [SS]: STACKS.includes(selector) ? selector : sel(1) } : { [register]: selector },
      gpr: { [frame ? EBP : EBX]: offset, [ESP]: 0x40 },
    });
  }
  // Through CS: never to be written, and not always to be read.
  for (const mode of SEGMENTED) {
    for (const [name, opcode, reg] of ACCESSES) {
      const offset = mode.cs === FLAT.code32 ? LAYOUT.codeBase + 0x10 : 0x10;
      yield question(`${name} by CS`, mode, [0x2e, ...opcode, ...modrm(mode, reg)], {
        gpr: { [EBX]: offset, [ESP]: 0x40 },
      });
    }
  }
}

function* stacks(rng: Rng): Generator<Question> {
  const forms: [string, (mode: Mode) => number[]][] = [
    ['PUSH', () => [0x50]],
    ['PUSH ESP', () => [0x54]],
    ['PUSH imm8', () => [0x6a, 0x92]],
    ['POP', () => [0x59]],
    ['POP ESP', () => [0x5c]],
    ['PUSHA', () => [0x60]],
    ['POPA', () => [0x61]],
    ['PUSHF', () => [0x9c]],
    ['POPF', () => [0x9d]],
    ['PUSH DS', () => [0x1e]],
    ['CALL', (mode) => [0xe8, ...littleEndian(0x10, mode.bits === 16 ? 2 : 4)]],
    ['CALL register', () => [0xff, 0xd1]],
    ['RET', () => [0xc3]],
    ['RET imm16', () => [0xc2, 8, 0]],
    ['LEAVE', () => [0xc9]],
    ['ENTER', () => [0xc8, 0x10, 0, 0]],
    ['ENTER 2', () => [0xc8, 0x10, 0, 2]],
    ['POP memory', (mode) => [0x8f, ...modrm(mode, 0)]],
  ];
  for (const [name, code] of forms) {
    for (let i = 0; i < 24; i++) {
      const mode = pick(rng, SEGMENTED);
      const stack = pick(rng, STACKS);
      const sp = edges(rng, stack) >>> 0;
      const linear = stack === FLAT.data ? sp : sp + SEGMENTS[stack >> 3].base;
      const inWindow = (linear >>> 0) - LAYOUT.dataBase;
      const target = mode.rip + 0x10;
      const fits = inWindow >= 0 && inWindow <= 0x1ff8;
      const value = name === 'POPF' ? 0x200 | (rng.next() & 0x8d5) : target;
      const prefix = rng.below(4) === 0 && !name.startsWith('CALL') ? [0x66] : [];
      yield question(name, mode, [...prefix, ...code(mode)], {
        segments: { [SS]: stack },
        gpr: {
          [ESP]: sp,
          [EBP]: edges(rng, stack),
          [ECX]: pick(rng, [target, 0x5000_0000]),
          [EBX]: mode.data === FLAT.data ? LAYOUT.dataBase + 64 : 64,
        },
        data: fits ? { [inWindow]: littleEndian(value, 8) } : {},
      });
    }
  }
}

function* branches(rng: Rng): Generator<Question> {
  const near = (mode: Mode, to: number): number[] => littleEndian(to, mode.bits === 16 ? 2 : 4);
  const distances = [0x10, -0x20, 0x1c, 0x1e, 0x20, 0x7f, 0x3000, -0x900, 0x7fff, -0x8000];
  for (const mode of SEGMENTED.filter(({ cs }) => cs !== FLAT.code32)) {
    for (const distance of distances) {
      yield question('JMP', mode, [0xe9, ...near(mode, distance)], {});
      yield question('Jcc', mode, [0x0f, 0x84, ...near(mode, distance)], { flags: rng.below(2) * 0x40 });
      yield question('JMP register', mode, [0xff, 0xe1], { gpr: { [ECX]: (mode.rip + distance) >>> 0 } });
      if (distance !== (distance << 24) >> 24) continue;
      yield question('JMP short', mode, [0xeb, distance & 0xff], {});
      yield question('LOOP', mode, [0xe2, distance & 0xff], {
        gpr: { [ECX]: pick(rng, [1, 2, 0x1_0000, 0x1_0001, 0]) },
      });
      yield question('JCXZ', mode, [0xe3, distance & 0xff], { gpr: { [ECX]: pick(rng, [0, 0x1_0000, 1]) } });
    }
  }
}

function* strings(rng: Rng): Generator<Question> {
  const forms: [string, number][] = [
    ['MOVSB', 0xa4],
    ['MOVS', 0xa5],
    ['CMPS', 0xa7],
    ['STOSB', 0xaa],
    ['STOS', 0xab],
    ['LODS', 0xad],
    ['SCASB', 0xae],
  ];
  for (const [name, opcode] of forms) {
    for (let i = 0; i < 24; i++) {
      const mode = pick(rng, MODES);
      const [source, target] = mode.bits === 64 ? [FLAT.data, FLAT.data] : [pick(rng, STACKS), pick(rng, STACKS)];
      const repeat = pick(rng, [[], [0xf3], [0xf3]]);
      yield question(`${repeat.length ? 'REP ' : ''}${name}`, mode, [...repeat, opcode], {
        segments: { [DS]: source, [ES]: target },
        gpr: { [ESI]: edges(rng, source), [EDI]: edges(rng, target), [ECX]: pick(rng, [0, 1, 2, 5]) },
      });
    }
  }
}

function* loads(): Generator<Question> {
  for (const mode of [MODES[0], MODES[1], MODES[3]]) {
    for (const selector of SELECTORS) {
      const flat = mode.data === FLAT.data ? LAYOUT.dataBase : 0;
      const gpr = { [EAX]: selector | 0x7777_0000, [ESP]: flat + 0x100, [EBX]: flat + 0x200 };
      const pointer = littleEndian(0x1234_5678, mode.bits === 16 ? 2 : 4);
      const data = { 0x100: littleEndian(selector, 8), 0x200: [...pointer, ...littleEndian(selector, 2)] };
      // A load of SS lets the NOP behind it pass too.
      for (const register of [ES, SS, DS, FS, GS])
        yield question(`MOV to segment ${register}`, mode, [0x8e, 0xc0 | (register << 3), 0x90], { gpr });
      for (const code of mode.bits === 64 ? [] : [0x07, 0x17, 0x1f])
        yield question('POP segment', mode, [code, 0x90], { gpr, data });
      yield question('POP FS', mode, [0x0f, 0xa1], { gpr, data });
      for (const opcode of mode.bits === 64 ? [0xb2, 0xb4] : [0xb2, 0xb5])
        yield question('LSS, LFS, LGS', mode, [0x0f, opcode, ...modrm(mode, ECX), 0x90], { gpr, data });
      if (mode.bits !== 64) yield question('LES', mode, [0xc4, ...modrm(mode, ECX)], { gpr, data });
      for (const [name, code] of [
        ['LAR', [0x0f, 0x02, 0xc8]],
        ['LSL', [0x0f, 0x03, 0xc8]],
        ['VERR', [0x0f, 0x00, 0xe0]],
        ['VERW', [0x0f, 0x00, 0xe8]],
      ] as const)
        yield question(name, mode, [...code], { gpr, flags: selector & 0x40 });
    }
  }
}

function* farTransfers(rng: Rng): Generator<Question> {
  const places: [number, number][] = [
    [FLAT.code32, LAYOUT.instructionAt + 0x100],
    [FLAT.code64, LAYOUT.instructionAt + 0x100],
    [FLAT.code32 & ~3, LAYOUT.instructionAt + 0x100],
    ...[6, 7, 8, 13].map((index): [number, number] => [sel(index), 0x810]),
    ...[6, 7, 8, 13].map((index): [number, number] => [sel(index), 0x820]),
    ...[6, 7].map((index): [number, number] => [sel(index), 0x2000]),
    ...[0, 9, 11, 15].map((index): [number, number] => [sel(index), 0x810]),
    [0, 0x810],
    [3, 0x810],
  ];
  for (const mode of MODES) {
    const flat = mode.data === FLAT.data ? LAYOUT.dataBase : 0;
    for (const [selector, offset] of places) {
      for (const prefix of mode.bits === 64 ? [[], [0x48]] : [[], [0x66]]) {
        const size = mode.bits === 64 ? (prefix.length ? 8 : 4) : (mode.bits === 16) !== prefix.length > 0 ? 2 : 4;
        const pointer = [...littleEndian(offset, size), ...littleEndian(selector, 2)];
        const flags = 0x202 | (rng.next() & 0x8d5);
        const words = [offset, selector, flags, flat + 0x800, mode.data];
        const setup = {
          gpr: { [ESP]: flat + 0x100, [EBX]: flat + 0x200 },
          data: { 0x100: words.flatMap((word) => littleEndian(word, size)), 0x200: pointer },
        };
        if (mode.bits !== 64) {
          yield question('JMP far', mode, [...prefix, 0xea, ...pointer], setup);
          yield question('CALL far', mode, [...prefix, 0x9a, ...pointer], setup);
        }
        // Whether REX.W counts in far branches through memory differs by vendor.
        if (size !== 8) {
          yield question('JMP far memory', mode, [...prefix, 0xff, ...modrm(mode, 5)], setup);
          yield question('CALL far memory', mode, [...prefix, 0xff, ...modrm(mode, 3)], setup);
        }
        // A 64-bit frame has a whole descriptor's worth of stack: IRET loads SS from it.
        yield question('IRET', mode, [...prefix, 0xcf], setup);
        const bare = {
          ...setup,
          data: { ...setup.data, 0x100: words.slice(0, 2).flatMap((word) => littleEndian(word, size)) },
        };
        yield question('RET far', mode, [...prefix, 0xcb], bare);
        yield question('RET far imm16', mode, [...prefix, 0xca, 8, 0], bare);
      }
    }
  }
}

/** Single-step over what has a rule of its own. */
function* steps(): Generator<Question> {
  const mode = MODES[0];
  const gpr = { [ESP]: LAYOUT.dataBase + 0x100, [EBX]: LAYOUT.dataBase + 0x200, [EAX]: FLAT.data };
  const flags = (value: number): Record<number, number[]> => ({ 0x100: littleEndian(value, 8) });
  yield question('PUSHF under TF', mode, [0x9c], { gpr });
  yield question('POPF that clears TF', mode, [0x9d], { gpr, data: flags(0x202) });
  yield question('POPF that keeps TF', mode, [0x9d], { gpr, data: flags(0x302) });
  yield question('POPF that sets TF', mode, [0x9d, 0x90, 0x90], { gpr, data: flags(0x302), flags: -0x100 });
  yield question('MOV to SS', mode, [0x8e, 0xd0, 0x90, 0x90], { gpr });
  yield question('MOV to SS twice', mode, [0x8e, 0xd0, 0x8e, 0xd0, 0x90, 0x90], { gpr });
  yield question('MOV to SS before a fault', mode, [0x8e, 0xd0, 0x0f, 0x0b], { gpr });
  yield question('INT1', mode, [0xf1], { gpr });
  yield question('a fault', mode, [0x8b, 0x04, 0x25, 0x10, 0, 0, 0], { gpr });
  yield question('UD2', mode, [0x0f, 0x0b], { gpr });
  yield question('IRET that sets TF', mode, [0x48, 0xcf], {
    gpr,
    flags: -0x100,
    data: {
      0x100: [LAYOUT.instructionAt + 8, FLAT.code64, 0x302, LAYOUT.dataBase + 0x400, FLAT.data].flatMap((word) =>
        littleEndian(word, 8),
      ),
    },
  });
}

/** RFLAGS.AC, with CR0.AM set as Linux sets it: which sizes have to be aligned, and what comes before a page fault. */
function* alignment(): Generator<Question> {
  const forms: [string, number[]][] = [
    ['MOV byte', [0x8a, 0x03]],
    ['MOV word', [0x66, 0x8b, 0x03]],
    ['MOV doubleword', [0x8b, 0x03]],
    ['MOV doubleword store', [0x89, 0x03]],
    ['MOVUPS', [0x0f, 0x10, 0x03]],
    ['MOVUPS store', [0x0f, 0x11, 0x03]],
    ['MOVQ', [0xf3, 0x0f, 0x7e, 0x03]],
    ['MOVSS', [0xf3, 0x0f, 0x10, 0x03]],
    ['FLD m32', [0xd9, 0x03]],
    ['FLD m64', [0xdd, 0x03]],
    ['FLD m80', [0xdb, 0x2b]],
    ['FNSTENV', [0xd9, 0x33]],
    ['CMPXCHG8B', [0x0f, 0xc7, 0x0b]],
    ['ADD', [0x01, 0x03]],
    ['PUSH', [0x50]],
    ['POP', [0x59]],
    ['LODS', [0xad]],
    ['STOS', [0xab]],
    ['BT', [0x0f, 0xa3, 0x0b]],
  ];
  for (const [name, code] of forms) {
    for (const mode of [MODES[0], MODES[1], MODES[2]]) {
      for (const offset of [0, 1, 2, 4, 8, 0xfff, 0x1ffd, 0x2001, 0x2008]) {
        // Which of two faults an environment of 28 bytes reports is a processor's own way.
        if (name === 'FNSTENV' && offset > 0x1000) continue;
        const place = (mode.data === FLAT.data ? LAYOUT.dataBase : 0) + offset;
        const gpr = { [EBX]: place, [ESP]: place, [ESI]: place, [EDI]: place, [ECX]: 3 };
        yield question(`${name} with AC`, mode, code, { gpr, flags: 0x4_0000 });
      }
      if (mode.bits !== 64) continue;
      for (const offset of [0, 4, 8, 1]) {
        const gpr = { [EBX]: LAYOUT.dataBase + 0x40 + offset };
        if (!/^(MOV d|ADD)/.test(name)) continue;
        yield question(`${name} of 64 bits with AC`, mode, [0x48, ...code], { gpr, flags: 0x4_0000 });
      }
    }
  }
}

/** What is asked a thousand times of each, with any selector, registers, flags, operand size and place of the operand. */
const OFTEN = 1000;
const ofAnyMode = (reg: number, opcode: number[]) => (mode: Mode, rng: Rng) => ({
  code: [...opcode, ...(rng.below(2) ? [0xc1 | (reg << 3)] : modrm(mode, reg))],
});
interface Often {
  name: string;
  modes: readonly Mode[];
  code: (mode: Mode, rng: Rng) => { code: number[]; frame?: boolean };
}
const pointerLoad = (name: string, modes: readonly Mode[], opcode: number[]): Often => ({
  name,
  modes,
  code: (mode, rng) => ({ code: [...opcode, ...modrm(mode, pick(rng, [EAX, ECX, 2, EBP, ESI, EDI]))] }),
});
const fromStack = (name: string, modes: readonly Mode[], code: number[], frame = false): Often => ({
  name,
  modes,
  code: () => ({ code, frame }),
});
const toMemory = (name: string, reg: number): Often => ({
  name,
  modes: MODES,
  code: (mode) => ({ code: [0xff, ...modrm(mode, reg)] }),
});
const direct = (name: string, opcode: number): Often => ({
  name,
  modes: SEGMENTED,
  code: () => ({ code: [opcode] }),
});
const OFTEN_ASKED: readonly Often[] = [
  {
    name: 'MOV to segment',
    modes: MODES,
    code: (mode, rng) => ofAnyMode(pick(rng, [ES, SS, DS, FS, GS]), [0x8e])(mode, rng),
  },
  ...[0x07, 0x17, 0x1f].map((code) => fromStack(`POP segment ${code}`, SEGMENTED, [code])),
  fromStack('POP FS', MODES, [0x0f, 0xa1]),
  fromStack('POP GS', MODES, [0x0f, 0xa9]),
  pointerLoad('LES', SEGMENTED, [0xc4]),
  pointerLoad('LDS', SEGMENTED, [0xc5]),
  pointerLoad('LSS', MODES, [0x0f, 0xb2]),
  pointerLoad('LFS', MODES, [0x0f, 0xb4]),
  pointerLoad('LGS', SEGMENTED, [0x0f, 0xb5]),
  { name: 'LAR', modes: MODES, code: ofAnyMode(EDI, [0x0f, 0x02]) },
  { name: 'LSL', modes: MODES, code: ofAnyMode(ESI, [0x0f, 0x03]) },
  { name: 'VERR', modes: MODES, code: ofAnyMode(4, [0x0f, 0x00]) },
  { name: 'VERW', modes: MODES, code: ofAnyMode(5, [0x0f, 0x00]) },
  fromStack('IRET', MODES, [0xcf], true),
  fromStack('RET far', MODES, [0xcb]),
  fromStack('RET far imm16', MODES, [0xca, 8, 0]),
  toMemory('CALL far memory', 3),
  toMemory('JMP far memory', 5),
  direct('CALL far', 0x9a),
  direct('JMP far', 0xea),
];

/** Index and table of Linux's entry by which programs ask for their processor. */
const CPU_NUMBER = 15 << 1;
/** The arithmetic flags, and at times others that a program may give itself. */
const anyFlags = (rng: Rng, others: number): number => rng.next() & (rng.below(4) === 0 ? others | 0x8d5 : 0x8d5);
/** DF and AC, which a case may start with; and NT and ID, which a signal's frame does not set. */
const [STARTED_WITH, LOADED] = [0x4_0400, 0x24_4400];

const isFar = (name: string): boolean => /far memory|^L[A-Z]S$/.test(name);
const isFlat = (mode: Mode, segment: number): boolean => segment === FLAT.data || mode.bits === 64;

/** An offset in a segment where there mostly is room for an operand. */
const placeIn = (rng: Rng, mode: Mode, segment: number): number =>
  isFlat(mode, segment)
    ? LAYOUT.dataBase + pick(rng, [0x100, 0x100, 0x200, 0x103, 0xff8, 0x1ff0, 0x1ffe])
    : pick(rng, [0x100, 0x100, 0x80, 0x43, edges(rng, segment)]);

/** Bytes for the data window where an offset in a segment lies in it as a whole. */
function inWindow(mode: Mode, segment: number, offset: number, bytes: number[]): Record<number, number[]> {
  const base = isFlat(mode, segment) ? 0 : SEGMENTS[segment >> 3].base;
  const from = ((base + offset) >>> 0) - LAYOUT.dataBase;
  return from >= 0 && from + bytes.length <= LAYOUT.dataSize ? { [from]: bytes } : {};
}

/** One of the thousand, or null where some machines do not come back: from flat code that is not there. */
function oftenAsked({ name, modes, code }: Often, rng: Rng): Question | null {
  const mode = pick(rng, modes);
  const any = rng.below(24) * 8 + (rng.next() & 7);
  // In the GDT an entry of Linux's own tells the number of the processor.
  const selector = pick(rng, [pick(rng, SELECTORS), pick(rng, SELECTORS), any >> 2 === CPU_NUMBER ? any | 4 : any]);
  const prefix = pick(rng, [[], [], mode.bits === 64 ? [0x48] : [0x66]]);
  const asked = code(mode, rng);
  // Whether REX.W counts in far branches and pointers of memory differs by vendor.
  const wide = prefix[0] === 0x48 && !isFar(name);
  const size = wide ? 8 : mode.bits === 64 ? 4 : (mode.bits === 16) !== (prefix[0] === 0x66) ? 2 : 4;
  // A far transfer that comes somewhere ends at an INT3.
  const near = [0x810, 0x820, 0x81f, 0x2000, 0xffff];
  const target = pick(rng, size === 2 ? near : [...near, LAYOUT.instructionAt + 0x100]);
  const toFlat = [FLAT.code32, FLAT.code64].some((flat) => flat >> 2 === selector >> 2);
  if (toFlat && target < LAYOUT.codeBase) return null;
  const pointer = [...littleEndian(target, size), ...littleEndian(selector, 2)];
  const stack = mode.bits === 64 ? FLAT.data : pick(rng, [mode.data, mode.data, pick(rng, STACKS)]);
  const [sp, at] = [placeIn(rng, mode, stack), placeIn(rng, mode, mode.data)];
  const words = [target, selector, anyFlags(rng, LOADED) | 0x202, LAYOUT.dataBase + 0x800, mode.data];
  const pops = name.startsWith('POP');
  const frame = (asked.frame ? words : pops ? [selector, target] : words.slice(0, 2)).flatMap((word) =>
    littleEndian(word, pops && mode.bits === 64 ? 8 : size),
  );
  const written = isFar(name) ? pointer : littleEndian(selector, 2);
  const operands = /^(CALL|JMP) far$/.test(name) ? pointer : [];
  return question(name, mode, [...(wide || prefix[0] === 0x66 ? prefix : []), ...asked.code, ...operands, 0x90], {
    segments: { [SS]: stack },
    gpr: { [ESP]: sp, [EBX]: at, [ECX]: (selector | (rng.next() << 16)) >>> 0 },
    data: { ...inWindow(mode, stack, sp, frame), ...inWindow(mode, mode.data, at, written) },
    flags: anyFlags(rng, STARTED_WITH),
  });
}

function* often(rng: Rng): Generator<Question> {
  for (const asked of OFTEN_ASKED) {
    for (let i = 0; i < OFTEN + OFTEN / 8; i++) {
      const one = oftenAsked(asked, rng);
      if (one) yield one;
    }
  }
}

/** All questions that the runner can stop behind: without TF nothing but INT3 stops it. */
function questions(): Question[] {
  const rng = createRng(0x5e6);
  const all = [
    ...accesses(rng),
    ...stacks(rng),
    ...branches(rng),
    ...strings(rng),
    ...loads(),
    ...farTransfers(rng),
    ...steps(),
    ...alignment(),
    ...often(rng),
  ];
  return all.map((one) => ({ ...one, rflags: one.rflags > 0 ? one.rflags : 0x202 }));
}

function answered(
  one: Question,
  final: CpuSnapshot,
  selectors: number[],
  exception: { vector: number; errorCode: number; address: bigint } | undefined,
): SegmentCase {
  const before = startOf(one);
  const data: Record<number, string> = {};
  for (let i = 0; i < final.data.length; i++) {
    if (final.data[i] === before.data[i]) continue;
    let end = i + 1;
    while (end < final.data.length && final.data[end] !== before.data[end]) end++;
    data[i] = hexOf(final.data.subarray(i, end));
    i = end;
  }
  return {
    ...one,
    after: {
      rip: Number(final.rip),
      rflags: final.rflags,
      gpr: Object.fromEntries(
        [...final.gpr].flatMap((value, n) => (value === before.gpr[n] ? [] : [[n, `0x${value.toString(16)}`]])),
      ),
      ...(selectors.every((selector, i) => selector === before.selectors[i]) ? {} : { selectors }),
      data,
      ...(exception ? { exception: { ...exception, address: Number(exception.address) } } : {}),
    },
  };
}

/** The text of the stored file. */
export function askSegments(runner: string): { text: string; cases: number } {
  const { vendor, model } = identifyProcessor();
  const all = questions();
  const drafts = all.map((one) => {
    const start = startOf(one);
    const state = seededState(0, 'int');
    state.xmm.fill(0);
    return {
      code: codeOf(one),
      selectors: one.selectors,
      initial: { ...state, rip: start.rip, rflags: start.rflags, gpr: start.gpr, data: start.data },
    };
  });
  const results = [...runOnProcessor(runner, drafts)];
  const cases = all
    .map((one, i) => answered(one, results[i].final, results[i].selectors, results[i].exception))
    // What POPA has loaded before it faults is a processor's own way.
    .filter(({ name, after }) => !(name.startsWith('POPA') && after.exception));
  const lines = [JSON.stringify({ vendor, model }), ...cases.map((one) => JSON.stringify(one))];
  return { text: `${lines.join('\n')}\n`, cases: cases.length };
}
