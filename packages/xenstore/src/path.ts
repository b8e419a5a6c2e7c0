/**
 * Paths of the store: docs/misc/xenstore.txt, "Permitted operations" and public/io/xs_wire.h, `XENSTORE_*_PATH_MAX`.
 * What comes out of `canonicalize` is absolute, well formed and within its length.
 */
import { XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX } from '@paravane/abi-xen';

/** Paths that are no nodes: watches on them report that domains come and go. */
export const SPECIAL_PATHS = ['@introduceDomain', '@releaseDomain'] as const;
export type SpecialPath = (typeof SPECIAL_PATHS)[number];

export function isSpecialPath(path: string): path is SpecialPath {
  return (SPECIAL_PATHS as readonly string[]).includes(path);
}

const WELL_FORMED = /^(?:\/|(?:\/[A-Za-z0-9_@-]+)+)$/;

/** The absolute form of a claimed path; undefined if it is malformed or too long. */
export function canonicalize(claimedPath: string, prefix: string): string | undefined {
  if (claimedPath.startsWith('/')) {
    return claimedPath.length <= XENSTORE_ABS_PATH_MAX && WELL_FORMED.test(claimedPath) ? claimedPath : undefined;
  }
  if (claimedPath.length > XENSTORE_REL_PATH_MAX) return undefined;
  const absolute = `${prefix}/${claimedPath}`;
  return WELL_FORMED.test(absolute) ? absolute : undefined;
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
