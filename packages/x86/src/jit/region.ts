/**
 * Regions: the control-flow graph that can be reached from a hot address without
 * leaving its page and one beside it, up to a bound, calls passed over. Returns,
 * indirect branches and instructions that generated code does not do are where
 * control leaves it.
 */
import type { CodeMode } from '@paravane/engine-api';
import type { Mfn } from '@paravane/types';
import { decode, type Instruction, MAX_LENGTH } from '../decode.js';
import { isGenerated } from '../handlers.js';
import { endsBlock } from '../lower.js';
import { MAX_REGION } from '../state.js';

export interface Placed {
  insn: Instruction;
  /** From the start of the page that the region is entered in: below 0 or from 4096 on in the page beside it. */
  offset: number;
}

export interface BasicBlock {
  offset: number;
  instructions: Placed[];
  /** Offset of the target of a conditional or unconditional near branch at the end, or `NOWHERE`. */
  taken: number;
  /** Offset that control falls through to, or `NOWHERE` where it doesn't. */
  next: number;
}
/** No offset. */
export const NOWHERE = -0x10000;
/** Offset of the block, without instructions, that the indirect jumps of a region go to when it knows targets of theirs. */
export const DISPATCH = -0x20000;
/** Targets of a region's indirect jumps at most. */
export const MAX_TARGETS = 64;

/** The page before (-1) or behind (1) the one that a region is entered in. */
export interface Neighbour {
  side: -1 | 1;
  mfn: Mfn;
}

export interface Region {
  entry: number;
  mode: CodeMode;
  /** By offset. */
  blocks: Map<number, BasicBlock>;
  /** Where its indirect jumps were seen to lead: blocks that the one at `DISPATCH` goes on to. */
  targets: number[];
  instructions: number;
  /** The page beside the entry's that code of the region lies in too. */
  neighbour: Neighbour | null;
}

/** Where the code of a region may come from. */
export interface RegionSource {
  readonly bytes: Uint8Array;
  /** Place in `bytes` of a frame. */
  place(mfn: Mfn): number;
  readonly mfn: Mfn;
  readonly mode: CodeMode;
  /** The frame of the page before or behind, if it is at hand. */
  beside(side: -1 | 1): Mfn | null;
  /** Whether a block that begins at an offset in a frame has run. */
  hasRun(mfn: Mfn, offset: number): boolean;
  /** Where the indirect jump at an offset in a frame was seen to lead, from the start of its page. */
  targets(mfn: Mfn, offset: number): Iterable<number>;
}

/** Offsets of the blocks that may come next. */
export const successors = ({ targets }: Region, { offset, taken, next }: BasicBlock): number[] =>
  offset === DISPATCH ? targets : [taken, next].filter((to) => to !== NOWHERE);

/** Whether an offset lies in the page that a region is entered in. */
export const isInPage = (offset: number): boolean => offset >= 0 && offset < 4096;
const sideOf = (offset: number): -1 | 0 | 1 => (offset < 0 ? -1 : offset < 4096 ? 0 : 1);

/** Whether an offset lies in the pages of a region. */
export const isNear = (offset: number, neighbour: Neighbour | null): boolean =>
  isInPage(offset) || (neighbour !== null && offset >= -4096 && offset < 8192 && sideOf(offset) === neighbour.side);

/** Offset of a near branch's target, or `NOWHERE`. */
export function branchTarget({ insn, offset }: Placed): number {
  const operand = insn.operands[0];
  return operand?.kind !== 'j' || insn.width === 16 ? NOWHERE : offset + insn.length + operand.value;
}

/** A jump to where a register or memory says. */
export const isIndirectJump = (insn: Instruction): boolean =>
  insn.mnemonic === 'JMP' && insn.operands[0]!.kind !== 'j' && insn.width === insn.mode;
const isCall = (insn: Instruction): boolean => insn.mnemonic === 'CALL';
/** Whether control comes back behind an instruction that ends a block. */
const comesBack = (insn: Instruction): boolean => isCall(insn) && insn.width !== 16;

/** Reads the code of a region; where it first goes on beside the entry's page decides which other page it has. */
class RegionReader {
  neighbour: Neighbour | null = null;
  private readonly joined = new Uint8Array(2 * MAX_LENGTH);

  constructor(private readonly source: RegionSource) {}

  /** The page beside that an offset lies in, if the region may have it. */
  private beside(offset: number): Neighbour | null {
    const side = sideOf(offset) as -1 | 1;
    if (offset < -4096 || offset >= 8192) return null;
    if (this.neighbour !== null) return this.neighbour.side === side ? this.neighbour : null;
    const mfn = this.source.beside(side);
    return mfn === null ? null : { side, mfn };
  }
  private frame(offset: number): Mfn | null {
    if (isInPage(offset)) return this.source.mfn;
    const beside = this.beside(offset);
    this.neighbour ??= beside;
    return beside === null ? null : beside.mfn;
  }
  hasRun(offset: number): boolean {
    if (isInPage(offset)) return this.source.hasRun(this.source.mfn, offset);
    const beside = this.beside(offset);
    if (beside === null || !this.source.hasRun(beside.mfn, offset & 4095)) return false;
    this.neighbour = beside;
    return true;
  }
  targets(offset: number): number[] {
    const mfn = this.frame(offset);
    if (mfn === null) return [];
    return [...this.source.targets(mfn, offset & 4095)].map((target) => target + (offset & ~4095));
  }
  decode(offset: number): Instruction | null {
    const { bytes, mode, place } = this.source;
    const mfn = this.frame(offset);
    if (mfn === null) return null;
    const page = place(mfn);
    const at = page + (offset & 4095);
    let insn = decode(bytes, at, page + 4096, mode);
    if (insn === 'short') {
      const next = this.frame((offset | 4095) + 1);
      if (next === null) return null;
      const here = page + 4096 - at;
      this.joined.set(bytes.subarray(at, page + 4096));
      this.joined.set(bytes.subarray(place(next), place(next) + MAX_LENGTH), here);
      insn = decode(this.joined, 0, here + MAX_LENGTH, mode);
    }
    return insn === null || typeof insn === 'string' || !isGenerated(insn) ? null : insn;
  }
}

/**
 * The region from `entry`, an offset in the page of `source`; null where its first instruction is not for compiled code.
 * Code that only branches lead to, or calls return to, is part of it where it has run.
 */
export function findRegion(source: RegionSource, entry: number): Region | null {
  const reader = new RegionReader(source);
  const found = new Map<number, Placed | null>();
  const leaders = new Set([entry]);
  const queue = [entry];
  const targets = new Set<number>();
  let count = 0;
  while (queue.length > 0) {
    let offset = queue.shift()!;
    while (!found.has(offset) && count < MAX_REGION) {
      const insn = reader.decode(offset);
      if (insn === null) {
        found.set(offset, null);
        break;
      }
      const placed = { insn, offset };
      found.set(offset, placed);
      count++;
      const target = isCall(insn) ? NOWHERE : branchTarget(placed);
      if (target !== NOWHERE && (target === entry || reader.hasRun(target))) {
        leaders.add(target);
        queue.push(target);
      }
      if (isIndirectJump(insn)) {
        for (const to of reader.targets(offset)) {
          if (targets.size === MAX_TARGETS || (to !== entry && !reader.hasRun(to))) continue;
          targets.add(to);
          leaders.add(to);
          queue.push(to);
        }
      }
      offset += insn.length;
      if (endsBlock(insn) && !(comesBack(insn) && reader.hasRun(offset))) break;
      if (insn.operands[0]?.kind === 'j' || isCall(insn)) leaders.add(offset);
    }
  }
  if (!found.get(entry)) return null;
  const { neighbour } = reader;
  const blocks = new Map<number, BasicBlock>();
  for (const leader of leaders) {
    if (!found.get(leader)) continue;
    const block: BasicBlock = { offset: leader, instructions: [], taken: NOWHERE, next: NOWHERE };
    let offset = leader;
    for (;;) {
      const placed = found.get(offset)!;
      block.instructions.push(placed);
      offset += placed.insn.length;
      const target = isCall(placed.insn) ? NOWHERE : branchTarget(placed);
      if (isNear(target, neighbour)) block.taken = target;
      if (targets.size > 0 && isIndirectJump(placed.insn)) block.taken = DISPATCH;
      if (endsBlock(placed.insn) && !comesBack(placed.insn)) break;
      if (leaders.has(offset) || !found.get(offset)) {
        block.next = offset;
        break;
      }
    }
    blocks.set(leader, block);
  }
  const known = [...targets].filter((to) => blocks.has(to));
  if (targets.size > 0) blocks.set(DISPATCH, { offset: DISPATCH, instructions: [], taken: NOWHERE, next: NOWHERE });
  return {
    entry,
    mode: source.mode,
    blocks,
    targets: known,
    instructions: count,
    neighbour: usedNeighbour(blocks, neighbour),
  };
}

/** The neighbour, if code of the blocks lies in it; a page that was only looked at is none. */
function usedNeighbour(blocks: ReadonlyMap<number, BasicBlock>, neighbour: Neighbour | null): Neighbour | null {
  for (const { instructions } of blocks.values()) {
    for (const { insn, offset } of instructions) {
      if (!isInPage(offset) || !isInPage(offset + insn.length - 1)) return neighbour;
    }
  }
  return null;
}

/** Entering and leaving a region costs more than the interpreter takes for so many instructions. */
const FEW = 4;

/** Whether a region does more than a few instructions before one that generated code does not do. */
export function isWorthwhile(region: Region): boolean {
  const first = region.blocks.get(region.entry)!;
  const last = first.instructions.at(-1)!.insn;
  const goesOn = first.taken !== NOWHERE || first.next === NOWHERE || region.blocks.has(first.next) || endsBlock(last);
  return goesOn || first.instructions.length > FEW;
}

/** Whether control can come back to the entry without leaving the region. */
export function isLoop(region: Region): boolean {
  const seen = new Set<number>();
  const visit = (offset: number): boolean => {
    const block = region.blocks.get(offset);
    if (!block || seen.has(offset)) return false;
    seen.add(offset);
    return successors(region, block).some((next) => next === region.entry || visit(next));
  };
  return visit(region.entry);
}
