import type { Frame } from '@paravane/link-api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checksum, checksumHolds, pseudoHeaderSum, sum16, updatedChecksum } from './checksum.js';
import { parseIp } from './ip.js';
import { adaptFrame } from './offload.js';
import { createCapture, tapLink } from './pcapng.js';
import { createSwitch } from './switch.js';
import { createManualClock } from './testing/manual-clock.js';

const fromHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));

/** A SYN of Linux to port 80, as tcpdump shows it: checksums as they were on the wire. */
const syn = fromHex(`
  52540012350252540012345608004500003c1c4640004006b1e6ac100a63ac100a0c`);

describe('checksums', () => {
  it('of a known IPv4 header (RFC 1071’s usual example)', () => {
    expect(checksumHolds(syn, 14, 34)).toBe(true);
    const header = syn.slice(14);
    header.fill(0, 10, 12);
    expect(checksum(header)).toBe(0xb1e6);
    expect(sum16(fromHex('0001f203f4f5f6f7'))).toBe(0xddf2);
  });

  it('of a known UDP packet over IPv4 and one over IPv6', () => {
    // DNS query for "a", 10.0.0.1:1024 to 10.0.0.2:53; sums worked out by hand.
    const four = fromHex('45000020000040004011 0000 0a000001 0a000002 04000035000c 0000 6162 6364');
    const udp4 = checksum(four, 20, 32, pseudoHeaderSum(four, 0, 17, 12));
    // 0a00+0001+0a00+0002+0011+000c+0400+0035+000c+6162+6364 = dd27
    expect(udp4).toBe(0xffff - 0xdd27);
    const six = fromHex(
      '60000000000c1140 20010db8000000000000000000000001 20010db8000000000000000000000002 04000035000c 0000 6162 6364',
    );
    // 2*(2001+0db8)+0001+0002+0011+000c+0400+0035+000c+6162+6364 = 5b72+c927 = 1 2499 -> 249a
    expect(checksum(six, 40, 52, pseudoHeaderSum(six, 0, 17, 12))).toBe(0xffff - 0x249a);
  });

  it('are what the definition says, at any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let sum = 0;
        for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
        while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
        expect(sum16(bytes)).toBe(sum);
      }),
    );
  });

  it('can be updated for a word that changes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.nat(0xffff), (bytes, word) => {
        const old = checksum(bytes);
        const oldWord = ((bytes[4] ?? 0) << 8) | (bytes[5] ?? 0);
        bytes.set([word >> 8, word & 255], 4);
        const changed = checksum(bytes);
        // 0 and 0xffff are the same number here.
        expect(updatedChecksum(old, oldWord, word) % 0xffff).toBe(changed % 0xffff);
      }),
    );
  });
});

describe('IP headers', () => {
  it('with lengths that lie are none', () => {
    const whole = new Uint8Array(60);
    whole.set(syn);
    expect(parseIp(whole, 14)).toBeUndefined();
    const longer = new Uint8Array(74);
    longer.set(syn);
    expect(parseIp(longer, 14)).toMatchObject({ protocol: 6, payload: 34, end: 74 });
    longer[14] = 0x4f;
    expect(parseIp(longer, 14)).toBeUndefined();
  });

  it('of version 6 may have extension headers, a bounded number', () => {
    const packet = (count: number): Uint8Array => {
      const bytes = new Uint8Array(40 + 8 * count + 8);
      bytes.set([0x60, 0, 0, 0, 0, 8 * count + 8, count > 0 ? 60 : 58, 64]);
      for (let i = 0; i < count; i++) bytes[40 + 8 * i] = i + 1 < count ? 60 : 58;
      return bytes;
    };
    expect(parseIp(packet(0), 0)).toMatchObject({ protocol: 58, payload: 40 });
    expect(parseIp(packet(3), 0)).toMatchObject({ protocol: 58, payload: 64 });
    expect(parseIp(packet(9), 0)).toBeUndefined();
  });

  it('never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.constantFrom(0x45, 0x46, 0x60, 0x4f), (bytes, first) => {
        if (bytes.length > 0) bytes[0] = first;
        const parsed = parseIp(bytes, 0);
        expect(!parsed || (parsed.payload <= parsed.end && parsed.end <= bytes.length)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('offloads', () => {
  it('of frames that are not what they claim change nothing, or drop them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(2000), fc.boolean(), (bytes, size, four) => {
        if (bytes.length > 23) bytes.set([8, 0, 0x45], 12);
        const before = bytes.slice();
        const frame: Frame = { bytes, checksum: 'blank', gso: { type: four ? 'tcp4' : 'tcp6', size } };
        for (const made of adaptFrame(frame, { blankChecksum: false, gso4: false, gso6: false }))
          expect(made.gso).toBeUndefined();
        adaptFrame({ bytes, checksum: 'blank' }, { blankChecksum: false, gso4: false, gso6: false });
        expect(bytes).toEqual(before);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('captures', () => {
  it('are blocks as pcapng defines them', () => {
    const parts: Uint8Array[] = [];
    const capture = createCapture({ write: (bytes) => parts.push(bytes), now: () => 1_700_000_000_123.456 });
    const hub = createSwitch({ clock: createManualClock() });
    const [plain, port] = [hub.port(), tapLink(hub.port(), capture.addInterface('vif1.0'))];
    port.attach({
      offloads: { blankChecksum: false, gso4: false, gso6: false },
      send: (frames) => frames.length,
      resume: () => undefined,
    });
    const frame = (from: number): Frame => ({
      bytes: Uint8Array.of(255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, from, 0x88, 0xb5, 42),
    });
    port.send([frame(1)]);
    plain.send([frame(2)]);
    const file = Buffer.concat(parts);
    const blocks: { type: number; body: Buffer }[] = [];
    for (let at = 0; at < file.length; ) {
      const length = file.readUInt32LE(at + 4);
      expect([length % 4, file.readUInt32LE(at + length - 4)]).toEqual([0, length]);
      blocks.push({ type: file.readUInt32LE(at), body: file.subarray(at + 8, at + length - 4) });
      at += length;
    }
    expect(blocks.map(({ type }) => type)).toEqual([0x0a0d0d0a, 1, 6, 6]);
    expect(blocks[0]?.body.readUInt32LE(0)).toBe(0x1a2b3c4d);
    expect([blocks[1]?.body.readUInt16LE(0), blocks[1]?.body.includes('vif1.0')]).toEqual([1, true]);
    for (const [at, direction] of [
      [2, 2],
      [3, 1],
    ] as const) {
      const body = blocks[at]?.body ?? Buffer.alloc(0);
      const time = BigInt(body.readUInt32LE(4)) * 0x100000000n + BigInt(body.readUInt32LE(8));
      expect([time, body.readUInt32LE(12), body.readUInt32LE(16)]).toEqual([1_700_000_000_123_456n, 15, 15]);
      expect(body[20 + 14]).toBe(42);
      expect([body.readUInt16LE(36), body.readUInt16LE(38), body.readUInt32LE(40)]).toEqual([2, 4, direction]);
    }
  });
});
