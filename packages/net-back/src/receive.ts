/**
 * The ring on which the guest receives: it leaves pages, we copy frames into them (`feature-rx-copy`; pages are never
 * exchanged). A frame takes as many pages as it needs, and a slot for what is left to be done to it. The order of
 * responses is that of requests, on which front ends rely.
 */
import { NETIF_RSP } from '@paravane/abi-xen';
import type { Peer } from '@paravane/driver-api';
import type { Frame } from '@paravane/link-api';
import type { BackRing } from '@paravane/ring';
import { GSO_TYPE, NETRXF, type RxRequest, readRxRequest, writeGsoInfo, writeRxResponse } from './layout.js';

const PAGE = 4096;

export interface Receiver {
  /** Whether the guest has left enough slots for the frame. */
  hasRoom(frame: Frame): boolean;
  /** Puts a frame in, for which there is room. False where its pages could not be written. */
  give(frame: Frame): boolean;
  /** Asks for an event with the next request; true if one has come meanwhile. */
  rest(): boolean;
}

export function createReceiver(ring: BackRing, peer: Peer): Receiver {
  const slots: RxRequest[] = [];

  const pagesOf = (frame: Frame): number => Math.ceil(frame.bytes.length / PAGE);

  /** Takes requests until there are so many, or no more. */
  function collect(count: number): boolean {
    while (slots.length < count) {
      const slot = ring.take();
      if (!slot) return false;
      slots.push(readRxRequest(slot));
    }
    return true;
  }

  function flagsOf(frame: Frame): number {
    if (frame.checksum === 'blank') return NETRXF.csum_blank | NETRXF.data_validated;
    return frame.checksum === 'verified' ? NETRXF.data_validated : 0;
  }

  return {
    hasRoom: (frame) => collect(pagesOf(frame) + (frame.gso ? 1 : 0)),
    give(frame) {
      const pages = pagesOf(frame);
      let ok = true;
      for (let page = 0; page < pages; page++) {
        const slot = slots.shift() as RxRequest;
        const piece = frame.bytes.subarray(page * PAGE, (page + 1) * PAGE);
        const copied = peer.copyTo(slot.gref, 0, piece) === 0;
        ok &&= copied;
        const extra = page === 0 && frame.gso ? NETRXF.extra_info : 0;
        const flags = (page === 0 ? flagsOf(frame) : 0) | extra | (page + 1 < pages ? NETRXF.more_data : 0);
        ring.respond((view) => writeRxResponse(view, slot.id, flags, copied ? piece.length : NETIF_RSP.ERROR));
        if (page === 0 && frame.gso) {
          const { size, type } = frame.gso;
          slots.shift();
          ring.respond((view) => writeGsoInfo(view, size, GSO_TYPE[type]));
        }
      }
      return ok;
    },
    rest: () => ring.rest(),
  };
}
