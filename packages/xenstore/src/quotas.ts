/** Limits on what an unprivileged domain may use, and what a node counts for them. */
import type { TreeNode } from './tree.js';

/** The defaults are those of Xen's own daemon. */
export interface Quotas {
  /** Nodes that a domain owns. */
  readonly nodes: number;
  /** Bytes of a node as Xen's daemon keeps it: value, names of children, and 24 + 8 for each permission; less than this. */
  readonly nodeBytes: number;
  /** Entries of a node's permissions. */
  readonly permissions: number;
  /** Watches; one more is let through, as Xen's daemon does. */
  readonly watches: number;
  /** Transactions that are open at once; one more is let through. */
  readonly transactions: number;
  /** Different paths that one transaction touches; it may take twice as many steps. */
  readonly transactionNodes: number;
  /** Bytes that the store keeps for a domain (`createAccounts` says which); less than this. */
  readonly memory: number;
  /** Bytes from which on the host is told of a domain. */
  readonly memorySoft: number;
  /** Requests under way: their replies, or events that they caused, have not been read. With so many no other is taken. */
  readonly outstanding: number;
}

export const DEFAULT_QUOTAS: Quotas = {
  nodes: 1000,
  nodeBytes: 2048,
  permissions: 5,
  watches: 128,
  transactions: 10,
  transactionNodes: 1024,
  memory: 0x28_0000,
  memorySoft: 0x20_0000,
  outstanding: 20,
};

/** What a record of Xen's daemon has beside value and names: its header, and each permission. */
const HEADER_BYTES = 24;
const PERMISSION_BYTES = 8;

/** What a name adds to the record of the node above it. */
export const nameBytes = (name: string): number => name.length + 1;

/** Bytes of a node's record without the names of its children. */
export const ownBytes = ({ value, permissions }: Omit<TreeNode, 'children' | 'generation'>): number =>
  HEADER_BYTES + PERMISSION_BYTES * permissions.length + value.length;

/** Bytes of a node's record. */
export function recordBytes(node: TreeNode): number {
  let bytes = ownBytes(node);
  for (const name of node.children.keys()) bytes += nameBytes(name);
  return bytes;
}
