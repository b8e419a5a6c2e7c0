/**
 * Packages from a Debian mirror over HTTP or HTTPS, for systems without apt. Release lists the checksums of the package
 * indices, and an index those of the packages; both are verified. Release's own signature is not: over plain HTTP this
 * proves that what was fetched is complete, not who made it.
 */
import { ParavaneError } from '@paravane/types';
import { unpack } from '../decompress.js';
import { compareVersions, parseControl, type Stanza } from './control.js';
import { architectureOf, type PackageSource, type Progress, sha256, wanted } from './source.js';

export interface MirrorOptions {
  readonly url: string;
  readonly suite: string;
  readonly progress: Progress;
}

/** In order of preference. */
const indexNames = ['Packages.xz', 'Packages.gz', 'Packages'];

export function mirrorSource({ url, suite, progress }: MirrorOptions): PackageSource {
  const base = url.replace(/\/+$/, '');
  const indices = new Map<string, Promise<Stanza[]>>();
  return {
    description: { kind: 'mirror', url: base, suite },
    async fetch(request) {
      const architecture = architectureOf(request);
      const index = indices.get(architecture) ?? fetchIndex(base, suite, architecture, progress);
      indices.set(architecture, index);
      const stanza = choose(await index, request.name, request.version);
      const path = stanza?.get('filename');
      if (stanza === undefined || path === undefined) {
        throw new ParavaneError(
          'package-missing',
          `${base} has no package ${wanted(request)} for ${architecture} in suite ${suite}: try another --suite or --version`,
          { data: { url: base, suite, ...request } },
        );
      }
      progress(`fetching ${path.split('/').at(-1)}`);
      const bytes = await download(`${base}/${path}`);
      verify(bytes, stanza.get('sha256'), `${base}/${path}`);
      return { file: path.split('/').at(-1) ?? path, bytes };
    },
  };
}

function choose(index: readonly Stanza[], name: string, version: string | undefined): Stanza | undefined {
  return index
    .filter((stanza) => stanza.get('package') === name && (version === undefined || stanza.get('version') === version))
    .sort((a, b) => compareVersions(b.get('version') ?? '', a.get('version') ?? ''))[0];
}

async function fetchIndex(base: string, suite: string, architecture: string, progress: Progress): Promise<Stanza[]> {
  const indexFolder = `main/binary-${architecture}`;
  const folder = `${base}/dists/${suite}`;
  progress(`fetching the package index of ${suite}`);
  const release = parseControl(new TextDecoder().decode(await download(`${folder}/Release`)))[0];
  const listed = new Map(
    (release?.get('sha256') ?? '').split('\n').map((line) => {
      const [sum = '', , name = ''] = line.trim().split(/\s+/);
      return [name, sum];
    }),
  );
  const name = indexNames.map((file) => `${indexFolder}/${file}`).find((candidate) => listed.has(candidate));
  if (name === undefined) {
    throw new ParavaneError(
      'mirror-unusable',
      `${folder}/Release lists no ${indexFolder}/Packages with a SHA256 checksum: check the URL and the suite`,
      { data: { url: folder } },
    );
  }
  const packed = await download(`${folder}/${name}`);
  verify(packed, listed.get(name), `${folder}/${name}`);
  return parseControl(new TextDecoder().decode(unpack(packed, name)));
}

async function download(url: string): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    const reason = (cause as { cause?: Error }).cause?.message ?? (cause as Error).message;
    throw new ParavaneError('download-failed', `cannot fetch ${url}: ${reason}; check the URL and the network`, {
      cause,
      data: { url },
    });
  }
  if (!response.ok) {
    throw new ParavaneError(
      'download-failed',
      `cannot fetch ${url}: the server answers ${response.status} ${response.statusText}; check the URL and the suite`,
      { data: { url, status: response.status } },
    );
  }
  return new Uint8Array(await response.arrayBuffer());
}

function verify(bytes: Uint8Array, expected: string | undefined, url: string): void {
  const actual = sha256(bytes);
  if (expected?.toLowerCase() === actual) return;
  throw new ParavaneError(
    'checksum-mismatch',
    `${url} has not the checksum that its index gives (expected ${expected ?? 'one'}, got ${actual}): try again later or another mirror`,
    { data: { url, expected, actual } },
  );
}
