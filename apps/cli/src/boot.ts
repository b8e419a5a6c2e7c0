/** Runs one domain with the user's terminal as its console, until it ends; the exit status says how. */
import { randomBytes } from 'node:crypto';
import {
  type ControlSocket,
  controlFolder,
  hostTime,
  openConsole,
  openControlSocket,
  openTraceFile,
  readToEnd,
} from '@paravane/host-node';
import {
  type BootDisk,
  type BootVif,
  type DomainConfig,
  type DomainRun,
  type DomainStats,
  formatCrashReport,
  logLevels,
  type RunOutcome,
  runDomain,
} from '@paravane/toolstack';
import { type CliContext, say } from './context.js';
import { statusOfOutcome } from './exit-status.js';
import type { MachineFlags } from './machine-flags.js';

export interface Guest {
  readonly config: DomainConfig;
  readonly kernel: Uint8Array;
  readonly ramdisk?: Uint8Array;
  readonly disks?: readonly BootDisk[];
  readonly vifs?: readonly BootVif[];
}

/** The guest's wall clock at the start of a run in virtual time: 2025-01-01. */
const virtualEpoch = Date.UTC(2025, 0, 1);

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export async function boot(context: CliContext, guest: Guest, flags: MachineFlags): Promise<number> {
  const { config, kernel, ramdisk, disks, vifs } = guest;
  const { stdin, process: host } = context;
  const trace = flags.trace === undefined ? undefined : openTraceFile(flags.trace);
  const machine = await context.parts.createMachine();
  const virtual = flags.clock === 'virtual';
  // In virtual time the moment at which input arrives must not depend on the host: all of it is there at the start.
  const typedAhead = virtual && stdin.isTTY !== true ? await readToEnd(stdin) : undefined;
  const loudest = logLevels.indexOf(flags.log);
  const started = hostTime.now();

  const run = runDomain(
    machine,
    {
      config,
      kernel,
      ...(ramdisk === undefined ? {} : { ramdisk }),
      ...(disks === undefined ? {} : { disks }),
      ...(vifs === undefined ? {} : { vifs }),
      onOutput: (bytes) => void host.stdout.write(bytes),
      clock: flags.clock,
      engine: flags.engine,
      seed: flags.seed ?? (virtual ? 0n : randomBytes(8).readBigUInt64LE()),
      epoch: virtual ? virtualEpoch : Date.now(),
      now: hostTime.now,
      log(level, message) {
        if (logLevels.indexOf(level) <= loudest) say(context, `${level}: ${message}`);
      },
      ...(trace === undefined ? {} : { trace: trace.write }),
    },
    {
      time: hostTime,
      ...(flags.timeout === undefined ? {} : { timeout: flags.timeout }),
      onRestart: ({ kind }) => say(context, `"${config.name}" restarts after a ${kind}`),
    },
  );
  const control = openControl(context, config, run);
  try {
    const outcome = await withConsole(context, run, flags, typedAhead);
    report(context, config, flags, outcome);
    if (flags.stats) printStats(context, run.stats(), hostTime.now() - started);
    return statusOfOutcome(outcome);
  } finally {
    await (await control)?.close();
    trace?.close();
  }
}

/** The socket for `paravane list` and its like; a guest runs without it where it can't be made. */
async function openControl(
  context: CliContext,
  { name, memory, vcpus }: DomainConfig,
  run: DomainRun,
): Promise<ControlSocket | undefined> {
  try {
    return await openControlSocket(controlFolder(context.process.env), { name, memory, vcpus, run });
  } catch (error) {
    say(context, `no other command will reach "${name}": ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Connects the terminal and the signals for as long as the domain runs. */
async function withConsole(
  context: CliContext,
  run: DomainRun,
  flags: MachineFlags,
  typedAhead: Uint8Array | undefined,
): Promise<RunOutcome> {
  const { stdin, process: host } = context;
  const interrupt = (): void => run.interrupt();
  for (const signal of signals) process.on(signal, interrupt);
  // Whoever read our output has gone: there is nobody left to run for.
  host.stdout.on('error', interrupt);
  if (typedAhead !== undefined) run.input(typedAhead);
  const terminal =
    typedAhead === undefined
      ? openConsole({ input: stdin, output: host.stdout }, flags.escape.byte, {
          onInput: (bytes) => run.input(bytes),
          onEscape: interrupt,
        })
      : undefined;
  try {
    return await run.outcome;
  } finally {
    terminal?.close();
    for (const signal of signals) process.removeListener(signal, interrupt);
  }
}

function report(context: CliContext, config: DomainConfig, flags: MachineFlags, outcome: RunOutcome): void {
  const { stderr, stdout } = context.process;
  if (outcome.kind !== 'shutdown' && stdout.isTTY) stdout.write('\n');
  if (outcome.kind === 'crash') {
    for (const line of formatCrashReport(config.name, outcome.report, outcome.consoleTail)) stderr.write(`${line}\n`);
  } else if (outcome.kind === 'timeout') {
    say(context, `"${config.name}" was ended: --timeout ${(flags.timeout ?? 0) / 1000} has passed`);
  } else if (outcome.kind === 'interrupted') {
    say(context, `"${config.name}" was ended: ${outcome.destroyed ? 'destroyed' : 'interrupted'}`);
  }
}

function printStats(context: CliContext, stats: DomainStats | undefined, hostMilliseconds: number): void {
  const { user, system } = process.cpuUsage();
  const rows: [string, string][] = [];
  if (stats !== undefined) {
    rows.push(['guest instructions', String(stats.instructions)]);
    rows.push(['guest seconds', (stats.guestMilliseconds / 1000).toFixed(3)]);
    rows.push(['million instructions a second', (Number(stats.instructions) / hostMilliseconds / 1000).toFixed(1)]);
  }
  rows.push(['host seconds', (hostMilliseconds / 1000).toFixed(3)]);
  rows.push(['processor seconds', ((user + system) / 1e6).toFixed(3)]);
  rows.push(['peak host memory, MiB', (process.resourceUsage().maxRSS / 1024).toFixed(0)]);
  for (const [name, value] of Object.entries(stats?.counters ?? {})) rows.push([name, String(value)]);
  if (stats?.stateHash !== undefined) rows.push(['state hash', stats.stateHash]);
  for (const [name, value] of rows) context.process.stderr.write(`${name}: ${value}\n`);
}
