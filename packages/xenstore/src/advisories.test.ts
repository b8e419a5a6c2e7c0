/** What the advisories of Xen (XSA) say that a domain must not be able to do to the store. Each is named by its number. */
import { XS } from '@paravane/abi-xen';
import { describe, expect, it } from 'vitest';
import { createXenstore } from './store.js';
import { createWireClient, encodeMessage } from './wire-client.js';

function setUp(...domids: number[]) {
  const store = createXenstore();
  const host = createWireClient(store.connect(0));
  const guests = domids.map((domid) => {
    store.mkdir(`/local/domain/${domid}`, [`n${domid}`]);
    store.introduceDomain(domid);
    const connection = store.connect(domid);
    return { connection, ...createWireClient(connection) };
  });
  return { store, host, guest: guests[0]!, other: guests[1]! };
}
type Guest = ReturnType<typeof setUp>['guest'];
/** How many nodes a domain can make, in directories of a hundred. */
function nodesLeft(guest: Guest): number {
  let made = 0;
  while (guest.ask(XS.MKDIR, made % 100 === 0 ? `n${made}\0` : `n${made - (made % 100)}/${made}\0`) === 'OK\0') made++;
  return made;
}
const start = (guest: Guest): number => Number.parseInt(guest.ask(XS.TRANSACTION_START, '\0'), 10);

describe('a domain', () => {
  it('325: that breaks the protocol is not told of as if it were gone', () => {
    const { store, guest } = setUp(1);
    const told: string[] = [];
    store.watch('@releaseDomain', (path) => void told.push(path));
    const before = told.length;
    const message = encodeMessage(XS.READ, 1, 0, '');
    new DataView(message.buffer).setUint32(12, 5000, true);
    guest.connection.receive(message);
    expect([guest.connection.state, store.isIntroduced(1), told.length]).toEqual(['error', true, before]);
    store.releaseDomain(1);
    expect(told).toHaveLength(before + 1);
  });

  it('352, 353: gives no node away, and has no rights at the root', () => {
    const { guest, store } = setUp(1, 2);
    guest.ask(XS.MKDIR, 'x\0');
    expect(guest.ask(XS.SET_PERMS, 'x\0n2\0')).toBe('EPERM');
    expect(guest.ask(XS.SET_PERMS, 'x\0n0\0')).toBe('EPERM');
    expect(guest.ask(XS.SET_PERMS, '/\0n1\0')).toBe('EACCES');
    expect(guest.ask(XS.DIRECTORY, '/\0')).toBe('EACCES');
    expect(guest.ask(XS.RM, '/\0')).toBe('EACCES');
    expect(guest.ask(XS.WRITE, '/x\0')).toBe('EACCES');
    expect(store.getPermissions('/local/domain/1/x')).toEqual(['n1']);
  });

  it('415: leaves no nodes behind where making them fails on the way', () => {
    const { guest, store } = setUp(1);
    const long = 'v'.repeat(2030);
    for (let round = 0; round < 300; round++) expect(guest.ask(XS.WRITE, `a/b/c/d\0${long}`)).toBe('ENOSPC');
    expect(store.ls('/local/domain/1')).toEqual([]);
    // All of its quota is there.
    expect(nodesLeft(guest)).toBe(999);
  });

  it('419: leaves no nodes behind in another’s tree when it goes, so none are nobody’s', () => {
    const { store, guest, other } = setUp(1, 2);
    for (let round = 0; round < 3; round++) {
      // Rights of an earlier domain of this number are none of the next one's.
      const again = round === 0 ? other : createWireClient(store.connect(2));
      expect(again.ask(XS.MKDIR, '/local/domain/1/open/x\0')).toBe('EACCES');
      store.mkdir('/local/domain/1/open', ['n1', 'b2']);
      for (let made = 0; made < 20; made++) again.ask(XS.MKDIR, `/local/domain/1/open/${round}-${made}/x\0`);
      expect(store.ls('/local/domain/1/open')).toHaveLength(20);
      store.releaseDomain(2);
      expect(store.ls('/local/domain/1/open')).toEqual([]);
      expect([...store.entries()].filter(({ path }) => path.startsWith('/local/domain/1/'))).toHaveLength(1);
      expect(store.getPermissions('/local/domain/1/open')).toEqual(['n1']);
      store.introduceDomain(2);
    }
    expect(guest.ask(XS.DIRECTORY, 'open\0')).toBe('');
  });

  it('425: is released once, with all that it had open', () => {
    const { store, host, guest } = setUp(1);
    const id = start(guest);
    guest.ask(XS.WRITE, 'x\0v', id);
    guest.ask(XS.WATCH, 'x\0t\0');
    expect(host.ask(XS.RELEASE, '1\0')).toBe('OK\0');
    expect(host.ask(XS.RELEASE, '1\0')).toBe('ENOENT');
    expect(guest.connection.state).toBe('closed');
    expect(guest.connection.receive(encodeMessage(XS.READ, 1, 0, 'x\0'))).toBe(0);
    // A new start, as after a soft reset.
    store.introduceDomain(1);
    store.mkdir('/local/domain/1', ['n1']);
    const again = createWireClient(store.connect(1));
    expect(again.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('ENOENT');
    expect(again.ask(XS.WRITE, 'x\0w')).toBe('OK\0');
    expect(again.events()).toEqual([]);
  });
});

describe('a transaction', () => {
  it('440: that made or removed what others have removed since can’t be committed, and nothing is miscounted', () => {
    const { guest, store } = setUp(1);
    const make = () => {
      for (const name of ['a', 'a/b', 'a/c']) guest.ask(XS.MKDIR, `${name}\0`);
    };
    for (let round = 0; round < 300; round++) {
      make();
      const id = start(guest);
      expect(guest.ask(XS.RM, 'a\0', id)).toBe('OK\0');
      store.rm('/local/domain/1/a');
      expect(guest.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('EAGAIN');
    }
    expect(nodesLeft(guest)).toBe(999);
  });

  it('ends with the watches where they are reset within it', () => {
    const { guest } = setUp(1);
    const id = start(guest);
    guest.ask(XS.MKDIR, 'x\0', id);
    expect(guest.ask(XS.RESET_WATCHES, '\0', id)).toBe('OK\0');
    expect(guest.ask(XS.TRANSACTION_END, 'T\0', id)).toBe('ENOENT');
    expect(guest.ask(XS.READ, 'x\0')).toBe('ENOENT');
  });
});
