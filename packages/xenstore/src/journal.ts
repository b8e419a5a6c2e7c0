/**
 * What a transaction looked at and did: a commit checks the one and repeats the other. Xen's daemon copies each node
 * that a transaction reads or writes, for its domain's account; here nothing is copied, but the bytes are counted.
 */
import type { Accounts } from './accounts.js';
import type { Permissions } from './permissions.js';
import { type Quotas, recordBytes } from './quotas.js';
import { generationOf, type TreeNode } from './tree.js';

/** A change to be repeated at the commit; a value that is written is the one that the transaction has in the end. */
export type Step =
  | { readonly kind: 'write'; readonly path: string }
  | { readonly kind: 'mkdir'; readonly path: string }
  | { readonly kind: 'rm'; readonly path: string }
  | { readonly kind: 'set-permissions'; readonly path: string; readonly permissions: Permissions };

export class Journal {
  readonly #base: TreeNode;
  readonly #domid: number;
  readonly #quotas: Quotas;
  readonly #accounts: Accounts;
  /** Each path that was looked at, with its generation in the tree at the start. */
  readonly #touched = new Map<string, { readonly path: string; readonly generation: number }>();
  /** Bytes of copies, by path. */
  readonly #copies = new Map<string, number>();
  /** The daemon has a copy under the transaction's number, a slash, and the path. */
  readonly #prefixBytes: number;
  readonly steps: Step[] = [];
  /** A change was refused for a limit: there is no commit any more. */
  failed = false;

  constructor(base: TreeNode, domid: number, generation: number, quotas: Quotas, accounts: Accounts) {
    this.#base = base;
    this.#domid = domid;
    this.#quotas = quotas;
    this.#accounts = accounts;
    this.#prefixBytes = String(generation).length + 1;
  }

  /** Notes that a path is looked at; false where that is one too many. */
  touch(path: string, hasQuotas: boolean): boolean {
    const { transactionNodes } = this.#quotas;
    if (hasQuotas && this.steps.length >= 2 * transactionNodes) return this.#refuse();
    if (this.#touched.has(path)) return true;
    if (hasQuotas && this.#touched.size >= transactionNodes) return this.#refuse();
    this.#touched.set(path, { path, generation: generationOf(this.#base, path) });
    return true;
  }

  /** Notes a change that was made; of equal paths one is kept. */
  did(step: Step): void {
    this.steps.push({ ...step, path: this.#touched.get(step.path)?.path ?? step.path });
  }

  /** Counts a node that is read, unless there is a copy of it. */
  read(path: string, node: TreeNode): void {
    if (!this.#copies.has(path)) this.#count(path, this.#bytesOf(path, node));
  }

  /** Whether there is room for copies of nodes that are written. */
  hasRoom(nodes: readonly (readonly [path: string, node: TreeNode])[]): boolean {
    let more = 0;
    for (const [path, node] of nodes) more += this.#bytesOf(path, node) - (this.#copies.get(path) ?? 0);
    return this.#accounts.hasRoom(this.#domid, more) || this.#refuse();
  }

  /** Counts a node that is written, or takes what is counted of one that is gone. */
  write(path: string, node: TreeNode | undefined): void {
    this.#count(path, node ? this.#bytesOf(path, node) : 0);
  }

  /** The transaction is over: its copies go. */
  close(): void {
    for (const path of [...this.#copies.keys()]) this.#count(path, 0);
  }

  /** Whether something that was looked at is another in a tree than it was at the start. */
  conflictsWith(root: TreeNode): boolean {
    for (const { path, generation } of this.#touched.values()) {
      if (generationOf(root, path) !== generation) return true;
    }
    return false;
  }

  #refuse(): boolean {
    this.failed = true;
    return false;
  }

  #bytesOf(path: string, node: TreeNode): number {
    return this.#prefixBytes + path.length + recordBytes(node);
  }

  #count(path: string, bytes: number): void {
    this.#accounts.add(this.#domid, bytes - (this.#copies.get(path) ?? 0));
    if (bytes > 0) this.#copies.set(path, bytes);
    else this.#copies.delete(path);
  }
}
