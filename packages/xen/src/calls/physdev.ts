/**
 * physdev_op and its old form: ports, and physical interrupts, of which no domain here has any
 * (xen/arch/x86/physdev.c, irq.c; public/physdev.h).
 */
import {
  DOMID_SELF,
  Errno,
  MAP_PIRQ_TYPE,
  PHYSDEVOP,
  physdev_get_free_pirq,
  physdev_irq_status_query,
  physdev_map_pirq,
  physdev_set_iobitmap,
  physdev_set_iopl,
  physdev_unmap_pirq,
} from '@paravane/abi-xen';
import { type HypercallHandler, isDomain, type XenDomain, type XenVcpu } from '../domain.js';
import { mapWritable, unmapWritable } from '../events/pages.js';
import {
  asU32,
  handleOk,
  readGuestStruct,
  readGuestU32,
  readGuestWord,
  viewGuest,
  writeGuestStruct,
} from '../guest-memory.js';

const IO_BITMAP_BYTES = 8192;
/** Physical interrupts that come from pins: those of one I/O APIC. */
const GSIS = 24;
/** Numbers of physical interrupts that a domain could be given: Xen adds 32 for messages. */
export const PIRQS = GSIS + 32;
/** Pins from here on are not those of the ISA bus. */
const FIRST_FREE_GSI = 16;
const XENIRQSTAT_needs_eoi = 1;

function physdev(vcpu: XenVcpu, command: number, argument: bigint): number {
  switch (command) {
    case PHYSDEVOP.set_iopl: {
      const request = readGuestStruct(vcpu, physdev_set_iopl, argument);
      if (!request) return -Errno.EFAULT;
      if (request.iopl > 3) return -Errno.EINVAL;
      vcpu.iopl = request.iopl;
      return 0;
    }
    case PHYSDEVOP.set_iobitmap: {
      const request = readGuestStruct(vcpu, physdev_set_iobitmap, argument);
      if (!request) return -Errno.EFAULT;
      if (!handleOk(vcpu, request.bitmap, IO_BITMAP_BYTES, 1) || request.nr_ports > 65536) return -Errno.EINVAL;
      vcpu.ioBitmap = { address: request.bitmap, ports: request.nr_ports };
      return 0;
    }
    case PHYSDEVOP.irq_status_query: {
      const request = readGuestStruct(vcpu, physdev_irq_status_query, argument);
      if (!request) return -Errno.EFAULT;
      if (request.irq >= PIRQS) return -Errno.EINVAL;
      const answer = { flags: XENIRQSTAT_needs_eoi };
      return writeGuestStruct(vcpu, physdev_irq_status_query, argument, answer) ? 0 : -Errno.EFAULT;
    }
    case PHYSDEVOP.IRQ_UNMASK_NOTIFY:
      return 0;
    case PHYSDEVOP.eoi: {
      const claimedIrq = readGuestU32(vcpu, argument);
      if (claimedIrq === null) return -Errno.EFAULT;
      return vcpu.domain.pirqs.has(claimedIrq) ? 0 : -Errno.EINVAL;
    }
    case PHYSDEVOP.pirq_eoi_gmfn_v1:
    case PHYSDEVOP.pirq_eoi_gmfn_v2:
      return registerEoiPage(vcpu, argument);
    case PHYSDEVOP.map_pirq:
      return mapPirq(vcpu, argument);
    case PHYSDEVOP.unmap_pirq: {
      const request = readGuestStruct(vcpu, physdev_unmap_pirq, argument);
      return request ? refusedPirq(vcpu, request.domid) : -Errno.EFAULT;
    }
    case PHYSDEVOP.get_free_pirq: {
      const request = readGuestStruct(vcpu, physdev_get_free_pirq, argument);
      if (!request) return -Errno.EFAULT;
      const pirq = takeFreePirq(vcpu.domain, request.type);
      if (pirq < 0) return pirq;
      return writeGuestStruct(vcpu, physdev_get_free_pirq, argument, { pirq }) ? 0 : -Errno.EFAULT;
    }
    case PHYSDEVOP.restore_msi:
    case PHYSDEVOP.restore_msi_ext:
      return viewGuest(vcpu, argument, command === PHYSDEVOP.restore_msi ? 2 : 4) ? -Errno.ENODEV : -Errno.EFAULT;
    case PHYSDEVOP.setup_gsi: {
      // struct physdev_setup_gsi {gsi s32, triggering u8, polarity u8}.
      const view = viewGuest(vcpu, argument, 8);
      if (!view) return -Errno.EFAULT;
      return view.getUint32(0, true) < GSIS ? -Errno.EPERM : -Errno.EINVAL;
    }
    case PHYSDEVOP.manage_pci_add_ext: {
      // struct physdev_manage_pci_ext {bus u8, devfn u8, is_extfn u32, is_virtfn u32, of the physical function {bus u8, devfn u8}}.
      const view = viewGuest(vcpu, argument, 16);
      if (!view) return -Errno.EFAULT;
      return view.getUint32(4, true) > 1 || view.getUint32(8, true) > 1 ? -Errno.EINVAL : -Errno.EPERM;
    }
    case PHYSDEVOP.pci_mmcfg_reserved:
    case PHYSDEVOP.dbgp_op:
      return -Errno.EPERM;
    case PHYSDEVOP.apic_read:
    case PHYSDEVOP.apic_write:
    case PHYSDEVOP.alloc_irq_vector:
    case PHYSDEVOP.manage_pci_add:
    case PHYSDEVOP.manage_pci_remove:
    case PHYSDEVOP.pci_device_add:
    case PHYSDEVOP.pci_device_remove:
    case PHYSDEVOP.prepare_msix:
    case PHYSDEVOP.release_msix:
      return readGuestU32(vcpu, argument) === null ? -Errno.EFAULT : -Errno.EPERM;
    default:
      return -Errno.ENOSYS;
  }
}

/** Mapping and unmapping of physical interrupts, for whatever domain. */
function refusedPirq(vcpu: XenVcpu, claimedId: number): number {
  const exists = claimedId === DOMID_SELF || isDomain(vcpu.domain.machine, claimedId);
  return exists ? -Errno.EPERM : -Errno.ESRCH;
}

function mapPirq(vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(vcpu, physdev_map_pirq, argument);
  if (!request) return -Errno.EFAULT;
  if (request.type === MAP_PIRQ_TYPE.MULTI_MSI && request.table_base !== 0n) return -Errno.EINVAL;
  const answer = refusedPirq(vcpu, request.domid);
  // What was asked is written back, whatever came of it.
  const type = request.type === MAP_PIRQ_TYPE.MSI_SEG ? MAP_PIRQ_TYPE.MSI : request.type;
  return writeGuestStruct(vcpu, physdev_map_pirq, argument, { type }) ? answer : -Errno.EFAULT;
}

/** Takes the number of an interrupt for a domain, which nothing gives back: the first free pin, else the last message. */
function takeFreePirq({ pirqs }: XenDomain, type: number): number {
  const pins = type === MAP_PIRQ_TYPE.GSI ? GSIS : 0;
  for (let pirq = FIRST_FREE_GSI; pirq < pins; pirq++) if (!pirqs.has(pirq)) return take(pirqs, pirq);
  for (let pirq = PIRQS - 1; pirq >= GSIS; pirq--) if (!pirqs.has(pirq)) return take(pirqs, pirq);
  return -Errno.ENOSPC;
}
function take(pirqs: Set<number>, pirq: number): number {
  pirqs.add(pirq);
  return pirq;
}

/** The page of EOI bits: taken and kept, though there are no physical interrupts to mark in it. */
function registerEoiPage(vcpu: XenVcpu, argument: bigint): number {
  const { domain } = vcpu;
  const claimedFrame = readGuestWord(vcpu, argument);
  if (claimedFrame === null) return -Errno.EFAULT;
  const frame = mapWritable(domain, claimedFrame);
  if (frame === null) return -Errno.EINVAL;
  if (domain.eoiPage !== 0) {
    unmapWritable(domain, frame);
    return -Errno.EBUSY;
  }
  domain.eoiPage = frame;
  return 0;
}

export const physdev_op: HypercallHandler = (vcpu, [command, argument]) => physdev(vcpu, asU32(command), argument);

/** The old form: `struct physdev_op { u32 cmd; union }`, which takes all operations. */
export const physdev_op_compat: HypercallHandler = (vcpu, [argument]) => {
  const { is64 } = vcpu.domain;
  const command = viewGuest(vcpu, argument, is64 ? 24 : 16)?.getUint32(0, true);
  return command === undefined ? -Errno.EFAULT : physdev(vcpu, command, argument + (is64 ? 8n : 4n));
};
