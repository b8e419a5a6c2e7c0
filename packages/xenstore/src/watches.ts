/**
 * Who wants to hear of which changes, found by path. A watch hears of its path and of everything below it, and by its
 * exact path of what goes with an ancestor.
 */
import type { Cause } from './cause.js';
import { isSpecialPath, selfAndAncestors } from './path.js';

import { type Actor, allows, type Permissions, READ } from './permissions.js';
import type { Change } from './space.js';

export interface Watch {
  readonly path: string;
  readonly actor: Actor;
  /** Whether it is a callback of the host, which may do anything: it is told when the operation is over. */
  readonly isHosts: boolean;
  /** Called once per change; `cause` is a domain's request that made it. */
  deliver(path: string, cause?: Cause): void;
}

export interface Watches {
  add(watch: Watch): void;
  remove(watch: Watch): void;
  has(watch: Watch): boolean;
  /** The watches that are to hear of a change, and may. */
  hearing(change: Change): Watch[];
  /** The watches on a special path whose actor has the right to hear. */
  hearingSpecial(path: string, permissions: Permissions): Watch[];
}

export function createWatches(): Watches {
  const byPath = new Map<string, Set<Watch>>();
  return {
    add(watch) {
      const set = byPath.get(watch.path) ?? new Set();
      byPath.set(watch.path, set.add(watch));
    },
    remove(watch) {
      const set = byPath.get(watch.path);
      if (set?.delete(watch) && set.size === 0) byPath.delete(watch.path);
    },
    has: (watch) => byPath.get(watch.path)?.has(watch) ?? false,
    hearing({ path, exact, readers }) {
      const hearing: Watch[] = [];
      for (const at of exact ? [path] : selfAndAncestors(path)) {
        for (const watch of byPath.get(at) ?? []) {
          if (readers.some((permissions) => allows(permissions, watch.actor, READ))) hearing.push(watch);
        }
      }
      return hearing;
    },
    hearingSpecial(path, permissions) {
      if (!isSpecialPath(path)) return [];
      return [...(byPath.get(path) ?? [])].filter((watch) => allows(permissions, watch.actor, READ));
    },
  };
}
