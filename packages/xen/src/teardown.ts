/** The end of a domain: channels, grants, registered pages, timers, and then its memory. */
import { releaseVcpuInfo } from './calls/vcpu.js';
import type { XenDomain } from './domain.js';
import { closeAll } from './events/channels.js';
import { leaveFifo } from './events/fifo.js';
import { unmapWritable } from './events/pages.js';
import { releaseGrants } from './grants/teardown.js';
import { freeSharedPage, relinquish } from './mm/index.js';

export function releaseDomain(domain: XenDomain): void {
  domain.dying = true;
  const listeners = [...domain.goneListeners];
  domain.goneListeners.clear();
  for (const listener of listeners) listener();
  for (const vcpu of domain.vcpus) {
    vcpu.singleshot.cancel();
    vcpu.periodic.cancel();
    vcpu.pollTimer.cancel();
  }
  for (const { timer } of domain.watchdogs) timer.cancel();
  closeAll(domain);
  for (const [port, end] of domain.machine.host.ends) {
    if (end.domid === domain.id) domain.machine.host.ends.delete(port);
  }
  leaveFifo(domain);
  for (const vcpu of domain.vcpus) releaseVcpuInfo(vcpu);
  if (domain.eoiPage !== 0) unmapWritable(domain, domain.eoiPage);
  domain.eoiPage = 0;
  if (domain.sharedInfo !== 0) freeSharedPage(domain, domain.sharedInfo);
  for (const frame of [...domain.spareInfo, ...domain.profile]) freeSharedPage(domain, frame);
  relinquish(domain);
  releaseGrants(domain);
}
