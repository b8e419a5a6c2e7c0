/**
 * Time as a guest reads it: vcpu_time_info, wall clock, run-state accounting,
 * and the timers that raise VIRQ_TIMER.
 *
 * The TSC counts system time at 1 GHz, so the record that turns one into the
 * other is the identity and never needs an update while the guest runs. It is the same on all vCPUs, and says so: guests
 * then read the time in user mode, without a system call.
 */
import {
  RUNSTATE,
  RUNSTATE_OFFSETS,
  SHARED_INFO_OFFSETS,
  TIME_FLAGS,
  TIME_SYSTEM_TIME,
  TIME_TSC_SHIFT,
  TIME_TSC_TIMESTAMP,
  TIME_TSC_TO_SYSTEM_MUL,
  TIME_VERSION,
  VCPU_INFO_TIME,
  VIRQ,
  VMASST_TYPE,
  XEN_PVCLOCK_TSC_STABLE_BIT,
  XEN_RUNSTATE_UPDATE,
} from '@paravane/abi-xen';
import type { Services } from '@paravane/personality-api';
import type { Maddr } from '@paravane/types';
import type { XenDomain, XenVcpu } from './domain.js';
import { sendVirq } from './events/channels.js';
import { unblock } from './events/delivery.js';
import { kernelSpace } from './mm/index.js';

/** 2^31 with a shift of 1: multiplication by one. */
const MUL = 0x80000000;
const SHIFT = 1;
export const TIME_INFO_BYTES = 32;
/** Period of the timer that a new vCPU has until it stops it. */
const LEGACY_PERIOD = 10_000_000;

/** The 32 bytes of vcpu_time_info with the given version. */
export function timeInfo(version: number): Uint8Array {
  const bytes = new Uint8Array(TIME_INFO_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(TIME_VERSION, version, true);
  view.setBigUint64(TIME_TSC_TIMESTAMP, 0n, true);
  view.setBigUint64(TIME_SYSTEM_TIME, 0n, true);
  view.setUint32(TIME_TSC_TO_SYSTEM_MUL, MUL, true);
  view.setInt8(TIME_TSC_SHIFT, SHIFT);
  view.setUint8(TIME_FLAGS, XEN_PVCLOCK_TSC_STABLE_BIT);
  return bytes;
}

/** Writes the time record of vcpu_info. */
export function updateTime(vcpu: XenVcpu): void {
  const { mmu } = vcpu.domain;
  const at = vcpu.vcpuInfo + VCPU_INFO_TIME;
  const version = mmu.readU32((at + TIME_VERSION) as Maddr);
  const frame = Math.floor(at / 4096) as Parameters<typeof mmu.write>[0];
  mmu.write(frame, at % 4096, timeInfo(((version | 1) + 1) >>> 0));
}

/** Writes the wall clock: real time at system time 0. */
export function updateWallclock(domain: XenDomain): void {
  const { mmu } = domain;
  const offsets = SHARED_INFO_OFFSETS[domain.is64 ? 64 : 32];
  const { epoch } = domain.machine.services;
  const at = (offset: number): Maddr => (domain.sharedInfo * 4096 + offset) as Maddr;
  const version = mmu.readU32(at(offsets.wc_version));
  const seconds = Math.floor(epoch / 1e9);
  mmu.writeU32(at(offsets.wc_version), (version | 1) >>> 0);
  mmu.writeU32(at(offsets.wc_sec), seconds >>> 0);
  mmu.writeU32(at(offsets.wc_nsec), Math.floor(epoch - seconds * 1e9) >>> 0);
  mmu.writeU32(at(offsets.wc_sec_hi), Math.floor(seconds / 0x100000000));
  mmu.writeU32(at(offsets.wc_version), ((version | 1) + 1) >>> 0);
}

/** Arms the vCPU's one-shot timer; 0 disarms it. */
export function setSingleshot(vcpu: XenVcpu, claimedDeadline: bigint): void {
  if (claimedDeadline === 0n) vcpu.singleshot.cancel();
  else vcpu.singleshot.set(Number(claimedDeadline));
}

export function startPeriodic(vcpu: XenVcpu, period: number): void {
  vcpu.periodicPeriod = period;
  vcpu.periodicDue = vcpu.domain.machine.services.now() + period;
  vcpu.periodic.set(vcpu.periodicDue);
}

export function startLegacyPeriodic(vcpu: XenVcpu): void {
  startPeriodic(vcpu, LEGACY_PERIOD);
}

/** Raises the tick if it is due and sets the timer for the next one. */
function periodicWork(vcpu: XenVcpu): void {
  if (vcpu.periodicPeriod === 0) return;
  const now = vcpu.domain.machine.services.now();
  if (now >= vcpu.periodicDue) {
    sendVirq(vcpu.domain, vcpu.id, VIRQ.TIMER);
    vcpu.periodicDue = now + vcpu.periodicPeriod;
  }
  vcpu.periodic.set(vcpu.periodicDue);
}

export function stopPeriodic(vcpu: XenVcpu): void {
  vcpu.periodicPeriod = 0;
  vcpu.periodic.cancel();
}

/** The timers of a vCPU, as their alarms act on it. */
export function createVcpuTimers(
  vcpu: () => XenVcpu,
  services: Services,
): Pick<XenVcpu, 'singleshot' | 'periodic' | 'pollTimer'> {
  return {
    singleshot: services.createTimer(() => sendVirq(vcpu().domain, vcpu().id, VIRQ.TIMER)),
    periodic: services.createTimer(() => periodicWork(vcpu())),
    pollTimer: services.createTimer(() => {
      if (vcpu().events.polling !== 0) unblock(vcpu());
    }),
  };
}

/** Accounts the time since the last change and enters a state. */
export function setRunstate(vcpu: XenVcpu, state: number): void {
  const { runstate } = vcpu;
  if (runstate.state === state) return;
  const now = vcpu.domain.machine.services.now();
  runstate.time[runstate.state] += now - runstate.since;
  runstate.state = state;
  runstate.since = now;
}

/** The run state as the structure that guests read, accounted until now. */
export function runstateBytes(vcpu: XenVcpu): Uint8Array {
  const { runstate } = vcpu;
  const offsets = RUNSTATE_OFFSETS[vcpu.domain.is64 ? 64 : 32];
  const bytes = new Uint8Array(offsets.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(offsets.state, runstate.state, true);
  view.setBigUint64(offsets.state_entry_time, BigInt(Math.floor(runstate.since)), true);
  runstate.time.forEach((time, index) => view.setBigUint64(offsets.time + 8 * index, BigInt(Math.floor(time)), true));
  return bytes;
}

/** Copies the run state to the guest's area, through its kernel's tables. */
export function updateRunstateArea(vcpu: XenVcpu): void {
  const { area } = vcpu.runstate;
  if (area === 0n) return;
  const { domain } = vcpu;
  const offsets = RUNSTATE_OFFSETS[domain.is64 ? 64 : 32];
  const space = kernelSpace(vcpu);
  const bytes = runstateBytes(vcpu);
  if (domain.vmAssist & (1 << VMASST_TYPE.runstate_update_flag)) {
    const view = new DataView(bytes.buffer);
    const entry = view.getBigUint64(offsets.state_entry_time, true);
    view.setBigUint64(offsets.state_entry_time, entry | XEN_RUNSTATE_UPDATE, true);
    domain.mmu.writeVirtual(space, area, bytes);
    view.setBigUint64(offsets.state_entry_time, entry, true);
  }
  domain.mmu.writeVirtual(space, area, bytes);
}

/** A vCPU begins or ends a turn on the processor. */
export function accountSchedule(vcpu: XenVcpu, running: boolean): void {
  const { runstate } = vcpu;
  if (running) {
    const now = vcpu.domain.machine.services.now();
    const changed = runstate.state !== RUNSTATE.runnable || runstate.since !== now || runstate.time[0] === 0;
    setRunstate(vcpu, RUNSTATE.running);
    if (changed) updateRunstateArea(vcpu);
    if (vcpu.periodicPeriod !== 0) periodicWork(vcpu);
    return;
  }
  const { state } = vcpu.hv;
  // A vCPU that does not run gets no ticks: a guest that blocks sets a one-shot timer first.
  if (state !== 'runnable') vcpu.periodic.cancel();
  setRunstate(
    vcpu,
    state === 'blocked' ? RUNSTATE.blocked : state === 'offline' ? RUNSTATE.offline : RUNSTATE.runnable,
  );
}
