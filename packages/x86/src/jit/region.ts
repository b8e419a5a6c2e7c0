/**
 * Regions: the control-flow graph that can be reached from a hot address without
 * leaving its page, up to a bound, calls passed over. Returns, indirect branches
 * and instructions that generated code does not do are where control leaves it.
 */
import type { CodeMode } from '@paravane/engine-api';
import { decode, type Instruction } from '../decode.js';
import { isGenerated } from '../handlers.js';
import { endsBlock } from '../lower.js';
import { MAX_REGION } from '../state.js';

export interface Placed {
  insn: Instruction;
  /** Page offset. */
  offset: number;
}

export interface BasicBlock {
  offset: number;
  instructions: Placed[];
  /** Page offset of a conditional or unconditional near branch at the end, or -1. */
  taken: number;
  /** Page offset that control falls through to, or -1 where it doesn't. */
  next: number;
}

export interface Region {
  entry: number;
  mode: CodeMode;
  /** By page offset. */
  blocks: Map<number, BasicBlock>;
  instructions: number;
}

/** Page offset of a near branch's target in the page, or -1. */
export function nearTarget(placed: Placed): number {
  const operand = placed.insn.operands[0];
  if (operand?.kind !== 'j' || placed.insn.width === 16) return -1;
  const target = placed.offset + placed.insn.length + operand.value;
  return target >= 0 && target < 4096 ? target : -1;
}

const isCall = (insn: Instruction): boolean => insn.mnemonic === 'CALL';
/** Whether control comes back behind an instruction that ends a block. */
const comesBack = (insn: Instruction): boolean => isCall(insn) && insn.width !== 16;

/**
 * The region of a page from `entry`; null where its first instruction is not for compiled code. Code that only branches
 * lead to, or calls return to, is part of it where `hasRun` says so.
 */
export function findRegion(
  bytes: Uint8Array,
  page: number,
  entry: number,
  mode: CodeMode,
  hasRun: (offset: number) => boolean,
): Region | null {
  const found = new Map<number, Placed | null>();
  const leaders = new Set([entry]);
  const queue = [entry];
  let count = 0;
  while (queue.length > 0) {
    let offset = queue.shift()!;
    while (!found.has(offset) && count < MAX_REGION) {
      const insn = offset < 4096 ? decode(bytes, page + offset, page + 4096, mode) : null;
      if (insn === null || typeof insn === 'string' || !isGenerated(insn)) {
        found.set(offset, null);
        break;
      }
      const placed = { insn, offset };
      found.set(offset, placed);
      count++;
      const target = isCall(insn) ? -1 : nearTarget(placed);
      if (target >= 0 && (target === entry || hasRun(target))) {
        leaders.add(target);
        queue.push(target);
      }
      offset += insn.length;
      if (endsBlock(insn) && !(comesBack(insn) && hasRun(offset))) break;
      if (insn.operands[0]?.kind === 'j' || isCall(insn)) leaders.add(offset);
    }
  }
  if (!found.get(entry)) return null;
  const blocks = new Map<number, BasicBlock>();
  for (const leader of leaders) {
    if (!found.get(leader)) continue;
    const block: BasicBlock = { offset: leader, instructions: [], taken: -1, next: -1 };
    let offset = leader;
    for (;;) {
      const placed = found.get(offset)!;
      block.instructions.push(placed);
      offset += placed.insn.length;
      if (placed.insn.operands[0]?.kind === 'j' && !isCall(placed.insn)) block.taken = nearTarget(placed);
      if (endsBlock(placed.insn) && !comesBack(placed.insn)) break;
      if (leaders.has(offset) || !found.get(offset)) {
        block.next = offset;
        break;
      }
    }
    blocks.set(leader, block);
  }
  return { entry, mode, blocks, instructions: count };
}

/** Entering and leaving a region costs more than the interpreter takes for so many instructions. */
const FEW = 4;

/** Whether a region does more than a few instructions before one that generated code does not do. */
export function isWorthwhile(region: Region): boolean {
  const first = region.blocks.get(region.entry)!;
  const last = first.instructions.at(-1)!.insn;
  const goesOn = first.taken >= 0 || first.next < 0 || region.blocks.has(first.next) || endsBlock(last);
  return goesOn || first.instructions.length > FEW;
}

/** Whether control can come back to the entry without leaving the region. */
export function isLoop(region: Region): boolean {
  const seen = new Set<number>();
  const visit = (offset: number): boolean => {
    const block = region.blocks.get(offset);
    if (!block || seen.has(offset)) return false;
    seen.add(offset);
    return [block.taken, block.next].some((next) => next === region.entry || visit(next));
  };
  return visit(region.entry);
}
