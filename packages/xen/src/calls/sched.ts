/**
 * sched_op: giving up the processor, shutting down, polling, watchdogs
 * (public/sched.h), and the old form of the call.
 */
import {
  Errno,
  SCHEDOP,
  SHUTDOWN,
  sched_poll,
  sched_remote_shutdown,
  sched_shutdown,
  sched_watchdog,
} from '@paravane/abi-xen';
import type { Services, Timer } from '@paravane/personality-api';
import { type HypercallHandler, type HypercallResult, isDomain, type XenDomain, type XenVcpu } from '../domain.js';
import { channelOf } from '../events/channels.js';
import { isPending, portLimit, upcallPending } from '../events/delivery.js';
import { asU32, handleOk, readGuestStruct, readGuestU32 } from '../guest-memory.js';
import { work } from '../mm/index.js';
import { setUpcallMask } from '../traps/frame.js';

const POLL_LIMIT = 128;
/** What a port costs to look at, in table entries. */
const PORT_COST = 8;
const WATCHDOGS = 2;
const REASONS = ['poweroff', 'reboot', 'suspend', 'crash', 'watchdog', 'soft-reset'];
const SECOND = 1e9;

/** Stops a domain with a reason of its own (`SHUTDOWN_*`). */
export function shutDown(domain: XenDomain, asked: number, vcpu: XenVcpu | undefined): void {
  const code = domain.shutdownCode >= 0 ? domain.shutdownCode : asked;
  if (code === SHUTDOWN.crash) {
    domain.crash('the guest reported its own crash', vcpu);
    return;
  }
  domain.hv.shutdown({
    reason: REASONS[code] ?? `reason ${code}`,
    code,
    detail: code < REASONS.length ? '' : `the guest shut itself down with the unknown reason ${code}`,
    report: [],
    vcpu: vcpu?.id ?? 0,
    time: domain.machine.services.now(),
  });
}

function block(vcpu: XenVcpu): number {
  setUpcallMask(vcpu, 0);
  if (!upcallPending(vcpu)) vcpu.hv.block();
  return 0;
}

function poll(vcpu: XenVcpu, argument: bigint): number {
  const { domain } = vcpu;
  const request = readGuestStruct(vcpu, sched_poll, argument);
  if (!request) return -Errno.EFAULT;
  if (request.nr_ports > POLL_LIMIT) return -Errno.EINVAL;
  if (!handleOk(vcpu, request.ports, request.nr_ports, 4)) return -Errno.EFAULT;
  if (upcallPending(vcpu)) return 0;
  work(domain.mm, request.nr_ports * PORT_COST);
  let first = 0;
  for (let index = 0; index < request.nr_ports; index++) {
    const claimedPort = readGuestU32(vcpu, request.ports + BigInt(4 * index));
    if (claimedPort === null) return -Errno.EFAULT;
    const state = claimedPort < portLimit(domain) ? channelOf(domain, claimedPort)?.state : undefined;
    if (state === undefined || state === 'free' || state === 'reserved') return -Errno.EINVAL;
    if (isPending(domain, claimedPort)) return 0;
    first = claimedPort;
  }
  vcpu.events.polling = request.nr_ports === 1 ? first : -1;
  domain.events.pollers++;
  if (request.timeout !== 0n) vcpu.pollTimer.set(Number(request.timeout));
  vcpu.hv.block();
  return 0;
}

function watchdog(vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(vcpu, sched_watchdog, argument);
  if (!request) return -Errno.EFAULT;
  const { id, timeout } = request;
  const { watchdogs, machine } = vcpu.domain;
  if (id > WATCHDOGS) return -Errno.EINVAL;
  const arm = (slot: number): void => watchdogs[slot].timer.set(machine.services.now() + timeout * SECOND);
  if (id === 0) {
    for (let slot = 0; slot < WATCHDOGS; slot++) {
      if (watchdogs[slot].inUse) continue;
      watchdogs[slot].inUse = true;
      arm(slot);
      return slot + 1;
    }
    return -Errno.ENOSPC;
  }
  const slot = watchdogs[id - 1];
  if (!slot.inUse) return -Errno.EINVAL;
  if (timeout === 0) {
    slot.timer.cancel();
    slot.inUse = false;
  } else {
    arm(id - 1);
  }
  return 0;
}

export interface Watchdog {
  inUse: boolean;
  readonly timer: Timer;
}

/** A domain's two watchdogs; one that is not fed in time stops the domain. */
export function createWatchdogs(domain: () => XenDomain, services: Services): Watchdog[] {
  return Array.from({ length: WATCHDOGS }, () => ({
    inUse: false,
    timer: services.createTimer(() => shutDown(domain(), SHUTDOWN.watchdog, undefined)),
  }));
}

export const sched_op: HypercallHandler = (vcpu, [command, argument]) => {
  const { domain } = vcpu;
  switch (asU32(command)) {
    case SCHEDOP.yield:
      vcpu.hv.yield();
      return 0;
    case SCHEDOP.block:
      return block(vcpu);
    case SCHEDOP.shutdown: {
      const request = readGuestStruct(vcpu, sched_shutdown, argument);
      if (!request) return -Errno.EFAULT;
      shutDown(domain, request.reason & 0xff, vcpu);
      return 0;
    }
    case SCHEDOP.shutdown_code: {
      const request = readGuestStruct(vcpu, sched_shutdown, argument);
      if (!request) return -Errno.EFAULT;
      if (domain.shutdownCode < 0) domain.shutdownCode = request.reason & 0xff;
      return 0;
    }
    case SCHEDOP.poll:
      return poll(vcpu, argument);
    case SCHEDOP.remote_shutdown: {
      const request = readGuestStruct(vcpu, sched_remote_shutdown, argument);
      if (!request) return -Errno.EFAULT;
      if (!isDomain(domain.machine, request.domain_id)) return -Errno.ESRCH;
      const target = domain.machine.domain(request.domain_id);
      if (!target || !domain.privileged) return -Errno.EPERM;
      shutDown(target, request.reason & 0xff, undefined);
      return 0;
    }
    case SCHEDOP.watchdog:
      return watchdog(vcpu, argument);
    case SCHEDOP.pin_override:
      return -Errno.EPERM;
    default:
      return -Errno.ENOSYS;
  }
};

export const sched_op_compat: HypercallHandler = (vcpu, [command, argument]): HypercallResult => {
  switch (asU32(command)) {
    case SCHEDOP.yield:
      vcpu.hv.yield();
      return 0;
    case SCHEDOP.block:
      return block(vcpu);
    case SCHEDOP.shutdown:
      shutDown(vcpu.domain, asU32(argument) & 0xff, vcpu);
      return 0;
    default:
      return -Errno.ENOSYS;
  }
};
