/**
 * One domain's connection: public/io/xs_wire.h and docs/misc/xenstore.txt. Bytes of requests go in, bytes of replies
 * and watch events come out; how they travel is not its business. The peer is not trusted: a message that cannot be
 * one puts the connection into its error state, where it stays until `reset`.
 */
import { XENSTORE_ERROR, XENSTORE_PAYLOAD_MAX, XS, xsd_sockmsg } from '@paravane/abi-xen';
import { type Cause, createCause } from './cause.js';
import type { StoreCore } from './core.js';
import { createOutbox, messageBytes } from './outbox.js';
import { serve, watchBytes } from './requests.js';
import type { Session } from './session.js';
import type { Space, XsError } from './space.js';
import { bytesOf } from './text.js';
import type { Watch } from './watches.js';

const HEADER = 16;
/** A reply with such a payload is told even to a domain that is at its limit: it may be the error that says so. */
const SHORT_PAYLOAD = 16;
/** Nanoseconds after which an event is dropped that a domain has not begun to read. */
const EVENT_LIFE = 20e9;

export type ConnectionState = 'open' | 'error' | 'closed';

/** `XENSTORE_ERROR_*`: what the peer did wrong. */
export type ConnectionError = (typeof XENSTORE_ERROR)[keyof typeof XENSTORE_ERROR];

export interface Connection {
  readonly domid: number;
  readonly state: ConnectionState;
  readonly error: ConnectionError;
  /** Bytes that wait for `drainInto`. */
  readonly pending: number;
  /**
   * Whether no request is taken now: too many are under way, or the store keeps too much for the domain. It ends when
   * the peer reads what waits for it, when others read the events that its requests caused, or when nodes go.
   */
  readonly congested: boolean;
  /** Called when bytes have been added to what waits, and when the state has changed. */
  onOutput: (() => void) | undefined;
  /** Called when `receive` has left bytes and takes them now. */
  onReady: (() => void) | undefined;
  /** Takes bytes of requests; messages may be cut anywhere. The result is how many it took, less if it is congested. */
  receive(claimedBytes: Uint8Array): number;
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
  let underWay = 0;

  const { accounts, clock, quotas } = core;
  const hasQuotas = (): boolean => !session.actor.privileged;
  const timer = clock?.createTimer(() => {
    outbox.dropExpired(clock.now());
    armTimer();
    core.wakeStalled();
  });

  function armTimer(): void {
    if (timer === undefined || !hasQuotas()) return;
    const { expires } = outbox;
    if (expires === Number.POSITIVE_INFINITY) timer.cancel();
    else timer.set(expires);
  }

  function dropWatchesAndTransactions(): void {
    for (const [key, watch] of watches) {
      core.watches.remove(watch);
      accounts.add(domid, -watchBytes(key));
    }
    watches.clear();
    for (const transaction of transactions.values()) transaction.close();
    transactions.clear();
  }

  function start(next: ConnectionState, nextError: ConnectionError): void {
    dropWatchesAndTransactions();
    outbox.clear();
    armTimer();
    have = 0;
    state = next;
    error = nextError;
    connection.onOutput?.();
    core.wakeStalled();
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
    sendEvent(path, token, cause) {
      const text = `${path}\0${token}\0`;
      // Each coming and going of a domain is told.
      const key = path.startsWith('@') ? undefined : text;
      if (state !== 'open' || text.length > XENSTORE_PAYLOAD_MAX || (key !== undefined && outbox.has(key))) return;
      const payload = bytesOf(text);
      const size = messageBytes(payload);
      if (!accounts.tryAdd(domid, size)) return;
      cause?.eventWaits();
      const expires = clock && hasQuotas() ? clock.now() + EVENT_LIFE : Number.POSITIVE_INFINITY;
      outbox.pushEvent(XS.WATCH_EVENT, payload, key, expires, () => {
        accounts.add(domid, -size);
        cause?.eventGone();
      });
      armTimer();
      connection.onOutput?.();
    },
    dropWatchesAndTransactions,
  };

  /** The payload of a reply, for which there is room now. */
  function affordable(payload: Uint8Array | XsError): Uint8Array | XsError {
    if (typeof payload === 'string' || payload.length <= SHORT_PAYLOAD) return payload;
    if (payload.length > XENSTORE_PAYLOAD_MAX) return 'E2BIG';
    return accounts.hasRoom(domid, messageBytes(payload)) ? payload : 'ENOMEM';
  }

  function reply(
    type: number,
    requestId: number,
    transaction: number,
    claimed: Uint8Array | XsError,
    cause: Cause,
  ): void {
    const answer = affordable(claimed);
    const isError = typeof answer === 'string';
    const payload = isError ? bytesOf(`${answer}\0`) : answer;
    const size = messageBytes(payload);
    accounts.add(domid, size);
    outbox.push(isError ? XS.ERROR : type, requestId, transaction, payload, () => {
      accounts.add(domid, -size);
      cause.replyGone();
    });
    connection.onOutput?.();
  }

  function handleMessage(): void {
    const { type, req_id, tx_id } = xsd_sockmsg.read(partialView, 0, 64);
    const payload = partial.slice(HEADER, have);
    have = 0;
    underWay++;
    const cause = createCause(() => void underWay--);
    const request = () => serve(session, type, tx_id, payload);
    // The host hears of it behind the reply, so that this comes before all that the host then does.
    core.operate(() => {
      const answer = core.operate(request, hasQuotas() ? cause : undefined);
      reply(type, req_id, tx_id, answer, cause);
    });
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
      return hasQuotas() && (underWay >= quotas.outstanding || accounts.isFull(domid));
    },
    onOutput: undefined,
    onReady: undefined,
    receive(claimedBytes) {
      let taken = 0;
      while (state === 'open' && taken < claimedBytes.length) {
        if (connection.congested) {
          core.stalled.add(connection);
          break;
        }
        const before = wanted() ?? HEADER;
        const part = claimedBytes.subarray(taken, taken + before - have);
        partial.set(part, have);
        have += part.length;
        taken += part.length;
        const need = wanted();
        if (need === undefined) connection.fail(XENSTORE_ERROR.PROTO);
        else if (have === need && have >= HEADER) handleMessage();
      }
      return taken;
    },
    drainInto(target) {
      const count = outbox.drainInto(target);
      armTimer();
      core.wakeStalled();
      return count;
    },
    reset() {
      if (state !== 'closed') start('open', XENSTORE_ERROR.NONE);
    },
    fail(reason) {
      if (state === 'open') start('error', reason);
    },
    close() {
      if (state !== 'closed') start('closed', XENSTORE_ERROR.NONE);
      core.stalled.delete(connection);
    },
  };
  return connection;
}
