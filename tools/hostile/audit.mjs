// The books of a machine against its tables: counts of references and types as the present entries of validated
// tables, pins, roots, grants in use, registered pages and allocations make them; and that no entry and no translation
// in the TLB leads where its domain may not go.
import { GNTMAP } from '../../packages/abi-xen/dist/index.js';
import { TLB_BYTES, TLB_ENTRY_BYTES } from '../../packages/mmu/dist/index.js';

const L1 = 1;
const L4 = 4;
const PRESENT = 1;
const WRITABLE = 2;
const WORDS_OF_ENTRY = TLB_ENTRY_BYTES / 4;

/** What is wrong, in words; empty if nothing is. `types` are the numbers of `FrameType`, `flags` those of `FrameFlag`. */
export function audit(world, { types, flags }) {
  const { mmu, personality } = world;
  const { frames } = mmu;
  const { u32, frameBase } = mmu.machine;
  const wrong = [];
  const references = new Map();
  const uses = new Map();
  const count = (mfn, typed) => {
    references.set(mfn, (references.get(mfn) ?? 0) + 1);
    if (typed) uses.set(mfn, (uses.get(mfn) ?? 0) + 1);
  };
  const domains = [...personality.records.values()];
  const byId = new Map(domains.map((domain) => [domain.id, domain]));

  function auditTable(domain, mfn, level) {
    const { mm } = domain;
    for (let index = 0; index < 512; index++) {
      if (level === L4 && index >= 256 && index <= 271) continue;
      if (level === 2 && mm.machine.xenL2[mfn] !== 0 && index >= 0x1ac) continue;
      const word = (frameBase + mfn * 4096 + index * 8) >>> 2;
      const low = u32[word];
      if (!(low & PRESENT)) continue;
      const to = (u32[word + 1] & 0xfffff) * 0x100000 + (low >>> 12);
      const where = `entry ${index} of table ${mfn} (L${level})`;
      const writable = (low & WRITABLE) !== 0;
      if (!(to > 0 && to < frames.frames)) {
        wrong.push(`${where} leads to ${to}`);
        continue;
      }
      if (frames.owner[to] !== domain.id && !mmu.holds.allows(domain.id, to, level === L1 && writable)) {
        wrong.push(`${where} leads to ${to}, which is ${frames.owner[to]}'s`);
      }
      if (to !== mfn || level === L1) count(to, level > L1 || writable);
      if (level > L1 && frames.type[to] !== level - 1 && frames.type[to] !== level) {
        wrong.push(`${where} leads to ${to} of type ${frames.type[to]}`);
      }
    }
  }

  for (const domain of domains) {
    const { mm, grants, events } = domain;
    for (const mfn of mm.deferred) count(mfn, true);
    for (const vcpu of domain.vcpus) {
      for (const mfn of [vcpu.kernelRoot, vcpu.userRoot]) if (mfn !== 0) count(mfn, true);
      for (const mfn of [...vcpu.mm.gdtFrames, ...vcpu.mm.ldtFrames.values(), ...vcpu.mm.ahead]) count(mfn, true);
      if (vcpu.vcpuInfoFrame !== 0) count(vcpu.vcpuInfoFrame, true);
      if (vcpu.events.controlFrame !== 0) count(vcpu.events.controlFrame, true);
    }
    for (const mfn of events.fifo?.array ?? []) count(mfn, true);
    if (domain.eoiPage !== 0) count(domain.eoiPage, true);
    for (const handle of grants.handles) {
      if (handle && handle.flags & GNTMAP.device_map) count(handle.frame, !(handle.flags & GNTMAP.readonly));
    }
    for (const active of grants.active.values()) if (active.source === null) count(active.frame, false);
    for (let mfn = 1; mfn < frames.frames; mfn++) {
      if (frames.owner[mfn] !== domain.id) continue;
      if (mm.machine.shared[mfn]) count(mfn, true);
      if (frames.flags[mfn] & flags.allocated) count(mfn, false);
      if (frames.flags[mfn] & flags.pinned) count(mfn, true);
      const level = frames.type[mfn];
      if (level >= types.l1 && level <= types.l4 && frames.typeCount[mfn] !== 0) auditTable(domain, mfn, level);
    }
  }
  for (let mfn = 1; mfn < frames.frames; mfn++) {
    if (!byId.has(frames.owner[mfn])) continue;
    if (frames.refCount[mfn] !== (references.get(mfn) ?? 0)) {
      wrong.push(`frame ${mfn} has ${frames.refCount[mfn]} references, not ${references.get(mfn) ?? 0}`);
    }
    if (frames.typeCount[mfn] !== (uses.get(mfn) ?? 0)) {
      wrong.push(`frame ${mfn} has ${frames.typeCount[mfn]} uses as ${frames.type[mfn]}, not ${uses.get(mfn) ?? 0}`);
    }
  }
  return [...wrong, ...auditTlb(world, types, byId)];
}

/** Every translation leads to a frame that somebody owns; those to write never to a table or a descriptor page. */
function auditTlb({ mmu }, types, byId) {
  const { i32, frameBase } = mmu.machine;
  const { frames } = mmu;
  const wrong = [];
  for (let entry = 0; entry < TLB_BYTES / TLB_ENTRY_BYTES; entry++) {
    const word = (mmu.tlb.base >> 2) + entry * WORDS_OF_ENTRY;
    if (i32[word] === 0) continue;
    const mfn = (((i32[word + 6] + (i32[word] & ~0xfff)) | 0) - frameBase) / 4096;
    const owner = frames.owner[mfn];
    if (!(mfn > 0 && mfn < frames.frames) || frames.refCount[mfn] === 0) {
      wrong.push(`TLB entry ${entry} leads to ${mfn}, which nobody holds`);
    } else if (i32[word + 2] !== 0 && frames.typeCount[mfn] !== 0 && frames.type[mfn] !== types.writable) {
      if (byId.has(owner)) wrong.push(`TLB entry ${entry} writes to ${mfn} of type ${frames.type[mfn]}`);
    }
  }
  return wrong;
}
