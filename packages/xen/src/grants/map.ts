/** Mapping another domain's granted page into one's own tables, and undoing it. */
import { GNTMAP, GNTST } from '@paravane/abi-xen';
import { FrameType } from '@paravane/mmu';
import type { Mfn } from '@paravane/types';
import { HOST_DOMAIN, type XenDomain, type XenVcpu } from '../domain.js';
import { getPageType, mapGrant, putPageType, unmapGrant } from '../mm/index.js';
import type { MapHandle } from './state.js';
import { beginUse, endUse } from './table.js';

export interface MapResult {
  status: number;
  handle: number;
  frame: Mfn | 0;
}

/** What the host's own table says to a guest: it has a frame of entries, and none of them grants anything. */
export const hostEntry = (ref: number): number => (ref < HOST_ENTRIES ? GNTST.general_error : GNTST.bad_gntref);
const HOST_ENTRIES = 512;

const failed = (status: number): MapResult => ({ status, handle: 0xffffffff, frame: 0 });

function takeHandle(domain: XenDomain, entry: MapHandle): number {
  const { handles, freeHandles } = domain.grants;
  const number = freeHandles.pop() ?? handles.length;
  handles[number] = entry;
  return number;
}

export function mapRef(
  vcpu: XenVcpu,
  request: { host_addr: bigint; flags: number; ref: number; dom: number },
): MapResult {
  const { domain } = vcpu;
  const { mmu, grants } = domain;
  const flags = request.flags;
  if (!(flags & (GNTMAP.host_map | GNTMAP.device_map))) return failed(GNTST.bad_gntref);
  const remote = domain.machine.domain(request.dom);
  if (!remote && request.dom === HOST_DOMAIN) return failed(hostEntry(request.ref));
  if (!remote || remote.dying) return failed(GNTST.bad_domain);
  if (grants.freeHandles.length === 0 && grants.handles.length >= grants.maxHandles) return failed(GNTST.no_space);
  const write = !(flags & GNTMAP.readonly);
  const use = beginUse(remote, request.ref, domain.id, write, true);
  if (!use.active) return failed(use.status);
  const { frame } = use.active;
  // The handle's own hold; below, those of devices and of the table entry.
  mmu.holds.hold(domain.id, frame, write);
  const forDevices = (flags & GNTMAP.device_map) !== 0;
  const held = !forDevices || takeHolds(remote, frame, flags);
  let status: number = held ? GNTST.okay : GNTST.general_error;
  if (held && flags & GNTMAP.host_map) status = mapHost(vcpu, remote, request.host_addr, frame, flags);
  if (status !== GNTST.okay) {
    if (held && forDevices) dropHolds(remote, frame, flags);
    mmu.holds.unhold(domain.id, frame, write);
    endUse(remote, request.ref, write);
    return failed(status);
  }
  return { status: GNTST.okay, handle: takeHandle(domain, { remote, ref: request.ref, frame, flags }), frame };
}

function mapHost(vcpu: XenVcpu, remote: XenDomain, address: bigint, frame: Mfn, flags: number): number {
  if (!takeHolds(remote, frame, flags)) return GNTST.general_error;
  const status = mapGrant(vcpu, address, frame, flags);
  if (status !== GNTST.okay) dropHolds(remote, frame, flags);
  return status;
}

/** What a mapping for devices and one in a table hold each: the frame and, to write to it, its type. */
function takeHolds(remote: XenDomain, frame: Mfn, flags: number): boolean {
  const { frames } = remote.mmu;
  if (!frames.getRef(frame, remote.id)) return false;
  if (flags & GNTMAP.readonly || getPageType(remote.mm, frame, FrameType.writable) === 0) return true;
  frames.putRef(frame);
  return false;
}
function dropHolds(remote: XenDomain, frame: Mfn, flags: number): void {
  if (!(flags & GNTMAP.readonly)) putPageType(remote.mm, frame);
  remote.mmu.frames.putRef(frame);
}

export function unmapHandle(
  vcpu: XenVcpu,
  request: { host_addr: bigint; dev_bus_addr: bigint; handle: number; new_addr?: bigint },
): number {
  const { domain } = vcpu;
  const handle = domain.grants.handles[request.handle];
  if (!handle || handle.flags === 0) return GNTST.bad_handle;
  const { frame, remote } = handle;
  const { flags } = handle;
  if (request.dev_bus_addr !== 0n && flags & GNTMAP.device_map && request.dev_bus_addr !== BigInt(frame) << 12n) {
    return GNTST.bad_dev_addr;
  }
  if (request.host_addr !== 0n && flags & GNTMAP.host_map) {
    const status = unmapGrant(vcpu, request.host_addr, frame, flags, request.new_addr ?? 0n);
    if (status !== GNTST.okay) return status;
    dropHolds(remote, frame, flags);
    handle.flags &= ~GNTMAP.host_map;
  }
  if (request.dev_bus_addr !== 0n && flags & GNTMAP.device_map) {
    dropHolds(remote, frame, flags);
    handle.flags &= ~GNTMAP.device_map;
  }
  if (!(handle.flags & (GNTMAP.host_map | GNTMAP.device_map))) closeHandle(domain, request.handle);
  return GNTST.okay;
}

/** Ends a handle: the right to reach the frame, and the use of the remote's entry. */
export function closeHandle(domain: XenDomain, number: number): void {
  const { handles, freeHandles } = domain.grants;
  const handle = handles[number];
  if (!handle) return;
  handles[number] = undefined;
  freeHandles.push(number);
  if (handle.flags & GNTMAP.device_map) dropHolds(handle.remote, handle.frame, handle.flags);
  const write = !(handle.flags & GNTMAP.readonly);
  domain.mmu.holds.unhold(domain.id, handle.frame, write);
  domain.mmu.tlb.dropFrame(handle.frame);
  endUse(handle.remote, handle.ref, write);
}
