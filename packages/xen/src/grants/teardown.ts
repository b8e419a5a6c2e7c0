/**
 * What a dying domain's grants leave behind: its own mappings of others end, and
 * its table goes. Frames of its own that others still map stay until they unmap.
 */
import type { XenDomain } from '../domain.js';
import { freeSharedPage } from '../mm/index.js';
import { closeHandle } from './map.js';

/** To be called after the domain's tables are gone: their entries held references of their own. */
export function releaseGrants(domain: XenDomain): void {
  const { grants } = domain;
  grants.handles.forEach((_, number) => closeHandle(domain, number));
  for (const frame of [...grants.frames, ...grants.statusFrames]) freeSharedPage(domain, frame);
  grants.frames.length = 0;
  grants.statusFrames.length = 0;
}
