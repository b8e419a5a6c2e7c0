import { RING } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBackRing, createFrontRing, ringCapacity } from './index.js';

function pair(pageCount = 1, entryBytes = 112, start = 0) {
  const memory = Array.from({ length: pageCount }, () => new Uint8Array(4096));
  const pages = () => memory;
  const front = createFrontRing(pages, pageCount, entryBytes);
  const words = new DataView(memory[0]!.buffer);
  for (const at of [RING.req_prod, RING.rsp_prod]) words.setUint32(at, start, true);
  const open = () => createBackRing({ pages, pageCount, entryBytes })!;
  return { front, back: open(), open, words, memory };
}
const put = (front: ReturnType<typeof createFrontRing>, value: number) =>
  front.put((entry) => {
    entry.setUint32(0, value, true);
    entry.setUint32(entry.byteLength - 4, ~value, true);
  });

describe('capacity', () => {
  it('is the largest power of two of entries', () => {
    expect([ringCapacity(112, 1), ringCapacity(108, 1), ringCapacity(112, 16), ringCapacity(12, 1)]).toEqual([
      32, 32, 512, 256,
    ]);
  });
});

describe('both ends', () => {
  it('carry everything in order, over page borders, for any mix of steps', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 4), fc.array(fc.nat(3), { maxLength: 400 }), (pageCount, steps) => {
        const { front, back } = pair(pageCount);
        const [taken, marks, received]: number[][] = [[], [], []];
        let [sent, answered] = [0, 0];
        for (const step of steps) {
          if (step === 0) {
            if (put(front, sent)) sent++;
            front.publish();
          } else if (step === 1) {
            const request = back.take();
            if (!request) continue;
            taken.push(request.getUint32(0, true));
            marks.push(~request.getUint32(108, true));
          } else if (step === 2 && answered < taken.length) {
            const value = taken[answered++]!;
            back.respond((entry) => entry.setUint32(0, value, true));
            back.publish();
          } else {
            const response = front.take();
            if (response) received.push(response.getUint32(0, true));
          }
        }
        expect(taken).toEqual(taken.map((_, at) => at));
        expect(marks).toEqual(taken);
        expect(received).toEqual(received.map((_, at) => at));
        expect(taken.length).toBeLessThanOrEqual(sent);
        expect(received.length).toBeLessThanOrEqual(answered);
        expect(back.outstanding).toBe(taken.length - answered);
      }),
    );
  });

  it('notify only who asked for it', () => {
    const { front, back } = pair();
    put(front, 1);
    expect(front.publish()).toBe(true);
    put(front, 2);
    expect(front.publish()).toBe(false);
    back.take();
    back.take();
    expect(back.rest()).toBe(false);
    put(front, 3);
    expect(front.publish()).toBe(true);
    back.respond(() => undefined);
    expect(back.publish()).toBe(true);
    back.respond(() => undefined);
    expect(back.publish()).toBe(false);
    expect(back.publish()).toBe(false);
  });

  it('says that something has come between the last look and the rest', () => {
    const { front, back } = pair();
    expect(back.take()).toBeUndefined();
    put(front, 1);
    front.publish();
    expect(back.rest()).toBe(true);
  });
});

describe('the back end', () => {
  it('copies a request before anyone looks at it', () => {
    const { front, back, memory } = pair();
    put(front, 5);
    front.publish();
    const request = back.take()!;
    memory[0]!.fill(0xff, 64);
    expect(request.getUint32(0, true)).toBe(5);
  });

  it('XSA-216: puts nothing of its own into a response beside what it writes', () => {
    const { front, back, memory } = pair();
    for (let round = 0; round < 2; round++) {
      put(front, 0xffffffff);
      front.publish();
      back.take();
      back.respond((entry) => entry.setUint8(8, round === 0 ? 0xaa : 0xbb));
      back.publish();
    }
    const [one, two] = [0, 1].map((at) => [...memory[0]!.subarray(64 + 112 * at, 64 + 112 * (at + 1))]);
    const expected = (byte: number) => Array.from({ length: 112 }, (_, at) => (at === 8 ? byte : 0));
    expect([one, two]).toEqual([expected(0xaa), expected(0xbb)]);
  });

  it.each([33, 100, 0x80000000, 0xffffffff])('stops at a producer that claims %i requests', (claim) => {
    const { back, words } = pair();
    words.setUint32(RING.req_prod, claim, true);
    expect(back.take()).toBeUndefined();
    expect(back.broken).toBe(true);
    words.setUint32(RING.req_prod, 1, true);
    expect(back.take()).toBeUndefined();
    expect(back.rest()).toBe(false);
  });

  it('stops at a producer that goes back', () => {
    const { front, back, words } = pair();
    for (const value of [1, 2, 3]) put(front, value);
    front.publish();
    for (let count = 0; count < 3; count++) back.take();
    words.setUint32(RING.req_prod, 2, true);
    expect(back.take()).toBeUndefined();
    expect(back.broken).toBe(true);
  });

  it('takes no more than it can answer', () => {
    const { front, back, words } = pair();
    for (let value = 0; value < 32; value++) put(front, value);
    front.publish();
    while (back.take());
    words.setUint32(RING.req_prod, 33, true);
    expect(back.take()).toBeUndefined();
    expect(back.outstanding).toBe(32);
  });

  it('goes on over the end of the index', () => {
    const { back, words } = pair(1, 112, 0xfffffffe);
    words.setUint32(RING.req_prod, 2, true);
    for (let count = 0; count < 4; count++) expect(back.take()).toBeDefined();
    expect(back.take()).toBeUndefined();
    for (let count = 0; count < 4; count++) back.respond(() => undefined);
    back.publish();
    expect(words.getUint32(RING.rsp_prod, true)).toBe(2);
    expect(back.broken).toBe(false);
  });

  it('begins where a ring stands, and refuses one that cannot be', () => {
    const { front, open, words } = pair();
    put(front, 1);
    put(front, 2);
    front.publish();
    words.setUint32(RING.rsp_prod, 1, true);
    expect(open().take()?.getUint32(0, true)).toBe(2);
    words.setUint32(RING.rsp_prod, 3, true);
    expect(open()).toBeUndefined();
  });

  it('never throws, whatever the page says', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.integer()), { maxLength: 60 }), (steps) => {
        const { back, words } = pair();
        for (const [step, value] of steps) {
          if (step === 0) words.setInt32(RING.req_prod, value, true);
          else if (step === 1) words.setInt32((value & 0xff) * 4, value, true);
          else if (step === 2 && back.take()) back.respond(() => undefined);
          else {
            back.publish();
            back.rest();
          }
          expect(back.outstanding).toBeLessThanOrEqual(back.entries);
        }
      }),
    );
  });
});
