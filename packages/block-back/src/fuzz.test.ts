/**
 * A front end that means harm: it writes anything anywhere in its ring and its pages, claims any state, leaves at any
 * step and dies with requests in progress, over an image that answers when and how it likes. Whatever it does, nothing
 * is thrown, other pages are not touched, and all that was taken is given back at the end.
 */
import { BLKIF_OP } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeRequest, writeSegment } from './layout.js';
import { createScriptedFront, createTestImage } from './testing/scripted-front.js';

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('request' as const), seed: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('index' as const), at: fc.nat(3), value: fc.integer() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('bump' as const), by: fc.integer({ min: -2, max: 40 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('scribble' as const), at: fc.nat(1023), value: fc.integer() }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('event' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('idle' as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('answer' as const), index: fc.nat(5), fails: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('state' as const), state: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('nodes' as const), seed: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke' as const), seed: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('later' as const), later: fc.boolean() }) },
);

function createRandom(seed: number): (below: number) => number {
  let state = (seed | 1) >>> 0;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

describe('a hostile front end', () => {
  it.each([
    ['plain', { persistentGrants: false, frontPersistent: false }],
    ['with persistent grants', { persistentGrants: true, frontPersistent: true }],
    ['with requests that are gathered', { persistentGrants: false, gathers: true }],
  ])('gets nothing, breaks nothing and leaves nothing behind: %s', async (_, options) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.constantFrom('x86_64-abi' as const, 'x86_32-abi' as const),
        fc.boolean(),
        async (steps, protocol, dies) => {
          const image = createTestImage({ sectors: 64 });
          const before = image.bytes.slice();
          const front = createScriptedFront({ ...options, protocol, image, indirectSegments: 64, mostPages: 128 });
          const { guest, store } = front;
          const secret = front.page(0x77, 'read');
          const pages = Array.from({ length: 6 }, () => front.page(1));
          const words = (): DataView => {
            const bytes = front.ringBytes[0]!();
            return new DataView(bytes.buffer, bytes.byteOffset, 4096);
          };
          let wrote = false;
          for (const action of steps) {
            if (action.kind === 'request') {
              const random = createRandom(action.seed);
              const refs = [...pages.map(({ ref }) => ref), secret.ref, random(2 ** 32), random(40)];
              const any = () => ({ ref: refs[random(refs.length)]!, first: random(9), last: random(9) });
              const table = pages[random(pages.length)]!.bytes();
              if (random(4) === 0) writeSegment(new DataView(table.buffer, table.byteOffset), random(511) * 8, any());
              const operation = random(9);
              wrote ||= operation !== BLKIF_OP.READ;
              front.rings[0]!.put((view) =>
                encodeRequest(view, protocol, {
                  operation,
                  indirect: random(4) === 0,
                  idLo: random(2 ** 32),
                  sector: random(3) === 0 ? random(2 ** 32) * random(2 ** 31) : random(64),
                  sectorCount: random(80),
                  segmentCount: random(3) === 0 ? random(70) : 1 + random(3),
                  segments: [any(), any(), any()],
                  indirectRefs: [refs[random(refs.length)]!],
                }),
              );
              if (random(2) === 0) front.rings[0]!.publish();
            } else if (action.kind === 'index') words().setInt32(action.at * 4, action.value, true);
            else if (action.kind === 'bump') words().setInt32(0, words().getInt32(0, true) + action.by, true);
            else if (action.kind === 'scribble') words().setInt32(action.at * 4, action.value, true);
            else if (action.kind === 'event') guest.send(front.ports[0]!);
            else if (action.kind === 'idle') front.idle();
            else if (action.kind === 'answer') {
              image.fails = () => action.fails;
              if (image.waiting > 0) image.answer(action.index % image.waiting);
              await front.settle();
            } else if (action.kind === 'state') store.write(`${front.front}/state`, String(action.state));
            else if (action.kind === 'nodes') {
              const random = createRandom(action.seed);
              const names = ['ring-ref', 'event-channel', 'protocol', 'ring-page-order', 'multi-queue-num-queues'];
              const values = [String(random(40)), '-1', 'x', '99999999999999999999', '', '1'];
              store.write(`${front.front}/${names[random(names.length)]!}`, values[random(values.length)]!);
            } else if (action.kind === 'restart') {
              front.device.restart();
              guest.settle();
            } else if (action.kind === 'revoke') guest.revoke(8 + (action.seed % 12));
            else image.later = action.later;
            if (action.kind === 'scribble' || action.kind === 'index' || action.kind === 'bump') wrote = true;
          }
          if (dies) guest.destroy();
          else front.backend.close();
          front.idle();
          image.later = false;
          image.fails = () => false;
          for (let turn = 0; image.waiting > 0 && turn < 5000; turn++) {
            image.answer();
            await front.settle();
          }
          expect(image.waiting).toBe(0);
          expect(guest.uses()).toBe(0);
          expect(guest.portsHeld()).toBe(0);
          expect(front.inFlight()).toBe(0);
          expect(dies ? guest.framesHeld() : 0).toBe(0);
          expect(secret.bytes().every((byte) => byte === 0x77)).toBe(true);
          expect(wrote || Buffer.from(image.bytes).equals(before)).toBe(true);
        },
      ),
      { numRuns: 150 },
    );
  });
});
