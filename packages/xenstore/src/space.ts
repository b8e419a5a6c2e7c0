/**
 * One state of the store and the operations on it. The live store is a space; each transaction has another, which
 * also notes what it looked at and what it did, so that a commit can check the one and repeat the other.
 *
 * Operations answer with the name of an error of public/io/xs_wire.h, or with their result. Values and permissions
 * come from guests; paths have been through `canonicalize`.
 */
import { parentOf, segmentsOf } from './path.js';
import { type Actor, allows, OWNER, type Permission, type Permissions, READ, WRITE } from './permissions.js';
import {
  errorForMissing,
  existingChain,
  findNode,
  generationOf,
  lowestExisting,
  type TreeNode,
  walk,
  withNode,
} from './tree.js';

/** Errors of the wire header (`xsd_errors`). */
export type XsError =
  | 'EINVAL'
  | 'EACCES'
  | 'EEXIST'
  | 'EISDIR'
  | 'ENOENT'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'EIO'
  | 'ENOTEMPTY'
  | 'ENOSYS'
  | 'EROFS'
  | 'EBUSY'
  | 'EAGAIN'
  | 'EISCONN'
  | 'E2BIG'
  | 'EPERM';

/** Limits on what an unprivileged domain may use; the defaults are those of Xen's own daemon. */
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
}

export const DEFAULT_QUOTAS: Quotas = {
  nodes: 1000,
  nodeBytes: 2048,
  permissions: 5,
  watches: 128,
  transactions: 10,
  transactionNodes: 1024,
};

/** A node has changed. */
export interface Change {
  readonly path: string;
  /** Only watches on this very path: it went with an ancestor. */
  readonly exact: boolean;
  /** Whoever may read one of these may hear of it. */
  readonly readers: readonly Permissions[];
}

/** What a transaction did, to be repeated at its commit. */
export type Step =
  | { readonly kind: 'write'; readonly path: string; readonly value: Uint8Array }
  | { readonly kind: 'mkdir'; readonly path: string }
  | { readonly kind: 'rm'; readonly path: string }
  | { readonly kind: 'set-permissions'; readonly path: string; readonly permissions: Permissions };

interface Journal {
  readonly base: TreeNode;
  /** Generation in `base` of each path that was looked at. */
  readonly touched: Map<string, number>;
  readonly steps: Step[];
}

/** What a record of Xen's daemon has beside value and names: its header, and each permission. */
const RECORD_BYTES = 24;
const PERMISSION_BYTES = 8;

const EMPTY = new Uint8Array(0);

export class Space {
  #changes: Change[] = [];
  /** Nodes by owner. */
  readonly #owned: Map<number, number>;
  readonly #nextGeneration: () => number;
  readonly #quotas: Quotas;
  readonly #journal: Journal | undefined;
  root: TreeNode;

  constructor(
    root: TreeNode,
    owned: ReadonlyMap<number, number>,
    nextGeneration: () => number,
    quotas: Quotas,
    withJournal = false,
  ) {
    this.root = root;
    this.#owned = new Map(owned);
    this.#nextGeneration = nextGeneration;
    this.#quotas = quotas;
    this.#journal = withJournal ? { base: root, touched: new Map(), steps: [] } : undefined;
  }

  /** A space that starts as this one is now. */
  fork(withJournal: boolean): Space {
    return new Space(this.root, this.#owned, this.#nextGeneration, this.#quotas, withJournal);
  }

  /** Changes since the last call. */
  takeChanges(): Change[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  get(actor: Actor, path: string, needed: number): TreeNode | XsError {
    if (!this.#touch(actor, path)) return 'ENOSPC';
    const node = findNode(this.root, path);
    if (!node) return errorForMissing(this.root, path, actor, needed);
    return allows(node.permissions, actor, needed) ? node : 'EACCES';
  }

  read(actor: Actor, path: string): TreeNode | XsError {
    return this.get(actor, path, READ);
  }

  write(actor: Actor, path: string, value: Uint8Array): XsError | undefined {
    const node = this.get(actor, path, WRITE);
    if (node === 'ENOENT') return this.#create(actor, path, value, { kind: 'write', path, value });
    if (typeof node === 'string') return node;
    const written = { ...node, value, generation: this.#nextGeneration() };
    if (!this.#fits(actor, written)) return 'ENOSPC';
    this.#replace(path, node, written);
    this.#journal?.steps.push({ kind: 'write', path, value });
    return undefined;
  }

  mkdir(actor: Actor, path: string): XsError | undefined {
    const node = this.get(actor, path, WRITE);
    if (node === 'ENOENT') return this.#create(actor, path, EMPTY, { kind: 'mkdir', path });
    return typeof node === 'string' ? node : undefined;
  }

  rm(actor: Actor, path: string): XsError | undefined {
    const node = this.get(actor, path, WRITE);
    if (node === 'ENOENT') return findNode(this.root, parentOf(path)) ? undefined : 'ENOENT';
    if (typeof node === 'string') return node;
    if (path === '/') return 'EINVAL';
    const parent = lowestExisting(this.root, parentOf(path));
    const parents = new Map<TreeNode, TreeNode>([[node, parent]]);
    for (const [at, gone] of walk(node, path)) {
      for (const child of gone.children.values()) parents.set(child, gone);
      this.#count(gone.permissions, -1);
      const above = parents.get(gone) ?? parent;
      this.#announce({ path: at, exact: gone !== node, readers: [gone.permissions, above.permissions] });
    }
    this.root = withNode(this.root, segmentsOf(path), undefined, this.#nextGeneration());
    this.#journal?.steps.push({ kind: 'rm', path });
    return undefined;
  }

  setPermissions(actor: Actor, path: string, permissions: Permissions): XsError | undefined {
    if (!actor.privileged && permissions.length > this.#quotas.permissions) return 'ENOSPC';
    const node = this.get(actor, path, WRITE | OWNER);
    if (typeof node === 'string') return node;
    if (!actor.privileged && permissions[0].domid !== node.permissions[0].domid) return 'EPERM';
    const changed = { ...node, permissions, generation: this.#nextGeneration() };
    if (!this.#fits(actor, changed)) return 'ENOSPC';
    this.#count(node.permissions, -1);
    this.#count(permissions, 1);
    this.#replace(path, node, changed);
    this.#journal?.steps.push({ kind: 'set-permissions', path, permissions });
    return undefined;
  }

  repeat(actor: Actor, step: Step): XsError | undefined {
    switch (step.kind) {
      case 'write':
        return this.write(actor, step.path, step.value);
      case 'mkdir':
        return this.mkdir(actor, step.path);
      case 'rm':
        return this.rm(actor, step.path);
      case 'set-permissions':
        return this.setPermissions(actor, step.path, step.permissions);
    }
  }

  /**
   * `live` with this transaction's steps applied; EAGAIN if something it looked at has changed since it started. The
   * result's changes are those to announce.
   */
  mergedInto(live: Space, actor: Actor): Space | XsError {
    const journal = this.#journal;
    if (!journal) return 'EINVAL';
    for (const [path, generation] of journal.touched) {
      if (generationOf(live.root, path) !== generation) return 'EAGAIN';
    }
    const merged = live.fork(false);
    for (const step of journal.steps) {
      const error = merged.repeat(actor, step);
      if (error) return error === 'ENOSPC' ? error : 'EAGAIN';
    }
    return merged;
  }

  /** Takes every right of a domain that is no more: its nodes become domain 0's. */
  forgetDomain(domid: number): void {
    const keep = ([owner, ...others]: Permissions): Permissions => [
      owner.domid === domid ? { domid: 0, access: owner.access } : owner,
      ...others.filter((other) => other.domid !== domid),
    ];
    const mentions = (permission: Permission) => permission.domid === domid;
    for (const [path, { permissions }] of walk(this.root, '/')) {
      const node = permissions.some(mentions) ? findNode(this.root, path) : undefined;
      if (!node) continue;
      const changed = { ...node, permissions: keep(permissions), generation: this.#nextGeneration() };
      this.#count(permissions, -1);
      this.#count(changed.permissions, 1);
      this.root = path === '/' ? changed : withNode(this.root, segmentsOf(path), changed, 0);
    }
  }

  /** Whether a domain may write such a node, with one child more if it is given. */
  #fits(actor: Actor, { value, permissions, children }: TreeNode, child?: string): boolean {
    if (actor.privileged) return true;
    let bytes = RECORD_BYTES + PERMISSION_BYTES * permissions.length + value.length;
    for (const name of children.keys()) bytes += name.length + 1;
    return bytes + (child === undefined ? 0 : child.length + 1) < this.#quotas.nodeBytes;
  }

  #create(actor: Actor, path: string, value: Uint8Array, step: Step): XsError | undefined {
    const names = segmentsOf(path);
    const chain = existingChain(this.root, names);
    const above = chain.at(-1) ?? this.root;
    const [first, ...others] = above.permissions;
    const permissions: Permissions = [actor.privileged ? first : { ...first, domid: actor.domid }, ...others];
    const created = names.length + 1 - chain.length;
    const owned = this.#owned.get(permissions[0].domid) ?? 0;
    if (!actor.privileged && owned + created > this.#quotas.nodes) return 'ENOSPC';

    let node: TreeNode = { value, permissions, children: new Map(), generation: this.#nextGeneration() };
    let fits = this.#fits(actor, node) && this.#fits(actor, above, names[chain.length - 1]);
    for (let depth = names.length - 1; depth >= chain.length; depth--) {
      const children = new Map([[names[depth] ?? '', node]]);
      node = { value: EMPTY, permissions, children, generation: this.#nextGeneration() };
      fits &&= this.#fits(actor, node);
    }
    if (!fits) return 'ENOSPC';
    this.root = withNode(this.root, names.slice(0, chain.length), node, this.#nextGeneration());
    this.#owned.set(permissions[0].domid, owned + created);
    this.#announce({ path, exact: false, readers: [permissions, above.permissions] });
    this.#journal?.steps.push(step);
    return undefined;
  }

  #replace(path: string, before: TreeNode, after: TreeNode): void {
    const parent = lowestExisting(this.root, parentOf(path));
    this.root = path === '/' ? after : withNode(this.root, segmentsOf(path), after, 0);
    this.#announce({
      path,
      exact: false,
      readers: [before.permissions, after.permissions, parent.permissions],
    });
  }

  #announce(change: Change): void {
    // What a transaction changes is announced when it is repeated on the live store.
    if (!this.#journal) this.#changes.push(change);
  }

  #count(permissions: Permissions, by: number): void {
    const { domid } = permissions[0];
    this.#owned.set(domid, (this.#owned.get(domid) ?? 0) + by);
  }

  #touch(actor: Actor, path: string): boolean {
    const journal = this.#journal;
    if (!journal) return true;
    const { transactionNodes } = this.#quotas;
    if (!actor.privileged && journal.steps.length >= 2 * transactionNodes) return false;
    if (journal.touched.has(path)) return true;
    if (!actor.privileged && journal.touched.size >= transactionNodes) return false;
    journal.touched.set(path, generationOf(journal.base, path));
    return true;
  }
}
