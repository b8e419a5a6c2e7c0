/** @paravane/xen: the Xen PV personality. */
export { crashReport, type Symbolize } from './crash.js';
export { type ChannelServer, createPvDomain, type GuestChannel, type PvDomain, type PvDomainSetup } from './create.js';
export type { XenDomain, XenMachine, XenVcpu } from './domain.js';
export { BASELINE_FEATURES, type CpuFeatures } from './emulate/cpuid.js';
export { narrowFeatures } from './emulate/narrow-features.js';
export { bindHost, type HostPort, sendVirq } from './events/channels.js';
export { copyFromGuest, copyToGuest, type HostGrant, mapForHost } from './grants/host.js';
export { createHostPeer } from './host-peer.js';
export { createXenPersonality, type XenPersonality, xenDomainOf } from './personality.js';
export type { TraceSink } from './trace.js';
export { xenTransitions } from './traps/transitions.js';
