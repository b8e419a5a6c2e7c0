import type { Peer } from '@paravane/driver-api';
import { createMemoryPeer } from '@paravane/driver-api/conformance';

function serveSums(peer: Peer, ref: number, port: number): void {
  const page = peer.map(ref, 'write');
  if (typeof page === 'number') return; // the guest did not grant it
  const channel = peer.bind(port, () => {
    const bytes = page.bytes();
    bytes[4095] = bytes.subarray(0, 4095).reduce((sum, byte) => sum + byte, 0);
    channel?.notify();
  });
  peer.onGone(() => page.unmap());
}

const guest = createMemoryPeer();
const page = guest.grant('write');
const port = guest.allocatePort();
serveSums(guest.peer, page.ref, port);
page.bytes().set([1, 2, 3]);
guest.send(port);
console.log(page.bytes()[4095], guest.received(port)); // 6, and events that the guest got
