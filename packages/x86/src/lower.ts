/** Instructions to micro-operations (see `state.ts` for their layout). */
import { type Instruction, memorySegment } from './decode.js';
import { formsOf, isGenerated, isX87, keyOf } from './handlers.js';
import { SpecialOp, TRANSITION_SLOTS } from './interpreter.js';
import type { Entry } from './notation.js';
import type { MemoryOperand } from './operands.js';
import { baseSlot } from './segments.js';
import { SLOW_DEFINITIONS } from './slow/definitions.js';
import { SEGMENTED_DEFINITIONS } from './slow/near-control.js';
import { State, UOP_BYTES, Uop, widthNumber } from './state.js';

/** Where micro-operations are written: `at` moves on; the engine remembers the instruction of a slow one by number. */
export interface UopSink {
  readonly view: DataView;
  at: number;
  /** Notes page offset and length of the instruction that the micro-operation at `at` belongs to. */
  note(offset: number, length: number): void;
  remember(insn: Instruction): number;
  /** Handlers by entry of the table, operand size and kinds of operands. */
  readonly known: Map<Entry, number[]>;
}

interface Place {
  base: number;
  index: number;
  scale: number;
  disp: number;
}

function write(
  sink: UopSink,
  handler: number,
  slot1: number,
  slot2: number,
  place: Place,
  n: number,
  imm: number,
): void {
  const { view, at } = sink;
  view.setUint16(at + Uop.handler, handler, true);
  view.setUint8(at + Uop.slot1, slot1);
  view.setUint8(at + Uop.slot2, slot2);
  view.setUint8(at + Uop.base, place.base);
  view.setUint8(at + Uop.index, place.index);
  view.setUint8(at + Uop.scale, place.scale);
  view.setUint8(at + Uop.number, n);
  view.setInt32(at + Uop.disp, place.disp, true);
  view.setInt32(at + Uop.imm, imm, true);
  sink.at = at + UOP_BYTES;
}

const NOWHERE: Place = { base: State.zero, index: State.zero, scale: 0, disp: 0 };
// Written out: copies by `...` cost the host several times as much.
const nowhereBut = (base: number, disp: number): Place => ({ base, index: State.zero, scale: 0, disp });
const withDisp = ({ base, index, scale }: Place, disp: number): Place => ({ base, index, scale, disp });
const withBase = ({ index, scale, disp }: Place, base: number): Place => ({ base, index, scale, disp });
const withIndex = ({ base, disp }: Place, index: number): Place => ({ base, index, scale: 0, disp });

export function writeSpecial(sink: UopSink, handler: number, n: number, offset: number, disp = 0, imm = 0): void {
  sink.note(offset, 0);
  write(sink, handler, 0, 0, nowhereBut(State.zero, disp), n, imm);
}

const slotOf = (n: number): number => (n === -2 ? State.pcBase : n < 0 ? State.zero : n * 8);

/**
 * The place of a memory operand; writes the prefix micro-operations that an
 * address needs when it has more than base, index and displacement.
 */
function lowerMemory(
  sink: UopSink,
  insn: Instruction,
  memory: MemoryOperand,
  offset: number,
  n: number,
  based: boolean,
): Place {
  const number = memorySegment(insn);
  const segment = insn.mnemonic !== 'LEA' && (based || number >= 4) ? baseSlot(number) : State.zero;
  let place: Place = { base: slotOf(memory.base), index: slotOf(memory.index), scale: memory.scale, disp: memory.disp };
  const prefix = (handler: number, from: Place, imm: number): Place => {
    sink.note(offset, insn.length);
    write(sink, handler, 0, 0, from, n, imm);
    return nowhereBut(State.temp, 0);
  };
  if (memory.wide !== undefined) {
    sink.note(offset, insn.length);
    const at = sink.at;
    write(sink, SpecialOp.absolute, 0, 0, NOWHERE, n, 0);
    sink.view.setBigUint64(at + Uop.disp, memory.wide, true);
    place = nowhereBut(State.temp, 0);
  } else if (memory.base === -2) {
    const fromPage = memory.disp + offset + insn.length;
    if (fromPage === (fromPage | 0)) place.disp = fromPage;
    else place = withDisp(prefix(SpecialOp.address64, place, 0), offset + insn.length);
  }
  if (insn.addressWidth !== 64) place = prefix(SpecialOp.address, place, insn.addressWidth === 32 ? -1 : 0xffff);
  if (segment === State.zero) return place;
  // Outside of 64-bit mode the linear address has 32 bits. (The offset is in the temporary slot by now.)
  if (insn.mode === 32) return prefix(SpecialOp.address, withIndex(place, segment), -1);
  if (place.index === State.zero) return withIndex(place, segment);
  if (place.base === State.zero) return withBase(place, segment);
  return withIndex(prefix(SpecialOp.address64, place, 0), segment);
}

/** Mnemonics after which a block ends: control does not fall through, or always stops. */
const ENDS: ReadonlySet<string> = new Set(
  'JMP CALL RET SYSCALL SYSRET SYSENTER SYSEXIT IRET INT INT3 INT1 UD0 UD1 UD2 HLT JMP_FAR CALL_FAR RET_FAR'.split(' '),
);
export const endsBlock = (insn: Instruction): boolean => ENDS.has(insn.mnemonic);

/**
 * Access by an override that may not be to a flat segment. 64-bit mode has no limits. POP to memory reads the stack
 * first, and TypeScript does it, which looks at each access.
 */
const wantsCheck = (insn: Instruction): boolean =>
  insn.mode === 32 &&
  insn.memory !== null &&
  (insn.segment === 1 || insn.segment >= 4) &&
  !/^(LEA|NOP|POP|PREFETCH\w*)$/.test(insn.mnemonic);

function writeCheck(sink: UopSink, insn: Instruction, offset: number, n: number): void {
  sink.note(offset, insn.length);
  write(sink, SpecialOp.segmentCheck, 1 << insn.segment, 0, NOWHERE, n, sink.remember(insn) << 8);
}

/** Whether generated code may leave the instruction to TypeScript. The most frequent one that has both only does so from memory. */
const mayBail = ({ mnemonic, operands }: Instruction): boolean =>
  SLOW_DEFINITIONS.has(mnemonic) && !(mnemonic === 'POP' && operands[0]!.kind === 'r');

const findHandler = (insn: Instruction, near: boolean, handlers: ReadonlyMap<string, number>): number =>
  isGenerated(insn) ? (handlers.get(keyOf(insn, formsOf(insn, near))) ?? -1) : -1;

/** Number of the handler of an instruction, or -1 where TypeScript does it; remembered by all that it depends on. */
function handlerOf(sink: UopSink, insn: Instruction, near: boolean, handlers: ReadonlyMap<string, number>): number {
  let known = sink.known.get(insn.entry);
  if (known === undefined) {
    known = [];
    sink.known.set(insn.entry, known);
  }
  let index = widthNumber(insn.width) | (insn.mode === 64 ? 0 : insn.mode === 32 ? 4 : 8);
  if (insn.memory) index |= 16;
  if (near) index |= 32;
  for (const operand of insn.operands) if (operand.kind === 'i' && operand.wide !== undefined) index |= 64;
  if (insn.rep) index |= 128;
  if (insn.addressWidth !== insn.mode) index |= 256;
  if (insn.segment >= 4) index |= 512;
  if (insn.segment === 1) index |= 1024;
  known[index] ??= findHandler(insn, near, handlers);
  return known[index];
}

/**
 * Writes the micro-operations of an instruction at `offset` in its page, number `n` of its block. `based`: all
 * segments have bases.
 */
export function lower(
  sink: UopSink,
  insn: Instruction,
  handlers: ReadonlyMap<string, number>,
  offset: number,
  n: number,
  based = false,
): void {
  const branch = insn.operands[0]?.kind === 'j' ? insn.operands[0].value + offset + insn.length : 0;
  const near = branch >= 0 && branch < 4096 && insn.width !== 16;
  const handler = handlerOf(sink, insn, near, handlers);
  if (handler < 0 || (based && isX87(insn.mnemonic))) return lowerSlow(sink, insn, offset, n);
  if (!based && wantsCheck(insn)) writeCheck(sink, insn, offset, n);
  let place = NOWHERE;
  // Registers fill the slots in order, the third in place of a base.
  let slot1 = 0;
  let slot2 = 0;
  let slot3 = -1;
  let next = 0;
  let imm: number | null = null;
  let wide: bigint | null = null;
  for (const operand of insn.operands) {
    let slot = -1;
    if (operand.kind === 'st') slot = operand.n;
    else if (operand.kind === 's') slot = operand.n * 2;
    else if (operand.kind === 'r') slot = operand.n * 8 + (operand.high ? 1 : 0);
    else if (operand.kind === 'x' || operand.kind === 'p') slot = operand.n * 16;
    else if (operand.kind === 'i') {
      imm = operand.value;
      wide = operand.wide ?? null;
    } else if (operand.kind === 'm' && insn.memory && insn.mnemonic !== 'NOP')
      place = lowerMemory(sink, insn, insn.memory, offset, n, based);
    if (slot < 0) continue;
    if (next === 0) slot1 = slot;
    else if (next === 1) slot2 = slot;
    else if (next === 2) slot3 = slot;
    next++;
  }
  if (insn.mnemonic === 'CALL' || insn.operands[0]?.kind === 'j') {
    imm = ((offset + insn.length) << 16) | (near ? branch : 0);
    if (!near) place = withDisp(place, branch | 0);
    else if (insn.operands[0]?.kind === 'j') place = withDisp(place, 0);
  }
  if (isX87(insn.mnemonic)) {
    // Where the instruction is, for FIP.
    if (place === NOWHERE) place = withDisp(place, offset);
    else [slot1, slot2] = [offset & 0xff, offset >> 8];
  }
  // A vector instruction with an immediate byte may need both.
  if (mayBail(insn) && (imm === null || insn.operands[0]?.kind === 'x')) {
    imm = (sink.remember(insn) << 8) | ((imm ?? 0) & 0xff);
  }
  sink.note(offset, insn.length);
  const at = sink.at;
  write(sink, handler, slot1, slot2, slot3 < 0 ? place : withBase(place, slot3), n, imm ?? 0);
  if (wide !== null) sink.view.setBigUint64(at + Uop.disp, wide, true);
}

export function lowerSlow(sink: UopSink, insn: Instruction, offset: number, n: number): void {
  sink.note(offset, insn.length);
  if (!SLOW_DEFINITIONS.has(insn.mnemonic) && !SEGMENTED_DEFINITIONS.has(insn.mnemonic))
    write(sink, SpecialOp.invalid, 0, 0, NOWHERE, n, 0);
  else if (insn.mode === 64 && (insn.mnemonic === 'SYSCALL' || insn.mnemonic === 'RDMSR')) {
    const behind = nowhereBut(State.zero, offset + insn.length);
    write(sink, SpecialOp.transition, TRANSITION_SLOTS[insn.mnemonic], 0, behind, n, sink.remember(insn) << 8);
  } else write(sink, SpecialOp.slow, 0, 0, NOWHERE, n, sink.remember(insn) << 8);
}
