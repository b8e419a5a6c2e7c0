/**
 * FIFO event channels: control blocks, the event array and priorities
 * (public/event_channel.h; Xen's common/event_fifo.c). Delivery itself is in
 * `delivery.ts`.
 */
import {
  Errno,
  EVTCHN_FIFO_NR_CHANNELS,
  EVTCHN_FIFO_PRIORITY_MIN,
  EVTCHN_FIFO_WORDS_PER_PAGE,
} from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import type { XenDomain } from '../domain.js';
import { channelOf } from './channels.js';
import { isPending, setPending } from './delivery.js';
import { mapWritable, unmapWritable } from './pages.js';

const CONTROL_BLOCK_BYTES = 72;
const MAX_PAGES = EVTCHN_FIFO_NR_CHANNELS / EVTCHN_FIFO_WORDS_PER_PAGE;

export function initControl(
  domain: XenDomain,
  claimedVcpu: number,
  claimedFrame: bigint,
  claimedOffset: number,
): number {
  const vcpu = domain.vcpus[claimedVcpu];
  if (!vcpu) return -Errno.ENOENT;
  if (claimedOffset > 4096 - CONTROL_BLOCK_BYTES || claimedOffset & 7) return -Errno.EINVAL;
  if (vcpu.events.control !== 0) return -Errno.EINVAL;
  const frame = mapWritable(domain, claimedFrame);
  if (frame === null) return -Errno.EINVAL;
  vcpu.events.control = (frame * 4096 + claimedOffset) as Maddr;
  vcpu.events.controlFrame = frame;
  if (domain.events.fifo) return 0;
  // What was pending before the switch is raised when its event word appears.
  const pending = domain.events.channels.map((_, port) => port > 0 && isPending(domain, port));
  domain.events.fifo = { array: [] };
  pending.forEach((was, port) => {
    domain.events.channels[port].pending = was;
  });
  return 0;
}

export function expandArray(domain: XenDomain, claimedFrame: bigint): number {
  const { fifo, channels } = domain.events;
  if (!fifo) return -Errno.EOPNOTSUPP;
  if (fifo.array.length >= MAX_PAGES) return -Errno.ENOSPC;
  const frame = mapWritable(domain, claimedFrame);
  if (frame === null) return -Errno.EINVAL;
  const first = fifo.array.length * EVTCHN_FIFO_WORDS_PER_PAGE;
  fifo.array.push(frame);
  const end = Math.min(channels.length, first + EVTCHN_FIFO_WORDS_PER_PAGE);
  for (let port = first; port < end; port++) {
    if (!channels[port].pending) continue;
    channels[port].pending = false;
    setPending(domain, port);
  }
  return 0;
}

export function setPriority(domain: XenDomain, claimedPort: number, claimedPriority: number): number {
  const channel = channelOf(domain, claimedPort);
  if (!channel) return -Errno.EINVAL;
  if (!domain.events.fifo) return -Errno.ENOSYS;
  if (claimedPriority > EVTCHN_FIFO_PRIORITY_MIN) return -Errno.EINVAL;
  channel.priority = claimedPriority;
  return 0;
}

/** Back to two-level channels; the guest's pages are let go. */
export function leaveFifo(domain: XenDomain): void {
  const { fifo } = domain.events;
  if (!fifo) return;
  domain.events.fifo = null;
  for (const frame of fifo.array) unmapWritable(domain, frame);
  for (const { events } of domain.vcpus) {
    if (events.controlFrame !== 0) unmapWritable(domain, events.controlFrame);
    events.control = 0;
    events.controlFrame = 0;
    events.tails.fill(0);
  }
}
