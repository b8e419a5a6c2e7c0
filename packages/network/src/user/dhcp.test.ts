import { parseMac } from '@paravane/link-api';
import { describe, expect, it } from 'vitest';
import { put16, put32 } from '../bytes.js';
import { Protocol } from '../ip.js';
import { setUp } from '../testing/set-up.js';

describe('DHCP', () => {
  function message(type: number, mac: Uint8Array, options: number[] = [], ciaddr = [0, 0, 0, 0]): Uint8Array {
    const bytes = new Uint8Array(300);
    bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    bytes.set(ciaddr, 12);
    bytes.set(mac, 28);
    put32(bytes, 236, 0x63825363);
    bytes.set([53, 1, type, ...options, 255], 240);
    return bytes;
  }
  function ask({ guest }: ReturnType<typeof setUp>, body: Uint8Array, mac = guest.mac) {
    guest.frames.length = 0;
    const payload = new Uint8Array(8 + body.length);
    put16(payload, 0, 68);
    put16(payload, 2, 67);
    put16(payload, 4, payload.length);
    payload.set(body, 8);
    const frame = guest.ip4(Protocol.udp, '255.255.255.255', payload, '0.0.0.0');
    frame.set(mac, 6);
    guest.send({ bytes: frame });
    const [reply] = guest.datagrams();
    if (!reply) return undefined;
    const options = new Map<number, number[]>();
    for (let at = 240; reply.data[at] !== 255 && at < reply.data.length; at += 2 + (reply.data[at + 1] ?? 0)) {
      options.set(reply.data[at] ?? 0, [...reply.data.subarray(at + 2, at + 2 + (reply.data[at + 1] ?? 0))]);
    }
    return { type: options.get(53)?.[0], your: [...reply.data.subarray(16, 20)].join('.'), options, reply };
  }

  it('leases 10.0.2.15 first, with gateway, name server, mask and lease time', () => {
    const test = setUp();
    const offer = ask(test, message(1, test.guest.mac));
    expect([offer?.type, offer?.your, offer?.reply.from]).toEqual([2, '10.0.2.15', '10.0.2.2']);
    const ack = ask(test, message(3, test.guest.mac, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]));
    expect([ack?.type, ack?.your]).toEqual([5, '10.0.2.15']);
    expect([1, 3, 6, 26, 51].map((code) => ack?.options.get(code))).toEqual([
      [255, 255, 255, 0],
      [10, 0, 2, 2],
      [10, 0, 2, 3],
      [5, 220],
      [0, 1, 0x51, 0x80],
    ]);
    expect(test.network.leaseOf('00:16:3e:00:00:01')).toBe('10.0.2.15');
  });

  it('gives each station its own address, and the same again', () => {
    const test = setUp();
    const second = parseMac('00:16:3e:00:00:02');
    expect(ask(test, message(1, test.guest.mac))?.your).toBe('10.0.2.15');
    expect(ask(test, message(1, second), second)?.your).toBe('10.0.2.16');
    expect(ask(test, message(1, test.guest.mac))?.your).toBe('10.0.2.15');
  });

  it('keeps addresses for the stations that it was told of', () => {
    const second = parseMac('00:16:3e:00:00:02');
    const third = parseMac('00:16:3e:00:00:03');
    const test = setUp({
      stations: [
        { mac: '00:16:3e:00:00:03' },
        { mac: '00:16:3e:00:00:02', address: '10.0.2.7' },
        { mac: '00:16:3e:00:00:01', address: '192.168.1.1' },
      ],
    });
    const other = parseMac('00:16:3e:00:00:04');
    expect(ask(test, message(1, other, [50, 4, 10, 0, 2, 15]), other)?.your).toBe('10.0.2.17');
    expect(ask(test, message(1, test.guest.mac))?.your).toBe('10.0.2.16');
    expect(ask(test, message(1, second, [50, 4, 10, 0, 2, 20]), second)?.your).toBe('10.0.2.7');
    expect(ask(test, message(1, third), third)?.your).toBe('10.0.2.15');
  });

  it('refuses an address that is another station, or not of this network', () => {
    const test = setUp();
    const second = parseMac('00:16:3e:00:00:02');
    ask(test, message(3, test.guest.mac, [50, 4, 10, 0, 2, 15]));
    expect(ask(test, message(3, second, [50, 4, 10, 0, 2, 15]), second)?.type).toBe(6);
    expect(ask(test, message(3, second, [50, 4, 192, 168, 1, 5]), second)?.type).toBe(6);
  });

  it('says nothing to a request for another server, and to who speaks for another station', () => {
    const test = setUp();
    expect(ask(test, message(3, test.guest.mac, [54, 4, 10, 0, 2, 99, 50, 4, 10, 0, 2, 15]))).toBeUndefined();
    expect(ask(test, message(1, parseMac('00:16:3e:00:00:02')), test.guest.mac)).toBeUndefined();
  });

  it('takes leases back, after a release and after their time', () => {
    const test = setUp();
    const second = parseMac('00:16:3e:00:00:02');
    ask(test, message(3, test.guest.mac, [50, 4, 10, 0, 2, 15]));
    ask(test, message(7, test.guest.mac));
    expect(ask(test, message(3, second, [50, 4, 10, 0, 2, 15]), second)?.type).toBe(5);
    test.clock.advance(86_400_001);
    expect(ask(test, message(1, test.guest.mac, [50, 4, 10, 0, 2, 15]))?.your).toBe('10.0.2.15');
  });

  it('outlives a flood of stations: who has an address keeps it, offers come back', () => {
    const test = setUp();
    ask(test, message(3, test.guest.mac, [50, 4, 10, 0, 2, 15]));
    for (let i = 0; i < 1000; i++) {
      const mac = Uint8Array.of(2, 0, 0, 1, i >> 8, i & 255);
      ask(test, message(1, mac), mac);
    }
    expect(ask(test, message(3, test.guest.mac, [50, 4, 10, 0, 2, 15]))?.type).toBe(5);
  });
});
