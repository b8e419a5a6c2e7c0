/** What a device back end gets of the world: its peer as a capability, a store, and a way to wait for the host. */
export { createHostWork, type HostWork, type HostWorkQueue, type Settled, settled } from './host-work.js';
export { type Access, driverApiVersion, type EventPort, GrantStatus, type MappedPage, type Peer } from './peer.js';
export type { DeviceStore } from './store.js';
