/**
 * The shared page between a domain and the store: public/io/xs_wire.h, `struct xenstore_domain_interface`. The guest
 * can write all of it at any time, our own indices included, so each kick reads every index once, as a claim, and
 * moves at most one ring's worth of bytes each way. Indices that cannot be end the conversation until the guest asks
 * for a new one.
 */
import {
  XENSTORE_CONNECTED,
  XENSTORE_ERROR,
  XENSTORE_RECONNECT,
  XENSTORE_RING,
  XENSTORE_RING_SIZE,
  XENSTORE_SERVER_FEATURE_ERROR,
  XENSTORE_SERVER_FEATURE_RECONNECTION,
} from '@paravane/abi-xen';
import type { Connection } from './connection.js';

/** A page shared with a peer that is not trusted. */
export interface SharedPage {
  /** The page's 4096 bytes as they can be reached now; undefined when the page is gone. Asked again at each use. */
  bytes(): Uint8Array | undefined;
}

export interface XenstoreRingOptions {
  readonly connection: Connection;
  readonly page: SharedPage;
  /** Sends the event that tells the domain that an index has moved. */
  readonly notify: () => void;
}

export interface XenstoreRing {
  /** Serves what the domain has put into the page; to be called when its event arrives. */
  kick(): void;
  /** Stops serving; the connection is left as it is. */
  detach(): void;
}

const {
  req,
  rsp,
  req_cons,
  req_prod,
  rsp_cons,
  rsp_prod,
  server_features,
  connection: connection_state,
  error,
} = XENSTORE_RING;

interface Indices {
  readonly consumer: number;
  readonly producer: number;
  readonly filled: number;
}

/** Copies a run of bytes between a ring and an array, in either direction, around the ring's end. */
function copyAround(ring: Uint8Array, index: number, flat: Uint8Array, toRing: boolean): void {
  const start = index % XENSTORE_RING_SIZE;
  const head = Math.min(flat.length, XENSTORE_RING_SIZE - start);
  if (toRing) {
    ring.set(flat.subarray(0, head), start);
    ring.set(flat.subarray(head), 0);
  } else {
    flat.set(ring.subarray(start, start + head));
    flat.set(ring.subarray(0, flat.length - head), head);
  }
}

export function createXenstoreRing({ connection, page, notify }: XenstoreRingOptions): XenstoreRing {
  let serving = false;
  let detached = false;

  function view(): { bytes: Uint8Array; words: DataView } | undefined {
    const bytes = page.bytes();
    return bytes && { bytes, words: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
  }

  /** A pair of indices and the bytes between them; undefined, and the end of it, if there cannot be so many. */
  function indices(words: DataView, consumerAt: number, producerAt: number): Indices | undefined {
    const consumer = words.getUint32(consumerAt, true);
    const producer = words.getUint32(producerAt, true);
    const claimedFilled = (producer - consumer) >>> 0;
    if (claimedFilled <= XENSTORE_RING_SIZE) return { consumer, producer, filled: claimedFilled };
    connection.fail(XENSTORE_ERROR.RINGIDX);
    return undefined;
  }

  /** Moves requests out of the page, as many as the connection takes now; whether any moved. */
  function takeRequests(): boolean {
    const shared = view();
    if (!shared || connection.state !== 'open') return false;
    const request = indices(shared.words, req_cons, req_prod);
    if (!request?.filled) return false;
    const claimedBytes = new Uint8Array(request.filled);
    copyAround(shared.bytes.subarray(req, req + XENSTORE_RING_SIZE), request.consumer, claimedBytes, false);
    const taken = connection.receive(claimedBytes);
    // What the host does on the way may have taken the page away.
    view()?.words.setUint32(req_cons, request.consumer + taken, true);
    return taken > 0;
  }

  /** Moves what can be moved, until nothing can; whether anything did. */
  function moveAll(): boolean {
    let moved = false;
    while ([putReplies(), takeRequests()].includes(true)) moved = true;
    return moved;
  }

  /** Moves replies and events into the page; whether any moved. */
  function putReplies(): boolean {
    const shared = view();
    if (!shared || connection.pending === 0) return false;
    const response = indices(shared.words, rsp_cons, rsp_prod);
    if (!response || response.filled === XENSTORE_RING_SIZE) return false;
    const flat = new Uint8Array(Math.min(connection.pending, XENSTORE_RING_SIZE - response.filled));
    connection.drainInto(flat);
    copyAround(shared.bytes.subarray(rsp, rsp + XENSTORE_RING_SIZE), response.producer, flat, true);
    shared.words.setUint32(rsp_prod, response.producer + flat.length, true);
    return true;
  }

  /** Starts anew if the domain asks for it; whether it did. */
  function reconnect(): boolean {
    const shared = view();
    if (!shared || shared.words.getUint32(connection_state, true) !== XENSTORE_RECONNECT) return false;
    connection.reset();
    for (const index of [req_cons, req_prod, rsp_cons, rsp_prod]) shared.words.setUint32(index, 0, true);
    shared.words.setUint32(error, XENSTORE_ERROR.NONE, true);
    shared.words.setUint32(connection_state, XENSTORE_CONNECTED, true);
    return true;
  }

  function publishError(): boolean {
    const shared = view();
    if (!shared || connection.state !== 'error') return false;
    if (shared.words.getUint32(error, true) === connection.error) return false;
    shared.words.setUint32(error, connection.error, true);
    return true;
  }

  /** Runs one step of service; what it puts out on the way waits for its end. */
  function service(body: () => boolean): void {
    if (serving || detached) return;
    serving = true;
    let moved = false;
    try {
      moved = body();
    } finally {
      serving = false;
    }
    if (moved) notify();
  }

  const flush = () => service(() => [putReplies(), publishError()].includes(true));

  const first = view();
  first?.words.setUint32(server_features, XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR, true);
  connection.onOutput = flush;
  connection.onReady = () => service(moveAll);

  return {
    kick: () =>
      service(() => {
        if (connection.state === 'closed') return false;
        return [reconnect(), moveAll(), publishError()].includes(true);
      }),
    detach() {
      detached = true;
      connection.onOutput = undefined;
      connection.onReady = undefined;
    },
  };
}
