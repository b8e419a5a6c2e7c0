/**
 * The Xen PV personality: what happens when a vCPU of a Xen domain stops, and
 * what has to happen before it runs again.
 *
 * Trusts the hypervisor and the core; nothing that a guest passes. What a guest
 * does wrong ends in an errno, a fault of its own, or the crash of its domain.
 */
import { hypercall, VCPU_INFO_UPCALL_MASK, VCPU_INFO_UPCALL_PENDING } from '@paravane/abi-xen';
import { type Exit, Vector } from '@paravane/engine-api';
import {
  type Domain,
  PERSONALITY_API_VERSION,
  type Personality,
  type Services,
  type Vcpu,
} from '@paravane/personality-api';
import type { Maddr } from '@paravane/types';
import { compatTable } from './calls/compat.js';
import { dispatch, type HypercallTable } from './calls/dispatch.js';
import { event_channel_op, event_channel_op_compat } from './calls/events.js';
import { dm_op, hvm_op } from './calls/foreign-kinds.js';
import { grant_table_op } from './calls/grants.js';
import { physdev_op, physdev_op_compat } from './calls/physdev.js';
import { xenoprof_op } from './calls/profile.js';
import { sched_op, sched_op_compat } from './calls/sched.js';
import {
  absent,
  console_io,
  domctl,
  platform_op,
  refused,
  set_timer_op,
  sysctl,
  vm_assist,
  xenpmu_op,
} from './calls/small.js';
import { vcpu_op } from './calls/vcpu.js';
import { xen_version } from './calls/version.js';
import type { HypercallHandler, XenDomain, XenMachine, XenVcpu } from './domain.js';
import { emulateCpuid } from './emulate/cpuid.js';
import { handlePrivileged } from './emulate/privileged.js';
import { createHostEnds } from './events/channels.js';
import {
  memoryOp,
  mmuextOp,
  mmuUpdate,
  setGdt,
  updateDescriptor,
  updateVaMapping,
  updateVaMappingOtherdomain,
} from './mm/index.js';
import { releaseDomain } from './teardown.js';
import { accountSchedule } from './time.js';
import { enterKernel } from './traps/bounce.js';
import {
  deliverDebugTrap,
  handleException,
  handleInterrupt,
  handleUserSyscall,
  injectException,
} from './traps/exceptions.js';
import { NO_ERROR_CODE } from './traps/frame.js';
import {
  callback_op,
  fpu_taskswitch,
  get_debugreg,
  nmi_op,
  set_callbacks,
  set_debugreg,
  set_segment_base,
  set_trap_table,
  stack_switch,
} from './traps/set.js';

const handlers: Readonly<Record<number, HypercallHandler>> = {
  [hypercall.set_trap_table]: set_trap_table,
  [hypercall.mmu_update]: mmuUpdate,
  [hypercall.set_gdt]: setGdt,
  [hypercall.stack_switch]: stack_switch,
  [hypercall.set_callbacks]: set_callbacks,
  [hypercall.fpu_taskswitch]: fpu_taskswitch,
  [hypercall.sched_op_compat]: sched_op_compat,
  [hypercall.platform_op]: platform_op,
  [hypercall.set_debugreg]: set_debugreg,
  [hypercall.get_debugreg]: get_debugreg,
  [hypercall.update_descriptor]: updateDescriptor,
  [hypercall.memory_op]: memoryOp,
  [hypercall.update_va_mapping]: updateVaMapping,
  [hypercall.set_timer_op]: set_timer_op,
  [hypercall.event_channel_op_compat]: event_channel_op_compat,
  [hypercall.xen_version]: xen_version,
  [hypercall.console_io]: console_io,
  [hypercall.physdev_op_compat]: physdev_op_compat,
  [hypercall.grant_table_op]: grant_table_op,
  [hypercall.vm_assist]: vm_assist,
  [hypercall.update_va_mapping_otherdomain]: updateVaMappingOtherdomain,
  [hypercall.vcpu_op]: vcpu_op,
  [hypercall.set_segment_base]: set_segment_base,
  [hypercall.mmuext_op]: mmuextOp,
  [hypercall.xsm_op]: absent,
  [hypercall.nmi_op]: nmi_op,
  [hypercall.sched_op]: sched_op,
  [hypercall.callback_op]: callback_op,
  [hypercall.xenoprof_op]: xenoprof_op,
  [hypercall.event_channel_op]: event_channel_op,
  [hypercall.physdev_op]: physdev_op,
  [hypercall.hvm_op]: hvm_op,
  [hypercall.sysctl]: sysctl,
  [hypercall.domctl]: domctl,
  [hypercall.kexec_op]: refused,
  [hypercall.argo_op]: absent,
  [hypercall.xenpmu_op]: xenpmu_op,
  [hypercall.dm_op]: dm_op,
  [hypercall.hypfs_op]: refused,
  [hypercall.mca]: refused,
};

/** Every hypercall of a PV64 domain by number. */
export const hypercallTable: HypercallTable = Array.from({ length: 64 }, (_, number) => handlers[number]);

/** The same of a PV32 domain. */
const compatHypercalls = compatTable(hypercallTable);
/** Vector of a 32-bit guest's hypercalls. */
const HYPERCALL_VECTOR = 0x82;
/** Bytes of CPUID. */
const CPUID_LENGTH = 2n;

export interface XenPersonality extends Personality {
  readonly machine: XenMachine;
  /** Records of domains, by id. */
  readonly records: Map<number, XenDomain>;
}

const of = (vcpu: Vcpu): XenVcpu => vcpu.context as XenVcpu;
export const xenDomainOf = (domain: Domain): XenDomain => domain.context as XenDomain;

export function createXenPersonality(services: Services): XenPersonality {
  const records = new Map<number, XenDomain>();
  const machine: XenMachine = {
    services,
    mmu: services.mmu,
    domain: (id) => records.get(id),
    domains: () => records.values(),
    host: createHostEnds(),
  };
  const { mmu } = services;

  function handleExit(hv: Vcpu, exit: Exit): void {
    const vcpu = of(hv);
    switch (exit.reason) {
      case 'syscall':
        // From 32-bit code it is a system call even in the kernel.
        if (vcpu.guestKernel && vcpu.domain.is64 && vcpu.core.mode === 64) dispatch(hypercallTable, vcpu);
        else handleUserSyscall(vcpu);
        return;
      case 'exception':
        handleException(vcpu, exit);
        return;
      case 'privileged':
        handlePrivileged(vcpu, exit);
        return;
      case 'cpuid':
        if (vcpu.cpuidFaulting && !vcpu.guestKernel) {
          vcpu.core.rip = BigInt.asUintN(64, vcpu.core.rip - CPUID_LENGTH);
          injectException(vcpu, Vector.GP, 0);
          return;
        }
        emulateCpuid(vcpu, false);
        deliverDebugTrap(vcpu);
        return;
      case 'interrupt':
        if (exit.vector === HYPERCALL_VECTOR && vcpu.guestKernel && !vcpu.domain.is64) dispatch(compatHypercalls, vcpu);
        else handleInterrupt(vcpu, exit);
        return;
      case 'halt':
        // A privileged instruction that Xen does not emulate.
        vcpu.core.rip = BigInt.asUintN(64, vcpu.core.rip - 1n);
        injectException(vcpu, Vector.GP, 0);
        return;
      case 'budget':
        return;
    }
  }

  return {
    name: 'xen',
    apiVersion: PERSONALITY_API_VERSION,
    machine,
    records,
    beforeRun(hv) {
      const vcpu = of(hv);
      if (vcpu.nmiPending && !vcpu.nmiInProgress) {
        vcpu.nmiPending = false;
        const { address, cs, masksEvents } = vcpu.traps[Vector.NMI];
        // Without a handler it is lost.
        if (address !== 0n) {
          vcpu.nmiInProgress = true;
          enterKernel(vcpu, address, masksEvents, NO_ERROR_CODE, false, cs);
        }
      }
      const { vcpuInfo } = vcpu;
      if (
        mmu.readU8((vcpuInfo + VCPU_INFO_UPCALL_PENDING) as Maddr) !== 0 &&
        mmu.readU8((vcpuInfo + VCPU_INFO_UPCALL_MASK) as Maddr) === 0
      ) {
        const { address, cs } = vcpu.callbacks.event;
        enterKernel(vcpu, address, true, NO_ERROR_CODE, false, cs);
      }
    },
    handleExit,
    scheduled: (hv, running) => accountSchedule(of(hv), running),
    destroyDomain(hv) {
      const domain = xenDomainOf(hv);
      if (!domain) return;
      releaseDomain(domain);
      records.delete(domain.id);
    },
    hashState(hv, word) {
      hashDomain(xenDomainOf(hv), word);
    },
  };
}

function hashDomain(domain: XenDomain, word: (value: number) => void): void {
  const wide = (value: bigint): void => {
    word(Number(value & 0xffffffffn));
    word(Number((value >> 32n) & 0xffffffffn));
  };
  const time = (value: number): void => {
    word(value % 0x100000000);
    word(Number.isFinite(value) ? Math.floor(value / 0x100000000) : -1);
  };
  word(domain.vmAssist);
  word(domain.totPages);
  domain.events.channels.forEach((channel, port) => {
    if (channel.state === 'free') return;
    word(port);
    word(channel.vcpu);
    word(channel.remotePort);
    word(channel.priority);
  });
  for (const vcpu of domain.vcpus) {
    word(vcpu.guestKernel ? 1 : 0);
    word(vcpu.kernelRoot);
    word(vcpu.userRoot);
    wide(vcpu.kernelSp);
    wide(vcpu.gsBaseOther);
    wide(vcpu.cr2);
    wide(vcpu.callbacks.event.address);
    wide(vcpu.callbacks.syscall.address);
    word(vcpu.vcpuInfo);
    word(vcpu.runstate.state);
    vcpu.runstate.time.forEach(time);
    time(vcpu.singleshot.deadline);
    time(vcpu.periodic.deadline);
    for (const trap of vcpu.traps) if (trap.address !== 0n) wide(trap.address);
  }
}
