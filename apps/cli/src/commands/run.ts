/** `paravane run`: boots what xl configuration files, or the names of pulled guests, say. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { dataFolder, guestConfigFile, guestNames, hostTime, pulledBy, readWhole } from '@paravane/host-node';
import {
  type BootDisk,
  type Conductor,
  type ConfigOverrides,
  createConductor,
  type DomainConfig,
  formatDiagnostic,
  readDomainConfig,
} from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { boot, type Guest } from '../boot.js';
import { type OpenChannel, openChannels } from '../channels.js';
import { type CliContext, carryOut, say } from '../context.js';
import { closeDisks, openDisks } from '../disks.js';
import { exitStatus } from '../exit-status.js';
import type { MachineFlags } from '../machine-flags.js';
import { checkIp, type NetworkFlags, openNetwork, type RunNetwork } from '../network.js';
import { withRecording } from '../recording.js';

export interface RunFlags extends MachineFlags, NetworkFlags {
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly cmdline?: string;
  readonly disk?: readonly string[];
  readonly vif?: readonly string[];
}

export default async function run(this: CliContext, given: RunFlags, ...whats: string[]): Promise<void> {
  await carryOut(this, async () => {
    const flags = withRecording(given);
    const read = (whats.length === 0 ? [undefined] : whats).map((what) => readConfig(this, flags, what));
    const sources = read.flatMap(({ config, folder }) => (config === undefined ? [] : [{ config, folder }]));
    if (sources.length < read.length) return exitStatus.badInput;
    const configs = sources.map(({ config }) => config);
    checkNames(configs);
    const files = sources.map(({ config, folder }) => readFiles(config, folder, flags));
    const disks: (readonly BootDisk[])[] = [];
    const channels: (readonly OpenChannel[])[] = [];
    let network: RunNetwork | undefined;
    const conductor = conductorOf(configs, flags, () => network?.waitsForHost === true);
    try {
      for (const { config, folder } of sources) {
        disks.push(await openDisks(config.disks ?? [], (target) => located(target, undefined, folder)));
      }
      for (const { name, channels: wanted = [] } of configs) {
        const opened = await openChannels(wanted);
        channels.push(opened);
        for (const { name: channel = 'a channel', tty } of opened)
          if (tty) say(this, `${channel} of "${name}" is ${tty}`);
      }
      network = await openNetwork(configs, flags, conductor && { clock: conductor.clock, seed: flags.seed ?? 0n });
      const vifs = network.vifs;
      const guests = files.map((file, at) => ({
        ...file,
        disks: disks[at] ?? [],
        vifs: vifs[at] ?? [],
        channels: channels[at] ?? [],
      }));
      return await boot(this, guests, flags, conductor);
    } finally {
      network?.close();
      for (const channel of channels.flat()) channel.close();
      for (const opened of disks) await closeDisks(opened);
    }
  });
}

function checkNames(configs: readonly DomainConfig[]): void {
  const names = configs.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) < at);
  if (twice === undefined) return;
  throw new ParavaneError('bad-argument', `two guests are called "${twice}": give each a name of its own`);
}

/** Guests in virtual time have it in common with each other and with their network. */
function conductorOf(configs: readonly DomainConfig[], flags: RunFlags, paced: () => boolean): Conductor | undefined {
  const alone = configs.length === 1 && (configs[0]?.vifs ?? []).length === 0;
  return flags.clock === 'virtual' && !alone ? createConductor({ time: hostTime, paced }) : undefined;
}

function readFiles(
  config: DomainConfig,
  folder: string,
  flags: RunFlags,
): Pick<Guest, 'config' | 'kernel' | 'ramdisk'> {
  const kernel = readWhole(located(config.kernel, flags.kernel, folder), 'the kernel');
  if (config.ramdisk === undefined) return { config, kernel };
  return { config, kernel, ramdisk: readWhole(located(config.ramdisk, flags.ramdisk, folder), 'the ramdisk') };
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
  if (!/^[A-Za-z0-9_.+-]+$/.test(what)) return what;
  const home = dataFolder(context.process.env);
  const file = guestConfigFile(home, what);
  if (existsSync(file)) return file;
  const name = Object.hasOwn(pulledBy, what) ? pulledBy[what] : undefined;
  if (name !== undefined) {
    throw new ParavaneError('guest-missing', `"${what}" has not been pulled yet: run paravane pull ${name}`, {
      data: { file },
    });
  }
  if (existsSync(what)) return what;
  const pulled = Object.keys(pulledBy).filter((guest) => existsSync(guestConfigFile(home, guest)));
  const fetching = guestNames.map((guest) => `paravane pull ${guest}`).join(', ');
  throw new ParavaneError(
    'guest-missing',
    `cannot read the configuration ${what}: there is no such file, nor a pulled guest of this name. Pulled already: ${pulled.join(', ') || 'none'}. To fetch one: ${fetching}`,
  );
}

/** xl takes file names from where it is started; beside the configuration is where they are looked for next. */
function located(file: string, fromCommandLine: string | undefined, folder: string): string {
  if (fromCommandLine !== undefined || isAbsolute(file) || existsSync(file)) return file;
  const beside = join(folder, file);
  return existsSync(beside) ? beside : file;
}

function overridesOf({ kernel, ramdisk, cmdline, memory, vcpus, disk, vif, tap }: RunFlags): ConfigOverrides {
  return {
    ...(kernel === undefined ? {} : { kernel }),
    ...(ramdisk === undefined ? {} : { ramdisk }),
    ...(cmdline === undefined ? {} : { cmdline }),
    ...(memory === undefined ? {} : { memory }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(disk === undefined ? {} : { disks: disk }),
    ...(vif === undefined ? {} : { vifs: vif }),
    checkIp: (ip) => checkIp(ip, tap !== undefined),
  };
}
