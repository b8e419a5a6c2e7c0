/** A domain's further consoles: nodes in the store as the toolstack makes them, and a back end for each. */
import { type ConsoleDevice, createConsoleDevice } from '@paravane/console-back';
import type { DeviceStore } from '@paravane/driver-api';
import type { Hypervisor } from '@paravane/hypervisor';
import type { BootChannel, BootRequest } from '@paravane/toolstack';
import { createHostPeer, type PvDomain } from '@paravane/xen';
import { addDevice } from '@paravane/xenbus';

const SOURCE = 'channel';
/** Bytes of input that may wait for a guest; what comes on top is lost, as on a serial line that nobody reads. */
const MOST_WAITING = 1 << 20;

export interface Channels {
  close(): void;
}

export interface ChannelsSetup {
  readonly hypervisor: Hypervisor;
  readonly store: DeviceStore;
  readonly guest: PvDomain;
  readonly request: BootRequest;
}

export function attachChannels({ hypervisor, store, guest, request }: ChannelsSetup): Channels {
  const { inbox } = hypervisor;
  const { channels = [] } = request;
  const peer = createHostPeer(guest.xen);
  const attached = channels.map((channel, index) => attach(channel, index));
  // Declared only where there are any: a machine without takes the same inputs as ever.
  if (channels.length > 0) {
    inbox.source(SOURCE, (data) => attached[data[0] ?? 0]?.type(data.subarray(1)));
  }

  function attach(channel: BootChannel, index: number): { device: ConsoleDevice; type(bytes: Uint8Array): void } {
    const { name, tty } = channel;
    const names = { ...(name === undefined ? {} : { name }), ...(tty === undefined ? {} : { tty }) };
    const nodes = addDevice(store, {
      type: 'console',
      // 0 is the console that every domain has.
      id: index + 1,
      frontendId: peer.domid,
      back: { protocol: 'vt100', ...names },
      front: { type: 'ioemu', limit: MOST_WAITING, output: tty === undefined ? 'chardev' : 'pty', ...names },
    });
    let waiting = new Uint8Array(0);
    const feed = (): void => {
      // Kept first: the device calls back here when it has passed on what it got.
      const bytes = waiting;
      waiting = new Uint8Array(0);
      const taken = bytes.length > 0 ? device.input(bytes) : 0;
      if (taken < bytes.length) waiting = bytes.slice(taken);
    };
    const device: ConsoleDevice = createConsoleDevice({
      store,
      ...nodes,
      peer,
      onOutput: (bytes) => channel.onOutput(bytes),
      onInputDrained: () => feed(),
      log: (message) => request.log?.('warning', `channel ${name ?? index + 1}: ${message}`),
    });
    channel.onOpen((bytes) => {
      const post = new Uint8Array(1 + bytes.length);
      post[0] = index;
      post.set(bytes, 1);
      inbox.post(SOURCE, post);
      request.wake?.();
    });
    return {
      device,
      type(bytes) {
        const room = Math.min(bytes.length, MOST_WAITING - waiting.length);
        const more = new Uint8Array(waiting.length + room);
        more.set(waiting);
        more.set(bytes.subarray(0, room), waiting.length);
        waiting = more;
        feed();
      },
    };
  }

  return {
    close() {
      for (const { device } of attached) device.close();
    },
  };
}
