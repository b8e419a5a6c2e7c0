/**
 * Bytes on their way to a peer that takes them when it likes. A watch event that is still waiting is not queued a
 * second time: the peer will read the newer state when it gets the first. A message that has begun to leave is past
 * that.
 */
import { xsd_sockmsg } from '@paravane/abi-xen';

const HEADER = 16;

interface Message {
  readonly bytes: Uint8Array;
  readonly eventKey: string | undefined;
}

export interface Outbox {
  /** Bytes that wait. */
  readonly size: number;
  push(type: number, requestId: number, transaction: number, payload: Uint8Array): void;
  /** As push, unless an event with the same payload waits already; `@...` are always told. */
  pushEvent(type: number, payload: Uint8Array, key: string): void;
  /** Moves up to `target.length` bytes into `target`; the result is how many. */
  drainInto(target: Uint8Array): number;
  clear(): void;
}

function encode(type: number, requestId: number, transaction: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER + payload.length);
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

  function enqueue(bytes: Uint8Array, eventKey?: string): void {
    messages.push({ bytes, eventKey });
    size += bytes.length;
  }

  return {
    get size() {
      return size;
    },
    push: (type, requestId, transaction, payload) => enqueue(encode(type, requestId, transaction, payload)),
    pushEvent(type, payload, key) {
      // Each coming and going of a domain is told.
      const isSpecial = key.startsWith('@');
      if (!isSpecial && waitingEvents.has(key)) return;
      if (!isSpecial) waitingEvents.add(key);
      enqueue(encode(type, 0, 0, payload), isSpecial ? undefined : key);
    },
    drainInto(target) {
      let filled = 0;
      for (let message = messages[first]; message && filled < target.length; message = messages[first]) {
        if (message.eventKey !== undefined) waitingEvents.delete(message.eventKey);
        const part = message.bytes.subarray(sentOfFirst, sentOfFirst + target.length - filled);
        target.set(part, filled);
        filled += part.length;
        sentOfFirst += part.length;
        if (sentOfFirst < message.bytes.length) break;
        first++;
        sentOfFirst = 0;
      }
      if (first > 64 && first * 2 > messages.length) {
        messages = messages.slice(first);
        first = 0;
      }
      size -= filled;
      return filled;
    },
    clear() {
      messages = [];
      first = 0;
      sentOfFirst = 0;
      size = 0;
      waitingEvents.clear();
    },
  };
}
