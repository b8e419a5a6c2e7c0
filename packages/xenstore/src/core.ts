/**
 * The store's state, shared by the host's side and the connections: the live tree, its watches, and the domains that
 * are introduced. Announcements are made after the outermost operation is complete, in the order of the changes.
 */
import type { SpecialPath } from './path.js';
import type { Actor, Permissions } from './permissions.js';
import { DEFAULT_QUOTAS, type Quotas, Space, type XsError } from './space.js';
import { createWatches, type Watch, type Watches } from './watches.js';

/** What an introduced domain asks of the toolstack by the wire: 0, or the name of an error. */
export type IntroduceHandler = (domid: number, frame: number, port: number) => 0 | XsError;

export interface XenstoreOptions {
  readonly quotas?: Partial<Quotas>;
  /** Domains with all rights and without quotas. Domain 0 if not given. */
  readonly privilegedDomains?: readonly number[];
  /** Serves INTRODUCE from a privileged domain; without it the answer is ENOSYS. */
  readonly onIntroduce?: IntroduceHandler;
}

/** What connections see of the store. */
export interface StoreCore {
  readonly quotas: Quotas;
  readonly watches: Watches;
  readonly introduced: Set<number>;
  readonly special: Map<string, Permissions>;
  readonly onIntroduce: IntroduceHandler | undefined;
  live: Space;
  /** Whether there is such a domain: the host, or one that was introduced. */
  exists(domid: number): boolean;
  actorOf(domid: number): Actor;
  setTarget(domid: number, target: number): void;
  /** Runs an operation; what it changed is announced when the outermost one is done. */
  operate<Result>(body: () => Result): Result;
  /** Puts a delivery in the queue of announcements. */
  announceTo(watch: Watch, path: string): void;
  /** Tells the watches on a special path. */
  announce(path: SpecialPath): void;
  release(domid: number): void;
  introduce(domid: number): void;
}

/** `onRelease` is told of a domain before it is forgotten. */
export function createCore(options: XenstoreOptions, onRelease: (domid: number) => void): StoreCore {
  const quotas: Quotas = { ...DEFAULT_QUOTAS, ...options.quotas };
  const privileged = new Set(options.privilegedDomains ?? [0]);
  const targets = new Map<number, number>();
  const watches = createWatches();
  const queue: { watch: Watch; path: string }[] = [];
  let generation = 0;
  let depth = 0;
  let delivering = false;

  const rootNode = {
    value: new Uint8Array(0),
    permissions: [{ domid: 0, access: 0 }] as const,
    children: new Map(),
    generation: 0,
  };

  function collect(): void {
    for (const change of core.live.takeChanges()) {
      for (const watch of watches.hearing(change)) queue.push({ watch, path: change.path });
    }
  }

  function deliverAll(): void {
    if (delivering) return;
    delivering = true;
    try {
      for (let next = queue.shift(); next; next = queue.shift()) {
        if (watches.has(next.watch)) next.watch.deliver(next.path);
      }
    } finally {
      delivering = false;
    }
  }

  const core: StoreCore = {
    quotas,
    watches,
    introduced: new Set(),
    special: new Map([
      ['@introduceDomain', [{ domid: 0, access: 0 }]],
      ['@releaseDomain', [{ domid: 0, access: 0 }]],
    ]),
    onIntroduce: options.onIntroduce,
    live: new Space(rootNode, new Map(), () => ++generation, quotas),
    exists: (domid) => domid === 0 || core.introduced.has(domid),
    actorOf: (domid) => ({ domid, privileged: privileged.has(domid), target: targets.get(domid) }),
    setTarget: (domid, target) => void targets.set(domid, target),
    operate(body) {
      depth++;
      try {
        return body();
      } finally {
        collect();
        if (--depth === 0) deliverAll();
      }
    },
    announceTo: (watch, path) => void queue.push({ watch, path }),
    announce(path) {
      const permissions = core.special.get(path);
      for (const watch of permissions ? watches.hearingSpecial(path, permissions) : []) queue.push({ watch, path });
    },
    introduce(domid) {
      core.introduced.add(domid);
      core.announce('@introduceDomain');
    },
    release(domid) {
      onRelease(domid);
      core.introduced.delete(domid);
      targets.delete(domid);
      core.live.forgetDomain(domid);
      core.announce('@releaseDomain');
    },
  };
  return core;
}
