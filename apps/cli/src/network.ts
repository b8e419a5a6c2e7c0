/** The network of a run: a switch with the guests' interfaces, and a user-mode network behind it. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { hostNet, hostNetworkClock } from '@paravane/host-node';
import type { Link } from '@paravane/link-api';
import {
  type Capture,
  createCapture,
  createSwitch,
  createUserNetwork,
  joinLinks,
  type NetworkClock,
  parsePublish,
  tapLink,
} from '@paravane/network';
import type { BootVif, DomainConfig } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { virtualEpoch } from './boot.js';

export interface NetworkFlags {
  readonly publish?: readonly string[];
  readonly noHostAccess?: boolean;
  readonly capture?: string;
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
    throw new ParavaneError('capture-file', `cannot write the capture ${file}: ${(error as Error).message}`, {
      cause: error,
    });
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
  if (configs.every(({ vifs = [] }) => vifs.length === 0)) {
    if (forwards.length === 0 && flags.capture === undefined) {
      return { vifs: [], waitsForHost: false, close: () => undefined };
    }
    throw new ParavaneError('bad-argument', '--publish and --capture need an interface: add --vif "" or a vif key');
  }
  const macs = configs.map(({ name, vifs = [] }) => vifs.map(({ mac }, index) => mac ?? madeUpMac(name, index)));
  checkMacs(macs.flat());
  const clock = virtual?.clock ?? hostNetworkClock;
  const hub = createSwitch({ clock });
  const network = createUserNetwork({
    clock,
    host: hostNet,
    random: virtual === undefined ? Math.random : seededRandom(virtual.seed),
    hostAccess: flags.noHostAccess !== true,
    stations: macs.flat(),
  });
  const leave = joinLinks(hub.port({ name: 'uplink' }), network);
  const captured =
    flags.capture === undefined
      ? undefined
      : openCapture(flags.capture, () => (virtual ? virtualEpoch + clock.now() : hostNow()));
  const close = (): void => {
    leave();
    hub.close();
    captured?.close();
  };
  try {
    for (const forward of forwards) await network.publish(forward);
  } catch (error) {
    close();
    throw error;
  }
  const link = (domain: string, mac: string, index: number): Link => {
    const port = hub.port({ name: `${domain} interface ${index}`, mac });
    return captured ? tapLink(port, captured.capture.addInterface(`${domain}.${index}`)) : port;
  };
  return {
    vifs: configs.map(({ name, vifs = [] }, at) =>
      vifs.map((config, index) => {
        const mac = macs[at]?.[index] as string;
        return { config, mac, openLink: () => link(name, mac, index) };
      }),
    ),
    get waitsForHost() {
      return network.waitsForHost;
    },
    close,
  };
}

function checkMacs(macs: readonly string[]): void {
  const twice = macs.find((mac, at) => macs.indexOf(mac) < at);
  if (twice === undefined) return;
  throw new ParavaneError('bad-argument', `two interfaces have the address ${twice}: give each a mac of its own`);
}

/** Numbers of 0 to 1, the same for the same seed. */
function seededRandom(seed: bigint): () => number {
  let count = 0;
  return () => createHash('sha256').update(`network ${seed} ${count++}`).digest().readUInt32LE(0) / 2 ** 32;
}
