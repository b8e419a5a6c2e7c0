/**
 * A domain's life: boot, run, and what on_poweroff, on_reboot and on_crash say when it ends. Slices of the guest and
 * the host's I/O take turns on one thread; time comes from the host that is passed in.
 */
import type { ConductedMember } from './conductor.js';
import { type ConsoleTail, createConsoleTail } from './console-tail.js';
import type { DomainConfig, EndAction } from './domain-config.js';
import type {
  BootRequest,
  CrashReport,
  DomainControl,
  DomainEnd,
  DomainStats,
  Machine,
  RunningDomain,
} from './machine.js';

/** The host's clock and its pauses. */
export interface HostTime {
  /** Monotonic, in milliseconds. */
  now(): number;
  /** Lets I/O happen, then returns. */
  yield(): Promise<void>;
  /** Resolves after `milliseconds`, or as soon as `wake` is called; for ever means until then. */
  pause(milliseconds: number): { readonly done: Promise<void>; wake(): void };
}

export type RunOutcome =
  | { readonly kind: 'shutdown'; readonly by: 'poweroff' | 'reboot' | 'suspend' | 'replayed' }
  | { readonly kind: 'crash'; readonly report: CrashReport; readonly consoleTail: readonly string[] }
  | { readonly kind: 'timeout' }
  /** `destroyed`: by `destroy`, not by `interrupt`. */
  | { readonly kind: 'interrupted'; readonly destroyed?: boolean };

/** `blocked`: all vCPUs wait for time or input. `starting`: there is no domain at the moment. */
export type RunState = 'starting' | 'running' | 'blocked' | 'paused';

/** How a domain ended, as those who wait for it are told. */
export type EndKind = DomainEnd['kind'] | 'timeout' | 'interrupted' | 'destroyed' | 'failed';

export interface DomainRun {
  /** Types bytes at the console. */
  input(bytes: Uint8Array): void;
  /** Ends the run from outside: its outcome is `interrupted`. */
  interrupt(): void;
  /** The outcome. Rejects where the host failed. */
  readonly outcome: Promise<RunOutcome>;
  /** The domain's state at this moment. */
  readonly state: RunState;
  /** Milliseconds of the host's time since the run began. */
  readonly uptime: number;
  /** Of the domain that runs now. */
  readonly control: DomainControl | undefined;
  /** Stops the vCPUs, or lets them go on. False where there is no domain, or its machine can't. */
  setPaused(paused: boolean): boolean;
  /** Ends the run at once: its outcome is `interrupted`, `destroyed`. */
  destroy(): void;
  /** Shows what the guest writes from now on, over restarts too. The result ends that. */
  watchOutput(show: (bytes: Uint8Array) => void): () => void;
  /** Tells of each end of a domain; `last` where it does not restart. The result ends that. */
  watchEnd(tell: (how: EndKind, last: boolean) => void): () => void;
  /** Of the domain that runs or ran last; undefined before the first has been built. */
  stats(): DomainStats | undefined;
}

export interface RunOptions {
  readonly time: HostTime;
  /** Ends the run, with outcome `timeout`, after so many milliseconds of the host's time. */
  readonly timeout?: number;
  /** Of the virtual time that the domain shares with others and with its network. */
  readonly member?: ConductedMember;
  /** Told when the domain restarts, and why. */
  onRestart?(end: DomainEnd): void;
}

/** Between two chances for I/O and for other guests, in milliseconds: short enough for typing to feel immediate. */
const turnLength = 10;
const usualWeight = 256;
/** However heavy the guest, the others get a turn. */
const longestTurn = 100;

export function runDomain(machine: Machine, request: BootRequest, options: RunOptions): DomainRun {
  return new Run(machine, request, options);
}

class Run implements DomainRun {
  readonly outcome: Promise<RunOutcome>;
  private readonly tail: ConsoleTail = createConsoleTail();
  private readonly early: Uint8Array[] = [];
  private domain: RunningDomain | undefined;
  private lastStats: DomainStats | undefined;
  private interrupted: 'interrupted' | 'destroyed' | undefined;
  private paused = false;
  private waiting = false;
  private readonly started: number;
  private readonly viewers = new Set<(bytes: Uint8Array) => void>();
  private readonly mourners = new Set<(how: EndKind, last: boolean) => void>();
  private wake: () => void = () => undefined;

  constructor(
    private readonly machine: Machine,
    private readonly request: BootRequest,
    private readonly options: RunOptions,
  ) {
    this.started = options.time.now();
    // Not before the caller has had the chance to connect a terminal: the guest's first words are for it.
    this.outcome = Promise.resolve().then(() => this.live());
    const { member } = options;
    if (member !== undefined) {
      this.wake = () => member.wake();
      const leave = (): void => member.leave();
      this.outcome.then(leave, leave);
    }
    this.outcome.catch(() => this.tellEnd('failed', true));
  }

  get state(): RunState {
    if (this.domain === undefined) return 'starting';
    if (this.paused) return 'paused';
    return this.waiting ? 'blocked' : 'running';
  }

  get uptime(): number {
    return this.options.time.now() - this.started;
  }

  get control(): DomainControl | undefined {
    return this.domain?.control;
  }

  setPaused(paused: boolean): boolean {
    const { control } = this;
    if (control === undefined) return false;
    if (paused) control.pause();
    else control.unpause();
    this.paused = paused;
    this.wake();
    return true;
  }

  watchOutput(show: (bytes: Uint8Array) => void): () => void {
    const viewer = (bytes: Uint8Array): void => show(bytes);
    this.viewers.add(viewer);
    return () => void this.viewers.delete(viewer);
  }

  watchEnd(tell: (how: EndKind, last: boolean) => void): () => void {
    const mourner = (how: EndKind, last: boolean): void => tell(how, last);
    this.mourners.add(mourner);
    return () => void this.mourners.delete(mourner);
  }

  input(bytes: Uint8Array): void {
    if (this.domain === undefined) this.early.push(bytes);
    else this.domain.input(bytes);
    this.wake();
  }

  interrupt(): void {
    this.interrupted ??= 'interrupted';
    this.wake();
  }

  destroy(): void {
    this.interrupted ??= 'destroyed';
    this.wake();
  }

  stats(): DomainStats | undefined {
    return this.domain?.stats() ?? this.lastStats;
  }

  private async live(): Promise<RunOutcome> {
    const { time, timeout } = this.options;
    const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : time.now() + timeout;
    for (;;) {
      await this.options.member?.turn();
      await this.boot();
      const ended = await this.untilEnd(deadline);
      this.lastStats = this.domain?.stats();
      const { domain } = this;
      domain?.destroy();
      this.domain = undefined;
      this.paused = false;
      await domain?.settled?.();
      if ('outcome' in ended) {
        this.tellEnd(endKind(ended.outcome), true);
        return ended.outcome;
      }
      const restarts = actionFor(this.request.config, ended.end) === 'restart';
      this.tellEnd(ended.end.kind, !restarts);
      if (!restarts) return this.outcomeOf(ended.end);
      this.options.onRestart?.(ended.end);
    }
  }

  private tellEnd(how: EndKind, last: boolean): void {
    for (const tell of [...this.mourners]) tell(how, last);
  }

  private async boot(): Promise<void> {
    const { request, tail, viewers } = this;
    this.domain = await this.machine.bootDomain({
      ...request,
      wake: () => this.wake(),
      onOutput(bytes) {
        tail.add(bytes);
        for (const show of viewers) show(bytes);
        request.onOutput(bytes);
      },
    });
    this.options.member?.begin();
    for (const bytes of this.early.splice(0)) this.domain.input(bytes);
  }

  private async untilEnd(deadline: number): Promise<{ outcome: RunOutcome } | { end: DomainEnd }> {
    const { time, member } = this.options;
    const alarm = member && deadline !== Number.POSITIVE_INFINITY ? time.pause(deadline - time.now()) : undefined;
    void alarm?.done.then(() => member?.wake());
    try {
      return await this.takeTurns(deadline);
    } finally {
      alarm?.wake();
    }
  }

  private async takeTurns(deadline: number): Promise<{ outcome: RunOutcome } | { end: DomainEnd }> {
    const { time, member } = this.options;
    const domain = this.domain as RunningDomain;
    const { cpuWeight = usualWeight } = this.request.config;
    const length = Math.min(longestTurn, (turnLength * cpuWeight) / usualWeight);
    let turn = time.now();
    for (;;) {
      if (this.interrupted !== undefined) {
        return { outcome: { kind: 'interrupted', ...(this.interrupted === 'destroyed' ? { destroyed: true } : {}) } };
      }
      const now = time.now();
      if (now >= deadline) return { outcome: { kind: 'timeout' } };
      if (now - turn >= length) {
        await time.yield();
        turn = time.now();
        continue;
      }
      await member?.turn();
      member?.reached(domain.guestMilliseconds);
      const result = domain.step(member?.until);
      if (result.state === 'ended') return { end: result.end };
      if (result.state === 'busy') {
        await result.done;
      } else if (result.state === 'waiting' && member !== undefined) {
        await this.pass(domain, member, result.milliseconds ?? Number.POSITIVE_INFINITY);
      } else if (result.state === 'waiting') {
        await this.wait(Math.min(result.milliseconds ?? Number.POSITIVE_INFINITY, deadline - time.now()));
        turn = time.now();
      }
    }
  }

  /** Ends the domain's turn, unless a timer of the shared time fires first. */
  private async pass(domain: RunningDomain, member: ConductedMember, wait: number): Promise<void> {
    const { until } = member;
    member.reached(domain.guestMilliseconds);
    if (domain.guestMilliseconds >= until && member.until > until) return;
    this.waiting = wait > 0;
    member.pass(wait);
    await member.turn();
    this.waiting = false;
  }

  private async wait(milliseconds: number): Promise<void> {
    if (milliseconds <= 0) return this.options.time.yield();
    const pause = this.options.time.pause(milliseconds);
    this.wake = () => pause.wake();
    this.waiting = true;
    await pause.done;
    this.waiting = false;
    this.wake = () => undefined;
  }

  private outcomeOf(end: DomainEnd): RunOutcome {
    if (end.kind !== 'crash') return { kind: 'shutdown', by: end.kind };
    return { kind: 'crash', report: end.report, consoleTail: this.tail.lines() };
  }
}

function endKind(outcome: RunOutcome): EndKind {
  if (outcome.kind === 'interrupted' && outcome.destroyed) return 'destroyed';
  return outcome.kind === 'shutdown' ? outcome.by : outcome.kind;
}

function actionFor(config: DomainConfig, end: DomainEnd): EndAction {
  if (end.kind === 'crash') return config.onCrash;
  if (end.kind === 'reboot') return config.onReboot;
  return end.kind === 'poweroff' ? config.onPoweroff : 'destroy';
}
