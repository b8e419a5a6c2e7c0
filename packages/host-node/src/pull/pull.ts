/**
 * Fetches a guest from Debian packages and makes it ready to run: kernel, initramfs where it needs one, an xl
 * configuration, and a lock file, all in one folder.
 */
import { join, resolve } from 'node:path';
import { ParavaneError } from '@paravane/types';
import { unpack } from '../decompress.js';
import { writeWhole } from '../files.js';
import { type DebianPackage, readDeb } from './deb.js';
import { buildInitramfs } from './initramfs.js';
import { type LockedPackage, lockedFile, lockFileName, writeLockFile } from './lock-file.js';
import { modulesInOrder } from './modules.js';
import { buildArchive } from './rootfs/archive.js';
import { buildBootstrap } from './rootfs/bootstrap.js';
import { fetchSystem } from './rootfs/packages.js';
import type { PackageRequest, PackageSource, Progress } from './source.js';
import type { TarEntry } from './tar.js';

export const guestNames = ['debian', 'grub', 'gnumach'] as const;
export type GuestName = (typeof guestNames)[number];

/** What can be run once it is pulled, and by what name it is pulled. */
export const pulledBy: Readonly<Record<string, GuestName>> = {
  debian: 'debian',
  grub: 'grub',
  'grub-pv32': 'grub',
  gnumach: 'gnumach',
};

/** The suite that a guest is taken from where none is asked for and it is not in every one. */
export const usualSuite: Readonly<Partial<Record<GuestName, string>>> = { gnumach: 'sid' };

export interface PullOptions {
  readonly guest: GuestName;
  readonly source: PackageSource;
  /** Exactly this version of the guest's main package. */
  readonly version?: string;
  /** Where pulled guests live; this one gets a folder of its name there. */
  readonly home: string;
  readonly progress: Progress;
  /** Makes a root file system of a minimal Debian system as well, as the guest's disk. Only for "debian". */
  readonly rootfs?: RootfsMaker;
}

/** Runs a guest that makes a root file system in a file. It says `bootstrapDone` on its console when all went well. */
export type RootfsMaker = (bootstrap: {
  readonly kernel: Uint8Array;
  readonly ramdisk: Uint8Array;
  /** The second disk, to be read only: a tar archive. */
  readonly archive: Uint8Array;
  /** The image that the first disk is to be in; it is not there yet, or is to be replaced. */
  readonly file: string;
  /** Packages that it configures. */
  readonly packages: number;
}) => Promise<void>;

export interface PulledGuest {
  readonly folder: string;
  readonly configFile: string;
  readonly packages: readonly LockedPackage[];
}

interface Guest {
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** Lines of the configuration, after the name. */
  readonly config: (folder: string) => string[];
  /** Other guests that the same files make, by name. */
  readonly others?: Readonly<Record<string, (folder: string) => string[]>>;
}

interface Making {
  readonly version: string | undefined;
  readonly progress: Progress;
  readonly source: PackageSource;
  readonly rootfs: RootfsMaker | undefined;
  readonly folder: string;
}

/** What is fetched, remembered for the lock file. */
interface Shelf {
  get(request: PackageRequest): Promise<DebianPackage>;
  remember(locked: LockedPackage): void;
}

const kernelPackage = 'linux-image-cloud-amd64';
/** The disk that --rootfs makes. */
const rootfsFile = 'root.img';
const guestModules = ['xen-blkfront', 'xen-netfront'];

export async function pullGuest(options: PullOptions): Promise<PulledGuest> {
  const { guest, source, version, progress, rootfs } = options;
  const folder = resolve(options.home, guest);
  const packages: LockedPackage[] = [];
  const shelf: Shelf = {
    async get(request) {
      const { file, bytes } = await source.fetch(request);
      const found = readDeb(bytes, file);
      packages.push({
        name: found.name,
        version: found.version,
        architecture: found.architecture,
        ...lockedFile(file, bytes),
      });
      return found;
    },
    remember: (locked) => void packages.push(locked),
  };
  const { files, config, others = {} } = await makers[guest](shelf, { version, progress, source, rootfs, folder });
  for (const [name, bytes] of Object.entries(files)) writeWhole(join(folder, name), bytes);
  const configFile = guestConfigFile(options.home, guest);
  const textFor = (name: string, lines: readonly string[]): string =>
    [`# Written by paravane pull ${guest}.`, `name = "${name}"`, 'type = "pv"', ...lines, ''].join('\n');
  const text = textFor(guest, config(folder));
  writeWhole(configFile, text);
  for (const [name, lines] of Object.entries(others)) {
    writeWhole(guestConfigFile(options.home, name), textFor(name, lines(folder)));
  }
  writeLockFile(join(folder, lockFileName), {
    lockVersion: 1,
    guest,
    source: source.description,
    packages,
    files: Object.entries({ ...files, [`${guest}.cfg`]: Buffer.from(text) }).map(([name, bytes]) =>
      lockedFile(name, bytes),
    ),
  });
  return { folder, configFile, packages };
}

/** The configuration that `pull` writes for a guest of this name. */
export function guestConfigFile(home: string, guest: string): string {
  return join(resolve(home, guest), `${guest}.cfg`);
}

const makers: Readonly<Record<GuestName, (shelf: Shelf, making: Making) => Promise<Guest>>> = {
  async debian(shelf, making) {
    const { version, progress, rootfs } = making;
    const named = await shelf.get({ name: kernelPackage, ...(version === undefined ? {} : { version }) });
    const image = named.depends.find(({ name }) => name.startsWith('linux-image-'));
    if (image === undefined) {
      throw new ParavaneError('package-unusable', `${named.file} names no kernel image among what it depends on`);
    }
    const kernel = await shelf.get(image);
    const busybox = await shelf.get({ name: 'busybox-static' });
    progress(`unpacking ${kernel.file}`);
    const entries = kernel.entries();
    const modules = modulesInOrder(entries, guestModules);
    progress(`making the initramfs: busybox, ${modules.map(({ name }) => name).join(', ')}`);
    const shell = fileOf(busybox.entries(), /^(?:usr\/)?bin\/busybox$/, busybox.file);
    const vmlinuz = fileOf(entries, /^boot\/vmlinuz-/, kernel.file);
    if (rootfs !== undefined) await makeRootfs(shelf, making, rootfs, { vmlinuz, shell, modules });
    return {
      files: {
        vmlinuz,
        'initramfs.cpio.gz': buildInitramfs(shell, modules),
      },
      config: (folder) => [
        `kernel = ${quoted(join(folder, 'vmlinuz'))}`,
        `ramdisk = ${quoted(join(folder, 'initramfs.cpio.gz'))}`,
        '# xen_legacy_crash: a panic is reported to the hypervisor as a crash, at once.',
        'extra = "console=hvc0 earlyprintk=xen xen_legacy_crash"',
        ...(rootfs === undefined
          ? []
          : [`disk = [${quoted(`format=raw,vdev=xvda,access=rw,target=${join(folder, rootfsFile)}`)}]`]),
        'memory = 256',
        'vcpus = 1',
        'on_poweroff = "destroy"',
        'on_reboot = "restart"',
        'on_crash = "destroy"',
      ],
    };
  },
  async grub(shelf, { version }) {
    const grub = await shelf.get({ name: 'grub-xen-host', ...(version === undefined ? {} : { version }) });
    const entries = grub.entries();
    const image = (cpu: string): Uint8Array =>
      fileOf(entries, new RegExp(`^usr/lib/grub-xen/grub-${cpu}-xen\\.bin$`), grub.file);
    return {
      files: { 'grub.bin': image('x86_64'), 'grub-pv32.bin': image('i386') },
      config: (folder) => smallGuest(join(folder, 'grub.bin')),
      others: { 'grub-pv32': (folder) => smallGuest(join(folder, 'grub-pv32.bin')) },
    };
  },
  async gnumach(shelf, { version }) {
    const request = { name: 'gnumach-image-1.8-xen-486', architecture: 'i386' } as const;
    const mach = await shelf.get({ ...request, ...(version === undefined ? {} : { version }) });
    const packed = fileOf(mach.entries(), /^boot\/gnumach-[^/]*-xen-[^/]*\.gz$/, mach.file);
    return {
      files: { 'gnumach.bin': unpack(packed, mach.file) },
      config: (folder) => [...smallGuest(join(folder, 'gnumach.bin')), 'extra = "root=device:hd0 console=hvc0"'],
    };
  },
};

function smallGuest(kernel: string): string[] {
  return [
    `kernel = ${quoted(kernel)}`,
    'memory = 64',
    'vcpus = 1',
    'on_poweroff = "destroy"',
    'on_reboot = "destroy"',
    'on_crash = "destroy"',
  ];
}

async function makeRootfs(
  shelf: Shelf,
  { source, progress, folder }: Making,
  rootfs: RootfsMaker,
  kernel: { vmlinuz: Uint8Array; shell: Uint8Array; modules: ReturnType<typeof modulesInOrder> },
): Promise<void> {
  const packages = await fetchSystem(source, progress);
  for (const { name, version, architecture, file, bytes } of packages) {
    shelf.remember({ name, version, architecture, ...lockedFile(file, bytes) });
  }
  await rootfs({
    kernel: kernel.vmlinuz,
    ramdisk: buildBootstrap(kernel.shell, kernel.modules, packages),
    archive: buildArchive(packages, progress),
    file: join(folder, rootfsFile),
    packages: packages.length,
  });
}

function fileOf(entries: readonly TarEntry[], path: RegExp, packageFile: string): Uint8Array {
  const found = entries.find((entry) => entry.kind === 'file' && path.test(entry.path));
  if (found !== undefined) return found.content;
  throw new ParavaneError('package-unusable', `${packageFile} holds no file ${path.source}: try another --version`, {
    data: { file: packageFile },
  });
}

/** A string of xl.cfg(5). */
const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;
