/**
 * A domain's life: boot, run, and what on_poweroff, on_reboot and on_crash say when it ends. Slices of the guest and
 * the host's I/O take turns on one thread; time comes from the host that is passed in.
 */
import { type ConsoleTail, createConsoleTail } from './console-tail.js';
import type { DomainConfig, EndAction } from './domain-config.js';
import type { BootRequest, CrashReport, DomainEnd, DomainStats, Machine, RunningDomain } from './machine.js';

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
  | { readonly kind: 'shutdown'; readonly by: 'poweroff' | 'reboot' | 'suspend' }
  | { readonly kind: 'crash'; readonly report: CrashReport; readonly consoleTail: readonly string[] }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'interrupted' };

export interface DomainRun {
  /** Types bytes at the console. */
  input(bytes: Uint8Array): void;
  /** Ends the run from outside: its outcome is `interrupted`. */
  interrupt(): void;
  /** The outcome. Rejects where the host failed. */
  readonly outcome: Promise<RunOutcome>;
  /** Of the domain that runs or ran last; undefined before the first has been built. */
  stats(): DomainStats | undefined;
}

export interface RunOptions {
  readonly time: HostTime;
  /** Ends the run, with outcome `timeout`, after so many milliseconds of the host's time. */
  readonly timeout?: number;
  /** Told when the domain restarts, and why. */
  onRestart?(end: DomainEnd): void;
}

/** Between two chances for I/O, in milliseconds: short enough for typing to feel immediate. */
const turnLength = 10;

export function runDomain(machine: Machine, request: BootRequest, options: RunOptions): DomainRun {
  return new Run(machine, request, options);
}

class Run implements DomainRun {
  readonly outcome: Promise<RunOutcome>;
  private readonly tail: ConsoleTail = createConsoleTail();
  private readonly early: Uint8Array[] = [];
  private domain: RunningDomain | undefined;
  private lastStats: DomainStats | undefined;
  private interrupted = false;
  private wake: () => void = () => undefined;

  constructor(
    private readonly machine: Machine,
    private readonly request: BootRequest,
    private readonly options: RunOptions,
  ) {
    // Not before the caller has had the chance to connect a terminal: the guest's first words are for it.
    this.outcome = Promise.resolve().then(() => this.live());
  }

  input(bytes: Uint8Array): void {
    if (this.domain === undefined) this.early.push(bytes);
    else this.domain.input(bytes);
    this.wake();
  }

  interrupt(): void {
    this.interrupted = true;
    this.wake();
  }

  stats(): DomainStats | undefined {
    return this.domain?.stats() ?? this.lastStats;
  }

  private async live(): Promise<RunOutcome> {
    const { time, timeout } = this.options;
    const deadline = timeout === undefined ? Number.POSITIVE_INFINITY : time.now() + timeout;
    for (;;) {
      await this.boot();
      const ended = await this.untilEnd(deadline);
      this.lastStats = this.domain?.stats();
      const { domain } = this;
      domain?.destroy();
      this.domain = undefined;
      await domain?.settled?.();
      if ('outcome' in ended) return ended.outcome;
      if (actionFor(this.request.config, ended.end) !== 'restart') return this.outcomeOf(ended.end);
      this.options.onRestart?.(ended.end);
    }
  }

  private async boot(): Promise<void> {
    const { request, tail } = this;
    this.domain = await this.machine.bootDomain({
      ...request,
      wake: () => this.wake(),
      onOutput(bytes) {
        tail.add(bytes);
        request.onOutput(bytes);
      },
    });
    for (const bytes of this.early.splice(0)) this.domain.input(bytes);
  }

  private async untilEnd(deadline: number): Promise<{ outcome: RunOutcome } | { end: DomainEnd }> {
    const { time } = this.options;
    let turn = time.now();
    for (;;) {
      if (this.interrupted) return { outcome: { kind: 'interrupted' } };
      const now = time.now();
      if (now >= deadline) return { outcome: { kind: 'timeout' } };
      if (now - turn >= turnLength) {
        await time.yield();
        turn = time.now();
        continue;
      }
      const result = (this.domain as RunningDomain).step();
      if (result.state === 'ended') return { end: result.end };
      if (result.state === 'busy') {
        await result.done;
      } else if (result.state === 'waiting') {
        await this.wait(Math.min(result.milliseconds ?? Number.POSITIVE_INFINITY, deadline - time.now()));
        turn = time.now();
      }
    }
  }

  private async wait(milliseconds: number): Promise<void> {
    if (milliseconds <= 0) return this.options.time.yield();
    const pause = this.options.time.pause(milliseconds);
    this.wake = () => pause.wake();
    await pause.done;
    this.wake = () => undefined;
  }

  private outcomeOf(end: DomainEnd): RunOutcome {
    if (end.kind !== 'crash') return { kind: 'shutdown', by: end.kind };
    return { kind: 'crash', report: end.report, consoleTail: this.tail.lines() };
  }
}

function actionFor(config: DomainConfig, end: DomainEnd): EndAction {
  if (end.kind === 'crash') return config.onCrash;
  if (end.kind === 'reboot') return config.onReboot;
  return end.kind === 'poweroff' ? config.onPoweroff : 'destroy';
}
