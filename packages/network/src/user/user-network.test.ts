import { parseMac } from '@paravane/link-api';
import { linkConformance } from '@paravane/link-api/conformance';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { address, parseIpAddress } from '../address.js';
import { concat, get16, get32, put16, put32 } from '../bytes.js';
import { checksum, pseudoHeaderSum } from '../checksum.js';
import { ethernetHeaderBytes } from '../ethernet.js';
import { newPacket, Protocol } from '../ip.js';
import { createManualClock } from '../testing/manual-clock.js';
import { createMemoryHost } from '../testing/memory-host.js';
import { randomBytes, randomNumbers } from '../testing/random.js';
import { setUp } from '../testing/set-up.js';
import { arpFrame } from './arp.js';
import { dnsAnswer, parseDnsQuestion } from './dns.js';
import { parsePublish } from './publish.js';
import { canBeLeased, createUserNetwork, type UserNetworkOptions } from './user-network.js';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const bytesOf = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));

describe('the user network as a link', () => {
  const cases = linkConformance(() => {
    const clock = createManualClock();
    const network = createUserNetwork({ clock, host: createMemoryHost(clock), random: () => 0.5 });
    const mac = parseMac('02:00:00:00:00:09');
    const request = arpFrame('request', mac, address('10.0.2.15'), new Uint8Array(6).fill(0xff), address('10.0.2.2'));
    return {
      link: network,
      settle: () => clock.advance(10),
      provoke(count) {
        network.send(Array.from({ length: count }, () => ({ bytes: request })));
      },
    };
  });
  it.each(cases)('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

describe('ARP', () => {
  it.each(['10.0.2.2', '10.0.2.3'])('answers for %s', (target) => {
    const { guest, network } = setUp();
    guest.frames.length = 0;
    guest.send({ bytes: arpFrame('request', guest.mac, guest.ip, new Uint8Array(6).fill(0xff), address(target)) });
    const [reply] = guest.frames;
    expect(Buffer.from(reply?.bytes.subarray(0, 42) ?? []).toString('hex')).toBe(
      [
        '00163e000001',
        '525400123502',
        '0806',
        '0001080006040002',
        '525400123502',
        Buffer.from(address(target).bytes).toString('hex'),
        '00163e000001',
        '0a00020f',
      ].join(''),
    );
    expect(network.stats().ignored).toBe(0);
  });

  it('does not answer for guests, nor for others', () => {
    const { guest } = setUp();
    guest.frames.length = 0;
    for (const target of ['10.0.2.15', '10.0.2.16', '192.168.1.1']) {
      guest.send({ bytes: arpFrame('request', guest.mac, guest.ip, new Uint8Array(6).fill(0xff), address(target)) });
    }
    expect(guest.frames).toEqual([]);
  });
});

describe('ICMP', () => {
  it('answers an echo at the gateway with the same data', () => {
    const { guest } = setUp();
    const echo = concat(Uint8Array.of(8, 0, 0, 0, 0x12, 0x34, 0, 1), bytesOf('are you there?'));
    put16(echo, 2, checksum(echo));
    guest.send({ bytes: guest.ip4(Protocol.icmp, '10.0.2.2', echo) });
    const reply = guest.packets().at(-1);
    expect(reply && [reply.source.text, reply.destination.text]).toEqual(['10.0.2.2', '10.0.2.15']);
    const message = reply?.bytes.slice(reply.payload, reply.end) ?? new Uint8Array(0);
    expect(checksum(message)).toBe(0);
    expect([message[0], ...message.subarray(4)]).toEqual([0, ...echo.subarray(4)]);
  });

  it('answers a large echo, which comes and goes in fragments', () => {
    const { guest } = setUp();
    const echo = concat(Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1), randomBytes(randomNumbers(3), 3992));
    put16(echo, 2, checksum(echo));
    const piece = (at: number, length: number, more: boolean): Uint8Array => {
      const { frame, payload } = newPacket({
        toMac: parseMac('52:54:00:12:35:02'),
        fromMac: guest.mac,
        source: guest.ip,
        destination: address('10.0.2.2'),
        protocol: Protocol.icmp,
        payloadBytes: length,
        id: 77,
        placement: (more ? 0x2000 : 0) | (at / 8),
      });
      frame.set(echo.subarray(at, at + length), payload);
      return frame;
    };
    // Out of order.
    guest.send({ bytes: piece(2960, 1040, false) }, { bytes: piece(0, 1480, true) });
    expect(guest.packets().filter(({ version }) => version === 4)).toEqual([]);
    guest.send({ bytes: piece(1480, 1480, true) });
    const replies = guest.packets().filter(({ version }) => version === 4);
    expect(replies.map(({ fragment }) => fragment?.offset)).toEqual([0, 1480, 2960]);
    const whole = concat(...replies.map(({ bytes, payload, end }) => bytes.subarray(payload, end)));
    expect(Buffer.compare(whole.subarray(4), echo.subarray(4))).toBe(0);
    expect(checksum(whole)).toBe(0);
  });
});

describe('DNS', () => {
  function query(name: string, type = 1): Uint8Array {
    const labels = name.split('.').flatMap((label) => [label.length, ...bytesOf(label)]);
    return Uint8Array.of(0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
  }
  const answerOf = (message: Uint8Array, addresses: string[]): Uint8Array => {
    const question = parseDnsQuestion(message);
    if (!question) throw new Error('no question');
    return dnsAnswer(
      message,
      question,
      0,
      addresses.map((data) => ({ type: question.type, seconds: 60, data: address(data).bytes })),
    );
  };

  it('hands a query to the host and its answer back, over UDP', async () => {
    const { guest, host, settle } = setUp();
    host.answer = async (message) => answerOf(message, ['192.0.2.7']);
    guest.udp('10.0.2.3', 53, query('deb.example.org'), 3333);
    await settle();
    const [answer] = guest.datagrams();
    expect([answer?.from, answer?.sourcePort, answer?.port]).toEqual(['10.0.2.3', 53, 3333]);
    expect(answer && [get16(answer.data, 0), get16(answer.data, 6), ...answer.data.slice(-4)]).toEqual([
      0xabcd, 1, 192, 0, 2, 7,
    ]);
  });

  it('says that a long answer needs TCP, and gives it there', async () => {
    const { guest, host, settle, clock } = setUp();
    const many = Array.from({ length: 100 }, (_, i) => `192.0.2.${i}`);
    host.answer = async (message) => answerOf(message, many);
    guest.udp('10.0.2.3', 53, query('many.example.org'));
    await settle();
    const [cut] = guest.datagrams();
    expect(cut && [(cut.data[2] ?? 0) & 2, cut.data.length < 512]).toEqual([2, true]);
    const got: Uint8Array[] = [];
    const connection = guest.connect('10.0.2.3', 53, {
      data: (bytes) => got.push(bytes),
      ended: () => undefined,
      closed: () => undefined,
    });
    clock.advance(20);
    const asked = query('many.example.org');
    connection.write(concat(Uint8Array.of(0, asked.length), asked));
    clock.advance(20);
    await settle();
    await settle();
    const whole = concat(...got);
    expect([get16(whole, 0), get16(whole, 8)]).toEqual([whole.length - 2, 100]);
  });

  it('says that the server failed where the host has no answer, or too many wait', async () => {
    const { guest, host, settle } = setUp();
    guest.udp('10.0.2.3', 53, query('a.example.org'));
    await settle();
    expect((guest.datagrams()[0]?.data[3] ?? 0) & 15).toBe(2);
    guest.frames.length = 0;
    host.answer = () => new Promise(() => undefined);
    for (let i = 0; i < 200; i++) guest.udp('10.0.2.3', 53, query(`a${i}.example.org`));
    expect(guest.datagrams().length).toBe(136);
  });

  it('ignores what is no query', () => {
    const { guest } = setUp();
    for (let length = 0; length < 40; length++) guest.udp('10.0.2.3', 53, new Uint8Array(length).fill(length));
    expect(guest.datagrams()).toEqual([]);
  });
});

describe('UDP', () => {
  it('reaches a service of the host and carries its reply back', async () => {
    const { guest, host, settle } = setUp();
    host.datagramServices.set('127.0.0.1 9', (bytes) => concat(bytesOf('echo '), bytes));
    guest.udp('10.0.2.2', 9, bytesOf('hello'), 1234);
    await settle();
    expect(guest.datagrams()).toEqual([{ from: '10.0.2.2', sourcePort: 9, port: 1234, data: bytesOf('echo hello') }]);
  });

  it('carries datagrams of any length, in fragments where they are long', async () => {
    const { guest, host, settle } = setUp();
    const large = randomBytes(randomNumbers(5), 60_000);
    host.datagramServices.set('127.0.0.1 9', () => large);
    guest.udp('10.0.2.2', 9, Uint8Array.of(1));
    await settle();
    const pieces = guest.packets().filter(({ protocol }) => protocol === Protocol.udp);
    const whole = concat(...pieces.map(({ bytes, payload, end }) => bytes.subarray(payload, end)));
    expect(Buffer.compare(whole.subarray(8), large)).toBe(0);
  });

  it('drops what comes from where the guest has not sent to', async () => {
    const { guest, host, settle } = setUp();
    guest.udp('192.0.2.1', 9, Uint8Array.of(1));
    await settle();
    host.sockets[0]?.receive(Uint8Array.of(2), { address: '192.0.2.1', port: 10 });
    host.sockets[0]?.receive(Uint8Array.of(2), { address: '192.0.2.2', port: 9 });
    expect(guest.datagrams()).toEqual([]);
    host.sockets[0]?.receive(Uint8Array.of(2), { address: '192.0.2.1', port: 9 });
    expect(guest.datagrams().length).toBe(1);
  });

  it('has a bounded number of flows, and ends those that are idle', async () => {
    const { guest, network, settle, clock } = setUp();
    for (let port = 1; port < 2000; port++) guest.udp('192.0.2.1', 9, Uint8Array.of(1), port);
    await settle();
    expect(network.stats().udpFlows).toBe(256);
    clock.advance(200_000);
    expect(network.stats().udpFlows).toBe(0);
  });

  it('publishes a port', async () => {
    const { guest, host, network, settle } = setUp();
    await network.publish(parsePublish('127.0.0.1:5300:53/udp'));
    guest.udp('10.0.2.2', 1, Uint8Array.of(0));
    host.sockets[0]?.receive(bytesOf('question'), { address: '127.0.0.1', port: 777 });
    const [question] = guest.datagrams();
    expect(question && [question.from, question.port, text(question.data)]).toEqual(['10.0.2.2', 53, 'question']);
    guest.udp('10.0.2.2', question?.sourcePort ?? 0, bytesOf('answer'), 53);
    await settle();
    expect(host.sockets[0]?.sent).toEqual([{ bytes: bytesOf('answer'), address: '127.0.0.1', port: 777 }]);
  });
});

describe('IPv6', () => {
  const linkLocal = 'fe80::216:3eff:fe00:1';
  function icmp6(
    guest: ReturnType<typeof setUp>['guest'],
    to: string,
    message: Uint8Array,
    hopLimit = 255,
  ): Uint8Array {
    const { frame, payload } = newPacket({
      toMac: parseMac('52:54:00:12:35:02'),
      fromMac: guest.mac,
      source: address(linkLocal),
      destination: address(to),
      protocol: Protocol.icmp6,
      payloadBytes: message.length,
      hopLimit,
    });
    frame.set(message, payload);
    put16(
      frame,
      payload + 2,
      checksum(frame, payload, frame.length, pseudoHeaderSum(frame, ethernetHeaderBytes, 58, message.length)),
    );
    return frame;
  }

  it('advertises fec0::/64 and the name server to who asks', () => {
    const { guest } = setUp();
    guest.frames.length = 0;
    const frame = icmp6(guest, 'ff02::2', Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0));
    frame.set([0x33, 0x33, 0, 0, 0, 2]);
    guest.send({ bytes: frame });
    const [packet] = guest.packets();
    const message = packet?.bytes.subarray(packet.payload, packet.end) ?? new Uint8Array(0);
    expect([packet?.source.text, packet?.hopLimit, message[0]]).toEqual(['fe80::2', 255, 134]);
    const hex = Buffer.from(message).toString('hex');
    expect(hex).toContain('030440c0');
    expect(hex).toContain('fec00000000000000000000000000000');
    expect(hex).toContain('fec00000000000000000000000000003');
  });

  it('answers neighbor solicitations for its addresses only, and echo', () => {
    const { guest } = setUp();
    guest.frames.length = 0;
    const solicit = (target: string) =>
      icmp6(
        guest,
        target,
        concat(Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0), address(target).bytes, Uint8Array.of(1, 1), guest.mac),
      );
    guest.send({ bytes: solicit('fec0::2') });
    const [packet] = guest.packets();
    expect(packet && [packet.source.text, packet.bytes[packet.payload], packet.bytes[packet.payload + 4]]).toEqual([
      'fec0::2',
      136,
      0xe0,
    ]);
    guest.frames.length = 0;
    guest.send({ bytes: solicit('fec0::99') });
    expect(guest.frames).toEqual([]);
    guest.send({ bytes: icmp6(guest, 'fec0::2', Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 1, 42), 64) });
    const echo = guest.packets().at(-1);
    expect(echo && [echo.bytes[echo.payload], echo.bytes[echo.end - 1]]).toEqual([129, 42]);
  });
});

describe('what can be reached', () => {
  function reach(to: string, options: Partial<UserNetworkOptions>, own: string[] = []) {
    const { guest, host, clock } = setUp(options, to.includes(':') ? { ip: 'fec0::15' } : {});
    host.own = own;
    guest.connect(to, 80, { data: () => undefined, ended: () => undefined, closed: () => undefined });
    guest.udp(to, 80, Uint8Array.of(1));
    clock.advance(10);
    return {
      tcp: host.connects,
      refused: guest.segments().some(({ flags }) => (flags & 4) !== 0),
      sockets: host.sockets.length,
    };
  }
  it.each([
    ['10.0.2.2', '127.0.0.1 80'],
    ['192.0.2.1', '192.0.2.1 80'],
    ['192.168.7.7', '192.168.7.7 80'],
    ['fec0::2', '::1 80'],
    ['2001:db8::1', '2001:db8::1 80'],
  ])('%s leads to %s', (to, outer) => {
    expect(reach(to, {})).toEqual({ tcp: [outer], refused: true, sockets: 1 });
  });
  it.each([
    '127.0.0.1',
    '127.8.8.8',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '10.0.2.3',
    '10.0.2.99',
    '::1',
    '::',
    '::ffff:127.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    'fe80::1',
    'ff02::1',
    'fec0::99',
  ])('%s leads nowhere', (to) => {
    expect(reach(to, {})).toMatchObject({ tcp: [], sockets: 0 });
  });
  it.each(['10.0.2.2', 'fec0::2', 'fe80::2', '192.168.7.7', '2001:db8::7'])(
    'without host access, %s of the host leads nowhere',
    (to) => {
      const own = ['127.0.0.1', '192.168.7.7', '2001:DB8:0::7'];
      expect(reach(to, { hostAccess: false }, own)).toMatchObject({ tcp: [], sockets: 0 });
    },
  );
  it('without access to the outside, only the host is there', () => {
    expect(reach('192.0.2.1', { outsideAccess: false })).toMatchObject({ tcp: [], refused: true, sockets: 0 });
    expect(reach('10.0.2.2', { outsideAccess: false }).tcp).toEqual(['127.0.0.1 80']);
  });
  it('nobody speaks from an address that was leased to another station', () => {
    const { guest, host, clock, network } = setUp();
    const lease = new Uint8Array(8 + 300);
    put16(lease, 0, 68);
    put16(lease, 2, 67);
    put16(lease, 4, lease.length);
    lease.set([1, 1, 6, 0], 8);
    lease.set(parseMac('00:16:3e:00:00:02'), 8 + 28);
    put32(lease, 8 + 236, 0x63825363);
    lease.set([53, 1, 3, 50, 4, 10, 0, 2, 15, 255], 8 + 240);
    const frame = guest.ip4(Protocol.udp, '255.255.255.255', lease, '0.0.0.0');
    frame.set(parseMac('00:16:3e:00:00:02'), 6);
    guest.send({ bytes: frame });
    expect(network.leaseOf('00:16:3e:00:00:02')).toBe('10.0.2.15');
    guest.udp('10.0.2.2', 80, Uint8Array.of(1));
    clock.advance(10);
    expect(host.sockets.length).toBe(0);
  });
});

describe('hostile frames', () => {
  it('never throw, whatever their bytes', () => {
    const { guest, network, clock, host } = setUp();
    host.services.set('127.0.0.1 80', () => undefined);
    const valid: Uint8Array[] = [
      arpFrame('request', guest.mac, guest.ip, new Uint8Array(6).fill(0xff), address('10.0.2.2')),
      guest.ip4(Protocol.icmp, '10.0.2.2', Uint8Array.of(8, 0, 0xf7, 0xff, 0, 0, 0, 0)),
      guest.ip4(
        Protocol.tcp,
        '10.0.2.2',
        Uint8Array.of(
          9,
          9,
          0,
          80,
          0,
          0,
          0,
          1,
          0,
          0,
          0,
          0,
          0xa0,
          2,
          255,
          255,
          0,
          0,
          0,
          0,
          2,
          4,
          5,
          180,
          4,
          2,
          8,
          10,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          0,
          1,
          3,
          3,
          7,
        ),
      ),
      guest.ip4(
        Protocol.udp,
        '10.0.2.3',
        Uint8Array.of(9, 9, 0, 53, 0, 25, 0, 0, 1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1),
      ),
      guest.ip4(
        Protocol.udp,
        '255.255.255.255',
        concat(Uint8Array.of(0, 68, 0, 67, 1, 0x34, 0, 0, 1, 1, 6), new Uint8Array(297)),
      ),
    ];
    fc.assert(
      fc.property(
        fc.nat(valid.length - 1),
        fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 6 }),
        fc.nat(400),
        fc.boolean(),
        fc.constantFrom(undefined, 'blank' as const, 'verified' as const),
        (which, changes, length, fixIp, state) => {
          const bytes = (valid[which] ?? new Uint8Array(0)).slice(0, Math.max(length, 10));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          // Past the first check, so that what is behind it is reached.
          if (fixIp && bytes.length >= 34 && bytes[14] === 0x45) {
            put16(bytes, 16, bytes.length - 14);
            put16(bytes, 24, 0);
            put16(bytes, 24, checksum(bytes, 14, 34));
          }
          const gso = changes.length === 3 ? { gso: { type: 'tcp4' as const, size: changes[0]?.[0] ?? 0 } } : {};
          expect(network.send([{ bytes, ...(state && { checksum: state }), ...gso }])).toBe(1);
        },
      ),
      { numRuns: 5000 },
    );
    clock.advance(100_000);
    expect(network.stats().heldBytes).toBeLessThan(1 << 20);
  });
  it('of fragments hold a bounded memory', () => {
    const { guest, network } = setUp();
    const before = network.stats();
    for (let id = 0; id < 5000; id++) {
      const { frame } = newPacket({
        toMac: parseMac('52:54:00:12:35:02'),
        fromMac: guest.mac,
        source: guest.ip,
        destination: address('10.0.2.2'),
        protocol: Protocol.icmp,
        payloadBytes: 1480,
        id,
        placement: 0x2000,
      });
      guest.send({ bytes: frame });
    }
    expect(network.stats()).toEqual(before);
  });
});

describe('addresses', () => {
  it.each([
    ['::1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::ffff:1.2.3.4', '::ffff:102:304'],
    ['fec0:0:0:0:0:0:0:2', 'fec0::2'],
    ['1.2.3.4', '1.2.3.4'],
  ])('%s is %s', (written, canonical) => {
    expect(parseIpAddress(written)?.text).toBe(canonical);
  });
  it.each(['', '1.2.3', '01.2.3.4', '256.1.1.1', ':::', '1::2::3', '12345::', 'fe80::1%eth0', '1:2:3:4:5:6:7'])(
    '%j is none',
    (written) => {
      expect(parseIpAddress(written)).toBeUndefined();
    },
  );
  it('of forwards are read as people write them', () => {
    expect(parsePublish('2222:22')).toEqual({
      protocol: 'tcp',
      hostAddress: '127.0.0.1',
      hostPort: 2222,
      guestPort: 22,
    });
    expect(parsePublish('[::]:53:53/udp')).toEqual({ protocol: 'udp', hostAddress: '::', hostPort: 53, guestPort: 53 });
    expect(parsePublish('0.0.0.0:0:80')).toMatchObject({ hostAddress: '0.0.0.0', hostPort: 0 });
    expect(parsePublish('8080:10.0.2.16:80')).toEqual({
      protocol: 'tcp',
      hostAddress: '127.0.0.1',
      hostPort: 8080,
      guestAddress: '10.0.2.16',
      guestPort: 80,
    });
    expect(parsePublish('0.0.0.0:53:10.0.2.16:53/udp')).toMatchObject({ hostAddress: '0.0.0.0', protocol: 'udp' });
    for (const wrong of ['', '22', 'a:22', '1:2:3:4', '70000:22', '22:0', '22:22/sctp', 'host:22:22']) {
      expect(() => parsePublish(wrong)).toThrow(/--publish/);
    }
  });
  it('can be a guest’s where DHCP can give them', () => {
    expect(['10.0.2.4', '10.0.2.254'].every(canBeLeased)).toBe(true);
    expect(['10.0.2.0', '10.0.2.2', '10.0.2.3', '10.0.2.255', '10.0.3.4', 'fec0::20', 'x'].some(canBeLeased)).toBe(
      false,
    );
  });
  it('keep a 32-bit word as it is', () => {
    expect(get32(Uint8Array.of(0xff, 0, 0, 1), 0)).toBe(0xff000001);
  });
});
