/** The DNS forwarder: looks at a query's form, hands it to the host, gives back the answer. A bounded number at a time. */
import { get16, put16 } from '../bytes.js';
import type { NetworkClock } from '../clock.js';

export interface DnsForwarder {
  /** Answers a query later, or not at all. */
  query(message: Uint8Array, answer: (message: Uint8Array) => void): void;
  /** Questions that have no answer yet. */
  readonly pending: number;
}

export interface DnsQuestion {
  /** Labels joined by dots, without the last dot. */
  readonly name: string;
  readonly type: number;
  readonly dnsClass: number;
  /** Where the question ends in the message. */
  readonly end: number;
}

export const DnsType = { a: 1, ptr: 12, aaaa: 28 } as const;
export const DnsCode = { ok: 0, formatError: 1, serverFailure: 2, noName: 3, refused: 5 } as const;

const headerBytes = 12;
const mostWaiting = 64;
const longestMilliseconds = 15_000;
const plainUdpBytes = 512;

/** The one question of a query; undefined where the message is none. */
export function parseDnsQuestion(message: Uint8Array): DnsQuestion | undefined {
  if (message.length < headerBytes + 5 || (message[2] as number) & 0x80 || get16(message, 4) !== 1) return undefined;
  const labels: string[] = [];
  let at = headerBytes;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63 || at - headerBytes > 254) return undefined;
    at++;
    if (length === 0) break;
    if (at + length > message.length) return undefined;
    labels.push(String.fromCharCode(...message.subarray(at, at + length)));
    at += length;
  }
  if (at + 4 > message.length) return undefined;
  return { name: labels.join('.'), type: get16(message, at), dnsClass: get16(message, at + 2), end: at + 4 };
}

export interface DnsRecord {
  readonly type: number;
  readonly seconds: number;
  readonly data: Uint8Array;
}

/** The answer to a query with records for its own name. */
export function dnsAnswer(
  query: Uint8Array,
  question: DnsQuestion,
  code: number,
  records: readonly DnsRecord[] = [],
): Uint8Array {
  const length = records.reduce((sum, { data }) => sum + 12 + data.length, question.end);
  const answer = new Uint8Array(length);
  answer.set(query.subarray(0, question.end));
  // An answer, with recursion where that was asked for.
  put16(answer, 2, 0x8080 | (get16(query, 2) & 0x7900) | code);
  put16(answer, 6, records.length);
  put16(answer, 8, 0);
  put16(answer, 10, 0);
  let at = question.end;
  for (const { type, seconds, data } of records) {
    put16(answer, at, 0xc000 | headerBytes);
    put16(answer, at + 2, type);
    put16(answer, at + 4, 1);
    put16(answer, at + 6, seconds >>> 16);
    put16(answer, at + 8, seconds & 0xffff);
    put16(answer, at + 10, data.length);
    answer.set(data, at + 12);
    at += 12 + data.length;
  }
  return answer;
}

/** The largest answer that the client takes by UDP: what its EDNS option (RFC 6891) says, or 512. */
function clientLimit(query: Uint8Array, question: DnsQuestion): number {
  const hasOpt = get16(query, 10) === 1 && get16(query, 6) === 0 && get16(query, 8) === 0;
  const at = question.end;
  if (!hasOpt || at + 5 > query.length || query[at] !== 0 || get16(query, at + 1) !== 41) return plainUdpBytes;
  return Math.max(plainUdpBytes, get16(query, at + 3));
}

/** `answer`, or where it is too long for UDP, its question with the mark that there is more. */
export function fitUdp(query: Uint8Array, answer: Uint8Array): Uint8Array {
  const question = parseDnsQuestion(query);
  if (!question || answer.length <= clientLimit(query, question)) return answer;
  const cut = dnsAnswer(query, question, (answer[3] ?? 0) & 15);
  cut[2] = (cut[2] as number) | 2;
  return cut;
}

export function createDnsForwarder(
  clock: NetworkClock,
  resolve: (query: Uint8Array) => Promise<Uint8Array>,
): DnsForwarder {
  let waiting = 0;
  return {
    get pending() {
      return waiting;
    },
    query(message, answer) {
      const question = parseDnsQuestion(message);
      if (!question) return;
      const fail = (): void => answer(dnsAnswer(message, question, DnsCode.serverFailure));
      if (waiting >= mostWaiting) return fail();
      waiting++;
      let done = false;
      const finish = (then: () => void): void => {
        if (done) return;
        done = true;
        waiting--;
        cancel();
        then();
      };
      const cancel = clock.schedule(longestMilliseconds, () => finish(fail));
      resolve(message.slice()).then(
        (reply) =>
          finish(() => {
            if (reply.length < headerBytes || reply.length > 65535) return fail();
            const own = reply.slice();
            own.set(message.subarray(0, 2));
            answer(own);
          }),
        () => finish(fail),
      );
    },
  };
}
