/**
 * Hypercalls with little behind them: vm_assist, set_timer_op, console_io,
 * physdev_op and its old form, xenpmu_op, and those that an unprivileged domain
 * is refused.
 */
import {
  CONSOLEIO,
  DOMID_SELF,
  Errno,
  PHYSDEVOP,
  physdev_irq_status_query,
  physdev_set_iobitmap,
  physdev_set_iopl,
  VMASST_TYPE,
} from '@paravane/abi-xen';
import { type HypercallHandler, isDomain, type XenVcpu } from '../domain.js';
import { mapWritable, unmapWritable } from '../events/pages.js';
import {
  asU32,
  handleOk,
  readGuest,
  readGuestStruct,
  readGuestU32,
  readGuestWord,
  viewGuest,
  writeGuestStruct,
} from '../guest-memory.js';
import { setSingleshot } from '../time.js';

const ENABLE = 0;
const DISABLE = 1;
/** Assists that a PV guest may use. */
const ASSISTS =
  (1 << VMASST_TYPE['4gb_segments']) |
  (1 << VMASST_TYPE['4gb_segments_notify']) |
  (1 << VMASST_TYPE.writable_pagetables) |
  (1 << VMASST_TYPE.pae_extended_cr3) |
  (1 << VMASST_TYPE.architectural_iopl) |
  (1 << VMASST_TYPE.runstate_update_flag);

export const vm_assist: HypercallHandler = ({ domain }, [command, type]) => {
  const cmd = asU32(command);
  const assist = asU32(type);
  const strict = assist === VMASST_TYPE.m2p_strict && domain.is64;
  if (!strict && (assist >= 32 || !(ASSISTS & (1 << assist)))) return -Errno.EINVAL;
  if (cmd !== ENABLE && cmd !== DISABLE) return -Errno.ENOSYS;
  const on = cmd === ENABLE;
  if (strict) {
    domain.m2pStrict = on;
    return 0;
  }
  domain.vmAssist = on ? domain.vmAssist | (1 << assist) : domain.vmAssist & ~(1 << assist);
  if (assist === VMASST_TYPE.architectural_iopl) for (const vcpu of domain.vcpus) vcpu.showsIopl = on;
  return 0;
};

/** This far ahead, or more, is a guest that computed a negative interval, or never: it gets a timer in 100 ms. */
const PATIENCE = 1n << 50n;
const SOON = 100_000_000n;

export const set_timer_op: HypercallHandler = (vcpu, [deadline]) => {
  const now = BigInt(Math.floor(vcpu.domain.machine.services.now()));
  setSingleshot(vcpu, deadline !== 0n && deadline - now >= PATIENCE ? now + SOON : deadline);
  return 0;
};

/** Only the control domain has Xen's own console. */
export const console_io: HypercallHandler = (vcpu, [command, count, buffer]) => {
  const { refusedOutput } = vcpu.domain;
  if (refusedOutput && asU32(command) === CONSOLEIO.write) {
    const bytes = readGuest(vcpu, buffer, Math.min(asU32(count), LONGEST_WRITE));
    if (bytes) refusedOutput(bytes);
  }
  return -Errno.EPERM;
};
/** The most of one call that is looked at; a guest writes lines. */
const LONGEST_WRITE = 4096;

const IO_BITMAP_BYTES = 8192;
/** Numbers of physical interrupts that a domain could be given. */
const PIRQS = 288;
/** Of them, those that come from pins. */
const GSIS = 24;
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
    case PHYSDEVOP.eoi:
      return readGuestU32(vcpu, argument) === null ? -Errno.EFAULT : -Errno.EINVAL;
    case PHYSDEVOP.pirq_eoi_gmfn_v1:
    case PHYSDEVOP.pirq_eoi_gmfn_v2:
      return registerEoiPage(vcpu, argument);
    case PHYSDEVOP.map_pirq:
    case PHYSDEVOP.unmap_pirq:
      return refusedPirq(vcpu, argument);
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
    case PHYSDEVOP.get_free_pirq:
    case PHYSDEVOP.pci_device_add:
    case PHYSDEVOP.pci_device_remove:
    case PHYSDEVOP.prepare_msix:
    case PHYSDEVOP.release_msix:
      return readGuestU32(vcpu, argument) === null ? -Errno.EFAULT : -Errno.EPERM;
    default:
      return -Errno.ENOSYS;
  }
}

/** Mapping and unmapping of physical interrupts, for whatever domain: the structures begin with its id. */
function refusedPirq(vcpu: XenVcpu, argument: bigint): number {
  const claimedId = viewGuest(vcpu, argument, 2)?.getUint16(0, true);
  if (claimedId === undefined) return -Errno.EFAULT;
  const exists = claimedId === DOMID_SELF || isDomain(vcpu.domain.machine, claimedId);
  return exists ? -Errno.EPERM : -Errno.ESRCH;
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

/** The virtual performance counters are off, as they are by default. */
export const xenpmu_op: HypercallHandler = () => -Errno.EOPNOTSUPP;

/** For calls that only the control domain may make. */
export const refused: HypercallHandler = () => -Errno.EPERM;

/** Of those, the ones whose structure begins with a command and the version of the interface, which is looked at first. */
const refusedAfterVersion =
  (
    version: number,
    bytes: number,
    refusal = (_vcpu: XenVcpu, _claimed: DataView): number => -Errno.EPERM,
  ): HypercallHandler =>
  (vcpu, [argument]) => {
    const claimed = viewGuest(vcpu, argument, bytes);
    if (!claimed) return -Errno.EFAULT;
    return claimed.getUint32(4, true) === version ? refusal(vcpu, claimed) : -Errno.EACCES;
  };
const DOMCTL_createdomain = 1;
export const domctl = refusedAfterVersion(0x15, 144, ({ domain }, claimed) => {
  const isNew = claimed.getUint32(0, true) === DOMCTL_createdomain;
  return isNew || isDomain(domain.machine, claimed.getUint16(8, true)) ? -Errno.EPERM : -Errno.ESRCH;
});
export const sysctl = refusedAfterVersion(0x15, 136);
export const platform_op = refusedAfterVersion(0x03000000, 136);

/** For calls that this Xen was built without. */
export const absent: HypercallHandler = () => -Errno.ENOSYS;
