/**
 * The bytes that each domain makes the store keep, counted as Xen's daemon counts them: records and paths of the nodes
 * that it owns, copies of nodes in its open transactions, paths and tokens of its watches, and messages that it has not
 * read to their end. Above the hard quota nothing is added for a domain that has quotas; above the soft one the host
 * is told.
 */
import type { Quotas } from './quotas.js';

/** Time for the store: `services` of a hypervisor are one. */
export interface StoreClock {
  /** Nanoseconds; never goes back. */
  now(): number;
  /** `fire` runs at the deadline that `set` names, in nanoseconds, or soon after. */
  createTimer(fire: () => void): { set(deadline: number): void; cancel(): void };
}

export interface Accounts {
  /** Bytes counted for a domain, its nodes included. */
  bytesOf(domid: number): number;
  /** Whether a domain may be made to keep so many bytes more; a negative number is of bytes less. */
  hasRoom(domid: number, bytes: number): boolean;
  /** Whether a domain is at its limit with what it has. */
  isFull(domid: number): boolean;
  /** Counts bytes that are no nodes. */
  add(domid: number, bytes: number): void;
  /** As add, where there is room; whether there was. */
  tryAdd(domid: number, bytes: number): boolean;
  forget(domid: number): void;
}

export interface AccountsOptions {
  readonly quotas: Quotas;
  readonly hasQuotas: (domid: number) => boolean;
  /** Bytes of the nodes that a domain owns. */
  readonly nodesOf: (domid: number) => number;
  readonly clock: StoreClock | undefined;
  readonly warn: ((message: string) => void) | undefined;
}

/** Nanoseconds for which a domain that goes up and down at a limit is not told of again. */
const QUIET = 10e9;

interface Told {
  soft: boolean;
  hard: boolean;
  at: number;
}

export function createAccounts({ quotas, hasQuotas, nodesOf, clock, warn }: AccountsOptions): Accounts {
  const { memory: hard, memorySoft: soft } = quotas;
  const others = new Map<number, number>();
  const told = new Map<number, Told>();

  /** Tells the host of limits that are passed on the way to so many bytes. */
  function tell(domid: number, bytes: number): void {
    const last = told.get(domid) ?? { soft: false, hard: false, at: Number.NEGATIVE_INFINITY };
    told.set(domid, last);
    const now = clock?.now() ?? 0;
    const quiet = clock !== undefined && now - last.at < QUIET;
    const say = (what: string, change: Partial<Told>) => {
      Object.assign(last, change, { at: now });
      warn?.(`xenstore: domain ${domid} ${what}`);
    };
    if (bytes >= hard) {
      if (!last.hard) say(`reached ${hard} bytes and is not served any further`, { hard: true });
      return;
    }
    if (quiet) return;
    if (last.hard) say(`is below ${hard} bytes again`, { hard: false });
    if (bytes >= soft && !last.soft) say(`keeps more than ${soft} bytes`, { soft: true });
    if (bytes < soft && last.soft) say(`is below ${soft} bytes again`, { soft: false });
  }

  const accounts: Accounts = {
    bytesOf: (domid) => nodesOf(domid) + (others.get(domid) ?? 0),
    hasRoom(domid, bytes) {
      if (!hasQuotas(domid)) return true;
      const wanted = accounts.bytesOf(domid) + bytes;
      tell(domid, wanted);
      return wanted < hard;
    },
    isFull: (domid) => hasQuotas(domid) && accounts.bytesOf(domid) >= hard,
    add: (domid, bytes) => void others.set(domid, (others.get(domid) ?? 0) + bytes),
    tryAdd(domid, bytes) {
      if (!accounts.hasRoom(domid, bytes)) return false;
      accounts.add(domid, bytes);
      return true;
    },
    forget(domid) {
      others.delete(domid);
      told.delete(domid);
    },
  };
  return accounts;
}
