/** `paravane run`: boots what an xl configuration file, or the name of a pulled guest, says. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { dataFolder, guestConfigFile, pulledBy, readWhole } from '@paravane/host-node';
import { type ConfigOverrides, type DomainConfig, formatDiagnostic, readDomainConfig } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { boot } from '../boot.js';
import { type CliContext, carryOut, say } from '../context.js';
import { closeDisks, openDisks } from '../disks.js';
import { exitStatus } from '../exit-status.js';
import type { MachineFlags } from '../machine-flags.js';
import { type NetworkFlags, openNetwork } from '../network.js';

export interface RunFlags extends MachineFlags, NetworkFlags {
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly cmdline?: string;
  readonly disk?: readonly string[];
  readonly vif?: readonly string[];
}

export default async function run(this: CliContext, flags: RunFlags, what?: string): Promise<void> {
  await carryOut(this, async () => {
    const { config, folder } = readConfig(this, flags, what);
    if (config === undefined) return exitStatus.badInput;
    const kernel = readWhole(located(config.kernel, flags.kernel, folder), 'the kernel');
    const ramdisk =
      config.ramdisk === undefined
        ? undefined
        : readWhole(located(config.ramdisk, flags.ramdisk, folder), 'the ramdisk');
    const disks = await openDisks(config.disks ?? [], (target) => located(target, undefined, folder));
    if (this.stdin.isTTY && flags.escape.byte !== undefined) {
      say(this, `booting "${config.name}" with ${config.memory} MiB; ${keyName(flags.escape.byte)} leaves`);
    }
    try {
      const network = await openNetwork(config, flags);
      const guest = { config, kernel, ...(ramdisk === undefined ? {} : { ramdisk }), disks, vifs: network.vifs };
      try {
        return await boot(this, guest, flags);
      } finally {
        network.close();
      }
    } finally {
      await closeDisks(disks);
    }
  });
}

function readConfig(
  context: CliContext,
  flags: RunFlags,
  what: string | undefined,
): { config: DomainConfig | undefined; folder: string } {
  const { file, text } = configText(context, flags, what);
  const { config, diagnostics } = readDomainConfig(text, overridesOf(flags));
  for (const diagnostic of diagnostics) context.process.stderr.write(`${formatDiagnostic(file, diagnostic)}\n`);
  return { config, folder: dirname(file) };
}

function configText(context: CliContext, flags: RunFlags, what: string | undefined): { file: string; text: string } {
  if (what === undefined) {
    if (flags.kernel === undefined) {
      throw new ParavaneError(
        'bad-argument',
        'say what to run: a configuration file, a pulled guest, or --kernel FILE',
      );
    }
    const name = basename(flags.kernel)
      .replace(/[^A-Za-z0-9_.+-]/g, '_')
      .slice(0, 63);
    return { file: 'command line', text: `name = "${name}"\n` };
  }
  const file = configFile(context, what);
  return { file, text: new TextDecoder().decode(readWhole(file, 'the configuration')) };
}

/** A file of this name, else the configuration of the pulled guest of this name. */
function configFile(context: CliContext, what: string): string {
  if (existsSync(what) && !statSync(what).isDirectory()) return what;
  if (/^[A-Za-z0-9_.+-]+$/.test(what)) {
    const pulled = guestConfigFile(dataFolder(context.process.env), what);
    if (existsSync(pulled)) return pulled;
    const name = Object.hasOwn(pulledBy, what) ? pulledBy[what] : undefined;
    if (name !== undefined) {
      throw new ParavaneError('guest-missing', `"${what}" has not been pulled yet: run paravane pull ${name}`, {
        data: { file: pulled },
      });
    }
  }
  return what;
}

/** xl takes file names from where it is started; beside the configuration is where they are looked for next. */
function located(file: string, fromCommandLine: string | undefined, folder: string): string {
  if (fromCommandLine !== undefined || isAbsolute(file) || existsSync(file)) return file;
  const beside = join(folder, file);
  return existsSync(beside) ? beside : file;
}

function overridesOf({ kernel, ramdisk, cmdline, memory, vcpus, disk, vif }: RunFlags): ConfigOverrides {
  return {
    ...(kernel === undefined ? {} : { kernel }),
    ...(ramdisk === undefined ? {} : { ramdisk }),
    ...(cmdline === undefined ? {} : { cmdline }),
    ...(memory === undefined ? {} : { memory }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(disk === undefined ? {} : { disks: disk }),
    ...(vif === undefined ? {} : { vifs: vif }),
  };
}

function keyName(byte: number): string {
  return byte < 32 ? `Ctrl-${String.fromCharCode(byte + 64)}` : String.fromCharCode(byte);
}
