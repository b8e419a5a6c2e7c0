/**
 * What a hypervisor needs of a CPU core, and all that a core knows of a
 * hypervisor. The core runs guest code until something happens that it does not
 * decide; it stops with an `Exit`, the personality answers by changing the
 * vCPU's state, and runs it again.
 *
 * `rip` at an exit: for `exception` and `privileged` the address of the
 * instruction that stopped; for `syscall`, `interrupt`, `cpuid` and `halt` the
 * address after it. The instruction that stops counts as one retired
 * instruction in every case, so a guest that faults forever uses up its budget.
 */
import type { AddressSpace } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';

export { PERSONAL_BYTES, type TransitionSite, type Transitions } from './transitions.js';

/** Numbers of general registers as encoded (Intel SDM vol. 2, table 2-4). */
export const Gpr = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
} as const;

/** Numbers of segment registers as encoded. */
export const Seg = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5 } as const;

/** Exception vectors (Intel SDM vol. 3, table 6-1). */
export const Vector = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const;

/** RFLAGS bits. */
export const Flag = {
  CF: 1,
  PF: 4,
  AF: 0x10,
  ZF: 0x40,
  SF: 0x80,
  TF: 0x100,
  IF: 0x200,
  DF: 0x400,
  OF: 0x800,
  IOPL: 0x3000,
  NT: 0x4000,
  RF: 0x10000,
  VM: 0x20000,
  AC: 0x40000,
  VIF: 0x80000,
  VIP: 0x100000,
  ID: 0x200000,
} as const;

export type ExitReason =
  /** The budget is used up, at exactly the count asked for. */
  | 'budget'
  /** A fault or trap: `vector`, `errorCode` (where the vector has one), `address` for #PF. */
  | 'exception'
  /** INT n, INT3, INTO: `vector`; `length` is the instruction's. */
  | 'interrupt'
  /** SYSCALL; RCX and R11 are untouched. */
  | 'syscall'
  | 'cpuid'
  | 'halt'
  /** An instruction that needs a privilege or touches what the core does not own: `instruction` tells. */
  | 'privileged';

/** Instructions that stop with `privileged`, by mnemonic. */
export type PrivilegedMnemonic =
  | 'IN'
  | 'OUT'
  | 'INS'
  | 'OUTS'
  | 'CLI'
  | 'STI'
  | 'CLTS'
  | 'HLT'
  | 'WBINVD'
  | 'INVD'
  | 'INVLPG'
  | 'LMSW'
  | 'MOV_FROM_CR'
  | 'MOV_TO_CR'
  | 'MOV_FROM_DR'
  | 'MOV_TO_DR'
  | 'RDMSR'
  | 'WRMSR'
  | 'RDPMC'
  | 'XSETBV'
  | 'SYSRET'
  | 'SYSENTER'
  | 'SYSEXIT'
  | 'IRET'
  | 'SWAPGS'
  | 'LGDT'
  | 'LIDT'
  | 'LLDT'
  | 'LTR'
  | 'MONITOR'
  | 'MWAIT'
  | 'FAR_TRANSFER'
  | 'LOAD_SEGMENT'
  | 'VMCALL'
  | 'VMMCALL'
  | 'SGDT'
  | 'SIDT'
  | 'SLDT'
  | 'STR'
  | 'SMSW'
  | 'VERR'
  | 'VERW'
  | 'LAR'
  | 'LSL';

/** The stopped instruction, as far as an emulation needs it. */
export interface PrivilegedInstruction {
  mnemonic: PrivilegedMnemonic;
  /** Bytes. */
  length: number;
  /** Operand width in bits: 8, 16, 32 or 64. */
  width: number;
  /** Control, debug or segment register number; port of IN/OUT imm8; otherwise 0. */
  register: number;
  /** General register operand; -1 where SGDT, SIDT, SLDT, STR or SMSW stores to memory at `offset`. */
  gpr: number;
  /** IN/OUT: the port is an immediate (`register`), not DX. */
  immediate: boolean;
  /** INS/OUTS with a REP prefix. */
  rep: boolean;
  /** LOAD_SEGMENT, FAR_TRANSFER: the selector loaded; VERR, VERW, LAR, LSL: the one asked about. */
  selector: number;
  /** LOAD_SEGMENT and FAR_TRANSFER forms that also load an offset: that offset. Stores: their linear address. */
  offset: bigint;
}

/** Why the core stopped. One object per vCPU, overwritten by each run. */
export interface Exit {
  reason: ExitReason;
  vector: number;
  /** Error code, or -1 where the vector pushes none. */
  errorCode: number;
  /** Faulting linear address of #PF. */
  address: bigint;
  /** Bytes of the instruction for `interrupt`. */
  length: number;
  /** For #DB: the bits that DR6 gets (B0–B3, BS). */
  dr6: number;
  instruction: PrivilegedInstruction | null;
}

/** Code mode of CS: 64-bit, or 32-bit (compatibility mode under a 64-bit kernel). */
export type CodeMode = 64 | 32;

/** The hidden part of a segment register (Intel SDM vol. 3, 3.4.3). */
export interface Segment {
  base: bigint;
  /** In bytes: the last offset; of data that expands down, the last one that does not belong to it. */
  limit: number;
  /** The descriptor's bits 40 to 55: type, S, DPL, P at 0–7 (`SegmentRights`), L, D/B, G at 13–15. 0: not usable. */
  rights: number;
}
export const SegmentRights = { present: 0x80, long: 0x2000, big: 0x4000 } as const;

/** Architectural state of a virtual CPU, and the means to run it. */
export interface VcpuCore {
  /** RAX…R15 by number (`Gpr`). */
  readonly regs: BigUint64Array;
  rip: bigint;
  /** All of RFLAGS; arithmetic flags are materialised on read. Bit 1 reads as 1. */
  rflags: number;
  /** Selectors by number (`Seg`). Writing one changes nothing of the segment. */
  readonly selectors: Uint16Array;
  /** The segment that a register (`Seg`) holds. In 64-bit mode only the bases of FS and GS count. */
  segment(register: number): Segment;
  /** Loads a segment that was found good. */
  setSegment(register: number, selector: number, segment: Segment): void;
  /** Linear address of the instruction at `rip`. */
  readonly codeAddress: bigint;
  fsBase: bigint;
  gsBase: bigint;
  /** CR0 as far as the core looks at it: TS, EM, MP, NE, AM, WP. */
  cr0: number;
  /** CR4 as far as the core looks at it: OSFXSR, OSXMMEXCPT, OSXSAVE, FSGSBASE, TSD, UMIP. */
  cr4: number;
  xcr0: number;
  mode: CodeMode;
  /** Instructions retired since creation; exact. */
  readonly count: number;
  /** What `count` makes of the time-stamp counter: see `timeStamp`. */
  tscRatio: number;
  tscOffset: number;
  /** Value of the IA32_TSC_AUX register for RDTSCP and RDPID. */
  tscAux: number;
  /**
   * DR0–DR7 (4 and 5 unused). What DR7 enables raises #DB; DR6 is the personality's to keep, from `Exit.dr6`. An
   * instruction breakpoint stops before its instruction, everything else behind it.
   */
  readonly debug: BigUint64Array;
  /**
   * To be called when an instruction that the core stopped at was carried out outside: clears RF, and gives the DR6 bits
   * of the #DB that is due behind it, 0 if none. After MOV or POP to SS (`loadedSs`) it is held back for one instruction.
   */
  debugTrap(loadedSs?: boolean): number;
  /** The tables that the vCPU's linear addresses go through: `spaces[activeSpace]`. Cheap to change. */
  space: AddressSpace;
  /** Two address spaces between which a personality's transitions switch: its kernel's and its programs'. */
  readonly spaces: AddressSpace[];
  activeSpace: 0 | 1;
  /** `PERSONAL_BYTES` of the vCPU's state that are the personality's own. */
  readonly personal: DataView;
  /** The frame that transitions write to beside the stack; 0 where every SYSCALL is to stop the core. */
  transitionFrame: Mfn | 0;
  /**
   * Runs at most `budget` instructions. The result is the same object every time. Unless `exact`, the core may stop a
   * few instructions early, which saves it the work of stopping in mid-block.
   */
  run(budget: number, exact?: boolean): Exit;
  /**
   * Runs the one instruction at `rip` with its stores to the page at `page` not
   * performed but handed to `store` (linear address, new bytes); a page-table
   * write is emulated so. `store` returns false to refuse: the instruction then
   * has no effect and the result is the page fault it would have had.
   * Returns null if the instruction completed; `debugTrap` has to be asked then.
   */
  runEmulatingStore(page: bigint, store: (address: bigint, bytes: Uint8Array) => boolean): Exit | null;
  /** x87, MMX, SSE state in the 512-byte FXSAVE layout (Intel SDM vol. 1, 10.5.1). */
  readFxState(): Uint8Array;
  writeFxState(bytes: Uint8Array): void;
  /** All of the state above, for saving. */
  save(): Uint8Array;
  restore(bytes: Uint8Array): void;
}

export interface Engine {
  readonly name: string;
  createVcpu(): VcpuCore;
  /** Text of the instruction at a linear address, for reports. Never faults; "??" where nothing is mapped. */
  disassemble(vcpu: VcpuCore, address: bigint): { text: string; length: number };
  /** Figures for `--stats`, by name. */
  stats(): Record<string, number>;
}

/**
 * The time-stamp counter of a vCPU that has done `count` instructions. What a core has of this rule for RDTSC while it
 * runs gives the same.
 */
export const timeStamp = ({ count, tscRatio, tscOffset }: Pick<VcpuCore, 'count' | 'tscRatio' | 'tscOffset'>): bigint =>
  BigInt(Math.floor(count * tscRatio + tscOffset));
