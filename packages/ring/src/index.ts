/** The shared ring of Xen's PV devices, both ends. */
export { type BackRing, type BackRingOptions, createBackRing } from './back-ring.js';
export { createFrontRing, type FrontRing } from './front-ring.js';
export { type RingPages, ringCapacity } from './ring-memory.js';
