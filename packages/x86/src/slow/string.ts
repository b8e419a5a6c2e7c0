/**
 * String instructions (Intel SDM vol. 2, REP). A repetition counts as one
 * instruction, and one that faults as one more. With REP the work is done page by page in bulk; between pages the
 * registers are exact, so a fault or the end of a budget leaves a state from
 * which the instruction goes on.
 */
import { Flag, Seg } from '@paravane/engine-api';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';

const RSI = 6;
const RDI = 7;

interface Plan {
  size: number;
  step: bigint;
  addressWidth: number;
  sourceSegment: number;
}

function plan(c: SlowCpu): Plan {
  const size = c.insn.width / 8;
  return {
    size,
    step: BigInt(c.eflags & Flag.DF ? -size : size),
    addressWidth: c.insn.addressWidth,
    sourceSegment: c.insn.segment >= 0 ? c.insn.segment : Seg.ds,
  };
}
const index = (c: SlowCpu, n: number, p: Plan): bigint => BigInt.asUintN(p.addressWidth, c.regs[n]!);
const source = (c: SlowCpu, p: Plan): bigint => c.linear(p.sourceSegment, index(c, RSI, p));
const destination = (c: SlowCpu, p: Plan): bigint => c.linear(Seg.es, index(c, RDI, p));
const advance = (c: SlowCpu, n: number, by: bigint, p: Plan): void => c.setGpr(n, c.regs[n]! + by, p.addressWidth);

/** Elements from `va` to the end of its page in the direction of travel; 0 if the next one crosses. */
function onPage(va: bigint, p: Plan): number {
  const offset = Number(va & 0xfffn);
  return p.step > 0n
    ? Math.floor((4096 - offset) / p.size)
    : offset + p.size > 4096
      ? 0
      : Math.floor(offset / p.size) + 1;
}

/** Whether a repetition cuts register `n` even when it does nothing, as processors do. */
const uses = (c: SlowCpu, n: number): boolean =>
  n === 1 || (n === RSI ? /^MOVS$/ : /^(MOVS|STOS)$/).test(c.insn.mnemonic);

/**
 * Runs `one` for a single element, or with REP runs `bulk` for a run of elements
 * (it returns how many it did and whether the condition ended the loop).
 */
const repeated =
  (
    one: (c: SlowCpu, p: Plan) => void,
    bulk: (c: SlowCpu, p: Plan, max: number) => { done: number; ended: boolean },
    compares = false,
  ): SlowDefinition =>
  (c) => {
    const p = plan(c);
    if (c.insn.rep === 0) return one(c, p);
    // With a 32-bit address size the registers are cut to it even if nothing is repeated.
    if (p.addressWidth === 32) for (const n of [1, RSI, RDI]) if (uses(c, n)) c.setGpr(n, c.regs[n]!, 32);
    let counted = 0;
    /** What every instruction counts is one of the repetitions, but where the next one faults. */
    const end = (): void => {
      if (counted > 0) c.countExtra(-1);
    };
    const flags = compares ? c.eflags : 0;
    for (;;) {
      const count = index(c, 1, p);
      if (count === 0n) return end();
      if (counted >= c.allowance) {
        // The flags are written at the end only.
        if (compares) c.eflags = flags;
        end();
        c.interrupt();
      }
      const max = Math.min(c.allowance - counted, Number(count < 0x100000n ? count : 0x100000n));
      const { done, ended } = bulk(c, p, max);
      c.countExtra(done);
      counted += done;
      advance(c, 1, BigInt(-done), p);
      if (ended) return end();
    }
  };

const movsOne = (c: SlowCpu, p: Plan): void => {
  const value = c.load(source(c, p), p.size);
  c.store(destination(c, p), p.size, value);
  advance(c, RSI, p.step, p);
  advance(c, RDI, p.step, p);
};
const stosOne = (c: SlowCpu, p: Plan): void => {
  c.store(destination(c, p), p.size, c.regs[0]!);
  advance(c, RDI, p.step, p);
};
const lodsOne = (c: SlowCpu, p: Plan): void => {
  c.setGpr(0, c.load(source(c, p), p.size), c.insn.width);
  advance(c, RSI, p.step, p);
};

/** Flags of a − b at the element's width. */
function compare(c: SlowCpu, a: bigint, b: bigint, width: number): void {
  const r = BigInt.asUintN(width, a - b);
  const top = 1n << BigInt(width - 1);
  let parity = Number(r & 0xffn);
  parity ^= parity >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  const bits =
    (a < b ? Flag.CF : 0) |
    (r === 0n ? Flag.ZF : 0) |
    (r & top ? Flag.SF : 0) |
    ((a ^ b) & (a ^ r) & top ? Flag.OF : 0) |
    ((a ^ b ^ r) & 16n ? Flag.AF : 0) |
    (parity & 1 ? 0 : Flag.PF);
  c.eflags = (c.eflags & ~(Flag.CF | Flag.ZF | Flag.SF | Flag.OF | Flag.AF | Flag.PF)) | bits;
}
const cmpsOne = (c: SlowCpu, p: Plan): void => {
  // Processors read through ES first.
  const b = c.load(destination(c, p), p.size);
  const a = c.load(source(c, p), p.size);
  advance(c, RSI, p.step, p);
  advance(c, RDI, p.step, p);
  compare(c, a, b, c.insn.width);
};
const scasOne = (c: SlowCpu, p: Plan): void => {
  const b = c.load(destination(c, p), p.size);
  advance(c, RDI, p.step, p);
  compare(c, BigInt.asUintN(c.insn.width, c.regs[0]!), b, c.insn.width);
};
/** The repetitions of CMPS and SCAS one by one: they end by their flags. */
const whileEqual =
  (one: (c: SlowCpu, p: Plan) => void) =>
  (c: SlowCpu, p: Plan, max: number): { done: number; ended: boolean } => {
    const wanted = c.insn.rep === 0xf3;
    const before = c.eflags;
    for (let done = 1; done <= Math.min(max, 512); done++) {
      try {
        one(c, p);
      } catch (signal) {
        // What was done before the fault stays done, but the flags are written at the end only.
        c.eflags = before;
        c.countExtra(done - 1);
        advance(c, 1, BigInt(1 - done), p);
        throw signal;
      }
      if (((c.eflags & Flag.ZF) !== 0) !== wanted) return { done, ended: true };
    }
    return { done: Math.min(max, 512), ended: false };
  };
const oneByOne =
  (one: (c: SlowCpu, p: Plan) => void) =>
  (c: SlowCpu, p: Plan): { done: number; ended: boolean } => {
    one(c, p);
    return { done: 1, ended: false };
  };

export const stringSlow: SlowDefinitions = {
  MOVS: repeated(movsOne, (c, p, max) => {
    const from = source(c, p);
    const to = destination(c, p);
    const run = Math.min(max, onPage(from, p), onPage(to, p));
    if (run === 0 || p.step < 0n || !c.bulk) return oneByOne(movsOne)(c, p);
    const read = c.pageAt(from, false);
    const write = c.pageAt(to, true);
    const length = run * p.size;
    const memory = new Uint8Array(c.view.buffer);
    // A destination inside the source repeats a pattern: only then is the order visible, and nearer than an
    // element the order of whole elements.
    if (write > read && write < read + p.size) return oneByOne(movsOne)(c, p);
    if (write > read && write < read + length) for (let i = 0; i < length; i++) memory[write + i] = memory[read + i]!;
    else memory.copyWithin(write, read, read + length);
    c.changed(to, length);
    advance(c, RSI, BigInt(length), p);
    advance(c, RDI, BigInt(length), p);
    return { done: run, ended: false };
  }),
  STOS: repeated(stosOne, (c, p, max) => {
    const to = destination(c, p);
    const run = Math.min(max, onPage(to, p));
    if (run === 0 || p.step < 0n || !c.bulk) return oneByOne(stosOne)(c, p);
    const length = run * p.size;
    const memory = new Uint8Array(c.view.buffer, c.pageAt(to, true), length);
    const value = BigInt.asUintN(c.insn.width, c.regs[0]!);
    if (value === 0n || p.size === 1) memory.fill(Number(value & 0xffn));
    else {
      for (let i = 0; i < p.size; i++) memory[i] = Number((value >> BigInt(8 * i)) & 0xffn);
      for (let filled = p.size; filled < length; filled *= 2)
        memory.copyWithin(filled, 0, Math.min(filled, length - filled));
    }
    c.changed(to, length);
    advance(c, RDI, BigInt(length), p);
    return { done: run, ended: false };
  }),
  LODS: repeated(lodsOne, oneByOne(lodsOne)),
  CMPS: repeated(cmpsOne, whileEqual(cmpsOne), true),
  SCAS: repeated(scasOne, whileEqual(scasOne), true),
};
