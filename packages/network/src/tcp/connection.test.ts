import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat } from '../bytes.js';
import { createManualClock, type ManualClock } from '../testing/manual-clock.js';
import { randomBytes, randomNumbers } from '../testing/random.js';
import { type CloseReason, createTcpConnection, type TcpConnection, type TcpOptions, TcpTimes } from './connection.js';
import { Flag, type NewSegment, parseSegment, putSegment, type Segment, tcpHeaderBytes } from './segment.js';

interface Wire {
  readonly loss: number;
  readonly duplication: number;
  /** Milliseconds that a segment may be late, at random. */
  readonly jitter: number;
  readonly delay: number;
}

const goodWire: Wire = { loss: 0, duplication: 0, jitter: 0, delay: 1 };

interface End {
  readonly connection: TcpConnection;
  readonly received: Uint8Array[];
  readonly sent: Segment[];
  readonly events: string[];
  reason?: CloseReason;
  /** Whether it tells the connection that it consumed what came. */
  reading: boolean;
  unread: number;
  peer: End | undefined;
  onWritable?: () => void;
  onConnected?: () => void;
}

function throughBytes(segment: NewSegment): Segment {
  const header = tcpHeaderBytes(segment);
  const bytes = new Uint8Array(header + segment.length);
  putSegment(bytes, 0, { source: 1, destination: 2 }, segment);
  const parsed = parseSegment(bytes, 0, bytes.length);
  if (!parsed) throw new Error('a segment does not parse');
  return parsed;
}

function createEnd(clock: ManualClock, wire: Wire, random: () => number, more: Partial<TcpOptions> = {}): End {
  const end: Partial<End> = { received: [], sent: [], events: [], reading: true, unread: 0, peer: undefined };
  const self = end as End;
  const connection = createTcpConnection({
    clock,
    initialSequence: Math.floor(random() * 0x100000000),
    mss: 1460,
    largestSend: () => 1460,
    path: {
      ready: true,
      send(segment) {
        const parsed = throughBytes(segment);
        self.sent.push(parsed);
        const copies = random() < wire.loss ? 0 : random() < wire.duplication ? 2 : 1;
        for (let copy = 0; copy < copies; copy++) {
          clock.schedule(wire.delay + random() * wire.jitter, () => {
            self.peer?.connection.segment(parsed);
            self.peer?.connection.flushAck();
          });
        }
      },
    },
    user: {
      connected() {
        self.events.push('connected');
        self.onConnected?.();
      },
      data(bytes) {
        self.received.push(bytes);
        if (self.reading) connection.consumed(bytes.length);
        else self.unread += bytes.length;
      },
      ended: () => self.events.push('ended'),
      writable: () => self.onWritable?.(),
      closed: (reason) => {
        self.events.push('closed');
        self.reason = reason;
      },
    },
    ...more,
  });
  return Object.assign(self, { connection });
}

function pair(wire: Wire = goodWire, seed = 1, more: Partial<TcpOptions> = {}) {
  const clock = createManualClock();
  const random = randomNumbers(seed);
  const client = createEnd(clock, wire, random, more);
  const server = createEnd(clock, wire, random, more);
  client.peer = server;
  server.peer = client;
  const hold = server.connection.segment;
  // As a listener: the first SYN makes the connection.
  server.connection.segment = (segment) => {
    if (server.connection.state === 'closed' && !server.reason && segment.flags === Flag.syn) {
      server.connection.hold(segment);
      server.connection.accept();
    } else hold(segment);
  };
  return { clock, client, server };
}

function writeAll(end: End, data: Uint8Array): void {
  let at = 0;
  const more = (): void => {
    while (at < data.length) {
      const taken = end.connection.write(data.subarray(at, at + 30_000));
      at += taken;
      if (taken === 0) return;
    }
    end.connection.end();
  };
  end.onWritable = more;
  end.onConnected = more;
}

function runUntil(clock: ManualClock, done: () => boolean, mostSteps = 400_000): void {
  for (let steps = 0; steps < mostSteps && !done(); steps++) if (!clock.step()) break;
}

describe('a TCP connection with itself', () => {
  it('opens, carries data both ways, and closes both halves', () => {
    const { clock, client, server } = pair();
    client.connection.open();
    clock.advance(10);
    expect([client.connection.state, server.connection.state]).toEqual(['established', 'established']);
    client.connection.write(Uint8Array.of(1, 2, 3));
    server.connection.write(Uint8Array.of(4));
    clock.advance(10);
    expect([concat(...server.received), concat(...client.received)]).toEqual([
      Uint8Array.of(1, 2, 3),
      Uint8Array.of(4),
    ]);
    client.connection.end();
    clock.advance(100);
    expect([client.connection.state, server.connection.state]).toEqual(['fin-wait-2', 'close-wait']);
    server.connection.write(Uint8Array.of(5, 6));
    server.connection.end();
    clock.advance(100);
    expect(concat(...client.received)).toEqual(Uint8Array.of(4, 5, 6));
    expect([client.connection.state, server.connection.state]).toEqual(['time-wait', 'closed']);
    clock.advance(TcpTimes.timeWait);
    expect([client.reason, server.reason, clock.pending]).toEqual(['done', 'done', 0]);
  });

  it('opens when both sides open at the same time', () => {
    const { clock, client, server } = pair();
    client.connection.open();
    server.connection.open();
    clock.advance(5000);
    expect([client.connection.state, server.connection.state]).toEqual(['established', 'established']);
  });

  it('closes when both sides close at the same time', () => {
    const { clock, client, server } = pair();
    client.connection.open();
    clock.advance(10);
    client.connection.end();
    server.connection.end();
    clock.advance(100);
    expect([client.connection.state, server.connection.state]).toEqual(['time-wait', 'time-wait']);
    clock.advance(TcpTimes.timeWait);
    expect([client.reason, server.reason, clock.pending]).toEqual(['done', 'done', 0]);
  });

  it('delivers every byte once and in order, whatever the wire does', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.integer(),
          loss: fc.constantFrom(0, 0.02, 0.1, 0.25),
          duplication: fc.constantFrom(0, 0.1),
          jitter: fc.constantFrom(0, 1, 30),
          delay: fc.constantFrom(0, 1, 50),
          up: fc.integer({ min: 0, max: 300_000 }),
          down: fc.integer({ min: 0, max: 300_000 }),
          receiveBuffer: fc.constantFrom(4096, 65536, 262144),
          largest: fc.constantFrom(1460, 65160),
        }),
        ({ seed, up, down, receiveBuffer, largest, ...wire }) => {
          const more = { receiveBuffer, sendBuffer: 65536, largestSend: () => largest };
          const { clock, client, server } = pair(wire, seed, more);
          const random = randomNumbers(seed + 1);
          const [upward, downward] = [randomBytes(random, up), randomBytes(random, down)];
          writeAll(client, upward);
          writeAll(server, downward);
          client.connection.open();
          runUntil(clock, () => client.reason !== undefined && server.reason !== undefined);
          expect(Buffer.compare(concat(...server.received), upward)).toBe(0);
          expect(Buffer.compare(concat(...client.received), downward)).toBe(0);
          // Where the last acknowledgment is lost, one side may see the other gone.
          expect(client.events.filter((event) => event !== 'closed')).toEqual(['connected', 'ended']);
          expect(clock.pending).toBeLessThan(200);
        },
      ),
      { numRuns: 60 },
    );
  });
});
