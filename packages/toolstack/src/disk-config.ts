/**
 * Disk specifications, as xl-disk-configuration(5) and libxlu's scanner have them: parameters separated by commas, each
 * a `key=value`, a flag, or one of the positions target, format, vdev, access in this order. `target=` takes all that
 * follows it, commas included. `snapshot` is ours: what the guest writes is forgotten at its end.
 */
import { parseVdev, type VirtualDevice } from './vdev.js';

export type DiskFormat = 'raw' | 'qcow2';

export interface DiskConfig {
  /** The image's file name as written; undefined for a CD-ROM drive without a medium. */
  readonly target?: string;
  readonly format: DiskFormat;
  readonly vdev: VirtualDevice;
  readonly readOnly: boolean;
  readonly cdrom: boolean;
  /** Whether the guest is offered discard. */
  readonly discard: boolean;
  /** The image stays as it is. */
  readonly snapshot: boolean;
}

export interface ReadDisk {
  /** Absent where there are errors. */
  readonly disk?: DiskConfig;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

const formats: Readonly<Record<string, DiskFormat | 'later'>> = {
  raw: 'raw',
  aio: 'raw',
  qcow2: 'qcow2',
  qcow: 'later',
  vhd: 'later',
  qed: 'later',
  empty: 'raw',
};
const accesses: Readonly<Record<string, boolean>> = { r: true, ro: true, w: false, rw: false };

/** Prefixes of targets from xend's times: which format they mean. */
const prefixes: Readonly<Record<string, string>> = {
  raw: 'raw',
  qcow: 'qcow',
  qcow2: 'qcow2',
  vhd: 'vhd',
  phy: '',
  file: '',
  tap: '',
  tap2: '',
  aio: '',
  tapdisk: '',
  ioemu: '',
};

/** Keys that libxl has and that have no effect here, with what they are about. */
const withoutEffect: Readonly<Record<string, string>> = {
  backendtype: 'there is one back end',
  'direct-io-safe': 'the host file is read and written as it is',
  trusted: 'the front end decides whom it trusts',
  untrusted: 'the front end decides whom it trusts',
  'no-colo': '',
  'direct-io': 'the host file is read and written as it is',
};

export function readDisk(text: string): ReadDisk {
  const reader = new DiskReader();
  reader.readAll(text);
  const disk = reader.finish();
  return { ...(disk === undefined ? {} : { disk }), errors: reader.errors, warnings: reader.warnings };
}

class DiskReader {
  readonly errors: string[] = [];
  readonly warnings: string[] = [];
  private target: string | undefined;
  private format: string | undefined;
  private vdev: string | undefined;
  private access: string | undefined;
  private cdrom = false;
  private discard = true;
  private snapshot = false;

  readAll(text: string): void {
    let rest = text.trim();
    while (rest !== '') {
      if (rest.startsWith('target=')) {
        this.setTarget(rest.slice('target='.length));
        return;
      }
      // A target with one of the old prefixes takes all that follows only where it is a path.
      const comma = rest.indexOf(',');
      const part = comma < 0 ? rest : rest.slice(0, comma);
      rest = comma < 0 ? '' : rest.slice(comma + 1).trimStart();
      this.readPart(part.trim());
    }
  }

  private readPart(part: string): void {
    const equals = part.indexOf('=');
    // A path may hold an equals sign where it is the first of the positions.
    if (equals < 0 || !/^[a-z][a-z0-9-]*$/.test(part.slice(0, equals))) this.readWord(part);
    else this.readKey(part.slice(0, equals), part.slice(equals + 1));
  }

  private readKey(key: string, value: string): void {
    switch (key) {
      case 'format':
        this.format = value;
        return;
      case 'vdev':
        this.setVdev(value);
        return;
      case 'access':
        this.access = value;
        return;
      case 'devtype':
        if (value === 'cdrom' || value === 'disk') this.cdrom = value === 'cdrom';
        else this.errors.push(`devtype is disk or cdrom, not "${value}"`);
        return;
      case 'backend':
        if (value !== '0' && value !== 'Domain-0') {
          this.errors.push(`back ends in other domains ("${value}") are not supported: leave backend= out`);
        }
        return;
      case 'specification':
        if (value !== 'xen') this.errors.push(`specification "${value}" is not supported: only xen is`);
        return;
      case 'script':
        this.errors.push('block scripts are not supported: name the image itself as the target');
        return;
      default:
        if (key in withoutEffect) this.warnings.push(`"${key}" has no effect: ${withoutEffect[key]}`);
        else this.errors.push(`unknown parameter "${key}"`);
    }
  }

  private readWord(word: string): void {
    switch (word) {
      case 'cdrom':
        this.cdrom = true;
        return;
      case 'discard':
      case 'no-discard':
        this.discard = word === 'discard';
        return;
      case 'snapshot':
        this.snapshot = true;
        return;
    }
    if (Object.hasOwn(withoutEffect, word)) {
      if (withoutEffect[word] !== '') this.warnings.push(`"${word}" has no effect: ${withoutEffect[word]}`);
    } else if (/^colo(-|$)/.test(word)) {
      this.errors.push(`"${word}" is not supported: there is no COLO`);
    } else if (this.target === undefined) this.setTarget(word);
    else if (this.format === undefined) this.format = word;
    else if (this.vdev === undefined) this.setVdev(word);
    else if (this.access === undefined) this.access = word;
    else this.errors.push(`"${word}" is one position too many after target, format, vdev and access`);
  }

  private setTarget(text: string): void {
    const [, prefix, path] = /^([a-z][a-z0-9]*):(.*)$/.exec(text) ?? [];
    if (prefix === undefined || path === undefined || !Object.hasOwn(prefixes, prefix)) {
      this.target = text;
      return;
    }
    this.warnings.push(`the prefix "${prefix}:" is deprecated: write format= and target=`);
    if (prefixes[prefix] !== '') this.format = prefixes[prefix];
    // In their positions there was no format between target and vdev.
    else this.format ??= '';
    this.setTarget(path);
  }

  private setVdev(text: string): void {
    const [, name, type] = /^(.*):(cdrom|disk)$/.exec(text) ?? [];
    this.vdev = name ?? text;
    if (type === undefined) return;
    this.warnings.push(`":${type}" after the device's name is deprecated: write devtype=${type}`);
    this.cdrom = type === 'cdrom';
  }

  finish(): DiskConfig | undefined {
    const { errors, cdrom, discard, snapshot } = this;
    const target = this.target === undefined || this.target === '' ? undefined : this.target;
    const formatName = this.format === undefined || this.format === '' ? 'raw' : this.format;
    const format = Object.hasOwn(formats, formatName) ? formats[formatName] : undefined;
    if (format === undefined) errors.push(`unknown format "${formatName}": it is raw or qcow2`);
    else if (format === 'later')
      errors.push(`format "${formatName}" is not supported: convert the image to raw or qcow2`);
    if (target === undefined && !cdrom) errors.push('the disk has no target: name its image with target=FILE');
    const vdev = this.vdev === undefined || this.vdev === '' ? undefined : parseVdev(this.vdev);
    if (vdev === undefined) {
      errors.push(
        this.vdev === undefined || this.vdev === ''
          ? 'the disk has no vdev: say how the guest calls it, such as vdev=xvda'
          : `"${this.vdev}" is no vdev: it is a name such as xvda, hdc, sdb1 or d1p2, or a device number`,
      );
    }
    const access = this.access === undefined || this.access === '' ? (cdrom ? 'r' : 'rw') : this.access;
    if (!Object.hasOwn(accesses, access)) errors.push(`access is r, ro, w or rw, not "${access}"`);
    if (cdrom && accesses[access] === false) errors.push('a CD-ROM cannot be written: its access is r');
    if (errors.length > 0 || vdev === undefined || format === undefined || format === 'later') return undefined;
    return {
      ...(target === undefined ? {} : { target }),
      format,
      vdev,
      readOnly: accesses[access] === true,
      cdrom,
      discard,
      snapshot,
    };
  }
}
