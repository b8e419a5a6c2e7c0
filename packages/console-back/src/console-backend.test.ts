import { XENCONS } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createConsoleBackend } from './console-backend.js';

function setUp(inputLimit?: number) {
  const page = new Uint8Array(4096);
  const words = new DataView(page.buffer);
  const get = (at: number) => words.getUint32(at, true);
  const set = (at: number, value: number) => words.setUint32(at, value, true);
  const said: number[] = [];
  let notified = 0;
  let drained = 0;
  const backend = createConsoleBackend({
    page: { bytes: () => page },
    notify: () => void notified++,
    onOutput: (bytes) => said.push(...bytes),
    onInputDrained: () => void drained++,
    ...(inputLimit === undefined ? {} : { inputLimit }),
  });

  /** Writes as much as fits, as a guest's driver does. */
  function say(bytes: Uint8Array): number {
    const producer = get(XENCONS.out_prod);
    const room = 2048 - ((producer - get(XENCONS.out_cons)) >>> 0);
    const count = Math.min(room, bytes.length);
    for (let index = 0; index < count; index++)
      page[XENCONS.out + (((producer + index) >>> 0) % 2048)] = bytes[index] ?? 0;
    set(XENCONS.out_prod, producer + count);
    return count;
  }

  function hear(): number[] {
    const consumer = get(XENCONS.in_cons);
    const count = (get(XENCONS.in_prod) - consumer) >>> 0;
    set(XENCONS.in_cons, consumer + count);
    return Array.from({ length: count }, (_, index) => page[XENCONS.in + (((consumer + index) >>> 0) % 1024)] ?? 0);
  }

  return { backend, page, get, set, say, hear, said, notified: () => notified, drained: () => drained };
}

const pattern = (length: number) => Uint8Array.from({ length }, (_, index) => (index * 7) % 251);

describe('output', () => {
  it('arrives complete and in order, around the end of the ring and of the indices', () => {
    const { backend, say, said, set, notified } = setUp();
    for (const at of [XENCONS.out_cons, XENCONS.out_prod]) set(at, 0xffff_fe00);
    const bytes = pattern(10_000);
    for (let sent = 0; sent < bytes.length; ) {
      sent += say(bytes.subarray(sent));
      backend.kick();
    }
    expect(Uint8Array.from(said)).toEqual(bytes);
    expect(notified()).toBe(5);
  });

  it('is not announced when there is none', () => {
    const { backend, notified } = setUp();
    backend.kick();
    expect(notified()).toBe(0);
  });
});

describe('input', () => {
  it('waits while the ring is full and follows as the guest reads', () => {
    const { backend, hear, drained } = setUp();
    const bytes = pattern(3000);
    expect(backend.input(bytes)).toBe(3000);
    expect(backend.queued).toBe(3000 - 1024);
    const heard: number[] = [];
    for (let part = hear(); part.length > 0; part = hear()) {
      heard.push(...part);
      backend.kick();
    }
    expect(Uint8Array.from(heard)).toEqual(bytes);
    expect([backend.queued, drained()]).toEqual([0, 1]);
  });

  it('is bounded', () => {
    const { backend } = setUp(100);
    expect(backend.input(pattern(200))).toBe(100);
    expect(backend.input(pattern(200))).toBe(100);
    const full = setUp(100);
    full.set(XENCONS.in_prod, 1024);
    expect(full.backend.input(pattern(200))).toBe(100);
    expect(full.backend.input(pattern(1))).toBe(0);
    full.backend.reset();
    expect(full.backend.queued).toBe(0);
  });
});

describe('a hostile guest', () => {
  it('is not served while its indices cannot be, and again when they can', () => {
    const { backend, set, said, say } = setUp();
    set(XENCONS.out_prod, 2049);
    backend.kick();
    expect([backend.broken, said.length]).toEqual([true, 0]);
    set(XENCONS.out_prod, 0);
    say(pattern(3));
    backend.kick();
    expect([backend.broken, said.length]).toEqual([false, 3]);
  });

  it('gets no more than a ring per kick out of us, whatever it writes', () => {
    const index = fc.oneof(fc.integer({ min: 0, max: 4096 }), fc.integer({ min: 0, max: 0xffff_ffff }));
    const poke = fc.record({
      at: fc.constantFrom(XENCONS.in_cons, XENCONS.in_prod, XENCONS.out_cons, XENCONS.out_prod),
      value: index,
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(poke, fc.integer({ min: 0, max: 2000 })), { maxLength: 40 }), (rounds) => {
        const { backend, set, said } = setUp();
        for (const [{ at, value }, typed] of rounds) {
          set(at, value);
          const before = said.length;
          backend.input(pattern(typed));
          expect(said.length - before).toBeLessThanOrEqual(2048);
          expect(backend.queued).toBeLessThanOrEqual(65_536);
        }
      }),
    );
  });

  it('whose page is gone is left alone', () => {
    const backend = createConsoleBackend({
      page: { bytes: () => undefined },
      notify: () => expect.fail(),
      onOutput: () => expect.fail(),
    });
    backend.kick();
    expect(backend.input(pattern(5))).toBe(5);
  });
});
