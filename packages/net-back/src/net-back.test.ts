import { NETIF_RSP, XenbusState } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NETRXF, NETTXF } from './layout.js';
import { createScriptedFront, type FrontOptions } from './testing/scripted-front.js';

const frame = (length: number, fill = 1): Uint8Array => new Uint8Array(length).fill(fill, 6).fill(2, 0, 6);
const numbered = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 7) & 0xfe);

describe('connecting', () => {
  it('offers what Linux asks for', () => {
    const { store, back, backend } = createScriptedFront({ offeredQueues: 4 });
    const offered = Object.fromEntries((store.ls(back) ?? []).map((name) => [name, store.read(`${back}/${name}`)]));
    expect(offered).toMatchObject({
      'feature-sg': '1',
      'feature-gso-tcpv4': '1',
      'feature-gso-tcpv6': '1',
      'feature-rx-copy': '1',
      'feature-split-event-channels': '1',
      'multi-queue-max-queues': '4',
    });
    expect([backend.device.state, backend.connected]).toEqual([XenbusState.Connected, true]);
  });

  it.each<[string, FrontOptions]>([
    ['pages to be exchanged', { nodes: { 'request-rx-copy': 0 } }],
    ['no ring', { nodes: { 'tx-ring-ref': 'x' } }],
    ['a ring that is not granted', { nodes: { 'rx-ring-ref': 4000 } }],
    ['half a pair of channels', { nodes: { 'event-channel-rx': '' } }],
    ['a channel that is not there', { nodes: { 'event-channel-tx': 999 } }],
    ['more queues than offered', { nodes: { 'multi-queue-num-queues': 2 } }],
  ])('refuses %s, and holds nothing', (_, options) => {
    const { backend, guest, log } = createScriptedFront(options);
    expect([backend.connected, log.length, guest.uses(), guest.portsHeld()]).toEqual([false, 1, 0, 0]);
  });

  it('gives everything back at the end, however it ends', () => {
    const parted = createScriptedFront();
    parted.device.close();
    const died = createScriptedFront();
    died.guest.destroy();
    const closed = createScriptedFront();
    closed.backend.close();
    for (const { guest, backend, link } of [parted, died, closed]) {
      expect([guest.uses(), guest.portsHeld(), backend.connected]).toEqual([0, 0, false]);
      expect(link.give({ bytes: frame(60) })).toBe(1);
    }
  });

  it('serves again after a restart of the front end', () => {
    const front = createScriptedFront();
    front.device.close();
    front.device.restart();
    front.guest.settle();
    front.sendFrame(frame(60));
    expect([front.backend.connected, front.link.taken.length]).toEqual([true, 1]);
  });
});

describe('what the guest sends', () => {
  it.each([
    [0, {}],
    [NETTXF.csum_blank | NETTXF.data_validated, { checksum: 'blank' }],
    [NETTXF.data_validated, { checksum: 'verified' }],
  ])('arrives with what flags %i say', (flags, more) => {
    const front = createScriptedFront();
    front.sendFrame(numbered(300), flags);
    expect(front.link.taken).toEqual([{ bytes: numbered(300), ...more }]);
    expect(front.txResponses()).toEqual([[1, NETIF_RSP.OKAY]]);
    expect(front.backend.stats).toMatchObject({ framesSent: 1, bytesSent: 300, errors: 0 });
  });

  it('may lie in several pages, with a segmentation', () => {
    const front = createScriptedFront();
    const whole = numbered(9000);
    const [a, b, c] = [front.page(), front.page(), front.page()];
    a.bytes().set(whole.subarray(0, 2000), 96);
    b.bytes().set(whole.subarray(2000, 6096));
    c.bytes().set(whole.subarray(6096), 1000);
    const { more_data, extra_info, csum_blank } = NETTXF;
    front.put({ gref: a.ref, offset: 96, size: 9000, id: 7, flags: more_data | extra_info | csum_blank });
    front.putExtra([1, 0, 1448 & 255, 1448 >> 8, 1]);
    front.put({ gref: b.ref, size: 4096, id: 8, flags: more_data });
    front.put({ gref: c.ref, offset: 1000, size: 2904, id: 9 });
    front.kick();
    expect(front.link.taken).toEqual([{ bytes: whole, checksum: 'blank', gso: { type: 'tcp4', size: 1448 } }]);
    expect(front.txResponses()).toEqual([
      [7, NETIF_RSP.OKAY],
      [0, NETIF_RSP.NULL],
      [8, NETIF_RSP.OKAY],
      [9, NETIF_RSP.OKAY],
    ]);
  });

  it('waits in the ring while the link has no room', () => {
    const front = createScriptedFront();
    front.link.room = 0;
    for (let i = 0; i < 200; i++) front.put({ gref: front.page(frame(60)).ref, size: 60, id: i });
    front.kick();
    expect(front.link.taken.length).toBe(0);
    expect(front.txResponses().length).toBeLessThanOrEqual(64);
    front.link.room = Number.POSITIVE_INFINITY;
    front.link.user?.resume();
    expect([front.link.taken.length, front.backend.stats.framesSent]).toEqual([200, 200]);
  });

  it('is an error where its page is not granted, or it is too short', () => {
    const front = createScriptedFront();
    front.put({ gref: 3999, size: 60, id: 1 });
    front.put({ gref: front.page().ref, size: 13, id: 2 });
    front.put({ gref: front.page(frame(60)).ref, size: 60, id: 3 });
    front.kick();
    expect(front.txResponses()).toEqual([
      [1, NETIF_RSP.ERROR],
      [2, NETIF_RSP.ERROR],
      [3, NETIF_RSP.OKAY],
    ]);
    expect([front.link.taken.length, front.backend.stats.errors, front.backend.connected]).toEqual([1, 2, true]);
  });

  it.each<[string, (front: ReturnType<typeof createScriptedFront>) => void]>([
    ['ends behind the ring', (front) => front.put({ size: 100, flags: NETTXF.more_data })],
    ['lacks its extra information', (front) => front.put({ size: 100, flags: NETTXF.extra_info })],
    ['reaches beyond a page', (front) => front.put({ size: 100, offset: 4000 })],
    [
      'is shorter than its parts',
      (front) => {
        front.put({ size: 100, flags: NETTXF.more_data });
        front.put({ size: 101 });
      },
    ],
    [
      'has too many parts',
      (front) => {
        for (let i = 0; i < 30; i++) front.put({ size: 1000, flags: NETTXF.more_data });
      },
    ],
    [
      'has extra information that nobody knows',
      (front) => {
        front.put({ size: 100, flags: NETTXF.extra_info });
        front.putExtra([77, 0]);
      },
    ],
  ])('ends the interface where it %s', (_, put) => {
    const front = createScriptedFront();
    put(front);
    front.kick();
    expect([front.backend.connected, front.guest.uses(), front.log.length]).toEqual([false, 0, 1]);
  });
});

describe('frames of a guest that goes on sending', () => {
  const events = (front: ReturnType<typeof createScriptedFront>) => {
    const { tx = 0, rx = 0 } = front.ports[0] ?? {};
    return [front.guest.received(tx), front.guest.received(rx)];
  };

  it('are taken together when it waits, and answered with one event, a little later', () => {
    const front = createScriptedFront({ gathers: true });
    front.idle();
    const [before = 0] = events(front);
    for (let i = 0; i < 10; i++) front.sendFrame(frame(60));
    expect([front.link.taken.length, front.idle()]).toEqual([0, 1]);
    expect([front.link.taken.length, front.txResponses().length, events(front)[0]]).toEqual([10, 10, before]);
    expect(front.idle()).toBe(1);
    expect(events(front)[0]).toBe(before + 1);
    expect(front.idle()).toBe(0);
  });

  it('are answered with the next frame that it receives, where one comes first', () => {
    for (const split of [true, false]) {
      const front = createScriptedFront({ gathers: true, split });
      front.leave(4);
      front.idle();
      front.idle();
      const before = front.backend.stats.eventsOut;
      front.sendFrame(frame(60));
      front.idle();
      expect(front.backend.stats.eventsOut).toBe(before);
      front.link.give({ bytes: frame(60) });
      expect(front.backend.stats.eventsOut).toBe(before + (split ? 2 : 1));
      front.idle();
      expect(front.backend.stats.eventsOut).toBe(before + (split ? 2 : 1));
    }
  });

  it('are let go with the ring', () => {
    const front = createScriptedFront({ gathers: true });
    front.sendFrame(frame(60));
    front.device.close();
    front.idle();
    expect([front.link.taken.length, front.guest.uses(), front.guest.portsHeld()]).toEqual([0, 0, 0]);
  });
});

describe('a rate limit', () => {
  /** A clock that stands still until `pass`. */
  function manualClock() {
    let now = 0;
    let due: { at: number; run: () => void } | undefined;
    return {
      now: () => now,
      schedule(delay: number, run: () => void) {
        due = { at: now + delay, run };
        return () => {
          due = undefined;
        };
      },
      pass(milliseconds: number) {
        const end = now + milliseconds;
        while (due && due.at <= end) {
          const { at, run } = due;
          due = undefined;
          now = at;
          run();
        }
        now = end;
      },
      get waits() {
        return due !== undefined;
      },
    };
  }

  it('lets what the guest sends go by credit, and holds back the rest in its ring', () => {
    const clock = manualClock();
    const front = createScriptedFront({ rate: { bytes: 1000, interval: 10_000, clock } });
    const page = front.page(frame(500));
    for (let i = 0; i < 100; i++) front.put({ gref: page.ref, size: 500, id: i });
    front.kick();
    expect(front.link.taken.length).toBe(2);
    clock.pass(100);
    expect(front.link.taken.length).toBe(22);
    clock.pass(389);
    expect(front.link.taken.length).toBe(98);
    clock.pass(10);
    expect([front.link.taken.length, front.txResponses().length]).toEqual([100, 100]);
    front.sendFrame(frame(60));
    expect(front.link.taken.length).toBe(100);
    clock.pass(10);
    expect(front.link.taken.length).toBe(101);
  });

  it('takes a frame above the credit whole, and waits until it is paid back', () => {
    const clock = manualClock();
    const front = createScriptedFront({ rate: { bytes: 100, interval: 1000, clock } });
    front.sendFrame(frame(1500));
    front.sendFrame(frame(60));
    expect(front.link.taken.length).toBe(1);
    clock.pass(14);
    expect(front.link.taken.length).toBe(1);
    clock.pass(1);
    expect(front.link.taken.length).toBe(2);
  });

  it('saves up no more than a burst, and limits nothing that the guest receives', () => {
    const clock = manualClock();
    const front = createScriptedFront({ rate: { bytes: 1000, interval: 1000, clock } });
    clock.pass(1e6);
    const page = front.page(frame(1500));
    for (let i = 0; i < 200; i++) front.put({ gref: page.ref, size: 1500, id: i });
    front.kick();
    expect(front.link.taken.length).toBe(88);
    front.leave(100);
    expect(front.link.give(...Array.from({ length: 90 }, () => ({ bytes: frame(1500) })))).toBe(90);
  });

  it('forgets what waited when the interface is closed', () => {
    const clock = manualClock();
    const front = createScriptedFront({ rate: { bytes: 10, interval: 1000, clock } });
    for (let i = 0; i < 4; i++) front.sendFrame(frame(60));
    expect(clock.waits).toBe(true);
    front.backend.close();
    expect(clock.waits).toBe(false);
    clock.pass(1000);
    expect([front.link.taken.length, front.guest.uses()]).toEqual([1, 0]);
  });
});

describe('what the guest receives', () => {
  it('comes with its flags, in its order', () => {
    const front = createScriptedFront();
    front.leave(20);
    const sent = [frame(60), numbered(1514), numbered(9000)];
    expect(
      front.link.give(
        { bytes: sent[0] as Uint8Array },
        { bytes: sent[1] as Uint8Array, checksum: 'verified' },
        { bytes: sent[2] as Uint8Array, checksum: 'blank', gso: { type: 'tcp6', size: 1400 } },
      ),
    ).toBe(3);
    const { data_validated, csum_blank, extra_info, more_data } = NETRXF;
    expect(front.received()).toEqual([
      { bytes: sent[0], flags: 0 },
      { bytes: sent[1], flags: data_validated },
      { bytes: sent[2], flags: data_validated | csum_blank | extra_info | more_data, gso: { size: 1400, type: 2 } },
    ]);
    expect(front.guest.received(front.ports[0]?.rx ?? 0)).toBeGreaterThan(0);
    expect(front.guest.received(front.ports[0]?.tx ?? 0)).toBe(0);
  });

  it('waits until the guest leaves pages', () => {
    const front = createScriptedFront();
    front.leave(2);
    expect(front.link.give(...[1, 2, 3].map((fill) => ({ bytes: frame(60, fill) })))).toBe(2);
    expect(front.link.resumes).toBe(0);
    front.leave(5);
    expect(front.link.resumes).toBe(1);
    expect(front.link.give({ bytes: frame(60, 3) })).toBe(1);
    expect(front.received().map(({ bytes }) => bytes[20])).toEqual([1, 2, 3]);
  });

  it('is what the front end said that it can take', () => {
    expect(createScriptedFront().link.user?.offloads).toEqual({ blankChecksum: true, gso4: true, gso6: true });
    const plain = createScriptedFront({ nodes: { 'feature-sg': 0, 'feature-no-csum-offload': 1 } });
    expect(plain.link.user?.offloads).toEqual({ blankChecksum: false, gso4: false, gso6: false });
    plain.leave(8);
    expect(plain.link.give({ bytes: numbered(5000) }, { bytes: frame(60) })).toBe(2);
    expect([plain.received().length, plain.backend.stats.dropped]).toEqual([1, 1]);
  });

  it('are only the groups that it asked for, where it asks', () => {
    const front = createScriptedFront({ nodes: { 'request-multicast-control': 1 } });
    front.leave(8);
    const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 1);
    const to = (address: Uint8Array | undefined): { bytes: Uint8Array } => {
      const bytes = frame(60);
      bytes.set(address ?? new Uint8Array(6).fill(255));
      return { bytes };
    };
    front.link.give(to(group), to(undefined));
    expect(front.received().length).toBe(1);
    const join = (type: number): void => {
      front.put({ flags: NETTXF.extra_info });
      front.putExtra([type, 0, ...group]);
      front.kick();
    };
    join(2);
    front.link.give(to(group));
    expect(front.received().length).toBe(1);
    join(3);
    front.link.give(to(group));
    expect([front.received().length, front.backend.stats.dropped, front.link.taken.length]).toEqual([0, 2, 0]);
  });

  it('keeps the order of a flow over several queues, with channels of both kinds', () => {
    const front = createScriptedFront({ queues: 3, split: false });
    for (const queue of [0, 1, 2]) front.leave(100, queue);
    const flows = Array.from({ length: 150 }, (_, i) => {
      const bytes = numbered(100);
      bytes[30] = i % 10;
      bytes[60] = i;
      return { bytes };
    });
    expect(front.link.give(...flows)).toBe(150);
    const got = [0, 1, 2].map((queue) => front.received(queue));
    expect(got.reduce((sum, { length }) => sum + length, 0)).toBe(150);
    expect(got.filter(({ length }) => length > 0).length).toBeGreaterThan(1);
    for (const frames of got) {
      for (let flow = 0; flow < 10; flow++) {
        const order = frames.filter(({ bytes }) => bytes[30] === flow).map(({ bytes }) => bytes[60] ?? 0);
        expect(order).toEqual([...order].sort((a, b) => a - b));
      }
    }
    front.sendFrame(frame(60), 0, 2);
    expect(front.link.taken.length).toBe(1);
  });
});

describe('a hostile front end', () => {
  it('gets nothing, breaks nothing and leaves nothing behind', () => {
    const action = fc.record({
      kind: fc.constantFrom(
        ...([
          'put',
          'put',
          'scribble',
          'index',
          'kick',
          'kick',
          'idle',
          'leave',
          'give',
          'state',
          'restart',
          'room',
        ] as const),
      ),
      a: fc.nat(0xffffffff),
      b: fc.nat(0xffff),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), fc.boolean(), fc.boolean(), (actions, dies, gathers) => {
        const front = createScriptedFront({ gathers });
        const secret = front.page(new Uint8Array(4096).fill(0x77), 'read');
        const pages = [front.page(numbered(4096)), front.page(numbered(4096))];
        const refs = [...pages.map(({ ref }) => ref), secret.ref];
        for (const { kind, a, b } of actions) {
          const ring = front.ringBytes[a % 2]?.();
          const words = ring && new DataView(ring.buffer, ring.byteOffset, 4096);
          if (kind === 'put') {
            front.put({ gref: refs[a % 5] ?? a, size: b % 5000, offset: a % 3 ? 0 : b, flags: a & 15, id: b });
          } else if (kind === 'scribble') words?.setUint32((b % 1024) * 4, a, true);
          else if (kind === 'index') words?.setUint32((b % 4) * 4, a % 600, true);
          else if (kind === 'kick') front.kick();
          else if (kind === 'idle') front.idle();
          else if (kind === 'leave') front.leave(a % 8);
          else if (kind === 'give') front.link.give({ bytes: numbered(b % 20_000) }, { bytes: frame(60) });
          else if (kind === 'state') front.store.write(`${front.front}/state`, String(a % 9));
          else if (kind === 'room') front.link.room = a % 3;
          else {
            front.device.restart();
            front.guest.settle();
          }
        }
        if (dies) front.guest.destroy();
        else front.backend.close();
        front.idle();
        expect([front.guest.uses(), front.guest.portsHeld()]).toEqual([0, 0]);
        expect(secret.bytes().every((byte) => byte === 0x77)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});
