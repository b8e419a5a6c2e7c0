/**
 * The interface between the hypervisor, which knows domains, vCPUs and time,
 * and a personality, which knows one hypercall ABI.
 *
 * The hypervisor runs a vCPU until its core stops and hands the exit over; the
 * personality changes state and returns. A personality never throws for what a
 * guest did. All times are nanoseconds of system time (since the machine was
 * made), as numbers: exact for a hundred days.
 */
import type { Exit, VcpuCore } from '@paravane/engine-api';
import type { Mmu } from '@paravane/mmu';
import type { DomId } from '@paravane/types';

/** Changes in this number tell a registered personality that it was written for another interface. */
export const PERSONALITY_API_VERSION = 1;

/** What a vCPU does: `offline` until it is brought up, and after it went down. */
export type VcpuState = 'offline' | 'runnable' | 'blocked';

export interface Vcpu {
  readonly id: number;
  readonly domain: Domain;
  readonly core: VcpuCore;
  readonly state: VcpuState;
  /** The personality's own record of the vCPU; set by it. */
  context: unknown;
  /** Makes a blocked vCPU runnable; nothing otherwise. */
  wake(): void;
  /** Stops running the vCPU until `wake`. */
  block(): void;
  /** Ends the slice of the running vCPU: another one may run. */
  yield(): void;
  online(): void;
  offline(): void;
}

export type DomainState = 'paused' | 'running' | 'shutdown' | 'crashed' | 'dying';

/** Why a domain stopped, and the registers of the vCPU that did it. */
export interface ShutdownRecord {
  /** `poweroff`, `reboot`, `suspend`, `crash`, `watchdog`, … */
  reason: string;
  /** The ABI's number of the reason. */
  code: number;
  /** What went wrong, of a crash. */
  detail: string;
  /** A report made at that moment, of a crash. */
  report: string[];
  vcpu: number;
  time: number;
}

export interface Domain {
  readonly id: DomId;
  readonly name: string;
  readonly state: DomainState;
  readonly vcpus: readonly Vcpu[];
  readonly personality: Personality;
  /** The personality's own record of the domain; set by it. */
  context: unknown;
  readonly shutdownRecord: ShutdownRecord | null;
  addVcpu(): Vcpu;
  pause(): void;
  unpause(): void;
  /** Stops all vCPUs for good and keeps the record; the first call counts. */
  shutdown(record: ShutdownRecord): void;
}

/** A one-shot alarm; setting it again replaces the old deadline. */
export interface Timer {
  /** Deadline in system time, or `Infinity` when it is not set. */
  readonly deadline: number;
  set(deadline: number): void;
  cancel(): void;
}

/** What a personality may use of the hypervisor. */
export interface Services {
  readonly mmu: Mmu;
  /** System time now, to the instruction. */
  now(): number;
  /** Real time at system time 0, in nanoseconds since 1970. */
  readonly epoch: number;
  /** TSC frequency in kHz. */
  readonly tscKhz: number;
  /** `fire` runs between instructions of the guest, at the deadline or at the first stop after it. */
  createTimer(fire: () => void): Timer;
  /** Runs before the next guest instruction of any domain: for effects on another domain. */
  defer(action: () => void): void;
  /**
   * Runs once, between instructions: when no vCPU of the machine can run or the only one yields, or when the machine has
   * executed so many instructions from now.
   */
  whenIdle(action: () => void, withinInstructions: number): void;
  /** Pseudo-random 32 bits from the machine's seed. */
  random(): number;
  log(message: string): void;
}

export interface Personality {
  readonly name: string;
  readonly apiVersion: number;
  /** Before the core runs again: deliver what is pending. May block or stop the vCPU. */
  beforeRun(vcpu: Vcpu): void;
  handleExit(vcpu: Vcpu, exit: Exit): void;
  /** The vCPU was running and stops to, or the other way round; for run-state accounting. */
  scheduled(vcpu: Vcpu, running: boolean): void;
  /** Gives back what the domain owns. Called once, after its vCPUs have stopped. */
  destroyDomain(domain: Domain): void;
  /** Feeds everything a guest could observe beyond cores and frames into a hash. */
  hashState(domain: Domain, word: (value: number) => void): void;
}
