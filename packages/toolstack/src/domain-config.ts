/**
 * What an xl configuration file asks for, checked and normalised: from settings to a `DomainConfig`, by the rules of
 * xl.cfg(5) and of xl's own reading of it (defaults, the precedence of cmdline over root and extra).
 */
import { type ChannelConfig, readChannel } from './channel-config.js';
import { readCpuid } from './cpuid-config.js';
import { type DiskConfig, readDisk } from './disk-config.js';
import { readVif, type VifConfig } from './vif-config.js';
import { laterKeys, supportedKeys } from './xl-keys.js';
import {
  type Diagnostic,
  type ParsedConfig,
  type Position,
  parseNumber,
  parseXlConfig,
  type Setting,
  type Value,
} from './xl-syntax.js';

/** What the toolstack does when a domain has ended. */
export type EndAction = 'destroy' | 'restart' | 'preserve';

export interface DomainConfig {
  readonly name: string;
  readonly type: 'pv';
  /** The kernel image's file name, as written. */
  readonly kernel: string;
  readonly ramdisk?: string;
  readonly cmdline: string;
  /** MiB. */
  readonly memory: number;
  /** MiB; at least `memory`. */
  readonly maxmem: number;
  readonly vcpus: number;
  /** Its part of the processor beside other guests; 256 where left out. */
  readonly cpuWeight?: number;
  /** Percent of one processor that it gets at most; no limit where left out. */
  readonly cap?: number;
  /** CPU features that CPUID does not show, by xl's names. */
  readonly hiddenFeatures?: readonly string[];
  readonly onPoweroff: EndAction;
  readonly onReboot: EndAction;
  readonly onCrash: EndAction;
  /** In order; no two are the same device. */
  readonly disks?: readonly DiskConfig[];
  /** In order; no two have the same address or index. */
  readonly vifs?: readonly VifConfig[];
  /** Further consoles. */
  readonly channels?: readonly ChannelConfig[];
}

/** What the command line puts in place of the file's settings. */
export interface ConfigOverrides {
  readonly kernel?: string;
  readonly ramdisk?: string;
  readonly cmdline?: string;
  /** MiB. */
  readonly memory?: number;
  readonly vcpus?: number;
  /** Disk specifications: each in place of the file's with the same device, else in addition. */
  readonly disks?: readonly string[];
  /** Network specifications, in addition to those of the file. */
  readonly vifs?: readonly string[];
  /** What the network that there will be says of a vif's `ip`; undefined for nothing. */
  checkIp?(ip: string): Pick<Diagnostic, 'severity' | 'message'> | undefined;
}

export interface ReadConfig {
  /** Absent where there is an error among the diagnostics. */
  readonly config?: DomainConfig;
  readonly diagnostics: readonly Diagnostic[];
}

export const limits = {
  /** MiB. All guests together stay under 4 GiB. */
  memory: { least: 4, most: 3968 },
  vcpus: { least: 1, most: 32 },
  cpuWeight: { least: 1, most: 65535 },
  /** The vCPUs of a guest take turns on one processor. */
  cap: { least: 0, most: 100 },
  nameLength: 63,
  cmdlineLength: 1023,
} as const;

const defaults = { memory: 128, vcpus: 1, onPoweroff: 'destroy', onReboot: 'restart', onCrash: 'destroy' } as const;

const endActions: Readonly<Record<string, { action: EndAction; later?: string }>> = {
  destroy: { action: 'destroy' },
  restart: { action: 'restart' },
  preserve: { action: 'preserve' },
  'rename-restart': { action: 'restart', later: 'the domain restarts under its own name' },
  'coredump-destroy': { action: 'destroy', later: 'no core is written' },
  'coredump-restart': { action: 'restart', later: 'no core is written' },
  'soft-reset': { action: 'restart', later: 'the domain restarts from its kernel' },
};

/** Reads the text of a configuration file. Never throws: what is wrong is among the diagnostics, in order of lines. */
export function readDomainConfig(text: string, overrides: ConfigOverrides = {}): ReadConfig {
  const parsed = parseXlConfig(text);
  const reader = new ConfigReader(parsed);
  const config = reader.read(overrides);
  const diagnostics = [...parsed.diagnostics, ...reader.diagnostics].sort(
    (a, b) => a.line - b.line || a.column - b.column,
  );
  return diagnostics.some(({ severity }) => severity === 'error') ? { diagnostics } : { config, diagnostics };
}

/**
 * `file:line:column: severity: message`, as compilers write it; without the place where it is about the command line.
 * What the file holds is quoted in messages, and goes to terminals: control characters are shown as escapes.
 */
export function formatDiagnostic(file: string, { line, column, severity, message }: Diagnostic): string {
  const quoted = message.replace(
    /\p{Cc}/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return line === commandLine.line ? `${severity}: ${quoted}` : `${file}:${line}:${column}: ${severity}: ${quoted}`;
}

/** Where what a flag says is complained about: in no line of the file. */
const commandLine: Position = { line: 0, column: 0 };

const isSameDevice = (one: DiskConfig, other: DiskConfig): boolean => one.vdev.number === other.vdev.number;

class ConfigReader {
  readonly diagnostics: Diagnostic[] = [];
  private readonly settings: ReadonlyMap<string, Setting>;
  /** A line that could not be read may hold any key. */
  private readonly unread: boolean;
  /** Where a key that is missing altogether is complained about. */
  private readonly top = { line: 1, column: 1 };

  constructor(parsed: ParsedConfig) {
    this.settings = parsed.settings;
    this.unread = parsed.diagnostics.some(({ severity }) => severity === 'error');
  }

  read(overrides: ConfigOverrides): DomainConfig {
    this.checkKeys();
    const name = this.name();
    this.checkType();
    const memory = this.amount('memory', limits.memory, overrides.memory) ?? defaults.memory;
    const ramdisk = overrides.ramdisk ?? this.file('ramdisk');
    const disks = this.disks(overrides.disks ?? []);
    const vifs = this.vifs(overrides);
    const channels = this.channels();
    const cpuWeight = this.amount('cpu_weight', limits.cpuWeight);
    const cap = this.amount('cap', limits.cap);
    const hiddenFeatures = this.hiddenFeatures();
    return {
      name,
      type: 'pv',
      kernel: this.kernel(overrides),
      ...(ramdisk === undefined ? {} : { ramdisk }),
      cmdline: overrides.cmdline ?? this.cmdline(),
      memory,
      maxmem: this.maxmem(memory, overrides),
      vcpus: this.amount('vcpus', limits.vcpus, overrides.vcpus) ?? defaults.vcpus,
      ...(cpuWeight === undefined ? {} : { cpuWeight }),
      ...(cap === undefined || cap === 0 ? {} : { cap }),
      ...(hiddenFeatures.length === 0 ? {} : { hiddenFeatures }),
      onPoweroff: this.endAction('on_poweroff', defaults.onPoweroff),
      onReboot: this.endAction('on_reboot', defaults.onReboot),
      onCrash: this.endAction('on_crash', defaults.onCrash),
      ...(disks.length === 0 ? {} : { disks }),
      ...(vifs.length === 0 ? {} : { vifs }),
      ...(channels.length === 0 ? {} : { channels }),
    };
  }

  private error(at: Position, message: string): void {
    this.diagnostics.push({ severity: 'error', message, line: at.line, column: at.column });
  }

  private missing(message: string): void {
    if (!this.unread) this.error(this.top, message);
  }

  private warn(at: Position, message: string): void {
    this.diagnostics.push({ severity: 'warning', message, line: at.line, column: at.column });
  }

  private checkKeys(): void {
    for (const { key, value, at } of this.settings.values()) {
      if (supportedKeys.has(key)) continue;
      if (value.kind === 'list' && value.items.length === 0) continue;
      if (laterKeys.has(key)) this.warn(at, `"${key}" is not supported yet and has no effect`);
      else this.warn(at, `unknown key "${key}"${suggestion(key)}; it has no effect`);
    }
  }

  /** The text of a key's string or number. */
  private text(key: string): { text: string; value: Value } | undefined {
    const setting = this.settings.get(key);
    if (setting === undefined) return undefined;
    const { value } = setting;
    if (value.kind === 'list') {
      this.error(value.at, `"${key}" takes a single value, not a list`);
      return undefined;
    }
    return { text: value.text, value };
  }

  private name(): string {
    if (!this.settings.has('name')) {
      this.missing('the domain has no name: add a line such as name = "guest"');
      return '';
    }
    const found = this.text('name');
    if (found === undefined) return '';
    if (!/^[A-Za-z0-9_.+-]+$/.test(found.text) || found.text.length > limits.nameLength) {
      const rule = `1 to ${limits.nameLength} letters, digits and the signs _ . + -`;
      this.error(found.value.at, `"${found.text}" cannot be a domain's name: use ${rule}`);
    }
    return found.text;
  }

  private checkType(): void {
    const type = this.text('type');
    const builder = this.text('builder');
    if (type !== undefined) {
      if (type.text === 'pvh' || type.text === 'hvm') {
        this.error(type.value.at, `type "${type.text}" is not supported yet: only "pv" is`);
      } else if (type.text !== 'pv') {
        this.error(type.value.at, `unknown type "${type.text}": only "pv" is supported`);
      }
    } else if (builder?.text === 'hvm') {
      this.error(builder.value.at, 'builder "hvm" is not supported yet: only PV domains are (type = "pv")');
    } else if (builder !== undefined && builder.text !== 'generic' && builder.text !== 'linux') {
      this.error(builder.value.at, `unknown builder "${builder.text}": write type = "pv" in its place`);
    }
  }

  private file(key: 'kernel' | 'ramdisk'): string | undefined {
    const found = this.text(key);
    if (found?.text === '') {
      this.error(found.value.at, `"${key}" is empty: give a file name or leave the line out`);
    }
    return found?.text;
  }

  private kernel(overrides: ConfigOverrides): string {
    const kernel = overrides.kernel ?? this.file('kernel');
    if (kernel !== undefined) return kernel;
    if (!this.settings.has('kernel')) {
      const loader = this.settings.get('bootloader');
      if (loader === undefined) {
        this.missing('there is no kernel: add a line such as kernel = "vmlinuz", or give --kernel FILE');
      } else {
        this.error(loader.at, 'booting by "bootloader" is not supported yet: name the kernel with kernel = "FILE"');
      }
    }
    return '';
  }

  private cmdline(): string {
    const [whole, root, extra] = [this.text('cmdline'), this.text('root'), this.text('extra')];
    if (whole !== undefined) {
      for (const [key, given] of [
        ['root', root],
        ['extra', extra],
      ] as const) {
        if (given !== undefined) this.warn(given.value.at, `"${key}" is ignored because "cmdline" is given`);
      }
    }
    const joined = [...(root === undefined ? [] : [`root=${root.text}`]), ...(extra === undefined ? [] : [extra.text])];
    const line = whole?.text ?? joined.join(' ');
    if (line.length > limits.cmdlineLength) {
      const at = (whole ?? extra ?? root)?.value.at ?? this.top;
      this.error(at, `the command line has ${line.length} characters; Xen's start info holds ${limits.cmdlineLength}`);
    }
    return line;
  }

  /** A whole number in a range; `override` comes checked from the command line. */
  private amount(key: string, range: { least: number; most: number }, override?: number): number | undefined {
    const found = this.text(key);
    if (override !== undefined || found === undefined) return override;
    const value = parseNumber(found.text);
    if (value === undefined) {
      this.error(found.value.at, `"${key}" takes a whole number, not "${found.text}"`);
    } else if (value < range.least || value > range.most) {
      this.error(found.value.at, `"${key}" is ${value}; it can be ${range.least} to ${range.most}`);
    }
    return value;
  }

  private hiddenFeatures(): readonly string[] {
    const setting = this.settings.get('cpuid');
    if (setting?.value.kind === 'list') {
      if (setting.value.items.length > 0)
        this.warn(setting.value.at, '"cpuid" is not supported by registers yet: write "host,feature=0,…"');
      return [];
    }
    const found = this.text('cpuid');
    if (found === undefined) return [];
    const { hidden, errors, warnings } = readCpuid(found.text);
    for (const message of errors) this.error(found.value.at, `"cpuid": ${message}`);
    for (const message of warnings) this.warn(found.value.at, `"cpuid": ${message}`);
    return hidden;
  }

  private disks(added: readonly string[]): DiskConfig[] {
    const setting = this.settings.get('disk');
    if (setting !== undefined && setting.value.kind !== 'list') {
      this.error(setting.value.at, '"disk" takes a list of strings, such as disk = ["root.img,raw,xvda,rw"]');
    }
    const listed: DiskConfig[] = [];
    for (const item of setting?.value.kind === 'list' ? setting.value.items : []) {
      if (item.kind === 'list') this.error(item.at, 'a disk is a string, such as "root.img,raw,xvda,rw"');
      else this.addDisk(listed, item.text, item.at, `disk "${item.text}"`);
    }
    const given: DiskConfig[] = [];
    for (const text of added) this.addDisk(given, text, commandLine, `--disk ${text}`);
    return [...listed.filter((disk) => !given.some((other) => isSameDevice(disk, other))), ...given];
  }

  private addDisk(disks: DiskConfig[], text: string, at: Position, source: string): void {
    const { disk, errors, warnings } = readDisk(text);
    for (const message of errors) this.error(at, `${source}: ${message}`);
    for (const message of warnings) this.warn(at, `${source}: ${message}`);
    if (disk === undefined) return;
    const same = disks.find((other) => isSameDevice(disk, other));
    if (same === undefined) disks.push(disk);
    else {
      const names = `"${disk.vdev.name}" is the same device as "${same.vdev.name}"`;
      this.error(at, `${source}: ${names}: give each disk a vdev of its own`);
    }
  }

  private vifs({ vifs: added = [], checkIp }: ConfigOverrides): VifConfig[] {
    const vifs: VifConfig[] = [];
    const add = (text: string, at: Position, source: string): void => {
      const { vif, errors, warnings } = readVif(text);
      for (const message of errors) this.error(at, `${source}: ${message}`);
      for (const message of warnings) this.warn(at, `${source}: ${message}`);
      if (vif === undefined) return;
      const complaint = vif.ip === undefined ? undefined : checkIp?.(vif.ip);
      if (complaint !== undefined)
        this[complaint.severity === 'error' ? 'error' : 'warn'](at, `${source}: ${complaint.message}`);
      for (const key of ['mac', 'devid'] as const) {
        if (vif[key] !== undefined && vifs.some((other) => other[key] === vif[key])) {
          this.error(at, `${source}: another interface has ${key}=${vif[key]} already`);
        }
      }
      vifs.push(vif);
    };
    const setting = this.settings.get('vif');
    if (setting !== undefined && setting.value.kind !== 'list') {
      this.error(setting.value.at, '"vif" takes a list of strings, such as vif = ["mac=00:16:3e:01:02:03"]');
    }
    for (const item of setting?.value.kind === 'list' ? setting.value.items : []) {
      if (item.kind === 'list') this.error(item.at, 'an interface is a string, such as "mac=00:16:3e:01:02:03"');
      else add(item.text, item.at, `vif "${item.text}"`);
    }
    for (const text of added) add(text, commandLine, `--vif ${text}`);
    return vifs;
  }

  private channels(): ChannelConfig[] {
    const setting = this.settings.get('channel');
    if (setting !== undefined && setting.value.kind !== 'list') {
      this.error(setting.value.at, '"channel" takes a list of strings, such as channel = ["connection=pty"]');
    }
    const items = setting?.value.kind === 'list' ? setting.value.items : [];
    return items.flatMap((item) => {
      if (item.kind === 'list') {
        this.error(item.at, 'a channel is a string, such as "connection=pty"');
        return [];
      }
      const { channel, errors } = readChannel(item.text);
      for (const message of errors) this.error(item.at, `channel "${item.text}": ${message}`);
      return channel === undefined ? [] : [channel];
    });
  }

  private maxmem(memory: number, overrides: ConfigOverrides): number {
    const maxmem = this.amount('maxmem', limits.memory) ?? memory;
    const setting = this.settings.get('maxmem');
    if (maxmem >= memory) return maxmem;
    if (overrides.memory === undefined && setting !== undefined) {
      this.error(setting.value.at, `"maxmem" is ${maxmem}, less than "memory", which is ${memory}`);
    }
    return memory;
  }

  private endAction(key: string, otherwise: EndAction): EndAction {
    const found = this.text(key);
    if (found === undefined) return otherwise;
    const known = Object.hasOwn(endActions, found.text) ? endActions[found.text] : undefined;
    if (known === undefined) {
      this.error(
        found.value.at,
        `"${key}" cannot be "${found.text}"; it is one of ${Object.keys(endActions).join(', ')}`,
      );
      return otherwise;
    }
    if (known.later !== undefined) {
      this.warn(found.value.at, `"${found.text}" is not supported yet: ${known.later}`);
    }
    return known.action;
  }
}

function suggestion(key: string): string {
  for (const known of [...supportedKeys, ...laterKeys]) {
    if (isOneEditAway(key.toLowerCase(), known)) return ` (did you mean "${known}"?)`;
  }
  return '';
}

/** Whether one letter put in, left out or changed, or two neighbours swapped, makes one word the other. */
function isOneEditAway(one: string, other: string): boolean {
  if (Math.abs(one.length - other.length) > 1) return false;
  if (one === other) return true;
  let start = 0;
  while (start < one.length && one[start] === other[start]) start += 1;
  const [a, b] = [one.slice(start), other.slice(start)];
  return (
    a.slice(1) === b ||
    a === b.slice(1) ||
    a.slice(1) === b.slice(1) ||
    (a[0] === b[1] && a[1] === b[0] && a.slice(2) === b.slice(2))
  );
}
