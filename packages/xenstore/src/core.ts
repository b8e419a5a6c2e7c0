/**
 * The store's state, shared by the host's side and the connections: the live tree, its watches, and the domains that
 * are introduced. Domains are told of changes as soon as an operation is complete, so that events come before the reply
 * to the request that caused them, as from Xen's daemon; the host when the outermost operation is. Both in the order of the
 * changes.
 */
import { type Accounts, createAccounts, type StoreClock } from './accounts.js';
import type { Cause } from './cause.js';
import type { SpecialPath } from './path.js';
import { type Actor, type Permissions, withoutDomain } from './permissions.js';
import { DEFAULT_QUOTAS, type Quotas } from './quotas.js';
import { Space, type XsError } from './space.js';
import { createWatches, type Watch, type Watches } from './watches.js';

/** What an introduced domain asks of the toolstack by the wire: 0, or the name of an error. */
export type IntroduceHandler = (domid: number, frame: number, port: number) => 0 | XsError;

export interface XenstoreOptions {
  readonly quotas?: Partial<Quotas>;
  /** Domains with all rights and without quotas. Domain 0 if not given. */
  readonly privilegedDomains?: readonly number[];
  /** Serves INTRODUCE from a privileged domain; without it the answer is ENOSYS. */
  readonly onIntroduce?: IntroduceHandler;
  /** Without it, events wait for a domain that does not read them for as long as it is there. */
  readonly clock?: StoreClock;
  /** Is told of domains that come to the limits of what the store keeps for them. */
  readonly warn?: (message: string) => void;
}

/** A connection whose domain has requests that it may not make now. */
export interface Stalled {
  readonly congested: boolean;
  onReady: (() => void) | undefined;
}

/** What connections see of the store. */
export interface StoreCore {
  readonly quotas: Quotas;
  readonly accounts: Accounts;
  readonly clock: StoreClock | undefined;
  readonly watches: Watches;
  /** Connections to be told when they are not congested any more. */
  readonly stalled: Set<Stalled>;
  readonly introduced: Set<number>;
  readonly special: Map<string, Permissions>;
  readonly onIntroduce: IntroduceHandler | undefined;
  live: Space;
  /** Whether there is such a domain: the host, or one that was introduced. */
  exists(domid: number): boolean;
  actorOf(domid: number): Actor;
  setTarget(domid: number, target: number): void;
  /**
   * Runs an operation; domains are told what it changed when it is done, the host when the outermost one is. `cause` is
   * the request of a domain that it does.
   */
  operate<Result>(body: () => Result, cause?: Cause): Result;
  /** Tells those that are stalled and need not be any more, unless an operation is under way, at whose end it is done. */
  wakeStalled(): void;
  /** Tells a watch when the outermost operation is done. */
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

  function tell(watch: Watch, path: string, cause?: Cause): void {
    if (watch.isHosts) queue.push({ watch, path });
    else watch.deliver(path, cause);
  }

  function collect(cause?: Cause): void {
    for (const change of core.live.takeChanges()) {
      for (const watch of watches.hearing(change)) tell(watch, change.path, cause);
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

  const hasQuotas = (domid: number): boolean => !privileged.has(domid);
  const nodesOf = (domid: number): number => core.live.bytesOf(domid);
  const { clock, warn } = options;
  const accounts = createAccounts({ quotas, hasQuotas, nodesOf, clock, warn });

  const core: StoreCore = {
    quotas,
    accounts,
    clock,
    watches,
    stalled: new Set(),
    introduced: new Set(),
    special: new Map([
      ['@introduceDomain', [{ domid: 0, access: 0 }]],
      ['@releaseDomain', [{ domid: 0, access: 0 }]],
    ]),
    onIntroduce: options.onIntroduce,
    live: Space.create(rootNode, { quotas, accounts, nextGeneration: () => ++generation }),
    exists: (domid) => domid === 0 || core.introduced.has(domid),
    actorOf: (domid) => ({ domid, privileged: privileged.has(domid), target: targets.get(domid) }),
    setTarget: (domid, target) => void targets.set(domid, target),
    operate(body, cause) {
      depth++;
      try {
        return body();
      } finally {
        collect(cause);
        if (--depth === 0) deliverAll();
        core.wakeStalled();
      }
    },
    wakeStalled() {
      if (depth > 0 || delivering) return;
      for (const connection of [...core.stalled]) {
        if (!connection.congested && core.stalled.delete(connection)) connection.onReady?.();
      }
    },
    announceTo: (watch, path) => void queue.push({ watch, path }),
    announce(path) {
      // What has changed before is told before.
      collect();
      const permissions = core.special.get(path);
      for (const watch of permissions ? watches.hearingSpecial(path, permissions) : []) tell(watch, path);
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
      for (const [path, permissions] of core.special) core.special.set(path, withoutDomain(permissions, domid));
      accounts.forget(domid);
      core.announce('@releaseDomain');
    },
  };
  return core;
}
