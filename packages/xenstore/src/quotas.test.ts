import { XS } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createConnection } from './connection.js';
import { createCore } from './core.js';
import type { Quotas } from './quotas.js';
import { recordBytes } from './quotas.js';
import { createXenstore } from './store.js';
import { walk } from './tree.js';
import { createWireClient, decodeMessages, encodeMessage } from './wire-client.js';

/** A store with a domain 1 that owns its own node, of 15 bytes for the path and 32 for the record. */
function setUp(quotas: Partial<Quotas>) {
  const warnings: string[] = [];
  const store = createXenstore({ quotas, warn: (message) => void warnings.push(message) });
  store.mkdir('/local/domain/1', ['n1']);
  store.introduceDomain(1);
  const connection = store.connect(1);
  return { store, connection, guest: createWireClient(connection), warnings };
}

const OWN = 15 + 32;
/** What `/local/domain/1/x` counts for, its name in the node above included. */
const X = 17 + 32 + 2;

const start = (guest: { ask(type: number, text: string): string }): number =>
  Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);

/** Everything that waits, and what of it was there. */
function drain(connection: { pending: number; drainInto(target: Uint8Array): number }) {
  const bytes = new Uint8Array(connection.pending);
  connection.drainInto(bytes);
  return decodeMessages(bytes);
}

describe('the memory of a domain', () => {
  it('is full with nodes: records, paths, and names in the nodes above', () => {
    const { guest, store } = setUp({ memory: OWN + X + 101 });
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(101)}`)).toBe('EIO');
    expect(guest.ask(XS.READ, 'x\0')).toBe('ENOENT');
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(100)}`)).toBe('OK\0');
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(101)}`)).toBe('EIO');
    expect(guest.ask(XS.SET_PERMS, 'x\0n1\0r0\0')).toBe('EIO');
    expect(guest.ask(XS.MKDIR, 'y\0')).toBe('EIO');
    expect(guest.ask(XS.WRITE, 'x\0')).toBe('OK\0');
    expect(guest.ask(XS.SET_PERMS, 'x\0n1\0r0\0')).toBe('OK\0');
    expect(guest.ask(XS.RM, 'x\0')).toBe('OK\0');
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(100)}`)).toBe('OK\0');
    store.rm('/local/domain/1/x');
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(100)}`)).toBe('OK\0');
  });

  it('is that of the owner of a node, whoever writes it', () => {
    const { guest, store } = setUp({ memory: OWN + X + 101 });
    store.write('/shared', '', ['n2', 'w1']);
    store.write('/local/domain/1/x', '', ['n1', 'w2']);
    store.introduceDomain(2);
    const other = createWireClient(store.connect(2));
    expect(other.ask(XS.WRITE, `/local/domain/1/x\0${'v'.repeat(100)}`)).toBe('EIO');
    expect(guest.ask(XS.WRITE, `/shared\0${'v'.repeat(110)}`)).toBe('OK\0');
    // The toolstack must be able to ask a domain to shut down.
    store.write('/local/domain/1/x', 'v'.repeat(300));
    expect(store.read('/local/domain/1/x')).toHaveLength(300);
  });

  it('is full with watches: their paths and tokens', () => {
    const { guest } = setUp({ memory: OWN + 50 });
    // The reply and the event of a watch that was set count until they are read.
    expect(guest.ask(XS.WATCH, `x\0${'t'.repeat(33)}\0`)).toBe('ENOMEM');
    expect(guest.ask(XS.WATCH, `x\0${'t'.repeat(32)}\0`)).toBe('OK\0');
    expect(guest.ask(XS.WATCH, 'x\0t\0')).toBe('ENOMEM');
    expect(guest.ask(XS.UNWATCH, `x\0${'t'.repeat(32)}\0`)).toBe('OK\0');
    expect(guest.ask(XS.WATCH, `x\0${'u'.repeat(32)}\0`)).toBe('OK\0');
    expect(guest.ask(XS.RESET_WATCHES, '\0')).toBe('OK\0');
    expect(guest.ask(XS.WATCH, `x\0${'t'.repeat(32)}\0`)).toBe('OK\0');
  });

  it('has no room for a long reply, and room for a short one', () => {
    const { guest, store } = setUp({ memory: OWN + X + 200 });
    store.write('/local/domain/1/x', 'v'.repeat(100), ['n1']);
    expect(guest.ask(XS.READ, 'x\0')).toBe('ENOMEM');
    expect(guest.ask(XS.GET_PERMS, 'x\0')).toBe('n1\0');
    store.write('/local/domain/1/x', 'v'.repeat(91));
    expect(guest.ask(XS.READ, 'x\0')).toHaveLength(91);
  });

  it('has no room for events that are not read; those that come later are told', () => {
    const { guest, store, connection } = setUp({ memory: 1000 });
    guest.ask(XS.WATCH, '/local/domain/1\0t\0');
    guest.events();
    for (let index = 0; index < 100; index++) store.write(`/local/domain/1/${index}`, '', ['n0', 'r1']);
    expect(connection.pending).toBeLessThan(1000);
    expect(connection.state).toBe('open');
    const heard = guest.events();
    expect(heard.length).toBeGreaterThan(10);
    expect(heard).toEqual(heard.map((_, index) => `/local/domain/1/${index}|t`));
    store.write('/local/domain/1/late', '');
    expect(guest.events()).toEqual(['/local/domain/1/late|t']);
  });

  it('holds what transactions read and write, until their end; one that had no room can only be given up', () => {
    // A copy is the node with its path, behind the number of the transaction and a slash.
    const { guest } = setUp({ memory: OWN + 140 });
    const id = start(guest);
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(60)}`, id)).toBe('EIO');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('ENOMEM');
    const [one, two] = [start(guest), start(guest)];
    expect(guest.ask(XS.WRITE, 'x\0', one)).toBe('OK\0');
    expect(guest.ask(XS.WRITE, 'x\0', two)).toBe('EIO');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', one)).toBe('OK\0');
    expect(guest.ask(XS.TRANSACTION_END, 'F\0', two)).toBe('OK\0');
    expect(guest.ask(XS.READ, 'x\0')).toBe('');
  });

  it('stalls a domain that is at its limit until something goes', () => {
    const { guest, store, connection } = setUp({ memory: 400 });
    store.write('/local/domain/1/big', 'v'.repeat(500), ['n1']);
    let ready = 0;
    connection.onReady = () => void ready++;
    const request = encodeMessage(XS.GET_DOMAIN_PATH, 1, 0, '1\0');
    expect([connection.congested, connection.receive(request)]).toEqual([true, 0]);
    store.write('/local/domain/1/other', '');
    expect(ready).toBe(0);
    store.rm('/local/domain/1/big');
    expect([ready, connection.congested, connection.receive(request)]).toEqual([1, false, request.length]);
    drain(connection);
    expect(guest.ask(XS.MKDIR, 'x\0')).toBe('OK\0');
  });

  it('is told of to the host at the soft limit and at the hard one', () => {
    const { guest, store, warnings } = setUp({ memory: 400, memorySoft: 200 });
    guest.ask(XS.WRITE, `x\0${'v'.repeat(60)}`);
    expect(warnings).toEqual([]);
    guest.ask(XS.WRITE, `x\0${'v'.repeat(160)}`);
    guest.ask(XS.WRITE, `x\0${'v'.repeat(170)}`);
    guest.ask(XS.WRITE, `x\0${'v'.repeat(1000)}`);
    guest.ask(XS.WRITE, `x\0${'v'.repeat(1000)}`);
    store.rm('/local/domain/1/x');
    guest.ask(XS.MKDIR, 'y\0');
    expect(warnings).toEqual([
      'xenstore: domain 1 keeps more than 200 bytes',
      'xenstore: domain 1 reached 400 bytes and is not served any further',
      'xenstore: domain 1 is below 400 bytes again',
      'xenstore: domain 1 is below 200 bytes again',
    ]);
  });
});

describe('requests that are under way', () => {
  const ask = encodeMessage(XS.GET_DOMAIN_PATH, 7, 0, '1\0');

  it('are 20 at most: the next is taken when a reply has been read to its end', () => {
    const { connection } = setUp({});
    const taken = () => connection.receive(ask) / ask.length;
    expect(Array.from({ length: 25 }, taken)).toEqual([...Array(20).fill(1), ...Array(5).fill(0)]);
    const reply = connection.pending / 20;
    connection.drainInto(new Uint8Array(reply - 1));
    expect(taken()).toBe(0);
    connection.drainInto(new Uint8Array(1));
    expect([taken(), taken()]).toEqual([1, 0]);
  });

  it('are not bounded for a domain without quotas', () => {
    const connection = createXenstore().connect(0);
    for (let index = 0; index < 100; index++) expect(connection.receive(ask)).toBe(ask.length);
    expect(drain(connection)).toHaveLength(100);
  });

  it('include those whose events others have not read', () => {
    const { store, connection, guest } = setUp({});
    const other = store.connect(2);
    store.mkdir('/local/domain/1', ['n1', 'r2']);
    createWireClient(other).ask(XS.WATCH, '/local/domain/1\0t\0');
    drain(other);
    let ready = 0;
    connection.onReady = () => void ready++;
    for (let index = 0; index < 20; index++) expect(guest.ask(XS.WRITE, `n${index}\0`)).toBe('OK\0');
    expect(connection.receive(ask)).toBe(0);
    // The other hears of them, and the first goes on without asking again.
    const first = new Uint8Array(other.pending / 20 - 1);
    other.drainInto(first);
    expect(ready).toBe(0);
    other.drainInto(new Uint8Array(1));
    expect(ready).toBe(1);
    expect(connection.receive(ask)).toBe(ask.length);
  });

  it('do not wait for a domain that does not read, where there is a clock: its events go after 20 seconds', () => {
    let now = 0;
    const timers: { deadline: number; fire: () => void }[] = [];
    const clock = {
      now: () => now,
      createTimer(fire: () => void) {
        const timer = { deadline: Number.POSITIVE_INFINITY, fire };
        timers.push(timer);
        return {
          set: (deadline: number) => void (timer.deadline = deadline),
          cancel: () => void (timer.deadline = Number.POSITIVE_INFINITY),
        };
      },
    };
    const pass = (seconds: number) => {
      now += seconds * 1e9;
      for (const timer of timers) if (timer.deadline <= now) timer.fire();
    };
    const store = createXenstore({ clock });
    store.mkdir('/local/domain/1', ['n1', 'r2']);
    const [connection, other] = [store.connect(1), store.connect(2)];
    const guest = createWireClient(connection);
    createWireClient(other).ask(XS.WATCH, '/local/domain/1\0t\0');
    drain(other);
    for (let index = 0; index < 20; index++) guest.ask(XS.WRITE, `n${index}\0`);
    let ready = 0;
    connection.onReady = () => void ready++;
    expect(connection.receive(ask)).toBe(0);
    // One has begun to leave, and is told to its end.
    other.drainInto(new Uint8Array(3));
    pass(19);
    expect([ready, connection.congested]).toEqual([0, true]);
    pass(1);
    expect([ready, connection.congested]).toEqual([1, false]);
    expect(other.pending).toBe(16 + '/local/domain/1/n0\0t\0'.length - 3);
    expect(timers.map(({ deadline }) => deadline)).toEqual(Array(2).fill(Number.POSITIVE_INFINITY));
  });
});

describe('an event', () => {
  it('is not told if it is longer than a message can be', () => {
    const { guest, store, connection } = setUp({});
    guest.ask(XS.WATCH, `/local/domain/1\0${'t'.repeat(4000)}\0`);
    guest.events();
    store.mkdir(`/local/domain/1/${'x'.repeat(2000)}`, ['n1']);
    store.mkdir('/local/domain/1/y', ['n1']);
    expect(drain(connection).map(({ text }) => text.slice(0, 18))).toEqual(['/local/domain/1/y\0']);
  });
});

describe('what is counted', () => {
  it('is what is there, whatever domains ask for and however they read', () => {
    const path = fc.constantFrom('a', 'a/b', 'a/b/c', 'd', '/local/domain/1/a', '/local/domain/2/d', '/shared/x');
    const value = fc.integer({ min: 0, max: 300 }).map((length) => 'v'.repeat(length));
    const pair = <Type extends number>(type: Type, text: fc.Arbitrary<string>) =>
      fc.tuple(fc.constant<number>(type), text);
    const request = fc.oneof(
      pair(
        XS.WRITE,
        fc.tuple(path, value).map(([at, text]) => `${at}\0${text}`),
      ),
      pair(
        XS.MKDIR,
        path.map((at) => `${at}\0`),
      ),
      pair(
        XS.READ,
        path.map((at) => `${at}\0`),
      ),
      pair(
        XS.RM,
        path.map((at) => `${at}\0`),
      ),
      pair(
        XS.WATCH,
        fc.tuple(path, fc.constantFrom('s', 't')).map((texts) => `${texts.join('\0')}\0`),
      ),
      pair(
        XS.UNWATCH,
        fc.tuple(path, fc.constantFrom('s', 't')).map((texts) => `${texts.join('\0')}\0`),
      ),
      pair(
        XS.SET_PERMS,
        fc.tuple(path, fc.constantFrom('n1', 'n2', 'r1\0b2', 'b2\0w1')).map((texts) => `${texts.join('\0')}\0`),
      ),
      pair(XS.TRANSACTION_START, fc.constant('\0')),
      pair(XS.TRANSACTION_END, fc.constantFrom('T\0', 'F\0')),
      pair(XS.RESET_WATCHES, fc.constant('\0')),
    );
    const step = fc.record({
      domid: fc.constantFrom(1, 2),
      request,
      transaction: fc.constantFrom(0, 0, 1, 2),
      read: fc.integer({ min: 0, max: 200 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const quotas = { memory: 1500, nodeBytes: 400, outstanding: 4 };
        const core = createCore({ quotas }, () => undefined);
        const host = { domid: 0, privileged: true, target: undefined };
        for (const [at, owner, access] of [
          ['/local/domain/1', 1, 0],
          ['/local/domain/2', 2, 1],
          ['/shared', 0, 3],
        ] as const) {
          core.live.mkdir(host, at);
          core.live.setPermissions(host, at, [{ domid: owner, access }]);
        }
        const connections = [1, 2].map((domid) => createConnection(core, domid, `/local/domain/${domid}`));
        const messages = new Map<number, number>();
        steps.forEach(({ domid, request: [type, text], transaction, read }, index) => {
          const connection = connections[domid - 1]!;
          const message = encodeMessage(type, index, transaction, text);
          const taken = connection.receive(message);
          // A message is taken as a whole or not at all: nothing else happens in its midst.
          expect([0, message.length]).toContain(taken);
          if (taken > 0) messages.set(domid, (messages.get(domid) ?? 0) + 1);
          connection.drainInto(new Uint8Array(read));
          expect(connection.pending).toBeLessThan(1500 + 5 * 32);
        });
        for (const connection of connections) {
          connection.drainInto(new Uint8Array(connection.pending));
          // Ends watches and transactions; what is left are nodes.
          connection.reset();
        }
        for (const connection of connections) {
          expect(connection.congested).toBe(core.accounts.isFull(connection.domid));
          let bytes = 0;
          for (const [at, node] of walk(core.live.root, '/')) {
            if (node.permissions[0].domid === connection.domid) bytes += at.length + recordBytes(node);
          }
          expect(core.accounts.bytesOf(connection.domid)).toBe(bytes);
        }
      }),
    );
  });
});
