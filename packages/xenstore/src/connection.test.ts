import { XENSTORE_ERROR, XS } from '@paravane/abi-xen';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createXenstore } from './store.js';
import { createWireClient, decodeMessages, encodeMessage } from './wire-client.js';

function setUp() {
  const store = createXenstore();
  store.mkdir('/local/domain/1', ['n0', 'r1']);
  store.mkdir('/local/domain/1/data', ['n1']);
  const connection = store.connect(1);
  return { store, connection, guest: createWireClient(connection), host: createWireClient(store.connect(0)) };
}

describe('reading and writing', () => {
  it('reads back what was written, by absolute and by relative path', () => {
    const { guest } = setUp();
    expect(guest.ask(XS.WRITE, 'data/x\0hello')).toBe('OK\0');
    expect(guest.ask(XS.READ, '/local/domain/1/data/x\0')).toBe('hello');
    expect(guest.ask(XS.DIRECTORY, 'data\0')).toBe('x\0');
  });

  it('creates missing parents, which inherit permissions and belong to the writer', () => {
    const { guest, store } = setUp();
    guest.ask(XS.WRITE, 'data/a/b/c\0');
    expect(store.getPermissions('/local/domain/1/data/a/b')).toEqual(['n1']);
    expect(guest.ask(XS.GET_PERMS, 'data/a\0')).toBe('n1\0');
  });

  it('hides what a domain may not read, and that it is not there', () => {
    const { guest, store } = setUp();
    store.write('/secret/key', '1');
    expect(guest.ask(XS.READ, '/secret/key\0')).toBe('EACCES');
    expect(guest.ask(XS.READ, '/secret/none\0')).toBe('EACCES');
    expect(guest.ask(XS.READ, 'none\0')).toBe('ENOENT');
    expect(guest.ask(XS.WRITE, 'name\0x')).toBe('EACCES');
  });

  it('removes a tree; a missing node is fine where its parent exists', () => {
    const { guest } = setUp();
    guest.ask(XS.WRITE, 'data/a/b\0');
    expect(guest.ask(XS.RM, 'data/a\0')).toBe('OK\0');
    expect(guest.ask(XS.RM, 'data/a\0')).toBe('OK\0');
    expect(guest.ask(XS.RM, 'data/a/b\0')).toBe('ENOENT');
    expect(guest.ask(XS.RM, '/\0')).toBe('EACCES');
  });

  it('lets only the owner set permissions, and never give the node away', () => {
    const { guest, store } = setUp();
    store.introduceDomain(2);
    guest.ask(XS.MKDIR, 'data/p\0');
    expect(guest.ask(XS.SET_PERMS, 'data/p\0n1\0r2\0')).toBe('OK\0');
    expect(guest.ask(XS.GET_PERMS, 'data/p\0')).toBe('n1\0r2\0');
    expect(guest.ask(XS.SET_PERMS, 'data/p\0n2\0')).toBe('EPERM');
    expect(guest.ask(XS.SET_PERMS, 'data/p\0x1\0')).toBe('EINVAL');
    expect(guest.ask(XS.SET_PERMS, '/local/domain/1\0n1\0')).toBe('EACCES');
  });

  it('knows no owner that is no domain, and gives such a one no rights later', () => {
    const { guest, host, store } = setUp();
    guest.ask(XS.WRITE, 'data/p\0secret');
    expect(guest.ask(XS.SET_PERMS, 'data/p\0n7\0')).toBe('ENOENT');
    expect(guest.ask(XS.SET_PERMS, 'data/none\0n7\0')).toBe('ENOENT');
    expect(host.ask(XS.SET_PERMS, '/local/domain/1/data/p\0n7\0')).toBe('ENOENT');
    expect(host.ask(XS.SET_PERMS, '@releaseDomain\0n7\0')).toBe('ENOENT');
    // As another than the owner it is shown.
    expect(guest.ask(XS.SET_PERMS, 'data/p\0n1\0r7\0')).toBe('OK\0');
    expect(guest.ask(XS.GET_PERMS, 'data/p\0')).toBe('n1\0r7\0');
    store.introduceDomain(7);
    const late = createWireClient(store.connect(7));
    expect(late.ask(XS.READ, '/local/domain/1/data/p\0')).toBe('EACCES');
    expect(guest.ask(XS.SET_PERMS, 'data/p\0n1\0r7\0')).toBe('OK\0');
    expect(late.ask(XS.READ, '/local/domain/1/data/p\0')).toBe('secret');
  });

  it('lists a directory too large for one message in parts', () => {
    const { guest, store } = setUp();
    const names = Array.from({ length: 900 }, (_, index) => `name-${index}`);
    for (const name of names) store.write(`/local/domain/1/data/${name}`, '');
    expect(guest.ask(XS.DIRECTORY, 'data\0')).toBe('E2BIG');
    let list = '';
    for (;;) {
      const [, ...part] = guest.ask(XS.DIRECTORY_PART, `data\0${list.length}\0`).split('\0');
      const text = part.join('\0');
      if (text.endsWith('\0\0') || text === '\0') {
        list += text.slice(0, -1);
        break;
      }
      list += text;
    }
    expect(list.split('\0').slice(0, -1)).toEqual(names);
  });

  it.each([
    [XS.READ, 'data'],
    [XS.READ, 'data\0data\0'],
    [XS.READ, 'data/\0'],
    [XS.READ, '//\0'],
    [XS.READ, 'a b\0'],
    [XS.READ, ''],
    [XS.READ, `/${'a'.repeat(2048)}\0`],
    [XS.READ, `/local/domain/1/${'a'.repeat(2049)}\0`],
    [XS.READ, '@releaseDomain\0'],
    [XS.GET_PERMS, '@releaseDomain\0'],
    [XS.SET_PERMS, 'data\0'],
    [XS.SET_PERMS, '@domain\0n1\0'],
    [XS.WATCH, 'data\0'],
    [XS.TRANSACTION_END, 'X\0'],
    [XS.GET_DOMAIN_PATH, 'one\0'],
  ])('refuses what is malformed: case %#', (type, payload) => {
    expect(setUp().guest.ask(type, payload)).toBe('EINVAL');
  });

  it('answers ENOSYS to what it does not know, and EACCES to what is not for guests', () => {
    const { guest } = setUp();
    expect(guest.ask(99, '')).toBe('ENOSYS');
    expect(guest.ask(XS.RELEASE, '2\0')).toBe('EACCES');
    expect(guest.ask(XS.INTRODUCE, '2\0' + '1\0' + '1\0')).toBe('EACCES');
    expect(guest.ask(XS.GET_DOMAIN_PATH, '7\0')).toBe('/local/domain/7\0');
    for (const type of [XS.CONTROL, XS.IS_DOMAIN_INTRODUCED, XS.RESUME, XS.SET_TARGET]) {
      // Before the transaction that it names is looked for.
      expect(guest.ask(type, '7\0', 99)).toBe('EACCES');
    }
    expect(guest.ask(XS.READ, 'data\0', 99)).toBe('ENOENT');
    expect(guest.ask(XS.WATCH, 'data\0t\0', 99)).toBe('OK\0');
    expect(guest.ask(XS.UNWATCH, 'data\0t\0', 99)).toBe('OK\0');
  });
});

describe('what is on the edge of a request', () => {
  it('is not part of a string that has no end', () => {
    const { guest } = setUp();
    expect(guest.ask(XS.WATCH, 'data\0t\0rest')).toBe('OK\0');
    expect(guest.ask(XS.SET_PERMS, 'data\0n1\0rest')).toBe('OK\0');
    expect(guest.ask(XS.READ, 'data\0rest')).toBe('EINVAL');
  });

  it('is the length of a path behind the part that is the domain', () => {
    const { guest } = setUp();
    expect(guest.ask(XS.READ, `/local/domain/1/${'a'.repeat(2048)}\0`)).toBe('ENOENT');
    expect(guest.ask(XS.READ, `${'a'.repeat(2048)}\0`)).toBe('ENOENT');
    expect(guest.ask(XS.READ, `/${'a'.repeat(2047)}\0`)).toBe('EACCES');
  });

  it('is a place in a directory as C reads numbers', () => {
    const { guest } = setUp();
    guest.ask(XS.MKDIR, 'data/abc\0');
    const part = (offset: string) => guest.ask(XS.DIRECTORY_PART, `data\0${offset}\0`).split('\0').slice(1);
    expect([part('x'), part('1'), part('-1')]).toEqual([
      ['abc', '', ''],
      ['bc', '', ''],
      ['', ''],
    ]);
  });

  it('is a missing node to whose parent there is some of the rights that are needed', () => {
    const { guest, store } = setUp();
    store.mkdir('/shared', ['n0', 'w1']);
    expect(guest.ask(XS.SET_PERMS, '/shared/none\0n1\0')).toBe('ENOENT');
    expect(guest.ask(XS.READ, '/shared/none\0')).toBe('EACCES');
  });
});

describe('watches', () => {
  it('fire once when set and for every change at or below their path', () => {
    const { guest, store } = setUp();
    expect(guest.ask(XS.WATCH, 'data\0tok\0')).toBe('OK\0');
    expect(guest.events()).toEqual(['data|tok']);
    store.write('/local/domain/1/data/a/b', '1');
    store.write('/local/domain/1/other', '1', ['n1']);
    expect(guest.events()).toEqual(['data/a/b|tok']);
    store.rm('/local/domain/1/data/a');
    expect(guest.events()).toEqual(['data/a|tok']);
  });

  it('hear of their own path when an ancestor goes', () => {
    const { guest, store } = setUp();
    store.write('/local/domain/1/data/a/b', '1');
    guest.ask(XS.WATCH, '/local/domain/1/data/a/b\0deep\0');
    guest.events();
    store.rm('/local/domain/1/data/a');
    expect(guest.events()).toEqual(['/local/domain/1/data/a/b|deep']);
  });

  it('do not tell what a domain may not read', () => {
    const { guest, store } = setUp();
    guest.ask(XS.WATCH, '/\0all\0');
    guest.events();
    store.write('/secret/key', '1');
    store.write('/local/domain/1/data/x', '1');
    expect(guest.events()).toEqual(['/local/domain/1/data/x|all']);
  });

  it('are told once of what changes often before they look', () => {
    const { guest, store } = setUp();
    guest.ask(XS.WATCH, 'data\0t\0');
    guest.events();
    for (let count = 0; count < 10; count++) store.write('/local/domain/1/data/x', String(count));
    expect(guest.events()).toEqual(['data/x|t']);
  });

  it('end with UNWATCH and RESET_WATCHES, and cannot be set twice', () => {
    const { guest, store } = setUp();
    guest.ask(XS.WATCH, 'data\0t\0');
    expect(guest.ask(XS.WATCH, 'data\0t\0')).toBe('EEXIST');
    expect(guest.ask(XS.UNWATCH, 'data\0t\0')).toBe('OK\0');
    expect(guest.ask(XS.UNWATCH, 'data\0t\0')).toBe('ENOENT');
    guest.ask(XS.WATCH, 'data\0t\0');
    expect(guest.ask(XS.RESET_WATCHES, '\0')).toBe('OK\0');
    guest.events();
    store.write('/local/domain/1/data/x', '');
    expect(guest.events()).toEqual([]);
  });

  it('come before the reply to the request that caused them, and what the host does because of it behind', () => {
    const { guest, connection, store } = setUp();
    store.watch('/local/domain/1/data/x', () => store.write('/local/domain/1/data/answer', '1'));
    const types = (type: number, payload: string, transaction = 0): (string | number)[] => {
      connection.receive(encodeMessage(type, 9, transaction, payload));
      const bytes = new Uint8Array(connection.pending);
      connection.drainInto(bytes);
      return decodeMessages(bytes).map((message) => (message.type === XS.WATCH_EVENT ? message.text : message.type));
    };
    const [x, answer] = ['data/x\0t\0', 'data/answer\0t\0'];
    // The event that a watch begins with is told of one that is there.
    expect(types(XS.WATCH, 'data\0t\0')).toEqual([XS.WATCH, 'data\0t\0']);
    expect(types(XS.WRITE, 'data/x\0v')).toEqual([x, XS.WRITE, answer]);
    expect(types(XS.SET_PERMS, 'data/x\0n1\0')).toEqual([x, XS.SET_PERMS, answer]);
    expect(types(XS.RM, 'data/x\0')).toEqual([x, XS.RM, answer]);
    const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    expect(types(XS.MKDIR, 'data/x\0', id)).toEqual([XS.MKDIR]);
    expect(types(XS.TRANSACTION_END, 'T\0', id)).toEqual([x, XS.TRANSACTION_END, answer]);
  });

  it('may be on anything that begins with @, and hear of each domain', () => {
    const { guest, host, store } = setUp();
    expect(guest.ask(XS.WATCH, '@nothing\0t\0')).toBe('OK\0');
    expect(guest.events()).toEqual(['@nothing|t']);
    host.ask(XS.WATCH, '@releaseDomain\0h\0');
    host.events();
    for (const domid of [5, 6]) store.introduceDomain(domid);
    for (const domid of [5, 6]) store.releaseDomain(domid);
    expect(host.events()).toEqual(['@releaseDomain|h', '@releaseDomain|h']);
  });

  it('on @releaseDomain need a right', () => {
    const { guest, host, store } = setUp();
    guest.ask(XS.WATCH, '@releaseDomain\0g\0');
    host.ask(XS.WATCH, '@releaseDomain\0h\0');
    guest.events();
    host.events();
    store.introduceDomain(5);
    store.releaseDomain(5);
    expect(guest.events()).toEqual([]);
    expect(host.events()).toEqual(['@releaseDomain|h']);
  });
});

describe('transactions', () => {
  it('show their own changes inside, and to others after the commit', () => {
    const { guest, host } = setUp();
    const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    guest.ask(XS.WRITE, 'data/x\0new', id);
    expect(guest.ask(XS.READ, 'data/x\0', id)).toBe('new');
    expect(host.ask(XS.READ, '/local/domain/1/data/x\0')).toBe('ENOENT');
    host.ask(XS.WATCH, '/local/domain/1\0t\0');
    host.events();
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('OK\0');
    expect(host.events()).toEqual(['/local/domain/1/data/x|t']);
    expect(guest.ask(XS.READ, 'data/x\0')).toBe('new');
    expect(guest.ask(XS.READ, 'data/x\0', id)).toBe('ENOENT');
  });

  it('answer EAGAIN when something they looked at has changed', () => {
    const { guest, store } = setUp();
    store.write('/local/domain/1/data/n', '1');
    const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    expect(guest.ask(XS.READ, 'data/n\0', id)).toBe('1');
    store.write('/local/domain/1/data/n', '2');
    guest.ask(XS.WRITE, 'data/m\0from 1', id);
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('EAGAIN');
    expect(store.read('/local/domain/1/data/m')).toBeUndefined();
  });

  it('do not conflict with changes elsewhere', () => {
    const { guest, store } = setUp();
    const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    guest.ask(XS.WRITE, 'data/m\0one', id);
    store.write('/local/domain/1/data/n', 'two');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('OK\0');
    expect([store.read('/local/domain/1/data/m'), store.read('/local/domain/1/data/n')]).toEqual(['one', 'two']);
  });

  it('leave nothing behind when aborted, and do not nest', () => {
    const { guest, store } = setUp();
    const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    guest.ask(XS.WRITE, 'data/m\0one', id);
    expect(guest.ask(XS.TRANSACTION_START, '\0', id)).toBe('EBUSY');
    expect(guest.ask(XS.TRANSACTION_END, 'F\0', id)).toBe('OK\0');
    expect(store.read('/local/domain/1/data/m')).toBeUndefined();
  });
});

describe('quotas', () => {
  it('XSA-421: count what transactions made when they are committed', () => {
    const store = createXenstore({ quotas: { nodes: 4 } });
    store.mkdir('/local/domain/1', ['n1']);
    const guest = createWireClient(store.connect(1));
    const ids = ['a', 'b'].map((name) => {
      const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
      for (const index of [0, 1]) expect(guest.ask(XS.MKDIR, `${name}${index}\0`, id)).toBe('OK\0');
      return id;
    });
    expect(ids.map((id) => guest.ask(XS.TRANSACTION_END, 'T\0', id))).toEqual(['OK\0', 'ENOSPC']);
    expect(guest.ask(XS.DIRECTORY, '/local/domain/1\0')).toBe('a0\0a1\0');
  });

  it('XSA-418: a tree as deep as a path can be is made, announced and removed', () => {
    const { guest, host, store } = setUp();
    store.setPermissions('/local/domain/1', ['n1']);
    host.ask(XS.WATCH, '/local/domain/1\0t\0');
    host.events();
    const deep = 'x/'.repeat(900).slice(0, -1);
    expect(guest.ask(XS.WRITE, `${deep}\0v`)).toBe('OK\0');
    expect(guest.ask(XS.READ, `${deep}\0`)).toBe('v');
    expect(guest.ask(XS.RM, 'x\0')).toBe('OK\0');
    expect(guest.ask(XS.READ, 'x\0')).toBe('ENOENT');
    expect(host.events()).toHaveLength(2);
  });

  it('bound nodes, values, watches, transactions and steps of a guest', () => {
    const quotas = { nodes: 10, nodeBytes: 80, watches: 1, transactions: 0, transactionNodes: 4, permissions: 2 };
    const store = createXenstore({ quotas });
    store.mkdir('/local/domain/1', ['n1']);
    const guest = createWireClient(store.connect(1));
    // 24 bytes, 8 for the one permission, and the value: less than 80.
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(48)}`)).toBe('ENOSPC');
    expect(guest.ask(XS.WRITE, `x\0${'v'.repeat(47)}`)).toBe('OK\0');
    expect(guest.ask(XS.SET_PERMS, 'x\0n1\0r2\0')).toBe('ENOSPC');
    expect(guest.ask(XS.MKDIR, 'x/y\0')).toBe('ENOSPC');
    guest.ask(XS.RM, 'x\0');
    for (let index = 0; index < 9; index++) expect(guest.ask(XS.MKDIR, `n${index}\0`)).toBe('OK\0');
    expect(guest.ask(XS.MKDIR, 'more\0')).toBe('ENOSPC');
    guest.ask(XS.RM, 'n0\0');
    expect(guest.ask(XS.MKDIR, 'more\0')).toBe('OK\0');
    guest.ask(XS.WATCH, 'a\0t\0');
    guest.ask(XS.WATCH, 'b\0t\0');
    expect(guest.ask(XS.WATCH, 'c\0t\0')).toBe('E2BIG');
    const id = Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);
    expect(guest.ask(XS.TRANSACTION_START, '\0')).toBe('ENOSPC');
    for (let step = 0; step < 8; step++) expect(guest.ask(XS.WRITE, 'n1\0v', id)).toBe('OK\0');
    expect(guest.ask(XS.WRITE, 'n1\0v', id)).toBe('ENOSPC');
    expect(guest.ask(XS.SET_PERMS, 'n1\0n1\0r2\0r3\0')).toBe('ENOSPC');
  });
});

describe('a hostile peer', () => {
  it('is cut off when it announces a payload that is too long', () => {
    const { connection } = setUp();
    const message = encodeMessage(XS.READ, 1, 0, '');
    new DataView(message.buffer).setUint32(12, 4097, true);
    connection.receive(message);
    expect([connection.state, connection.error]).toEqual(['error', XENSTORE_ERROR.PROTO]);
    connection.reset();
    expect(createWireClient(connection).ask(XS.DIRECTORY, 'data\0')).toBe('');
  });

  it('gets well-formed answers to anything, however it is cut', () => {
    const message = fc.record({
      type: fc.oneof(fc.integer({ min: 0, max: 24 }), fc.nat()),
      transaction: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.nat()),
      text: fc.oneof(
        fc.constantFrom(
          'data\0',
          'data/x\0y',
          'data\0t\0',
          '\0',
          'T\0',
          'F\0',
          'data\0n1\0',
          '/\0all\0',
          'data\0' + '3\0',
        ),
        fc.string({ unit: 'binary-ascii', maxLength: 40 }),
      ),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), fc.integer({ min: 1, max: 64 }), (messages, cut) => {
        const { connection } = setUp();
        const encoded = messages.map(({ type, transaction, text }, index) =>
          encodeMessage(type, index, transaction, text),
        );
        for (const bytes of encoded) {
          for (let at = 0; at < bytes.length; at += cut) connection.receive(bytes.subarray(at, at + cut));
        }
        const output = new Uint8Array(connection.pending);
        connection.drainInto(output);
        const replies = decodeMessages(output).filter((reply) => reply.type !== XS.WATCH_EVENT);
        expect(replies.map((reply) => reply.requestId)).toEqual(messages.map((_, index) => index));
      }),
    );
  });
});

describe('the tree', () => {
  it('behaves as a map of paths', () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => `/${names.join('/')}`);
    const command = fc.oneof(
      fc.record({
        kind: fc.constant('write' as const),
        path,
        value: fc.string({ maxLength: 4, unit: 'binary-ascii' }),
      }),
      fc.record({ kind: fc.constant('rm' as const), path, value: fc.constant('') }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 30 }), (commands) => {
        const store = createXenstore();
        const model = new Map([['/', '']]);
        for (const { kind, path: at, value } of commands) {
          if (kind === 'rm') {
            store.rm(at);
            for (const key of model.keys()) if (key === at || key.startsWith(`${at}/`)) model.delete(key);
          } else {
            store.write(at, value);
            const names = at.slice(1).split('/');
            for (let depth = 1; depth < names.length; depth++) {
              const parent = `/${names.slice(0, depth).join('/')}`;
              if (!model.has(parent)) model.set(parent, '');
            }
            model.set(at, value);
          }
        }
        const listed = [...store.entries()].map((entry) => [entry.path, entry.value]);
        expect(new Map(listed as [string, string][])).toEqual(model);
      }),
    );
  });
});
