/**
 * Who may do what with a node: docs/misc/xenstore.txt, SET_PERMS. The first entry of a node names its owner and what
 * everybody else may do; the further ones give single domains their own rights.
 */
import { DOMID_FIRST_RESERVED } from '@paravane/abi-xen';

export const READ = 1;
export const WRITE = 2;
export const OWNER = 4;

export interface Permission {
  readonly domid: number;
  /** READ and WRITE, or'ed. */
  readonly access: number;
  /** Named when there was no such domain: it is shown, and gives no right to one that has the id later. */
  readonly isVoid?: true;
}
/** Never empty. */
export type Permissions = readonly [Permission, ...Permission[]];

/** On whose behalf an operation runs. */
export interface Actor {
  readonly domid: number;
  /** Rights on everything, and no quotas. */
  readonly privileged: boolean;
  /** A domain whose rights this one has too. */
  readonly target: number | undefined;
}

const LETTERS = ['n', 'r', 'w', 'b'] as const;

export function formatPermission(permission: Permission): string {
  return `${LETTERS[permission.access & 3]}${permission.domid}`;
}

/** `r1`, `n0`, ...; undefined if malformed. */
export function parsePermission(claimedText: string): Permission | undefined {
  const match = /^([nrwb])(\d{1,5})$/.exec(claimedText);
  if (!match) return undefined;
  const domid = Number(match[2]);
  if (domid >= DOMID_FIRST_RESERVED) return undefined;
  return { domid, access: (LETTERS as readonly string[]).indexOf(match[1] ?? 'n') };
}

/** All of a list, which must not be empty; undefined if one is malformed. */
export function parsePermissions(claimedTexts: readonly string[]): Permissions | undefined {
  const parsed: Permission[] = [];
  for (const claimedText of claimedTexts) {
    const permission = parsePermission(claimedText);
    if (!permission) return undefined;
    parsed.push(permission);
  }
  const [owner, ...others] = parsed;
  return owner && [owner, ...others];
}

/** Permissions without what they say of a domain that is no more; what it owned is domain 0's. */
export function withoutDomain([owner, ...others]: Permissions, domid: number): Permissions {
  return [
    owner.domid === domid ? { domid: 0, access: owner.access } : owner,
    ...others.filter((other) => other.domid !== domid),
  ];
}

function rightsOf(permissions: Permissions, domid: number): number {
  const [owner, ...others] = permissions;
  if (owner.domid === domid) return READ | WRITE | OWNER;
  return others.find((other) => other.domid === domid && !other.isVoid)?.access ?? owner.access;
}

/** READ, WRITE and OWNER, or'ed. */
export function rights(permissions: Permissions, actor: Actor): number {
  if (actor.privileged) return READ | WRITE | OWNER;
  const own = rightsOf(permissions, actor.domid);
  return actor.target === undefined ? own : own | rightsOf(permissions, actor.target);
}

export function allows(permissions: Permissions, actor: Actor, needed: number): boolean {
  return (rights(permissions, actor) & needed) === needed;
}
