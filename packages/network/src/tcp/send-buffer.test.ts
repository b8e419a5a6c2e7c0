import { describe, expect, it } from 'vitest';
import { createSendBuffer, createSpareRings } from './send-buffer.js';

const bytesOf = (length: number, from: number) => Uint8Array.from({ length }, (_, at) => (from + at * 7) & 0xff);

describe('a send buffer', () => {
  it('takes what fits, wraps, and gives back the same bytes, with rings of others before it', () => {
    const spares = createSpareRings(1, 8192);
    for (let round = 0; round < 5; round++) {
      const buffer = createSendBuffer(16_384, spares);
      const first = bytesOf(10_000, round);
      const second = bytesOf(12_000, round + 100);
      expect(buffer.append(first)).toBe(10_000);
      buffer.drop(9000);
      expect(buffer.append(second)).toBe(12_000);
      expect(buffer.append(second)).toBe(16_384 - 13_000);
      const out = new Uint8Array(13_000);
      buffer.copy(0, 13_000, out, 0);
      expect(Buffer.compare(out.subarray(0, 1000), first.subarray(9000))).toBe(0);
      expect(Buffer.compare(out.subarray(1000), second)).toBe(0);
      buffer.drop(buffer.length);
    }
  });

  it('keeps large rings that are not in use, and not more of them than it may', () => {
    const spares = createSpareRings(1, 8192);
    const [one, two, small] = [new Uint8Array(8192), new Uint8Array(8192), new Uint8Array(4096)];
    for (const ring of [small, one, two]) spares.give(ring);
    expect([spares.take(4096) === small, spares.take(8192) === one]).toEqual([false, true]);
    const fresh = spares.take(8192);
    expect([fresh === one, fresh === two]).toEqual([false, false]);
  });
});
