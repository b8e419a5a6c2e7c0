import { BLKIF_OP, BLKIF_RSP, XenbusState } from '@paravane/abi-xen';
import { describe, expect, it } from 'vitest';
import type { BlockSegment } from './layout.js';
import { writeSegment } from './layout.js';
import { createScriptedFront, createTestImage, type ScriptedFront } from './testing/scripted-front.js';

const { READ, WRITE, FLUSH_DISKCACHE, WRITE_BARRIER, DISCARD } = BLKIF_OP;
const { OKAY, ERROR, EOPNOTSUPP } = BLKIF_RSP;
const whole = (ref: number): BlockSegment => ({ ref, first: 0, last: 7 });

/** Puts segments into granted pages; the request's fields. */
function indirect(front: ScriptedFront, segments: readonly BlockSegment[]) {
  const indirectRefs: number[] = [];
  for (let at = 0; at < segments.length; at += 512) {
    const page = front.page();
    const view = new DataView(page.bytes().buffer, page.bytes().byteOffset);
    segments.slice(at, at + 512).forEach((segment, index) => writeSegment(view, index * 8, segment));
    indirectRefs.push(page.ref);
  }
  return { indirect: true, segmentCount: segments.length, indirectRefs };
}

describe('what is offered', () => {
  it('says how large the disk is and what it can do', () => {
    const { heard, backend } = createScriptedFront({ queues: 2 });
    expect(heard).toMatchObject({
      sectors: '4096',
      info: '0',
      'sector-size': '512',
      'physical-sector-size': '512',
      'feature-flush-cache': '1',
      'feature-barrier': '1',
      'feature-discard': '1',
      'discard-secure': '1',
      'feature-persistent': '0',
      'feature-max-indirect-segments': '256',
      'max-ring-page-order': '4',
      'multi-queue-max-queues': '2',
    });
    expect(backend.device.state).toBe(XenbusState.Connected);
  });

  it('follows the image and the drive', () => {
    expect(createScriptedFront({ image: createTestImage({ readOnly: true }) }).heard).toMatchObject({
      info: '4',
      'feature-flush-cache': '0',
      'feature-discard': '0',
    });
    expect(createScriptedFront({ cdrom: true, readOnly: true }).heard).toMatchObject({ info: '7' });
    expect(createScriptedFront({ image: createTestImage({ noDiscard: true }) }).heard).toMatchObject({
      'feature-discard': '0',
    });
    expect(createScriptedFront({ image: createTestImage({ blockSize: 4096 }) }).heard).toMatchObject({
      'sector-size': '4096',
      sectors: '4096',
    });
  });
});

describe.each(['x86_64-abi', 'x86_32-abi'] as const)('requests in the layout of %s', (protocol) => {
  it('read and write parts of pages', () => {
    const front = createScriptedFront({ protocol });
    const { image } = front;
    const [one, two] = [front.page(1), front.page(2)];
    const segments = [
      { ref: one.ref, first: 6, last: 7 },
      { ref: two.ref, first: 0, last: 0 },
    ];
    expect(front.ask({ operation: WRITE, sector: 10, segments })).toBe(OKAY);
    expect([...image.bytes.subarray(10 * 512, 13 * 512)]).toEqual([...Array(1024).fill(1), ...Array(512).fill(2)]);
    const into = front.page(9);
    expect(front.ask({ operation: READ, sector: 12, segments: [{ ref: into.ref, first: 3, last: 4 }] })).toBe(OKAY);
    const expected = new Uint8Array(4096).fill(9);
    expected.set(image.bytes.subarray(12 * 512, 14 * 512), 3 * 512);
    expect(into.bytes()).toEqual(expected);
    expect(front.guest.uses()).toBe(1);
  });

  it('carry the id back, and the operation', () => {
    const front = createScriptedFront({ protocol });
    const page = front.page();
    front.send([
      { operation: READ, id: 0xfedcba98, segments: [whole(page.ref)] },
      { operation: READ, id: 7, ...indirect(front, [whole(page.ref)]) },
    ]);
    expect(front.responses()).toEqual([
      { id: 0xfedcba98, operation: READ, status: OKAY },
      { id: 7, operation: READ, status: OKAY },
    ]);
  });

  it('discard', () => {
    const front = createScriptedFront({ protocol });
    expect(front.ask({ operation: DISCARD, sector: 8, sectorCount: 16 })).toBe(OKAY);
    expect(front.ask({ operation: DISCARD, sector: 24, sectorCount: 8, secure: true })).toBe(OKAY);
    expect(front.image.calls).toEqual(['discard 4096+8192', 'discard 12288+4096 securely']);
  });
});

describe('indirect requests', () => {
  it('carry a megabyte in 256 segments', () => {
    const front = createScriptedFront();
    const pages = Array.from({ length: 256 }, (_, index) => front.page(index));
    const request = indirect(
      front,
      pages.map(({ ref }) => whole(ref)),
    );
    expect(front.ask({ operation: WRITE, sector: 16, ...request })).toBe(OKAY);
    expect(front.image.calls).toEqual(['write 8192+1048576']);
    expect(front.image.bytes[8192 + 255 * 4096]).toBe(255);
    expect(front.guest.uses()).toBe(1);
  });

  it('may be longer where that is offered', () => {
    const front = createScriptedFront({ indirectSegments: 600, image: createTestImage({ sectors: 8192 }) });
    const { ref } = front.page(3);
    const segments = Array.from({ length: 600 }, () => whole(ref));
    expect(front.ask({ operation: WRITE, ...indirect(front, segments) })).toBe(OKAY);
    expect(front.image.bytes[599 * 4096]).toBe(3);
  });

  it('are refused where they are too long, name no page, or stand for what they cannot', () => {
    const front = createScriptedFront();
    const { ref } = front.page();
    const segments = Array.from({ length: 257 }, () => whole(ref));
    expect(front.ask({ operation: WRITE, ...indirect(front, segments) })).toBe(ERROR);
    expect(front.ask({ operation: READ, indirect: true, segmentCount: 1, indirectRefs: [999] })).toBe(ERROR);
    expect(front.ask({ operation: READ, indirect: true, segmentCount: 0 })).toBe(ERROR);
    expect(front.ask({ operation: DISCARD, indirect: true, segmentCount: 1 })).toBe(EOPNOTSUPP);
    expect(front.guest.uses()).toBe(1);
  });
});

describe('rings', () => {
  it.each([1, 2, 4, 16])('of %i pages take as many requests as they hold', (ringPages) => {
    const front = createScriptedFront({ ringPages });
    const page = front.page();
    const count = front.rings[0]!.entries;
    expect(count).toBe(32 * ringPages);
    for (let round = 0; round < 3; round++) {
      front.send(
        Array.from({ length: count }, (_, id) => ({
          operation: READ,
          id,
          sector: 3 * id,
          segments: [whole(page.ref)],
        })),
      );
      const answers = front.responses();
      expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: count }, (_, id) => id));
      expect(answers.every(({ status }) => status === OKAY)).toBe(true);
    }
  });

  it('may be named by num-ring-pages', () => {
    const front = createScriptedFront({ ringPages: 2, numRingPages: true });
    expect(front.backend.device.state).toBe(XenbusState.Connected);
    expect(front.rings[0]!.entries).toBe(64);
  });

  it('several serve one disk', () => {
    const front = createScriptedFront({ queues: 4, rings: 4 });
    for (let ring = 0; ring < 4; ring++) {
      const page = front.page(ring + 1);
      expect(front.ask({ operation: WRITE, sector: ring * 8, segments: [whole(page.ref)] }, ring)).toBe(OKAY);
    }
    expect([0, 1, 2, 3].map((ring) => front.image.bytes[ring * 4096])).toEqual([1, 2, 3, 4]);
    front.device.close();
    expect([front.guest.uses(), front.guest.portsHeld()]).toEqual([0, 0]);
  });

  it('send one event for what was done together', () => {
    const front = createScriptedFront();
    const page = front.page();
    const before = front.guest.received(front.ports[0]!);
    front.send(Array.from({ length: 20 }, (_, id) => ({ operation: READ, id, segments: [whole(page.ref)] })));
    expect(front.guest.received(front.ports[0]!)).toBe(before + 1);
    expect(front.backend.stats).toMatchObject({ reads: 20, eventsOut: 1, inFlight: 0, bytesRead: 20 * 4096 });
  });
});

describe('requests of a front end that has more to send', () => {
  const request = (front: ScriptedFront, id: number) => ({
    operation: READ,
    id,
    sector: 64 * id,
    segments: [whole(front.page().ref)],
  });

  it('are gathered until it waits, and answered with one event', () => {
    const front = createScriptedFront({ gathers: true });
    front.idle();
    const before = front.guest.received(front.ports[0]!);
    for (let id = 0; id < 10; id++) front.send([request(front, id)]);
    expect(front.responses()).toEqual([]);
    expect(front.idle()).toBe(1);
    expect(front.responses()).toHaveLength(10);
    expect(front.guest.received(front.ports[0]!)).toBe(before + 1);
    expect(front.backend.stats).toMatchObject({ mostInFlight: 10, eventsOut: 1 });
  });

  it('are served at once where it sends one at a time, with a wait tried again ever more rarely', () => {
    const front = createScriptedFront({ gathers: true });
    front.idle();
    const waits: number[] = [];
    for (let id = 0; id < 200; id++) {
      front.send([request(front, id % 32)]);
      if (front.idle() > 0) waits.push(id);
      expect(front.responses()).toHaveLength(1);
    }
    expect(waits).toEqual([0, 2, 5, 10, 19, 36, 69, 134, 199]);
    // Two in one event: it has become one of the other kind.
    front.send([request(front, 1), request(front, 2)]);
    expect(front.responses()).toHaveLength(2);
    for (let id = 0; id < 5; id++) front.send([request(front, id)]);
    expect(front.idle()).toBe(1);
    expect(front.responses()).toHaveLength(5);
  });

  it('are let go with the ring', () => {
    const front = createScriptedFront({ gathers: true });
    front.idle();
    front.send([request(front, 1)]);
    front.device.close();
    expect(front.idle()).toBe(1);
    expect([front.guest.uses(), front.guest.portsHeld(), front.inFlight()]).toEqual([0, 0, 0]);
    expect(front.image.calls).toEqual([]);
  });
});

describe('requests that follow each other on the disk', () => {
  it('are one call of the image, and one piece where their pages are neighbours', () => {
    const front = createScriptedFront();
    const pages = Array.from({ length: 4 }, (_, index) => front.page(index + 1));
    let pieces = 0;
    const { write } = front.image;
    front.image.write = (offset, from) => {
      pieces = from instanceof Uint8Array ? 1 : from.length;
      return write(offset, from);
    };
    front.send(pages.map(({ ref }, id) => ({ operation: WRITE, id, sector: 8 * id, segments: [whole(ref)] })));
    expect(front.image.calls).toEqual(['write 0+16384']);
    expect(pieces).toBe(1);
    expect(front.responses().map(({ status }) => status)).toEqual([OKAY, OKAY, OKAY, OKAY]);
    expect(front.backend.stats).toMatchObject({ merges: 3, imageCalls: 1, writes: 4 });
  });

  it('fail one by one', () => {
    const front = createScriptedFront();
    const page = front.page(5);
    // The second half of the disk is broken.
    front.image.fails = (call) => Number(/[0-9]+$/.exec(call)![0]) + Number(/ ([0-9]+)/.exec(call)![1]) > 8192;
    front.send([0, 1, 2].map((id) => ({ operation: WRITE, id, sector: 8 * id, segments: [whole(page.ref)] })));
    expect(front.responses().map(({ id, status }) => [id, status])).toEqual([
      [0, OKAY],
      [1, OKAY],
      [2, ERROR],
    ]);
    expect(front.log[0]).toContain('write at byte 0 failed: the host cannot write 0+12288');
    expect(front.guest.uses()).toBe(1);
  });
});

describe('later answers', () => {
  it('may come in any order, with many requests in progress', async () => {
    const front = createScriptedFront();
    front.image.later = true;
    const page = front.page(1);
    front.send(
      [0, 10, 20, 30].map((sector) => ({ operation: WRITE, id: sector, sector, segments: [whole(page.ref)] })),
    );
    expect([front.image.waiting, front.inFlight(), front.responses()]).toEqual([4, 4, []]);
    front.image.answer(2);
    front.image.answer(0);
    await front.settle();
    expect(front.responses().map(({ id }) => id)).toEqual([20, 0]);
    front.image.answer();
    front.image.answer();
    await front.settle();
    expect(front.responses().map(({ id }) => id)).toEqual([10, 30]);
    expect(front.backend.stats.mostInFlight).toBe(4);
    expect(front.guest.uses()).toBe(1);
  });

  it('let a full ring go on', async () => {
    const front = createScriptedFront();
    front.image.later = true;
    const page = front.page();
    const requests = Array.from({ length: 32 }, (_, id) => ({
      operation: READ,
      id,
      sector: id * 10,
      segments: [whole(page.ref)],
    }));
    front.send(requests);
    for (let count = 0; count < 32; count++) front.image.answer();
    await front.settle();
    expect(front.responses()).toHaveLength(32);
    front.send(requests);
    expect(front.image.waiting).toBe(32);
  });
});

describe('durability', () => {
  it('a flush is one of the image', () => {
    const front = createScriptedFront();
    expect(front.ask({ operation: FLUSH_DISKCACHE })).toBe(OKAY);
    front.image.fails = (call) => call === 'flush';
    expect(front.ask({ operation: FLUSH_DISKCACHE })).toBe(ERROR);
  });

  it('a flush with data writes after it', () => {
    const front = createScriptedFront();
    const page = front.page(1);
    expect(front.ask({ operation: FLUSH_DISKCACHE, segments: [whole(page.ref)] })).toBe(OKAY);
    expect(front.image.calls).toEqual(['flush', 'write 0+4096']);
  });

  it('a barrier waits for all before it, and holds back all after it', async () => {
    const front = createScriptedFront({ queues: 2, rings: 2 });
    const { image } = front;
    image.later = true;
    const page = front.page(1);
    const write = (id: number) => ({ operation: WRITE, id, sector: 100 * id, segments: [whole(page.ref)] });
    front.send([write(0), write(1), { ...write(2), operation: WRITE_BARRIER }, write(3)]);
    front.send([write(4)], 1);
    const steps: string[][] = [];
    while (image.waiting > 0) {
      steps.push(image.calls.splice(0));
      while (image.waiting > 0) image.answer();
      await front.settle();
    }
    expect(steps.map((calls) => calls.map((call) => call.replace(/\+.*/, '')))).toEqual([
      ['write 0', 'write 51200'],
      ['flush'],
      ['write 102400'],
      ['flush'],
      ['write 153600', 'write 204800'],
    ]);
    expect(front.responses().map(({ id }) => id)).toEqual([0, 1, 2, 3]);
    expect(front.responses(1).map(({ id }) => id)).toEqual([4]);
  });

  it('a barrier without data is a flush, and one that fails lets others go on', () => {
    const front = createScriptedFront();
    expect(front.ask({ operation: WRITE_BARRIER })).toBe(OKAY);
    front.image.fails = (call) => call === 'flush';
    const page = front.page(1);
    expect(front.ask({ operation: WRITE_BARRIER, segments: [whole(page.ref)] })).toBe(ERROR);
    expect(front.ask({ operation: WRITE, segments: [whole(page.ref)] })).toBe(OKAY);
    expect(front.ask({ operation: WRITE_BARRIER, segments: [whole(999)] })).toBe(ERROR);
  });
});

describe('what may not be', () => {
  it.each([
    ['no segments', { segments: [] }],
    ['more segments than there is room for', { segmentCount: 12 }],
    ['a segment that ends before it begins', { segments: [{ ref: 100, first: 3, last: 2 }] }],
    ['a segment beyond its page', { segments: [{ ref: 100, first: 0, last: 8 }] }],
    ['a page that is not granted', { segments: [whole(0xffffffff)] }],
    ['a second page that is not granted', { segments: [whole(100), whole(101)] }],
    ['the end of the disk', { sector: 4089, segments: [whole(100)] }],
    ['a sector that no disk has', { sector: 2 ** 63, segments: [whole(100)] }],
  ])('is an error: %s', (_, request) => {
    const front = createScriptedFront();
    while (front.page().ref < 100);
    for (const operation of [READ, WRITE]) {
      expect(front.ask({ operation, ...request })).toBe(ERROR);
    }
    expect(front.image.calls).toEqual([]);
    expect(front.guest.uses()).toBe(1);
    expect(front.backend.stats).toMatchObject({ errors: 2, inFlight: 0 });
  });

  it('is an operation that there is not', () => {
    const front = createScriptedFront({ image: createTestImage({ noDiscard: true }) });
    for (const operation of [4, 7, 255, DISCARD]) expect(front.ask({ operation })).toBe(EOPNOTSUPP);
  });

  it('is a write to a disk that is only read', () => {
    const front = createScriptedFront({ readOnly: true });
    const page = front.page();
    for (const operation of [WRITE, WRITE_BARRIER]) {
      expect(front.ask({ operation, segments: [whole(page.ref)] })).toBe(ERROR);
    }
    expect(front.ask({ operation: FLUSH_DISKCACHE, segments: [whole(page.ref)] })).toBe(ERROR);
    expect(front.ask({ operation: FLUSH_DISKCACHE })).toBe(OKAY);
    expect(front.ask({ operation: DISCARD, sectorCount: 8 })).toBe(EOPNOTSUPP);
    expect(front.ask({ operation: READ, segments: [whole(page.ref)] })).toBe(OKAY);
    expect(front.image.calls).toEqual(['read 0+4096']);
  });

  it('is to read into a page that was granted for reading', () => {
    const front = createScriptedFront();
    const page = front.page(7, 'read');
    expect(front.ask({ operation: READ, segments: [whole(page.ref)] })).toBe(ERROR);
    expect(front.ask({ operation: WRITE, segments: [whole(page.ref)] })).toBe(OKAY);
    expect(page.bytes()[0]).toBe(7);
  });

  it('is half of a block', () => {
    const front = createScriptedFront({ image: createTestImage({ blockSize: 4096 }) });
    const page = front.page();
    const ask = (sector: number, last: number) =>
      front.ask({ operation: READ, sector, segments: [{ ref: page.ref, first: 0, last }] });
    expect([ask(8, 7), ask(4, 7), ask(8, 3)]).toEqual([OKAY, ERROR, ERROR]);
  });

  it('is an error of the host: told to the guest and, a few times, to the log', () => {
    const front = createScriptedFront();
    const page = front.page();
    front.image.fails = () => true;
    for (let count = 0; count < 50; count++) {
      expect(front.ask({ operation: READ, segments: [whole(page.ref)] })).toBe(ERROR);
    }
    expect(front.log).toHaveLength(20);
  });
});

describe('persistent grants', () => {
  const options = { persistentGrants: true, frontPersistent: true };

  it('are mapped once and used again', () => {
    const front = createScriptedFront(options);
    const page = front.page(4);
    for (let count = 0; count < 5; count++) {
      expect(front.ask({ operation: WRITE, segments: [whole(page.ref)] })).toBe(OKAY);
      expect(front.ask({ operation: READ, segments: [whole(page.ref)] })).toBe(OKAY);
    }
    expect(front.guest.uses()).toBe(2);
    expect(front.guest.revoke(page.ref)).toBe(false);
    front.device.close();
    expect(front.guest.uses()).toBe(0);
    expect(front.guest.revoke(page.ref)).toBe(true);
  });

  it('are not kept where the front end does not know of them', () => {
    const front = createScriptedFront({ persistentGrants: true });
    const page = front.page();
    front.ask({ operation: READ, segments: [whole(page.ref)] });
    expect(front.guest.revoke(page.ref)).toBe(true);
  });

  it('are kept in a limited number', () => {
    const front = createScriptedFront(options);
    for (let count = 0; count < 1100; count++) {
      expect(front.ask({ operation: READ, segments: [whole(front.page().ref)] })).toBe(OKAY);
    }
    expect(front.guest.uses()).toBe(1 + 1056);
  });
});

describe('coming and going', () => {
  it('tells a connected front end of another size', () => {
    const front = createScriptedFront();
    void front.image.resize!(8192 * 512);
    front.backend.resized();
    expect(front.heard.sectors).toBe('8192');
    const page = front.page();
    expect(front.ask({ operation: READ, sector: 8184, segments: [whole(page.ref)] })).toBe(OKAY);
  });

  it('serves a front end that starts anew, with rings of its own', () => {
    const front = createScriptedFront();
    for (let count = 0; count < 3; count++) {
      front.device.restart();
      front.guest.settle();
      expect(front.backend.device.state).toBe(XenbusState.Connected);
      expect(front.ask({ operation: READ, segments: [whole(front.page().ref)] })).toBe(OKAY);
      expect([front.guest.uses(), front.guest.portsHeld()]).toEqual([1, 1]);
    }
  });

  it.each([
    ['a ring that is not granted', { 'ring-ref': 4000 }],
    ['a ring that is no number', { 'ring-ref': 'x' }],
    ['a port that is not ours', { 'event-channel': 77 }],
    ['a protocol that there is not', { protocol: 'arm-abi' }],
    ['more queues than were offered', { 'multi-queue-num-queues': 2 }],
    ['no queue', { 'multi-queue-num-queues': 0 }],
    ['more ring pages than were offered', { 'ring-page-order': 5 }],
    ['ring pages that are not all there', { 'ring-page-order': 1 }],
  ])('says so where the front end names %s', (_, nodes) => {
    const front = createScriptedFront({ nodes });
    expect(front.backend.device.state).not.toBe(XenbusState.Connected);
    expect(front.store.read('/local/domain/0/error/backend/vbd/1/51712/error')).toBeTruthy();
    expect([front.guest.uses(), front.guest.portsHeld()]).toEqual([0, 0]);
  });

  it('stops at a ring that cannot be, until the front end starts anew', () => {
    const front = createScriptedFront();
    new DataView(front.ringBytes[0]!().buffer, front.ringBytes[0]!().byteOffset).setUint32(0, 1000, true);
    front.guest.send(front.ports[0]!);
    expect(front.device.state).toBe(XenbusState.Closed);
    expect(front.store.read('/local/domain/0/error/backend/vbd/1/51712/error')).toContain(
      'more requests than it holds',
    );
    expect(front.guest.uses()).toBe(0);
    front.device.restart();
    front.guest.settle();
    expect(front.ask({ operation: READ, segments: [whole(front.page().ref)] })).toBe(OKAY);
  });

  it.each(['the peer dies', 'the front end closes', 'the back end closes', 'the front end starts anew'])(
    'gives everything back when %s with requests in progress',
    async (how) => {
      const front = createScriptedFront({ persistentGrants: true, frontPersistent: true, queues: 2, rings: 2 });
      front.image.later = true;
      const page = front.page(1);
      for (const ring of [0, 1]) {
        front.send(
          [0, 20, 40].map((sector) => ({ operation: READ, sector, segments: [whole(page.ref)] })),
          ring,
        );
        front.send([{ operation: WRITE_BARRIER, sector: 80, segments: [whole(page.ref)] }], ring);
      }
      if (how === 'the peer dies') front.guest.destroy();
      else if (how === 'the front end closes') front.device.close();
      else if (how === 'the back end closes') front.backend.close();
      else front.device.restart();
      front.guest.settle();
      expect(front.guest.uses()).toBeGreaterThan(0);
      while (front.image.waiting > 0) {
        front.image.answer();
        await front.settle();
      }
      const anew = how === 'the front end starts anew';
      expect(front.guest.uses()).toBe(anew ? 2 : 0);
      expect(front.guest.portsHeld()).toBe(anew ? 2 : 0);
      expect(front.inFlight()).toBe(0);
      expect(how === 'the peer dies' ? front.guest.framesHeld() : 0).toBe(0);
      if (!anew) return;
      front.image.later = false;
      expect(front.ask({ operation: READ, segments: [whole(front.page().ref)] })).toBe(OKAY);
    },
  );
});
