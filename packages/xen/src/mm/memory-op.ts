/**
 * HYPERVISOR_memory_op for PV domains (public/memory.h; xen/common/memory.c,
 * arch/x86/mm.c `arch_memory_op`).
 *
 * The extent calls answer with the number of extents done, never with an error.
 */
import {
  E820,
  Errno,
  MACH2PHYS_VIRT_END,
  MACH2PHYS_VIRT_END_PAE,
  MACH2PHYS_VIRT_START,
  MACH2PHYS_VIRT_START_PAE,
  SHARED_INFO_OFFSETS,
  XENMAPSPACE,
  XENMEM,
  XENMEMF,
} from '@paravane/abi-xen';
import { type Maddr, type Mfn, PAGE_SIZE } from '@paravane/types';
import { type HypercallResult, isDomain, type XenDomain, type XenVcpu } from '../domain.js';
import { exchange, MAX_ORDER } from './exchange.js';
import { selfOnly } from './foreign.js';
import {
  handleOk,
  readGuest,
  readGuestWord,
  viewGuest,
  wordBytes,
  writeGuest,
  writeGuestU32,
  writeGuestWord,
} from './guest.js';
import { begin, end } from './preempt.js';
import { addressLimit, nodeOk, type Reservation, readReservation } from './reservation.js';
import { allocateExtent, work } from './state.js';

const OP_MASK = 63n;
const EXTENT_SHIFT = 6n;
/** What a page of an extent costs of the budget, in table entries. */
const PAGE_COST = 32;
const E820_BYTES = 20;
const E820_MAX = 1024;
/** struct xen_vnuma_topology_info, of both ABIs. */
const VNUMA_BYTES = 40;

export function memoryOp(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const { mm } = vcpu.domain;
  if (!begin(mm)) return end(mm, { preempted: true, args });
  return end(mm, dispatch(vcpu, args));
}

function dispatch(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const { domain } = vcpu;
  const [command, arg] = args as [bigint, bigint];
  const start = command >> EXTENT_SHIFT;
  const op = Number(command & OP_MASK);
  switch (op) {
    case XENMEM.increase_reservation:
    case XENMEM.decrease_reservation:
    case XENMEM.populate_physmap:
      return extents(vcpu, op, args, start);
    case XENMEM.exchange:
      return start !== 0n ? -Errno.EINVAL : exchange(vcpu, args);
    case XENMEM.maximum_ram_page:
      return start !== 0n ? -Errno.EINVAL : domain.mmu.frames.frames;
    case XENMEM.current_reservation:
    case XENMEM.maximum_reservation:
    case XENMEM.maximum_gpfn:
      return start !== 0n ? -Errno.EINVAL : statistics(vcpu, op, arg);
    case XENMEM.add_to_physmap:
    case XENMEM.add_to_physmap_batch:
      return start > 0xffffn ? -Errno.EDOM : addToPhysmap(vcpu, op, arg);
    case XENMEM.remove_from_physmap:
      return start !== 0n ? -Errno.EINVAL : physmap(vcpu, viewGuest(vcpu, arg, 2 * wordBytes(vcpu)));
    case XENMEM.access_op:
      return accessOp(vcpu, arg);
    case XENMEM.claim_pages:
      // 32-bit guests don't have it.
      if (!domain.is64) return -Errno.ENOSYS;
      return start !== 0n ? -Errno.EINVAL : claimPages(vcpu, arg);
    case XENMEM.get_vnumainfo:
      return start !== 0n ? -Errno.EINVAL : vnumaInfo(vcpu, arg);
    case XENMEM.acquire_resource:
      return acquireResource(vcpu, arg);
    case XENMEM.reserved_device_memory_map:
      return start !== 0n ? -Errno.EINVAL : reservedDeviceMemory(vcpu, arg);
    default:
      return start !== 0n ? -Errno.ENOSYS : architecture(vcpu, op, arg);
  }
}

/** Calls whose argument starts with a domain id. */
function onDomid(vcpu: XenVcpu, arg: bigint, answer: () => number): number {
  const claimedId = viewGuest(vcpu, arg, 2)?.getUint16(0, true);
  if (claimedId === undefined) return -Errno.EFAULT;
  return selfOnly(vcpu.domain, claimedId) || answer();
}

function claimPages(vcpu: XenVcpu, arg: bigint): number {
  const reservation = readReservation(vcpu, arg);
  if (!reservation) return -Errno.EFAULT;
  const { list, order, flags, domid } = reservation;
  if (list !== 0n || order !== 0 || flags !== 0) return -Errno.EINVAL;
  return isDomain(vcpu.domain.machine, domid) ? -Errno.EPERM : -Errno.EINVAL;
}

function vnumaInfo(vcpu: XenVcpu, arg: bigint): number {
  const view = viewGuest(vcpu, arg, VNUMA_BYTES);
  if (!view) return -Errno.EFAULT;
  if (view.getUint16(2, true) !== 0) return -Errno.EINVAL;
  // Nobody here was given a topology.
  return selfOnly(vcpu.domain, view.getUint16(0, true)) || -Errno.EOPNOTSUPP;
}

/** struct xen_mem_acquire_resource {domid u16, type u16, id u32, nr_frames u32, pad u32, frame u64, list}. */
function acquireResource(vcpu: XenVcpu, arg: bigint): number {
  const { domain } = vcpu;
  const view = viewGuest(vcpu, arg, 24 + wordBytes(vcpu));
  if (!view) return -Errno.EFAULT;
  const claimedEnd = view.getBigUint64(16, true) + BigInt(view.getUint32(8, true));
  if (view.getUint32(12, true) !== 0 || claimedEnd >> 32n !== 0n) return -Errno.EINVAL;
  return isDomain(domain.machine, view.getUint16(0, true)) ? -Errno.EPERM : -Errno.ESRCH;
}

function statistics(vcpu: XenVcpu, op: number, arg: bigint): number {
  const { domain } = vcpu;
  return onDomid(vcpu, arg, () => {
    if (op === XENMEM.current_reservation) return domain.totPages;
    if (op === XENMEM.maximum_reservation) return domain.maxPages;
    return maximumGpfn(domain);
  });
}

/** From shared_info.arch.max_pfn, which the guest writes; 0 until it has. */
function maximumGpfn(domain: XenDomain): number {
  if (domain.sharedInfo === 0) return 0;
  const at = (domain.sharedInfo * PAGE_SIZE + SHARED_INFO_OFFSETS[domain.is64 ? 64 : 32].max_pfn) as Maddr;
  const claimedMax = domain.is64 ? domain.mmu.readU64(at) : BigInt(domain.mmu.readU32(at));
  return claimedMax === 0n ? 0 : Number(BigInt.asIntN(64, claimedMax - 1n));
}

/** Of structures that begin with a domain id: a PV domain has no second translation to change, whosever it is. */
function physmap(vcpu: XenVcpu, view: DataView | null): number {
  if (!view) return -Errno.EFAULT;
  return selfOnly(vcpu.domain, view.getUint16(0, true)) === -Errno.ESRCH ? -Errno.ESRCH : -Errno.EACCES;
}

function addToPhysmap(vcpu: XenVcpu, op: number, arg: bigint): number {
  const word = wordBytes(vcpu);
  const isBatch = op === XENMEM.add_to_physmap_batch;
  const view = viewGuest(vcpu, arg, isBatch ? 8 + 3 * word : 8 + 2 * word);
  if (!view) return -Errno.EFAULT;
  if (!isBatch && view.getUint32(4, true) === XENMAPSPACE.gmfn_foreign) return -Errno.ENOSYS;
  if (isBatch) {
    const count = view.getUint16(4, true);
    const lists = [0, 1, 2].map((at) => BigInt(view.getUint32(8 + 4 * at, true)));
    if (word === 4 && !lists.every((list) => handleOk(vcpu, list, count, word))) return -Errno.EFAULT;
    if (view.getUint16(2, true) === XENMAPSPACE.gmfn_range) return -Errno.EOPNOTSUPP;
  }
  return physmap(vcpu, view);
}

/** struct xen_mem_access_op {op u8, access u8, domid u16, …}: for domains of the other kind. */
function accessOp(vcpu: XenVcpu, arg: bigint): number {
  const { domain } = vcpu;
  const view = viewGuest(vcpu, arg, wordBytes(vcpu) === 8 ? 32 : 24);
  if (!view) return -Errno.EFAULT;
  const claimedId = view.getUint16(2, true);
  if (claimedId === domain.id) return -Errno.EPERM;
  return isDomain(domain.machine, claimedId) ? -Errno.EINVAL : -Errno.ESRCH;
}

/** struct xen_reserved_device_memory_map {flags u32, nr_entries u32, buffer, device}: there is none. */
function reservedDeviceMemory(vcpu: XenVcpu, arg: bigint): number {
  const word = wordBytes(vcpu);
  const view = viewGuest(vcpu, arg, word === 8 ? 24 : 16);
  if (!view) return -Errno.EFAULT;
  const buffer = word === 8 ? view.getBigUint64(8, true) : BigInt(view.getUint32(8, true));
  if (!handleOk(vcpu, buffer, view.getUint32(4, true), 2 * word)) return -Errno.EFAULT;
  if ((view.getUint32(0, true) & ~XENMEM_RDM_ALL) !== 0) return -Errno.EINVAL;
  return writeGuestU32(vcpu, arg + 4n, 0) ? 0 : -Errno.EFAULT;
}
const XENMEM_RDM_ALL = 1;

function architecture(vcpu: XenVcpu, op: number, arg: bigint): number {
  switch (op) {
    case XENMEM.machphys_mapping: {
      const size = wordBytes(vcpu);
      const start = size === 8 ? MACH2PHYS_VIRT_START : BigInt(MACH2PHYS_VIRT_START_PAE);
      const end = size === 8 ? MACH2PHYS_VIRT_END : BigInt(MACH2PHYS_VIRT_END_PAE);
      const words = [start, end, (end - start) / BigInt(size) - 1n];
      const array = size === 8 ? new BigUint64Array(words) : new Uint32Array(words.map(Number));
      return writeGuest(vcpu, arg, new Uint8Array(array.buffer)) ? 0 : -Errno.EFAULT;
    }
    case XENMEM.machphys_mfn_list:
    case XENMEM.machphys_compat_mfn_list:
      return machphysList(vcpu, op, arg);
    case XENMEM.memory_map:
      return memoryMap(vcpu, arg);
    case XENMEM.set_memory_map:
      return setMemoryMap(vcpu, arg);
    case XENMEM.get_sharing_freed_pages:
    case XENMEM.get_sharing_shared_pages:
      return 0;
    case XENMEM.machine_memory_map:
      return -Errno.EPERM;
    case XENMEM.set_pod_target:
    case XENMEM.get_pod_target:
      return podTarget(vcpu, arg);
    default:
      return -Errno.ENOSYS;
  }
}

function podTarget(vcpu: XenVcpu, arg: bigint): number {
  const claimedId = viewGuest(vcpu, arg, wordBytes(vcpu) === 8 ? 40 : 36)?.getUint16(32, true);
  if (claimedId === undefined) return -Errno.EFAULT;
  // Only domains of the other kind have such pages, whoever asks.
  const rc = selfOnly(vcpu.domain, claimedId);
  return rc === -Errno.ESRCH ? rc : -Errno.EINVAL;
}

function machphysList(vcpu: XenVcpu, op: number, arg: bigint): number {
  const word = wordBytes(vcpu);
  const view = viewGuest(vcpu, arg, 3 * word);
  if (!view) return -Errno.EFAULT;
  const claimedMax = view.getUint32(0, true);
  const list = word === 8 ? view.getBigUint64(8, true) : BigInt(view.getUint32(4, true));
  const { m2p } = vcpu.domain.mm.machine;
  const chunks = word === 8 ? m2p.chunks : m2p.paeChunks();
  const count = op === XENMEM.machphys_mfn_list || word === 4 ? Math.min(claimedMax, chunks.length) : 0;
  for (let i = 0; i < count; i++) {
    if (!writeGuestWord(vcpu, list + BigInt(i * word), BigInt(chunks[i]!))) return -Errno.EFAULT;
  }
  return writeGuestU32(vcpu, arg + BigInt(2 * word), count) ? 0 : -Errno.EFAULT;
}

function memoryMap(vcpu: XenVcpu, arg: bigint): number {
  const { domain } = vcpu;
  const word = wordBytes(vcpu);
  const view = viewGuest(vcpu, arg, 2 * word);
  if (!view) return -Errno.EFAULT;
  const buffer = word === 8 ? view.getBigUint64(8, true) : BigInt(view.getUint32(4, true));
  const map = domain.mm.memoryMap ?? [{ address: 0, size: domain.maxPages * PAGE_SIZE, type: E820.RAM }];
  if (map.length === 0) return -Errno.ENOSYS;
  const count = Math.min(view.getUint32(0, true), map.length);
  const bytes = new Uint8Array(count * E820_BYTES);
  const out = new DataView(bytes.buffer);
  map.slice(0, count).forEach(({ address, size, type }, i) => {
    out.setBigUint64(i * E820_BYTES, BigInt(address), true);
    out.setBigUint64(i * E820_BYTES + 8, BigInt(size), true);
    out.setUint32(i * E820_BYTES + 16, type, true);
  });
  const ok = writeGuest(vcpu, buffer, bytes) && writeGuestU32(vcpu, arg, count);
  return ok ? 0 : -Errno.EFAULT;
}

function setMemoryMap(vcpu: XenVcpu, arg: bigint): number {
  const word = wordBytes(vcpu);
  const view = viewGuest(vcpu, arg, 3 * word);
  if (!view) return -Errno.EFAULT;
  const claimedCount = view.getUint32(word, true);
  const buffer = word === 8 ? view.getBigUint64(16, true) : BigInt(view.getUint32(8, true));
  if (claimedCount > E820_MAX) return -Errno.EINVAL;
  const rc = selfOnly(vcpu.domain, view.getUint16(0, true));
  if (rc !== 0) return rc;
  const bytes = readGuest(vcpu, buffer, claimedCount * E820_BYTES);
  if (!bytes) return -Errno.EFAULT;
  const entries = new DataView(bytes.buffer);
  vcpu.domain.mm.memoryMap = Array.from({ length: claimedCount }, (_, i) => ({
    address: Number(entries.getBigUint64(i * E820_BYTES, true)),
    size: Number(entries.getBigUint64(i * E820_BYTES + 8, true)),
    type: entries.getUint32(i * E820_BYTES + 16, true),
  }));
  return 0;
}

function extents(vcpu: XenVcpu, op: number, args: bigint[], claimedStart: bigint): HypercallResult {
  const { domain } = vcpu;
  const { mm } = domain;
  const [, arg] = args as [bigint, bigint];
  const reservation = readReservation(vcpu, arg);
  const refused =
    !reservation ||
    reservation.count > 0xffff_ffffn >> EXTENT_SHIFT ||
    claimedStart >= reservation.count ||
    selfOnly(domain, reservation.domid) !== 0 ||
    addressLimit(domain, reservation.flags) === null ||
    !(reservation.flags & XENMEMF.vnode || nodeOk(reservation.flags)) ||
    reservation.order > MAX_ORDER ||
    !listOk(vcpu, op, reservation);
  if (refused) return Number(BigInt.asIntN(64, claimedStart));
  const count = Number(reservation.count);
  let done = Number(claimedStart);
  for (const first = done; done < count; done++) {
    if (done > first && mm.budget <= 0) {
      return { preempted: true, args: [BigInt(op) | (BigInt(done) << EXTENT_SHIFT), ...args.slice(1)] };
    }
    work(mm, PAGE_COST * 2 ** reservation.order);
    const at = reservation.list + BigInt(done * wordBytes(vcpu));
    const ok = op === XENMEM.decrease_reservation ? giveUp(vcpu, at, reservation) : take(vcpu, op, at, reservation);
    if (!ok) break;
  }
  return done;
}

const listOk = (vcpu: XenVcpu, op: number, { list, count }: Reservation): boolean =>
  (op === XENMEM.increase_reservation && list === 0n) || handleOk(vcpu, list, Number(count), wordBytes(vcpu));

/** One extent of populate_physmap or increase_reservation. */
function take(vcpu: XenVcpu, op: number, at: bigint, reservation: Reservation): boolean {
  const { domain } = vcpu;
  const { mm } = domain;
  const populate = op === XENMEM.populate_physmap;
  const gpfn = populate ? readGuestWord(vcpu, at) : 0n;
  if (gpfn === null || (populate && reservation.flags & XENMEMF.populate_on_demand)) return false;
  const first = allocateExtent(domain, reservation.order);
  if (first === -1) return false;
  const pages = 2 ** reservation.order;
  const giveBack = (): false => {
    for (let i = 0; i < pages; i++) mm.mmu.free((first + i) as Mfn);
    return false;
  };
  if (first + pages > (addressLimit(domain, reservation.flags) ?? 0)) return giveBack();
  if (populate) for (let i = 0; i < pages; i++) mm.machine.m2p.set(first + i, gpfn + BigInt(i));
  if (reservation.list === 0n || writeGuestWord(vcpu, at, BigInt(first))) return true;
  // Xen leaves a populated extent with the domain although it can't tell its frames.
  return populate ? false : giveBack();
}

/** One extent of decrease_reservation: the domain's claim to the frames ends, mappings keep them until they end too. */
function giveUp(vcpu: XenVcpu, at: bigint, { order }: Reservation): boolean {
  const { mm } = vcpu.domain;
  const claimedFirst = readGuestWord(vcpu, at);
  if (claimedFirst === null) return false;
  for (let i = 0; i < 2 ** order; i++) {
    const claimedFrame = Number(claimedFirst) + i;
    if (!mm.frames.getRef(claimedFrame, mm.domid)) return false;
    mm.mmu.free(claimedFrame as Mfn);
    mm.frames.putRef(claimedFrame as Mfn);
  }
  return true;
}
