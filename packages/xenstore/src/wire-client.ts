/** A client of the wire protocol for this package's tests; it speaks to a connection without a ring between them. */
import { XS, xsd_sockmsg } from '@paravane/abi-xen';
import type { Connection } from './connection.js';
import { bytesOf, textOf } from './text.js';

export interface Message {
  readonly type: number;
  readonly requestId: number;
  readonly transaction: number;
  readonly text: string;
}

export function encodeMessage(type: number, requestId: number, transaction: number, text: string): Uint8Array {
  const bytes = new Uint8Array(16 + text.length);
  const header = { type, req_id: requestId, tx_id: transaction, len: text.length };
  xsd_sockmsg.write(new DataView(bytes.buffer), 0, header, 64);
  bytes.set(bytesOf(text), 16);
  return bytes;
}

/** The messages that some bytes are; throws if they are anything else. */
export function decodeMessages(bytes: Uint8Array): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < bytes.length; ) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const { type, req_id, tx_id, len } = xsd_sockmsg.read(view, at, 64);
    if (at + 16 + len > bytes.length || len > 4096) throw new Error('cut or oversized message');
    const text = textOf(bytes.subarray(at + 16, at + 16 + len));
    messages.push({ type, requestId: req_id, transaction: tx_id, text });
    at += 16 + len;
  }
  return messages;
}

export interface WireClient {
  /** The reply's payload, or the name of the error. */
  ask(type: number, text: string, transaction?: number): string;
  /** Payloads of the events that have come so far, `path|token`. */
  events(): string[];
}

export function createWireClient(connection: Connection): WireClient {
  const events: string[] = [];
  let requestId = 0;

  function collect(): Message | undefined {
    const bytes = new Uint8Array(connection.pending);
    connection.drainInto(bytes);
    let reply: Message | undefined;
    for (const message of decodeMessages(bytes)) {
      if (message.type === XS.WATCH_EVENT) events.push(message.text.slice(0, -1).replace('\0', '|'));
      else reply = message;
    }
    return reply;
  }

  return {
    ask(type, text, transaction = 0) {
      collect();
      connection.receive(encodeMessage(type, ++requestId, transaction, text));
      const reply = collect();
      if (reply?.requestId !== requestId || reply.transaction !== transaction) return 'no reply';
      return reply.type === XS.ERROR ? reply.text.slice(0, -1) : reply.text;
    },
    events() {
      collect();
      return events.splice(0);
    },
  };
}
