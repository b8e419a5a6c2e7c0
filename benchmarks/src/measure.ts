/** Runs a workload: one checked pass over fresh data, a warm-up, then passes until the time is over. */
import { type BenchmarkMachine, type Core, createBenchmarkMachine } from './machine.js';
import { hashOf, type Workload } from './workload.js';

export interface Measurement {
  name: string;
  about: string;
  group: Workload['group'];
  core: Core;
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
  core: Core;
  /** Processor seconds to measure, after half as many (at most one) of warm-up. */
  seconds: number;
}

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/**
 * Turns a processor-second, in millions, of a loop in JavaScript that misses caches and branch predictions as an
 * interpreter does: how fast this host is just now. Figures of two runs compare only where it is about the same.
 */
export function hostReference(): number {
  const turns = 30_000_000;
  const table = new Int32Array(0x40000);
  let [x, sum] = [1, 0];
  const start = processorSeconds();
  for (let i = 0; i < turns; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    const at = x & 0x3ffff;
    if (((table[at]! + x) & 3) === 0) table[at]! += i;
    else sum = (sum + table[at]!) | 0;
  }
  table[0] = sum;
  return turns / (processorSeconds() - start) / 1e6;
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
  const machine = createBenchmarkMachine(workload, options.core);
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
    core: options.core,
    first,
    instructions,
    seconds,
    passes,
    mips: instructions / seconds / 1e6,
    wrong,
    stats: machine.stats(),
  };
}
