/**
 * How a raised event reaches a vCPU: bits in shared_info (two-level) or event
 * words linked into queues (FIFO), then the upcall flag in vcpu_info, then the
 * vCPU is woken. (public/event_channel.h; the two ABIs of Xen's
 * common/event_2l.c and event_fifo.c.)
 *
 * The guest owns all memory written here: every index read from it is bounded.
 */
import {
  EVTCHN_FIFO_BUSY,
  EVTCHN_FIFO_LINK_MASK,
  EVTCHN_FIFO_LINKED,
  EVTCHN_FIFO_MASKED,
  EVTCHN_FIFO_PENDING,
  EVTCHN_FIFO_WORDS_PER_PAGE,
  SHARED_INFO_OFFSETS,
  VCPU_INFO_PENDING_SEL,
  VCPU_INFO_UPCALL_MASK,
  VCPU_INFO_UPCALL_PENDING,
} from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import type { XenDomain, XenVcpu } from '../domain.js';
import type { Channel } from './state.js';

const bit = (number: number): number => (1 << number) >>> 0;
const PENDING = bit(EVTCHN_FIFO_PENDING);
const MASKED = bit(EVTCHN_FIFO_MASKED);
const LINKED = bit(EVTCHN_FIFO_LINKED);
const BUSY = bit(EVTCHN_FIFO_BUSY);

const abi = (domain: XenDomain): 32 | 64 => (domain.is64 ? 64 : 32);
const wordBits = (domain: XenDomain): number => (domain.is64 ? 64 : 32);
const shared = (domain: XenDomain, offset: number): Maddr => (domain.sharedInfo * 4096 + offset) as Maddr;

/** Sets a bit of a bitmap in machine memory; returns whether it was set before. */
function testAndSet(domain: XenDomain, base: Maddr, index: number): boolean {
  const at = (base + (index >> 3)) as Maddr;
  const old = domain.mmu.readU8(at);
  const mask = 1 << (index & 7);
  if (old & mask) return true;
  domain.mmu.writeU8(at, old | mask);
  return false;
}
function testAndClear(domain: XenDomain, base: Maddr, index: number): boolean {
  const at = (base + (index >> 3)) as Maddr;
  const old = domain.mmu.readU8(at);
  const mask = 1 << (index & 7);
  if (!(old & mask)) return false;
  domain.mmu.writeU8(at, old & ~mask);
  return true;
}
const test = (domain: XenDomain, base: Maddr, index: number): boolean =>
  (domain.mmu.readU8((base + (index >> 3)) as Maddr) & (1 << (index & 7))) !== 0;

const pendingMap = (domain: XenDomain): Maddr => shared(domain, SHARED_INFO_OFFSETS[abi(domain)].evtchn_pending);
const maskMap = (domain: XenDomain): Maddr => shared(domain, SHARED_INFO_OFFSETS[abi(domain)].evtchn_mask);
const selector = (vcpu: XenVcpu): Maddr => (vcpu.vcpuInfo + VCPU_INFO_PENDING_SEL[abi(vcpu.domain)]) as Maddr;

/** Ends a poll, if one is on, and makes a blocked vCPU runnable. */
export function unblock(vcpu: XenVcpu): void {
  const { events, domain } = vcpu;
  if (events.polling !== 0) {
    events.polling = 0;
    domain.events.pollers--;
    vcpu.pollTimer.cancel();
  }
  vcpu.hv.wake();
}

export function upcallPending(vcpu: XenVcpu): boolean {
  const { mmu } = vcpu.domain;
  return (
    mmu.readU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_PENDING) as Maddr) !== 0 &&
    mmu.readU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr) === 0
  );
}

export function markEventsPending(vcpu: XenVcpu): void {
  const at = (vcpu.vcpuInfo + VCPU_INFO_UPCALL_PENDING) as Maddr;
  if (vcpu.domain.mmu.readU8(at) !== 0) return;
  vcpu.domain.mmu.writeU8(at, 1);
  unblock(vcpu);
}

function wakePollers(domain: XenDomain, port: number): void {
  if (domain.events.pollers === 0) return;
  for (const vcpu of domain.vcpus) {
    const { polling } = vcpu.events;
    if (polling !== 0 && (polling < 0 || polling === port)) unblock(vcpu);
  }
}

/** Machine address of a port's FIFO event word, 0 where its page is missing. */
function eventWord(domain: XenDomain, port: number): Maddr | 0 {
  const page = domain.events.fifo?.array[Math.floor(port / EVTCHN_FIFO_WORDS_PER_PAGE)];
  return page === undefined ? 0 : ((page * 4096 + (port % EVTCHN_FIFO_WORDS_PER_PAGE) * 4) as Maddr);
}

function raiseFifo(vcpu: XenVcpu, channel: Channel, port: number): void {
  const { domain } = vcpu;
  const { mmu } = domain;
  const word = eventWord(domain, port);
  if (word === 0) {
    channel.pending = true;
    return;
  }
  const { control } = vcpu.events;
  // Without a control block nothing can be unmasked yet: the event is dropped.
  if (control === 0) return;
  const old = mmu.readU32(word);
  if (!(old & PENDING)) mmu.writeU32(word, (old | PENDING) >>> 0);
  if (!(old & (MASKED | LINKED))) {
    mmu.writeU32(word, (old | PENDING | LINKED) >>> 0);
    const lastQueue = domain.vcpus[channel.lastVcpu]?.events.tails;
    if (lastQueue?.[channel.lastPriority] === port) lastQueue[channel.lastPriority] = 0;
    channel.lastVcpu = vcpu.id;
    channel.lastPriority = channel.priority;
    const tail = vcpu.events.tails[channel.priority];
    let linked = false;
    const tailWord = tail === 0 || tail === port ? 0 : eventWord(domain, tail);
    if (tailWord !== 0) {
      const value = mmu.readU32(tailWord);
      linked = (value & LINKED) !== 0;
      if (linked) mmu.writeU32(tailWord, ((value & ~(BUSY | EVTCHN_FIFO_LINK_MASK)) | port) >>> 0);
    }
    vcpu.events.tails[channel.priority] = port;
    if (!linked) {
      mmu.writeU32((control + 8 + 4 * channel.priority) as Maddr, port);
      const ready = mmu.readU32(control);
      if (!(ready & (1 << channel.priority))) {
        mmu.writeU32(control, (ready | (1 << channel.priority)) >>> 0);
        markEventsPending(vcpu);
      }
    }
  }
  if (!(old & PENDING)) wakePollers(domain, port);
}

/** Raises the event of a port towards the guest. */
export function setPending(domain: XenDomain, port: number): void {
  const channel = domain.events.channels[port];
  const vcpu = channel && domain.vcpus[channel.vcpu];
  if (!channel || !vcpu || domain.dying) return;
  if (domain.events.fifo) {
    raiseFifo(vcpu, channel, port);
    return;
  }
  if (testAndSet(domain, pendingMap(domain), port)) return;
  if (!test(domain, maskMap(domain), port)) select(vcpu, port);
  wakePollers(domain, port);
}

function select(vcpu: XenVcpu, port: number): void {
  if (!testAndSet(vcpu.domain, selector(vcpu), Math.floor(port / wordBits(vcpu.domain)))) markEventsPending(vcpu);
}

export function unmask(domain: XenDomain, port: number): void {
  const channel = domain.events.channels[port];
  const vcpu = channel && domain.vcpus[channel.vcpu];
  if (!channel || !vcpu) return;
  if (domain.events.fifo) {
    const word = eventWord(domain, port);
    if (word === 0) return;
    const value = domain.mmu.readU32(word);
    if (value & MASKED) domain.mmu.writeU32(word, (value & ~MASKED) >>> 0);
    if (value & PENDING) raiseFifo(vcpu, channel, port);
    return;
  }
  if (testAndClear(domain, maskMap(domain), port) && test(domain, pendingMap(domain), port)) select(vcpu, port);
}

export function clearPending(domain: XenDomain, port: number): void {
  if (domain.events.fifo) {
    const word = eventWord(domain, port);
    if (word !== 0) domain.mmu.writeU32(word, (domain.mmu.readU32(word) & ~PENDING) >>> 0);
    const channel = domain.events.channels[port];
    if (channel) channel.pending = false;
    return;
  }
  testAndClear(domain, pendingMap(domain), port);
}

export function isPending(domain: XenDomain, port: number): boolean {
  if (domain.events.fifo) {
    const word = eventWord(domain, port);
    return word !== 0 && (domain.mmu.readU32(word) & PENDING) !== 0;
  }
  return test(domain, pendingMap(domain), port);
}

/** Ports of the present ABI. */
export const portLimit = (domain: XenDomain): number =>
  domain.events.fifo ? EVTCHN_FIFO_LINK_MASK + 1 : wordBits(domain) * wordBits(domain);

/** Selects every word and raises the upcall: after vcpu_info moved, nothing may be lost. */
export function selectAll(vcpu: XenVcpu): void {
  const { mmu, is64 } = vcpu.domain;
  const at = selector(vcpu);
  mmu.writeU32(at, 0xffffffff);
  if (is64) mmu.writeU32((at + 4) as Maddr, 0xffffffff);
  mmu.writeU8((vcpu.vcpuInfo + VCPU_INFO_UPCALL_PENDING) as Maddr, 1);
  unblock(vcpu);
}
