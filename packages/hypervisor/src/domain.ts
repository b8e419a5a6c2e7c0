/**
 * Domains and vCPUs as records with a state, and the run queue: vCPUs that may
 * run. First comes the domain that had least of the processor for its weight; of
 * a domain's vCPUs, and of equals, the one that became runnable first. A vCPU is in
 * the queue at most once.
 */
import type { VcpuCore } from '@paravane/engine-api';
import type { Domain, DomainState, Personality, ShutdownRecord, Vcpu, VcpuState } from '@paravane/personality-api';
import type { DomId } from '@paravane/types';

export interface RunQueue {
  /** Adds a vCPU at the end unless it is there or may not run. */
  push(vcpu: MachineVcpu): void;
  /** The vCPU whose turn it is, taken out. */
  shift(): MachineVcpu | undefined;
  readonly empty: boolean;
}

export interface MachineVcpu extends Vcpu {
  readonly domain: MachineDomain;
  queued: boolean;
  /** The vCPU asked for the end of its slice. */
  yielded: boolean;
  readonly mayRun: boolean;
  /** System time at which its last slice ended. */
  lastRun: number;
}

/** A domain's part of the processor. */
export interface Share {
  /** Of two domains that want to run, one with twice the weight gets twice the time. */
  weight: number;
  /** Percent of the processor that it gets at most; 0 for no limit. */
  cap: number;
  /** Time that its vCPUs have had, counted the slower the greater the weight. */
  used: number;
  /** Of the period that ends then, time that it has had. */
  periodEnd: number;
  spent: number;
  /** It has had all of the period that its cap allows. */
  capped: boolean;
}

export const USUAL_WEIGHT = 256;

export interface MachineDomain extends Domain {
  readonly vcpus: MachineVcpu[];
  readonly share: Share;
  destroy(): void;
}

export function createRunQueue(): RunQueue {
  const queue: MachineVcpu[] = [];
  /** The domain that was chosen last, and what it had had then. */
  let chosen: MachineDomain | undefined;
  let last = 0;

  /** Takes out what may not run any more. */
  function clean(): void {
    for (let at = 0; at < queue.length; ) {
      const vcpu = queue[at]!;
      if (vcpu.mayRun) at++;
      else {
        vcpu.queued = false;
        queue.splice(at, 1);
      }
    }
  }
  return {
    push(vcpu) {
      if (vcpu.queued || !vcpu.mayRun) return;
      const { share } = vcpu.domain;
      // Who did not want to run has saved up nothing.
      if (vcpu.domain !== chosen && !queue.some(({ domain }) => domain === vcpu.domain)) {
        const least = queue.reduce((used, { domain }) => Math.min(used, domain.share.used), Infinity);
        share.used = Math.max(share.used, least === Infinity ? last : least);
      }
      vcpu.queued = true;
      queue.push(vcpu);
    },
    shift() {
      clean();
      let best = 0;
      for (let at = 1; at < queue.length; at++) {
        if (queue[at]!.domain.share.used < queue[best]!.domain.share.used) best = at;
      }
      const [vcpu] = queue.splice(best, 1);
      if (vcpu === undefined) return undefined;
      vcpu.queued = false;
      chosen = vcpu.domain;
      last = chosen.share.used;
      return vcpu;
    },
    get empty() {
      return queue.length === 0;
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
        return vcpuState === 'runnable' && state === 'running' && !domain.share.capped;
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
    share: { weight: USUAL_WEIGHT, cap: 0, used: 0, periodEnd: 0, spent: 0, capped: false },
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
