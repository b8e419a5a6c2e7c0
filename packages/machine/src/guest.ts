/**
 * The short way to a guest, for programs and tests: boot a kernel, type at its console, wait for what it says. Time is
 * virtual: it passes only while the guest runs, so equal calls have equal results on every host.
 */
import type { BootDisk, DomainEnd, DomainStats, RunningDomain } from '@paravane/toolstack';
import { ParavaneError } from '@paravane/types';
import { createMachine } from './machine.js';

export interface GuestOptions {
  /** An ELF file or bzImage with Xen's notes. */
  readonly kernel: Uint8Array;
  readonly ramdisk?: Uint8Array;
  readonly cmdline?: string;
  /** MiB; 64 if not given. */
  readonly memory?: number;
  readonly vcpus?: number;
  readonly name?: string;
  /** CPU features that CPUID does not show, by xl's names. */
  readonly hiddenFeatures?: readonly string[];
  /** Their images must answer at once. */
  readonly disks?: readonly BootDisk[];
  readonly seed?: bigint;
  /** The guest's wall clock when it starts: milliseconds since 1970. */
  readonly epoch?: number;
  /** Takes what the guest writes to its console, as it comes. */
  onOutput?(bytes: Uint8Array): void;
  /** Takes one line for each event between the guest and the hypervisor. */
  trace?(line: string): void;
}

export interface Guest {
  /** All that the guest has written to its console, one character a byte. */
  readonly output: string;
  /** How it ended; undefined while it runs. */
  readonly end: DomainEnd | undefined;
  /** Types at the guest's console, one byte a character. */
  type(text: string): void;
  /**
   * Runs the guest until it has written `text`, looking after what an earlier call has found. Returns what was written
   * up to there. Throws a ParavaneError when the guest ends or waits for ever before, or after `limitSeconds` of its
   * time (60 if not given).
   */
  waitFor(text: string, limitSeconds?: number): string;
  /** Runs the guest until it ends. */
  waitForEnd(limitSeconds?: number): DomainEnd;
  stats(): DomainStats;
}

/** Boots a kernel. The guest runs only in `waitFor` and `waitForEnd`. */
export async function startGuest(options: GuestOptions): Promise<Guest> {
  const { memory = 64, name = 'guest' } = options;
  let output = '';
  const domain = await createMachine().bootDomain({
    config: {
      name,
      type: 'pv',
      kernel: name,
      cmdline: options.cmdline ?? '',
      memory,
      maxmem: memory,
      vcpus: options.vcpus ?? 1,
      ...(options.hiddenFeatures === undefined ? {} : { hiddenFeatures: options.hiddenFeatures }),
      onPoweroff: 'destroy',
      onReboot: 'destroy',
      onCrash: 'destroy',
    },
    kernel: options.kernel,
    ...(options.ramdisk === undefined ? {} : { ramdisk: options.ramdisk }),
    ...(options.disks === undefined ? {} : { disks: options.disks }),
    ...(options.trace === undefined ? {} : { trace: options.trace }),
    onOutput(bytes) {
      for (const byte of bytes) output += String.fromCharCode(byte);
      options.onOutput?.(bytes);
    },
    clock: 'virtual',
    seed: options.seed ?? 0n,
    epoch: options.epoch ?? 0,
    now: () => 0,
  });
  return new ScriptedGuest(domain, name, () => output);
}

class ScriptedGuest implements Guest {
  end: DomainEnd | undefined;
  private found = 0;

  constructor(
    private readonly domain: RunningDomain,
    private readonly name: string,
    private readonly written: () => string,
  ) {}

  get output(): string {
    return this.written();
  }

  type(text: string): void {
    this.domain.input(Uint8Array.from(text, (character) => character.charCodeAt(0)));
  }

  waitFor(text: string, limitSeconds = 60): string {
    let at = this.output.indexOf(text, this.found);
    this.run(`writing "${text}"`, limitSeconds, () => {
      at = this.output.indexOf(text, this.found);
      return at >= 0;
    });
    const start = this.found;
    this.found = at + text.length;
    return this.output.slice(start, this.found);
  }

  waitForEnd(limitSeconds = 60): DomainEnd {
    this.run('its end', limitSeconds, () => this.end !== undefined);
    return this.end as DomainEnd;
  }

  stats(): DomainStats {
    return this.domain.stats();
  }

  private run(goal: string, limitSeconds: number, reached: () => boolean): void {
    let deadline: number | undefined;
    while (!reached()) {
      if (this.end !== undefined) throw this.failure('ended', goal);
      const result = this.domain.step();
      if (result.state === 'ended') this.end = result.end;
      else if (result.state === 'busy') throw this.failure('waits for an image that does not answer at once', goal);
      else if (result.state === 'waiting' && !reached()) throw this.failure('waits for input', goal);
      const now = this.domain.guestMilliseconds;
      deadline ??= now + limitSeconds * 1000;
      if (now > deadline && !reached()) throw this.failure(`ran for ${limitSeconds} seconds of its time`, goal);
    }
  }

  private failure(what: string, goal: string): ParavaneError {
    const why = this.end?.kind === 'crash' ? ` (${this.end.report.reason})` : '';
    const last = this.output.slice(-400);
    return new ParavaneError(
      'guest-wait',
      `guest "${this.name}" ${what}${why} before ${goal}; its console showed last:\n${last}`,
      { data: { output: this.output } },
    );
  }
}
