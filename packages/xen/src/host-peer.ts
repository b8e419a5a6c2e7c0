/** A Xen domain as the peer of a back end that lives in the host: grants, event channels, and the news of its end. */
import { driverApiVersion, type Peer } from '@paravane/driver-api';
import type { XenDomain } from './domain.js';
import { bindHost, type HostPort } from './events/channels.js';
import { copyFromGuest, copyToGuest, mapForHost } from './grants/host.js';

export function createHostPeer(domain: XenDomain): Peer {
  return {
    apiVersion: driverApiVersion,
    domid: domain.id,
    get gone() {
      return domain.dying;
    },
    onGone(listener) {
      if (domain.dying) listener();
      else domain.goneListeners.add(listener);
      return () => void domain.goneListeners.delete(listener);
    },
    map: (claimedRef, access) => mapForHost(domain, claimedRef, access === 'write'),
    copyFrom: (claimedRef, offset, length) => copyFromGuest(domain, claimedRef, offset, length),
    copyTo: (claimedRef, offset, bytes) => copyToGuest(domain, claimedRef, offset, bytes),
    bind(claimedPort, onEvent) {
      // The first event is one that the guest may have sent before.
      const host: HostPort | null = domain.dying ? null : bindHost(domain, claimedPort, onEvent);
      if (!host) return undefined;
      return { notify: () => void host.notify(), close: () => host.close() };
    },
  };
}
