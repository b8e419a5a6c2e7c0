import { XENSTORE_ERROR, XENSTORE_RING, XS } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createXenstoreRing } from './ring.js';
import { createXenstore } from './store.js';
import { createWireClient, decodeMessages, encodeMessage, type Message } from './wire-client.js';

function setUp() {
  const store = createXenstore();
  store.mkdir('/local/domain/1', ['n1']);
  const page = new Uint8Array(4096);
  const words = new DataView(page.buffer);
  const get = (at: number) => words.getUint32(at, true);
  const set = (at: number, value: number) => words.setUint32(at, value, true);
  let notified = 0;
  const connection = store.connect(1);
  const ring = createXenstoreRing({ connection, page: { bytes: () => page }, notify: () => void notified++ });

  function put(bytes: Uint8Array): void {
    const producer = get(XENSTORE_RING.req_prod);
    bytes.forEach((byte, index) => (page[XENSTORE_RING.req + (((producer + index) >>> 0) % 1024)] = byte));
    set(XENSTORE_RING.req_prod, producer + bytes.length);
  }

  function take(): Uint8Array {
    const consumer = get(XENSTORE_RING.rsp_cons);
    const count = (get(XENSTORE_RING.rsp_prod) - consumer) >>> 0;
    const bytes = Uint8Array.from(
      { length: count },
      (_, i) => page[XENSTORE_RING.rsp + (((consumer + i) >>> 0) % 1024)] ?? 0,
    );
    set(XENSTORE_RING.rsp_cons, consumer + count);
    return bytes;
  }

  /** Sends a request as a driver does, in pieces that fit, until nothing more comes back. */
  function converse(request: Uint8Array): Message[] {
    const received: number[] = [];
    for (let sent = 0; sent < request.length; sent += 1024) {
      put(request.subarray(sent, sent + 1024));
      ring.kick();
    }
    for (let part = take(); part.length > 0; part = take()) {
      received.push(...part);
      ring.kick();
    }
    return decodeMessages(Uint8Array.from(received));
  }

  return { store, connection, page, get, set, ring, converse, put, take, notified: () => notified };
}

describe('the ring', () => {
  it('carries requests and replies that are larger than itself, around its end', () => {
    const { converse, set } = setUp();
    for (const at of [XENSTORE_RING.req_cons, XENSTORE_RING.req_prod]) set(at, 0xffff_ff00);
    for (const at of [XENSTORE_RING.rsp_cons, XENSTORE_RING.rsp_prod]) set(at, 0xffff_fff0);
    const value = 'v'.repeat(2000);
    expect(converse(encodeMessage(XS.WRITE, 1, 0, `x\0${value}`))).toMatchObject([{ text: 'OK\0' }]);
    expect(converse(encodeMessage(XS.READ, 2, 0, 'x\0'))).toMatchObject([{ requestId: 2, text: value }]);
  });

  it('delivers events of changes that others make', () => {
    const { converse, store, take, notified } = setUp();
    converse(encodeMessage(XS.WATCH, 1, 0, 'x\0t\0'));
    const before = notified();
    store.write('/local/domain/1/x', '1');
    expect(notified()).toBe(before + 1);
    expect(decodeMessages(take())).toMatchObject([{ type: XS.WATCH_EVENT, text: 'x\0t\0' }]);
  });

  it('says what is wrong with indices that cannot be, and starts anew when asked', () => {
    const { converse, get, set, ring, connection } = setUp();
    set(XENSTORE_RING.req_prod, 1025);
    ring.kick();
    expect([connection.state, get(XENSTORE_RING.error)]).toEqual(['error', XENSTORE_ERROR.RINGIDX]);
    set(XENSTORE_RING.req_prod, 0);
    ring.kick();
    expect(connection.state).toBe('error');
    set(XENSTORE_RING.connection, 1);
    ring.kick();
    expect([get(XENSTORE_RING.connection), get(XENSTORE_RING.error)]).toEqual([0, 0]);
    expect(converse(encodeMessage(XS.MKDIR, 1, 0, 'x\0'))).toMatchObject([{ text: 'OK\0' }]);
  });

  it('takes no more requests while the domain does not read replies', () => {
    const { ring, put, get, set, connection } = setUp();
    const request = encodeMessage(XS.GET_DOMAIN_PATH, 1, 0, '1\0');
    for (let count = 0; count < 2000; count++) {
      if ((get(XENSTORE_RING.req_prod) - get(XENSTORE_RING.req_cons)) >>> 0 > 1000) break;
      put(request);
      ring.kick();
    }
    expect(connection.pending).toBeLessThan(20_000);
    expect(connection.state).toBe('open');
    set(XENSTORE_RING.rsp_cons, get(XENSTORE_RING.rsp_prod));
    ring.kick();
    expect(get(XENSTORE_RING.rsp_prod)).toBeGreaterThan(get(XENSTORE_RING.rsp_cons));
  });

  it('does nothing when the page is gone', () => {
    const store = createXenstore();
    const connection = store.connect(1);
    const ring = createXenstoreRing({ connection, page: { bytes: () => undefined }, notify: () => expect.fail() });
    ring.kick();
    expect(connection.state).toBe('open');
  });

  it('survives a domain that writes anything anywhere, and keeps serving the others', () => {
    const poke = fc.record({
      at: fc.oneof(fc.constantFrom(0x800, 0x804, 0x808, 0x80c, 0x810, 0x814, 0x818), fc.integer({ min: 0, max: 4092 })),
      value: fc.oneof(fc.integer({ min: 0, max: 2048 }), fc.integer({ min: 0, max: 0xffff_ffff })),
    });
    fc.assert(
      fc.property(fc.array(fc.array(poke, { maxLength: 8 }), { maxLength: 20 }), (rounds) => {
        const { ring, set, get, notified, store } = setUp();
        for (const pokes of rounds) {
          for (const { at, value } of pokes) set(at, value);
          const before = notified();
          const producerBefore = get(XENSTORE_RING.rsp_prod);
          ring.kick();
          expect(notified() - before).toBeLessThanOrEqual(1);
          // A new start sets the index to zero.
          const producer = get(XENSTORE_RING.rsp_prod);
          expect(Math.min(producer, (producer - producerBefore) >>> 0)).toBeLessThanOrEqual(1024);
        }
        store.write('/local/domain/2/x', '1');
        expect(store.read('/local/domain/2/x')).toBe('1');
      }),
    );
  });
});

describe('a domain that does not read', () => {
  const request = encodeMessage(XS.GET_DOMAIN_PATH, 1, 0, '1\0');

  it('has as many requests served as replies fit into the ring, and 20 more', () => {
    const { ring, put, get, set, connection } = setUp();
    // A reply has 16 bytes and the path's 16.
    for (let count = 0; count < 1024 / 32 + 20; count++) {
      put(request);
      ring.kick();
    }
    expect([get(XENSTORE_RING.rsp_prod), connection.pending]).toEqual([1024, 20 * 32]);
    expect(get(XENSTORE_RING.req_cons)).toBe(get(XENSTORE_RING.req_prod));
    put(request);
    ring.kick();
    expect(get(XENSTORE_RING.req_cons)).toBe(get(XENSTORE_RING.req_prod) - request.length);
    // It goes on when room for one reply is made.
    set(XENSTORE_RING.rsp_cons, 32);
    ring.kick();
    expect([get(XENSTORE_RING.rsp_prod), connection.pending]).toEqual([1024 + 32, 20 * 32]);
    expect(get(XENSTORE_RING.req_cons)).toBe(get(XENSTORE_RING.req_prod));
  });

  it('is told no more events than there is room for, however many are caused, and others are served', () => {
    const { ring, put, store, connection, get } = setUp();
    const other = store.connect(2);
    store.mkdir('/local/domain/2', ['n2']);
    store.mkdir('/flood', ['n0', 'r1']);
    for (let token = 0; token < 15; token++) {
      put(encodeMessage(XS.WATCH, token, 0, `/flood\0${`token ${token} `.repeat(100)}\0`));
      ring.kick();
    }
    for (let index = 0; index < 300; index++) store.write(`/flood/${index}`, '');
    // 2.5 MiB, its node and its watches included.
    expect(connection.pending).toBeGreaterThan(2_400_000);
    expect(connection.pending).toBeLessThan(0x28_0000);
    expect(connection.state).toBe('open');
    put(request);
    ring.kick();
    expect(get(XENSTORE_RING.req_cons)).toBeLessThanOrEqual(get(XENSTORE_RING.req_prod));
    const message = encodeMessage(XS.WRITE, 1, 0, 'x\0v');
    expect(other.receive(message)).toBe(message.length);
    expect(store.read('/local/domain/2/x')).toBe('v');
  });

  it('keeps no other from its answers, whatever it asks for', () => {
    const text = fc.constantFrom(
      'x\0v',
      'x\0t\0',
      '/\0t\0',
      '@releaseDomain\0t\0',
      'x\0n1\0',
      'x/y/z\0',
      '\0',
      'T\0',
      'x\0n1\0b2\0',
    );
    const request = fc.record({
      type: fc.integer({ min: 0, max: 22 }),
      transaction: fc.integer({ min: 0, max: 2 }),
      text,
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 60 }), fc.boolean(), (requests, reads) => {
        const { ring, put, take, get, store } = setUp();
        store.mkdir('/local/domain/2', ['n2']);
        const other = createWireClient(store.connect(2));
        expect(other.ask(XS.WATCH, '/local/domain/1\0t\0')).toBe('OK\0');
        requests.forEach((one, index) => {
          const free = 1024 - (get(XENSTORE_RING.req_prod) - get(XENSTORE_RING.req_cons));
          const message = encodeMessage(one.type, index, one.transaction, one.text);
          if (message.length <= free) put(message);
          ring.kick();
          if (reads) take();
          expect(other.ask(XS.WRITE, `own\0${index}`)).toBe('OK\0');
          expect(other.ask(XS.READ, 'own\0')).toBe(String(index));
        });
      }),
    );
  });

  it('holds up no other whose changes it watches for longer than their replies can wait', () => {
    const { ring, put, store } = setUp();
    store.mkdir('/local/domain/2', ['n2']);
    put(encodeMessage(XS.WATCH, 1, 0, '/local/domain/2\0t\0'));
    ring.kick();
    const other = store.connect(2);
    for (let index = 0; index < 100; index++) {
      // What is not for the domain's eyes causes no event for it, and so no request waits for it.
      const message = encodeMessage(XS.WRITE, index, 0, `n${index}\0`);
      expect(other.receive(message)).toBe(message.length);
      other.drainInto(new Uint8Array(other.pending));
    }
  });
});
