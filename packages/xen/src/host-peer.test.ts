import { hypercall } from '@paravane/abi-xen';
import { peerConformance } from '@paravane/driver-api/conformance';
import type { Maddr } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { channelOf } from './events/channels.js';
import { createHostPeer } from './host-peer.js';
import { createTestGuest } from './testing/test-machine.js';

function setUp() {
  const guest = createTestGuest();
  const { hypervisor } = guest;
  const { mmu } = hypervisor;
  const { xen } = guest.pv;
  const { id } = xen;
  const entry = (ref: number): Maddr => (xen.grants.frames[0] * 4096 + ref * 8) as Maddr;
  let lastRef = 20;
  return {
    peer: createHostPeer(xen),
    grant(access: 'read' | 'write') {
      const { frame } = guest.page();
      const ref = ++lastRef;
      mmu.writeU64(entry(ref), (access === 'read' ? 5n : 1n) | (BigInt(frame) << 32n));
      const { u8, frameBase } = mmu.machine;
      return { ref, bytes: () => u8.subarray(frameBase + frame * 4096, frameBase + frame * 4096 + 4096) };
    },
    revoke(ref: number) {
      if (mmu.readU16(entry(ref)) & 24) return false;
      mmu.writeU64(entry(ref), 0n);
      return true;
    },
    allocatePort() {
      const request = guest.put(0x7ff0n, 0);
      guest.call(hypercall.event_channel_op, 6, request);
      return Number(guest.peek(request) >> 32n);
    },
    send(port: number) {
      guest.call(hypercall.event_channel_op, 4, guest.put(BigInt(port)));
      // What is put off to between two instructions happens in the next slice.
      hypervisor.runSlice(1);
    },
    received(port: number) {
      const word = xen.sharedInfo * 4096 + 0x800 + (port >> 3);
      const count = channelOf(xen, port) && mmu.readU8(word as Maddr) & (1 << (port & 7)) ? 1 : 0;
      return count;
    },
    destroy: () => guest.pv.destroy(),
    framesHeld: () => mmu.frames.owner.reduce((sum, owner) => sum + (owner === id ? 1 : 0), 0),
  };
}

describe('a domain as the peer of a back end', () => {
  it.each(peerConformance(setUp))('$name', ({ run }) => {
    expect(run).not.toThrow();
  });
});
