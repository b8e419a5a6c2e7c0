/**
 * The machine's one loop: takes the next vCPU that may run, runs it for a
 * slice, hands its exits to the domain's personality, and keeps time.
 *
 * Time. In the virtual clock an instruction takes `instructionNs` of system
 * time and an idle machine skips to its next timer; a slice ends exactly at the
 * next deadline. In the wall clock, system time follows the host between
 * slices and the instruction count within one, and never runs backwards. The
 * TSC of every vCPU counts system time.
 *
 * Invariants: the order of everything depends only on the guests, the seed and
 * the inbox; no guest instruction runs between an input and its effects.
 */
import type { Engine, Exit } from '@paravane/engine-api';
import { FrameFlag, type Mmu } from '@paravane/mmu';
import {
  type Domain,
  PERSONALITY_API_VERSION,
  type Personality,
  type Services,
  type ShutdownRecord,
  type Vcpu,
} from '@paravane/personality-api';
import { domId, ParavaneError } from '@paravane/types';
import { createDomain, createRunQueue, type MachineDomain, type MachineVcpu, USUAL_WEIGHT } from './domain.js';
import { createStateHash } from './hash.js';
import { createInbox, type Inbox } from './input.js';
import { createTimerQueue } from './timers.js';

export interface HypervisorOptions {
  mmu: Mmu;
  engine: Engine;
  clock: 'virtual' | 'wall';
  /** Monotonic host time in nanoseconds; needed by the wall clock. */
  hostTime?: () => number;
  /** Seed of everything random that a guest may see. */
  seed?: number;
  /** Real time at system time 0, in nanoseconds since 1970. */
  epoch?: number;
  /** Instructions of one turn of a vCPU while others wait. */
  slice?: number;
  /** Instructions of one turn while nobody else waits; four times `slice` if not given (`slice` with the wall clock). */
  loneSlice?: number;
  /** System time of one instruction. */
  instructionNs?: number;
  log?: (message: string) => void;
  /** Where the guest's code is, every so many instructions. What the guest does is the same with it and without. */
  profile?: { readonly interval: number; sample(vcpu: Vcpu): void };
  /** A domain shut itself down or crashed. */
  onShutdown?: (domain: Domain, record: ShutdownRecord) => void;
}

export type SliceResult =
  /** A vCPU ran or time was skipped; there may be more to do. */
  | 'ran'
  /** Nothing can run before `sleepNs` have passed or an input comes. */
  | 'idle'
  /** No domain is left that could ever run. */
  | 'done';

export interface Hypervisor {
  readonly mmu: Mmu;
  readonly engine: Engine;
  readonly services: Services;
  readonly inbox: Inbox;
  readonly clock: 'virtual' | 'wall';
  readonly domains: ReadonlyMap<number, Domain>;
  /** Instructions retired by all vCPUs. */
  readonly instructions: number;
  /** Slices, idle skips, and what was due between two of them: a count that names one place in a run in virtual time. */
  readonly steps: number;
  now(): number;
  createDomain(options: { name: string; personality: Personality; id?: number }): Domain;
  /** The domain's weight beside others (256 if it was never said) and its cap in percent of the processor (0: none). */
  setShare(domain: Domain, share: { weight?: number | undefined; cap?: number | undefined }): void;
  /** Takes back everything the domain has; its id becomes free. */
  destroyDomain(domain: Domain): void;
  /**
   * One turn of one vCPU, at most `limit` instructions. Virtual clock: time does not pass `until`, at which nothing is
   * handed over and nothing runs.
   */
  runSlice(limit?: number, until?: number): SliceResult;
  /** Whether a vCPU waits for its turn, or an input for the next slice. */
  readonly ready: boolean;
  /** Runs until nothing can run any more, or `limit` instructions. For tests and batch runs in the virtual clock. */
  run(limit?: number): SliceResult;
  /** After `idle`: nanoseconds until the next timer, `Infinity` without one. */
  readonly sleepNs: number;
  /** While held, an idle machine waits for input and skips no time. Returns the release. */
  holdIdle(): () => void;
  /** Hash of all that the domain's guest could observe. */
  stateHash(domain: Domain): string;
  stats(): Record<string, number>;
}

const DEFAULT_SLICE = 200_000;
/** Nanoseconds over which a cap is held to. */
const CAP_PERIOD = 10_000_000;
const GREATEST_WEIGHT = 65535;
/** Share of the measured time that an instruction is given: better behind the host than ahead of it. */
const CAUTION = 0.8;
/** Turns shorter than this many instructions say little about speed. */
const LEAST_MEASURED = 1000;
/** First ids are small and never 0, which is the control domain's. */
const FIRST_ID = 1;
const LAST_ID = 0x7fef;

export function createHypervisor(options: HypervisorOptions): Hypervisor {
  const { mmu, engine, clock, hostTime, slice = DEFAULT_SLICE, instructionNs = 1 } = options;
  // The wall clock is looked at between turns: they stay short.
  const loneSlice = Math.max(slice, options.loneSlice ?? (clock === 'wall' ? slice : 4 * slice));
  if (clock === 'wall' && !hostTime) {
    throw new ParavaneError(
      'no-host-time',
      'clock "wall" follows the host: pass hostTime, a monotonic clock in nanoseconds',
    );
  }
  if (!(slice >= 1) || !Number.isInteger(instructionNs) || instructionNs < 1) {
    throw new ParavaneError('bad-slice', 'slice and instructionNs must be whole numbers above zero');
  }
  // In the wall clock a turn may end a little early: nothing there depends on its exact length.
  const exact = clock === 'virtual';
  const spare = exact ? 0 : Math.min(64, slice >> 1);
  // Nor does it matter there whether a timer fires some instructions late.
  const least = exact ? 1 : 128;
  const domains = new Map<number, MachineDomain>();
  const runQueue = createRunQueue();
  const timers = createTimerQueue();
  const inbox = createInbox();
  const exits: Record<string, number> = {};
  const hostStart = hostTime ? hostTime() : 0;

  let time = 0;
  /** System time of one instruction in the present turn; in the wall clock a little less than it really takes. */
  let turnNs = instructionNs;
  /** Wall clock: what an instruction took lately. */
  let measuredNs = 0;
  let running: MachineVcpu | null = null;
  let runningFrom = 0;
  let instructions = 0;
  let steps = 0;
  let skipped = 0;
  let holds = 0;
  let nextId = FIRST_ID;
  let deferred: (() => void)[] = [];
  const { profile } = options;
  let untilSample = profile?.interval ?? Number.POSITIVE_INFINITY;
  /** What waits for the machine to have nothing to run, and the count of instructions that it waits for at most. */
  const idleActions = new Set<{ readonly action: () => void; readonly by: number }>();
  /** The least of those counts. */
  let patience = Number.POSITIVE_INFINITY;
  let random = (options.seed ?? 0) | 0;

  const now = (): number => (running === null ? time : time + (running.core.count - runningFrom) * turnNs);
  const executed = (): number => (running === null ? instructions : instructions + running.core.count - runningFrom);

  const services: Services = {
    mmu,
    now,
    epoch: options.epoch ?? 0,
    tscKhz: 1_000_000,
    createTimer: (fire) => timers.create(fire),
    defer: (action) => void deferred.push(action),
    whenIdle(action, withinInstructions) {
      const by = executed() + withinInstructions;
      idleActions.add({ action, by });
      patience = Math.min(patience, by);
    },
    random() {
      // A counter mixed by multiplication: neighbouring seeds give unlike sequences.
      random = (random + 0x6d2b79f5) | 0;
      let x = Math.imul(random ^ (random >>> 15), random | 1);
      x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
      return (x ^ (x >>> 14)) >>> 0;
    },
    log: (message) => options.log?.(message),
  };

  function drainDeferred(): void {
    while (deferred.length > 0) {
      const actions = deferred;
      deferred = [];
      for (const action of actions) action();
    }
  }
  function beIdle(): void {
    if (holds > 0 || idleActions.size === 0) return;
    steps++;
    act(Number.POSITIVE_INFINITY);
    drainDeferred();
  }
  /** Does what waits for this count of instructions at most. */
  function act(count: number): void {
    const due = [...idleActions].filter(({ by }) => by <= count);
    for (const waiting of due) idleActions.delete(waiting);
    patience = Math.min(...[...idleActions].map(({ by }) => by));
    for (const { action } of due) action();
  }
  function followHost(): void {
    if (clock !== 'wall') return;
    const host = Math.floor(hostTime!() - hostStart);
    // Ahead of the host, time goes as slowly as it can until the host has caught up.
    turnNs = time > host ? 1 : Math.max(1, Math.floor(measuredNs * CAUTION));
    time = Math.max(time, host);
  }
  /** Learns how long instructions take on this host. */
  function measure(started: number, ran: number): void {
    if (ran < LEAST_MEASURED) return;
    const took = (hostTime!() - started) / ran;
    measuredNs = measuredNs === 0 ? took : measuredNs * 0.9 + took * 0.1;
  }

  /** Runs the core, where the guest is profiled in steps that end at its samples. */
  function runCore(vcpu: MachineVcpu, budget: number): Exit {
    const { core } = vcpu;
    if (profile === undefined) return core.run(budget, exact);
    const before = core.count;
    const exit = core.run(Math.min(budget, untilSample), exact);
    untilSample -= core.count - before;
    if (untilSample <= spare) {
      untilSample = profile.interval;
      profile.sample(vcpu);
    }
    return exit;
  }

  /** Instructions that the cap leaves of the present period. */
  function allowed({ share }: MachineDomain): number {
    if (share.cap === 0) return Infinity;
    if (time >= share.periodEnd) {
      share.periodEnd = time + CAP_PERIOD;
      share.spent = 0;
    }
    return Math.max(1, Math.ceil(((CAP_PERIOD * share.cap) / 100 - share.spent) / turnNs));
  }

  /** Accounts for time on the processor; one that has had what its cap allows waits for the next period. */
  function charge(domain: MachineDomain, nanoseconds: number): void {
    const { share } = domain;
    share.used += (nanoseconds * USUAL_WEIGHT) / share.weight;
    share.spent += nanoseconds;
    if (share.cap === 0 || share.spent < (CAP_PERIOD * share.cap) / 100 || share.capped) return;
    share.capped = true;
    const wake = timers.create(() => {
      share.capped = false;
      for (const vcpu of domain.vcpus) runQueue.push(vcpu);
    });
    wake.set(share.periodEnd);
  }

  function runVcpu(vcpu: MachineVcpu, most: number): void {
    const { core } = vcpu;
    const { personality } = vcpu.domain;
    const limit = Math.min(most, allowed(vcpu.domain));
    core.tscRatio = turnNs;
    core.tscOffset = time - core.count * turnNs;
    running = vcpu;
    runningFrom = core.count;
    vcpu.yielded = false;
    personality.scheduled(vcpu, true);
    const end = runningFrom + Math.min(slice, limit);
    const loneEnd = runningFrom + Math.min(loneSlice, limit);
    for (;;) {
      const remaining = (runQueue.empty ? loneEnd : end) - core.count;
      if (remaining <= spare) break;
      if (timers.next <= now()) timers.fireDue(now());
      if (patience <= executed()) act(executed());
      if (deferred.length > 0) drainDeferred();
      if (!vcpu.mayRun || vcpu.yielded) break;
      personality.beforeRun(vcpu);
      if (!vcpu.mayRun || vcpu.yielded) break;
      const untilTimer = Math.ceil((timers.next - now()) / turnNs);
      const exit = runCore(vcpu, Math.max(Math.min(untilTimer, remaining, patience - executed()), least));
      if (exit.reason === 'budget') continue;
      exits[exit.reason] = (exits[exit.reason] ?? 0) + 1;
      personality.handleExit(vcpu, exit);
    }
    personality.scheduled(vcpu, false);
    const ran = core.count - runningFrom;
    running = null;
    time += ran * turnNs;
    vcpu.lastRun = time;
    instructions += ran;
    charge(vcpu.domain, ran * turnNs);
    // One that yields to nobody waits, only without sleeping.
    if (vcpu.yielded && runQueue.empty) beIdle();
    runQueue.push(vcpu);
  }

  function anyCanEverRun(): boolean {
    for (const domain of domains.values()) if (domain.state === 'running' || domain.state === 'paused') return true;
    return false;
  }

  function runSlice(limit = Infinity, until = Infinity): SliceResult {
    followHost();
    if (time >= until) return 'idle';
    // All that is done counts as a step. How often an idle machine is asked depends on the host; this does not.
    if (inbox.handOver({ step: steps, instructions, time })) steps++;
    if (timers.next <= time) {
      timers.fireDue(time);
      steps++;
    }
    if (deferred.length > 0) {
      drainDeferred();
      steps++;
    }
    if (runQueue.empty) beIdle();
    const vcpu = runQueue.shift();
    if (vcpu) {
      steps++;
      const started = clock === 'wall' ? hostTime!() : 0;
      const before = instructions;
      runVcpu(vcpu, Math.min(limit, Math.ceil((until - time) / instructionNs)));
      if (clock === 'wall') measure(started, instructions - before);
      return 'ran';
    }
    if (!anyCanEverRun()) return 'done';
    if (clock === 'wall' || holds > 0) return 'idle';
    const next = Math.min(timers.next, until);
    if (next === Infinity) return 'idle';
    steps++;
    skipped += next - time;
    time = next;
    return time < until ? 'ran' : 'idle';
  }

  const hypervisor: Hypervisor = {
    mmu,
    engine,
    services,
    inbox,
    clock,
    domains,
    get instructions() {
      return executed();
    },
    get steps() {
      return steps;
    },
    now,
    createDomain({ name, personality, id }) {
      if (personality.apiVersion !== PERSONALITY_API_VERSION) {
        throw new ParavaneError(
          'personality-version',
          `personality "${personality.name}" is written for interface ${personality.apiVersion}, this is ${PERSONALITY_API_VERSION}; use matching packages`,
        );
      }
      if (id !== undefined && (domains.has(id) || !(id >= 0 && id <= LAST_ID))) {
        throw new ParavaneError(
          'domain-id-taken',
          `domain id ${id} is in use or out of range; leave it out to get a free one`,
        );
      }
      let chosen = id ?? nextId;
      // Ids are not reused at once, as on Xen: an old id in someone's hand names nobody for a while.
      while (id === undefined && domains.has(chosen)) chosen = chosen >= LAST_ID ? FIRST_ID : chosen + 1;
      if (id === undefined) nextId = chosen >= LAST_ID ? FIRST_ID : chosen + 1;
      const domain = createDomain({
        id: domId(chosen),
        name,
        personality,
        createCore: () => engine.createVcpu(),
        runQueue,
        onShutdown: (stopped, record) => options.onShutdown?.(stopped, record),
      });
      domains.set(chosen, domain);
      return domain;
    },
    setShare(domain, { weight, cap }) {
      const known = domains.get(domain.id);
      if (known !== domain) return;
      const { share } = known;
      if (weight !== undefined) {
        if (!(Number.isInteger(weight) && weight >= 1 && weight <= GREATEST_WEIGHT)) {
          throw new ParavaneError(
            'bad-share',
            `a weight is a whole number from 1 to ${GREATEST_WEIGHT}, not ${weight}`,
          );
        }
        share.weight = weight;
      }
      if (cap !== undefined) {
        if (!(Number.isInteger(cap) && cap >= 0)) {
          throw new ParavaneError('bad-share', `a cap is a whole number of percent, or 0 for none, not ${cap}`);
        }
        share.cap = cap;
      }
    },
    destroyDomain(domain) {
      const known = domains.get(domain.id);
      if (known !== domain || known.state === 'dying') return;
      known.destroy();
      for (const vcpu of known.vcpus) vcpu.offline();
      known.personality.destroyDomain(known);
      domains.delete(domain.id);
    },
    runSlice,
    get ready() {
      return !runQueue.empty || inbox.pending || (holds === 0 && idleActions.size > 0);
    },
    run(limit = Infinity) {
      const until = instructions + limit;
      let result: SliceResult = 'ran';
      while (result === 'ran' && instructions < until) result = runSlice(until - instructions);
      return result;
    },
    get sleepNs() {
      return Math.max(0, timers.next - time);
    },
    holdIdle() {
      let held = true;
      holds++;
      return () => {
        if (held) holds--;
        held = false;
      };
    },
    stateHash(domain) {
      const hash = createStateHash();
      const { owner, frames, type, flags } = mmu.frames;
      const { u32, frameBase } = mmu.machine;
      for (let mfn = 1; mfn < frames; mfn++) {
        if (owner[mfn] !== domain.id) continue;
        hash.word(mfn);
        hash.word(type[mfn]!);
        // A frame is handed out full of zeroes. Reading one would make the host give it memory.
        if (flags[mfn]! & FrameFlag.dirty) hash.words(u32, (frameBase + mfn * 4096) / 4, 1024);
        else hash.zeroes(1024);
      }
      for (const vcpu of domain.vcpus) {
        hash.bytes(vcpu.core.save());
        hash.word(vcpu.core.count % 0x100000000);
        hash.word(vcpu.state === 'runnable' ? 1 : vcpu.state === 'blocked' ? 2 : 0);
      }
      hash.word(time % 0x100000000);
      hash.word(Math.floor(time / 0x100000000));
      domain.personality.hashState(domain, hash.word);
      return hash.digest();
    },
    stats: () => ({
      instructions,
      steps,
      systemTimeNs: time,
      skippedNs: skipped,
      freeFrames: mmu.frames.freeCount,
      ...Object.fromEntries(Object.entries(exits).map(([reason, count]) => [`exits.${reason}`, count])),
      ...engine.stats(),
    }),
  };
  return hypervisor;
}
