/**
 * What the asked processors are known to do otherwise than the core, which follows the first of them that was asked
 * (Intel), or the manual. A difference counts as known only where a line here foresees it, and where the line says what
 * the processor answers instead, only if it does answer that.
 */

import type { CaseResult, CpuException } from './case.js';
import { backgroundByte, type CpuSnapshot, copySnapshot, LAYOUT, RFLAGS, STATUS_FLAGS } from './state.js';

export interface AskedCase {
  /** Of the form: `GROUP: MNEMONIC operands | encoding | width`. */
  key: string;
  code: Uint8Array;
  initial: CpuSnapshot;
  /** Linear address and bytes of the operand in memory, if there is one. */
  memory?: { address: bigint; size: number };
  /** The core's own answer. */
  result: CaseResult;
  /** Asks the core something else. */
  again: (code: Uint8Array, initial: CpuSnapshot) => CaseResult;
}

export interface VendorDifference {
  vendor: string;
  what: string;
  form: RegExp;
  where: (one: AskedCase) => boolean;
  /** What the vendor's processors answer; without it, or where it is undefined, they may answer anything. */
  answer?: (one: AskedCase) => CaseResult | undefined;
}

const AMD = 'AuthenticAMD';
const INTEL = 'GenuineIntel';
const RCX = 1;
const RSI = 6;
const RDI = 7;
const R8 = 8;
const UNDERFLOW = 0x10;
/** Of MXCSR. */
const DENORMALS_ARE_ZEROS = 0x40;
const ERROR_SUMMARY = 0x80;
const BUSY = 0x8000;
/** Offset of an XSAVE area's header of 64 bytes. */
const HEADER = 512n;

const has = ({ code }: AskedCase, prefix: number): boolean => code.subarray(0, 14).includes(prefix);
const repeats = (one: AskedCase): boolean => has(one, 0xf2) || has(one, 0xf3);
const vectorOf = ({ result }: AskedCase): number => result.exception?.vector ?? -1;
const faults = (one: AskedCase): boolean => vectorOf(one) >= 0;
const low = (value: bigint): bigint => value & 0xffff_ffffn;
const count = (one: AskedCase, state: CpuSnapshot): bigint => {
  const value = state.gpr[RCX]!;
  return has(one, 0x67) ? low(value) : value;
};
const iterates = (one: AskedCase): boolean => count(one, one.initial) !== count(one, one.result.final);

/** The core's answer with changes to its final state. */
function changed({ result }: AskedCase, change: (final: CpuSnapshot) => void): CaseResult {
  const final = copySnapshot(result.final);
  change(final);
  return { ...result, final };
}

const exceptionAlone = ({ initial }: AskedCase, exception: CpuException): CaseResult => ({ final: initial, exception });
const withoutException = ({ initial, code }: AskedCase): CaseResult => ({
  final: { ...initial, rip: initial.rip + BigInt(code.length) },
});

/** The fault that an access to the operand meets, by the memory layout of the cases; a canonical address. */
function accessFault({ memory }: AskedCase, write: boolean): CpuException | undefined {
  if (!memory) return undefined;
  const isIn = (at: bigint, base: number, size: number): boolean => at >= BigInt(base) && at < BigInt(base + size);
  for (const address of [memory.address, (memory.address + BigInt(memory.size) - 1n) & ~0xfffn]) {
    if (isIn(address, LAYOUT.dataBase, LAYOUT.dataSize)) continue;
    const readable = isIn(address, LAYOUT.readOnlyBase, LAYOUT.readOnlySize);
    if (readable && !write) continue;
    return { vector: 14, errorCode: 4 | (readable ? 1 : 0) | (write ? 2 : 0), address };
  }
  return undefined;
}
const isCanonical = (address: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, address)) === address;

/** What memory holds before the case, or undefined where it is not mapped in whole. */
function memoryAt({ initial }: AskedCase, address: bigint, size: number): bigint | undefined {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) {
    const at = Number(address) + i;
    const inData = at >= LAYOUT.dataBase && at < LAYOUT.dataBase + LAYOUT.dataSize;
    const readable = inData || (at >= LAYOUT.readOnlyBase && at < LAYOUT.readOnlyBase + LAYOUT.readOnlySize);
    if (!readable) return undefined;
    const byte = inData ? initial.data[at - LAYOUT.dataBase]! : backgroundByte(at - LAYOUT.readOnlyBase);
    value = (value << 8n) | BigInt(byte);
  }
  return value;
}

/** The status flags of a - b. */
function flagsOfDifference(a: bigint, b: bigint, bits: number): number {
  const difference = BigInt.asUintN(bits, a - b);
  const isNegative = (value: bigint): boolean => value >> BigInt(bits - 1) === 1n;
  const ones = difference.toString(2).slice(-8).replaceAll('0', '').length;
  return (
    (a < b ? RFLAGS.CF : 0) |
    (ones % 2 === 0 ? RFLAGS.PF : 0) |
    ((a & 15n) < (b & 15n) ? RFLAGS.AF : 0) |
    (difference === 0n ? RFLAGS.ZF : 0) |
    (isNegative(difference) ? RFLAGS.SF : 0) |
    (isNegative((a ^ b) & (a ^ difference)) ? RFLAGS.OF : 0)
  );
}

/** The core's answer, with the flags of the last comparison that was done. */
function afterLastComparison(one: AskedCase): CaseResult | undefined {
  const { code, initial, result } = one;
  const opcode = code.at(-1)!;
  const rexW = (code.at(-2)! & 0xf8) === 0x48;
  const size = (opcode & 1) === 0 ? 1 : rexW ? 8 : has(one, 0x66) ? 2 : 4;
  const step = BigInt(initial.rflags & RFLAGS.DF ? -size : size);
  const before = (register: number): bigint => {
    const address = result.final.gpr[register]! - step;
    return has(one, 0x67) ? low(address) : BigInt.asUintN(64, address);
  };
  const base = has(one, 0x64) ? LAYOUT.fsBase : has(one, 0x65) ? LAYOUT.gsBase : 0;
  const isScan = opcode >= 0xae;
  const a = isScan ? BigInt.asUintN(size * 8, initial.gpr[0]!) : memoryAt(one, before(RSI) + BigInt(base), size);
  const b = memoryAt(one, before(RDI), size);
  if (a === undefined || b === undefined) return undefined;
  return changed(one, (final) => {
    final.rflags = (final.rflags & ~STATUS_FLAGS) | flagsOfDifference(a, b, size * 8);
  });
}

/** LDMXCSR of a word with no other reserved bit than 17. */
function loadsMisalignedMask(one: AskedCase): CaseResult {
  const word = one.memory && memoryAt(one, one.memory.address, 4);
  if (word === undefined || word >> 16n !== 2n) return one.result;
  const done = withoutException(one);
  return { final: { ...done.final, mxcsr: Number(word) } };
}

/** XCHG of rAX and R8, which AMD's processors make of F3 REX.B 90. */
function exchanged(one: AskedCase): CaseResult {
  const { code, initial } = one;
  const rex = code.at(-2)!;
  const mask = rex & 8 ? ~0n : has(one, 0x66) ? 0xffffn : 0xffff_ffffn;
  const mix = (to: bigint, from: bigint): bigint =>
    BigInt.asUintN(64, mask === 0xffffn ? (to & ~mask) | (from & mask) : from & mask);
  return changed(one, ({ gpr }) => {
    gpr[0] = mix(initial.gpr[0]!, initial.gpr[R8]!);
    gpr[R8] = mix(initial.gpr[R8]!, initial.gpr[0]!);
  });
}

/** A legacy region whose MXCSR_MASK has bit 17, where one was stored. */
function maskSaved(one: AskedCase): CaseResult {
  const at = Number(one.memory!.address - BigInt(LAYOUT.dataBase)) + 28;
  const [before, after] = [one.initial.data, one.result.final.data];
  if (at < 0 || at + 4 > after.length || after.subarray(at, at + 4).join() !== '255,255,0,0') return one.result;
  // XSAVE stores it only with a component that needs it.
  if (!one.key.includes(': FXSAVE') && before.subarray(at, at + 4).join() === '255,255,0,0') return one.result;
  return changed(one, ({ data }) => {
    data[at + 2] = 2;
  });
}

/** Singles or doubles as bits: sign, exponent and significand. */
interface Format {
  bytes: number;
  /** Of infinity. */
  exponent: bigint;
  quiet: bigint;
}
const SINGLE: Format = { bytes: 4, exponent: 0x7f80_0000n, quiet: 0x40_0000n };
const DOUBLE: Format = { bytes: 8, exponent: 0x7ff0n << 48n, quiet: 1n << 51n };
const isNan = ({ bytes, exponent }: Format, value: bigint): boolean => BigInt.asUintN(bytes * 8 - 1, value) > exponent;
const formatOf = ({ key }: AskedCase): Format => (key.includes(': DPPS') ? SINGLE : DOUBLE);

/** The NaN that a product is, or undefined. */
function nanOfProduct(format: Format, a: bigint, b: bigint, denormalsAreZeros: boolean): bigint | undefined {
  const { bytes, exponent, quiet } = format;
  if (isNan(format, a)) return a | quiet;
  if (isNan(format, b)) return b | quiet;
  const magnitude = (value: bigint): bigint => BigInt.asUintN(bytes * 8 - 1, value);
  const isZero = (value: bigint): boolean =>
    magnitude(value) === 0n || (denormalsAreZeros && (value & exponent) === 0n);
  const isInvalid = (x: bigint, y: bigint): boolean => magnitude(x) === exponent && isZero(y);
  return isInvalid(a, b) || isInvalid(b, a) ? defaultNan(format) : undefined;
}
const defaultNan = ({ bytes, exponent, quiet }: Format): bigint => (1n << BigInt(bytes * 8 - 1)) | exponent | quiet;

const laneOf = (bytes: Uint8Array, { bytes: size }: Format, lane: number): bigint =>
  bytes.subarray(lane * size, (lane + 1) * size).reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

/** Where an opcode of the maps 0F 38 and 0F 3A begins. */
const opcodeAt = (code: Uint8Array): number =>
  code.findIndex((byte, i) => byte === 0x0f && (code[i + 1] === 0x38 || code[i + 1] === 0x3a));
/** The XMM registers of an instruction of these maps: by ModRM.reg, and by ModRM.rm where that is one. */
function registersOf({ code }: AskedCase): [number, number] {
  const at = opcodeAt(code);
  const rex = (code[at - 1]! & 0xf0) === 0x40 ? code[at - 1]! : 0;
  const modrm = code[at + 3]!;
  return [((modrm >> 3) & 7) | (rex & 4 ? 8 : 0), (modrm & 7) | (rex & 1 ? 8 : 0)];
}

/** A dot product, whose NaN is that of the lowest product that is one, in all lanes. */
function lowestNan(one: AskedCase): CaseResult | undefined {
  const format = formatOf(one);
  const { initial, code, memory } = one;
  const [to, from] = registersOf(one);
  const lanes = 16 / format.bytes;
  const operand = memory ? memoryAt(one, memory.address, 16) : undefined;
  if (memory && operand === undefined) return one.result;
  const b = (lane: number): bigint =>
    operand === undefined
      ? laneOf(initial.xmm.subarray(from * 16), format, lane)
      : BigInt.asUintN(format.bytes * 8, operand >> BigInt(lane * format.bytes * 8));
  const nans = Array.from({ length: lanes }, (_, lane) => lane).flatMap((lane) => {
    if (!((code.at(-1)! >> (4 + lane)) & 1)) return [];
    const a = laneOf(initial.xmm.subarray(to * 16), format, lane);
    return nanOfProduct(format, a, b(lane), (initial.mxcsr & DENORMALS_ARE_ZEROS) !== 0) ?? [];
  });
  const nan = nans[0];
  if (nan === undefined) return one.result;
  return changed(one, ({ xmm }) => {
    for (let lane = 0; lane < lanes; lane++) {
      if (!((code.at(-1)! >> lane) & 1)) continue;
      for (let i = 0; i < format.bytes; i++)
        xmm[to * 16 + lane * format.bytes + i] = Number((nan >> BigInt(8 * i)) & 0xffn);
    }
  });
}

/** A SHA instruction with the operand that the processor does not take in memory in a register. */
function unaligned(one: AskedCase): CaseResult | undefined {
  const { code, initial, memory, again } = one;
  // #GP or #SS, by the register; and what 32 bits of an offset make with a base is not told here.
  if (!memory || !isCanonical(memory.address) || (has(one, 0x67) && (has(one, 0x64) || has(one, 0x65))))
    return undefined;
  const exception = accessFault(one, false);
  if (exception) return exceptionAlone(one, exception);
  const operand = memoryAt(one, memory.address, 16)!;
  const [to] = registersOf(one);
  const from = to === 1 ? 2 : 1;
  const at = opcodeAt(code);
  const immediate = code[at + 1] === 0x3a ? [code.at(-1)!] : [];
  const rex = 0x40 | (to >> 3 ? 4 : 0);
  const registers = Uint8Array.from([rex, ...code.subarray(at, at + 3), 0xc0 | ((to & 7) << 3) | from, ...immediate]);
  const prepared = copySnapshot(initial);
  for (let i = 0; i < 16; i++) prepared.xmm[from * 16 + i] = Number((operand >> BigInt(8 * i)) & 0xffn);
  const { final } = again(registers, prepared);
  final.xmm.set(initial.xmm.subarray(from * 16, from * 16 + 16), from * 16);
  return { final: { ...final, rip: initial.rip + BigInt(code.length) } };
}

const x87Stores = /^x87-move: (FSTP?|FISTT?P?|FBSTP) M/;
const raisesX87 = ({ initial, result }: AskedCase): boolean =>
  (result.final.x87.fsw & ~initial.x87.fsw & ERROR_SUMMARY) !== 0;

/** ±2^-16382, of which the sine, a little smaller, is below the normal numbers if rounded towards zero. */
function leastNormalTowardsZero({ initial: { x87 } }: AskedCase): boolean {
  const view = new DataView(x87.st.buffer, x87.st.byteOffset);
  const head = view.getUint16(8, true);
  const control = (x87.fcw >> 10) & 3;
  return (
    (head & 0x7fff) <= 1 && view.getBigUint64(0, true) === 1n << 63n && (control === 3 || control === 1 + (head >> 15))
  );
}
/** ST(0) is ±2^-16382. */
function isLeastNormal({ x87: { st } }: CpuSnapshot): boolean {
  const view = new DataView(st.buffer, st.byteOffset);
  return (view.getUint16(8, true) & 0x7fff) === 1 && view.getBigUint64(0, true) === 1n << 63n;
}
/** The core's answer with an underflow, which it has not seen. */
const underflowing = (one: AskedCase): CaseResult =>
  changed(one, ({ x87 }) => {
    x87.fsw |= UNDERFLOW | (x87.fcw & UNDERFLOW ? 0 : ERROR_SUMMARY | BUSY);
  });

export const VENDOR_DIFFERENCES: readonly VendorDifference[] = [
  {
    vendor: AMD,
    what: 'a repetition with 32-bit addresses that does nothing leaves the upper halves of RCX, RSI and RDI',
    form: /^string: /,
    where: (one) => has(one, 0x67) && repeats(one) && !iterates(one),
    answer: (one) =>
      changed(one, ({ gpr }) => {
        for (const register of [RCX, RSI, RDI]) gpr[register] = one.initial.gpr[register]!;
      }),
  },
  {
    vendor: AMD,
    what: 'flags of a repeated comparison that faults are those of its last comparison, not those before the instruction',
    form: /^(string|code-32): (CMPS|SCAS)/,
    where: (one) => repeats(one) && faults(one) && iterates(one),
    answer: afterLastComparison,
  },
  {
    vendor: AMD,
    what: 'REX.B makes an exchange of 90 after F3, too, which is PAUSE elsewhere',
    form: /^prefix: (P_NOP|P_XCHG|LONG_NOP) /,
    where: (one) => has(one, 0xf3) && (one.code.at(-2)! & 0xf1) === 0x41 && one.code.at(-1) === 0x90 && !faults(one),
    answer: exchanged,
  },
  {
    vendor: AMD,
    what: 'MXCSR_MASK has bit 17 (misaligned SSE accesses)',
    form: /: (FXSAVE|XSAVE|XSAVEOPT|XSAVEC) /,
    where: (one) => one.memory !== undefined && !faults(one),
    answer: maskSaved,
  },
  {
    vendor: AMD,
    what: 'a page fault of XSAVE and its kin is told at the first byte of the area, not at its last or at the header',
    form: /^xsave: X(SAVE|SAVEOPT|SAVEC|RSTOR) /,
    where: (one) => vectorOf(one) === 14,
    answer: (one) => {
      const exception = one.result.exception!;
      const restores = one.key.includes('XRSTOR');
      const area = exception.address - (restores ? HEADER + 8n : HEADER + 63n);
      const present = area >= BigInt(LAYOUT.dataBase) && area < BigInt(LAYOUT.guardBase);
      if (present && !restores) return one.result;
      return exceptionAlone(one, { ...exception, address: present ? area + HEADER : area });
    },
  },
  {
    vendor: AMD,
    what: 'XSAVE and its kin raise #GP, not #SS, for an address on the stack that is not canonical',
    form: /^xsave: X(SAVE|SAVEOPT|SAVEC|RSTOR) /,
    where: (one) => vectorOf(one) === 12,
    answer: (one) => exceptionAlone(one, { vector: 13, errorCode: 0, address: 0n }),
  },
  {
    vendor: AMD,
    what: 'MXCSR may have bit 17',
    form: /: LDMXCSR /,
    where: (one) => vectorOf(one) === 13,
    answer: loadsMisalignedMask,
  },
  {
    vendor: AMD,
    what: 'SYSEXIT is undefined in long mode, whatever the privilege level',
    form: /: SYSEXIT /,
    where: (one) => vectorOf(one) === 13,
    answer: (one) => exceptionAlone(one, { vector: 6, errorCode: 0, address: 0n }),
  },
  {
    vendor: AMD,
    what: 'of several NaNs a dot product gives that of the lowest product',
    form: /: DPP[SD] /,
    where: (one) => !faults(one),
    answer: lowestNan,
  },
  {
    vendor: AMD,
    what: 'operands of SHA instructions need not be aligned',
    form: /^crypto: SHA.* memory$/,
    where: (one) => vectorOf(one) === 13 && one.memory !== undefined && one.memory.address % 16n !== 0n,
    answer: unaligned,
  },
  {
    vendor: AMD,
    what: 'a call looks at its target before it writes the return address',
    form: /: CALL E/,
    where: faults,
    answer: (one) =>
      changed(one, ({ data }) => {
        data.set(one.initial.data);
      }),
  },
  {
    vendor: AMD,
    what: 'an MMX store that faults leaves the x87 state',
    form: /^mmx: MOV(D|Q|NTQ) [EQM]/,
    where: faults,
    answer: (one) => exceptionAlone(one, one.result.exception!),
  },
  {
    vendor: AMD,
    what: 'an x87 store meets a fault of its operand before it raises an unmasked exception of its own',
    form: x87Stores,
    where: (one) => !faults(one) && raisesX87(one),
    answer: (one) => {
      // The stack's own exception has another vector, so of these the core's answer is not foretold.
      if (one.memory && !isCanonical(one.memory.address)) return undefined;
      const exception = accessFault(one, true);
      return exception ? exceptionAlone(one, exception) : one.result;
    },
  },
  {
    vendor: AMD,
    what: 'an x87 store of 10 bytes that faults stores none of them',
    form: /^x87-move: (FSTP|FBSTP) Mt/,
    where: faults,
    answer: (one) =>
      changed(one, ({ data }) => {
        data.set(one.initial.data);
      }),
  },
  {
    vendor: AMD,
    what: 'the sine of the least normal number, rounded towards zero, underflows',
    form: /^x87-transcendental: FSIN(COS)? /,
    where: (one) => !faults(one) && leastNormalTowardsZero(one),
    answer: underflowing,
  },
  {
    vendor: INTEL,
    what: 'a page fault of XSAVEOPT or XSAVEC above 4 GB is told at MXCSR, now and then, not at the last byte of the area',
    form: /^xsave: XSAVE(OPT|C) /,
    where: (one) => vectorOf(one) === 14 && one.result.exception!.address >> 32n !== 0n,
  },
  {
    vendor: INTEL,
    what: 'a logarithm times a number that makes the least normal number underflows',
    form: /^x87-transcendental: FYL2X /,
    where: (one) => !faults(one) && isLeastNormal(one.result.final),
    answer: underflowing,
  },
];

/** The difference that a vendor's processors are known for in a case. */
export function knownDifference(vendor: string, one: AskedCase): VendorDifference | undefined {
  return VENDOR_DIFFERENCES.find((known) => known.vendor === vendor && known.form.test(one.key) && known.where(one));
}
