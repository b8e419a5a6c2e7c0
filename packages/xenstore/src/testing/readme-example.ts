import { createXenstore, createXenstoreRing, populateDomain, populateHost } from '@paravane/xenstore';

const store = createXenstore();
populateHost(store);
populateDomain(store, {
  domid: 1,
  name: 'guest',
  uuid: '359a85cd-0c7a-4499-92ea-8e53d8bdfec7',
  memoryKiB: 131072,
  vcpus: 1,
  storePort: 1,
  storeRingRef: 100,
  consolePort: 2,
  consoleRingRef: 101,
});
const stop = store.watch('/local/domain/1/control', (path) => console.log(path)); // once now, then on each change
store.write('/local/domain/1/control/shutdown', 'poweroff');
stop();

// The guest's side: a page, an event to send, and kick() for each event that arrives.
const page = new Uint8Array(4096);
const connection = store.connect(1);
const ring = createXenstoreRing({ connection, page: { bytes: () => page }, notify: () => {} });
store.introduceDomain(1);
ring.kick();
