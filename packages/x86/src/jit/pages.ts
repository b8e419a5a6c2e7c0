/**
 * Base registers whose accesses a region expects in the page of the one before:
 * one compare with that page then takes the place of a look into the TLB.
 */
import { type Instruction, writesMemory } from '../decode.js';
import type { Region } from './region.js';

export const STACK_POINTER = 4;

const READS_ONLY = /^(CMP|TEST|BT|PUSH|CALL|JMP|MUL|DIV|IDIV|COMIS[SD]|UCOMIS[SD])$/;

/** Base register of a memory operand that is nothing but base and displacement, or -1. */
export function plainBase(insn: Instruction): number {
  const { memory } = insn;
  if (!memory || memory.base < 0 || memory.wide !== undefined || insn.mnemonic === 'LEA') return -1;
  if (insn.segment >= 4 || insn.addressWidth !== insn.mode) return -1;
  return memory.index >= 0 && memory.base !== STACK_POINTER ? -1 : memory.base;
}

/** Base registers that deserve a page, and whether that has to be one for writes. */
export function pagesOf(region: Region): Map<number, boolean> {
  const accesses = new Map<number, number>();
  const changes = new Map<number, number>();
  const writes = new Set([STACK_POINTER]);
  const add = (counts: Map<number, number>, n: number): void => void counts.set(n, (counts.get(n) ?? 0) + 1);
  for (const { instructions } of region.blocks.values()) {
    for (const { insn } of instructions) {
      const [first] = insn.operands;
      if (first?.kind === 'r' && !READS_ONLY.test(insn.mnemonic)) add(changes, first.n);
      const base = plainBase(insn);
      if (base < 0) continue;
      add(accesses, base);
      if (writesMemory(insn) && !READS_ONLY.test(insn.mnemonic)) writes.add(base);
    }
  }
  const deserving = [...accesses]
    .filter(([base, count]) => count >= 2 && count > 2 * ((changes.get(base) ?? 0) - 1))
    .map(([base]) => base);
  return new Map([...new Set([STACK_POINTER, ...deserving])].map((base) => [base, writes.has(base)]));
}
