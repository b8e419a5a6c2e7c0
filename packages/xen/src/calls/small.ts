/**
 * Hypercalls with little behind them: vm_assist, set_timer_op, console_io,
 * physdev_op and its old form, xenpmu_op, and those that an unprivileged domain
 * is refused.
 */
import {
  CONSOLEIO,
  Errno,
  HVMOP,
  PHYSDEVOP,
  physdev_irq_status_query,
  physdev_set_iobitmap,
  physdev_set_iopl,
  VMASST_TYPE,
} from '@paravane/abi-xen';
import { type HypercallHandler, isDomain, type XenVcpu } from '../domain.js';
import { mapWritable } from '../events/pages.js';
import {
  asU32,
  handleOk,
  readGuest,
  readGuestStruct,
  readGuestU32,
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

/** Longer than this ahead is a guest that computed a negative interval, or never: it gets a timer in 100 ms. */
const PATIENCE = 1n << 50n;
const SOON = 100_000_000n;

export const set_timer_op: HypercallHandler = (vcpu, [deadline]) => {
  const now = BigInt(Math.floor(vcpu.domain.machine.services.now()));
  setSingleshot(vcpu, deadline !== 0n && deadline - now > PATIENCE ? now + SOON : deadline);
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
    case PHYSDEVOP.eoi:
    case PHYSDEVOP.unmap_pirq:
      return readGuestU32(vcpu, argument) === null ? -Errno.EFAULT : -Errno.EINVAL;
    case PHYSDEVOP.pirq_eoi_gmfn_v1:
    case PHYSDEVOP.pirq_eoi_gmfn_v2:
      return registerEoiPage(vcpu, argument);
    case PHYSDEVOP.apic_read:
    case PHYSDEVOP.apic_write:
    case PHYSDEVOP.alloc_irq_vector:
    case PHYSDEVOP.manage_pci_add:
    case PHYSDEVOP.manage_pci_remove:
    case PHYSDEVOP.manage_pci_add_ext:
    case PHYSDEVOP.restore_msi:
    case PHYSDEVOP.restore_msi_ext:
    case PHYSDEVOP.map_pirq:
    case PHYSDEVOP.setup_gsi:
    case PHYSDEVOP.get_free_pirq:
    case PHYSDEVOP.pci_mmcfg_reserved:
    case PHYSDEVOP.pci_device_add:
    case PHYSDEVOP.pci_device_remove:
    case PHYSDEVOP.prepare_msix:
    case PHYSDEVOP.release_msix:
    case PHYSDEVOP.dbgp_op:
      return readGuestU32(vcpu, argument) === null ? -Errno.EFAULT : -Errno.EPERM;
    default:
      return -Errno.ENOSYS;
  }
}

/** The page of EOI bits: taken and kept, though there are no physical interrupts to mark in it. */
function registerEoiPage(vcpu: XenVcpu, argument: bigint): number {
  const { domain } = vcpu;
  const claimedFrame = readGuestU32(vcpu, argument);
  if (claimedFrame === null) return -Errno.EFAULT;
  if (domain.eoiPage !== 0) return -Errno.EBUSY;
  const frame = mapWritable(domain, BigInt(claimedFrame));
  if (frame === null) return -Errno.EINVAL;
  domain.eoiPage = frame;
  return 0;
}

export const physdev_op: HypercallHandler = (vcpu, [command, argument]) => physdev(vcpu, asU32(command), argument);

/** The old form: `struct physdev_op { u32 cmd; union }`. */
export const physdev_op_compat: HypercallHandler = (vcpu, [argument]) => {
  const command = readGuestU32(vcpu, argument);
  if (command === null) return -Errno.EFAULT;
  const old = [
    PHYSDEVOP.irq_status_query,
    PHYSDEVOP.set_iopl,
    PHYSDEVOP.set_iobitmap,
    PHYSDEVOP.apic_read,
    PHYSDEVOP.apic_write,
    PHYSDEVOP.alloc_irq_vector,
  ] as number[];
  return old.includes(command) ? physdev(vcpu, command, argument + (vcpu.domain.is64 ? 8n : 4n)) : -Errno.ENOSYS;
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

/** hvm_op knows only domains of the other kind. */
export const hvm_op: HypercallHandler = (_vcpu, [command]) =>
  asU32(command) <= HVMOP.get_param ? -Errno.EINVAL : -Errno.ENOSYS;

/** For calls that this Xen was built without. */
export const absent: HypercallHandler = () => -Errno.ENOSYS;
