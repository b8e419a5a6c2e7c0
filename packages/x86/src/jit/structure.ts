/**
 * Structured control flow from a control-flow graph, by its dominator tree
 * (Ramsey, "Beyond Relooper", ICFP 2022). An edge that enters a loop other than
 * at its head has no structured form: it leaves the region.
 */
import type { FunctionBuilder, Label } from '@paravane/wasm-emit';
import { type BasicBlock, type Region, successors } from './region.js';

export interface BlockEmitter {
  /** Emits a block's instructions; calls `go` for each way out of it that stays near, in the place where it is taken. */
  body(block: BasicBlock, go: (target: number) => void): void;
  /** Emits leaving the region for an offset. */
  leave(from: BasicBlock, target: number): void;
  /** Emits what comes before a jump back to a loop's head at `target`. */
  loopBack(from: BasicBlock, target: number): void;
}

interface Node {
  block: BasicBlock;
  /** Position in reverse postorder. */
  order: number;
  dominator: Node | null;
  children: Node[];
  forwardPredecessors: number;
  isLoop: boolean;
}

function reversePostorder(region: Region): Node[] {
  const done = new Set<number>();
  const order: Node[] = [];
  const visit = (offset: number): void => {
    const block = region.blocks.get(offset);
    if (!block || done.has(offset)) return;
    done.add(offset);
    // The branch is visited first, so that the fall-through comes first in the order.
    for (const next of successors(region, block)) visit(next);
    order.push({ block, order: 0, dominator: null, children: [], forwardPredecessors: 0, isLoop: false });
  };
  visit(region.entry);
  order.reverse();
  order.forEach((node, i) => {
    node.order = i;
  });
  return order;
}

/** Immediate dominators (Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm"). */
function findDominators(region: Region, nodes: Node[], byOffset: Map<number, Node>): void {
  const predecessors = new Map<Node, Node[]>(nodes.map((node) => [node, []]));
  for (const node of nodes) {
    for (const offset of successors(region, node.block)) {
      const next = byOffset.get(offset);
      if (next) predecessors.get(next)!.push(node);
    }
  }
  const meet = (a: Node, b: Node): Node => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (x.order > y.order) x = x.dominator!;
      while (y.order > x.order) y = y.dominator!;
    }
    return x;
  };
  nodes[0]!.dominator = nodes[0]!;
  for (let changed = true; changed; ) {
    changed = false;
    for (const node of nodes.slice(1)) {
      const known = predecessors.get(node)!.filter((p) => p.dominator);
      const dominator = known.reduce(meet);
      if (node.dominator !== dominator) {
        node.dominator = dominator;
        changed = true;
      }
    }
  }
  nodes[0]!.dominator = null;
  for (const node of nodes) {
    node.dominator?.children.push(node);
    for (const p of predecessors.get(node)!) {
      if (p.order < node.order) node.forwardPredecessors++;
      else if (dominates(node, p)) node.isLoop = true;
    }
  }
}

function dominates(a: Node, b: Node): boolean {
  for (let node: Node | null = b; node; node = node.dominator) if (node === a) return true;
  return false;
}

export function emitStructured(f: FunctionBuilder, region: Region, emitter: BlockEmitter): void {
  const nodes = reversePostorder(region);
  const byOffset = new Map(nodes.map((node) => [node.block.offset, node]));
  findDominators(region, nodes, byOffset);
  const labels = new Map<Node, Label>();
  const heads = new Map<Node, Label>();
  const merges = (node: Node): boolean => node.forwardPredecessors > 1;

  function branch(from: Node, target: number): void {
    const to = byOffset.get(target);
    if (!to) return emitter.leave(from.block, target);
    if (to.order <= from.order) {
      const head = heads.get(to);
      // Not a back edge to a loop that encloses this one: an irreducible graph.
      if (!head || !dominates(to, from)) return emitter.leave(from.block, target);
      emitter.loopBack(from.block, target);
      f.br(head);
    } else if (merges(to)) {
      f.br(labels.get(to)!);
    } else tree(to);
  }
  /** A node with the merge points that it dominates, each behind a block that branches to it leave. */
  function within(node: Node, merging: Node[]): void {
    const [first, ...rest] = merging;
    if (!first) {
      emitter.body(node.block, (target) => branch(node, target));
      return;
    }
    f.block((label) => {
      labels.set(first, label);
      within(node, rest);
    });
    tree(first);
  }
  function tree(node: Node): void {
    const merging = node.children.filter(merges).sort((a, b) => b.order - a.order);
    if (!node.isLoop) return within(node, merging);
    f.loop((label) => {
      heads.set(node, label);
      within(node, merging);
      heads.delete(node);
    });
  }
  tree(nodes[0]!);
}
