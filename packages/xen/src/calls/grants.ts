/** grant_table_op: arrays of requests, each with a status of its own (public/grant_table.h). */
import {
  DOMID_SELF,
  Errno,
  type FieldMap,
  GNTST,
  GNTTABOP,
  gnttab_copy,
  gnttab_get_status_frames,
  gnttab_get_version,
  gnttab_map_grant_ref,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_setup_table,
  gnttab_swap_grant_ref,
  gnttab_transfer,
  gnttab_unmap_and_replace,
  gnttab_unmap_grant_ref,
  type Struct,
  type StructInput,
  type StructValue,
} from '@paravane/abi-xen';
import { type HypercallHandler, type HypercallResult, isDomain, type XenDomain, type XenVcpu } from '../domain.js';
import { copyGrant } from '../grants/copy.js';
import { mapRef, unmapHandle } from '../grants/map.js';
import { growTable, setVersion, swapEntries } from '../grants/table.js';
import { transferPage } from '../grants/transfer.js';
import { abiOf, asS32, asU32, handleOk, readGuest, readGuestStruct, viewGuest, writeGuest } from '../guest-memory.js';
import { work } from '../mm/index.js';

/** Requests of an array that one call works on before it is re-issued. */
const BATCH = 256;
/** What a request costs, in table entries: it may copy a page. */
const REQUEST_COST = 128;
/** The high half of the command word belongs to continuations of cache_flush. */
const COMMAND_MASK = 0xfff;

/** Runs `serve` on each element of an array and writes back what it answers. */
function each<M extends FieldMap>(
  vcpu: XenVcpu,
  layout: Struct<M>,
  args: bigint[],
  serve: (request: StructValue<M>) => StructInput<M>,
): HypercallResult {
  const abi = abiOf(vcpu);
  const size = layout.size(abi);
  let at = args[1];
  const count = asU32(args[2]);
  if (!handleOk(vcpu, at, count, size)) return -Errno.EFAULT;
  for (let done = 0; done < count; done++) {
    if (done === BATCH) return { preempted: true, args: [args[0], at, BigInt(count - done), ...args.slice(3)] };
    work(vcpu.domain.mm, REQUEST_COST);
    const bytes = readGuest(vcpu, at, size);
    if (!bytes) return -Errno.EFAULT;
    const view = new DataView(bytes.buffer, bytes.byteOffset, size);
    layout.write(view, 0, serve(layout.read(view, 0, abi)), abi);
    if (!writeGuest(vcpu, at, bytes)) return -Errno.EFAULT;
    at += BigInt(size);
  }
  return 0;
}

/** The domain whose table a call is about, or a `GNTST_*`. */
function tableOwner(vcpu: XenVcpu, claimedDom: number): XenDomain | number {
  const { domain } = vcpu;
  if (claimedDom === DOMID_SELF || claimedDom === domain.id) return domain;
  if (!isDomain(domain.machine, claimedDom)) return GNTST.bad_domain;
  return (domain.privileged && domain.machine.domain(claimedDom)) || GNTST.permission_denied;
}

/** Writes frame numbers to a guest array; false if it can't be written. */
function writeFrames(vcpu: XenVcpu, address: bigint, frames: readonly number[], size = abiOf(vcpu) / 8): boolean {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let written = true;
  // What can be written is, behind what can't too.
  frames.forEach((frame, index) => {
    view.setUint32(0, frame, true);
    if (!writeGuest(vcpu, address + BigInt(index * size), bytes)) written = false;
  });
  return written;
}

/** The compatibility layer of 32-bit guests does not look at an empty array. */
const isEmptyForCompat = ({ domain }: XenVcpu, count: bigint): boolean => !domain.is64 && asU32(count) === 0;

function setupTable(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  if (isEmptyForCompat(vcpu, args[2]!)) return handleOk(vcpu, args[1]!, 0, 1) ? 0 : -Errno.EFAULT;
  if (asU32(args[2]) !== 1) return -Errno.EINVAL;
  const { frame_list: list = 0n, nr_frames: claimedCount = 0 } =
    readGuestStruct(vcpu, gnttab_setup_table, args[1]) ?? {};
  if (!handleOk(vcpu, list, claimedCount, abiOf(vcpu) / 8)) return -Errno.EFAULT;
  return each(vcpu, gnttab_setup_table, args, (request) => {
    const owner = tableOwner(vcpu, request.dom);
    if (typeof owner === 'number') return { status: owner };
    const { nr_frames: claimedFrames } = request;
    if (claimedFrames > owner.grants.maxFrames) return { status: GNTST.general_error };
    if (claimedFrames > owner.grants.frames.length && !growTable(owner, claimedFrames)) {
      return { status: GNTST.general_error };
    }
    const written = writeFrames(vcpu, request.frame_list, owner.grants.frames.slice(0, claimedFrames));
    return { status: written ? GNTST.okay : GNTST.bad_virt_addr };
  });
}

function statusFrames(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  if (isEmptyForCompat(vcpu, args[2]!)) return handleOk(vcpu, args[1]!, 0, 1) ? 0 : -Errno.EFAULT;
  if (asU32(args[2]) !== 1) return -Errno.EINVAL;
  const { frame_list: list = 0n, nr_frames: claimedCount = 0 } =
    readGuestStruct(vcpu, gnttab_get_status_frames, args[1]) ?? {};
  if (!handleOk(vcpu, list, claimedCount, 8)) return -Errno.EFAULT;
  return each(vcpu, gnttab_get_status_frames, args, (request) => {
    const owner = tableOwner(vcpu, request.dom);
    if (typeof owner === 'number') return { status: owner };
    const { statusFrames: frames } = owner.grants;
    if (request.nr_frames > frames.length) return { status: GNTST.general_error };
    const written = writeFrames(vcpu, request.frame_list, frames.slice(0, request.nr_frames), 8);
    return { status: written ? GNTST.okay : GNTST.bad_virt_addr };
  });
}

function querySize(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  if (asU32(args[2]) !== 1) return -Errno.EINVAL;
  return each(vcpu, gnttab_query_size, args, (request) => {
    const owner = tableOwner(vcpu, request.dom);
    if (typeof owner === 'number') return { status: owner };
    const { frames, maxFrames } = owner.grants;
    return { nr_frames: frames.length, max_nr_frames: maxFrames, status: GNTST.okay };
  });
}

function changeVersion(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  let result = 0;
  const rc = each(vcpu, gnttab_set_version, [args[0], args[1], 1n], (request) => {
    result = setVersion(vcpu.domain, request.version);
    return { version: vcpu.domain.grants.version };
  });
  return rc === 0 ? result : rc;
}

function tellVersion(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  let result = 0;
  const rc = each(vcpu, gnttab_get_version, [args[0], args[1], 1n], (request) => {
    const owner = tableOwner(vcpu, request.dom);
    if (typeof owner !== 'number') return { version: owner.grants.version };
    result = owner === GNTST.bad_domain ? -Errno.ESRCH : -Errno.EPERM;
    return {};
  });
  return result === 0 ? rc : result;
}

/** struct gnttab_cache_flush {dev_bus_addr u64, offset u16, length u16, op u32}, the same in both ABIs. */
const FLUSH_BYTES = 16;
const CACHE_CLEAN = 1;
const CACHE_INVAL = 2;
const PAGE = 4096;

/** There are no caches to write back; what is checked is the right to. */
function flushCaches(vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const at = args[1]!;
  const count = asU32(args[2]!);
  if (!handleOk(vcpu, at, count, FLUSH_BYTES)) return -Errno.EFAULT;
  for (let done = 0; done < count; done++) {
    const here = at + BigInt(done * FLUSH_BYTES);
    if (done === BATCH) return { preempted: true, args: [args[0]!, here, BigInt(count - done), ...args.slice(3)] };
    const view = viewGuest(vcpu, here, FLUSH_BYTES);
    const rc = view ? flushOne(vcpu, view) : -Errno.EFAULT;
    if (rc !== 0) return rc;
  }
  return 0;
}

function flushOne({ domain }: XenVcpu, view: DataView): number {
  const [offset, length, op] = [view.getUint16(8, true), view.getUint16(10, true), view.getUint32(12, true)];
  const isOutside = offset >= PAGE || offset + length > PAGE;
  if (isOutside || (op & ~(CACHE_CLEAN | CACHE_INVAL)) !== 0) return -Errno.EINVAL;
  if (length === 0 || op === 0) return 0;
  const claimedFrame = Number(view.getBigUint64(0, true) >> 12n);
  const { frames } = domain.mmu;
  if (!(claimedFrame < frames.frames)) return -Errno.EINVAL;
  const owner = frames.owner[claimedFrame]!;
  if (!domain.machine.domain(owner)) return -Errno.EPERM;
  const isMapped = domain.grants.handles.some((handle) => handle?.frame === claimedFrame);
  if (owner !== domain.id && !isMapped) return -Errno.EINVAL;
  // What is in a cache alone can't be thrown away.
  return op === CACHE_INVAL ? -Errno.EOPNOTSUPP : 0;
}

export const grant_table_op: HypercallHandler = (vcpu, args) => {
  const { domain } = vcpu;
  const whole = asU32(args[0]);
  const command = (whole & COMMAND_MASK) === GNTTABOP.cache_flush ? GNTTABOP.cache_flush : whole;
  if (asS32(args[2]) < 0 || command & ~COMMAND_MASK) return -Errno.EINVAL;
  switch (command) {
    case GNTTABOP.map_grant_ref:
      return each(vcpu, gnttab_map_grant_ref, args, (request) => {
        const { status, handle, frame } = mapRef(vcpu, request);
        return status === GNTST.okay ? { status, handle, dev_bus_addr: BigInt(frame) << 12n } : { status };
      });
    case GNTTABOP.unmap_grant_ref:
      return each(vcpu, gnttab_unmap_grant_ref, args, (request) => ({ status: unmapHandle(vcpu, request) }));
    case GNTTABOP.unmap_and_replace:
      return each(vcpu, gnttab_unmap_and_replace, args, (request) => ({
        status: unmapHandle(vcpu, { ...request, dev_bus_addr: 0n }),
      }));
    case GNTTABOP.setup_table:
      return setupTable(vcpu, args);
    case GNTTABOP.query_size:
      return querySize(vcpu, args);
    case GNTTABOP.copy:
      return each(vcpu, gnttab_copy, args, (request) => ({ status: copyGrant(domain, request) }));
    case GNTTABOP.transfer:
      return each(vcpu, gnttab_transfer, args, (request) => ({ status: transferPage(domain, request) }));
    case GNTTABOP.set_version:
      return changeVersion(vcpu, args);
    case GNTTABOP.get_version:
      return tellVersion(vcpu, args);
    case GNTTABOP.get_status_frames:
      return statusFrames(vcpu, args);
    case GNTTABOP.swap_grant_ref:
      return each(vcpu, gnttab_swap_grant_ref, args, (request) => ({
        status: swapEntries(domain, request.ref_a, request.ref_b),
      }));
    case GNTTABOP.cache_flush:
      return flushCaches(vcpu, args);
    default:
      return -Errno.ENOSYS;
  }
};
