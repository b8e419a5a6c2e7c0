/** What a silicon case is, and what an engine offers to be judged by it. */

import type { CpuSnapshot } from './state.js';

/** How a result that the manual gives only within bounds is compared. */
export const TOLERANCES = ['exact', 'rcp-single', 'x87-ulp'] as const;
export type Tolerance = (typeof TOLERANCES)[number];

/** What the manual leaves undefined for this case: set bits are not compared. */
export interface Undefined {
  rflags: number;
  /** Bit i: general-purpose register i. */
  gprs: number;
  fsw: number;
  tolerance: Tolerance;
}

export interface CpuException {
  vector: number;
  /** 0 for vectors that have none. */
  errorCode: number;
  /** CR2 for page faults, else 0. */
  address: bigint;
}

export interface SiliconCase {
  name: string;
  code: Uint8Array;
  initial: CpuSnapshot;
  /** With an exception: the state that the handler would see, RIP still at the instruction. */
  final: CpuSnapshot;
  exception?: CpuException;
  undefined: Undefined;
  /** Position in the file, for reports. */
  ordinal: number;
  /** Bits of the code that the instruction is in. */
  mode: 64 | 32;
}

export interface CaseResult {
  final: CpuSnapshot;
  exception?: CpuException;
}

/** What an engine implements to be judged: run the one instruction at `initial.rip` in memory laid out as `LAYOUT`, as 64-bit code if not told otherwise. */
export interface CaseRunner {
  run(code: Uint8Array, initial: CpuSnapshot, mode?: 64 | 32): CaseResult;
}

export interface SiliconFile {
  vendor: string;
  model: string;
  /** CPUID.1:EAX of the processor that gave the answers. */
  signature: number;
  group: string;
  /** Names of the forms with their numbers of cases. */
  forms(): Map<string, number>;
  /** Cases in order; `select` skips whole forms by name without building their states. */
  cases(select?: (name: string) => boolean): Generator<SiliconCase>;
}
