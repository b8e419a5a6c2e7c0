/**
 * The back end's side of a shared ring (public/io/ring.h). The front end can write all of it at any time, our own
 * indices included, so ours are kept here and only published there.
 *
 * Invariants: a request is copied out once, before anything in it is looked at; no request is taken for which there
 * would be no room to respond; a producer index that claims more than the ring holds stops the ring for good, as there
 * is no way to tell which requests it meant.
 */
import { RING } from '@paravane/abi-xen';
import { copyRing, type RingPages, readIndex, ringCapacity, writeIndex } from './ring-memory.js';

export interface BackRingOptions {
  readonly pages: RingPages;
  /** How many pages `pages` has. */
  readonly pageCount: number;
  /** Bytes of an entry: of the larger of request and response. */
  readonly entryBytes: number;
}

export interface BackRing {
  readonly entries: number;
  /** The front end's producer index claimed what cannot be; nothing is taken any more. */
  readonly broken: boolean;
  /** Requests taken and not responded to. */
  readonly outstanding: number;
  /** The next request, copied; the view is overwritten by the next call. Undefined when there is none. */
  take(): DataView | undefined;
  /** To be called when there are no more: asks for an event with the next request. True if one has come meanwhile. */
  rest(): boolean;
  /** Puts a response in, still unpublished; `write` gets the entry, zeroed. */
  respond(write: (entry: DataView) => void): void;
  /** Publishes the responses. True if the front end wants to hear of it. */
  publish(): boolean;
}

/**
 * Serves the ring from where it stands: requests that are in it and have no response yet are taken. Undefined if its
 * indices cannot be.
 */
export function createBackRing({ pages, pageCount, entryBytes }: BackRingOptions): BackRing | undefined {
  const entries = ringCapacity(entryBytes, pageCount);
  const memory = pages();
  if (!memory || !(entries >= 1)) return undefined;
  const claimedResponses = readIndex(memory, RING.rsp_prod);
  const claimedRequests = readIndex(memory, RING.req_prod);
  if ((claimedRequests - claimedResponses) >>> 0 > entries) return undefined;

  const request = new Uint8Array(entryBytes);
  const requestView = new DataView(request.buffer);
  const response = new Uint8Array(entryBytes);
  const responseView = new DataView(response.buffer);
  const place = (index: number): number => RING.entries + (index & (entries - 1)) * entryBytes;
  /** Free running, as 32 unsigned bits. */
  let consumed = claimedResponses;
  let produced = claimedResponses;
  let published = claimedResponses;
  let known = claimedResponses;
  let broken = false;

  function look(): boolean {
    const now = broken ? undefined : pages();
    if (!now) return false;
    const claimedProducer = readIndex(now, RING.req_prod);
    // Behind what we took counts as far ahead of it, and is refused as well.
    if ((claimedProducer - produced) >>> 0 > entries || (claimedProducer - consumed) >>> 0 > entries) {
      broken = true;
      return false;
    }
    known = claimedProducer;
    return known !== consumed;
  }

  return {
    entries,
    get broken() {
      return broken;
    },
    get outstanding() {
      return (consumed - produced) >>> 0;
    },
    take() {
      if (known === consumed && !look()) return undefined;
      const now = broken ? undefined : pages();
      if (!now) return undefined;
      copyRing(now, place(consumed), request, false);
      consumed = (consumed + 1) >>> 0;
      return requestView;
    },
    rest() {
      const now = broken ? undefined : pages();
      if (!now) return false;
      if (known !== consumed || look()) return true;
      writeIndex(now, RING.req_event, consumed + 1);
      return look();
    },
    respond(write) {
      response.fill(0);
      write(responseView);
      const now = pages();
      if (now) copyRing(now, place(produced), response, true);
      produced = (produced + 1) >>> 0;
    },
    publish() {
      const now = pages();
      if (!now || produced === published) return false;
      const old = published;
      published = produced;
      writeIndex(now, RING.rsp_prod, produced);
      const claimedEvent = readIndex(now, RING.rsp_event);
      return (produced - claimedEvent) >>> 0 < (produced - old) >>> 0;
    },
  };
}
