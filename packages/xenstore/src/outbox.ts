/**
 * Bytes on their way to a peer that takes them when it likes. A watch event that is still waiting is not queued a
 * second time: the peer will read the newer state when it gets the first.
 */
import { xsd_sockmsg } from '@paravane/abi-xen';

const HEADER = 16;

/** Bytes of a message with such a payload. */
export const messageBytes = (payload: Uint8Array): number => HEADER + payload.length;

interface Message {
  readonly bytes: Uint8Array;
  readonly eventKey: string | undefined;
  /** When it is too late for an event, Infinity if never; undefined of a reply. */
  readonly expires: number | undefined;
  readonly onGone: () => void;
}

export interface Outbox {
  /** Bytes that wait. */
  readonly size: number;
  /** When the first of the waiting events is to be dropped; Infinity if none is. */
  readonly expires: number;
  /** `onGone` is called when the last byte has left, or the message is dropped. */
  push(type: number, requestId: number, transaction: number, payload: Uint8Array, onGone: () => void): void;
  /** Whether an event with this key waits. */
  has(eventKey: string): boolean;
  /** An event to be dropped unless its first byte has left until then; `eventKey` undefined if its likes are all told. */
  pushEvent(type: number, payload: Uint8Array, eventKey: string | undefined, expires: number, onGone: () => void): void;
  /** Moves up to `target.length` bytes into `target`; the result is how many. */
  drainInto(target: Uint8Array): number;
  /** Drops the events whose time is over. */
  dropExpired(now: number): void;
  clear(): void;
}

function encode(type: number, requestId: number, transaction: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(messageBytes(payload));
  const header = { type, req_id: requestId, tx_id: transaction, len: payload.length };
  xsd_sockmsg.write(new DataView(bytes.buffer), 0, header, 64);
  bytes.set(payload, HEADER);
  return bytes;
}

export function createOutbox(): Outbox {
  const waitingEvents = new Set<string>();
  let messages: Message[] = [];
  /** Messages before this index have left. */
  let first = 0;
  let sentOfFirst = 0;
  let size = 0;

  function enqueue(message: Message): void {
    messages.push(message);
    if (message.eventKey !== undefined) waitingEvents.add(message.eventKey);
    size += message.bytes.length;
  }

  function forget({ eventKey, onGone }: Message): void {
    if (eventKey !== undefined) waitingEvents.delete(eventKey);
    onGone();
  }

  const waiting = (): Message[] => messages.slice(first);

  return {
    get size() {
      return size;
    },
    get expires() {
      // All events wait equally long, so the first is the first to go; one that has begun to leave stays.
      for (let index = sentOfFirst > 0 ? first + 1 : first; index < messages.length; index++) {
        const expires = messages[index]?.expires;
        if (expires !== undefined) return expires;
      }
      return Number.POSITIVE_INFINITY;
    },
    push: (type, requestId, transaction, payload, onGone) =>
      enqueue({
        bytes: encode(type, requestId, transaction, payload),
        eventKey: undefined,
        expires: undefined,
        onGone,
      }),
    has: (eventKey) => waitingEvents.has(eventKey),
    pushEvent: (type, payload, eventKey, expires, onGone) =>
      enqueue({ bytes: encode(type, 0, 0, payload), eventKey, expires, onGone }),
    drainInto(target) {
      let filled = 0;
      for (let message = messages[first]; message && filled < target.length; message = messages[first]) {
        const part = message.bytes.subarray(sentOfFirst, sentOfFirst + target.length - filled);
        target.set(part, filled);
        filled += part.length;
        sentOfFirst += part.length;
        if (sentOfFirst < message.bytes.length) break;
        first++;
        sentOfFirst = 0;
        forget(message);
      }
      if (first > 64 && first * 2 > messages.length) {
        messages = waiting();
        first = 0;
      }
      size -= filled;
      return filled;
    },
    dropExpired(now) {
      const stays = (message: Message, index: number) =>
        (index === 0 && sentOfFirst > 0) || (message.expires ?? Number.POSITIVE_INFINITY) > now;
      const before = waiting();
      messages = before.filter(stays);
      first = 0;
      for (const message of before.filter((one, index) => !stays(one, index))) {
        size -= message.bytes.length;
        forget(message);
      }
    },
    clear() {
      const gone = waiting();
      messages = [];
      first = 0;
      sentOfFirst = 0;
      size = 0;
      for (const message of gone) forget(message);
    },
  };
}
