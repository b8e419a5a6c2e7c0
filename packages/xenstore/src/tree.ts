/**
 * The nodes, as a persistent tree: a node never changes once it is in a tree, so that a transaction's snapshot is a
 * reference to a root. A node's generation changes with its value, its permissions and the names of its children, but
 * not with what its children hold.
 */

import { segmentsOf } from './path.js';
import { type Actor, type Permissions, rights } from './permissions.js';

export interface TreeNode {
  readonly value: Uint8Array;
  readonly permissions: Permissions;
  readonly children: ReadonlyMap<string, TreeNode>;
  readonly generation: number;
}

/** Generation of a node that does not exist. */
export const ABSENT = -1;

export function findNode(root: TreeNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  for (const name of segmentsOf(path)) {
    node = node.children.get(name);
    if (!node) return undefined;
  }
  return node;
}

export function generationOf(root: TreeNode, path: string): number {
  return findNode(root, path)?.generation ?? ABSENT;
}

/** The nodes that exist from the root towards `names`; the root is always among them. */
export function existingChain(root: TreeNode, names: readonly string[]): TreeNode[] {
  const chain = [root];
  let node = root;
  for (const name of names) {
    const child = node.children.get(name);
    if (!child) break;
    chain.push(child);
    node = child;
  }
  return chain;
}

/** The lowest node that exists on the way to `path`, which may be the node itself. */
export function lowestExisting(root: TreeNode, path: string): TreeNode {
  return existingChain(root, segmentsOf(path)).at(-1) ?? root;
}

/**
 * A tree in which `names` is `node`, or is gone if undefined. The parent must exist. `generation` is given to the
 * parent when the names of its children change.
 */
export function withNode(
  root: TreeNode,
  names: readonly string[],
  node: TreeNode | undefined,
  generation: number,
): TreeNode {
  const chain = existingChain(root, names.slice(0, -1));
  let below = node;
  for (let depth = names.length - 1; depth >= 0; depth--) {
    const parent = chain[depth];
    const name = names[depth];
    if (!parent || name === undefined) return root;
    const isNewName = parent.children.has(name) !== (below !== undefined);
    const children = new Map(parent.children);
    if (below) children.set(name, below);
    else children.delete(name);
    below = { ...parent, children, generation: isNewName ? generation : parent.generation };
  }
  return below ?? root;
}

/** Every node at and below one, parents first; the order of siblings is that of their creation. */
export function* walk(node: TreeNode, path: string): Generator<readonly [string, TreeNode]> {
  const pending: (readonly [string, TreeNode])[] = [[path, node]];
  for (let entry = pending.pop(); entry; entry = pending.pop()) {
    yield entry;
    const base = entry[0] === '/' ? '' : entry[0];
    for (const [name, child] of [...entry[1].children].reverse()) pending.push([`${base}/${name}`, child]);
  }
}

/** The error for a node that is missing: what the actor may know depends on any right that it has to the nearest node above it. */
export function errorForMissing(root: TreeNode, path: string, actor: Actor, needed: number): 'ENOENT' | 'EACCES' {
  return rights(lowestExisting(root, path).permissions, actor) & needed ? 'ENOENT' : 'EACCES';
}
