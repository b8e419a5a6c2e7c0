/** Runs a workload: one checked pass over fresh data, a warm-up, then passes until the time is over. */
import { type BenchmarkMachine, createBenchmarkMachine } from './machine.js';
import { hashOf, type Workload } from './workload.js';

export interface Measurement {
  name: string;
  about: string;
  group: Workload['group'];
  /** What the first pass, on a core that has seen no code, took. */
  first: { instructions: number; seconds: number };
  instructions: number;
  /** Processor time of the whole process, all threads. */
  seconds: number;
  passes: number;
  mips: number;
  /** What was wrong after the first pass. */
  wrong: string[];
  stats: Record<string, number>;
}

export interface MeasureOptions {
  /** Processor seconds to measure, after half as many (at most one) of warm-up. */
  seconds: number;
}

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export function check(workload: Workload, machine: BenchmarkMachine): string[] {
  const wrong: string[] = [];
  for (const [register, value] of Object.entries(workload.expected)) {
    const found = machine.vcpu.regs[Number(register)]!;
    if (found !== value) wrong.push(`register ${register} is ${found.toString(16)}, not ${value!.toString(16)}`);
  }
  if (workload.expectedData !== undefined) {
    const found = hashOf(machine.data().subarray(0, workload.dataBytes));
    if (found !== workload.expectedData)
      wrong.push(`memory has the hash ${found.toString(16)}, not ${workload.expectedData.toString(16)}`);
  }
  return wrong;
}

export function measure(workload: Workload, options: MeasureOptions): Measurement {
  const machine = createBenchmarkMachine(workload);
  const { vcpu } = machine;
  const timed = (run: () => void): { instructions: number; seconds: number } => {
    const [count, start] = [vcpu.count, processorSeconds()];
    run();
    return { instructions: vcpu.count - count, seconds: processorSeconds() - start };
  };
  const passesFor = (seconds: number): number => {
    let passes = 0;
    for (const start = processorSeconds(); processorSeconds() - start < seconds; passes++) {
      machine.enter();
      machine.finish();
    }
    return passes;
  };
  machine.reset();
  const first = timed(() => machine.finish());
  const wrong = check(workload, machine);
  passesFor(Math.min(1, options.seconds / 2));
  let passes = 0;
  const { instructions, seconds } = timed(() => {
    passes = passesFor(options.seconds);
  });
  const { name, about, group } = workload;
  return {
    name,
    about,
    group,
    first,
    instructions,
    seconds,
    passes,
    mips: instructions / seconds / 1e6,
    wrong,
    stats: machine.stats(),
  };
}
