/**
 * xenoprof_op of a domain that is not the profiler, which only the control domain can be (xen/common/xenoprof.c;
 * public/xenoprof.h). It may ask which processor it is, and have its buffers, in which nobody writes samples.
 */
import { Errno, XENOPROF, xenoprof_get_buffer, xenoprof_init } from '@paravane/abi-xen';
import type { Maddr, Mfn } from '@paravane/types';
import type { HypercallHandler, XenDomain, XenVcpu } from '../domain.js';
import { familyOf } from '../emulate/cpuid.js';
import { asU32, readGuestStruct, writeGuestStruct } from '../guest-memory.js';
import { allocateSharedRun } from '../mm/index.js';

/** Name and number of counters of the AMD families that Xen's profiler knows (xen/arch/x86/oprofile/nmi_int.c). */
const PROCESSORS: ReadonlyMap<number, readonly [name: string, counters: number]> = new Map([
  [0xf, ['x86-64/hammer', 4]],
  [0x10, ['x86-64/family10', 4]],
  [0x11, ['x86-64/family11h', 4]],
  [0x12, ['x86-64/family12h', 4]],
  [0x14, ['x86-64/family14h', 4]],
  [0x15, ['x86-64/family15h', 6]],
  [0x16, ['x86-64/family16h', 4]],
]);

function init(vcpu: XenVcpu, argument: bigint): number {
  if (!readGuestStruct(vcpu, xenoprof_init, argument)) return -Errno.EFAULT;
  const processor = PROCESSORS.get(familyOf(vcpu.domain.cpu));
  if (!processor) return -Errno.ENODEV;
  const [cpu_type, num_events] = processor;
  const answer = { num_events, is_primary: 0, cpu_type };
  return writeGuestStruct(vcpu, xenoprof_init, argument, answer) ? 0 : -Errno.EFAULT;
}

const PAGE = 4096;
const MOST_PAGES = 32;
/** Bytes of a buffer with one sample, and of one sample more (struct xenoprof_buf, event_log). */
const SIZES = { 64: { buffer: 64, sample: 16 }, 32: { buffer: 60, sample: 12 } } as const;
/** In a buffer, each u32. */
const EVENT_SIZE = 8;
const VCPU_ID = 12;

/** Makes the buffers, one for each vCPU behind the other; what to answer, or an error. */
function makeBuffers(domain: XenDomain, claimedSamples: number): { first: Mfn; bufsize: number } | number {
  const { vcpus, mmu } = domain;
  const { buffer, sample } = SIZES[domain.is64 ? 64 : 32];
  const most = Math.floor((Math.floor((MOST_PAGES * PAGE) / vcpus.length) - buffer) / sample) + 1;
  // A negative number is a large one.
  const samples = Math.min(claimedSamples >>> 0, most);
  const bufsize = buffer + (samples - 1) * sample;
  const pages = Math.floor((vcpus.length * bufsize - 1) / PAGE) + 1;
  const first = allocateSharedRun(domain, pages);
  if (first === -1) return -Errno.ENOMEM;
  for (let page = 0; page < pages; page++) domain.profile.push((first + page) as Mfn);
  for (const { id } of vcpus) {
    const at = first * PAGE + id * bufsize;
    mmu.writeU32((at + EVENT_SIZE) as Maddr, samples);
    mmu.writeU32((at + VCPU_ID) as Maddr, id);
  }
  return { first, bufsize };
}

function getBuffer(vcpu: XenVcpu, argument: bigint): number {
  const { domain } = vcpu;
  const request = readGuestStruct(vcpu, xenoprof_get_buffer, argument);
  if (!request) return -Errno.EFAULT;
  // The domain has them until it ends: it would have to be profiled to give them back.
  if (domain.profile.length > 0) return -Errno.EBUSY;
  const made = makeBuffers(domain, request.max_samples);
  if (typeof made === 'number') return made;
  const answer = { nbuf: domain.vcpus.length, bufsize: made.bufsize, buf_gmaddr: BigInt(made.first * PAGE) };
  return writeGuestStruct(vcpu, xenoprof_get_buffer, argument, answer) ? 0 : -Errno.EFAULT;
}

export const xenoprof_op: HypercallHandler = (vcpu, [command, argument]) => {
  const op = asU32(command!);
  if (op > XENOPROF.last_op) return -Errno.EINVAL;
  if (op === XENOPROF.init) return init(vcpu, argument!);
  if (op === XENOPROF.get_buffer) return getBuffer(vcpu, argument!);
  // Interrupts of the profiler are for the domains that it has named, the rest is for the profiler alone.
  return -Errno.EPERM;
};
