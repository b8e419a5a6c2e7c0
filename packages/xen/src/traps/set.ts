/**
 * Hypercalls that tell Xen where to enter the guest kernel: set_trap_table,
 * set_callbacks, callback_op, nmi_op, stack_switch, and the small ones on
 * processor state: fpu_taskswitch, debug registers, segment bases.
 */
import {
  CALLBACKOP,
  CALLBACKTYPE,
  callback_register,
  callback_unregister,
  Errno,
  FLAT_RING1_CS,
  FLAT_RING3_CS64,
  SEGBASE,
  SHARED_INFO_OFFSETS,
  TI_DPL_MASK,
  TI_EVENT_MASK,
  XENNMI,
  xennmi_callback,
} from '@paravane/abi-xen';
import { Seg, Vector } from '@paravane/engine-api';
import type { Maddr } from '@paravane/types';
import { compatSelector } from '../calls/compat.js';
import type { HypercallHandler, XenVcpu } from '../domain.js';
import { asU32, readGuest, readGuestStruct } from '../guest-memory.js';
import { isCanonical, loadSegment } from './segments.js';
import { chargeBatch, clearTraps, TRAP_BATCH } from './table.js';

const CR0_TS = 8;
const TRAP_INFO_BYTES = 16;
const CALLBACKF_MASK_EVENTS = 1;

/** Raises a selector's RPL to the ring of a 64-bit guest's kernel. */
const raised = (selector: number): number => selector | 3;

export const set_trap_table: HypercallHandler = (vcpu, args) => {
  const table = args[0];
  if (table === 0n) {
    clearTraps(vcpu);
    return 0;
  }
  chargeBatch(vcpu);
  for (let entry = 0; entry < TRAP_BATCH; entry++) {
    const bytes = readGuest(vcpu, table + BigInt(entry * TRAP_INFO_BYTES), TRAP_INFO_BYTES);
    if (!bytes) return -Errno.EFAULT;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const address = view.getBigUint64(8, true);
    if (address === 0n) return 0;
    if (!isCanonical(address)) return -Errno.EINVAL;
    const flags = view.getUint8(1);
    Object.assign(vcpu.traps[view.getUint8(0)], {
      dpl: flags & TI_DPL_MASK,
      masksEvents: (flags & TI_EVENT_MASK) !== 0,
      cs: raised(view.getUint16(2, true)),
      address,
    });
  }
  return { preempted: true, args: [table + BigInt(TRAP_BATCH * TRAP_INFO_BYTES)] };
};

export const set_callbacks: HypercallHandler = (vcpu, [event, failsafe, syscall]) => {
  const { callbacks } = vcpu;
  // As three calls of callback_op without flags, whose errors nobody hears of.
  if (isCanonical(event)) callbacks.event.address = event;
  if (isCanonical(failsafe)) Object.assign(callbacks.failsafe, { address: failsafe, masksEvents: false });
  if (isCanonical(syscall)) callbacks.syscall = { address: syscall, masksEvents: false };
  return 0;
};

function registerCallback(vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(vcpu, callback_register, argument);
  if (!request) return -Errno.EFAULT;
  const { type, address } = request;
  if (!isCanonical(address)) return -Errno.EINVAL;
  const masksEvents = (request.flags & CALLBACKF_MASK_EVENTS) !== 0;
  const { callbacks } = vcpu;
  const cs = compatSelector(Number(request.address_cs));
  switch (type) {
    case CALLBACKTYPE.event:
      Object.assign(callbacks.event, { address, cs });
      return 0;
    case CALLBACKTYPE.failsafe:
      callbacks.failsafe = { address, masksEvents, cs };
      return 0;
    case CALLBACKTYPE.syscall:
      // 32-bit programs have a callback of their own.
      if (!vcpu.domain.is64) return -Errno.ENOSYS;
      callbacks.syscall = { address, masksEvents };
      return 0;
    case CALLBACKTYPE.syscall32:
      callbacks.syscall32 = { address, masksEvents, cs };
      return 0;
    case CALLBACKTYPE.sysenter:
      callbacks.sysenter = { address, masksEvents, cs };
      return 0;
    case CALLBACKTYPE.nmi:
      return registerNmi(vcpu, address);
    default:
      return -Errno.ENOSYS;
  }
}

function unregisterCallback(vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(vcpu, callback_unregister, argument);
  if (!request) return -Errno.EFAULT;
  switch (request.type) {
    case CALLBACKTYPE.event:
    case CALLBACKTYPE.failsafe:
    case CALLBACKTYPE.syscall32:
    case CALLBACKTYPE.sysenter:
      return -Errno.EINVAL;
    case CALLBACKTYPE.syscall:
      return vcpu.domain.is64 ? -Errno.EINVAL : -Errno.ENOSYS;
    case CALLBACKTYPE.nmi:
      return unregisterNmi(vcpu);
    default:
      return -Errno.ENOSYS;
  }
}

/** The NMI callback is the entry of the trap table, by another way. */
function registerNmi(vcpu: XenVcpu, address: bigint): number {
  if (!isCanonical(address)) return -Errno.EINVAL;
  const { is64, mmu, sharedInfo } = vcpu.domain;
  const cs = is64 ? FLAT_RING3_CS64 : FLAT_RING1_CS;
  Object.assign(vcpu.traps[Vector.NMI]!, { address, dpl: 0, masksEvents: true, cs });
  // An NMI that came while there was no handler is lost, but not its reason.
  const reason = (sharedInfo * 4096 + SHARED_INFO_OFFSETS[is64 ? 64 : 32].nmi_reason) as Maddr;
  if (vcpu.id === 0 && mmu.readU32(reason) !== 0) vcpu.nmiPending = true;
  return 0;
}

function unregisterNmi(vcpu: XenVcpu): number {
  Object.assign(vcpu.traps[Vector.NMI]!, { address: 0n, dpl: 0, masksEvents: false, cs: 0 });
  return 0;
}

export const callback_op: HypercallHandler = (vcpu, [command, argument]) => {
  switch (asU32(command)) {
    case CALLBACKOP.register:
      return registerCallback(vcpu, argument);
    case CALLBACKOP.unregister:
      return unregisterCallback(vcpu, argument);
    default:
      return vcpu.domain.is64 ? -Errno.ENOSYS : -Errno.EINVAL;
  }
};

export const nmi_op: HypercallHandler = (vcpu, [command, argument]) => {
  switch (asU32(command)) {
    case XENNMI.register_callback: {
      const request = readGuestStruct(vcpu, xennmi_callback, argument);
      return request ? registerNmi(vcpu, request.handler_address) : -Errno.EFAULT;
    }
    case XENNMI.unregister_callback:
      return unregisterNmi(vcpu);
    default:
      return -Errno.ENOSYS;
  }
};

export const stack_switch: HypercallHandler = (vcpu, [ss, sp]) => {
  vcpu.kernelSs = raised(asU32(ss) & 0xffff);
  vcpu.kernelSp = sp;
  return 0;
};

export const fpu_taskswitch: HypercallHandler = (vcpu, [set]) => {
  if (asU32(set) !== 0) vcpu.core.cr0 |= CR0_TS;
  else vcpu.core.cr0 &= ~CR0_TS;
  return 0;
};

/** Bits of DR6 and DR7 that can't be cleared or set (Intel SDM vol. 3, 17.2). */
const DR6_ONES = 0xffff0ff0n;
const DR6_ZEROS = ~0x1000n;
const DR7_GENERAL_DETECT = 0x2000n;
/** L0, G0 … L3, G3. */
const DR7_ENABLE = 0xff;
const DR7_IO = 2;
const CR4_DE = 8;
const DR7_ONES = 0x400n;
const DR7_ZEROS = ~0xd800n;

/** Whether a value of DR7 has breakpoints on ports, which are none without CR4.DE. */
function asksForPorts({ guestCr4 }: XenVcpu, value: number): boolean {
  if ((value & DR7_ENABLE) === 0 || guestCr4 & CR4_DE) return false;
  return [16, 20, 24, 28].some((shift) => ((value >>> shift) & 3) === DR7_IO);
}

/** Sets a debug register as the guest sees it. */
export function writeDebugRegister(vcpu: XenVcpu, register: number, value: bigint): number {
  if (register <= 3) {
    const inHypervisor = !isCanonical(value) || (value >= 0xffff800000000000n && value < 0xffff880000000000n);
    if (inHypervisor) return -Errno.EPERM;
    vcpu.core.debug[register] = value;
    return 0;
  }
  if (register === 4 || register === 5) {
    if (vcpu.guestCr4 & CR4_DE) return -Errno.ENODEV;
    return writeDebugRegister(vcpu, register + 2, value);
  }
  if (value >> 32n !== 0n) return -Errno.EINVAL;
  if (register === 7 && (value & DR7_GENERAL_DETECT || asksForPorts(vcpu, Number(value)))) return -Errno.EPERM;
  if (register === 6) vcpu.core.debug[6] = (value | DR6_ONES) & DR6_ZEROS;
  else if (register === 7) vcpu.core.debug[7] = (value | DR7_ONES) & DR7_ZEROS;
  else return -Errno.ENODEV;
  return 0;
}

/** The value, or null for a register that there is not. */
export function readDebugRegister(vcpu: XenVcpu, register: number): bigint | null {
  const { debug } = vcpu.core;
  if (register === 4 || register === 5) return vcpu.guestCr4 & CR4_DE ? null : debug[register + 2];
  return register <= 7 ? debug[register] : null;
}

export const set_debugreg: HypercallHandler = (vcpu, [register, value]) =>
  asU32(register) > 7 ? -Errno.ENODEV : writeDebugRegister(vcpu, asU32(register), value);

export const get_debugreg: HypercallHandler = (vcpu, [register]) =>
  (asU32(register) > 7 ? null : readDebugRegister(vcpu, asU32(register))) ?? -Errno.ENODEV;

export const set_segment_base: HypercallHandler = (vcpu, [which, base]) => {
  const { core } = vcpu;
  switch (asU32(which)) {
    case SEGBASE.FS:
      if (!isCanonical(base)) return -Errno.EINVAL;
      core.fsBase = base;
      return 0;
    case SEGBASE.GS_USER:
      if (!isCanonical(base)) return -Errno.EINVAL;
      vcpu.gsBaseOther = base;
      return 0;
    case SEGBASE.GS_KERNEL:
      if (!isCanonical(base)) return -Errno.EINVAL;
      core.gsBase = base;
      return 0;
    case SEGBASE.GS_USER_SEL: {
      // Loads GS for the user program: a selector that names nothing becomes null, and the call succeeds.
      const claimed = asU32(base) & 0xffff;
      const selector = claimed > 3 ? claimed | 3 : claimed;
      // The base goes to the program's GS, what else there is of the segment has one place for both.
      const kernelBase = core.gsBase;
      if (loadSegment(vcpu, Seg.gs, selector, 0) !== null) loadSegment(vcpu, Seg.gs, 0, 0);
      vcpu.gsBaseOther = core.gsBase;
      core.gsBase = kernelBase;
      return 0;
    }
    default:
      return -Errno.EINVAL;
  }
};
