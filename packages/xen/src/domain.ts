/**
 * The records that all parts of the personality share: one per domain, one per
 * vCPU, and the shape of a hypercall handler.
 */
import type { VcpuCore } from '@paravane/engine-api';
import type { Mmu } from '@paravane/mmu';
import type { Domain, Services, Timer, Vcpu } from '@paravane/personality-api';
import type { DomId, Mfn } from '@paravane/types';
import type { Watchdog } from './calls/sched.js';
import type { CpuPolicy } from './emulate/cpuid.js';
import type { HostEnds } from './events/channels.js';
import type { EventState, VcpuEvents } from './events/state.js';
import type { GrantState } from './grants/state.js';
import type { MmState, VcpuMm } from './mm/state.js';
import type { TraceSink } from './trace.js';

/** The call has more to do: re-issue it with these arguments, invisibly to the guest. */
export interface Preempted {
  readonly preempted: true;
  readonly args: bigint[];
}

/** A value for RAX (a negative one is an errno, negated), or more to do. */
export type HypercallResult = number | bigint | Preempted;

/** Domain id under which the host's back ends answer; it has no record. */
export const HOST_DOMAIN = 0;

/** Whether there is a domain of this id: the host is one, too. */
export const isDomain = (machine: XenMachine, claimedId: number): boolean =>
  claimedId === HOST_DOMAIN || machine.domain(claimedId) !== undefined;

/** `args` are the six raw argument registers. */
export type HypercallHandler = (vcpu: XenVcpu, args: bigint[]) => HypercallResult;

/** What the domains of one machine know of each other. */
export interface XenMachine {
  readonly services: Services;
  readonly mmu: Mmu;
  /** Live domains only, dying ones included until they are gone. */
  domain(id: number): XenDomain | undefined;
  domains(): Iterable<XenDomain>;
  /** Ends of event channels that back ends hold. */
  readonly host: HostEnds;
}

export interface TrapInfo {
  /** DPL that INT n may use, bits 0–1. */
  dpl: number;
  /** Events are masked on entry. */
  masksEvents: boolean;
  cs: number;
  /** 0 where the guest has set none. */
  address: bigint;
}

export interface Callback {
  address: bigint;
  /** Of 32-bit guests. */
  cs?: number;
  masksEvents: boolean;
}

export interface XenDomain {
  readonly id: DomId;
  readonly machine: XenMachine;
  readonly mmu: Mmu;
  readonly hv: Domain;
  readonly is64: boolean;
  /** May act on other domains. */
  readonly privileged: boolean;
  maxPages: number;
  /** Frames owned now (the hypervisor's for it, as shared_info, not counted). */
  totPages: number;
  readonly vcpus: XenVcpu[];
  readonly mm: MmState;
  readonly events: EventState;
  readonly grants: GrantState;
  /** VMASST bits 0–31. */
  vmAssist: number;
  m2pStrict: boolean;
  sharedInfo: Mfn;
  /** Pages of vcpu_info for vCPUs that shared_info has no room for. */
  readonly spareInfo: Mfn[];
  readonly watchdogs: Watchdog[];
  /** Pages of the profiler's buffers. */
  readonly profile: Mfn[];
  /** Numbers of physical interrupts that PHYSDEVOP_get_free_pirq gave. */
  readonly pirqs: Set<number>;
  /** Page of pirq EOI bits, 0 for none. */
  eoiPage: Mfn | 0;
  /** The domain's UUID. */
  readonly handle: Uint8Array;
  /** SCHEDOP_shutdown_code: what a later shutdown is to mean. */
  shutdownCode: number;
  dying: boolean;
  /** Back ends of the host that are to let go when the domain's end begins. */
  readonly goneListeners: Set<() => void>;
  /** Last value written to the PCI configuration address port. */
  pciAddress: number;
  /** Last value written to the index port of the clock. */
  rtcIndex: number;
  readonly cpu: CpuPolicy;
  /** Takes what the guest writes to Xen's own console, though the call is refused. */
  refusedOutput: ((bytes: Uint8Array) => void) | null;
  /** Ends the domain for what its guest did; the running vCPU does not run again. */
  crash(reason: string, vcpu?: XenVcpu): void;
  /** Null unless a trace was asked for: build no line before looking. */
  trace: TraceSink | null;
}

export interface XenVcpu {
  readonly id: number;
  readonly domain: XenDomain;
  readonly core: VcpuCore;
  readonly hv: Vcpu;
  /** The guest runs its kernel, not a user program. (PV32: it is in ring 1.) */
  guestKernel: boolean;
  kernelRoot: Mfn;
  /** 0: none was set. */
  userRoot: Mfn;
  readonly mm: VcpuMm;
  /** To be called when the GDT is another one. */
  showGdt(firstFrame: Mfn | 0, entries: number): void;
  readonly events: VcpuEvents;
  /** VCPUOP_initialise was done (vCPU 0: by the builder). */
  initialised: boolean;
  online: boolean;

  kernelSs: number;
  kernelSp: bigint;
  /** By vector. */
  readonly traps: TrapInfo[];
  readonly callbacks: {
    event: Callback;
    failsafe: Callback;
    syscall: Callback;
    sysenter: Callback;
    syscall32: Callback;
  };
  nmiPending: boolean;
  /** Between NMI entry and iret. */
  nmiInProgress: boolean;
  /** Virtual CR2, also shown in vcpu_info. */
  cr2: bigint;

  /** GS bases: `core.gsBase` is that of the present mode, this the other one. */
  gsBaseOther: bigint;
  iopl: number;
  /** VMASST_TYPE_architectural_iopl of the domain: frames show the IOPL. */
  showsIopl: boolean;
  /** I/O-permission bitmap of PHYSDEVOP_set_iobitmap: guest address and ports covered. */
  ioBitmap: { address: bigint; ports: number };
  /** CPUID faults in programs. */
  cpuidFaulting: boolean;
  /** CR4 as the guest sees it. */
  guestCr4: number;
  /** Machine address of vcpu_info. */
  vcpuInfo: number;
  /** Frame that the guest registered for it, 0 while it is in shared_info. */
  vcpuInfoFrame: Mfn | 0;
  runstate: { state: number; since: number; time: [number, number, number, number]; area: bigint };
  timeArea: bigint;
  singleshot: Timer;
  periodic: Timer;
  periodicPeriod: number;
  /** Deadline of the next periodic tick. */
  periodicDue: number;
  pollTimer: Timer;
}
