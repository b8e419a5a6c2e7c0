/**
 * String instructions of 64-bit mode, upwards and within pages that hold no code (Intel SDM vol. 2, MOVS, STOS, LODS,
 * REP). All else (downwards, elements over two pages, faults, the end of a budget) is left to the definitions in
 * TypeScript, which go on from where the registers are; a repetition has its registers exact between two pages.
 */
import { Flag } from '@paravane/engine-api';
import { type Expr, i32, i64, load, op, type Sem, select } from '../sem.js';
import { State } from '../state.js';
import type { Definition, Definitions } from './definitions.js';

const COUNT = 1;
const SOURCE = 6;
const DESTINATION = 7;
/** Registers that a repetition changes. */
export const REPEATED_REGISTERS = [COUNT, SOURCE, DESTINATION] as const;

const WIDE_STORE = { 8: 'i64.store8', 16: 'i64.store16', 32: 'i64.store32', 64: 'i64.store' } as const;
const WIDE_LOAD = { 8: 'i64.load8_u', 16: 'i64.load16_u', 32: 'i64.load32_u', 64: 'i64.load' } as const;

const sizeOf = (s: Sem): number => s.width / 8;
/** i64 bytes from an address to the end of its page. */
const toPageEnd = (address: Expr): Expr => op('i64.sub', i64(4096), op('i64.and', address, i64(4095)));

function upwards(s: Sem): void {
  s.once('upwards', () => {
    const flags = load('i32.load', s.statePlace(), State.eflags);
    s.if(op('i32.and', flags, i32(Flag.DF)), () => s.bail());
  });
}

/** One element: `act` gets where each of the addresses in `registers` lies in memory; then they move on. */
const single =
  (registers: readonly number[], act: (s: Sem, hosts: Expr[]) => void): Definition =>
  (s) => {
    upwards(s);
    const addresses = registers.map((n) => s.let(s.gpr(n)));
    for (const address of addresses) {
      s.if(op('i64.lt_u', toPageEnd(address), i64(sizeOf(s))), () => s.bail());
    }
    const hosts = registers.map((n, i) => s.translateRun(addresses[i]!, n === DESTINATION));
    act(s, hosts);
    registers.forEach((n, i) => s.setGpr(n, op('i64.add', addresses[i]!, i64(sizeOf(s)))));
  };

/** Repetitions, one page at a time: `act` gets the places in memory and the number of bytes. */
const repeated =
  (registers: readonly number[], act: (s: Sem, hosts: Expr[], bytes: Expr) => void): Definition =>
  (s) => {
    const shift = i64(Math.log2(sizeOf(s)));
    upwards(s);
    s.if(op('i64.ne', s.gpr(COUNT), i64(0)), () => {
      s.f.loop((again) => {
        const count = s.let(s.gpr(COUNT));
        const addresses = registers.map((n) => s.let(s.gpr(n)));
        const run = addresses.reduce<Expr>((least, address) => {
          const here = s.let(op('i64.shr_u', toPageEnd(address), shift));
          return s.let(select(op('i64.lt_u', here, least), here, least));
        }, count);
        s.if(op('i64.eqz', run), () => s.bail());
        s.if(op('i64.lt_s', op('i64.extend_i32_s', s.allowance()), run), () => s.bail());
        const hosts = registers.map((n, i) => s.translateRun(addresses[i]!, n === DESTINATION));
        const bytes = s.let(op('i64.shl', run, shift));
        act(s, hosts, s.let(op('i32.wrap_i64', bytes)));
        registers.forEach((n, i) => s.setGpr(n, op('i64.add', addresses[i]!, bytes)));
        const left = s.let(op('i64.sub', count, run));
        s.setGpr(COUNT, left);
        s.countExtra(op('i32.wrap_i64', run));
        s.f.brIf(op('i64.ne', left, i64(0)), again);
      });
      // All repetitions together are one instruction more than what was counted here: the one that every instruction is.
      s.countExtra(i32(-1));
    });
  };

export const string: Definitions = {
  // Mostly DF is clear already, as where kernels are entered.
  CLD: upwards,
  MOVS: single([SOURCE, DESTINATION], (s, [from, to]) => {
    s.f.store(WIDE_STORE[s.width], to!, load(WIDE_LOAD[s.width], from!));
  }),
  STOS: single([DESTINATION], (s, [to]) => s.f.store(WIDE_STORE[s.width], to!, s.gpr(0))),
  LODS: single([SOURCE], (s, [from]) => s.setGpr(0, s.let(load(WIDE_LOAD[s.width], from!)), s.width)),
  'REP MOVS': repeated([SOURCE, DESTINATION], (s, [from, to], bytes) => {
    // A destination inside the source repeats a pattern.
    s.if(op('i32.lt_u', op('i32.sub', to!, from!), bytes), () => s.bail());
    s.f.memoryCopy(to!, from!, bytes);
  }),
  'REP STOS': repeated([DESTINATION], (s, [to], bytes) => {
    const value = s.let(s.zeroExtend(s.gpr(0)));
    const uniform = s.width === 8 ? i32(1) : op('i64.eqz', value);
    s.if(
      uniform,
      () => s.f.memoryFill(to!, op('i32.wrap_i64', value), bytes),
      () => {
        const at = s.f.local('i');
        const end = s.let(op('i32.add', to!, bytes));
        s.f.set(at, to!);
        s.f.loop((again) => {
          s.f.store(WIDE_STORE[s.width], at, value);
          s.f.set(at, op('i32.add', at, i32(sizeOf(s))));
          s.f.brIf(op('i32.lt_u', at, end), again);
        });
      },
    );
  }),
};
