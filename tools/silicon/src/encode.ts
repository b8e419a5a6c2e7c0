/**
 * Assembles one instruction from its parts (Intel SDM volume 2, chapter 2). The parts say exactly which encoding to
 * use, minimal or not; nothing is optimized.
 */

import { LAYOUT } from '../../../packages/x86/silicon/state.js';

/** A memory operand: `[base + index * 2^scale + displacement]`, or RIP-relative to an absolute target. */
export interface Memory {
  base?: number;
  index?: number;
  scale: number;
  displacement: number;
  /** Bytes of displacement with a base: the smallest that the encoding allows is 0, 1 or 4. */
  displacementSize: 0 | 1 | 4;
  ripTarget?: number;
}

export interface Parts {
  /** Legacy prefixes that are not part of the opcode. */
  prefixes: number[];
  /** 66, F2 or F3 as part of the opcode. */
  mandatory: number[];
  opcode: number[];
  rexW: boolean;
  /** Needed for SPL, BPL, SIL and DIL. */
  forceRex: boolean;
  /** ModRM.reg: a register 0 to 15 or an opcode extension. Without `rm` there is no ModRM byte. */
  reg: number;
  rm?: { register: number } | { memory: Memory };
  /** A register added to the last opcode byte. */
  plusRegister?: number;
  immediate: number[];
  vex?: { map: number; pp: number; v: number; w: number };
}

export function littleEndian(value: number | bigint, size: number): number[] {
  const bits = BigInt.asUintN(64, BigInt(value));
  return Array.from({ length: size }, (_, i) => Number((bits >> BigInt(8 * i)) & 0xffn));
}

/** ModRM, SIB and displacement. */
function addressing(parts: Parts, lengthBefore: number): number[] {
  const { rm } = parts;
  if (!rm) return [];
  const reg = (parts.reg & 7) << 3;
  if ('register' in rm) return [0xc0 | reg | (rm.register & 7)];
  const { base, index, scale, displacement, displacementSize, ripTarget } = rm.memory;
  if (ripTarget !== undefined) {
    const next = LAYOUT.instructionAt + lengthBefore + 5 + parts.immediate.length;
    return [reg | 5, ...littleEndian(ripTarget - next, 4)];
  }
  const sibIndex = index === undefined ? 4 : index & 7;
  if (base === undefined) return [reg | 4, (scale << 6) | (sibIndex << 3) | 5, ...littleEndian(displacement, 4)];
  const mod = displacementSize === 0 ? 0 : displacementSize === 1 ? 0x40 : 0x80;
  const sib = index !== undefined || (base & 7) === 4 ? [(scale << 6) | (sibIndex << 3) | (base & 7)] : [];
  return [mod | reg | (sib.length > 0 ? 4 : base & 7), ...sib, ...littleEndian(displacement, displacementSize)];
}

export function assemble(parts: Parts): Uint8Array {
  const { rm, vex } = parts;
  const memory = rm && 'memory' in rm ? rm.memory : undefined;
  const b = parts.plusRegister ?? (rm && 'register' in rm ? rm.register : (memory?.base ?? 0));
  const rexR = rm ? (parts.reg >> 3) & 1 : 0;
  const rexX = ((memory?.index ?? 0) >> 3) & 1;
  const rexB = (b >> 3) & 1;
  const opcode = [...parts.opcode];
  if (parts.plusRegister !== undefined) opcode[opcode.length - 1] = (opcode.at(-1) ?? 0) + (parts.plusRegister & 7);
  const head = [...parts.prefixes];
  if (vex) {
    head.push(0xc4, ((rexR ^ 1) << 7) | ((rexX ^ 1) << 6) | ((rexB ^ 1) << 5) | vex.map);
    head.push((vex.w << 7) | ((~vex.v & 15) << 3) | vex.pp);
  } else {
    head.push(...parts.mandatory);
    const rex = 0x40 | (parts.rexW ? 8 : 0) | (rexR << 2) | (rexX << 1) | rexB;
    if (rex !== 0x40 || parts.forceRex) head.push(rex);
  }
  head.push(...opcode);
  return Uint8Array.from([...head, ...addressing(parts, head.length), ...parts.immediate]);
}
