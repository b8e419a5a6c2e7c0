/** The network of a run: a switch with the guests' interfaces, and a user-mode network behind it. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileCause, hostNet, hostNetworkClock, openTap } from '@paravane/host-node';
import type { Link } from '@paravane/link-api';
import {
  type Capture,
  canBeLeased,
  createCapture,
  createSwitch,
  createUserNetwork,
  type Forward,
  guestAddresses,
  joinLinks,
  type NetworkClock,
  parseIpAddress,
  parsePublish,
  type Station,
  type Switch,
  tapLink,
  type UserNetwork,
} from '@paravane/network';
import type { BootVif, ConfigOverrides, DomainConfig, VifConfig } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { virtualEpoch } from './boot.js';

export interface NetworkFlags {
  readonly publish?: readonly string[];
  readonly noHostAccess?: boolean;
  readonly capture?: string;
  readonly tap?: string;
}

export interface RunNetwork {
  /** Of each domain. */
  readonly vifs: readonly (readonly BootVif[])[];
  /** Whether something of the host may yet answer a guest. */
  readonly waitsForHost: boolean;
  close(): void;
}

/** Of Xen's own range of addresses: the same for the same interface of the same domain every time. */
function madeUpMac(name: string, index: number): string {
  const hash = createHash('sha256').update(`${name} ${index}`).digest();
  return [
    '00',
    '16',
    '3e',
    ...[0, 1, 2].map((at) => (hash.readUInt8(at) & (at === 0 ? 0x7f : 0xff)).toString(16).padStart(2, '0')),
  ].join(':');
}

const hostNow = (): number => performance.timeOrigin + performance.now();

function openCapture(file: string, now: () => number): { capture: Capture; close(): void } {
  let handle: number;
  try {
    handle = openSync(file, 'w');
  } catch (error) {
    const noFolder = (error as { code?: unknown }).code === 'ENOENT';
    const why = noFolder ? `there is no folder ${dirname(file)}` : fileCause(error);
    throw new ParavaneError('capture-file', `cannot write the capture ${file}: ${why}`, { cause: error });
  }
  return {
    capture: createCapture({
      write: (bytes) => void writeSync(handle, bytes),
      now,
    }),
    close: () => closeSync(handle),
  };
}

/** Virtual time, and where its randomness starts. */
export interface VirtualNetworkTime {
  readonly clock: NetworkClock;
  readonly seed: bigint;
}

/** Opens what the flags ask for. Nothing is opened where no domain has an interface. */
export async function openNetwork(
  configs: readonly DomainConfig[],
  flags: NetworkFlags,
  virtual?: VirtualNetworkTime,
): Promise<RunNetwork> {
  const forwards = (flags.publish ?? []).map(parsePublish);
  checkForwards(forwards);
  if (configs.every(({ vifs = [] }) => vifs.length === 0)) {
    if (forwards.length === 0 && flags.capture === undefined && flags.tap === undefined) {
      return { vifs: [], waitsForHost: false, close: () => undefined };
    }
    const message = '--publish, --capture and --tap need an interface: add --vif "" or a vif key';
    throw new ParavaneError('bad-argument', message);
  }
  if (flags.tap !== undefined && (forwards.length > 0 || virtual !== undefined)) {
    const message =
      'with --tap there is nothing to --publish, and no --clock virtual: the host has its own ways and time';
    throw new ParavaneError('bad-argument', message);
  }
  // The first interface's network leads there.
  const tap = flags.tap === undefined ? undefined : await openTap(flags.tap);
  const domains = configs.map(({ name, vifs = [] }) =>
    vifs.map((config, index): Interface => {
      const { mac = madeUpMac(name, index), bridge = defaultBridge } = config;
      return { config, mac, bridge, name: `${name}.${index}` };
    }),
  );
  const interfaces = domains.flat();
  checkMacs(interfaces.map(({ mac }) => mac));
  const clock = virtual?.clock ?? hostNetworkClock;
  const networks = new Map<string, OneNetwork>();
  for (const { bridge } of interfaces) {
    if (networks.has(bridge)) continue;
    const stations = interfaces
      .filter((other) => other.bridge === bridge)
      .map(({ mac, config: { ip } }) => ({
        mac,
        ...(ip === undefined ? {} : { address: addressesOf(ip)[0] as string }),
      }));
    checkAddresses(bridge, stations);
    const random = virtual === undefined ? Math.random : seededRandom(`${bridge} ${virtual.seed}`);
    const isFirst = networks.size === 0;
    networks.set(
      bridge,
      isFirst && tap !== undefined
        ? openTapped(clock, tap)
        : openOne(clock, random, stations, flags.noHostAccess !== true),
    );
  }
  const captured =
    flags.capture === undefined
      ? undefined
      : openCapture(flags.capture, () => (virtual ? virtualEpoch + clock.now() : hostNow()));
  const close = (): void => {
    for (const network of networks.values()) network.close();
    captured?.close();
  };
  try {
    // A forward that names no guest means the first.
    const { user } = networks.get(interfaces[0]?.bridge as string) as OneNetwork;
    for (const forward of forwards) await user?.publish(forward);
  } catch (error) {
    close();
    throw error;
  }
  const link = ({ mac, bridge, name }: Interface): Link => {
    const port = (networks.get(bridge) as OneNetwork).hub.port({ name, mac });
    return captured ? tapLink(port, captured.capture.addInterface(name)) : port;
  };
  return {
    vifs: domains.map((vifs) => vifs.map((vif) => ({ config: vif.config, mac: vif.mac, openLink: () => link(vif) }))),
    get waitsForHost() {
      return [...networks.values()].some(({ user }) => user?.waitsForHost === true);
    },
    close,
  };
}

/** The bridge of interfaces that name none: xl's. */
const defaultBridge = 'xenbr0';

interface Interface {
  readonly config: VifConfig;
  readonly mac: string;
  readonly bridge: string;
  readonly name: string;
}

/** The guests of one bridge, and the way out. */
interface OneNetwork {
  readonly hub: Switch;
  /** Absent where it is a device of the host that leads out. */
  readonly user?: UserNetwork;
  close(): void;
}

function openTapped(clock: NetworkClock, tap: Link): OneNetwork {
  const hub = createSwitch({ clock });
  const leave = joinLinks(hub.port({ name: 'uplink' }), tap);
  return {
    hub,
    close() {
      leave();
      hub.close();
    },
  };
}

function openOne(
  clock: NetworkClock,
  random: () => number,
  stations: readonly Station[],
  hostAccess: boolean,
): OneNetwork {
  const hub = createSwitch({ clock });
  const user = createUserNetwork({ clock, host: hostNet, random, hostAccess, stations });
  const leave = joinLinks(hub.port({ name: 'uplink' }), user);
  return {
    hub,
    user,
    close() {
      leave();
      hub.close();
    },
  };
}

function checkMacs(macs: readonly string[]): void {
  const twice = macs.find((mac, at) => macs.indexOf(mac) < at);
  if (twice === undefined) return;
  throw new ParavaneError('bad-argument', `two interfaces have the address ${twice}: give each a mac of its own`);
}

/** A port of the host leads to one guest: the same one twice, or one that another has for all addresses, is a mistake. */
function checkForwards(forwards: readonly Forward[]): void {
  const covers = (one: string, other: string): boolean =>
    one === other || one === '::' || (one === '0.0.0.0' && !other.includes(':'));
  const twice = forwards.find(({ protocol, hostAddress, hostPort }, at) =>
    forwards
      .slice(0, at)
      .some(
        (other) =>
          other.protocol === protocol &&
          hostPort !== 0 &&
          other.hostPort === hostPort &&
          (covers(hostAddress, other.hostAddress) || covers(other.hostAddress, hostAddress)),
      ),
  );
  if (twice === undefined) return;
  const { protocol, hostPort } = twice;
  throw new ParavaneError(
    'bad-argument',
    `--publish has the host's ${protocol} port ${hostPort} twice: give each forward a port or an address of its own`,
  );
}

/** Addresses with blanks between them, each with the length of its network's prefix or without. */
const addressesOf = (ip: string): string[] => ip.split(' ').map((text) => text.replace(/\/\d+$/, ''));

/** What is to be said of a vif's `ip`. The first of its addresses is the one that DHCP gives. */
export function checkIp(ip: string, tapped: boolean): ReturnType<NonNullable<ConfigOverrides['checkIp']>> {
  const addresses = addressesOf(ip);
  const wrong = addresses.findIndex((address) => parseIpAddress(address) === undefined);
  if (wrong >= 0) {
    const message = `"${ip.split(' ')[wrong]}" in a vif's ip is no IP address: write it as in ip=10.0.2.20`;
    return { severity: 'error', message };
  }
  if (tapped || canBeLeased(addresses[0] as string)) return undefined;
  const message = `the network gives its guests ${guestAddresses}: this one gets such an address, not ${addresses[0]}`;
  return { severity: 'warning', message };
}

function checkAddresses(bridge: string, stations: readonly Station[]): void {
  const given = stations.flatMap(({ address }) => (address === undefined ? [] : [address]));
  const twice = given.find((address, at) => given.indexOf(address) < at);
  if (twice === undefined) return;
  throw new ParavaneError('bad-argument', `two interfaces on "${bridge}" have ip=${twice}: give each one of its own`);
}

/** Numbers of 0 to 1, the same for the same seed. */
function seededRandom(seed: string): () => number {
  let count = 0;
  return () => createHash('sha256').update(`network ${seed} ${count++}`).digest().readUInt32LE(0) / 2 ** 32;
}
