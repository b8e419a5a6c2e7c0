/**
 * Hypercalls with little behind them: vm_assist, set_timer_op, console_io,
 * xenpmu_op, and those that an unprivileged domain is refused.
 */
import { CONSOLEIO, Errno, VMASST_TYPE } from '@paravane/abi-xen';
import { type HypercallHandler, isDomain, type XenVcpu } from '../domain.js';
import { asU32, readGuest, viewGuest } from '../guest-memory.js';
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
