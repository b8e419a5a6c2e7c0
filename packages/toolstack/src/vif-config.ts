/**
 * Network specifications, as xl-network-configuration(5) and libxlu's parser have them: `key=value` pairs separated by
 * commas; the empty text is an interface with every default.
 */
export interface VifConfig {
  /** Lower case, "00:16:3e:…"; undefined where it is to be made up. */
  readonly mac?: string;
  /** The network that the interface is in; each name is a network of its own. */
  readonly bridge?: string;
  /** The addresses that it is to have: the first is the one that DHCP gives, if it is of the network's. */
  readonly ip?: string;
  readonly script?: string;
  readonly vifname?: string;
  /** The index of the device; undefined for the next that is free. */
  readonly devid?: number;
  readonly mtu?: number;
  /** Of what the guest sends. */
  readonly rate?: VifRate;
  /** Whether the guest is told to keep its memory from the back end. */
  readonly untrusted?: boolean;
}

/** So many bytes in each interval. */
export interface VifRate {
  readonly bytes: number;
  /** Microseconds. */
  readonly interval: number;
}

export interface ReadVif {
  /** Absent where there are errors. */
  readonly vif?: VifConfig;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

const mostDevid = 255;
const mtus = { least: 68, most: 65535 } as const;

const withoutEffect: Readonly<Record<string, string>> = {
  script: 'nothing of the host is set up for an interface',
  gatewaydev: 'there is no device of the host behind the network',
  netdev: 'there is no device of the host behind the network',
  accel: 'there is no accelerator',
  model: 'there are no emulated devices',
};

/** "00:16:3e:01:02:03" in lower case; undefined where the text is no address of one station. */
export function normalMac(text: string): string | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  const mac = text.toLowerCase().replaceAll('-', ':');
  return Number.parseInt(mac.slice(0, 2), 16) & 1 ? undefined : mac;
}

const rateUnits: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9 };
const intervalUnits: Readonly<Record<string, number>> = { '': 1, us: 1, ms: 1e3, s: 1e6 };
const mostOfRate = 2 ** 32 - 1;
const defaultInterval = 50_000;

/** "10Mb/s" or "1MB/s@20ms"; undefined where it is no rate, or one without a byte in an interval. */
export function readRate(text: string): VifRate | undefined {
  const [, amount, unit = '', what, every, everyUnit = ''] =
    /^(\d{1,10})([GMK]?)([Bb])\/s(?:@(\d{1,10})(us|ms|s)?)?$/.exec(text) ?? [];
  if (amount === undefined) return undefined;
  const perSecond = (Number(amount) * (rateUnits[unit] as number)) / (what === 'b' ? 8 : 1);
  const interval = every === undefined ? defaultInterval : Number(every) * (intervalUnits[everyUnit] as number);
  const bytes = Math.floor((perSecond * interval) / 1e6);
  if (perSecond > mostOfRate || interval > mostOfRate || bytes < 1 || bytes > mostOfRate) return undefined;
  return { bytes, interval };
}

export function readVif(text: string): ReadVif {
  const errors: string[] = [];
  const warnings: string[] = [];
  const found: { -readonly [Key in keyof VifConfig]: VifConfig[Key] } = {};

  function readNumber(key: string, value: string, range: { least: number; most: number }): number | undefined {
    const number = /^\d{1,6}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= range.least && number <= range.most) return number;
    errors.push(`${key} is ${range.least} to ${range.most}, not "${value}"`);
    return undefined;
  }

  function readType(value: string): void {
    if (value === 'ioemu') warnings.push('"type=ioemu" makes a PV interface only: there are no emulated devices');
    else if (value !== 'vif') errors.push(`type is vif or ioemu, not "${value}"`);
  }

  function readTrust(key: 'trusted' | 'untrusted', value: string): void {
    if (!/^[01]?$/.test(value)) errors.push(`${key} is 0 or 1, not "${value}"`);
    else if ((key === 'untrusted') !== (value === '0')) found.untrusted = true;
    else delete found.untrusted;
  }

  function readKey(key: string, value: string): void {
    if (key === 'mac') {
      const mac = normalMac(value);
      if (mac === undefined) errors.push(`"${value}" is no address of an interface: write it as in 00:16:3e:01:02:03`);
      else found.mac = mac;
    } else if (key === 'bridge' || key === 'ip' || key === 'vifname') {
      found[key] = value;
    } else if (key === 'devid') {
      const devid = readNumber(key, value, { least: 0, most: mostDevid });
      if (devid !== undefined) found.devid = devid;
    } else if (key === 'mtu') {
      const mtu = readNumber(key, value, mtus);
      if (mtu !== undefined) found.mtu = mtu;
    } else if (key === 'rate') {
      const rate = readRate(value);
      if (rate !== undefined) found.rate = rate;
      else errors.push(`"${value}" is no rate: write it as in 10Mb/s, 250KB/s or 1MB/s@20ms`);
    } else if (key === 'trusted' || key === 'untrusted') {
      readTrust(key, value);
    } else if (key === 'type') {
      readType(value);
    } else if (key === 'backend') {
      if (value !== '0' && value !== 'Domain-0') {
        errors.push(`back ends in other domains ("${value}") are not supported: leave backend= out`);
      }
    } else if (Object.hasOwn(withoutEffect, key)) {
      if (key === 'script') found.script = value;
      warnings.push(`"${key}" has no effect: ${withoutEffect[key]}`);
    } else {
      errors.push(
        `unknown parameter "${key}": parameters are mac, bridge, ip, vifname, devid, mtu, rate, type, trusted, untrusted`,
      );
    }
  }

  for (const part of text.split(',').map((piece) => piece.trim())) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    if (part === 'trusted' || part === 'untrusted') readKey(part, '');
    else if (equals < 0) errors.push(`"${part}" is no parameter: write key=value, such as mac=00:16:3e:01:02:03`);
    else readKey(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  return { ...(errors.length === 0 && { vif: found }), errors, warnings };
}
