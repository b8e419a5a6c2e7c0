import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concat } from '../bytes.js';
import type { CloseReason, TcpConnection, TcpUser } from '../tcp/connection.js';
import { Flag } from '../tcp/segment.js';
import { createManualClock } from '../testing/manual-clock.js';
import { createMemoryHost, type ServiceStream } from '../testing/memory-host.js';
import { randomBytes, randomNumbers } from '../testing/random.js';
import { createTestGuest, type TestGuestOptions } from '../testing/test-guest.js';
import { parsePublish } from './publish.js';
import { createUserNetwork, type UserNetworkOptions } from './user-network.js';

function setUp(options: Partial<UserNetworkOptions> = {}, guestOptions: Partial<TestGuestOptions> = {}) {
  const clock = createManualClock();
  const host = createMemoryHost(clock);
  const network = createUserNetwork({ clock, host, random: randomNumbers(7), ...options });
  const guest = createTestGuest({ link: network, clock, ...guestOptions });
  const services: ServiceStream[] = [];
  host.services.set('127.0.0.1 80', (stream) => services.push(stream));
  return { clock, host, network, guest, services };
}

/** What a guest's connection hears. */
function listener(consume?: () => TcpConnection | undefined) {
  const heard = { data: [] as Uint8Array[], ended: false, reason: undefined as CloseReason | undefined, bytes: 0 };
  const user: TcpUser = {
    data(bytes) {
      heard.data.push(bytes);
      heard.bytes += bytes.length;
      consume?.()?.consumed(bytes.length);
    },
    ended: () => void (heard.ended = true),
    closed: (reason) => void (heard.reason = reason),
  };
  return { heard, user };
}

const step = (clock: { step(): boolean }, done: () => boolean): void => {
  for (let steps = 0; steps < 300_000 && !done() && clock.step(); steps++);
};

const bytesOf = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));

describe('TCP to the host', () => {
  it('answers a SYN only when the host has connected, and carries bytes both ways, and both ends', () => {
    const { clock, guest, services, network } = setUp();
    const { heard, user } = listener(() => connection);
    const connection: TcpConnection = guest.connect('10.0.2.2', 80, user);
    clock.advance(5);
    expect(connection.state).toBe('established');
    connection.write(bytesOf('GET'));
    clock.advance(50);
    const [service] = services;
    expect(service && Buffer.from(concat(...service.received)).toString()).toBe('GET');
    service?.send(bytesOf('200'));
    clock.advance(50);
    expect(Buffer.from(concat(...heard.data)).toString()).toBe('200');
    connection.end();
    clock.advance(50);
    expect([service?.endedByGuest, heard.ended, connection.state]).toEqual([true, false, 'fin-wait-2']);
    // The other half still carries.
    service?.send(bytesOf(' OK'));
    service?.end();
    clock.advance(50);
    expect([Buffer.from(concat(...heard.data)).toString(), heard.ended]).toEqual(['200 OK', true]);
    clock.advance(20_000);
    expect([heard.reason, service?.destroyed, network.stats().tcpConnections]).toEqual(['done', false, 0]);
  });

  it('refuses where the host is refused', () => {
    const { clock, guest } = setUp();
    const { heard, user } = listener();
    guest.connect('10.0.2.2', 81, user);
    clock.advance(50);
    expect(heard.reason).toBe('refused');
  });

  it('passes resets on, either way', () => {
    const { clock, guest, services, network } = setUp();
    const first = listener();
    const connection = guest.connect('10.0.2.2', 80, first.user);
    clock.advance(10);
    connection.abort();
    clock.advance(10);
    expect(services[0]?.destroyed).toBe(true);
    const second = listener();
    guest.connect('10.0.2.2', 80, second.user);
    clock.advance(10);
    services[1]?.close('reset');
    clock.advance(10);
    expect([second.heard.reason, network.stats().tcpConnections]).toEqual(['reset', 0]);
  });

  it('answers segments for nobody with a reset', () => {
    const { clock, guest } = setUp();
    const ports = { source: 5000, destination: 80 };
    guest.segment('10.0.2.2', ports, { sequence: 100, acknowledgment: 777, flags: Flag.ack });
    guest.segment('10.0.2.2', ports, { sequence: 100, flags: Flag.fin }, Uint8Array.of(1, 2));
    guest.segment('10.0.2.2', ports, { sequence: 100, flags: Flag.rst });
    clock.advance(10);
    expect(guest.segments().map(({ sequence, acknowledgment, flags }) => [sequence, acknowledgment, flags])).toEqual([
      [777, 0, Flag.rst],
      [0, 103, Flag.rst | Flag.ack],
    ]);
  });

  it('does as the RFCs say when it is attacked blindly', () => {
    const { clock, guest, services } = setUp();
    const { heard, user } = listener();
    const connection = guest.connect('10.0.2.2', 80, user);
    clock.advance(10);
    const [synAck] = guest.segments();
    const ports = { source: synAck?.destinationPort ?? 0, destination: 80 };
    const syn = 0xfffff000 + 40000;
    // Resets and SYNs within the window, but not the very next byte: a challenge (RFC 5961).
    guest.segment('10.0.2.2', ports, { sequence: syn + 100, flags: Flag.rst });
    guest.segment('10.0.2.2', ports, { sequence: syn + 100, flags: Flag.syn });
    // Data beyond the window, and an acknowledgment of what was never sent.
    guest.segment(
      '10.0.2.2',
      ports,
      { sequence: syn + 10_000_000, acknowledgment: (synAck?.sequence ?? 0) + 1, flags: Flag.ack },
      Uint8Array.of(6),
    );
    guest.segment(
      '10.0.2.2',
      ports,
      { sequence: syn + 1, acknowledgment: (synAck?.sequence ?? 0) + 5000, flags: Flag.ack },
      Uint8Array.of(6),
    );
    clock.advance(100);
    expect([heard.reason, services[0]?.destroyed, connection.state]).toEqual([undefined, false, 'established']);
    connection.write(Uint8Array.of(1, 2, 3));
    clock.advance(100);
    expect(concat(...(services[0]?.received ?? [])).slice(-3)).toEqual(Uint8Array.of(1, 2, 3));
  });

  it.each([
    ['with offloads', true, '10.0.2.2', '10.0.2.15'],
    ['without offloads', false, '10.0.2.2', '10.0.2.15'],
    ['over IPv6 with offloads', true, 'fec0::2', 'fec0::15'],
    ['over IPv6 without offloads', false, 'fec0::2', 'fec0::15'],
  ])('moves megabytes both ways %s, and keeps few', (_, offloads, to, ip) => {
    const { clock, guest, services, host, network } = setUp({}, { offloads, ip });
    host.services.set('::1 80', (stream) => services.push(stream));
    const [up, down] = [randomBytes(randomNumbers(1), 3 << 20), randomBytes(randomNumbers(2), 3 << 20)];
    const { heard, user } = listener(() => connection);
    let sent = 0;
    const write = (): void => {
      while (sent < up.length) {
        const taken = connection.write(up.subarray(sent, sent + 100_000));
        if (taken === 0) return;
        sent += taken;
      }
      connection.end();
    };
    const connection: TcpConnection = guest.connect(to, 80, { ...user, connected: write, writable: write });
    step(clock, () => services.length === 1);
    const [service] = services;
    let at = 0;
    let mostHeld = 0;
    const serve = (): void => {
      while (service && at < down.length && !service.paused) {
        service.send(down.subarray(at, at + 65536));
        at += 65536;
        if (at % 262144 === 0) break;
      }
      if (at >= down.length) service?.end();
      else clock.schedule(1, serve);
    };
    serve();
    step(clock, () => {
      mostHeld = Math.max(mostHeld, network.stats().heldBytes);
      return heard.ended && service?.endedByGuest === true;
    });
    expect(Buffer.compare(concat(...(service?.received ?? [])), up)).toBe(0);
    expect(Buffer.compare(concat(...heard.data), down)).toBe(0);
    expect(mostHeld).toBeLessThan(1.2 * (1 << 20));
  });

  it('delivers everything over a link that loses frames', () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(0.01, 0.05, 0.2), fc.boolean(), (seed, loss, offloads) => {
        const random = randomNumbers(seed);
        const { clock, guest, services } = setUp({}, { lose: () => random() < loss, offloads });
        const [up, down] = [randomBytes(random, 100_000), randomBytes(random, 100_000)];
        const { heard, user } = listener(() => connection);
        let sent = 0;
        const write = (): void => {
          while (sent < up.length) {
            const taken = connection.write(up.subarray(sent));
            if (taken === 0) return;
            sent += taken;
          }
          connection.end();
        };
        const connection: TcpConnection = guest.connect('10.0.2.2', 80, { ...user, connected: write, writable: write });
        step(clock, () => services.length === 1);
        services[0]?.send(down);
        services[0]?.end();
        step(clock, () => heard.ended && services[0]?.endedByGuest === true);
        expect(Buffer.compare(concat(...(services[0]?.received ?? [])), up)).toBe(0);
        expect(Buffer.compare(concat(...heard.data), down)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });
});

describe('back-pressure', () => {
  it('closes the guest’s window while the host does not read, and opens it again', () => {
    const { clock, guest, services, network } = setUp();
    const { user } = listener();
    const data = randomBytes(randomNumbers(4), 1 << 20);
    let sent = 0;
    const write = (): void => {
      for (let taken = 1; taken > 0 && sent < data.length; sent += taken)
        taken = connection.write(data.subarray(sent, sent + 50_000));
    };
    const connection: TcpConnection = guest.connect('10.0.2.2', 80, { ...user, connected: write, writable: write });
    step(clock, () => services.length === 1);
    const [service] = services;
    if (service) service.reading = false;
    clock.advance(30_000);
    const taken = concat(...(service?.received ?? [])).length;
    expect(taken).toBeGreaterThan(60_000);
    expect(taken).toBeLessThanOrEqual(256 << 10);
    expect(network.stats().heldBytes).toBeLessThanOrEqual(256 << 10);
    // Hours later it still stands, and goes on.
    clock.advance(4 * 3_600_000);
    service?.release();
    clock.advance(120_000);
    expect(Buffer.compare(concat(...(service?.received ?? [])), data)).toBe(0);
  });

  it('pauses the host while the guest does not read', () => {
    const { clock, guest, services, network } = setUp();
    const reader: { connection?: TcpConnection } = {};
    const { heard, user } = listener(() => reader.connection);
    const connection = guest.connect('10.0.2.2', 80, user);
    step(clock, () => services.length === 1);
    const [service] = services;
    let sent = 0;
    const timer = (): void => {
      if (service && !service.paused && sent < 40) {
        service.send(new Uint8Array(65536).fill(sent++));
      }
      clock.schedule(10, timer);
    };
    timer();
    clock.advance(60_000);
    expect([service?.paused, sent < 12]).toEqual([true, true]);
    expect(network.stats().heldBytes).toBeLessThan(512 << 10);
    reader.connection = connection;
    connection.consumed(heard.bytes);
    clock.advance(120_000);
    expect([sent, heard.bytes]).toEqual([40, 40 * 65536]);
  });

  it('waits for a link without room, and loses nothing', () => {
    const { clock, guest, services, network } = setUp();
    const { heard, user } = listener(() => connection);
    const connection: TcpConnection = guest.connect('10.0.2.2', 80, user);
    step(clock, () => services.length === 1);
    guest.room = 0;
    const data = randomBytes(randomNumbers(9), 200_000);
    services[0]?.send(data);
    clock.advance(100);
    expect(heard.bytes).toBe(0);
    const more = (): void => {
      guest.room = 3;
      network.resume();
      clock.schedule(1, more);
    };
    more();
    clock.advance(3000);
    expect(Buffer.compare(concat(...heard.data), data)).toBe(0);
  });
});

describe('bounds', () => {
  it('a flood of SYNs holds a bounded number of connections, and another guest still gets through', () => {
    const { clock, guest, network, host } = setUp();
    for (let port = 1; port < 5000; port++) {
      guest.segment('10.0.2.2', { source: port, destination: 80 }, { sequence: port, flags: Flag.syn, mss: 1460 });
    }
    expect(network.stats().tcpConnections).toBe(256);
    expect(host.connects.length).toBe(256);
    clock.advance(5);
    // They were never acknowledged: they end by themselves.
    clock.advance(300_000);
    expect(network.stats().tcpConnections).toBe(0);
  });

  it('carries 200 connections at once', () => {
    const { clock, guest, network, host } = setUp();
    host.services.set('127.0.0.1 80', (stream) => {
      stream.onData = (bytes) => stream.send(bytes);
    });
    const all = Array.from({ length: 200 }, (_, i) => {
      const hears = listener(() => connection);
      const connection: TcpConnection = guest.connect('10.0.2.2', 80, {
        ...hears.user,
        connected: () => void connection.write(new Uint8Array(3000).fill(i)),
      });
      return { ...hears.heard, heard: hears.heard, i };
    });
    clock.advance(1000);
    expect(network.stats().tcpConnections).toBe(200);
    for (const { heard, i } of all) expect(concat(...heard.data)).toEqual(new Uint8Array(3000).fill(i));
  });

  it('an idle connection lives for hours; one whose guest is gone ends', () => {
    let gone = false;
    const { clock, guest, services, network } = setUp({}, { lose: () => gone });
    const { heard, user } = listener();
    guest.connect('10.0.2.2', 80, user);
    clock.advance(10 * 3_600_000);
    expect([heard.reason, network.stats().tcpConnections]).toEqual([undefined, 1]);
    gone = true;
    clock.advance(4 * 3_600_000);
    expect([services[0]?.destroyed, network.stats().tcpConnections]).toEqual([true, 0]);
  });
});

describe('published ports', () => {
  const from = { address: '127.0.0.1', port: 999 };

  it('lead to the guest, which sees them come from the gateway', async () => {
    const { clock, guest, host, network } = setUp();
    await network.publish(parsePublish('2222:22'));
    // The guest has been seen: it has an address.
    guest.udp('10.0.2.2', 1, Uint8Array.of(0));
    const server = listener(() => accepted);
    let accepted: TcpConnection | undefined;
    guest.listen(22, (connection) => {
      accepted = connection;
      return { ...server.user, connected: () => void connection.write(bytesOf('SSH-2.0')) };
    });
    const service = host.listening.get('127.0.0.1 2222')?.(from);
    service?.send(bytesOf('hello'));
    clock.advance(200);
    expect(Buffer.from(concat(...(service?.received ?? []))).toString()).toBe('SSH-2.0');
    expect(Buffer.from(concat(...server.heard.data)).toString()).toBe('hello');
    service?.end();
    accepted?.end();
    clock.advance(20_000);
    expect([server.heard.ended, service?.endedByGuest, network.stats().tcpConnections]).toEqual([true, true, 0]);
  });

  it('end at once where the guest refuses, and later where there is no guest', async () => {
    const { clock, guest, host, network } = setUp();
    await network.publish(parsePublish('2222:22'));
    const early = host.listening.get('127.0.0.1 2222')?.(from);
    clock.advance(500);
    expect(early?.destroyed).toBe(false);
    clock.advance(300_000);
    expect(early?.destroyed).toBe(true);
    guest.udp('10.0.2.2', 1, Uint8Array.of(0));
    const service = host.listening.get('127.0.0.1 2222')?.(from);
    const [syn] = guest.segments();
    guest.segment(
      '10.0.2.2',
      { source: 22, destination: syn?.sourcePort ?? 0 },
      { acknowledgment: (syn?.sequence ?? 0) + 1, flags: Flag.rst | Flag.ack },
    );
    clock.advance(10);
    expect(service?.destroyed).toBe(true);
  });
});
