/** `paravane pull`: fetches a guest from Debian packages. */
import { join } from 'node:path';
import {
  aptSource,
  dataFolder,
  folderSource,
  type GuestName,
  guestNames,
  hasApt,
  mirrorSource,
  type PackageSource,
  pulledBy,
  pullGuest,
  usualSuite,
} from '@paravane/host-node';
import { ParavaneError } from '@paravane/types';
import { type CliContext, carryOut, say } from '../context.js';
import { exitStatus } from '../exit-status.js';
import { listenForInterruption } from '../interruption.js';
import { rootfsMaker } from '../rootfs.js';

export interface PullFlags {
  readonly suite?: string;
  readonly mirror?: string;
  readonly from?: string;
  readonly version?: string;
  readonly rootfs?: boolean;
}

/** Where neither --suite nor a system's own sources say it: Debian 12. */
const mirrorSuite = 'bookworm';

export default async function pull(this: CliContext, flags: PullFlags, name: GuestName): Promise<void> {
  await carryOut(this, async () => {
    const home = dataFolder(this.process.env);
    const progress = (line: string): void => say(this, line);
    if (flags.rootfs && name !== 'debian') {
      throw new ParavaneError('bad-argument', `--rootfs makes a disk for debian; ${name} has none: leave it out`);
    }
    const { folder, packages } = await pullGuest({
      guest: name,
      source: await sourceFor({ ...flags, suite: flags.suite ?? usual(flags, name) }, home, progress),
      home,
      progress,
      ...(flags.version === undefined ? {} : { version: flags.version }),
      ...(flags.rootfs ? { rootfs: rootfsMaker(this.parts, progress, () => listenForInterruption(this.output)) } : {}),
    });
    for (const found of packages) this.process.stdout.write(`${found.name} ${found.version}\n`);
    const runs = Object.keys(pulledBy).filter((guest) => pulledBy[guest] === name);
    const start = runs.map((guest) => `paravane run ${guest}`).join(' or ');
    this.process.stdout.write(`${name} is ready in ${folder}; start it with: ${start}\n`);
    return exitStatus.shutdown;
  });
}

/** The suite of a guest that is not in all of them, unless its packages come from a folder. */
const usual = ({ from }: PullFlags, name: GuestName): string | undefined =>
  from === undefined ? usualSuite[name] : undefined;

async function sourceFor(flags: PullFlags, home: string, progress: (line: string) => void): Promise<PackageSource> {
  const { suite, mirror, from } = flags;
  if (from !== undefined && (mirror !== undefined || suite !== undefined)) {
    throw new ParavaneError('bad-argument', '--from takes packages from a folder: leave out --mirror and --suite');
  }
  if (from !== undefined) return folderSource(from);
  if (mirror !== undefined) {
    if (!/^https?:\/\/[^/]/.test(mirror)) {
      throw new ParavaneError('bad-argument', `--mirror takes an http:// or https:// URL, not "${mirror}"`);
    }
    return mirrorSource({ url: mirror, suite: suite ?? mirrorSuite, progress });
  }
  if (await hasApt()) {
    return aptSource({ folder: join(home, 'apt'), progress, ...(suite === undefined ? {} : { suite }) });
  }
  throw new ParavaneError(
    'apt-missing',
    `this system has no apt-get: give --mirror URL of a Debian mirror, or --from DIR with the packages`,
    { data: { guests: guestNames } },
  );
}
