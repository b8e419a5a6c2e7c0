import { allOffloads, type Link } from '@paravane/link-api';
import {
  createCapture,
  createSwitch,
  createUserNetwork,
  type HostNet,
  joinLinks,
  type NetworkClock,
  parsePublish,
  tapLink,
} from '@paravane/network';

/** A port for a guest's interface, on a network that leads to the host's sockets. */
export async function connect(clock: NetworkClock, host: HostNet, file: (bytes: Uint8Array) => void): Promise<Link> {
  const hub = createSwitch({ clock });
  const network = createUserNetwork({ clock, host, random: Math.random, hostAccess: false });
  joinLinks(hub.port(), network);
  await network.publish(parsePublish('2222:22'));
  const capture = createCapture({ write: file, now: () => clock.now() });
  return tapLink(hub.port({ mac: '00:16:3e:00:00:01' }), capture.addInterface('guest'));
}

export const user = {
  offloads: allOffloads,
  send: (frames: readonly unknown[]) => frames.length,
  resume: () => undefined,
};
