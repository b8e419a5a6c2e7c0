/** The command line: its commands, their flags and their help. */
import { guestNames, pulledBy } from '@paravane/host-node';
import { buildApplication, buildCommand, buildRouteMap, run } from '@stricli/core';
import type { PullFlags } from './commands/pull.js';
import type { RunFlags } from './commands/run.js';
import type { StartFlags } from './commands/start.js';
import type { CliContext } from './context.js';
import { controlRoutes } from './control-app.js';
import { exitStatus } from './exit-status.js';
import { imageRoutes } from './image-app.js';
import { fileName, machineFlags } from './machine-flags.js';
import { networkFlags } from './network-flags.js';
import { ownVersion } from './version.js';

const statuses = `Exit status: 0 the guest shut itself down, 1 failure on the host, 2 bad configuration or arguments,
  3 the guest crashed, 4 --timeout passed, 130 interrupted. With several guests, the first of 1, 2, 3, 4, 130, 0 that
  holds for any of them.`;

const consoleHelp = `The terminal is the guest's console: every key goes to the guest, but for the escape key (Ctrl-]).
Standard input that is not a terminal is fed to the console.`;

const severalHelp = `Several guests are on one network and share the processor evenly. The terminal shows one of them: the escape key
and a number shows another, and n the next, q ends all. Where output is no terminal, each line begins with its guest's
name, and input goes to the first. In the file names of --console-log and --trace, %n stands for the guest's name.`;

const runCommand = buildCommand<RunFlags, string[], CliContext>({
  loader: async () => (await import('./commands/run.js')).default,
  parameters: {
    flags: {
      kernel: { kind: 'parsed', parse: fileName, optional: true, placeholder: 'FILE', brief: 'The kernel image' },
      ramdisk: { kind: 'parsed', parse: fileName, optional: true, placeholder: 'FILE', brief: 'The initial ramdisk' },
      cmdline: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'TEXT',
        brief: "The kernel's command line",
      },
      disk: {
        kind: 'parsed',
        parse: String,
        variadic: true,
        optional: true,
        placeholder: 'SPEC',
        brief:
          "A further disk, or one in place of the configuration's with the same vdev, as xl writes it: FILE,qcow2,xvda,rw or format=raw,vdev=xvda,access=rw,target=FILE",
      },
      ...networkFlags,
      ...machineFlags,
    },
    positional: {
      kind: 'array',
      parameter: {
        brief: `An xl configuration file, or a pulled guest: ${Object.keys(pulledBy).join(', ')}`,
        parse: String,
        placeholder: 'CONFIG|NAME',
      },
    },
  },
  docs: {
    brief: 'Boot guests from xl configuration files, or pulled ones by name',
    fullDescription: `Boots guests as xl configuration files say. Flags override their keys.\n${consoleHelp}\n${severalHelp}\n\n${statuses}`,
  },
});

const startCommand = buildCommand<StartFlags, [], CliContext>({
  loader: async () => (await import('./commands/start.js')).default,
  parameters: {
    flags: {
      pv32: {
        kind: 'boolean',
        optional: true,
        withNegated: false,
        brief: 'Boot it as a 32-bit kernel (PAE, in ring 1)',
      },
      ...machineFlags,
    },
    positional: { kind: 'tuple', parameters: [] },
  },
  docs: {
    brief: 'Boot our own small guest kernel, with a console to type into',
    fullDescription: `Boots the small guest kernel that comes with Paravane. Type help at its prompt.\n${consoleHelp}\n\n${statuses}`,
  },
});

const pullCommand = buildCommand<PullFlags, [(typeof guestNames)[number]], CliContext>({
  loader: async () => (await import('./commands/pull.js')).default,
  parameters: {
    flags: {
      suite: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'NAME',
        brief: 'The Debian suite, such as bookworm',
      },
      mirror: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'URL',
        brief: 'Fetch from this Debian mirror, without apt',
      },
      from: {
        kind: 'parsed',
        parse: fileName,
        optional: true,
        placeholder: 'DIR',
        brief: 'Take .deb files from this folder',
      },
      version: {
        kind: 'parsed',
        parse: String,
        optional: true,
        placeholder: 'VERSION',
        brief: "Exactly this version of the guest's package",
      },
      rootfs: {
        kind: 'boolean',
        optional: true,
        withNegated: false,
        brief: 'Also make a disk with a minimal Debian system (debian only)',
      },
    },
    positional: {
      kind: 'tuple',
      parameters: [{ brief: `The guest: ${guestNames.join(' or ')}`, parse: guestName, placeholder: 'NAME' }],
    },
  },
  docs: {
    brief: 'Fetch a guest from Debian packages, by name',
    fullDescription: `Fetches packages and makes a guest of them, ready for paravane run NAME:
  debian  the cloud kernel (linux-image-cloud-amd64) and a busybox initramfs that ends in a shell
  grub    GRUB's images for Xen PV (grub-xen-host), 64-bit and, by the name grub-pv32, 32-bit
  gnumach GNU Mach for Xen PV, 32-bit (gnumach-image-1.8-xen-486 for i386, from sid)
Without --mirror or --from, the system's apt-get downloads them, in private folders and without root.
--rootfs makes root.img as well, an ext4 file system of 2 GB that takes only the space it uses, and names it as the
guest's disk: a minimal Debian with systemd, where root logs in without a password. No root is needed: a guest makes it.
What was fetched, with checksums, is recorded in lock.json beside it.
All of it goes to PARAVANE_HOME, or to paravane in the user's data folder (~/.local/share).`,
  },
});

const application = buildApplication(
  buildRouteMap({
    routes: { start: startCommand, run: runCommand, pull: pullCommand, image: imageRoutes, ...controlRoutes },
    docs: {
      brief: 'Paravane: a paravirtualizing x86 hypervisor. Boots Xen PV guests.',
      fullDescription: `Paravane: a paravirtualizing x86 hypervisor. Boots Xen PV guests.\n\n${statuses}`,
    },
  }),
  {
    name: 'paravane',
    versionInfo: { currentVersion: ownVersion() },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    documentation: { disableAnsiColor: true },
  },
);

/** Runs the command line; afterwards `context.process.exitCode` is one of the documented statuses. */
export async function runApp(inputs: readonly string[], context: CliContext): Promise<void> {
  await run(application, inputs.length === 0 ? ['--help'] : inputs, context);
  // The library's own statuses for what it cannot parse are negative.
  if (Number(context.process.exitCode) < 0) context.process.exitCode = exitStatus.badInput;
}

function guestName(text: string): (typeof guestNames)[number] {
  const found = guestNames.find((name) => name === text);
  if (found === undefined) throw new SyntaxError(`it is one of ${guestNames.join(', ')}`);
  return found;
}
