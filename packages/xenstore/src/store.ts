/**
 * The store as its host sees it: docs/misc/xenstore.txt. The host's side (`Xenstore`) is trusted and is subject to no
 * permissions or quotas; domains come in through connections. A watch hears of a change after the operation that
 * causes it is complete.
 */
import { ParavaneError } from '@paravane/types';
import { type Connection, createConnection } from './connection.js';
import { createCore, type XenstoreOptions } from './core.js';
import { canonicalize, isSpecialPath, type SpecialPath } from './path.js';
import { type Actor, formatPermission, type Permissions, parsePermissions } from './permissions.js';
import type { XsError } from './space.js';
import { bytesOf, textOf } from './text.js';
import { findNode, walk } from './tree.js';
import type { Watch } from './watches.js';

export interface ConnectOptions {
  /** What relative paths are relative to; `/local/domain/<domid>` if not given. */
  readonly prefix?: string;
}

/** A node as `entries` lists it. */
export interface StoreEntry {
  readonly path: string;
  readonly value: string;
  /** `n0`, `r1`, ... */
  readonly permissions: readonly string[];
}

/**
 * The host's side. Paths are absolute; values are strings of one character per byte. A malformed path is a
 * ParavaneError with the code `xenstore-path`.
 */
export interface Xenstore {
  /** The value, or undefined if there is no such node. */
  read(path: string): string | undefined;
  readBytes(path: string): Uint8Array | undefined;
  /** Creates the node and its parents if need be; `permissions` such as `['n0', 'r1']` apply to the node alone. */
  write(path: string, value: string | Uint8Array, permissions?: readonly string[]): void;
  mkdir(path: string, permissions?: readonly string[]): void;
  /** The names below a node, or undefined if there is no such node. */
  ls(path: string): string[] | undefined;
  /** Removes a node and all below it; nothing happens if there is none. */
  rm(path: string): void;
  getPermissions(path: string): string[] | undefined;
  setPermissions(path: string, permissions: readonly string[]): void;
  /**
   * Calls `onChange` once now with the path itself, and after every change at or below it with the path that changed;
   * also for `@introduceDomain` and `@releaseDomain`. The result ends the watch.
   */
  watch(path: string, onChange: (path: string) => void): () => void;
  /** Runs `body`; watches hear of what it changes when it is done. */
  batch<Result>(body: () => Result): Result;
  /** All nodes at and below a path, parents first. */
  entries(path?: string): Iterable<StoreEntry>;
  /** A guest's or a local domain's connection. A domain has one; the former is closed. */
  connect(domid: number, options?: ConnectOptions): Connection;
  introduceDomain(domid: number): void;
  /** Closes the domain's connection, takes its rights and announces it. Its nodes are the toolstack's to remove. */
  releaseDomain(domid: number): void;
  isIntroduced(domid: number): boolean;
  /** Tells the watches on a special path, as when a domain has shut down but is still there. */
  announce(path: SpecialPath): void;
}

const HOST: Actor = { domid: 0, privileged: true, target: undefined };

function hostPath(path: string): string {
  const absolute = path.startsWith('/') ? canonicalize(path, '') : undefined;
  if (absolute !== undefined) return absolute;
  throw new ParavaneError(
    'xenstore-path',
    `'${path}' is no path of the store: begin with '/', and use letters, digits, '-', '_' and '@' between single slashes`,
    { data: { path } },
  );
}

function hostPermissions(texts: readonly string[]): Permissions {
  const permissions = parsePermissions(texts);
  if (permissions) return permissions;
  throw new ParavaneError(
    'xenstore-permissions',
    `[${texts.join(', ')}] are no permissions: give at least one of 'n', 'r', 'w' or 'b' followed by a domain id`,
    { data: { permissions: texts } },
  );
}

export function createXenstore(options: XenstoreOptions = {}): Xenstore {
  const connections = new Map<number, Connection>();
  const core = createCore(options, (domid) => {
    connections.get(domid)?.close();
    connections.delete(domid);
  });

  function must(path: string, body: () => XsError | undefined): void {
    const error = core.operate(body);
    if (error) throw new ParavaneError('xenstore-operation', `${path}: ${error}`, { data: { path, error } });
  }

  const nodeAt = (path: string) => findNode(core.live.root, hostPath(path));

  const store: Xenstore = {
    read(path) {
      const node = nodeAt(path);
      return node && textOf(node.value);
    },
    readBytes: (path) => nodeAt(path)?.value.slice(),
    write(path, value, permissions) {
      const at = hostPath(path);
      const parsed = permissions && hostPermissions(permissions);
      must(at, () => {
        const error = core.live.write(HOST, at, typeof value === 'string' ? bytesOf(value) : value.slice());
        return error ?? (parsed && core.live.setPermissions(HOST, at, parsed));
      });
    },
    mkdir(path, permissions) {
      const at = hostPath(path);
      const parsed = permissions && hostPermissions(permissions);
      must(at, () => core.live.mkdir(HOST, at) ?? (parsed && core.live.setPermissions(HOST, at, parsed)));
    },
    ls(path) {
      const node = nodeAt(path);
      return node && [...node.children.keys()];
    },
    rm(path) {
      const at = hostPath(path);
      if (findNode(core.live.root, at)) must(at, () => core.live.rm(HOST, at));
    },
    getPermissions: (path) =>
      (isSpecialPath(path) ? core.special.get(path) : nodeAt(path)?.permissions)?.map(formatPermission),
    setPermissions(path, permissions) {
      const parsed = hostPermissions(permissions);
      if (isSpecialPath(path)) {
        core.special.set(path, parsed);
        return;
      }
      const at = hostPath(path);
      must(at, () => core.live.setPermissions(HOST, at, parsed));
    },
    watch(path, onChange) {
      const watch: Watch = {
        path: isSpecialPath(path) ? path : hostPath(path),
        actor: HOST,
        isHosts: true,
        deliver: onChange,
      };
      core.operate(() => {
        core.watches.add(watch);
        core.announceTo(watch, watch.path);
      });
      return () => core.watches.remove(watch);
    },
    batch: (body) => core.operate(body),
    *entries(path = '/') {
      const node = nodeAt(path);
      if (!node) return;
      for (const [at, { value, permissions }] of walk(node, hostPath(path))) {
        yield { path: at, value: textOf(value), permissions: permissions.map(formatPermission) };
      }
    },
    connect(domid, { prefix = `/local/domain/${domid}` } = {}) {
      const connection = createConnection(core, domid, hostPath(prefix));
      connections.get(domid)?.close();
      connections.set(domid, connection);
      return connection;
    },
    introduceDomain: (domid) => core.operate(() => core.introduce(domid)),
    releaseDomain: (domid) => core.operate(() => core.release(domid)),
    isIntroduced: (domid) => core.exists(domid),
    announce: (path) => core.operate(() => core.announce(path)),
  };
  return store;
}
