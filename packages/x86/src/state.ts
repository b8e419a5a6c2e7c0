/**
 * Layout of a vCPU's state and of micro-operations in the core's area of the
 * machine's memory: the contract between generated code, the engine and saved
 * images. All offsets in bytes.
 */
import { PERSONAL_BYTES } from '@paravane/engine-api';

/** Offsets in a vCPU's state. Register slots below 0x100 are named in micro-operations by their offset. */
export const State = {
  /** RAX…R15, 8 bytes each. */
  gpr: 0,
  /** A slot that is always zero: the missing base or index. */
  zero: 0x80,
  /** Linear address of the page that instructions are fetched from. */
  pcBase: 0x88,
  fsBase: 0x90,
  gsBase: 0x98,
  /** Effective address computed by a prefix micro-operation. */
  temp: 0xa0,
  /** Bases of ES, CS, SS and DS, 8 bytes each; outside 64-bit mode. */
  esBase: 0xa8,
  /** Micro-operation to run next, or that stopped. */
  ip: 0x100,
  /** Instructions left, less the reserve of one block. */
  left: 0x104,
  flagKind: 0x108,
  flagA: 0x110,
  flagB: 0x118,
  /** Linear target of a branch that generated code could not resolve. */
  rip: 0x120,
  /** RFLAGS bits other than the arithmetic ones. */
  eflags: 0x128,
  /** Vector and error code (-1: none) of a fault raised by generated code. */
  vector: 0x130,
  errorCode: 0x134,
  /** Distance of the branch by which a compiled region was left for any address from the page before its own, or -1. */
  origin: 0x138,
  mxcsr: 0x140,
  /** Linear address of the page that compiled code takes the stack to be in, and the TLB's addend for it. */
  stackPage: 0x148,
  stackAddend: 0x150,
  /**
   * Where a block was entered from that has been reported as hot: page of the branch, and its micro-operation. That is
   * `NO_JUMP` for any but an indirect jump, `COMPILED_JUMP` for a branch that `origin` tells of.
   */
  jumpPage: 0x158,
  jumpUop: 0x160,
  /** Instructions done in compiled code; the engine resets it. */
  compiled: 0x164,
  /** `left` when compiled code was last left, or could not be entered for want of it; the engine resets it. */
  regionLeft: 0x168,
  /** Frames of the tables of the two address spaces where generated code may walk them, else 0; 4 bytes each. */
  walkRoots: 0x170,
  /** 1 where the address space is held to the user bit, 4 bytes each. */
  walkUser: 0x178,
  /** Domain whose frames such a walk may reach. */
  walkOwner: 0x180,
  /** XMM0…XMM15, 16 bytes each. */
  xmm: 0x200,
  /** Physical x87 registers R0…R7 (MM0…MM7), 16 bytes each, the upper six unused. */
  x87: 0x300,
  fcw: 0x380,
  fsw: 0x382,
  /** One bit a physical register: 1 not empty (the abridged tag of FXSAVE). */
  ftw: 0x384,
  fop: 0x386,
  fip: 0x388,
  fdp: 0x390,
  selectors: 0x3a0,
  cr0: 0x3b0,
  cr4: 0x3b4,
  xcr0: 0x3b8,
  tscAux: 0x3bc,
  mode: 0x3c0,
  /** TSC = count × ratio + offset, f64 each; and the count of instructions at which `left` would be 0, f64. */
  tscRatio: 0x3c8,
  tscOffset: 0x3d0,
  countBase: 0x3d8,
  /** DR0…DR7, 8 bytes each. */
  debug: 0x400,
  /** Limits and rights of ES…GS (`Segment` of the engine API), 4 and 2 bytes each. */
  limits: 0x440,
  rights: 0x458,
  /** One bit a segment that accesses by override have to be checked against, where the others are flat. */
  limited: 0x464,
  /** CR0.EM and CR0.TS for SSE; EM also where CR4.OSFXSR is clear. */
  sseTraps: 0x468,
  /** Index of the address space in use. */
  space: 0x46c,
  /** Tags of the two address spaces, 4 bytes each; 0 where the one that is not in use has no tables. */
  tags: 0x470,
  /** 1 where SYSCALL may be done by the personality's transition. */
  transitions: 0x478,
  /** `PERSONAL_BYTES` of the personality. */
  personal: 0x480,
} as const;
export const STATE_BYTES = 0x480 + PERSONAL_BYTES;

/**
 * A micro-operation, 16 bytes: handler u16 @0, register slots of operands u8 @2
 * and @3 (an offset in the state, in the XMM or x87 area for those), base and
 * index slots u8 @4 and @5, scale u8 @6, number of the instruction in its block
 * u8 @7, displacement i32 @8, immediate i32 @12. A 64-bit immediate lies at @8.
 * A branch within its page keeps the micro-operation it is linked to at @8 (0:
 * not yet) and the page offset of its target in the low half of @12; a branch
 * out of its page keeps the target's distance from the page at @8. What the
 * engine may have to do keeps the number of its instruction in the upper 24 bits
 * of @12, over an immediate byte. A call keeps
 * the return address's distance in the high half of @12.
 */
export const Uop = {
  handler: 0,
  slot1: 2,
  slot2: 3,
  base: 4,
  index: 5,
  scale: 6,
  number: 7,
  disp: 8,
  imm: 12,
} as const;
export const UOP_BYTES = 16;
/** Instructions in a block at most; the reserve that a budget keeps for the last one. */
export const MAX_BLOCK = 48;
/** Instructions in a compiled region at most: what may run between two looks at the budget there. */
export const MAX_REGION = 400;

/** Kinds of the lazy flags, each times four plus the width's number (0: 8 bits … 3: 64 bits). */
export const FlagKind = {
  /** Flags of a − b; a logic result r is r − 0. */
  sub: 0,
  /** Flags of a + b. */
  add: 4,
  /** ZF, SF, PF of a; the others are bits of b. */
  result: 8,
  /** All are bits of b. */
  bits: 12,
} as const;

/** Why generated code returns to the engine. */
export const Stop = {
  go: 0,
  /** A translation failed; the engine has recorded the fault. */
  fault: 1,
  /** Continue at `State.rip`. */
  resolve: 2,
  /** The branch at `ip` is not linked. */
  link: 3,
  budget: 4,
  /** Raise `State.vector`. */
  raise: 5,
  /** An instruction done by the engine stopped the core. */
  exit: 6,
  /** The instruction before `ip` changed code; look up again. */
  leave: 7,
  /** End of a block that was made for the last instructions of a budget. */
  end: 8,
  /** The engine must do the instruction at `ip`. */
  slow: 9,
  /** The block at `ip` has been entered often. */
  hot: 10,
} as const;

/** (cpu, linear address behind the SYSCALL) → tag of the address space to go on in, at `State.rip`; 0: the core stops. */
export const TRANSITION = { params: ['i', 'l'], results: ['l'] } as const;

/** See `State.jumpUop`; no micro-operation has such an offset. */
export const [NO_JUMP, COMPILED_JUMP] = [0, 1];

/** Scratch for accesses over two pages: offsets below this in memory are not frames. */
export const SCRATCH_TOP = 0x1000;
export const SCRATCH = 0x40;

/**
 * The third argument of the import `miss`: the bytes of the access, or one of these: it writes; it goes on from its
 * address to the end of the page, and what is not plain memory there is answered by `SCRATCH`, without a fault.
 */
export const MISS_WRITE = 0x100;
export const MISS_RUN = 0x200;

/** Number of a width: 8, 16, 32, 64 bits → 0…3. */
export const widthNumber = (width: number): number => 31 - Math.clz32(width >> 3);

/**
 * (cpu, left, tag, linear address of the page, bytes of host stack that nested regions may take) → `RegionStop`.
 * A guest's call of code that is compiled is a call of its function, so the host's predictor of returns serves the
 * guest's; registers and flags are in the state at every call and return.
 */
export const REGION = { params: ['i', 'i', 'l', 'l', 'i'], results: ['i'] } as const;
/** What the outermost region is given of the host's stack. */
export const REGION_ROOM = 192 << 10;
