/**
 * Domains and vCPUs as records with a state, and the run queue: vCPUs that may
 * run, in the order in which they became so. A vCPU is in the queue at most once.
 */
import type { VcpuCore } from '@paravane/engine-api';
import type { Domain, DomainState, Personality, ShutdownRecord, Vcpu, VcpuState } from '@paravane/personality-api';
import type { DomId } from '@paravane/types';

export interface RunQueue {
  /** Adds a vCPU at the end unless it is there or may not run. */
  push(vcpu: MachineVcpu): void;
  /** The first vCPU that may run, taken out. */
  shift(): MachineVcpu | undefined;
  readonly empty: boolean;
}

export interface MachineVcpu extends Vcpu {
  queued: boolean;
  /** The vCPU asked for the end of its slice. */
  yielded: boolean;
  readonly mayRun: boolean;
  /** System time at which its last slice ended. */
  lastRun: number;
}

export interface MachineDomain extends Domain {
  readonly vcpus: MachineVcpu[];
  destroy(): void;
}

export function createRunQueue(): RunQueue {
  let queue: MachineVcpu[] = [];
  let head = 0;
  return {
    push(vcpu) {
      if (vcpu.queued || !vcpu.mayRun) return;
      vcpu.queued = true;
      queue.push(vcpu);
    },
    shift() {
      while (head < queue.length) {
        const vcpu = queue[head++]!;
        if (head > 64 && head * 2 > queue.length) {
          queue = queue.slice(head);
          head = 0;
        }
        vcpu.queued = false;
        if (vcpu.mayRun) return vcpu;
      }
      return undefined;
    },
    get empty() {
      return head >= queue.length;
    },
  };
}

export interface DomainOptions {
  id: DomId;
  name: string;
  personality: Personality;
  createCore: () => VcpuCore;
  runQueue: RunQueue;
  onShutdown: (domain: Domain, record: ShutdownRecord) => void;
}

export function createDomain(options: DomainOptions): MachineDomain {
  const { runQueue } = options;
  let state: DomainState = 'paused';
  let record: ShutdownRecord | null = null;

  function createVcpu(id: number): MachineVcpu {
    let vcpuState: VcpuState = 'offline';
    const vcpu: MachineVcpu = {
      id,
      domain,
      core: options.createCore(),
      context: null,
      queued: false,
      yielded: false,
      lastRun: 0,
      get state() {
        return vcpuState;
      },
      get mayRun() {
        return vcpuState === 'runnable' && state === 'running';
      },
      wake() {
        if (vcpuState !== 'blocked') return;
        vcpuState = 'runnable';
        runQueue.push(vcpu);
      },
      block() {
        if (vcpuState === 'runnable') vcpuState = 'blocked';
      },
      yield() {
        vcpu.yielded = true;
      },
      online() {
        if (vcpuState !== 'offline') return;
        vcpuState = 'runnable';
        runQueue.push(vcpu);
      },
      offline() {
        vcpuState = 'offline';
      },
    };
    return vcpu;
  }
  const domain: MachineDomain = {
    id: options.id,
    name: options.name,
    personality: options.personality,
    context: null,
    vcpus: [],
    get state() {
      return state;
    },
    get shutdownRecord() {
      return record;
    },
    addVcpu() {
      const vcpu = createVcpu(domain.vcpus.length);
      domain.vcpus.push(vcpu);
      return vcpu;
    },
    pause() {
      if (state === 'running') state = 'paused';
    },
    unpause() {
      if (state !== 'paused') return;
      state = 'running';
      for (const vcpu of domain.vcpus) runQueue.push(vcpu);
    },
    shutdown(why) {
      if (record !== null || state === 'dying') return;
      record = why;
      state = why.reason === 'crash' ? 'crashed' : 'shutdown';
      options.onShutdown(domain, why);
    },
    destroy() {
      state = 'dying';
    },
  };
  return domain;
}
