/** Moves, conversions and stack (Intel SDM vol. 2). */
import { Flag, Seg } from '@paravane/engine-api';
import { CONDITIONS, EFL, i32, i64, load, op, type Sem } from '../sem.js';
import { State } from '../state.js';
import type { Definition, Definitions } from './definitions.js';

const perCondition = (prefix: string, make: (code: number) => Definition): Definitions =>
  Object.fromEntries(CONDITIONS.map((name, code) => [prefix + name, make(code)]));

/** Direction and flag instructions change one bit of the arithmetic flags. */
const carryFlag =
  (next: (s: Sem) => ReturnType<Sem['eflags']>): Definition =>
  (s) =>
    s.flagsBits(s.let(next(s)));

/** FSGSBASE. Where it is not enabled, or an address is not canonical, TypeScript raises the exception. */
const CR4_FSGSBASE = 0x10000;
function needFsGsBase(s: Sem): void {
  const cr4 = load('i32.load', s.statePlace(), State.cr4);
  s.if(op('i32.eqz', op('i32.and', cr4, i32(CR4_FSGSBASE))), () => s.bail());
}
const readBase =
  (slot: number): Definition =>
  (s) => {
    needFsGsBase(s);
    s.set(0, s.let(load('i64.load', s.statePlace(), slot)));
  };
const writeBase =
  (slot: number): Definition =>
  (s) => {
    needFsGsBase(s);
    const base = s.getUnsigned(0);
    s.if(op('i64.ne', op('i64.shr_s', op('i64.shl', base, i64(16)), i64(16)), base), () => s.bail());
    s.f.store('i64.store', s.statePlace(), base, slot);
  };

const ARITHMETIC = EFL.CF | EFL.PF | EFL.AF | EFL.ZF | EFL.SF | EFL.OF;
/** Flags that POPF may change beside the arithmetic ones (Intel SDM vol. 2, POPF). */
const POPF_SYSTEM = Flag.TF | Flag.IF | Flag.DF | Flag.IOPL | Flag.NT | Flag.AC | Flag.ID;

/** EDX:EAX. Where CR4.TSD is set, TypeScript asks for CPL 0. */
const CR4_TSD = 4;
function readTsc(s: Sem): void {
  s.if(op('i32.and', load('i32.load', s.statePlace(), State.cr4), i32(CR4_TSD)), () => s.bail());
  const tsc = s.timeStamp();
  s.setGpr(0, op('i64.and', tsc, i64(0xffffffffn)));
  s.setGpr(2, op('i64.shr_u', tsc, i64(32)));
}

export const data: Definitions = {
  MOV: (s) => s.set(0, s.get(1)),
  MOV_FROM_SEG: (s) => s.set(0, s.selector(1)),
  // Null into FS or GS that have been null before, as in each of Linux's switches of processes: only the base changes.
  MOV_TO_SEG: (s) => {
    const selector = s.let(op('i64.and', s.getUnsigned(1), i64(0xffff)));
    const limit = load('i32.load', s.segmentPlace(0, 4), State.limits);
    const known = op('i32.or', limit, load('i32.load16_u', s.segmentPlace(0, 2), State.rights));
    const other = op('i32.or', op('i64.gt_u', selector, i64(3)), op('i32.lt_u', s.segment(0), i32(Seg.fs)));
    s.if(op('i32.or', known, other), () => s.bail());
    s.f.store('i64.store16', s.segmentPlace(0, 2), selector, State.selectors);
    s.f.store('i64.store', s.segmentPlace(0, 8), i64(0), State.fsBase - Seg.fs * 8);
  },
  RDTSC: readTsc,
  RDTSCP: (s) => {
    readTsc(s);
    s.setGpr(1, load('i64.load32_u', s.statePlace(), State.tscAux));
  },
  MOVZX: (s) => s.set(0, s.getUnsigned(1)),
  MOVSX: (s) => s.set(0, s.get(1)),
  LEA: (s) => s.set(0, s.address()),
  NOP: () => undefined,
  PAUSE: () => undefined,
  LFENCE: () => undefined,
  MFENCE: () => undefined,
  SFENCE: () => undefined,
  // Stores are done and code is read anew where it was changed after each instruction anyway.
  SERIALIZE: () => undefined,
  XCHG: (s) => {
    const a = s.modify(0);
    const b = s.get(1);
    s.set(0, b);
    s.set(1, a);
  },
  PUSH: (s) => s.push(s.get(0)),
  RDFSBASE: readBase(State.fsBase),
  RDGSBASE: readBase(State.gsBase),
  WRFSBASE: writeBase(State.fsBase),
  WRGSBASE: writeBase(State.gsBase),
  // Virtual-8086 mode looks at IOPL.
  PUSHF: (s) => {
    if (s.mode !== 64 || s.width !== 64) return s.bail();
    const other = op('i32.and', load('i32.load', s.statePlace(), State.eflags), i32(~Flag.RF));
    s.push(op('i64.extend_i32_u', op('i32.or', op('i32.or', other, i32(2)), s.eflags())));
  },
  // Where it changes the arithmetic flags alone, as behind most PUSHF; the rest depends on privileges, or on debugging.
  POPF: (s) => {
    if (s.mode !== 64 || s.width !== 64) return s.bail();
    const bits = s.let(op('i32.wrap_i64', s.top()));
    const changed = op('i32.xor', bits, load('i32.load', s.statePlace(), State.eflags));
    s.if(op('i32.and', changed, i32(POPF_SYSTEM)), () => s.bail());
    s.drop(8);
    s.flagsBits(op('i32.and', bits, i32(ARITHMETIC)));
  },
  POP: (s) => {
    // The address of a memory destination uses the moved stack pointer: TypeScript does that one.
    if (s.forms[0]!.kind === 'm') return s.bail();
    const value = s.top();
    s.drop(s.width / 8);
    s.set(0, value);
  },
  LEAVE: (s) => {
    const frame = s.let(s.stackAddress(s.gpr(5)));
    const value = s.loadAt(frame, s.width);
    s.setGpr(4, s.stackAddress(op('i64.add', frame, i64(s.width / 8))), s.mode);
    s.setGpr(5, value, s.width);
  },
  CBW: (s) => {
    if (s.width === 16) s.setGpr(0, s.gpr(0, 8), 16);
    else if (s.width === 32) s.setGpr(0, s.gpr(0, 16), 32);
    else s.setGpr(0, s.gpr(0, 32), 64);
  },
  CWD: (s) => s.setGpr(2, op('i64.shr_s', s.gpr(0, s.width), i64(63)), s.width),
  ...perCondition('SET', (code) => (s) => {
    s.prepare(0);
    s.set(0, op('i64.extend_i32_u', s.condition(code)));
  }),
  ...perCondition('CMOV', (code) => (s) => {
    const source = s.get(1);
    // A 32-bit destination is cleared above even when the condition is false.
    const old = s.get(0);
    const condition = s.condition(code);
    s.set(
      0,
      s.choose(
        condition,
        () => source,
        () => old,
      ),
    );
  }),
  CMC: carryFlag((s) => op('i32.xor', s.eflags(), i32(EFL.CF))),
  CLC: carryFlag((s) => op('i32.and', s.eflags(), i32(~EFL.CF))),
  STC: carryFlag((s) => op('i32.or', s.eflags(), i32(EFL.CF))),
  LAHF: (s) => {
    const flags = op('i64.extend_i32_u', op('i32.or', op('i32.and', s.eflags(), i32(0xd5)), i32(2)));
    s.setGpr(0, op('i64.or', op('i64.and', s.gpr(0, 16, false), i64(0xff)), op('i64.shl', flags, i64(8))), 16);
  },
  SAHF: (s) => {
    const ah = op('i32.and', op('i32.wrap_i64', op('i64.shr_u', s.gpr(0, 16, false), i64(8))), i32(0xd5));
    s.flagsBits(s.let(op('i32.or', op('i32.and', s.eflags(), i32(EFL.OF)), ah)));
  },
  MOVBE: (s) => {
    const a = s.getUnsigned(1);
    const width = s.operandWidth(s.forms[0]!.kind === 'm' ? 0 : 1);
    const byte = (from: number, to: number) =>
      op('i64.shl', op('i64.and', op('i64.shr_u', a, i64(from * 8)), i64(0xff)), i64(to * 8));
    const count = width / 8;
    let swapped = byte(0, count - 1);
    for (let i = 1; i < count; i++) swapped = op('i64.or', swapped, byte(i, count - 1 - i));
    s.set(0, swapped);
  },
};
