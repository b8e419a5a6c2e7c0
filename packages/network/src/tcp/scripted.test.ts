/** The connection against a peer made by hand: each segment is looked at. */
import { describe, expect, it } from 'vitest';
import { createManualClock } from '../testing/manual-clock.js';
import { type CloseReason, createTcpConnection, type TcpOptions, TcpTimes } from './connection.js';
import { Flag, type NewSegment, type Segment } from './segment.js';

const start = 1000;
const peerStart = 5000;

function setUp(more: Partial<TcpOptions> = {}, syn: Partial<Segment> = {}) {
  const clock = createManualClock();
  const sent: (NewSegment & { data: number[] })[] = [];
  const heard = { bytes: [] as number[], ended: false, reason: undefined as CloseReason | undefined };
  const connection = createTcpConnection({
    clock,
    initialSequence: start,
    mss: 100,
    largestSend: () => 100,
    path: {
      ready: true,
      send(segment) {
        const bytes = new Uint8Array(segment.length);
        segment.copyData?.(bytes, 0);
        sent.push({ ...segment, data: [...bytes] });
      },
    },
    user: {
      data: (bytes) => void heard.bytes.push(...bytes),
      ended: () => void (heard.ended = true),
      closed: (reason) => void (heard.reason = reason),
    },
    ...more,
  });
  const give = (segment: Partial<Segment>, data: number[] = []): void =>
    connection.segment({
      sourcePort: 1,
      destinationPort: 2,
      sequence: peerStart + 1,
      acknowledgment: start + 1,
      flags: Flag.ack,
      window: 60_000,
      sackPermitted: false,
      sacks: [],
      ...segment,
      data: Uint8Array.from(data),
    });
  connection.hold({
    sourcePort: 1,
    destinationPort: 2,
    sequence: peerStart,
    acknowledgment: 0,
    flags: Flag.syn,
    window: 60_000,
    mss: 100,
    sackPermitted: true,
    sacks: [],
    data: new Uint8Array(0),
    ...syn,
  });
  connection.accept();
  give({});
  const [synAck] = sent.splice(0);
  return { clock, sent, heard, connection, give, synAck };
}

const places = (sent: readonly NewSegment[]): number[] => sent.map(({ sequence }) => sequence - start - 1);

describe('the handshake', () => {
  it('offers what the peer offered, and nothing else', () => {
    expect(setUp({}, { windowScale: 7 }).synAck).toMatchObject({ mss: 100, windowScale: 7, sackPermitted: true });
    const { synAck } = setUp({}, { sackPermitted: false });
    expect([synAck?.windowScale, synAck?.sackPermitted]).toEqual([undefined, undefined]);
  });

  it('is repeated, more and more slowly, and given up', () => {
    const clock = createManualClock();
    const at: number[] = [];
    let reason: CloseReason | undefined;
    const connection = createTcpConnection({
      clock,
      initialSequence: 1,
      mss: 1460,
      largestSend: () => 1460,
      path: { ready: true, send: () => void at.push(clock.now()) },
      user: { data: () => undefined, ended: () => undefined, closed: (why) => void (reason = why) },
    });
    connection.open();
    clock.advance(1_000_000);
    expect(at).toEqual([0, 1000, 3000, 7000, 15_000, 31_000, 63_000]);
    expect([reason, clock.pending]).toEqual(['timeout', 0]);
  });
});

describe('sending', () => {
  it('begins with ten segments, and opens with what is acknowledged', () => {
    const { sent, connection, give } = setUp();
    connection.write(new Uint8Array(5000));
    expect(places(sent)).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
    sent.length = 0;
    give({ acknowledgment: start + 1 + 300 });
    expect(places(sent)).toEqual([1000, 1100, 1200, 1300, 1400, 1500]);
  });

  it('repeats what three duplicates say is lost, and only the holes of selective acknowledgments', () => {
    const { sent, connection, give } = setUp();
    connection.write(new Uint8Array(1000).map((_, at) => at / 100));
    sent.length = 0;
    const base = start + 1;
    const sacks = [
      { from: base + 100, to: base + 400 },
      { from: base + 500, to: base + 1000 },
    ];
    give({ sacks });
    give({ sacks });
    expect(sent).toEqual([]);
    give({ sacks });
    expect(places(sent)).toEqual([0]);
    give({ sacks });
    expect(places(sent)).toEqual([0, 400]);
    expect(sent[1]?.data.every((byte) => byte === 4)).toBe(true);
    give({ acknowledgment: base + 1000 });
    expect(sent.length).toBe(2);
  });

  it('repeats after a timeout, again after twice the time, and ends in the end', () => {
    const { sent, connection, clock, heard } = setUp();
    connection.write(new Uint8Array(10));
    const times: number[] = [];
    for (let last = sent.length; heard.reason === undefined && clock.step(); last = sent.length) {
      if (sent.length > last) times.push(clock.now());
    }
    expect(times.slice(0, 4)).toEqual([1000, 3000, 7000, 15_000]);
    expect([heard.reason, (sent.at(-1)?.flags ?? 0) & Flag.rst]).toEqual(['timeout', Flag.rst]);
  });

  it('keeps to the peer’s window, and probes it where it is closed', () => {
    const { sent, connection, give, clock, heard } = setUp();
    give({ window: 250 });
    connection.write(new Uint8Array(1000));
    expect(sent.map(({ length }) => length)).toEqual([100, 100]);
    sent.length = 0;
    give({ acknowledgment: start + 201, window: 0 });
    clock.advance(10_000);
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.every(({ sequence, length }) => sequence === start + 200 && length === 0)).toBe(true);
    // For hours, as long as the peer answers.
    for (let i = 0; i < 100; i++) {
      clock.advance(100_000);
      give({ acknowledgment: start + 201, window: 0 });
    }
    expect(heard.reason).toBeUndefined();
    sent.length = 0;
    give({ acknowledgment: start + 201, window: 60_000 });
    expect(places(sent)).toEqual([200, 300, 400, 500, 600, 700, 800, 900]);
  });
});

describe('receiving', () => {
  it('acknowledges late what is in order, at once what is not', () => {
    const { sent, give, clock } = setUp();
    give({}, [1, 2, 3]);
    expect(sent).toEqual([]);
    clock.advance(TcpTimes.delayedAck);
    expect(sent.map(({ acknowledgment }) => acknowledgment)).toEqual([peerStart + 4]);
    give({ sequence: peerStart + 10 }, [9]);
    expect(sent.at(-1)).toMatchObject({
      acknowledgment: peerStart + 4,
      sacks: [{ from: peerStart + 10, to: peerStart + 11 }],
    });
  });

  it('acknowledges two segments’ worth at the end of a batch', () => {
    const { sent, give, connection } = setUp();
    give({}, Array.from<number>({ length: 100 }).fill(1));
    connection.flushAck();
    expect(sent.length).toBe(0);
    give({ sequence: peerStart + 101 }, Array.from<number>({ length: 100 }).fill(2));
    connection.flushAck();
    expect(sent.map(({ acknowledgment }) => acknowledgment)).toEqual([peerStart + 201]);
  });

  it('puts in order what comes in any order, with overlaps, once', () => {
    const { give, heard } = setUp();
    const at = (offset: number, data: number[]): void => give({ sequence: peerStart + 1 + offset }, data);
    at(4, [4, 5, 6]);
    at(8, [8]);
    at(2, [2, 3, 4, 5]);
    at(6, [6, 7, 8, 9]);
    expect(heard.bytes).toEqual([]);
    at(0, [0, 1, 2]);
    expect(heard.bytes).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    at(5, [5, 6, 7]);
    expect(heard.bytes.length).toBe(10);
  });

  it('takes a FIN in its turn only', () => {
    const { give, heard, connection } = setUp();
    give({ sequence: peerStart + 3, flags: Flag.ack | Flag.fin }, [3]);
    expect(heard.ended).toBe(false);
    give({}, [1, 2]);
    expect([heard.bytes, heard.ended, connection.state]).toEqual([[1, 2, 3], true, 'close-wait']);
  });

  it('holds no more than its buffer, and says when there is room', () => {
    const { sent, give, heard, connection } = setUp({ receiveBuffer: 1000 });
    for (let at = 0; at < 3000; at += 100)
      give({ sequence: peerStart + 1 + at }, Array.from<number>({ length: 100 }).fill(0));
    expect([heard.bytes.length, connection.held]).toEqual([1000, 1000]);
    expect(sent.at(-1)).toMatchObject({ acknowledgment: peerStart + 1001, window: 0 });
    sent.length = 0;
    connection.consumed(1000);
    expect(sent).toMatchObject([{ acknowledgment: peerStart + 1001, window: 1000 }]);
  });
});
