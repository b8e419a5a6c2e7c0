/**
 * What a guest does so often that stopping the core for it costs more than doing it: a personality contributes such
 * transitions as WebAssembly, and the core runs them where the guest executes SYSCALL or RDMSR in 64-bit code.
 *
 * A transition either does all that the personality would do at the exit, or gives up before it has changed anything;
 * then the core stops as it does without. So it takes the usual case only, and the meaning of the unusual ones is
 * written once, in the personality.
 */
import type { Expr, FunctionBuilder } from '@paravane/wasm-emit';

/** Bytes of a vCPU's state that are the personality's own (`VcpuCore.personal`), saved with it. */
export const PERSONAL_BYTES = 64;

/** The vCPU as a transition sees it. Expressions are i32 unless they say i64. */
export interface TransitionSite {
  readonly f: FunctionBuilder;
  /** Offset in memory of the personality's bytes: `load('i64.load', personal, 8)`. */
  readonly personal: Expr;
  /** i64, linear address behind the instruction. */
  readonly next: Expr;
  /** Index of the address space in use. */
  readonly activeSpace: Expr;
  /** General register (`Gpr`), i64. */
  gpr(register: number): Expr;
  setGpr(register: number, value: Expr): void;
  /** Selector of a segment register (`Seg`). */
  selector(register: number): Expr;
  setSelector(register: number, value: Expr): void;
  /** Base of FS or GS (`Seg`), i64. */
  base(register: number): Expr;
  setBase(register: number, value: Expr): void;
  /** RFLAGS, all of it. */
  rflags(): Expr;
  /** Sets RFLAGS but keeps the arithmetic flags as they are. */
  setSystemFlags(value: Expr): void;
  setRflags(value: Expr): void;
  /** Offset in memory of a machine address below 4 GiB. */
  machine(maddr: Expr): Expr;
  /**
   * Offset in memory of `bytes` bytes at a linear address (i64) of one of the two spaces. Gives up unless they lie in a
   * page that the guest may access so, and that was accessed before.
   */
  guest(space: 0 | 1, address: Expr, bytes: number, access: 'read' | 'write'): Expr;
  giveUp(): void;
  giveUpIf(condition: Expr): void;
  /** The end: goes on at a linear address (i64) in one of the spaces. Gives up where the space has no tables. */
  goTo(space: 0 | 1, address: Expr): void;
  /** Gives up unless `goTo` will find tables there. */
  giveUpWithout(space: 0 | 1): void;
}

export interface Transitions {
  /** SYSCALL in 64-bit code, of kernel and program. */
  syscall(site: TransitionSite): void;
  /** RDMSR in 64-bit code. */
  rdmsr(site: TransitionSite): void;
}
