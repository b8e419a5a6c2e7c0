/** Runs domains with the user's terminal as their consoles, until all have ended; the exit status says how. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type ControlSocket,
  cacheFolder,
  controlFolder,
  hostTime,
  openControlSocket,
  openKeptCode,
  openTraceFile,
  readToEnd,
  type TraceFile,
} from '@paravane/host-node';
import {
  type BootChannel,
  type BootDisk,
  type BootVif,
  type CodeKeeper,
  type Conductor,
  type DomainConfig,
  type DomainRun,
  formatCrashReport,
  logLevels,
  type Machine,
  type RunOutcome,
  runDomain,
} from '@paravane/toolstack';
import { type Consoles, createConsoles, fileOf } from './consoles.js';
import { type CliContext, say, sayError } from './context.js';
import { openMedium } from './disks.js';
import { statusOfAll, statusOfOutcome } from './exit-status.js';
import { type Interruption, listenForInterruption } from './interruption.js';
import type { MachineFlags } from './machine-flags.js';
import { openRecording, withRecording } from './recording.js';
import { createFigures, type Figures } from './stats.js';

export interface Guest {
  readonly config: DomainConfig;
  readonly kernel: Uint8Array;
  readonly ramdisk?: Uint8Array;
  readonly disks?: readonly BootDisk[];
  readonly vifs?: readonly BootVif[];
  readonly channels?: readonly BootChannel[];
}

/** The guest's wall clock at the start of a run in virtual time: 2025-01-01. */
export const virtualEpoch = Date.UTC(2025, 0, 1);

/** What all guests of a process share. */
interface Host {
  readonly context: CliContext;
  readonly flags: MachineFlags;
  readonly machine: Machine;
  readonly consoles: Consoles;
  /** The virtual time that they share; not needed by one guest without a network. */
  readonly conductor: Conductor | undefined;
  /** How many have not ended. */
  running: number;
}

export async function boot(
  context: CliContext,
  guests: readonly Guest[],
  given: MachineFlags,
  conductor?: Conductor,
): Promise<number> {
  const flags = withRecording(given);
  const { stdin } = context;
  const names = guests.map(({ config }) => config.name);
  sayLeaving(context, guests, flags);
  const interruption = listenForInterruption(context.output);
  const traces = openTraces(names, flags.trace);
  const recording = openRecording(context, await context.parts.createMachine(), flags, guests.length);
  const { machine } = recording;
  // In virtual time the moment at which input arrives must not depend on the host: all of it is there at the start.
  const ahead = flags.clock === 'virtual' && stdin.isTTY !== true;
  const read = (): Promise<Uint8Array> | Uint8Array => (recording.replays ? new Uint8Array() : readToEnd(stdin));
  const typedAhead = ahead ? await Promise.race([read(), interruption.done]) : undefined;
  const consoles = createConsoles(context, names, flags);
  const figures = flags.stats ? createFigures(names) : undefined;
  const host: Host = { context, flags, machine, consoles, conductor, running: guests.length };
  const runs = guests.map((guest, number) => start(host, guest, number, traces[number]));
  void interruption.done.then(() => {
    for (const run of runs) run.interrupt();
  });
  try {
    if (typedAhead === undefined) connect(host, runs, interruption, figures);
    else runs[0]?.input(typedAhead);
    const statuses = await Promise.all(
      runs.map((run, number) => finish(host, (guests[number] as Guest).config, run, runs.length > 1)),
    );
    if (figures !== undefined) context.process.stderr.write(figures.text(runs));
    return statusOfAll(statuses);
  } finally {
    figures?.close();
    consoles.close();
    for (const trace of traces) trace.close();
    recording.close();
  }
}

/** How to leave, while the terminal still listens. */
function sayLeaving(context: CliContext, guests: readonly Guest[], { escape, stats }: MachineFlags): void {
  if (!context.stdin.isTTY || escape.byte === undefined) return;
  const key = escape.byte < 32 ? `Ctrl-${String.fromCharCode(escape.byte + 64)}` : String.fromCharCode(escape.byte);
  const booted = guests.map(({ config }) => `"${config.name}" with ${config.memory} MiB`).join(', ');
  const one = stats ? `${key} s shows figures, ${key} twice leaves` : `${key} leaves`;
  const keys = guests.length === 1 ? one : `${key} and a number shows another guest, ${key} q ends all`;
  say(context, `booting ${booted}; ${keys}`);
}

function openTraces(names: readonly string[], pattern: string | undefined): TraceFile[] {
  return pattern === undefined ? [] : names.map((name) => openTraceFile(fileOf(pattern, names, name, '--trace')));
}

function start(
  { context, flags, machine, consoles, conductor }: Host,
  guest: Guest,
  number: number,
  trace?: TraceFile,
) {
  const { config, kernel, ramdisk, disks, vifs, channels } = guest;
  const virtual = flags.clock === 'virtual';
  const loudest = logLevels.indexOf(flags.log);
  return runDomain(
    machine,
    {
      config,
      kernel,
      ...(ramdisk === undefined ? {} : { ramdisk }),
      ...(disks === undefined ? {} : { disks }),
      ...(vifs === undefined ? {} : { vifs }),
      ...(channels === undefined ? {} : { channels }),
      onOutput: (bytes) => consoles.output(number, bytes),
      clock: flags.clock,
      engine: flags.engine,
      ...(flags.codeCache && flags.engine === 'jit' ? { code: keptCode(context, flags, kernel) } : {}),
      // Each guest has random numbers of its own.
      seed: (flags.seed ?? (virtual ? 0n : randomBytes(8).readBigUInt64LE())) + BigInt(number),
      epoch: virtual ? virtualEpoch : Date.now(),
      now: hostTime.now,
      profile: flags.stats,
      log(level, message) {
        if (logLevels.indexOf(level) <= loudest) say(context, `${level}: ${message}`);
      },
      ...(trace === undefined ? {} : { trace: trace.write }),
    },
    {
      time: hostTime,
      ...(conductor === undefined ? {} : { member: conductor.join() }),
      ...(flags.timeout === undefined ? {} : { timeout: flags.timeout }),
      onRestart: ({ kind }) => say(context, `"${config.name}" restarts after a ${kind}`),
    },
  );
}

function keptCode(context: CliContext, { log }: MachineFlags, kernel: Uint8Array): CodeKeeper {
  return openKeptCode(join(cacheFolder(context.process.env), 'code'), kernel, (cause) => {
    if (logLevels.indexOf('info') <= logLevels.indexOf(log)) say(context, `info: compiled code was not kept: ${cause}`);
  });
}

/** The socket for `paravane list` and its like; a guest runs without it where it can't be made. */
async function openControl(
  context: CliContext,
  { name, memory, vcpus }: DomainConfig,
  run: DomainRun,
): Promise<ControlSocket | undefined> {
  try {
    return await openControlSocket(controlFolder(context.process.env), { name, memory, vcpus, run, openMedium });
  } catch (error) {
    say(context, `no other command will reach "${name}": ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Waits for a guest's end, with its control socket open: its exit status. One of several fails alone. */
async function finish(host: Host, config: DomainConfig, run: DomainRun, oneOfSeveral: boolean): Promise<number> {
  const { context, flags, consoles } = host;
  const control = openControl(context, config, run);
  try {
    // The terminal is given back before anything is said of the last one's end.
    const outcome = await run.outcome.finally(() => --host.running === 0 && consoles.close());
    report(context, config, flags, outcome);
    return statusOfOutcome(outcome);
  } catch (error) {
    if (!oneOfSeveral) throw error;
    say(context, `"${config.name}" has failed`);
    return sayError(context, error);
  } finally {
    await (await control)?.close();
  }
}

/** What is typed goes to the domains, before they say their first words. */
function connect(
  { consoles }: Host,
  runs: readonly DomainRun[],
  interruption: Interruption,
  figures: Figures | undefined,
): void {
  const tell = (): string => figures?.text(runs) ?? 'there are figures with --stats\n';
  consoles.connect(runs, interruption.now, tell);
}

function report(context: CliContext, config: DomainConfig, flags: MachineFlags, outcome: RunOutcome): void {
  const { stderr, stdout } = context.process;
  // It ended because of that, which is told for all of them.
  if (outcome.kind === 'interrupted' && context.output.failure !== undefined) return;
  if (outcome.kind !== 'shutdown' && stdout.isTTY) stdout.write('\n');
  if (outcome.kind === 'crash') {
    for (const line of formatCrashReport(config.name, outcome.report, outcome.consoleTail)) stderr.write(`${line}\n`);
  } else if (outcome.kind === 'timeout') {
    say(context, `"${config.name}" was ended: --timeout ${(flags.timeout ?? 0) / 1000} has passed`);
  } else if (outcome.kind === 'interrupted') {
    say(context, `"${config.name}" was ended: ${outcome.destroyed ? 'destroyed' : 'interrupted'}`);
  }
}
