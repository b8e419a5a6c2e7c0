/**
 * Turns a form into a case: picks registers, places the memory operand, and gives the operands that an instruction is
 * particular about (divisors, shift counts, stack and string pointers, branch targets) values that make sense.
 */

import { biased64, LAYOUT, RFLAGS } from '../../../packages/x86/silicon/state.js';
import {
  addressRegisters,
  biasedBytes,
  chance,
  containerOf,
  type Draft,
  getOperand,
  landingAddress,
  type Place,
  pick,
  placeAddress,
  placeFor,
  placeOperand,
  RAX,
  RBP,
  RBX,
  RCX,
  RDI,
  RDX,
  RSP,
  setMemory,
  setOperand,
  setRegister,
} from './draft.js';
import { assemble, littleEndian } from './encode.js';
import type { Form } from './form.js';
import {
  prepareArea,
  prepareControlWord,
  prepareDecimal,
  prepareEnvironment,
  prepareFloat,
  prepareStore,
  prepareText,
  prepareVectorShift,
  prepareXsave,
} from './prepare-float.js';
import { prepareString } from './prepare-string.js';
import { markUndefined } from './undefined.js';

/** Registers that an option's preparation sets and that addresses must leave alone. */
const RESERVED: Record<string, number[]> = {
  shift: [RCX],
  divide: [RAX, RDX],
  exchange: [RAX, RDX, RBX, RCX],
  stack: [RSP, RBP],
  branch: [RSP],
  count: [RCX],
  table: [RBX, RAX],
  store: [RDI],
  text: [RAX, RDX],
  xsave: [RAX, RDX],
};

function reservedRegisters(draft: Draft): Set<number> {
  const reserved = new Set<number>();
  for (const option of draft.form.options) for (const register of RESERVED[option] ?? []) reserved.add(register);
  return reserved;
}

function pickRegisters(draft: Draft): void {
  const { form, rng, parts, legacy } = draft;
  const reserved =
    form.options.has('branch') || form.options.has('stack-pointer-free') ? new Set([RSP]) : new Set<number>();
  form.operands.forEach((operand, i) => {
    const { kind, size } = operand;
    if (kind === 'I' || kind === 'J' || kind === 'fixed' || kind === 'M' || kind === 'O') return;
    if (form.memory && 'EWQ'.includes(kind)) return;
    const limit = 'PQNS'.includes(kind) || legacy ? 8 : 16;
    let register = rng.below(limit);
    while (reserved.has(register) && 'ERGZ'.includes(kind)) register = rng.below(limit);
    draft.registers[i] = register;
    if ('ERGZ'.includes(kind) && size === 1 && !legacy && register >= 4) parts.forceRex = true;
    if ('EWQRUNS'.includes(kind)) parts.rm = { register };
    else if ('GVP'.includes(kind)) parts.reg = register;
    else if (kind === 'Z') parts.plusRegister = register;
  });
  if (form.vex) {
    const v = form.operands.findIndex((operand) => operand.kind === 'B');
    parts.vex = { ...form.vex, v: v < 0 ? 0 : draft.registers[v] };
  }
  // Two byte registers of which one needs REX: all of them follow the REX rules then, which `legacy` = false says.
}

/** Bytes of the operand in memory. */
export function memorySize(form: Form): number {
  return form.operands.find((operand) => 'EMWQO'.includes(operand.kind))?.size ?? 0;
}

/** MOV with an address in the instruction: eight bytes of it, four with an address-size prefix. */
function placeAbsolute(draft: Draft): void {
  const { rng, parts, target, place } = draft;
  if (draft.form.mode === 32) {
    parts.immediate.push(...littleEndian(target, 4));
    return;
  }
  const segment = chance(rng, 25) ? pick(rng, [0x64, 0x65]) : undefined;
  const short = place !== 'non-canonical' && segment === undefined && chance(rng, 20);
  if (segment !== undefined) parts.prefixes.push(segment);
  if (short) parts.prefixes.push(0x67);
  const base = segment === 0x64 ? LAYOUT.fsBase : segment === 0x65 ? LAYOUT.gsBase : 0;
  parts.immediate.push(...littleEndian(target - BigInt(base), short ? 4 : 8));
}

/** In 32-bit code every address is canonical. */
function placeOf({ form, index }: Draft, size: number): Place {
  const place = placeFor(index, size);
  return form.mode === 32 && place === 'non-canonical' ? 'guard' : place;
}

const alignmentOf = (options: ReadonlySet<string>, size: number): number =>
  options.has('xsave') ? 64 : Math.max(1, size > 16 ? 16 : size);

function prepareMemory(draft: Draft): void {
  const { form, rng, profile } = draft;
  if (!form.memory) return;
  const size = memorySize(form);
  draft.place = form.options.has('address-only') ? 'inside' : placeOf(draft, size);
  draft.target = placeAddress(rng, draft.place, size, alignmentOf(form.options, size));
  const avoid = reservedRegisters(draft);
  let operandAddress = draft.target;
  if (form.options.has('bit-string')) {
    // The bit offset in the register selects an element far from the operand's own address.
    const offsetRegister = draft.registers[1];
    avoid.add(offsetRegister);
    const elements = rng.below(3) === 0 ? 0 : rng.below(4000) - 2000;
    const bits = size * 8;
    const offset = elements * bits + rng.below(bits);
    const wanted = size === 2 ? BigInt.asIntN(16, BigInt(offset)) : BigInt(offset);
    setRegister(draft, offsetRegister, BigInt.asUintN(size * 8, wanted), size);
    operandAddress = BigInt.asUintN(64, draft.target - (wanted >> BigInt(Math.log2(bits))) * BigInt(size));
  } else if (chance(rng, 85)) {
    for (const register of draft.registers) if (register >= 0) avoid.add(register & 15);
  }
  const accessed = draft.target;
  draft.target = operandAddress;
  if (form.operands.some((operand) => operand.kind === 'O')) placeAbsolute(draft);
  else placeOperand(draft, avoid);
  draft.target = accessed;
  setMemory(draft, draft.target, biasedBytes(rng, form.options.has('integer-memory') ? 'int' : profile, size));
}

function prepareImmediates(draft: Draft): void {
  const { form, rng, parts } = draft;
  for (const { kind, size } of form.operands) {
    if (kind === 'I') parts.immediate.push(...littleEndian(immediateValue(draft, size), size));
    else if (kind === 'J') {
      parts.immediate.push(...littleEndian(0, size));
      const next = LAYOUT.instructionAt + assemble(parts).length;
      let target = landingAddress(rng);
      while (size === 1 && (target - next < -128 || target - next > 127)) {
        target = next - 128 + rng.below(256);
        if (target >= LAYOUT.instructionAt && target < next) target = next;
      }
      parts.immediate.splice(-size, size, ...littleEndian(target - next, size));
    }
  }
}

const COUNTS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 18, 27, 31, 32, 33, 63, 64, 65, 0x80, 0xff];

/** A double shift of a word by more than its width leaves an undefined result, which can't be marked in memory. */
function boundedCount({ form }: Draft, count: number): number {
  const undefinedBeyond = form.memory && form.operands[0].size === 2 && /^SH[LR]D$/.test(form.mnemonic);
  return undefinedBeyond ? count % 17 : count;
}

function immediateValue(draft: Draft, size: number): bigint {
  const { form, rng, index } = draft;
  if (form.options.has('shift') || form.options.has('bit-index')) {
    return BigInt(boundedCount(draft, chance(rng, 60) ? pick(rng, COUNTS) : rng.below(256)));
  }
  // INT3's, INTO's and Linux's own vector are open to user mode.
  if (form.options.has('vector'))
    return BigInt(pick(rng, [0, 1, 2, 5, 6, 8, 13, 14, 0x20, 0x2e, 0x7f, 0x81, 0x82, 0xff]));
  if (form.options.has('compare-kind')) return BigInt(chance(rng, 85) ? index & 7 : rng.below(256));
  if (form.options.has('all-immediates')) return BigInt((index * 167 + rng.below(3)) & 0xff);
  if (form.options.has('enter'))
    return size === 1 ? BigInt(pick(rng, [0, 0, 1, 1, 2, 3, 5, 31, 32, 33, 0xff])) : BigInt(rng.below(0x90));
  if (form.options.has('return')) return BigInt(chance(rng, 80) ? rng.below(0x40) * 8 : rng.below(0x1_0000));
  return biased64(rng);
}

function prepareDivision(draft: Draft): void {
  const { rng, form } = draft;
  const { size } = form.operands[0];
  const own = containerOf(draft, 0);
  const signed = form.mnemonic === 'IDIV';
  if (!form.memory && (own === RAX || own === RDX)) return;
  if (draft.place !== 'inside' && draft.place !== 'crossing') return;
  const bits = BigInt(size * 8);
  const trim = (value: bigint): bigint => (signed ? BigInt.asIntN(size * 8, value) : BigInt.asUintN(size * 8, value));
  if (chance(rng, 75) && getOperand(draft, 0) === 0n) setOperand(draft, 0, biased64(rng) | 1n);
  const divisor = trim(getOperand(draft, 0));
  if (divisor === 0n || chance(rng, 15)) return;
  // Just outside the range of quotients now and then: the edge between a result and #DE.
  const quotient = trim(biased64(rng)) + (chance(rng, 12) ? pick(rng, [1n, -1n]) : 0n);
  const magnitude = divisor < 0n ? -divisor : divisor;
  const remainder = (biased64(rng) % magnitude) * (signed && quotient * divisor < 0n ? -1n : 1n);
  const dividend = quotient * divisor + remainder;
  if (size === 1) setRegister(draft, RAX, BigInt.asUintN(16, dividend), 2);
  else {
    setRegister(draft, RAX, BigInt.asUintN(size * 8, dividend), size);
    setRegister(draft, RDX, BigInt.asUintN(size * 8, dividend >> bits), size);
  }
}

/** CMPXCHG and its 8- and 16-byte kin: equal half of the time. */
function prepareExchange(draft: Draft): void {
  const { rng, form } = draft;
  if (chance(rng, 50)) return;
  const { size } = form.operands[0];
  const value = getOperand(draft, 0);
  if (/CMPXCHG\d/.test(form.mnemonic)) {
    const half = (size / 2) * 8;
    setRegister(draft, RAX, BigInt.asUintN(half, value), size / 2);
    setRegister(draft, RDX, value >> BigInt(half), size / 2);
  } else if (form.memory || containerOf(draft, 0) !== RAX) setRegister(draft, RAX, value, size);
}

function stackPlace(draft: Draft): Place | 'bottom' {
  if (draft.form.memory && draft.place !== 'inside') return 'inside';
  const turn = draft.index % 16;
  return turn === 5
    ? 'crossing'
    : turn === 9
      ? 'guard'
      : turn === 10
        ? 'crossing-guard'
        : turn === 13
          ? draft.form.mode === 32
            ? 'guard'
            : 'non-canonical'
          : turn === 14
            ? 'bottom'
            : 'inside';
}

function prepareStack(draft: Draft): void {
  const { rng, form, initial } = draft;
  const place = stackPlace(draft);
  const at =
    place === 'bottom'
      ? BigInt(LAYOUT.dataBase + rng.below(10))
      : place === 'inside'
        ? BigInt(LAYOUT.dataBase + 0x400 + rng.below(0x1800))
        : placeAddress(rng, place, 8, 8);
  const aligned = chance(rng, 70) && place === 'inside' ? at & ~7n : at;
  const pointer = form.options.has('frame') ? RBP : RSP;
  setRegister(draft, pointer, aligned);
  if (form.options.has('enter')) {
    setRegister(draft, RBP, BigInt(LAYOUT.dataBase + 0x400 + rng.below(0x1800)));
    setRegister(draft, RSP, aligned);
  }
  const top = initial.gpr[pointer];
  if (form.options.has('return')) setMemory(draft, top, littleEndian(landingAddress(rng), 8));
  else if (form.options.has('flags')) {
    // Never TF: the trap after the next instruction is not this instruction's.
    const flags = (rng.next() & 0x3f_ffff & ~0x100) >>> 0;
    setMemory(draft, top, littleEndian(BigInt(flags) | (chance(rng, 20) ? 0x7777_0000_0000n : 0n), 8));
  } else setMemory(draft, top, biasedBytes(rng, 'int', 8));
}

function prepareBranch(draft: Draft): void {
  const { form, rng } = draft;
  const indirect = form.operands.findIndex((operand) => 'EM'.includes(operand.kind));
  if (indirect >= 0) setOperand(draft, indirect, BigInt(landingAddress(rng)));
}

function prepareTable(draft: Draft): void {
  const { rng, initial, form } = draft;
  const place = placeOf(draft, 1);
  const at = placeAddress(rng, place, 1, 1);
  const segment = chance(rng, 15) && form.mode === 64 ? pick(rng, [0x64, 0x65]) : undefined;
  if (segment !== undefined) draft.parts.prefixes.push(segment);
  const base = segment === 0x64 ? LAYOUT.fsBase : segment === 0x65 ? LAYOUT.gsBase : 0;
  setRegister(draft, RBX, BigInt.asUintN(64, at - BigInt(base) - (initial.gpr[RAX] & 0xffn)));
}

/** BOUND: an index within or just outside of two bounds of which the lower is mostly below the upper. */
function prepareBounds(draft: Draft): void {
  const { rng, form } = draft;
  const size = form.operands[0].size;
  const [a, b] = [biased64(rng), biased64(rng)].map((value) => BigInt.asIntN(size * 8, value));
  const [low, high] = a < b || chance(rng, 15) ? [a, b] : [b, a];
  setMemory(draft, draft.target, [...littleEndian(low, size), ...littleEndian(high, size)]);
  const index = pick(rng, [low, high, low - 1n, high + 1n, (low + high) / 2n, biased64(rng)]);
  const own = draft.registers[0];
  if (!addressRegisters(draft).includes(own)) setRegister(draft, own, BigInt.asUintN(size * 8, index), size);
}

const PREPARATIONS: Record<string, (draft: Draft) => void> = {
  divide: prepareDivision,
  exchange: prepareExchange,
  stack: prepareStack,
  branch: prepareBranch,
  table: prepareTable,
  bounds: prepareBounds,
  string: prepareString,
  float: prepareFloat,
  decimal: prepareDecimal,
  'control-word': prepareControlWord,
  environment: prepareEnvironment,
  area: prepareArea,
  xsave: prepareXsave,
  'vector-shift': prepareVectorShift,
  text: prepareText,
  store: prepareStore,
  shift: (draft) => {
    const own = draft.form.memory ? -1 : containerOf(draft, 0);
    if (draft.form.operands.at(-1)?.text !== 'CL' || own === RCX || addressRegisters(draft).includes(RCX)) return;
    const count = chance(draft.rng, 70) ? pick(draft.rng, COUNTS) : draft.rng.below(256);
    setRegister(draft, RCX, BigInt(boundedCount(draft, count)), 1);
  },
  count: (draft) =>
    setRegister(draft, RCX, pick(draft.rng, [0n, 1n, 2n, 0x1_0000_0000n, 0x1_0000_0001n, biased64(draft.rng)])),
  'short-address': (draft) => {
    if (chance(draft.rng, 40)) draft.parts.prefixes.push(0x67);
  },
};

/** Prefixes that change nothing: ignored segment overrides, 66 on byte operands or beside REX.W, a bare REX. */
function addNoise(draft: Draft): void {
  const { form, rng, parts, legacy } = draft;
  if (form.vex || form.options.has('no-noise') || !chance(rng, 8)) return;
  const plain = form.mandatory.length === 0 && form.opcode[0] !== 0x0f;
  const kinds = rng.below(3);
  if (kinds === 0 && !parts.prefixes.some((prefix) => prefix >= 0x26 && prefix <= 0x65))
    parts.prefixes.unshift(pick(rng, [0x26, 0x2e, 0x36, 0x3e]));
  else if (kinds === 1 && plain && (form.rexW || form.width === 1) && !parts.prefixes.includes(0x66))
    parts.prefixes.unshift(0x66);
  else if (kinds === 2 && !legacy) parts.forceRex = true;
}

/** Legacy and REX prefixes in any order and number: which of them count is the decoder's question. */
function prefixRandomly(draft: Draft, plain: Uint8Array): Uint8Array {
  const { rng, form } = draft;
  const choices = [0x66, 0x66, 0xf2, 0xf2, 0xf3, 0xf3, 0x67, 0x2e, 0x3e, 0x26, 0x36, 0x64, 0x65];
  const room = form.options.has('too-long') ? 16 : 15;
  const count = form.options.has('too-long') ? room - plain.length - rng.below(2) : rng.below(5);
  const prefixes = Array.from({ length: count }, () => (chance(rng, 30) ? 0x40 + rng.below(16) : pick(rng, choices)));
  if (chance(rng, 40) && count > 0) prefixes[count - 1] = 0x40 + rng.below(16);
  return Uint8Array.from([...prefixes, ...plain]);
}

/** An x87 exception that an MMX instruction reports before it does anything. */
function prepareMmx(draft: Draft): void {
  if (draft.profile !== 'mmx' || !chance(draft.rng, 3)) return;
  draft.initial.x87.fcw = 0x37e;
  draft.initial.x87.fsw |= 0x8081;
}

export function prepareCase(draft: Draft): Uint8Array {
  const { form, parts } = draft;
  if (form.options.has('lock')) parts.prefixes.unshift(0xf0);
  if (form.options.has('down') || chance(draft.rng, 4)) draft.initial.rflags |= RFLAGS.DF;
  pickRegisters(draft);
  prepareMemory(draft);
  for (const option of form.options) PREPARATIONS[option]?.(draft);
  prepareMmx(draft);
  addNoise(draft);
  prepareImmediates(draft);
  markUndefined(draft);
  // What the upper halves of registers hold after 32-bit code is a processor's own way, unless it is zero.
  if (form.mode === 32) for (let n = 0; n < 8; n++) draft.initial.gpr[n] = BigInt.asUintN(32, draft.initial.gpr[n]);
  const plain = assemble(parts);
  const code = form.options.has('any-prefixes') ? prefixRandomly(draft, plain) : plain;
  if (form.options.has('too-long')) return code;
  if (code.length > 15) throw new Error(`${form.name}: ${code.length} bytes are too long for one instruction`);
  return form.options.has('base') ? withReading(draft, code) : code;
}

/** Behind a write to a base of FS or GS its reading, all 64 bits, into another register. */
function withReading(draft: Draft, code: Uint8Array): Uint8Array {
  const register = draft.rng.below(8);
  const modrm = 0xc0 | ((Number(draft.form.modrm) - 2) << 3) | register;
  return Uint8Array.of(...code, 0xf3, 0x48, 0x0f, 0xae, modrm);
}
