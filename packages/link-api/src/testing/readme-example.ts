import { type Frame, type Link, type LinkUser, linkApiVersion, linkInUse, noOffloads } from '@paravane/link-api';

/** How frames travel: datagrams of somebody's socket, a WebRTC channel, a queue of another worker. */
export interface Carrier {
  post(datagram: Uint8Array): void;
  onDatagram(listener: (datagram: Uint8Array) => void): void;
  close(): void;
}

/** Most frames that wait for a user without room; later ones are dropped, as on any wire. */
const mostWaiting = 256;

/** A link that sends each frame as one datagram. */
export function createTunnel(carrier: Carrier): Link {
  let user: LinkUser | undefined;
  let closed = false;
  let userHasRoom = true;
  const waiting: Frame[] = [];

  function give(): void {
    while (user && userHasRoom && waiting.length > 0) {
      const batch = waiting.splice(0);
      const taken = user.send(batch);
      userHasRoom = taken === batch.length;
      waiting.unshift(...batch.slice(taken));
    }
  }

  carrier.onDatagram((bytes) => {
    if (closed || bytes.length < 14 || waiting.length === mostWaiting) return;
    waiting.push({ bytes });
    give();
  });

  return {
    apiVersion: linkApiVersion,
    name: 'tunnel',
    mtu: 1500,
    carrier: true,
    offloads: noOffloads,
    attach(newUser) {
      if (user) throw linkInUse('tunnel');
      user = newUser;
      give();
    },
    send(frames) {
      if (!closed) for (const { bytes } of frames) carrier.post(bytes);
      return frames.length;
    },
    resume() {
      userHasRoom = true;
      if (!closed) give();
    },
    close() {
      if (closed) return;
      closed = true;
      waiting.length = 0;
      carrier.close();
    },
  };
}
