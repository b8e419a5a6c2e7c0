/**
 * One domain's connection: public/io/xs_wire.h and docs/misc/xenstore.txt. Bytes of requests go in, bytes of replies
 * and watch events come out; how they travel is not its business. The peer is not trusted: a message that cannot be
 * one puts the connection into its error state, where it stays until `reset`.
 */
import { XENSTORE_ERROR, XENSTORE_PAYLOAD_MAX, XS, xsd_sockmsg } from '@paravane/abi-xen';
import type { StoreCore } from './core.js';
import { createOutbox } from './outbox.js';
import { serve } from './requests.js';
import type { Session } from './session.js';
import type { Space, XsError } from './space.js';
import { bytesOf } from './text.js';
import type { Watch } from './watches.js';

const HEADER = 16;
/** A peer that lets this much wait, by not reading its events, is given up. */
const OUTBOX_LIMIT = 1 << 20;
/** With this much waiting no further request is taken. */
export const OUTBOX_BACKPRESSURE = 2 * (HEADER + XENSTORE_PAYLOAD_MAX);

export type ConnectionState = 'open' | 'error' | 'closed';

/** `XENSTORE_ERROR_*`: what the peer did wrong. */
export type ConnectionError = (typeof XENSTORE_ERROR)[keyof typeof XENSTORE_ERROR];

export interface Connection {
  readonly domid: number;
  readonly state: ConnectionState;
  readonly error: ConnectionError;
  /** Bytes that wait for `drainInto`. */
  readonly pending: number;
  /** Whether the peer must first read what waits for it: until then `receive` is not to be called. */
  readonly congested: boolean;
  /** Called when bytes have been added to what waits, and when the state has changed. */
  onOutput: (() => void) | undefined;
  /** Takes bytes of requests; messages may be cut anywhere. */
  receive(claimedBytes: Uint8Array): void;
  /** Moves up to `target.length` bytes of replies and events into `target`; the result is how many. */
  drainInto(target: Uint8Array): number;
  /** Starts anew: no watches, transactions, or bytes on their way. */
  reset(): void;
  /** Puts the connection into its error state. */
  fail(error: ConnectionError): void;
  close(): void;
}

export function createConnection(core: StoreCore, domid: number, prefix: string): Connection {
  const outbox = createOutbox();
  const partial = new Uint8Array(HEADER + XENSTORE_PAYLOAD_MAX);
  const partialView = new DataView(partial.buffer);
  const transactions = new Map<number, Space>();
  const watches = new Map<string, Watch>();
  let have = 0;
  let lastTransaction = 0;
  let state: ConnectionState = 'open';
  let error: ConnectionError = XENSTORE_ERROR.NONE;

  function dropWatchesAndTransactions(): void {
    for (const watch of watches.values()) core.watches.remove(watch);
    watches.clear();
    transactions.clear();
  }

  function start(next: ConnectionState, nextError: ConnectionError): void {
    dropWatchesAndTransactions();
    outbox.clear();
    have = 0;
    state = next;
    error = nextError;
    connection.onOutput?.();
  }

  const session: Session = {
    core,
    domid,
    prefix,
    get actor() {
      return core.actorOf(domid);
    },
    transactions,
    watches,
    newTransactionId() {
      do lastTransaction = (lastTransaction + 1) >>> 0 || 1;
      while (transactions.has(lastTransaction));
      return lastTransaction;
    },
    sendEvent(path, token) {
      if (state !== 'open') return;
      const text = `${path}\0${token}\0`;
      outbox.pushEvent(XS.WATCH_EVENT, bytesOf(text), text);
      if (outbox.size > OUTBOX_LIMIT) connection.fail(XENSTORE_ERROR.COMM);
      else connection.onOutput?.();
    },
    dropWatchesAndTransactions,
  };

  function reply(type: number, requestId: number, transaction: number, payload: Uint8Array | XsError): void {
    const tooBig = typeof payload !== 'string' && payload.length > XENSTORE_PAYLOAD_MAX;
    const answer = tooBig ? 'E2BIG' : payload;
    if (typeof answer === 'string') outbox.push(XS.ERROR, requestId, transaction, bytesOf(`${answer}\0`));
    else outbox.push(type, requestId, transaction, answer);
    connection.onOutput?.();
  }

  function handleMessage(): void {
    const { type, req_id, tx_id } = xsd_sockmsg.read(partialView, 0, 64);
    const payload = partial.slice(HEADER, have);
    have = 0;
    // The reply goes out first: operate announces what the request changed when it returns.
    core.operate(() => reply(type, req_id, tx_id, serve(session, type, tx_id, payload)));
  }

  /** Bytes that the message under way needs in all, as far as is known; undefined if it cannot be a message. */
  function wanted(): number | undefined {
    if (have < HEADER) return HEADER;
    const claimedLength = partialView.getUint32(12, true);
    return claimedLength <= XENSTORE_PAYLOAD_MAX ? HEADER + claimedLength : undefined;
  }

  const connection: Connection = {
    domid,
    get state() {
      return state;
    },
    get error() {
      return error;
    },
    get pending() {
      return outbox.size;
    },
    get congested() {
      return outbox.size > OUTBOX_BACKPRESSURE;
    },
    onOutput: undefined,
    receive(claimedBytes) {
      for (let taken = 0; state === 'open' && taken < claimedBytes.length; ) {
        const before = wanted() ?? HEADER;
        const part = claimedBytes.subarray(taken, taken + before - have);
        partial.set(part, have);
        have += part.length;
        taken += part.length;
        const need = wanted();
        if (need === undefined) connection.fail(XENSTORE_ERROR.PROTO);
        else if (have === need && have >= HEADER) handleMessage();
      }
    },
    drainInto: (target) => outbox.drainInto(target),
    reset() {
      if (state !== 'closed') start('open', XENSTORE_ERROR.NONE);
    },
    fail(reason) {
      if (state === 'open') start('error', reason);
    },
    close() {
      if (state !== 'closed') start('closed', XENSTORE_ERROR.NONE);
    },
  };
  return connection;
}
