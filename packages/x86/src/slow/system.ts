/**
 * System instructions. What needs a privilege, or a table or device that the core
 * does not own, stops the core with the decoded instruction; the personality
 * answers.
 */
import { Flag, type PrivilegedMnemonic, Seg } from '@paravane/engine-api';
import { State } from '../state.js';
import { needIopl } from './integer.js';
import type { SlowCpu, SlowDefinition, SlowDefinitions } from './slow-cpu.js';
import { push, stackPointer } from './stack.js';

const CR4_FSGSBASE = 1 << 16;
const CR4_UMIP = 1 << 11;

const gprOf = (c: SlowCpu, i: number): number => {
  const operand = c.insn.operands[i];
  return operand?.kind === 'r' ? operand.n : 0;
};
const selectorRegister = (c: SlowCpu, i: number): number => {
  const operand = c.insn.operands[i];
  return operand?.kind === 's' ? operand.n : 0;
};
/** DR8 to DR15 are undefined, which comes before the privilege that MOV needs. */
const debugRegister = (c: SlowCpu, i: number): number => {
  const register = selectorRegister(c, i);
  return register < 8 ? register : c.raise(6, -1);
};
/** Instructions on selectors and descriptors are undefined where selectors select none. */
const protectedOnly =
  (definition: SlowDefinition): SlowDefinition =>
  (c) => {
    if (!c.protectedMode) c.raise(6, -1);
    definition(c);
  };
const plain =
  (mnemonic: PrivilegedMnemonic): SlowDefinition =>
  (c) =>
    c.privileged({ mnemonic });

/** IN and OUT: the port is an immediate or DX. `port` is the operand that names it. */
const portAccess =
  (mnemonic: 'IN' | 'OUT', port: number): SlowDefinition =>
  (c) => {
    const operand = c.insn.operands[port]!;
    const data = c.insn.operands[1 - port]!;
    const width = data.kind === 'r' ? Math.min(data.width, 32) : 32;
    if (operand.kind === 'i') c.privileged({ mnemonic, register: operand.value & 0xff, immediate: true, width });
    else c.privileged({ mnemonic, width });
  };

/**
 * A selector and an offset in memory (LDS and its like, far branches). REX.W has no meaning there, as on AMD's processors,
 * which CPUID shows: with it the operand has 32 bits.
 */
function farPointer(c: SlowCpu): { selector: number; offset: bigint; width: number } {
  const at = c.address();
  const width = Math.min(c.insn.width, 32);
  const offset = c.load(at, width / 8);
  return { offset, selector: Number(c.load(at + BigInt(width / 8), 2)), width };
}
/** A register whose low 16 bits are others. */
const lowWord = (register: bigint, value: bigint): bigint => (register & ~0xffffn) | value;
const loadFar =
  (segment: number): SlowDefinition =>
  (c) => {
    const pointer = farPointer(c);
    const gpr = gprOf(c, 0);
    // Of RSP all bits are told, as POP does.
    if (gpr === 4 && pointer.width === 16) pointer.offset = lowWord(c.regs[4]!, pointer.offset);
    c.privileged({ mnemonic: 'LOAD_SEGMENT', register: segment, gpr, ...pointer });
  };

const farBranch: SlowDefinition = (c) => {
  const operand = c.insn.operands[0];
  if (operand?.kind === 'i' && operand.wide !== undefined) {
    const width = BigInt(c.insn.width);
    const offset = BigInt.asUintN(c.insn.width, operand.wide);
    c.privileged({ mnemonic: 'FAR_TRANSFER', selector: Number(operand.wide >> width) & 0xffff, offset });
  } else c.privileged({ mnemonic: 'FAR_TRANSFER', ...(operand?.kind === 'm' ? farPointer(c) : {}) });
};

/** FS and GS base instructions are there only when CR4.FSGSBASE is set. */
const segmentBase =
  (slot: number, write: boolean): SlowDefinition =>
  (c) => {
    if (!(c.view.getUint32(c.base + State.cr4, true) & CR4_FSGSBASE)) c.raise(6, -1);
    if (!write) return c.setOperand(0, c.view.getBigUint64(c.base + slot, true));
    const value = c.operand(0);
    if (BigInt.asUintN(64, BigInt.asIntN(48, value)) !== value) c.raise(13, 0);
    c.view.setBigUint64(c.base + slot, value, true);
  };

/** A store of what the core does not know: `gpr`, or memory at `offset` with `gpr` -1. */
const storeUnknown =
  (mnemonic: PrivilegedMnemonic): SlowDefinition =>
  (c) => {
    // With UMIP these are for CPL 0.
    if (c.view.getUint32(c.base + State.cr4, true) & CR4_UMIP && c.cpl !== 0) c.raise(13, 0);
    c.privileged(c.insn.memory ? { mnemonic, gpr: -1, offset: c.address() } : { mnemonic, gpr: gprOf(c, 0) });
  };

/** A question about the descriptor of a selector; LAR and LSL answer in `gpr`. */
const askDescriptor =
  (mnemonic: PrivilegedMnemonic): SlowDefinition =>
  (c) =>
    c.privileged({ mnemonic, selector: Number(c.operand(c.insn.operands.length - 1) & 0xffffn), gpr: gprOf(c, 0) });

/** Generated code leaves it where CR4.TSD is set: then it is for CPL 0 (Intel SDM vol. 2, RDTSC). */
const readTimeStamp: SlowDefinition = (c) => {
  if (c.cpl !== 0) c.raise(13, 0);
  c.setGpr(0, c.timeStamp & 0xffffffffn, 64);
  c.setGpr(2, c.timeStamp >> 32n, 64);
};

const random: SlowDefinition = (c) => {
  c.setOperand(0, c.random());
  c.eflags = (c.eflags & ~(Flag.OF | Flag.SF | Flag.ZF | Flag.AF | Flag.PF)) | Flag.CF;
};

/** CLAC and STAC: for CPL 0, whatever CR4.SMAP is, and undefined elsewhere (Intel SDM vol. 2, CLAC). */
const setAc =
  (flag: number): SlowDefinition =>
  (c) => {
    if (c.cpl !== 0) c.raise(6, -1);
    c.eflags = (c.eflags & ~Flag.AC) | flag;
  };

export const systemSlow: SlowDefinitions = {
  SYSCALL: (c) => c.stop('syscall'),
  CPUID: (c) => c.stop('cpuid'),
  INT: (c) => {
    needIopl(c);
    c.stop('interrupt', Number(c.operand(0) & 0xffn));
  },
  INT3: (c) => c.stop('interrupt', 3),
  INTO: (c) => {
    if (c.eflags & Flag.OF) c.stop('interrupt', 4);
  },
  INT1: (c) => c.stop('interrupt', 1),
  CLAC: setAc(0),
  STAC: setAc(Flag.AC),
  UD0: (c) => c.raise(6, -1),
  UD1: (c) => c.raise(6, -1),
  UD2: (c) => c.raise(6, -1),
  RDTSC: readTimeStamp,
  RDTSCP: (c) => {
    readTimeStamp(c);
    c.setGpr(1, BigInt(c.view.getUint32(c.base + State.tscAux, true)), 64);
  },
  RDRAND: random,
  RDSEED: random,
  RDFSBASE: segmentBase(State.fsBase, false),
  RDGSBASE: segmentBase(State.gsBase, false),
  WRFSBASE: segmentBase(State.fsBase, true),
  WRGSBASE: segmentBase(State.gsBase, true),
  CLFLUSH: (c) => {
    c.load(c.address(), 1);
  },
  IN: portAccess('IN', 1),
  OUT: portAccess('OUT', 0),
  INS: (c) => c.privileged({ mnemonic: 'INS', rep: c.insn.rep !== 0 }),
  OUTS: (c) => c.privileged({ mnemonic: 'OUTS', rep: c.insn.rep !== 0 }),
  MOV_FROM_CR: (c) => c.privileged({ mnemonic: 'MOV_FROM_CR', register: selectorRegister(c, 1), gpr: gprOf(c, 0) }),
  MOV_TO_CR: (c) => c.privileged({ mnemonic: 'MOV_TO_CR', register: selectorRegister(c, 0), gpr: gprOf(c, 1) }),
  MOV_FROM_DR: (c) => c.privileged({ mnemonic: 'MOV_FROM_DR', register: debugRegister(c, 1), gpr: gprOf(c, 0) }),
  MOV_TO_DR: (c) => c.privileged({ mnemonic: 'MOV_TO_DR', register: debugRegister(c, 0), gpr: gprOf(c, 1) }),
  MOV_FROM_SEG: (c) => {
    const selector = BigInt(c.view.getUint16(c.base + State.selectors + selectorRegister(c, 1) * 2, true));
    // To memory always 16 bits; to a register the selector with zeros above.
    if (c.insn.memory) c.store(c.address(), 2, selector);
    else c.setOperand(0, selector);
  },
  MOV_TO_SEG: (c) => {
    const register = selectorRegister(c, 0);
    if (register === 1) c.raise(6, -1);
    const selector = Number(c.operand(1) & 0xffffn);
    // A null selector names no descriptor that anybody had to look up; in 64-bit mode it takes effect at once.
    if (selector <= 3 && register !== 2 && c.pointerWidth === 64) return c.loadNull(register, selector);
    c.privileged({ mnemonic: 'LOAD_SEGMENT', register, selector });
  },
  PUSH_SEG: (c) => {
    const selector = BigInt(c.view.getUint16(c.base + State.selectors + selectorRegister(c, 0) * 2, true));
    // Of 32 bits only the selector is written, as on most processors (Intel SDM vol. 2, PUSH).
    push(c, selector, c.insn.width === 32 ? 2 : c.insn.width / 8);
  },
  POP_SEG: (c) => {
    const size = c.insn.width / 8;
    const from = stackPointer(c);
    // Only the selector is read, whatever the pointer moves by, as Intel's processors do.
    const selector = Number(c.load(c.linear(Seg.ss, from), 2));
    const moved = BigInt.asUintN(c.stackWidth, from + BigInt(size));
    // `gpr` is RSP and `offset` its value behind the popped selector.
    c.privileged({
      mnemonic: 'LOAD_SEGMENT',
      register: selectorRegister(c, 0),
      selector,
      gpr: 4,
      offset: c.stackWidth === 16 ? lowWord(c.regs[4]!, moved) : moved,
    });
  },
  ARPL: protectedOnly((c) => {
    const [destination, source] = [c.operand(0), c.operand(1)];
    const adjust = (destination & 3n) < (source & 3n);
    // A page that can't be written faults only where the operand changes.
    if (adjust) c.setOperand(0, (destination & ~3n) | (source & 3n));
    c.eflags = (c.eflags & ~Flag.ZF) | (adjust ? Flag.ZF : 0);
  }),
  SGDT: storeUnknown('SGDT'),
  SIDT: storeUnknown('SIDT'),
  SLDT: protectedOnly(storeUnknown('SLDT')),
  STR: protectedOnly(storeUnknown('STR')),
  SMSW: storeUnknown('SMSW'),
  VERR: protectedOnly(askDescriptor('VERR')),
  VERW: protectedOnly(askDescriptor('VERW')),
  LAR: protectedOnly(askDescriptor('LAR')),
  LSL: protectedOnly(askDescriptor('LSL')),
  LLDT: protectedOnly(plain('LLDT')),
  LTR: protectedOnly(plain('LTR')),
  LES: loadFar(0),
  LDS: loadFar(3),
  LSS: loadFar(2),
  LFS: loadFar(4),
  LGS: loadFar(5),
  CALL_FAR: farBranch,
  JMP_FAR: farBranch,
  RET_FAR: farBranch,
  ...Object.fromEntries(
    (
      [
        'CLI',
        'STI',
        'CLTS',
        'HLT',
        'WBINVD',
        'INVD',
        'INVLPG',
        'LMSW',
        'RDMSR',
        'WRMSR',
        'RDPMC',
        'XSETBV',
        'SYSRET',
        'SYSENTER',
        'SYSEXIT',
        'IRET',
        'SWAPGS',
        'LGDT',
        'LIDT',
        'MONITOR',
        'MWAIT',
        'VMCALL',
        'VMMCALL',
      ] as const
    ).map((mnemonic) => [mnemonic, plain(mnemonic)]),
  ),
};
