/**
 * Taking a dead domain's memory apart (xen/arch/x86/domain.c,
 * `domain_relinquish_resources`). Frames that others still map by grants stay
 * the dead domain's until they are unmapped.
 */
import { FrameFlag } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import type { XenDomain } from '../domain.js';
import { destroyGdt } from './descriptor-tables.js';
import { dropLdt, putPageAndType, putPageType } from './page-type.js';
import { dropAhead } from './preempt.js';
import { forgetIfGone } from './state.js';

/** Gives back all that the domain's tables, roots and descriptor tables hold, and then its frames. */
export function relinquish(domain: XenDomain): void {
  const { mm } = domain;
  const { frames, mmu } = mm;
  const { owner, flags, type, typeCount } = frames;
  mm.budget = Infinity;
  while (mm.deferred.length > 0) putPageAndType(mm, mm.deferred.pop()!);
  for (const vcpu of domain.vcpus) {
    dropAhead(vcpu);
    dropLdt(mm, vcpu.mm);
    destroyGdt(vcpu);
    for (const root of [vcpu.kernelRoot, vcpu.userRoot]) if (root !== 0) putPageAndType(mm, root);
    vcpu.kernelRoot = 0 as Mfn;
    vcpu.userRoot = 0 as Mfn;
    vcpu.core.spaces.forEach((space, index) => {
      vcpu.core.spaces[index] = { ...space, root: 0 as Mfn };
    });
  }
  for (let mfn = 1 as Mfn; mfn < frames.frames; mfn++) {
    if (owner[mfn] !== domain.id || !(flags[mfn]! & FrameFlag.pinned)) continue;
    flags[mfn] = flags[mfn]! & ~FrameFlag.pinned;
    putPageAndType(mm, mfn);
  }
  // What is still a table now is one of a circle of linear page tables.
  for (let level = 4; level >= 2; level--) {
    for (let mfn = 1 as Mfn; mfn < frames.frames; mfn++) {
      if (owner[mfn] !== domain.id || type[mfn] !== level || typeCount[mfn] === 0) continue;
      frames.getRef(mfn, domain.id);
      const uses = typeCount[mfn]!;
      typeCount[mfn] = 1;
      putPageType(mm, mfn);
      typeCount[mfn] = uses - 1;
      frames.putRef(mfn);
    }
  }
  for (let mfn = 1 as Mfn; mfn < frames.frames; mfn++) {
    if (owner[mfn] === domain.id) mmu.free(mfn);
  }
  mmu.tlb.flushAll();
  domain.dying = true;
  forgetIfGone(mm.machine, domain);
}
