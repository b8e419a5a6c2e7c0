/**
 * vcpu_op: bringing vCPUs up and down, their timers, and the areas they share
 * with Xen (public/vcpu.h).
 */
import {
  Errno,
  RUNSTATE,
  VCPU_INFO_BYTES,
  VCPU_INFO_UPCALL_MASK,
  VCPUOP,
  vcpu_guest_context,
  vcpu_register_runstate_memory_area,
  vcpu_register_time_memory_area,
  vcpu_register_vcpu_info,
  vcpu_set_periodic_timer,
} from '@paravane/abi-xen';
import type { Maddr, Mfn } from '@paravane/types';
import type { HypercallHandler, HypercallResult, XenVcpu } from '../domain.js';
import { selectAll } from '../events/delivery.js';
import { mapWritable, unmapWritable } from '../events/pages.js';
import { abiOf, addressOk, asU32, readGuest, readGuestStruct, viewGuest, writeGuest } from '../guest-memory.js';
import { begin, dropAhead, end } from '../mm/index.js';
import { allowTransitions } from '../personal.js';
import {
  runstateBytes,
  setRunstate,
  setSingleshot,
  startPeriodic,
  stopPeriodic,
  timeInfo,
  updateRunstateArea,
  updateTime,
} from '../time.js';
import { loadContext } from '../vcpu-context.js';

/** vcpu_set_singleshot_timer: deadline u64, flags u32, and padding. */
const SINGLESHOT_BYTES = 16;
const MILLISECOND = 1_000_000n;
/** STIME_DELTA_MAX. */
const LONGEST_PERIOD = (1n << 62n) - 1n;

/** Moves vcpu_info to a page of the guest. Once per vCPU. */
function registerVcpuInfo(caller: XenVcpu, vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(caller, vcpu_register_vcpu_info, argument);
  if (!request) return -Errno.EFAULT;
  const alignment = abiOf(vcpu) / 8;
  if (request.offset > 4096 - VCPU_INFO_BYTES || request.offset % alignment !== 0) return -Errno.ENXIO;
  if (vcpu.vcpuInfoFrame !== 0) return -Errno.EINVAL;
  if (vcpu !== caller && vcpu.online) return -Errno.EINVAL;
  const { domain } = vcpu;
  const frame = mapWritable(domain, request.mfn);
  if (frame === null) return -Errno.EINVAL;
  const { mmu } = domain;
  const old = vcpu.vcpuInfo;
  mmu.write(frame, request.offset, mmu.read(Math.floor(old / 4096) as Mfn, old % 4096, VCPU_INFO_BYTES));
  vcpu.vcpuInfo = frame * 4096 + request.offset;
  allowTransitions(vcpu);
  vcpu.vcpuInfoFrame = frame;
  if (vcpu.id >= 32) mmu.writeU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr, 1);
  selectAll(vcpu);
  updateTime(vcpu);
  return 0;
}

/** Gives the page of a registered vcpu_info back. */
export function releaseVcpuInfo(vcpu: XenVcpu): void {
  if (vcpu.vcpuInfoFrame === 0) return;
  unmapWritable(vcpu.domain, vcpu.vcpuInfoFrame);
  vcpu.vcpuInfoFrame = 0;
}

function registerRunstateArea(caller: XenVcpu, vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(caller, vcpu_register_runstate_memory_area, argument);
  if (!request || !addressOk(caller, request.addr)) return -Errno.EFAULT;
  vcpu.runstate.area = request.addr;
  if (vcpu === caller) updateRunstateArea(vcpu);
  else if (request.addr !== 0n) writeGuest(caller, request.addr, runstateBytes(vcpu));
  return 0;
}

function registerTimeArea(caller: XenVcpu, vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(caller, vcpu_register_time_memory_area, argument);
  if (!request || !addressOk(caller, request.addr)) return -Errno.EFAULT;
  vcpu.timeArea = request.addr;
  if (request.addr !== 0n) writeGuest(caller, request.addr, timeInfo(2));
  return 0;
}

function initialise(caller: XenVcpu, vcpu: XenVcpu, args: bigint[]): HypercallResult {
  const argument = args[2];
  if (vcpu.vcpuInfoFrame === 0 && vcpu.id >= 32) return -Errno.EINVAL;
  const abi = abiOf(caller);
  const bytes = readGuest(caller, argument, vcpu_guest_context.size(abi));
  if (!bytes) return -Errno.EFAULT;
  if (vcpu.initialised) return -Errno.EEXIST;
  const { mm } = vcpu.domain;
  if (!begin(mm)) return end(mm, { preempted: true, args });
  const context = vcpu_guest_context.read(new DataView(bytes.buffer, bytes.byteOffset), 0, abi);
  const rc = loadContext(vcpu, context);
  // The tables of the new vCPU are validated in pieces.
  if (rc === -Errno.ERESTART) return end(mm, { preempted: true, args });
  dropAhead(vcpu);
  return end(mm, rc);
}

function bringUp(vcpu: XenVcpu): number {
  if (!vcpu.initialised) return -Errno.EINVAL;
  if (vcpu.online) return 0;
  vcpu.online = true;
  setRunstate(vcpu, RUNSTATE.runnable);
  vcpu.hv.online();
  return 0;
}

function takeDown(vcpu: XenVcpu): number {
  if (!vcpu.online) return 0;
  if (!vcpu.domain.vcpus.some((other) => other !== vcpu && other.online)) {
    // The last vCPU that goes down takes the domain with it.
    vcpu.domain.hv.shutdown({
      reason: 'poweroff',
      code: 0,
      detail: 'the last vCPU went down',
      report: [],
      vcpu: vcpu.id,
      time: vcpu.domain.machine.services.now(),
    });
    return 0;
  }
  vcpu.online = false;
  vcpu.hv.offline();
  setRunstate(vcpu, RUNSTATE.offline);
  return 0;
}

function setPeriodic(caller: XenVcpu, vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(caller, vcpu_set_periodic_timer, argument);
  if (!request) return -Errno.EFAULT;
  if (request.period_ns < MILLISECOND || request.period_ns > LONGEST_PERIOD) return -Errno.EINVAL;
  startPeriodic(vcpu, Number(request.period_ns));
  return 0;
}

function setSingleshotTimer(vcpu: XenVcpu, argument: bigint): number {
  const view = viewGuest(vcpu, argument, SINGLESHOT_BYTES);
  if (!view) return -Errno.EFAULT;
  const deadline = view.getBigUint64(0, true);
  const now = vcpu.domain.machine.services.now();
  // VCPU_SSHOTTMR_future is of no effect, as on Xen: what is due already fires at once.
  if (deadline === 0n) vcpu.singleshot.set(now);
  else setSingleshot(vcpu, deadline);
  return 0;
}

export const vcpu_op: HypercallHandler = (caller, args) => {
  const [command, claimedId, argument] = args;
  const op = asU32(command);
  const vcpu = caller.domain.vcpus[asU32(claimedId)];
  if (!vcpu) return -Errno.ENOENT;
  switch (op) {
    case VCPUOP.initialise:
      return initialise(caller, vcpu, args);
    case VCPUOP.up:
      return bringUp(vcpu);
    case VCPUOP.down:
      return takeDown(vcpu);
    case VCPUOP.is_up:
      return vcpu.online ? 1 : 0;
    case VCPUOP.get_runstate_info: {
      const { state } = vcpu.runstate;
      // Bring the account up to now without changing the state.
      setRunstate(vcpu, state === 0 ? 1 : 0);
      setRunstate(vcpu, state);
      return writeGuest(caller, argument, runstateBytes(vcpu)) ? 0 : -Errno.EFAULT;
    }
    case VCPUOP.register_runstate_memory_area:
      return registerRunstateArea(caller, vcpu, argument);
    case VCPUOP.set_periodic_timer:
      return setPeriodic(caller, vcpu, argument);
    case VCPUOP.stop_periodic_timer:
      stopPeriodic(vcpu);
      return 0;
    case VCPUOP.set_singleshot_timer:
      return vcpu === caller ? setSingleshotTimer(vcpu, argument) : -Errno.EINVAL;
    case VCPUOP.stop_singleshot_timer:
      if (vcpu === caller) vcpu.singleshot.cancel();
      return vcpu === caller ? 0 : -Errno.EINVAL;
    case VCPUOP.register_vcpu_info:
      return registerVcpuInfo(caller, vcpu, argument);
    case VCPUOP.register_vcpu_time_memory_area:
      return registerTimeArea(caller, vcpu, argument);
    case VCPUOP.send_nmi:
      if (argument !== 0n) return -Errno.EINVAL;
      if (!vcpu.nmiPending) {
        vcpu.nmiPending = true;
        vcpu.hv.wake();
      }
      return 0;
    case VCPUOP.get_physid:
      // Only where vCPUs are pinned to processors.
      return -Errno.EINVAL;
    default:
      return -Errno.ENOSYS;
  }
};
