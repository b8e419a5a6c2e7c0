/**
 * hvm_op and dm_op: calls for domains of the other kind. A PV guest may make them, and hears what is wrong first
 * (xen/arch/x86/hvm/hvm.c, hvm/dm.c).
 */
import { DOMID_SELF, Errno, HVM_NR_PARAMS, HVMOP } from '@paravane/abi-xen';
import { type HypercallHandler, isDomain, type XenVcpu } from '../domain.js';
import { asU32, viewGuest, writeGuest } from '../guest-memory.js';

/** struct xen_hvm_param {domid u16, pad u16, index u32, value u64}. */
const PARAM_BYTES = 16;
/** struct xen_hvm_get_mem_type {domid u16, mem_type u16, pad u16[2], pfn u64}, and that of pagetable_dying. */
const MEM_TYPE_BYTES = 16;
/** struct xen_hvm_xentrace {event u16, extra_bytes u16, extra u8[28]}. */
const TRACE_BYTES = 32;
const TRACE_EXTRA = 28;
const TRACE_EVENTS = 0xfff;

const isKnown = ({ domain }: XenVcpu, claimedId: number): boolean =>
  claimedId === DOMID_SELF || isDomain(domain.machine, claimedId);
const isOwn = ({ domain }: XenVcpu, claimedId: number): boolean => claimedId === DOMID_SELF || claimedId === domain.id;

export const hvm_op: HypercallHandler = (vcpu, [command, argument]) => {
  const read = (bytes: number): DataView | null => viewGuest(vcpu, argument!, bytes);
  switch (Number(command! < 64n ? command : -1n)) {
    case HVMOP.set_param:
    case HVMOP.get_param: {
      const view = read(PARAM_BYTES);
      if (!view) return -Errno.EFAULT;
      if (view.getUint32(4, true) >= HVM_NR_PARAMS) return -Errno.EINVAL;
      return isKnown(vcpu, view.getUint16(0, true)) ? -Errno.EINVAL : -Errno.ESRCH;
    }
    case HVMOP.get_mem_type:
    case HVMOP.pagetable_dying: {
      const view = read(MEM_TYPE_BYTES);
      if (!view) return -Errno.EFAULT;
      const claimedId = view.getUint16(0, true);
      if (!isKnown(vcpu, claimedId)) return -Errno.ESRCH;
      if (isOwn(vcpu, claimedId)) return -Errno.EINVAL;
      return Number(command) === HVMOP.get_mem_type ? -Errno.EPERM : -Errno.EOPNOTSUPP;
    }
    case HVMOP.get_time: {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.floor(vcpu.domain.machine.services.now())), true);
      return writeGuest(vcpu, argument!, bytes) ? 0 : -Errno.EFAULT;
    }
    case HVMOP.xentrace: {
      const view = read(TRACE_BYTES);
      if (!view) return -Errno.EFAULT;
      const isWrong = view.getUint16(2, true) > TRACE_EXTRA || (view.getUint16(0, true) & ~TRACE_EVENTS) !== 0;
      return isWrong ? -Errno.EINVAL : 0;
    }
    case HVMOP.guest_request_vm_event:
      return argument === 0n ? 0 : -Errno.EINVAL;
    case HVMOP.flush_tlbs:
    case HVMOP.set_evtchn_upcall_vector:
      return -Errno.EINVAL;
    case HVMOP.altp2m:
      return -Errno.EOPNOTSUPP;
    default:
      return -Errno.ENOSYS;
  }
};

/** Buffers of a call. */
const DM_BUFFERS = 2;

export const dm_op: HypercallHandler = (vcpu, [domid, count, buffers]) => {
  const { domain } = vcpu;
  const claimedCount = asU32(count!);
  if (claimedCount > DM_BUFFERS) return -Errno.E2BIG;
  const bytes = claimedCount * (domain.is64 ? 16 : 8);
  if (bytes > 0 && !viewGuest(vcpu, buffers!, bytes)) return -Errno.EFAULT;
  const claimedId = asU32(domid!) & 0xffff;
  if (claimedId === domain.id) return -Errno.EPERM;
  return isDomain(domain.machine, claimedId) ? -Errno.EINVAL : -Errno.ESRCH;
};
