/**
 * Blocks of micro-operations by the machine frame, page offset and code mode that
 * they were decoded from.
 *
 * A descriptor per frame and mode holds, for each page offset, the micro-
 * operation of the block that begins there (0: none; negative where a compiled
 * region stands for it), and a generation at 0x4000. Invariants: a frame with
 * live blocks has `mmu.hasCode` set, so no write tag for it exists; a change to
 * any 64 bytes that code was made from drops every block of the frame; micro-
 * operations are not reused before everything is dropped (`reset`).
 */
import type { CodeMode } from '@paravane/engine-api';
import type { MachineMemory, Mmu } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { decode, type Instruction } from './decode.js';
import { type InterpreterImage, SpecialOp } from './interpreter.js';
import { endsBlock, lower, lowerSlow, type UopSink, writeSpecial } from './lower.js';
import { MAX_BLOCK, UOP_BYTES, Uop } from './state.js';

const DESCRIPTOR_BYTES = 0x4040;
const GENERATION = 0x4000;
const MAX_UOPS = 2 << 20;
const MAX_DESCRIPTORS = 4096;
/** Micro-operations at the start of the arena for blocks that are used once. */
const ONCE_UOPS = 4 * MAX_BLOCK;
/** Instructions that blocks used once may keep; the first ones of the list. */
const ONCE_INSTRUCTIONS = 2 * MAX_BLOCK;

/** Bytes of the core's area that a code cache needs. */
export const CODE_CACHE_BYTES = MAX_UOPS * (UOP_BYTES + 4) + MAX_DESCRIPTORS * DESCRIPTOR_BYTES;

/** Where in the core's area code lies; see `InterpreterOptions`. */
export interface CodeAreas {
  arena: number;
  regionWords: number;
  descriptors: number;
}

export const reserveCodeAreas = (machine: MachineMemory): CodeAreas => ({
  arena: machine.reserve(MAX_UOPS * UOP_BYTES, 16),
  regionWords: machine.reserve(MAX_UOPS * 4, 16),
  descriptors: machine.reserve(MAX_DESCRIPTORS * DESCRIPTOR_BYTES, 64),
});

/** Where the bytes that follow the end of a page come from, if the guest can fetch them. */
export interface SecondPage {
  mfn: Mfn;
}

export interface CodeCache {
  /** Instructions that micro-operations name by number. */
  readonly instructions: readonly Instruction[];
  /** Offset in memory of the descriptors of 64-bit code, 4 bytes for each frame; 0 where there is none. */
  readonly descriptorTable: number;
  descriptor(mfn: Mfn, mode: CodeMode): number;
  /** Micro-operation of the block at an offset, decoding it if need be; null when bytes of `second` are needed. */
  block(mfn: Mfn, offset: number, mode: CodeMode, second: () => SecondPage | null): number | null;
  /** Whether a block that begins at an offset has been decoded. */
  hasBlock(mfn: Mfn, offset: number, mode: CodeMode): boolean;
  /** A block of exactly `count` instructions (fewer if it branches), not kept. */
  once(mfn: Mfn, offset: number, mode: CodeMode, count: number, second: () => SecondPage | null): number | null;
  /** One instruction whose accesses go through segments that are not flat; `slow` if it is defined for these alone. */
  segmented(insn: Instruction, offset: number, slow: boolean): number;
  /** Whether the check at `uop` was made for this frame as second page, and its code is still the same. */
  isFrom(uop: number, second: Mfn, mode: CodeMode): boolean;
  /** Drops the one block that begins at a micro-operation. */
  forget(uop: number): void;
  /** Bytes were changed; true if blocks were dropped. */
  invalidate(mfn: number, offset: number, length: number): boolean;
  /** Notes that code is made of these bytes too, so that a change of them drops the frame's blocks. */
  mark(mfn: Mfn, offset: number, length: number): void;
  /**
   * Lets a compiled region in table slot `slot` stand for the block at `uop`, which is plain. It goes when the code of
   * its own frame changes, and when that of `beside` does.
   */
  setRegion(uop: number, mfn: Mfn, mode: CodeMode, slot: number, beside: Mfn | null): void;
  /** Undoes `setRegion`. */
  clearRegion(uop: number): void;
  /** Handler of a micro-operation, also where a region stands for it. */
  handlerOf(uop: number): number;
  /** Slot of the region that stands for the block of this frame at `uop`; 0 if none does, null if it was dropped. */
  regionOf(uop: number, mfn: Mfn, mode: CodeMode): number | null;
  /** Changes with the code made of a frame. */
  generation(mfn: Mfn, mode: CodeMode): number;
  /** Page offset and length of the instruction that a micro-operation belongs to. */
  offsetOf(uop: number): number;
  lengthOf(uop: number): number;
  /** Times that everything was dropped. */
  readonly resets: number;
  readonly decoded: number;
  readonly invalidations: number;
}

export function createCodeCache(
  mmu: Mmu,
  { handlers, fused }: Pick<InterpreterImage, 'handlers' | 'fused'>,
  { arena, regionWords, descriptors: pool }: CodeAreas,
): CodeCache {
  const { machine, tlb } = mmu;
  const { u8, i32, view } = machine;
  const offsets = new Uint16Array(MAX_UOPS);
  const lengths = new Uint8Array(MAX_UOPS);
  const perFrame = (): Int32Array => new Int32Array(machine.memory.buffer, machine.reserveForFrames(4), machine.frames);
  /** By frame. Generated code looks into those of 64-bit code. */
  const descriptors = { 64: perFrame(), 32: perFrame() };
  const chunks = new Uint32Array(machine.frames * 2);
  const instructions: Instruction[] = [];
  instructions.length = ONCE_INSTRUCTIONS;
  let nextOnce = -1;
  const withCode = new Set<number>();
  /** Regions that need the code of a frame that is not their entry's. */
  const reaching = new Map<number, Set<number>>();
  /** Where the descriptors have the blocks that regions stand for, as words of memory. */
  const regionEntries = new Map<number, number>();
  let nextUop = arena + ONCE_UOPS * UOP_BYTES;
  let nextDescriptor = pool;
  /** Where those that were ever used end; beyond it memory is still zero. */
  let descriptorsUsed = pool;
  let resets = 0;
  let decoded = 0;
  let invalidations = 0;
  let generation = 1;
  const joined = new Uint8Array(32);
  /** By the handler of a sequence: the handler of all but its last instruction, and how many it does. */
  const prefixes = new Map([...fused].map(([handlers, sequence]) => [sequence, handlers >>> 16]));
  const lengthOfSequence = (handler: number): number => {
    const prefix = prefixes.get(handler);
    return prefix === undefined ? 1 : lengthOfSequence(prefix) + 1;
  };

  const sink: UopSink = {
    view,
    known: new Map(),
    at: 0,
    note(offset, length) {
      const n = (this.at - arena) >> 4;
      offsets[n] = offset;
      lengths[n] = length;
    },
    remember(insn) {
      if (nextOnce < 0) return instructions.push(insn) - 1;
      instructions[nextOnce] = insn;
      return nextOnce++;
    },
  };

  /** Micro-operation of the block at an offset by a descriptor, 0 if there is none. */
  const blockIn = (table: number, offset: number): number => Math.abs(i32[(table >> 2) + offset]!);
  const wordOf = (uop: number): number => (regionWords >> 2) + ((uop - arena) >> 4);

  function reset(): void {
    for (const mfn of withCode) {
      mmu.hasCode[mfn] = 0;
      chunks.fill(0, mfn * 2, mfn * 2 + 2);
    }
    withCode.clear();
    reaching.clear();
    regionEntries.clear();
    descriptors[64].fill(0);
    descriptors[32].fill(0);
    nextUop = arena + ONCE_UOPS * UOP_BYTES;
    descriptorsUsed = Math.max(descriptorsUsed, nextDescriptor);
    nextDescriptor = pool;
    instructions.length = ONCE_INSTRUCTIONS;
    generation++;
    tlb.flushAll();
    resets++;
  }

  function descriptor(mfn: Mfn, mode: CodeMode): number {
    const known = descriptors[mode][mfn]!;
    if (known !== 0) return known;
    const at = nextDescriptor;
    nextDescriptor += DESCRIPTOR_BYTES;
    if (at < descriptorsUsed) u8.fill(0, at, at + DESCRIPTOR_BYTES);
    i32[(at + GENERATION) >> 2] = generation;
    descriptors[mode][mfn] = at;
    return at;
  }

  /** Marks bytes as the source of code; from the first one on, writes to the frame are seen. */
  function mark(mfn: Mfn, offset: number, length: number): void {
    if (!mmu.hasCode[mfn]) {
      mmu.hasCode[mfn] = 1;
      withCode.add(mfn);
      tlb.dropWrites(mfn);
    }
    for (let chunk = offset >> 6; chunk <= (offset + length - 1) >> 6; chunk++) {
      chunks[mfn * 2 + (chunk >> 5)] = chunks[mfn * 2 + (chunk >> 5)]! | (1 << (chunk & 31));
    }
  }

  /**
   * Decodes up to `limit` instructions at `sink.at`. Returns false when the first
   * instruction needs the second page and there is none.
   */
  function decodeInto(
    mfn: Mfn,
    start: number,
    mode: CodeMode,
    limit: number,
    once: boolean,
    second: () => SecondPage | null,
  ): boolean {
    const page = machine.frameBase + mfn * 4096;
    let offset = start;
    /** The micro-operation that does the instructions before, and may do the next one too. */
    let last = 0;
    for (let n = 0; n < limit; n++) {
      if (offset >= 4096) {
        writeSpecial(sink, once ? SpecialOp.end : SpecialOp.chainFar, n, offset, offset);
        return true;
      }
      let insn = decode(u8, page + offset, page + 4096, mode);
      let crossing = false;
      if (insn === 'short') {
        const next = second();
        if (next === null) {
          if (n === 0) return false;
          writeSpecial(sink, once ? SpecialOp.end : SpecialOp.chain, n, offset, 0, offset);
          return true;
        }
        const here = 4096 - offset;
        joined.set(u8.subarray(page + offset, page + 4096));
        const nextPage = machine.frameBase + next.mfn * 4096;
        joined.set(u8.subarray(nextPage, nextPage + 15), here);
        insn = decode(joined, 0, here + 15, mode);
        crossing = insn !== null && typeof insn !== 'string' && insn.length > here;
        if (crossing && !once) {
          // A block of its own, which checks the second page each time.
          if (n > 0) {
            writeSpecial(sink, SpecialOp.chain, n, offset, 0, offset);
            return true;
          }
          const other = descriptor(next.mfn, mode);
          mark(next.mfn, 0, 15);
          writeSpecial(sink, SpecialOp.crossCheck, 0, offset, i32[(other + GENERATION) >> 2]!, other);
        }
      }
      decoded++;
      if (insn === null || typeof insn === 'string') {
        writeSpecial(sink, insn === 'long' ? SpecialOp.tooLong : SpecialOp.invalid, n, offset);
        if (!once) mark(mfn, offset, Math.min(15, 4096 - offset));
        return true;
      }
      const at = sink.at;
      lower(sink, insn, handlers, offset, n);
      // Handlers in a row that have one for all: each keeps its place, for its operands.
      if (last !== 0 && sink.at === at + UOP_BYTES) {
        const all = fused.get(view.getUint16(last, true) * 65536 + view.getUint16(at, true));
        if (all !== undefined) view.setUint16(last, all, true);
        else last = at;
      } else last = sink.at - UOP_BYTES;
      if (!once) mark(mfn, offset, Math.min(insn.length, 4096 - offset));
      offset += insn.length;
      if (endsBlock(insn)) return true;
    }
    if (once) writeSpecial(sink, SpecialOp.end, limit, offset);
    else if (offset >= 4096) writeSpecial(sink, SpecialOp.chainFar, limit, offset, offset);
    else writeSpecial(sink, SpecialOp.chain, limit, offset, 0, offset);
    return true;
  }

  /** The first `count` instructions of a block, copied to `sink.at`; false where they have to be decoded again. */
  function copyOnce(block: number, count: number): boolean {
    for (let from = block, last = 0; ; from += UOP_BYTES) {
      const number = view.getUint8(from + Uop.number);
      // Behind the block's last branch lie other blocks, which are never reached.
      if (number >= count || number < last || from >= nextUop || sink.at >= arena + (ONCE_UOPS - 1) * UOP_BYTES) {
        writeSpecial(sink, SpecialOp.end, Math.min(number, count), offsets[(from - arena) >> 4]!);
        return true;
      }
      last = number;
      u8.copyWithin(sink.at, from, from + UOP_BYTES);
      sink.note(offsets[(from - arena) >> 4]!, lengths[(from - arena) >> 4]!);
      let handler = handlerOf(from);
      if (handler === SpecialOp.crossCheck) return false;
      // The last ones of a sequence may be too many.
      for (let length = lengthOfSequence(handler); number + length > count; length--) handler = prefixes.get(handler)!;
      view.setUint16(sink.at, handler, true);
      sink.at += UOP_BYTES;
    }
  }

  function handlerOf(uop: number): number {
    const handler = view.getUint16(uop, true);
    return handler === SpecialOp.region ? i32[wordOf(uop)]! & 0xffff : handler;
  }
  function clearRegion(uop: number): void {
    if (view.getUint16(uop, true) !== SpecialOp.region) return;
    view.setUint16(uop, handlerOf(uop), true);
    i32[wordOf(uop)] = 0;
    const entry = regionEntries.get(uop)!;
    if (i32[entry] === -uop) i32[entry] = uop;
    regionEntries.delete(uop);
  }

  return {
    instructions,
    descriptorTable: descriptors[64].byteOffset,
    descriptor,
    block(mfn, offset, mode, second) {
      // Room for the longest block and for its two new descriptors, and one for a region's neighbour.
      const full =
        nextUop + 4 * MAX_BLOCK * UOP_BYTES > arena + MAX_UOPS * UOP_BYTES ||
        nextDescriptor + 3 * DESCRIPTOR_BYTES > pool + MAX_DESCRIPTORS * DESCRIPTOR_BYTES ||
        instructions.length > MAX_UOPS;
      if (full) reset();
      const table = descriptor(mfn, mode);
      const known = blockIn(table, offset);
      if (known !== 0) return known;
      const at = nextUop;
      sink.at = at;
      if (!decodeInto(mfn, offset, mode, MAX_BLOCK, false, second)) return null;
      nextUop = sink.at;
      i32[wordOf(at)] = 0;
      i32[(descriptor(mfn, mode) >> 2) + offset] = at;
      return at;
    },
    hasBlock(mfn, offset, mode) {
      const table = descriptors[mode][mfn]!;
      return table !== 0 && i32[(table >> 2) + offset] !== 0;
    },
    once(mfn, offset, mode, count, second) {
      sink.at = arena;
      const table = descriptors[mode][mfn]!;
      const block = table === 0 ? 0 : blockIn(table, offset);
      if (block !== 0 && copyOnce(block, count)) return arena;
      nextOnce = 0;
      const whole = decodeInto(mfn, offset, mode, count, true, second);
      nextOnce = -1;
      return whole ? arena : null;
    },
    segmented(insn, offset, slow) {
      sink.at = arena;
      nextOnce = 0;
      if (slow) lowerSlow(sink, insn, offset, 0);
      else lower(sink, insn, handlers, offset, 0, true);
      nextOnce = -1;
      writeSpecial(sink, SpecialOp.end, 1, offset + insn.length);
      return arena;
    },
    isFrom(uop, second, mode) {
      const table = descriptors[mode][second]!;
      return (
        table !== 0 &&
        table === view.getInt32(uop + Uop.imm, true) &&
        i32[(table + GENERATION) >> 2] === view.getInt32(uop + Uop.disp, true)
      );
    },
    forget(uop) {
      // Blocks over two pages begin near the end of their page: few entries to look at.
      const offset = offsets[(uop - arena) >> 4]!;
      for (let at = pool; at < nextDescriptor; at += DESCRIPTOR_BYTES) {
        if (blockIn(at, offset) === uop) i32[(at >> 2) + offset] = 0;
      }
    },
    invalidate(mfn, offset, length) {
      if (!mmu.hasCode[mfn]) return false;
      let hit = false;
      for (let chunk = offset >> 6; chunk <= (offset + length - 1) >> 6; chunk++) {
        if (chunks[mfn * 2 + (chunk >> 5)]! & (1 << (chunk & 31))) hit = true;
      }
      if (!hit) return false;
      invalidations++;
      generation++;
      for (const mode of [64, 32] as const) {
        const table = descriptors[mode][mfn]!;
        if (table === 0) continue;
        u8.fill(0, table, table + 0x4000);
        i32[(table + GENERATION) >> 2] = generation;
      }
      chunks.fill(0, mfn * 2, mfn * 2 + 2);
      mmu.hasCode[mfn] = 0;
      withCode.delete(mfn);
      for (const uop of reaching.get(mfn) ?? []) clearRegion(uop);
      reaching.delete(mfn);
      return true;
    },
    mark,
    setRegion(uop, mfn, mode, slot, beside) {
      i32[wordOf(uop)] = (slot << 16) | view.getUint16(uop, true);
      view.setUint16(uop, SpecialOp.region, true);
      const entry = (descriptors[mode][mfn]! >> 2) + offsets[(uop - arena) >> 4]!;
      i32[entry] = -uop;
      regionEntries.set(uop, entry);
      if (beside === null) return;
      const uops = reaching.get(beside);
      if (uops) uops.add(uop);
      else reaching.set(beside, new Set([uop]));
    },
    clearRegion,
    handlerOf,
    generation: (mfn, mode) => i32[(descriptor(mfn, mode) + GENERATION) >> 2]!,
    regionOf(uop, mfn, mode) {
      const table = descriptors[mode][mfn]!;
      const block = table === 0 ? 0 : i32[(table >> 2) + offsets[(uop - arena) >> 4]!]!;
      if (block === -uop) return i32[wordOf(uop)]! >>> 16;
      return block === uop ? 0 : null;
    },
    offsetOf: (uop) => offsets[(uop - arena) >> 4]!,
    lengthOf: (uop) => lengths[(uop - arena) >> 4]!,
    get resets() {
      return resets;
    },
    get decoded() {
      return decoded;
    },
    get invalidations() {
      return invalidations;
    },
  };
}

/** Page offset of the target of a linked branch or chain. */
export const linkTarget = (view: DataView, uop: number): number => view.getUint16(uop + Uop.imm, true);
