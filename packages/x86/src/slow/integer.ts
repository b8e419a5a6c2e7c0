/** Integer instructions that are rare, or have a case that is (Intel SDM vol. 2). */
import { Flag, Seg } from '@paravane/engine-api';
import type { SlowCpu, SlowDefinitions } from './slow-cpu.js';
import { branchTarget, push, setStackPointer, stackPointer } from './stack.js';

const ARITHMETIC = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;
/** RFLAGS bits that POPF changes at any privilege (Intel SDM vol. 2, POPF). */
const POPF_BITS = ARITHMETIC | Flag.TF | Flag.DF | Flag.NT | Flag.AC | Flag.ID;

const iopl = (c: SlowCpu): number => (c.eflags & Flag.IOPL) >> 12;
const popfBits = (c: SlowCpu): number => POPF_BITS | (c.cpl <= iopl(c) ? Flag.IF : 0) | (c.cpl === 0 ? Flag.IOPL : 0);

/** PUSHF, POPF and INT n of virtual-8086 mode are for IOPL 3 (Intel SDM vol. 3, 21.2.7). */
export function needIopl(c: SlowCpu): void {
  if (c.eflags & Flag.VM && iopl(c) < 3) c.raise(13, 0);
}

const bytes = (c: SlowCpu): number => c.insn.width / 8;

/** DIV and IDIV with a dividend of 128 bits; smaller ones come here only with the same result. */
const divide =
  (signed: boolean) =>
  (c: SlowCpu): void => {
    const width = c.insn.width;
    const cut = (v: bigint): bigint => (signed ? BigInt.asIntN(width, v) : BigInt.asUintN(width, v));
    const divisor = cut(c.operand(0));
    if (divisor === 0n) c.raise(0, -1);
    const low = BigInt.asUintN(width, c.regs[0]!);
    const high = BigInt.asUintN(width, width === 8 ? c.regs[0]! >> 8n : c.regs[2]!);
    const joined = (high << BigInt(width)) | low;
    const dividend = signed ? BigInt.asIntN(width * 2, joined) : joined;
    const quotient = dividend / divisor;
    if (cut(quotient) !== quotient) c.raise(0, -1);
    const remainder = dividend % divisor;
    if (width === 8) c.setGpr(0, (BigInt.asUintN(8, remainder) << 8n) | BigInt.asUintN(8, quotient), 16);
    else {
      c.setGpr(0, quotient, width);
      c.setGpr(2, remainder, width);
    }
  };

/** LOOP and JRCXZ with an address size other than the mode's. */
const loop = (c: SlowCpu): void => {
  const width = c.insn.addressWidth;
  const name = c.insn.mnemonic;
  let count = BigInt.asUintN(width, c.regs[1]!);
  if (name !== 'JRCXZ') count = BigInt.asUintN(width, count - 1n);
  const zero = (c.eflags & Flag.ZF) !== 0;
  const taken = name === 'JRCXZ' ? count === 0n : count !== 0n && (name === 'LOOP' || (name === 'LOOPE') === zero);
  const operand = c.insn.operands[0]!;
  if (taken && operand.kind === 'j') c.jump(branchTarget(c, operand.value));
  if (name !== 'JRCXZ') c.setGpr(1, count, width);
};

/** BT and its kin with a register offset and an address size other than the mode's. */
const bitTest =
  (change: (value: bigint, mask: bigint) => bigint): ((c: SlowCpu) => void) =>
  (c) => {
    const width = BigInt(c.insn.width);
    const offset = BigInt.asIntN(c.insn.width, c.operand(1));
    const bit = offset & (width - 1n);
    const place = c.effective();
    const effective = BigInt.asUintN(
      c.insn.addressWidth,
      place.offset + (offset >> (width === 64n ? 6n : width === 32n ? 5n : 4n)) * (width / 8n),
    );
    const at = c.linear(place.segment, effective);
    const writes = c.insn.mnemonic !== 'BT';
    if (writes) c.writable(at, bytes(c));
    const value = c.load(at, bytes(c));
    if (writes) c.store(at, bytes(c), change(value, 1n << bit));
    c.eflags = (c.eflags & ~Flag.CF) | Number((value >> bit) & 1n);
  };

export const integerSlow: SlowDefinitions = {
  DIV: divide(false),
  IDIV: divide(true),
  BT: bitTest((value) => value),
  BTS: bitTest((value, mask) => value | mask),
  BTR: bitTest((value, mask) => value & ~mask),
  BTC: bitTest((value, mask) => value ^ mask),
  LOOP: loop,
  LOOPE: loop,
  LOOPNE: loop,
  JRCXZ: loop,
  POP: (c) => {
    // The address of a memory destination is worked out with the stack pointer already moved.
    const from = stackPointer(c);
    const value = c.load(c.linear(Seg.ss, from), bytes(c));
    const moved = from + BigInt(bytes(c));
    const before = c.regs[4]!;
    setStackPointer(c, moved);
    if (!c.insn.memory) return c.setOperand(0, value);
    const at = c.address();
    c.regs[4] = before;
    c.store(at, bytes(c), value);
    setStackPointer(c, moved);
  },
  PUSHF: (c) => {
    needIopl(c);
    push(c, BigInt(c.eflags & ~(Flag.VM | Flag.RF)));
  },
  POPF: (c) => {
    needIopl(c);
    const from = stackPointer(c);
    const value = Number(c.load(c.linear(Seg.ss, from), bytes(c)) & 0xffffffffn);
    setStackPointer(c, from + BigInt(bytes(c)));
    const mask = popfBits(c) & (c.insn.width === 16 ? 0xffff : -1);
    c.eflags = (c.eflags & ~mask & ~Flag.RF) | (value & mask);
  },
  ENTER: (c) => {
    const size = c.operand(0) & 0xffffn;
    const level = Number(c.operand(1) & 31n);
    const width = bytes(c);
    const lower = (at: bigint, by: bigint): bigint => BigInt.asUintN(c.stackWidth, at - by);
    const step = BigInt(width);
    let pointer = lower(stackPointer(c), step);
    c.store(c.linear(Seg.ss, pointer), width, c.regs[5]!);
    // With the upper half of ESP, on a 16-bit stack, too.
    const frame = c.stackWidth === 16 ? (c.regs[4]! & 0xffff0000n) | pointer : pointer;
    let link = BigInt.asUintN(c.stackWidth, c.regs[5]!);
    for (let i = 1; i <= level; i++) {
      link = lower(link, step);
      const value = i === level ? frame : c.load(c.linear(Seg.ss, link), width);
      pointer = lower(pointer, step);
      c.store(c.linear(Seg.ss, pointer), width, value);
    }
    pointer = lower(pointer, size);
    // A push on the new frame must be possible (Intel SDM vol. 2, ENTER).
    c.writable(c.linear(Seg.ss, pointer), width);
    c.setGpr(5, frame, c.insn.width);
    setStackPointer(c, pointer);
  },
  PUSHA: (c) => {
    const width = bytes(c);
    const start = stackPointer(c);
    for (let n = 0; n < 8; n++) {
      const at = BigInt.asUintN(c.stackWidth, start - BigInt(width * (n + 1)));
      c.store(c.linear(Seg.ss, at), width, c.regs[n]!);
    }
    setStackPointer(c, start - BigInt(width * 8));
  },
  POPA: (c) => {
    const width = bytes(c);
    const start = stackPointer(c);
    // A fault leaves what was popped before it, and the stack pointer where it was, as on Intel's processors.
    for (let i = 0; i < 8; i++) {
      const value = c.load(c.linear(Seg.ss, BigInt.asUintN(c.stackWidth, start + BigInt(width * i))), width);
      if (i !== 3) c.setGpr(7 - i, value, c.insn.width);
    }
    setStackPointer(c, start + BigInt(width * 8));
  },
  XLAT: (c) => {
    const at = BigInt.asUintN(c.insn.addressWidth, c.regs[3]! + (c.regs[0]! & 0xffn));
    c.setGpr(0, c.load(c.linear(c.insn.segment >= 0 ? c.insn.segment : Seg.ds, at), 1), 8);
  },
  CLD: (c) => {
    c.eflags &= ~Flag.DF;
  },
  STD: (c) => {
    c.eflags |= Flag.DF;
  },
  CMPXCHG16B: (c) => {
    const at = c.address();
    if (at & 15n) c.raise(13, 0);
    c.writable(at, 16);
    const [low, high] = [c.load(at, 8), c.load(at + 8n, 8)];
    const equal = low === c.regs[0] && high === c.regs[2];
    c.store(at, 8, equal ? c.regs[3]! : low);
    c.store(at + 8n, 8, equal ? c.regs[1]! : high);
    if (!equal) {
      c.regs[0] = low;
      c.regs[2] = high;
    }
    c.eflags = equal ? c.eflags | Flag.ZF : c.eflags & ~Flag.ZF;
  },
  CRC32: (c) => {
    const width = Number(c.insn.operands[1]!.kind === 'i' ? 32 : (c.insn.operands[1] as { width: number }).width);
    let crc = Number(c.operand(0) & 0xffffffffn);
    let data = c.operand(1);
    for (let i = 0; i < width / 8; i++) {
      crc ^= Number(data & 0xffn);
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
      data >>= 8n;
    }
    c.setGpr((c.insn.operands[0] as { n: number }).n, BigInt(crc >>> 0), 64);
  },
  PDEP: (c) => {
    const [source, mask] = [c.operand(1), c.operand(2)];
    let result = 0n;
    let from = 0n;
    for (let bit = 0n; bit < BigInt(c.insn.width); bit++) {
      if ((mask >> bit) & 1n) result |= ((source >> from++) & 1n) << bit;
    }
    c.setOperand(0, result);
  },
  PEXT: (c) => {
    const [source, mask] = [c.operand(1), c.operand(2)];
    let result = 0n;
    let to = 0n;
    for (let bit = 0n; bit < BigInt(c.insn.width); bit++) {
      if ((mask >> bit) & 1n) result |= ((source >> bit) & 1n) << to++;
    }
    c.setOperand(0, result);
  },
  BOUND: (c) => {
    const width = bytes(c);
    const at = c.address();
    const index = BigInt.asIntN(c.insn.width, c.operand(0));
    const lower = BigInt.asIntN(c.insn.width, c.load(at, width));
    // Intel's processors compare with the first before they read the second.
    if (index < lower) c.raise(5, -1);
    const upper = BigInt.asIntN(c.insn.width, c.load(at + BigInt(width), width));
    if (index > upper) c.raise(5, -1);
  },
  SALC: (c) => c.setGpr(0, c.eflags & Flag.CF ? 0xffn : 0n, 8),
  ...decimal(),
};

/** BCD adjustments, 32-bit mode only. */
function decimal(): SlowDefinitions {
  const resultFlags = (c: SlowCpu, al: number, extra: number): void => {
    let parity = al;
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    c.eflags =
      (c.eflags & ~ARITHMETIC) |
      extra |
      (al === 0 ? Flag.ZF : 0) |
      (al & 0x80 ? Flag.SF : 0) |
      (parity & 1 ? 0 : Flag.PF);
  };
  const packed =
    (sign: 1 | -1) =>
    (c: SlowCpu): void => {
      const old = Number(c.regs[0]! & 0xffn);
      const oldCarry = c.eflags & Flag.CF;
      let al = old;
      let flags = 0;
      if ((al & 15) > 9 || c.eflags & Flag.AF) {
        const sum = al + 6 * sign;
        if (oldCarry || sum < 0 || sum > 255) flags |= Flag.CF;
        al = sum & 0xff;
        flags |= Flag.AF;
      }
      if (old > 0x99 || oldCarry) {
        al = (al + 0x60 * sign) & 0xff;
        flags |= Flag.CF;
      } else if (sign === 1) flags &= ~Flag.CF;
      c.setGpr(0, BigInt(al), 8);
      resultFlags(c, al, flags);
    };
  const unpacked =
    (sign: 1 | -1) =>
    (c: SlowCpu): void => {
      const ax = Number(c.regs[0]! & 0xffffn);
      const adjust = (ax & 15) > 9 || (c.eflags & Flag.AF) !== 0;
      const next = adjust ? (sign === 1 ? ax + 0x106 : ax - 6 - 0x100) : ax;
      const result = ((next & 0xff00) | (next & 15)) & 0xffff;
      c.setGpr(0, BigInt(result), 16);
      resultFlags(c, result & 0xff, adjust ? Flag.CF | Flag.AF : 0);
    };
  return {
    DAA: packed(1),
    DAS: packed(-1),
    AAA: unpacked(1),
    AAS: unpacked(-1),
    AAM: (c) => {
      const radix = Number(c.operand(0) & 0xffn);
      if (radix === 0) c.raise(0, -1);
      const al = Number(c.regs[0]! & 0xffn);
      c.setGpr(0, BigInt((Math.floor(al / radix) << 8) | (al % radix)), 16);
      resultFlags(c, al % radix, 0);
    },
    AAD: (c) => {
      const radix = Number(c.operand(0) & 0xffn);
      const al = (Number(c.regs[0]! & 0xffn) + Number((c.regs[0]! >> 8n) & 0xffn) * radix) & 0xff;
      c.setGpr(0, BigInt(al), 16);
      resultFlags(c, al, 0);
    },
  };
}
