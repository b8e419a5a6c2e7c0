/** A case while it is being put together: chosen registers, where its memory operand lies, and its initial state. */

import type { Undefined } from '../../../packages/x86/silicon/case.js';
import {
  biased64,
  biasedDouble,
  biasedExtended,
  biasedLanes,
  biasedSingle,
  type CpuSnapshot,
  createRng,
  LAYOUT,
  type Profile,
  type Rng,
  seededState,
} from '../../../packages/x86/silicon/state.js';
import { littleEndian, type Memory, type Parts } from './encode.js';
import type { Form } from './form.js';

export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** Where a memory operand is put. */
export type Place = 'inside' | 'crossing' | 'guard' | 'crossing-guard' | 'read-only' | 'non-canonical';

export interface Draft {
  form: Form;
  profile: Profile;
  rng: Rng;
  /** Position among the cases of the form. */
  index: number;
  /** Registers 0 to 7 only and no REX prefix: byte registers 4 to 7 are AH, CH, DH and BH. */
  legacy: boolean;
  parts: Parts;
  initial: CpuSnapshot;
  /** Register numbers of the operands, -1 for those that are none. */
  registers: number[];
  /** Linear address of the memory operand. */
  target: bigint;
  place: Place;
  undefined: Undefined;
}

export function chance(rng: Rng, percent: number): boolean {
  return rng.below(100) < percent;
}

export function pick<T>(rng: Rng, values: readonly T[]): T {
  return values[rng.below(values.length)];
}

export function createDraft(form: Form, profile: Profile, seed: number, index: number): Draft {
  const rng = createRng(seed ^ 0x5117_c0de);
  return {
    form,
    profile,
    rng,
    index,
    legacy: (!form.rexW && !form.vex && chance(rng, 35)) || form.mode === 32,
    parts: {
      prefixes: form.operandPrefix ? [0x66] : [],
      mandatory: form.mandatory,
      opcode: form.opcode,
      rexW: form.rexW,
      forceRex: false,
      reg: typeof form.modrm === 'number' ? form.modrm : 0,
      immediate: [],
    },
    initial: seededState(seed, profile),
    registers: form.operands.map(() => -1),
    target: 0n,
    place: 'inside',
    undefined: { rflags: 0, gprs: 0, fsw: 0, tolerance: 'exact' },
  };
}

/** The bytes that lie in the data window; the rest of the write is dropped. */
export function setMemory(draft: Draft, address: bigint, bytes: ArrayLike<number>): void {
  const from = Number(BigInt.asIntN(64, address - BigInt(LAYOUT.dataBase)));
  const { data } = draft.initial;
  for (let i = 0; i < bytes.length; i++) if (from + i >= 0 && from + i < data.length) data[from + i] = bytes[i];
}

export function getMemory(draft: Draft, address: bigint, size: number): bigint {
  const from = Number(BigInt.asIntN(64, address - BigInt(LAYOUT.dataBase)));
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(draft.initial.data[from + i] ?? 0);
  return value;
}

/** Bytes of a value of the kind that the profile works with. */
export function biasedBytes(rng: Rng, profile: Profile, size: number): number[] {
  const bytes: number[] = [];
  while (bytes.length < size) {
    const left = size - bytes.length;
    if (profile === 'x87' && left === 10) {
      const ten = new Uint8Array(10);
      biasedExtended(rng, ten, 0);
      bytes.push(...ten);
    } else if ((profile === 'f32' || profile === 'x87') && left >= 4 && left !== 8) {
      bytes.push(...littleEndian(biasedSingle(rng), 4));
    } else if (profile === 'f32' && left >= 4) {
      bytes.push(...littleEndian(biasedSingle(rng), 4), ...littleEndian(biasedSingle(rng), 4));
    } else if ((profile === 'f64' || profile === 'x87') && left >= 8) {
      bytes.push(...biasedDouble(rng).flatMap((half) => littleEndian(half, 4)));
    } else if (size > 8 || profile === 'mmx') {
      bytes.push(...biasedLanes(rng).flatMap((half) => littleEndian(half, 4)));
    } else {
      bytes.push(...littleEndian(biased64(rng), 8));
    }
  }
  return bytes.slice(0, size);
}

export function isHighByte(draft: Draft, operand: number): boolean {
  const { size, kind } = draft.form.operands[operand];
  return draft.legacy && size === 1 && 'ERGZ'.includes(kind) && draft.registers[operand] >= 4;
}

/** The general register that an operand's value is in (AH is in RAX). */
export function containerOf(draft: Draft, operand: number): number {
  return isHighByte(draft, operand) ? draft.registers[operand] - 4 : draft.registers[operand];
}

export function getOperand(draft: Draft, operand: number): bigint {
  const { size, kind } = draft.form.operands[operand];
  if (draft.form.memory && 'EMWQO'.includes(kind)) return getMemory(draft, draft.target, size);
  const value = draft.initial.gpr[containerOf(draft, operand)];
  return BigInt.asUintN(size * 8, isHighByte(draft, operand) ? value >> 8n : value);
}

/** Sets a register operand (keeping what lies above its size) or the memory operand. */
export function setOperand(draft: Draft, operand: number, value: bigint): void {
  const { size, kind } = draft.form.operands[operand];
  if (draft.form.memory && 'EMWQO'.includes(kind)) {
    setMemory(draft, draft.target, littleEndian(value, size));
    return;
  }
  setRegister(draft, containerOf(draft, operand), value, size, isHighByte(draft, operand) ? 8n : 0n);
}

export function setRegister(draft: Draft, register: number, value: bigint, size = 8, shift = 0n): void {
  const mask = ((1n << BigInt(size * 8)) - 1n) << shift;
  draft.initial.gpr[register] = (draft.initial.gpr[register] & ~mask) | ((value << shift) & mask);
}

/** Registers that the address of the memory operand is made of. */
export function addressRegisters(draft: Draft): number[] {
  const { rm } = draft.parts;
  if (!rm || !('memory' in rm)) return [];
  return [rm.memory.base, rm.memory.index].filter((register) => register !== undefined);
}

/** An address in the code window where an INT3 waits. */
export function landingAddress(rng: Rng): number {
  for (;;) {
    const at = LAYOUT.codeBase + rng.below(LAYOUT.codeSize);
    if (at < LAYOUT.instructionAt || at >= LAYOUT.instructionAt + 16) return at;
  }
}

/** Which place the memory operand of a form's n-th case gets: about two thirds lie inside. */
export function placeFor(index: number, size: number): Place {
  const turn = index % 24;
  if (size > 1 && (turn === 3 || turn === 15)) return 'crossing';
  if (turn === 7) return 'guard';
  if (size > 1 && turn === 11) return 'crossing-guard';
  if (turn === 19) return 'read-only';
  if (turn === 23) return 'non-canonical';
  return 'inside';
}

export function placeAddress(rng: Rng, place: Place, size: number, alignment: number): bigint {
  const { dataBase, dataSize, guardBase, readOnlyBase, readOnlySize } = LAYOUT;
  const within = (base: number, length: number): bigint => {
    const offset = rng.below(length);
    return BigInt(base + (chance(rng, alignment < 16 ? 60 : 85) ? offset - (offset % alignment) : offset));
  };
  const straddle = (): number => 1 + rng.below(Math.max(1, size - 1));
  switch (place) {
    case 'inside':
      return within(dataBase + 0x100, dataSize - 0x200 - size);
    case 'crossing':
      // Where misalignment is an exception of its own, mostly the neighbour of the boundary.
      if (alignment >= 16 && chance(rng, 60)) return BigInt(dataBase + 0x1000 - (chance(rng, 50) ? 16 : 0));
      return BigInt(dataBase + 0x1000 - straddle());
    case 'guard':
      return within(guardBase, 0x1000 - size);
    case 'crossing-guard':
      return BigInt(guardBase - straddle());
    case 'read-only':
      return within(readOnlyBase, readOnlySize - size);
    case 'non-canonical':
      return BigInt.asUintN(
        64,
        (((BigInt(0x8000 + rng.below(0x7000)) << 32n) << 1n) << 8n) ^ BigInt(rng.next()) ^ (1n << 62n),
      );
  }
}

interface Candidates {
  base: number | undefined;
  index: number | undefined;
  rip: boolean;
  segment: number | undefined;
  short: boolean;
}

function chooseAddressing(draft: Draft, avoid: ReadonlySet<number>): Candidates {
  const { rng } = draft;
  const limit = draft.legacy ? 8 : 16;
  const free = Array.from({ length: limit }, (_, i) => i).filter((register) => !avoid.has(register));
  const base = pick(rng, free);
  const narrow = draft.form.mode === 32;
  const kind = draft.place === 'non-canonical' ? rng.below(6) : rng.below(narrow ? 11 : 12);
  const others = free.filter((register) => register !== RSP && register !== base);
  const segment =
    // FS and GS hold null in 32-bit code.
    chance(rng, 12) && !narrow
      ? pick(rng, [0x64, 0x65])
      : chance(rng, 6)
        ? pick(rng, [0x26, 0x2e, 0x36, 0x3e])
        : undefined;
  const short = !narrow && draft.place !== 'non-canonical' && chance(rng, 8);
  const both = { rip: false, segment, short };
  if (kind < 5 || others.length === 0) return { base, index: undefined, ...both };
  if (kind < 9) return { base, index: pick(rng, others), ...both };
  if (kind === 9) return { base: undefined, index: pick(rng, others), ...both };
  if (kind === 10) return { base: undefined, index: undefined, ...both };
  return { base: undefined, index: undefined, rip: true, segment: undefined, short: false };
}

const INDEXES = [0n, 1n, 2n, 8n, 0x10n, 0xffff_ffff_ffff_ffffn, 0xffff_ffff_ffff_fff8n, 0x7fff_ffffn, 0x8000_0000n];

/**
 * Makes the memory operand of `size` bytes refer to `draft.target`: picks an addressing form, and gives its registers
 * values that add up. `avoid` are registers whose values matter otherwise.
 */
export function placeOperand(draft: Draft, avoid: ReadonlySet<number>): void {
  const { rng, parts, initial } = draft;
  const { base, index, rip, segment, short } = chooseAddressing(draft, avoid);
  if (segment !== undefined) parts.prefixes.unshift(segment);
  if (short) parts.prefixes.unshift(0x67);
  const segmentBase = segment === 0x64 ? LAYOUT.fsBase : segment === 0x65 ? LAYOUT.gsBase : 0;
  const effective = BigInt.asUintN(64, draft.target - BigInt(segmentBase));
  const memory: Memory = { scale: 0, displacement: 0, displacementSize: 0 };
  parts.rm = { memory };
  if (rip) {
    memory.ripTarget = Number(draft.target);
    return;
  }
  memory.scale = index === undefined ? 0 : rng.below(4);
  if (base !== undefined) {
    memory.base = base;
    const size = pick(rng, [0, 1, 4] as const);
    memory.displacementSize = size === 0 && (base & 7) === 5 ? 1 : size;
    const spread = memory.displacementSize === 1 ? 256 : 0x2_0000;
    memory.displacement = memory.displacementSize === 0 ? 0 : rng.below(spread) - spread / 2;
  }
  const shortMask = (value: bigint): bigint =>
    short ? (value & 0xffff_ffffn) | (BigInt(rng.next()) << 32n) : BigInt.asUintN(64, value);
  let rest = effective - BigInt(memory.displacement);
  if (index !== undefined) {
    memory.index = index;
    if (base === undefined) {
      // Index and 32-bit displacement only: the displacement makes up for what the index can't reach.
      const step = BigInt(rng.below(0x1000));
      initial.gpr[index] = shortMask(step);
      memory.displacement = Number(BigInt.asIntN(32, effective - (step << BigInt(memory.scale))));
      if (draft.place === 'non-canonical') initial.gpr[index] = effective >> BigInt(memory.scale);
      return;
    }
    const value = chance(rng, 60) ? pick(rng, INDEXES) : biased64(rng);
    initial.gpr[index] = value;
    rest -= value << BigInt(memory.scale);
  }
  if (base === undefined) memory.displacement = Number(BigInt.asIntN(32, effective));
  else initial.gpr[base] = shortMask(rest);
}
