import { XENCONS, XENCONS_OUT_SIZE, XenbusState } from '@paravane/abi-xen';
import { createMemoryPeer } from '@paravane/driver-api/conformance';
import { addDevice } from '@paravane/xenbus';
import { createXenstore } from '@paravane/xenstore';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createConsoleDevice } from './index.js';

function setUp() {
  const store = createXenstore();
  store.mkdir('/local/domain/1', ['n0', 'r1']);
  const guest = createMemoryPeer();
  const nodes = addDevice(store, { type: 'console', id: 1, frontendId: 1 });
  const said: number[] = [];
  let drained = 0;
  const log: string[] = [];
  const device = createConsoleDevice({
    store,
    ...nodes,
    peer: guest.peer,
    onOutput: (bytes) => said.push(...bytes),
    onInputDrained: () => drained++,
    log: (message) => log.push(message),
  });
  const page = guest.grant('write');
  const port = guest.allocatePort();
  const write = (values: Record<string, string | number>): void => {
    for (const [name, value] of Object.entries(values)) store.write(`${nodes.front}/${name}`, String(value));
  };
  return {
    store,
    guest,
    device,
    said,
    log,
    port,
    page,
    write,
    drained: () => drained,
    words: () => new DataView(page.bytes().buffer, page.bytes().byteOffset, 4096),
    connect: () => {
      write({ 'ring-ref': page.ref, port, state: XenbusState.Initialised });
      guest.settle();
    },
  };
}

describe('a further console', () => {
  it('carries bytes both ways while the guest is connected, and gives back all', () => {
    const test = setUp();
    expect(test.device.input(Uint8Array.of(1))).toBe(0);
    test.connect();
    expect([test.device.device.state, test.drained()]).toEqual([XenbusState.Connected, 1]);
    test.page.bytes().set([104, 105], XENCONS.out);
    test.words().setUint32(XENCONS.out_prod, 2, true);
    test.guest.send(test.port);
    expect(test.said).toEqual([104, 105]);
    expect(test.device.input(Uint8Array.of(7, 8, 9))).toBe(3);
    expect([...test.page.bytes().subarray(0, 3), test.words().getUint32(XENCONS.in_prod, true)]).toEqual([7, 8, 9, 3]);
    expect(test.guest.received(test.port)).toBeGreaterThan(0);
    test.write({ state: XenbusState.Closed });
    expect([test.device.input(Uint8Array.of(1)), test.guest.uses(), test.guest.portsHeld()]).toEqual([0, 0, 0]);
  });

  it.each([
    [{ 'ring-ref': 'x' }, /not both there/],
    [{ 'ring-ref': 3999 }, /cannot be mapped/],
    [{ port: 999 }, /not left for us/],
  ])('refuses %j, and holds nothing', (wrong, why) => {
    const test = setUp();
    test.write({ 'ring-ref': test.page.ref, port: test.port, ...wrong, state: XenbusState.Initialised });
    expect([test.log.length, test.guest.uses(), test.guest.portsHeld()]).toEqual([1, 0, 0]);
    expect(test.log[0]).toMatch(why);
  });

  it('is closed with the guest, and by us', () => {
    const died = setUp();
    died.connect();
    died.guest.destroy();
    const closed = setUp();
    closed.connect();
    closed.device.close();
    for (const { guest } of [died, closed]) expect([guest.uses(), guest.portsHeld()]).toEqual([0, 0]);
  });

  it('says no more than a ring holds, whatever the page says', () => {
    const action = fc.record({ at: fc.constantFrom(...Object.values(XENCONS).slice(2)), value: fc.nat(0xffffffff) });
    fc.assert(
      fc.property(fc.array(action), fc.nat(9), (actions, state) => {
        const test = setUp();
        test.connect();
        for (const { at, value } of actions) {
          test.said.length = 0;
          test.words().setUint32(at, value, true);
          test.guest.send(test.port);
          expect(test.said.length).toBeLessThanOrEqual(XENCONS_OUT_SIZE);
          test.device.input(Uint8Array.of(1));
        }
        test.write({ state });
        test.device.close();
        expect([test.guest.uses(), test.guest.portsHeld()]).toEqual([0, 0]);
      }),
    );
  });
});
