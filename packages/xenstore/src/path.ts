/**
 * Paths of the store: docs/misc/xenstore.txt, "Permitted operations" and public/io/xs_wire.h, `XENSTORE_*_PATH_MAX`.
 * What comes out of `canonicalize` is absolute, well formed and within its length.
 */
import { XENSTORE_REL_PATH_MAX } from '@paravane/abi-xen';

/** Paths that are no nodes: watches on them report that domains come and go. */
export const SPECIAL_PATHS = ['@introduceDomain', '@releaseDomain'] as const;
export type SpecialPath = (typeof SPECIAL_PATHS)[number];

export function isSpecialPath(path: string): path is SpecialPath {
  return (SPECIAL_PATHS as readonly string[]).includes(path);
}

/** What a watch may be on that is no node: no more than the special ones ever happen. */
export const isEventPath = (path: string): boolean => path.startsWith('@') && path.length <= XENSTORE_REL_PATH_MAX;

const WELL_FORMED = /^(?:\/|(?:\/[A-Za-z0-9_@-]+)+)$/;

/** The part of a path that leads to a domain's own; it does not count for the length. */
const DOMAIN_PREFIX = /^\/local\/domain\/\d{1,5}\//;

/** The absolute form of a claimed path; undefined if it is malformed or too long. */
export function canonicalize(claimedPath: string, prefix: string): string | undefined {
  if (claimedPath.startsWith('@')) return undefined;
  const absolute = claimedPath.startsWith('/') ? claimedPath : `${prefix}/${claimedPath}`;
  const free = DOMAIN_PREFIX.exec(absolute)?.[0].length ?? 0;
  return absolute.length <= free + XENSTORE_REL_PATH_MAX && WELL_FORMED.test(absolute) ? absolute : undefined;
}

/** Names from the root to the node; empty for the root. */
export function segmentsOf(path: string): string[] {
  return path === '/' ? [] : path.slice(1).split('/');
}

/** The parent of a path; the root's is the root. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

/** The path itself and every ancestor, nearest first. */
export function* selfAndAncestors(path: string): Generator<string> {
  for (let at = path; ; at = parentOf(at)) {
    yield at;
    if (at === '/' || !at.startsWith('/')) return;
  }
}
