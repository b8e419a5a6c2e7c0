/**
 * One state of the store and the operations on it. The live store is a space; each transaction has another, with a
 * journal; a commit makes a third of both. A domain that has no room for what it wants to have kept gets EIO.
 *
 * Operations answer with the name of an error of public/io/xs_wire.h, or with their result. Values and permissions
 * come from guests; paths have been through `canonicalize`.
 */
import type { Accounts } from './accounts.js';
import { Journal, type Step } from './journal.js';
import { parentOf, segmentsOf } from './path.js';
import {
  type Actor,
  allows,
  OWNER,
  type Permission,
  type Permissions,
  READ,
  WRITE,
  withoutDomain,
} from './permissions.js';
import { nameBytes, ownBytes, type Quotas, recordBytes } from './quotas.js';
import { errorForMissing, existingChain, findNode, lowestExisting, type TreeNode, walk, withNode } from './tree.js';

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

/** A node has changed. */
export interface Change {
  readonly path: string;
  /** Only watches on this very path: it went with an ancestor. */
  readonly exact: boolean;
  /** Whoever may read one of these may hear of it. */
  readonly readers: readonly Permissions[];
}

/** What the spaces of a store share. */
export interface SpaceContext {
  readonly quotas: Quotas;
  readonly accounts: Accounts;
  readonly nextGeneration: () => number;
}

const EMPTY = new Uint8Array(0);

/** What domains own, by domain. */
interface Holdings {
  readonly nodes: Map<number, number>;
  /** Of records and paths. */
  readonly bytes: Map<number, number>;
}

const countIn = (map: Map<number, number>, domid: number, by: number): void =>
  void map.set(domid, (map.get(domid) ?? 0) + by);

export class Space {
  #changes: Change[] = [];
  readonly #owned: Holdings;
  readonly #context: SpaceContext;
  readonly #journal: Journal | undefined;
  /** Whether this is a commit, whose bytes were counted before. */
  readonly #repeats: boolean;
  root: TreeNode;

  private constructor(
    root: TreeNode,
    owned: Holdings,
    context: SpaceContext,
    journal: Journal | undefined,
    repeats: boolean,
  ) {
    this.root = root;
    this.#owned = { nodes: new Map(owned.nodes), bytes: new Map(owned.bytes) };
    this.#context = context;
    this.#journal = journal;
    this.#repeats = repeats;
  }

  static create(root: TreeNode, context: SpaceContext): Space {
    return new Space(root, { nodes: new Map(), bytes: new Map() }, context, undefined, false);
  }

  /** A transaction of a domain, which starts as this space is now. */
  begin(domid: number): Space {
    const { quotas, accounts, nextGeneration } = this.#context;
    const journal = new Journal(this.root, domid, nextGeneration(), quotas, accounts);
    return new Space(this.root, this.#owned, this.#context, journal, false);
  }

  /** Ends a transaction. */
  close(): void {
    this.#journal?.close();
  }

  /** Bytes of the nodes that a domain owns. */
  bytesOf(domid: number): number {
    return this.#owned.bytes.get(domid) ?? 0;
  }

  /** Changes since the last call. */
  takeChanges(): Change[] {
    const changes = this.#changes;
    this.#changes = [];
    return changes;
  }

  get(actor: Actor, path: string, needed: number): TreeNode | XsError {
    const journal = this.#journal;
    if (journal && !journal.touch(path, !actor.privileged)) return 'ENOSPC';
    const node = findNode(this.root, path);
    if (!node) return errorForMissing(this.root, path, actor, needed);
    journal?.read(path, node);
    return allows(node.permissions, actor, needed) ? node : 'EACCES';
  }

  read(actor: Actor, path: string): TreeNode | XsError {
    return this.get(actor, path, READ);
  }

  write(actor: Actor, path: string, value: Uint8Array): XsError | undefined {
    const node = this.get(actor, path, WRITE);
    if (node === 'ENOENT') return this.#create(actor, path, value, { kind: 'write', path });
    if (typeof node === 'string') return node;
    const written = { ...node, value, generation: this.#context.nextGeneration() };
    return this.#replace(actor, path, node, written, { kind: 'write', path });
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
    this.#remove(path, node, parent);
    this.#journal?.did({ kind: 'rm', path });
    return undefined;
  }

  #remove(path: string, node: TreeNode, parent: TreeNode): void {
    const parents = new Map<TreeNode, TreeNode>([[node, parent]]);
    for (const [at, gone] of walk(node, path)) {
      for (const child of gone.children.values()) parents.set(child, gone);
      this.#count(at, gone, -1);
      this.#journal?.write(at, undefined);
      const above = parents.get(gone) ?? parent;
      this.#announce({ path: at, exact: gone !== node, readers: [gone.permissions, above.permissions] });
    }
    const names = segmentsOf(path);
    this.root = withNode(this.root, names, undefined, this.#context.nextGeneration());
    countIn(this.#owned.bytes, parent.permissions[0].domid, -nameBytes(names.at(-1) ?? ''));
    const above = parentOf(path);
    this.#journal?.write(above, findNode(this.root, above));
  }

  setPermissions(actor: Actor, path: string, permissions: Permissions): XsError | undefined {
    if (!actor.privileged && permissions.length > this.#context.quotas.permissions) return 'ENOSPC';
    const node = this.get(actor, path, WRITE | OWNER);
    if (typeof node === 'string') return node;
    if (!actor.privileged && permissions[0].domid !== node.permissions[0].domid) return 'EPERM';
    const changed = { ...node, permissions, generation: this.#context.nextGeneration() };
    return this.#replace(actor, path, node, changed, { kind: 'set-permissions', path, permissions });
  }

  /** Does what a transaction did; `values` is its tree. */
  #repeat(actor: Actor, step: Step, values: TreeNode): XsError | undefined {
    switch (step.kind) {
      case 'write':
        return this.write(actor, step.path, findNode(values, step.path)?.value ?? EMPTY);
      case 'mkdir':
        return this.mkdir(actor, step.path);
      case 'rm':
        return this.rm(actor, step.path);
      case 'set-permissions':
        return this.setPermissions(actor, step.path, step.permissions);
    }
  }

  /**
   * `live` with this transaction's steps applied; EAGAIN if something it looked at has changed since it started, ENOMEM
   * if one of its changes was refused for a limit. The result's changes are those to announce.
   */
  mergedInto(live: Space, actor: Actor): Space | XsError {
    const journal = this.#journal;
    if (!journal) return 'EINVAL';
    if (journal.failed) return 'ENOMEM';
    if (journal.conflictsWith(live.root)) return 'EAGAIN';
    const merged = new Space(live.root, live.#owned, this.#context, undefined, true);
    for (const step of journal.steps) {
      const error = merged.#repeat(actor, step, this.root);
      if (error) return error === 'ENOSPC' ? error : 'EAGAIN';
    }
    return merged;
  }

  /** Takes every right of a domain that is no more: its nodes go, with all that is below them. */
  forgetDomain(domid: number): void {
    const mentions = (permission: Permission) => permission.domid === domid;
    for (const [path] of [...walk(this.root, '/')]) {
      const node = findNode(this.root, path);
      if (!node?.permissions.some(mentions)) continue;
      if (node.permissions[0].domid === domid && path !== '/') {
        this.#remove(path, node, lowestExisting(this.root, parentOf(path)));
        continue;
      }
      const changed = {
        ...node,
        permissions: withoutDomain(node.permissions, domid),
        generation: this.#context.nextGeneration(),
      };
      this.#count(path, node, -1);
      this.#count(path, changed, 1);
      this.root = path === '/' ? changed : withNode(this.root, segmentsOf(path), changed, 0);
    }
  }

  /** Whether a domain may write such a node, with one child more if it is given. */
  #fits(actor: Actor, node: TreeNode, child?: string): boolean {
    // What a commit repeats has been looked at, but others may have made children since.
    if (actor.privileged || (this.#repeats && child === undefined)) return true;
    const fits = recordBytes(node) + (child === undefined ? 0 : nameBytes(child)) < this.#context.quotas.nodeBytes;
    if (!fits && this.#journal) this.#journal.failed = true;
    return fits;
  }

  #create(actor: Actor, path: string, value: Uint8Array, step: Step): XsError | undefined {
    const names = segmentsOf(path);
    const chain = existingChain(this.root, names);
    const above = chain.at(-1) ?? this.root;
    const [first, ...others] = above.permissions;
    const permissions: Permissions = [actor.privileged ? first : { ...first, domid: actor.domid }, ...others];
    const created = names.length + 1 - chain.length;
    const owner = permissions[0].domid;
    const owned = this.#owned.nodes.get(owner) ?? 0;
    const { quotas, nextGeneration, accounts } = this.#context;
    if (!actor.privileged && owned + created > quotas.nodes) return 'ENOSPC';

    let node: TreeNode = { value, permissions, children: new Map(), generation: nextGeneration() };
    const name = names[chain.length - 1] ?? '';
    let fits = this.#fits(actor, node) && this.#fits(actor, above, name);
    const made: [string, TreeNode][] = [[path, node]];
    for (let depth = names.length - 1; depth >= chain.length; depth--) {
      const children = new Map([[names[depth] ?? '', node]]);
      node = { value: EMPTY, permissions, children, generation: nextGeneration() };
      made.push([`/${names.slice(0, depth).join('/')}`, node]);
      fits &&= this.#fits(actor, node);
    }
    if (!fits) return 'ENOSPC';
    const root = withNode(this.root, names.slice(0, chain.length), node, nextGeneration());
    const abovePath = `/${names.slice(0, chain.length - 1).join('/')}`;
    if (this.#journal) {
      const written = [...made, [abovePath, findNode(root, abovePath) ?? above] as const];
      if (!actor.privileged && !this.#journal.hasRoom(written)) return 'EIO';
      for (const [at, copy] of written) this.#journal.write(at, copy);
    } else if (!this.#repeats && !actor.privileged) {
      const sameOwner = first.domid === owner;
      let bytes = sameOwner ? nameBytes(name) : 0;
      for (const [at, one] of made) bytes += at.length + recordBytes(one);
      if (!accounts.hasRoom(owner, bytes)) return 'EIO';
      if (!sameOwner && !accounts.hasRoom(first.domid, nameBytes(name))) return 'EIO';
    }
    this.root = root;
    for (const [at, one] of made) this.#count(at, one, 1);
    countIn(this.#owned.bytes, first.domid, nameBytes(name));
    this.#announce({ path, exact: false, readers: [permissions, above.permissions] });
    this.#journal?.did(step);
    return undefined;
  }

  #replace(actor: Actor, path: string, before: TreeNode, after: TreeNode, step: Step): XsError | undefined {
    if (!this.#fits(actor, after)) return 'ENOSPC';
    const journal = this.#journal;
    if (journal) {
      if (!actor.privileged && !journal.hasRoom([[path, after]])) return 'EIO';
      journal.write(path, after);
    } else if (!this.#repeats && !actor.privileged) {
      // The owner is the same, and so are path and names.
      if (!this.#context.accounts.hasRoom(after.permissions[0].domid, ownBytes(after) - ownBytes(before))) return 'EIO';
    }
    this.#count(path, before, -1);
    this.#count(path, after, 1);
    const parent = lowestExisting(this.root, parentOf(path));
    this.root = path === '/' ? after : withNode(this.root, segmentsOf(path), after, 0);
    this.#announce({
      path,
      exact: false,
      readers: [before.permissions, after.permissions, parent.permissions],
    });
    journal?.did(step);
    return undefined;
  }

  #announce(change: Change): void {
    // What a transaction changes is announced when it is repeated on the live store.
    if (!this.#journal) this.#changes.push(change);
  }

  #count(path: string, node: TreeNode, by: 1 | -1): void {
    const { domid } = node.permissions[0];
    countIn(this.#owned.nodes, domid, by);
    countIn(this.#owned.bytes, domid, by * (path.length + recordBytes(node)));
  }
}
