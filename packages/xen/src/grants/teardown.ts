/** What a dying domain's grants leave behind: its own mappings of others end, its table goes. */
import type { XenDomain } from '../domain.js';
import { freeSharedPage } from '../mm/index.js';

export function releaseGrants(domain: XenDomain): void {
  const { grants } = domain;
  for (const frame of [...grants.frames, ...grants.statusFrames]) freeSharedPage(domain, frame);
  grants.frames.length = 0;
  grants.statusFrames.length = 0;
}
