import { describe, expect, it } from 'vitest';
import { depopulateDomain, populateDomain, populateHost } from './populate.js';
import { createXenstore } from './store.js';

const description = {
  domid: 1,
  name: 'guest',
  uuid: '359a85cd-0c7a-4499-92ea-8e53d8bdfec7',
  memoryKiB: 131_072,
  vcpus: 2,
  storePort: 1,
  storeRingRef: 49_153,
  consolePort: 2,
  consoleRingRef: 49_154,
};

describe('populateDomain', () => {
  it('writes what the toolstack of Xen writes, with its permissions', () => {
    const store = createXenstore();
    populateHost(store);
    populateDomain(store, description);
    const lines = [...store.entries('/local/domain/1')].map(
      ({ path, value, permissions }) => `${path} = "${value}" (${permissions.join(',')})`,
    );
    expect(lines).toMatchInlineSnapshot(`
      [
        "/local/domain/1 = "" (n0,r1)",
        "/local/domain/1/vm = "/vm/359a85cd-0c7a-4499-92ea-8e53d8bdfec7" (n0,r1)",
        "/local/domain/1/name = "guest" (n0,r1)",
        "/local/domain/1/cpu = "" (n0,r1)",
        "/local/domain/1/cpu/0 = "" (n0,r1)",
        "/local/domain/1/cpu/0/availability = "online" (n0,r1)",
        "/local/domain/1/cpu/1 = "" (n0,r1)",
        "/local/domain/1/cpu/1/availability = "online" (n0,r1)",
        "/local/domain/1/memory = "" (n0,r1)",
        "/local/domain/1/memory/static-max = "131072" (n0,r1)",
        "/local/domain/1/memory/target = "131072" (n0,r1)",
        "/local/domain/1/memory/videoram = "0" (n0,r1)",
        "/local/domain/1/device = "" (n0,r1)",
        "/local/domain/1/device/suspend = "" (n0,r1)",
        "/local/domain/1/device/suspend/event-channel = "" (n1)",
        "/local/domain/1/control = "" (n0,r1)",
        "/local/domain/1/control/shutdown = "" (n1)",
        "/local/domain/1/control/feature-poweroff = "" (n1)",
        "/local/domain/1/control/feature-reboot = "" (n1)",
        "/local/domain/1/control/feature-suspend = "" (n1)",
        "/local/domain/1/control/sysrq = "" (n1)",
        "/local/domain/1/control/platform-feature-multiprocessor-suspend = "1" (n0,r1)",
        "/local/domain/1/control/platform-feature-xs_reset_watches = "1" (n0,r1)",
        "/local/domain/1/data = "" (n1)",
        "/local/domain/1/drivers = "" (n1)",
        "/local/domain/1/feature = "" (n1)",
        "/local/domain/1/attr = "" (n1)",
        "/local/domain/1/error = "" (n1)",
        "/local/domain/1/domid = "1" (n0,r1)",
        "/local/domain/1/store = "" (n0,r1)",
        "/local/domain/1/store/port = "1" (n0,r1)",
        "/local/domain/1/store/ring-ref = "49153" (n0,r1)",
        "/local/domain/1/console = "" (n0,r1)",
        "/local/domain/1/console/backend = "/local/domain/0/backend/console/1/0" (n0,r1)",
        "/local/domain/1/console/backend-id = "0" (n1,r0)",
        "/local/domain/1/console/limit = "1048576" (n0,r1)",
        "/local/domain/1/console/type = "xenconsoled" (n0,r1)",
        "/local/domain/1/console/output = "pty" (n0,r1)",
        "/local/domain/1/console/port = "2" (n0,r1)",
        "/local/domain/1/console/ring-ref = "49154" (n0,r1)",
      ]
    `);
  });

  it('is undone by depopulateDomain', () => {
    const store = createXenstore();
    populateHost(store);
    const before = [...store.entries()].map(({ path }) => path);
    populateDomain(store, description);
    depopulateDomain(store, 1);
    const after = [...store.entries()]
      .map(({ path }) => path)
      .filter((path) => path !== '/local/domain/0/backend/console');
    expect(after).toEqual(before);
  });

  it('is heard of by the host only when complete', () => {
    const store = createXenstore();
    let sawPort: string | undefined;
    store.watch('/local/domain/1/name', () => (sawPort = store.read('/local/domain/1/console/port')));
    populateDomain(store, description);
    expect(sawPort).toBe('2');
  });
});

describe('releaseDomain', () => {
  it('closes the connection and leaves a later domain of the same number no rights', () => {
    const store = createXenstore();
    populateDomain(store, description);
    const connection = store.connect(1);
    store.introduceDomain(1);
    store.setPermissions('@releaseDomain', ['n0', 'r1', 'r2']);
    store.write('/local/domain/1/data/deep/node', '1');
    const gone: string[] = [];
    store.watch('/local/domain/1/data', (path) => void gone.push(path));
    store.releaseDomain(1);
    expect(connection.state).toBe('closed');
    expect(store.read('/local/domain/1/data')).toBeUndefined();
    expect(gone).toEqual(['/local/domain/1/data', '/local/domain/1/data']);
    expect(store.getPermissions('/local/domain/1/name')).toEqual(['n0']);
    expect(store.getPermissions('@releaseDomain')).toEqual(['n0', 'r2']);
  });
});

describe('the host', () => {
  it('is told what is wrong with a path', () => {
    expect(() => createXenstore().write('no/slash', '')).toThrow(expect.objectContaining({ code: 'xenstore-path' }));
    expect(() => createXenstore().write('/x', '', ['q1'])).toThrow(
      expect.objectContaining({ code: 'xenstore-permissions' }),
    );
  });
});
