import { XenbusState } from '@paravane/abi-xen';
import { createXenstore } from '@paravane/xenstore';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDevice, createBackendDevice, createFrontendDevice, parseState, readNumber, removeDevice } from './index.js';

function setUp(options: { wrong?: string } = {}) {
  const store = createXenstore();
  store.mkdir('/local/domain/1', ['n0', 'r1']);
  const paths = addDevice(store, {
    type: 'vbd',
    id: 51712,
    frontendId: 1,
    front: { 'virtual-device': 51712 },
    back: { mode: 'w' },
  });
  const log: string[] = [];
  let offered = 1;
  let connected = 0;
  const device = createBackendDevice({
    store,
    ...paths,
    offer: () => ({ 'feature-test': offered }),
    driver: {
      connect(read) {
        connected++;
        log.push(`connect ${read('ring-ref')}`);
        return options.wrong;
      },
      disconnect() {
        connected--;
        log.push('disconnect');
      },
    },
    onRemoved: () => log.push('removed'),
  });
  const front = (state: number | string) => store.write(`${paths.front}/state`, String(state));
  return {
    store,
    paths,
    device,
    log,
    front,
    offer: (value: number) => (offered = value),
    connections: () => connected,
    backState: () => store.read(`${paths.back}/state`),
  };
}

describe('the nodes', () => {
  it('belong to each end and show themselves to the other', () => {
    const { store, paths } = setUp();
    expect(paths).toEqual({
      front: '/local/domain/1/device/vbd/51712',
      back: '/local/domain/0/backend/vbd/1/51712',
    });
    expect(store.getPermissions(`${paths.front}/state`)).toEqual(['n1', 'r0']);
    expect(store.getPermissions(`${paths.back}/mode`)).toEqual(['n0', 'r1']);
    expect(store.getPermissions(`${paths.back}/feature-test`)).toEqual(['n0', 'r1']);
    expect(store.getPermissions('/local/domain/1/device/vbd')).toEqual(['n0', 'r1']);
    expect(store.read(`${paths.front}/backend`)).toBe(paths.back);
    expect(store.read(`${paths.back}/online`)).toBe('1');
  });
});

describe('what the other end says', () => {
  it('is a state only if it is one', () => {
    expect(['4', '8', '9', '-1', '', 'x', '04', '4 ', undefined].map(parseState)).toEqual([4, 8, 0, 0, 0, 0, 4, 0, 0]);
    expect([readNumber('17', 17), readNumber('18', 17), readNumber('1e3', 9999), readNumber(undefined, 9)]).toEqual([
      17,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('the back end', () => {
  it('offers, connects, and lets go', () => {
    const { store, paths, front, log, device, backState } = setUp();
    expect(backState()).toBe('2');
    store.write(`${paths.front}/ring-ref`, '8');
    front(XenbusState.Initialised);
    expect([log, backState()]).toEqual([['connect 8'], '4']);
    front(XenbusState.Connected);
    front(XenbusState.Closing);
    expect(backState()).toBe('5');
    front(XenbusState.Closed);
    expect([log, backState()]).toEqual([['connect 8', 'disconnect'], '6']);
    front(XenbusState.Initialising);
    expect([backState(), device.state]).toEqual(['2', 2]);
  });

  it('takes a front end back that starts anew without a word', () => {
    const { front, log, backState, offer, store, paths } = setUp();
    front(XenbusState.Connected);
    offer(2);
    front(XenbusState.Initialising);
    expect(backState()).toBe('2');
    expect(store.read(`${paths.back}/feature-test`)).toBe('2');
    front(XenbusState.Initialised);
    expect(log).toEqual(['connect undefined', 'disconnect', 'connect undefined']);
  });

  it('leaves a front end that closed alone until that starts anew or names rings, as Linux’s blkfront when it is bound again', () => {
    const { front, log, backState, store, paths } = setUp();
    front(XenbusState.Connected);
    front(XenbusState.Closed);
    // Bound again it only looks at our state, and wants more than Closed.
    let looks = 0;
    store.watch(`${paths.back}/state`, () => void looks++);
    front(XenbusState.Closed);
    expect([looks, backState()]).toEqual([1, '6']);
    // The toolstack says Connected, and the front end names rings without having been Initialising.
    store.write(`${paths.back}/state`, String(XenbusState.Connected));
    store.write(`${paths.front}/ring-ref`, '9');
    front(XenbusState.Initialised);
    expect(backState()).toBe('4');
    expect(log).toEqual(['connect undefined', 'disconnect', 'connect 9']);
    expect(looks).toBe(3);
  });

  it('says where it can be read why it cannot connect', () => {
    const { front, store, backState, connections } = setUp({ wrong: 'no ring' });
    front(XenbusState.Initialised);
    expect(store.read('/local/domain/0/error/backend/vbd/1/51712/error')).toBe('no ring');
    expect([backState(), connections()]).toEqual(['5', 0]);
  });

  it('is told when the toolstack wants it gone', () => {
    const { store, paths, front, log } = setUp();
    front(XenbusState.Connected);
    removeDevice(store, paths);
    front(XenbusState.Closed);
    expect(log.slice(1)).toEqual(['disconnect', 'removed']);
  });

  it('shows what changed to who is connected', () => {
    const { store, paths, device, front } = setUp();
    front(XenbusState.Connected);
    let seen = 0;
    store.watch(`${paths.back}/state`, () => void seen++);
    device.change({ sectors: 77 });
    expect([seen, store.read(`${paths.back}/sectors`)]).toEqual([2, '77']);
  });

  it('lets go and writes no more when it is closed', () => {
    const { store, paths, device, front, log } = setUp();
    front(XenbusState.Connected);
    device.close();
    device.close();
    store.rm(paths.back);
    store.rm(paths.front);
    expect(log.slice(1)).toEqual(['disconnect']);
    expect(store.ls(paths.back)).toBeUndefined();
  });

  it('pairs connect and disconnect whatever the front end claims', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(9), fc.constant('x'), fc.constant('gone'))), (claims) => {
        const { store, paths, front, connections, device } = setUp();
        for (const claim of claims) {
          if (claim === 'gone') store.rm(paths.front);
          else front(claim);
          const apart = device.state === XenbusState.InitWait || device.state === XenbusState.Closed;
          expect(apart ? [0] : [0, 1]).toContain(connections());
        }
        device.close();
        expect(connections()).toBe(0);
      }),
    );
  });
});

describe('the front end', () => {
  it('meets the back end, sees changes, parts and comes again', () => {
    const { store, paths, device, log } = setUp();
    const heard: string[] = [];
    const front = createFrontendDevice({
      store,
      ...paths,
      driver: {
        setUp: (read) => ({ 'ring-ref': Number(read('feature-test')) + 8 }),
        connected: (read) => void heard.push(`connected ${read('sectors') ?? ''}`),
        closing: () => void heard.push('closing'),
      },
    });
    expect([front.state, device.state, log]).toEqual([4, 4, ['connect 9']]);
    device.change({ sectors: 5 });
    front.close();
    expect([front.state, device.state]).toEqual([6, 6]);
    front.restart();
    expect([front.state, device.state]).toEqual([4, 4]);
    device.fail('broken');
    expect(front.state).toBe(6);
    expect(heard[0]).toBe('connected ');
    expect(heard).toContain('connected 5');
    expect(heard.filter((text) => text === 'closing')).toHaveLength(2);
    front.abandon();
  });
});
