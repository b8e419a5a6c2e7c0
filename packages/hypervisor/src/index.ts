export { createStateHash, type StateHash } from './hash.js';
export { createHypervisor, type Hypervisor, type HypervisorOptions, type SliceResult } from './hypervisor.js';
export type { Inbox, InputRecord } from './input.js';
