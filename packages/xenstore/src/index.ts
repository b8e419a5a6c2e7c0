/** The xenstore server: store, connections, and the ring that carries a connection. */

export type { StoreClock } from './accounts.js';
export type { Connection, ConnectionError, ConnectionState } from './connection.js';
export type { IntroduceHandler, XenstoreOptions } from './core.js';
export type { SpecialPath } from './path.js';
export { type DomainDescription, depopulateDomain, populateDomain, populateHost } from './populate.js';
export { DEFAULT_QUOTAS, type Quotas } from './quotas.js';
export { createXenstoreRing, type SharedPage, type XenstoreRing, type XenstoreRingOptions } from './ring.js';
export type { XsError } from './space.js';
export { type ConnectOptions, createXenstore, type StoreEntry, type Xenstore } from './store.js';
