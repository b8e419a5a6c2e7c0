/** A vCPU's record as it is before anything ran on it. */
import { RUNSTATE } from '@paravane/abi-xen';
import { Flag } from '@paravane/engine-api';
import type { Vcpu } from '@paravane/personality-api';
import type { Mfn } from '@paravane/types';
import type { Callback, XenDomain, XenVcpu } from './domain.js';
import { CR4_FIXED, hypervisorCr4 } from './emulate/privileged.js';
import { createVcpuEvents } from './events/state.js';
import { createVcpuMm } from './mm/index.js';
import { PersonalFields } from './personal.js';
import { createVcpuTimers } from './time.js';

/** PG AM WP NE ET MP PE. */
const CR0 = 0x80050033;

export function createXenVcpu(domain: XenDomain, hv: Vcpu): XenVcpu {
  const none = () => ({ address: 0n, masksEvents: false });
  const { now } = domain.machine.services;
  const { core } = hv;
  core.cr0 = CR0 | 0;
  core.cr4 = CR4_FIXED | hypervisorCr4(domain);
  core.xcr0 = 1;
  core.rflags = Flag.IF | 2;
  core.mode = 64;
  const fields = new PersonalFields(core);
  const vcpu: XenVcpu = Object.assign(fields, {
    id: hv.id,
    domain,
    hv,
    kernelRoot: 0 as Mfn,
    userRoot: 0 as Mfn,
    mm: createVcpuMm(),
    events: createVcpuEvents(),
    initialised: false,
    online: false,
    traps: Array.from({ length: 256 }, () => ({ dpl: 0, masksEvents: false, cs: 0, address: 0n })),
    callbacks: {
      event: { address: 0n, masksEvents: true },
      failsafe: none(),
      get syscall(): Callback {
        return fields.syscall;
      },
      set syscall(callback: Callback) {
        fields.syscall = callback;
      },
      sysenter: none(),
      syscall32: none(),
    },
    cr2: 0n,
    ioBitmap: { address: 0n, ports: 0 },
    cpuidFaulting: false,
    guestCr4: CR4_FIXED,
    vcpuInfoFrame: 0 as Mfn | 0,
    runstate: {
      state: RUNSTATE.offline,
      since: now(),
      time: [0, 0, 0, 0] as [number, number, number, number],
      area: 0n,
    },
    timeArea: 0n,
    ...createVcpuTimers(() => vcpu, domain.machine.services),
    periodicPeriod: 0,
    periodicDue: 0,
  });
  hv.context = vcpu;
  return vcpu;
}
