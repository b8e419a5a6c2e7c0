/**
 * Measures: in each round all machines are booted anew, then each workload runs on one after the other, with the others
 * stopped. A workload says when it is ready and waits, so both looks at the clocks fall into moments when nothing runs.
 * Machines that rehearse have a round before, which does not count.
 */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GuestProcess, startGuestProcess } from './guest-process.js';
import type { Engine, GuestMachine } from './machines.js';
import type { Bits, Programs } from './programs.js';
import type { GuestWorkload } from './workloads.js';

export interface Sample {
  readonly round: number;
  readonly engine: Engine | 'native';
  readonly bits: Bits;
  readonly workload: string;
  /** Processor time of one repetition. */
  readonly seconds: number;
}

export interface Boot {
  readonly round: number;
  readonly machine: string;
  /** Processor time until the first process of the guest ran. */
  readonly seconds: number;
  /** Most memory of the host that was resident, at the end of the round. */
  peakMiB: number;
}

export interface Results {
  readonly samples: Sample[];
  readonly boots: Boot[];
  readonly failures: string[];
  /** What a machine did not do at first, and did after it was booted anew. */
  readonly restarts: string[];
}

export interface RunOptions {
  readonly programs: Programs;
  readonly machines: readonly GuestMachine[];
  readonly workloads: readonly GuestWorkload[];
  readonly bits: readonly Bits[];
  readonly rounds: number;
  /** Processor seconds after which a machine gets no further repetitions of a workload. */
  readonly budget: number;
  readonly say: (line: string) => void;
}

const BOOT_DEADLINE = 180;
const READY_DEADLINE = 60;
const RUN_DEADLINE = 120;
const ATTEMPTS = 2;
/** Compilers that work in the background have this long to come to an end, in milliseconds. */
const SETTLE = 20;
const NATIVE_FACTOR = 4;
/** Share of the repetitions that is run first, to see how many more there is time for. They count as the others do. */
const FIRST = 1 / 20;

interface Running {
  readonly machine: GuestMachine;
  process: GuestProcess | undefined;
  boot: Boot | undefined;
}

export async function runGuests(options: RunOptions): Promise<Results> {
  const results: Results = { samples: [], boots: [], failures: [], restarts: [] };
  const sums = new Map<string, string>();
  await runRound(
    0,
    options.machines.filter(({ rehearses }) => rehearses === true),
  );
  for (const kept of [results.samples, results.boots]) kept.length = 0;
  for (let round = 1; round <= options.rounds; round++) await runRound(round, options.machines);
  return results;

  async function runRound(round: number, machines: readonly GuestMachine[]): Promise<void> {
    if (machines.length === 0) return;
    const running: Running[] = machines.map((machine) => ({ machine, process: undefined, boot: undefined }));
    try {
      for (const each of running) await boot(each, round);
      for (const workload of options.workloads) {
        for (const bits of options.bits) await runEverywhere(running, workload, bits, round);
      }
    } finally {
      for (const each of running) await end(each);
    }
  }

  function fail(line: string): void {
    results.failures.push(line);
    options.say(line);
  }

  async function boot(each: Running, round: number): Promise<void> {
    each.process = startGuestProcess(each.machine.command, each.machine.name);
    try {
      await each.process.until(/@init\n/, BOOT_DEADLINE);
    } catch (error) {
      fail((error as Error).message);
      await each.process.kill();
      each.process = undefined;
      return;
    }
    await sleep(SETTLE);
    const { seconds, peakMiB } = each.process.use();
    each.boot = { round, machine: each.machine.name, seconds, peakMiB };
    results.boots.push(each.boot);
    options.say(`round ${round}: ${each.machine.name} has booted, ${seconds.toFixed(2)} s`);
    each.process.stop();
  }

  async function end({ process, boot: booted }: Running): Promise<void> {
    if (process === undefined) return;
    if (booted !== undefined) booted.peakMiB = process.use().peakMiB;
    await process.end();
  }

  async function runEverywhere(running: Running[], workload: GuestWorkload, bits: Bits, round: number): Promise<void> {
    const told: string[] = [];
    const keep = (engine: Sample['engine'], seconds: number, sum: string): void => {
      const known = sums.get(workload.name) ?? sum;
      sums.set(workload.name, known);
      if (known !== sum) {
        fail(`${workload.name}, ${bits} bits, ${engine}: the checksum is ${sum}, not ${known}`);
        return;
      }
      results.samples.push({ round, engine, bits, workload: workload.name, seconds });
      told.push(`${engine} ${(seconds * 1e6).toFixed(0)}`);
    };
    native();
    for (const each of running) {
      if (!each.machine.bits.includes(bits)) continue;
      for (let attempt = 1; each.process !== undefined && attempt <= ATTEMPTS; attempt++) {
        const { process, machine } = each;
        try {
          process.resume();
          const { seconds, sum } = await runIn(process, workload, bits, options.budget);
          process.stop();
          keep(machine.engine, seconds, sum);
          break;
        } catch (error) {
          const line = `${workload.name}, ${bits} bits: ${(error as Error).message}`;
          if (attempt === ATTEMPTS) fail(line);
          else {
            results.restarts.push(line);
            options.say(line);
          }
          await end(each);
          await boot(each, round);
        }
      }
    }
    native();
    options.say(`round ${round}: ${workload.name}, ${bits} bits, µs: ${told.join(', ')}`);

    function native(): void {
      const { seconds, sum } = runHere(options.programs.work[bits], workload);
      keep('native', seconds, sum);
    }
  }
}

/** On the processor itself; the program tells its own use of it. Repeated more often, for it is over soon. */
function runHere(program: string, { name, count }: GuestWorkload): { seconds: number; sum: string } {
  const times = [name, String(count * NATIVE_FACTOR)];
  const { stdout, error } = spawnSync(program, times, { input: '\n\n', encoding: 'utf8' });
  const done = /@done ([0-9a-f]{8}) (\d+)\n/.exec(stdout ?? '');
  if (done === null) throw new Error(`${program} ${times.join(' ')}: ${error?.message ?? stdout}`);
  return { seconds: Number(done[2]) / 1e6 / count / NATIVE_FACTOR, sum: done[1]! };
}

/** As many repetitions as asked for, or as there is time for: what is compiled at first weighs on all of them. */
async function runIn(
  process: GuestProcess,
  { name, count }: GuestWorkload,
  bits: Bits,
  budget: number,
): Promise<{ seconds: number; sum: string }> {
  let next = Math.max(1, Math.round(count * FIRST));
  let seconds = 0;
  let sum = '';
  for (let made = 0; ; ) {
    const run = await runOnce(process, `/bin/work${bits} ${name} ${next}`);
    if (sum !== '' && run.sum !== sum) throw new Error(`the checksum is ${run.sum}, and was ${sum} before`);
    made += next;
    seconds += run.seconds;
    sum = run.sum;
    next = Math.min(count - made, Math.floor((made / seconds) * (budget - seconds)));
    if (next < 1) return { seconds: seconds / made, sum };
  }
}

async function runOnce(process: GuestProcess, command: string): Promise<{ seconds: number; sum: string }> {
  process.type(`${command}\n`);
  const [ready] = await process.until(/@(ready|exit \d+|failed .*)\n/, READY_DEADLINE);
  if (ready !== '@ready\n') throw new Error(`it said ${ready}`);
  await sleep(SETTLE);
  const before = process.use().seconds;
  process.type('\n');
  const done = await process.until(/@(done ([0-9a-f]{8})|exit \d+|failed .*)[^\n]*\n/, RUN_DEADLINE);
  if (done[2] === undefined) throw new Error(`it said ${done[0]}`);
  await sleep(SETTLE);
  const seconds = process.use().seconds - before;
  process.type('\n');
  await process.until(/@exit 0\n/, READY_DEADLINE);
  return { seconds, sum: done[2] };
}
