/** Where Debian packages come from: apt, a mirror, or a folder. */
import { createHash } from 'node:crypto';

export interface PackageRequest {
  readonly name: string;
  /** Exactly this version; the newest where left out. */
  readonly version?: string;
  /** amd64 where left out. */
  readonly architecture?: 'i386';
}

export interface FetchedPackage {
  /** The package file's name, without a folder. */
  readonly file: string;
  readonly bytes: Uint8Array;
}

export interface PackageSource {
  /** For the lock file: what to say to get the same again. */
  readonly description: Readonly<Record<string, string>>;
  /** Fetches one package; rejects with a ParavaneError that says what to do. */
  fetch(request: PackageRequest): Promise<FetchedPackage>;
  /** Fetches the newest of several for amd64, faster than one by one; rejects where one of them is missing. */
  fetchAll?(names: readonly string[]): Promise<FetchedPackage[]>;
}

export interface Progress {
  (line: string): void;
}

/** The architecture that a request is for. */
export const architectureOf = (request: PackageRequest): 'amd64' | 'i386' => request.architecture ?? 'amd64';

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function wanted({ name, version, architecture }: PackageRequest): string {
  const full = architecture === undefined ? name : `${name}:${architecture}`;
  return version === undefined ? full : `${full} ${version}`;
}
