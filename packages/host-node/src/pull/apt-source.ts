/**
 * Packages through the system's own apt, without root: lists and archives go to private folders, and for a suite that
 * the system does not use, so do the sources. apt verifies signatures and checksums.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ParavaneError } from '@paravane/types';
import { fileCause } from '../files.js';
import { isAlive } from '../processes.js';
import { architectureOf, type FetchedPackage, type PackageSource, type Progress, wanted } from './source.js';

const run = promisify(execFile);

export interface AptOptions {
  /** Where apt's lists and archives are kept between calls. */
  readonly folder: string;
  /** A suite other than those that the system uses. */
  readonly suite?: string;
  readonly progress: Progress;
}

/** Whether this system has apt. */
export async function hasApt(): Promise<boolean> {
  return run('apt-get', ['--version']).then(
    () => true,
    () => false,
  );
}

export function aptSource({ folder, suite, progress }: AptOptions): PackageSource {
  const ready = new Map<string, Promise<string[]>>();
  return {
    description: { kind: 'apt', ...(suite === undefined ? {} : { suite }) },
    async fetch(request) {
      const architecture = architectureOf(request);
      const name = `${request.name}:${architecture}`;
      const target = request.version === undefined ? name : `${name}=${request.version}`;
      const [fetched] = await download([target], architecture, wanted(request), { ...request });
      return fetched!;
    },
    fetchAll: (names) =>
      download(
        names.map((name) => `${name}:amd64`),
        'amd64',
        `${names.length} packages`,
        { names },
      ),
  };

  async function download(
    targets: readonly string[],
    architecture: string,
    what: string,
    data: Readonly<Record<string, unknown>>,
  ): Promise<FetchedPackage[]> {
    const prepared = ready.get(architecture) ?? prepare(folder, suite, architecture, progress);
    ready.set(architecture, prepared);
    const options = await prepared;
    const place = mkdtempSync(join(folder, `download-${process.pid}-`));
    try {
      progress(`apt-get download ${what}`);
      await apt('apt-get', [...options, 'download', ...targets], place);
      const files = readdirSync(place).filter((candidate) => candidate.endsWith('.deb'));
      if (files.length === 0) throw new Error('apt-get said nothing but downloaded nothing');
      // apt writes the colon of an epoch as %3a.
      return files.map((file) => ({ file: decodeURIComponent(file), bytes: readFileSync(join(place, file)) }));
    } catch (cause) {
      throw new ParavaneError(
        'package-missing',
        `apt-get cannot download ${what}${suite === undefined ? '' : ` from ${suite}`}: ${lastLine(cause)}; check --suite, --version and the network`,
        { cause, data: { ...data, suite } },
      );
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  }
}

async function prepare(
  folder: string,
  suite: string | undefined,
  architecture: string,
  progress: Progress,
): Promise<string[]> {
  const lists = suite ?? 'system';
  const root = join(folder, architecture === 'amd64' ? lists : `${lists}-${architecture}`);
  try {
    for (const part of ['lists/partial', 'archives/partial', 'sources']) {
      mkdirSync(join(root, part), { recursive: true });
    }
  } catch (cause) {
    throw new ParavaneError('file-unwritable', `cannot make the folder ${root}: ${fileCause(cause)}`, { cause });
  }
  removeLeftOver(folder);
  const options = privateFolders(root, architecture);
  if (suite !== undefined) {
    writeFileSync(join(root, 'sources', 'suite.list'), await sourcesFor(suite));
    options.push('-o', 'Dir::Etc::sourcelist=/dev/null', '-o', `Dir::Etc::sourceparts=${join(root, 'sources')}`);
  }
  progress('apt-get update, in private folders');
  try {
    await apt('apt-get', [...options, 'update'], root);
  } catch (cause) {
    if (readdirSync(join(root, 'lists')).every((name) => !name.endsWith('_Packages') && !name.includes('_Packages.'))) {
      const check = suite === undefined ? 'the network' : '--suite and the network';
      throw new ParavaneError('download-failed', `apt-get update failed: ${lastLine(cause)}; check ${check}`, {
        cause,
      });
    }
    progress(`apt-get update failed (${lastLine(cause)}); going on with the lists of last time`);
  }
  return options;
}

/** What processes that were interrupted had begun to download. */
function removeLeftOver(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, pid] = /^download-(\d+)-/.exec(name) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function privateFolders(root: string, architecture: string): string[] {
  const settings = [
    `Dir::State::lists=${join(root, 'lists')}`,
    `Dir::Cache::archives=${join(root, 'archives')}`,
    `Dir::Cache::pkgcache=${join(root, 'pkgcache.bin')}`,
    `Dir::Cache::srcpkgcache=${join(root, 'srcpkgcache.bin')}`,
    'Acquire::Languages=none',
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    // The private folders may not be open to apt's own user.
    'APT::Sandbox::User=root',
    'APT::Get::List-Cleanup=false',
  ];
  return ['-q', ...settings.flatMap((setting) => ['-o', setting])];
}

/** Where Debian's own keys are; without them apt's trusted keys must do. */
const keyrings = ['gpg', 'pgp'].map((kind) => `/usr/share/keyrings/debian-archive-keyring.${kind}`);

/** Sources for `suite`, from the mirror, with the keys, that the system uses for its own. */
async function sourcesFor(suite: string): Promise<string> {
  if (!/^[a-z0-9][a-z0-9.-]*$/i.test(suite)) {
    throw new ParavaneError('bad-argument', `"${suite}" cannot be the name of a suite: give one such as bookworm`);
  }
  const format = '$(REPO_URI)';
  const selection = ['Created-By: Packages', 'Component: main'];
  const { stdout } = await run('apt-get', ['indextargets', '--format', format, ...selection]);
  const addresses = stdout.split('\n');
  const uri = addresses.find((address) => /\/debian\/?$/.test(address)) ?? '';
  if (uri === '') {
    throw new ParavaneError(
      'mirror-unusable',
      'the system has no source of Debian packages to take --suite from: give --mirror URL as well',
    );
  }
  const keyring = keyrings.find((file) => existsSync(file));
  const key = keyring === undefined ? '' : `[signed-by=${keyring}] `;
  const lines = [`deb ${key}${uri} ${suite} main`];
  const security = addresses.find((address) => /debian-security\/?$/.test(address));
  if (security !== undefined && !/^(sid|unstable|testing|experimental|rc-buggy)$|-/.test(suite)) {
    lines.push(`deb ${key}${security} ${suite}-security main`);
  }
  return `${lines.join('\n')}\n`;
}

async function apt(program: string, options: readonly string[], cwd: string): Promise<void> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  await run(program, options, { cwd, env, maxBuffer: 1 << 26 });
}

/** What a failed program said last. */
function lastLine(error: unknown): string {
  const said = String((error as { stderr?: unknown }).stderr ?? '').trim();
  const lines = said.split('\n').filter((line) => line.startsWith('E:'));
  return lines.at(-1)?.slice(2).trim() || said.split('\n').at(-1) || (error as Error).message;
}
