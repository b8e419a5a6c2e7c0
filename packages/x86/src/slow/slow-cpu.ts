/**
 * What an instruction defined in TypeScript works on: the vCPU's state, its
 * operands, and its linear memory with the rights of the guest.
 *
 * A fault leaves the definition at once by `raise` or by an access that fails;
 * so a definition makes every access that can fault before it changes a
 * register. The signal is caught where the definition was called and goes no
 * further.
 */
import type { PrivilegedInstruction } from '@paravane/engine-api';
import type { Instruction } from '../decode.js';

export interface SlowCpu {
  readonly insn: Instruction;
  readonly regs: BigUint64Array;
  /** The machine's memory, and where in it this vCPU's state (`State`) begins. */
  readonly view: DataView;
  readonly base: number;
  /** All of RFLAGS. */
  eflags: number;
  readonly pointerWidth: 64 | 32;
  /** Operand `i`, zero-extended from its width. Immediates are sign-extended to the operand size, then cut to it. */
  operand(i: number): bigint;
  setOperand(i: number, value: bigint): void;
  /** Writes a general register; 32 bits clear the upper half, fewer leave the rest. */
  setGpr(n: number, value: bigint, width: number): void;
  /** Current privilege level. */
  readonly cpl: number;
  /** Neither real-address nor virtual-8086 mode. */
  readonly protectedMode: boolean;
  /** Width of the stack pointer in use. */
  readonly stackWidth: 64 | 32 | 16;
  /** Linear address of the memory operand. */
  address(): bigint;
  /** Segment and effective address of the memory operand. */
  effective(): { segment: number; offset: bigint };
  /** Linear address of an offset in a segment (`Seg`). What is accessed next is checked against that segment. */
  linear(segment: number, offset: bigint): bigint;
  load(va: bigint, bytes: number): bigint;
  store(va: bigint, bytes: number, value: bigint): void;
  loadBytes(va: bigint, length: number): Uint8Array;
  storeBytes(va: bigint, bytes: Uint8Array): void;
  /** Raises #GP or #SS if bytes from the lower half of addresses on reach behind its end. */
  outsideHole(va: bigint, length: number): void;
  /** Offset in memory of up to `bytes` bytes that lie on one page; raises #PF if the page can't be accessed so. */
  pageAt(va: bigint, write: boolean): number;
  /** Raises what a store to these bytes would raise, for an operand that is read first and written in every case. */
  writable(va: bigint, bytes: number): void;
  /** Bytes that `pageAt` of a write gave were changed. */
  changed(va: bigint, bytes: number): void;
  /** False while stores are being emulated: then each goes through `store`, one by one. */
  readonly bulk: boolean;
  /** Instructions that this one may count for at most (at least 1): the bound for repetitions. */
  readonly allowance: number;
  /** Counts repetitions beyond the one that every instruction counts. */
  countExtra(iterations: number): void;
  /** Stops here with the budget used up; the instruction is run again later. */
  interrupt(): never;
  /** Loads a data segment register with a null selector. */
  loadNull(register: number, selector: number): void;
  raise(vector: number, errorCode: number): never;
  /** Stops with `privileged`. The last thing that a definition does, as `stop` is: leaving by a signal takes longer. */
  privileged(fields: Partial<PrivilegedInstruction> & Pick<PrivilegedInstruction, 'mnemonic'>): void;
  /** Stops behind the instruction with a reason. */
  stop(reason: 'syscall' | 'cpuid' | 'halt' | 'interrupt', vector?: number): void;
  /** Goes on at an instruction pointer; #GP where it lies beyond the limit of CS. */
  jump(target: bigint): void;
  /** The instruction pointer at the instruction. */
  readonly rip: bigint;
  /** The bytes of the instruction. */
  codeBytes(): Uint8Array;
  /** The time-stamp counter at the instruction. */
  readonly timeStamp: bigint;
  random(): bigint;
}

export type SlowDefinition = (c: SlowCpu) => void;
export type SlowDefinitions = Record<string, SlowDefinition>;
