import { allOffloads, type Frame, type Link, noOffloads, parseMac } from '@paravane/link-api';
import { linkConformance } from '@paravane/link-api/conformance';
import { describe, expect, it } from 'vitest';
import { joinLinks } from './join.js';
import { createSwitch, type SwitchPortOptions } from './switch.js';
import { createManualClock } from './testing/manual-clock.js';
import { createMemoryHost } from './testing/memory-host.js';
import { createTestGuest } from './testing/test-guest.js';
import { createUserNetwork } from './user/user-network.js';

const [a, b, c] = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c'] as const;
const broadcast = 'ff:ff:ff:ff:ff:ff';

function frame(to: string, from: string, label = 0): Frame {
  const bytes = new Uint8Array(60);
  bytes.set(parseMac(to), 0);
  bytes.set(parseMac(from), 6);
  bytes.set([0x88, 0xb5, label], 12);
  return { bytes };
}

function station(link: Link) {
  const got: number[] = [];
  const self = { link, got, room: Number.POSITIVE_INFINITY, resumed: 0 };
  link.attach({
    offloads: noOffloads,
    send(frames) {
      const taken = Math.min(frames.length, self.room);
      self.room -= taken;
      got.push(...frames.slice(0, taken).map(({ bytes }) => bytes[14] ?? 0));
      return taken;
    },
    resume: () => void self.resumed++,
  });
  return self;
}

function setUp(...ports: SwitchPortOptions[]) {
  const clock = createManualClock();
  const hub = createSwitch({ clock, mostStations: 16 });
  return { clock, hub, stations: ports.map((options) => station(hub.port(options))) };
}

describe('a port of the switch', () => {
  const cases = linkConformance(() => {
    const clock = createManualClock();
    const hub = createSwitch({ clock });
    const other = hub.port();
    return {
      link: hub.port(),
      settle: () => clock.advance(500),
      provoke: (count) => void other.send(Array.from({ length: count }, () => frame(broadcast, b))),
    };
  });
  it.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

describe('the switch', () => {
  it('learns where stations are, and gives their frames to no other port', () => {
    const { stations } = setUp({}, {}, {});
    const [first, second, third] = stations;
    first?.link.send([frame(b, a, 1)]);
    expect([second?.got, third?.got]).toEqual([[1], [1]]);
    second?.link.send([frame(a, b, 2)]);
    first?.link.send([frame(b, a, 3)]);
    expect(stations.map(({ got }) => got)).toEqual([[2], [1, 3], [1]]);
  });

  it('gives groups to every other port', () => {
    const { stations } = setUp({ mac: a }, { mac: b }, {});
    stations[0]?.link.send([frame(broadcast, a, 1), frame('01:00:5e:00:00:01', a, 2)]);
    expect(stations.map(({ got }) => got)).toEqual([[], [1, 2], [1, 2]]);
  });

  it('follows a station that moves, and forgets one that is silent', () => {
    const { stations, clock } = setUp({}, {}, {});
    const [first, second, third] = stations;
    second?.link.send([frame(broadcast, b, 0)]);
    third?.link.send([frame(broadcast, b, 0)]);
    for (const { got } of stations) got.length = 0;
    first?.link.send([frame(b, a, 1)]);
    expect(stations.map(({ got }) => got)).toEqual([[], [], [1]]);
    clock.advance(300_001);
    first?.link.send([frame(b, a, 2)]);
    expect(stations.map(({ got }) => got)).toEqual([[], [2], [1, 2]]);
  });

  it('pins a port to its station: it speaks as nobody else, hears nobody else’s, and loses nothing to who pretends', () => {
    const { stations, hub } = setUp({ mac: a }, { mac: b }, {}, { mac: c });
    const [first, second, third] = stations;
    first?.link.send([frame(broadcast, b, 1)]);
    third?.link.send([frame(broadcast, b, 0)]);
    for (const { got } of stations) got.length = 0;
    first?.link.send([frame(b, a, 2), frame('02:00:00:00:00:77', a, 3)]);
    expect(stations.map(({ got }) => got)).toEqual([[], [2], [3], []]);
    expect(hub.stats()[0]).toMatchObject({ received: 2, dropped: 1 });
    expect(second?.got).toEqual([2]);
  });

  it('remembers a bounded number of stations', () => {
    const { stations } = setUp({}, {}, {});
    stations[1]?.link.send([frame(broadcast, b)]);
    for (let i = 0; i < 100; i++) stations[2]?.link.send([frame(broadcast, `02:00:00:00:01:${(16 + i).toString(16)}`)]);
    for (const { got } of stations) got.length = 0;
    // Forgotten, so it goes everywhere, as on any switch.
    stations[0]?.link.send([frame(b, a, 1)]);
    expect(stations.map(({ got }) => got)).toEqual([[], [1], [1]]);
  });

  it('lets a sender wait for a slow port, but not for one that takes nothing', () => {
    const { stations, clock } = setUp({ mac: a }, { mac: b });
    const [first, second] = stations;
    if (second) second.room = 0;
    const flood = Array.from({ length: 2000 }, () => frame(b, a));
    const taken = first?.link.send(flood) ?? 0;
    expect(taken).toBeGreaterThan(400);
    expect(taken).toBeLessThan(700);
    expect(first?.resumed).toBe(0);
    if (second) second.room = 1000;
    second?.link.resume();
    expect([first?.resumed, (second?.got.length ?? 0) > 400]).toEqual([1, true]);
    if (second) second.room = 0;
    while ((first?.link.send(flood) ?? 0) === flood.length);
    clock.advance(201);
    expect(first?.resumed).toBeGreaterThan(1);
    expect(first?.link.send(flood)).toBe(flood.length);
  });

  it('completes what a port can’t take', () => {
    const clock = createManualClock();
    const hub = createSwitch({ clock });
    const got: Frame[] = [];
    const [from, to] = [hub.port(), hub.port()];
    to.attach({
      offloads: { ...allOffloads, gso4: false },
      send: (frames) => got.push(...frames) - got.length + frames.length,
      resume: () => undefined,
    });
    const guest = createTestGuest({ link: from, clock, offloads: true });
    guest.segment(
      '10.0.2.99',
      { source: 1, destination: 2 },
      { segmentSize: 1000, flags: 0x18 },
      new Uint8Array(2500).fill(7),
    );
    expect(got.map(({ bytes, gso }) => [bytes.length, gso])).toEqual([
      [1054, undefined],
      [1054, undefined],
      [554, undefined],
    ]);
    expect(got.map(({ bytes }) => bytes[47])).toEqual([0x10, 0x10, 0x18]);
  });

  it('joins guests and the user network', async () => {
    const clock = createManualClock();
    const host = createMemoryHost(clock);
    const hub = createSwitch({ clock });
    const network = createUserNetwork({ clock, host, random: () => 0.5 });
    joinLinks(hub.port({ name: 'uplink' }), network);
    const guests = [1, 2].map((n) =>
      createTestGuest({
        link: hub.port({ mac: `00:16:3e:00:00:0${n}` }),
        clock,
        mac: `00:16:3e:00:00:0${n}`,
        ip: `10.0.2.${14 + n}`,
        gatewayMac: parseMac(network.mac ?? ''),
      }),
    );
    host.services.set('127.0.0.1 80', (stream) => {
      stream.onData = (bytes) => stream.send(bytes);
    });
    const heard: number[][] = [[], []];
    guests.forEach((guest, n) => {
      const connection = guest.connect('10.0.2.2', 80, {
        connected: () => void connection.write(Uint8Array.of(n)),
        data: (bytes) => heard[n]?.push(...bytes),
        ended: () => undefined,
        closed: () => undefined,
      });
    });
    clock.advance(100);
    expect(heard).toEqual([[0], [1]]);
    for (const guest of guests) {
      expect(
        guest.packets().filter(({ destination, version }) => version === 4 && destination.text !== guest.ip.text),
      ).toEqual([]);
    }
  });
});
