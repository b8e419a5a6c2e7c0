/** xen_version: who Xen says it is (public/version.h). */
import {
  Errno,
  HYPERVISOR_VIRT_START,
  HYPERVISOR_VIRT_START_PAE,
  XENFEAT,
  XENVER,
  xen_compile_info,
  xen_feature_info,
} from '@paravane/abi-xen';
import type { HypercallHandler } from '../domain.js';
import { abiOf, asU32, readGuestStruct, writeGuest, writeGuestStruct } from '../guest-memory.js';

const MAJOR = 4;
const MINOR = 17;
const EXTRAVERSION = '.5';
const PAGE_SIZE = 4096;
const DENIED = '<denied>';
const PAE_EXTENDED_CR3 = 3;

const text = (value: string, length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < Math.min(value.length, length - 1); at++) bytes[at] = value.charCodeAt(at);
  return bytes;
};

export const xen_version: HypercallHandler = (vcpu, [command, argument]) => {
  const answer = (bytes: Uint8Array, result = 0): number =>
    writeGuest(vcpu, argument, bytes) ? result : -Errno.EFAULT;
  switch (asU32(command)) {
    case XENVER.version:
      return (MAJOR << 16) | MINOR;
    case XENVER.extraversion:
      return answer(text(EXTRAVERSION, 16));
    case XENVER.compile_info: {
      const bytes = new Uint8Array(xen_compile_info.size(abiOf(vcpu)));
      xen_compile_info.write(
        new DataView(bytes.buffer),
        0,
        { compiler: 'TypeScript', compile_by: 'paravane', compile_domain: 'paravane', compile_date: '' },
        abiOf(vcpu),
      );
      return answer(bytes);
    }
    case XENVER.capabilities:
      return answer(text('xen-3.0-x86_64 xen-3.0-x86_32p ', 1024));
    case XENVER.changeset:
      return answer(text('', 64));
    case XENVER.platform_parameters: {
      const view = new DataView(new ArrayBuffer(8));
      const { is64 } = vcpu.domain;
      view.setBigUint64(0, is64 ? HYPERVISOR_VIRT_START : BigInt(HYPERVISOR_VIRT_START_PAE), true);
      return answer(new Uint8Array(view.buffer, 0, is64 ? 8 : 4));
    }
    case XENVER.get_features: {
      const request = readGuestStruct(vcpu, xen_feature_info, argument);
      if (!request) return -Errno.EFAULT;
      let submap = 0;
      if (request.submap_idx === 0) {
        submap =
          (1 << XENFEAT.memory_op_vnode_supported) |
          (1 << XENFEAT.mmu_pt_update_preserve_ad) |
          (1 << XENFEAT.highmem_assist) |
          (1 << XENFEAT.gnttab_map_avail_bits) |
          (1 << XENFEAT.direct_mapped);
        if (vcpu.domain.vmAssist & (1 << PAE_EXTENDED_CR3)) submap |= 1 << XENFEAT.pae_pgdir_above_4gb;
      } else {
        return -Errno.EINVAL;
      }
      return writeGuestStruct(vcpu, xen_feature_info, argument, { submap }) ? 0 : -Errno.EFAULT;
    }
    case XENVER.pagesize:
      // A guest that passes an argument is wrong.
      return argument === 0n ? PAGE_SIZE : -Errno.EINVAL;
    case XENVER.guest_handle:
      return answer(vcpu.domain.handle);
    case XENVER.commandline:
      // As long as it is, not as the buffer for the real one.
      return answer(text(DENIED, DENIED.length + 1));
    case XENVER.build_id:
      // For the control domain only, as is the command line.
      return -Errno.EPERM;
    default:
      return -Errno.ENOSYS;
  }
};
