/** The stack and branch targets as TypeScript definitions use them, for every width of stack and code. */
import { Seg } from '@paravane/engine-api';
import type { SlowCpu } from './slow-cpu.js';

export const stackPointer = (c: SlowCpu): bigint => BigInt.asUintN(c.stackWidth, c.regs[4]!);
export const setStackPointer = (c: SlowCpu, value: bigint): void => c.setGpr(4, value, c.stackWidth);

/** Pushes at the operand size, of which `written` bytes are stored. */
export function push(c: SlowCpu, value: bigint, written = c.insn.width / 8): void {
  const size = c.insn.width / 8;
  const at = BigInt.asUintN(c.stackWidth, stackPointer(c) - BigInt(size));
  c.store(c.linear(Seg.ss, at), written, value);
  setStackPointer(c, at);
}

/** Instruction pointer that a displacement leads to; with 16-bit operands it has 16 bits. */
export function branchTarget(c: SlowCpu, displacement: number): bigint {
  const to = c.rip + BigInt(c.insn.length + displacement);
  return c.insn.width === 16 && c.insn.mode === 32 ? to & 0xffffn : to;
}
