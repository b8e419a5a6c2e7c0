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
  parsePublish,
  tapLink,
} from '@paravane/network';
import type { BootVif, DomainConfig } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';

export interface NetworkFlags {
  readonly publish?: readonly string[];
  readonly noHostAccess?: boolean;
  readonly capture?: string;
}

export interface RunNetwork {
  readonly vifs: readonly BootVif[];
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

function openCapture(file: string): { capture: Capture; close(): void } {
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
      now: () => performance.timeOrigin + performance.now(),
    }),
    close: () => closeSync(handle),
  };
}

/** Opens what the flags ask for. Nothing is opened where the domain has no interface. */
export async function openNetwork(config: DomainConfig, flags: NetworkFlags): Promise<RunNetwork> {
  const { vifs = [] } = config;
  const forwards = (flags.publish ?? []).map(parsePublish);
  if (vifs.length === 0) {
    if (forwards.length === 0 && flags.capture === undefined) return { vifs: [], close: () => undefined };
    throw new ParavaneError('bad-argument', '--publish and --capture need an interface: add --vif "" or a vif key');
  }
  const hub = createSwitch({ clock: hostNetworkClock });
  const network = createUserNetwork({
    clock: hostNetworkClock,
    host: hostNet,
    random: Math.random,
    hostAccess: flags.noHostAccess !== true,
  });
  const leave = joinLinks(hub.port({ name: 'uplink' }), network);
  const captured = flags.capture === undefined ? undefined : openCapture(flags.capture);
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
  const link = (mac: string, index: number): Link => {
    const port = hub.port({ name: `${config.name} interface ${index}`, mac });
    return captured ? tapLink(port, captured.capture.addInterface(`${config.name}.${index}`)) : port;
  };
  return {
    vifs: vifs.map((vif, index) => {
      const mac = vif.mac ?? madeUpMac(config.name, index);
      return { config: vif, mac, openLink: () => link(mac, index) };
    }),
    close,
  };
}
