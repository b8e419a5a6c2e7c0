/** Loops in our own small kernel: what the paths cost that only a PV guest has, and some that every kernel has. */
import { setTimeout as sleep } from 'node:timers/promises';
import { paravane } from '../command-line.js';
import { startGuestProcess } from './guest-process.js';
import type { Engine } from './machines.js';

/** By the word that the kernel's `bench` takes, and how many turns take a second or less. */
const loops = {
  integer: 100,
  branches: 100,
  movsq: 2000,
  copy: 1000,
  hypercalls: 100,
  faults: 100,
  events: 100,
  mappings: 100,
} as const;

export interface KernelLoop {
  readonly round: number;
  readonly loop: string;
  readonly engine: Engine;
  /** What is counted, as the kernel says it. */
  readonly unit: string;
  /** Processor time of one. */
  readonly nanoseconds: number;
}

const DEADLINE = 120;
const SETTLE = 20;

export async function runKernelLoops(
  engines: readonly Engine[],
  rounds: number,
  say: (line: string) => void,
): Promise<KernelLoop[]> {
  const results: KernelLoop[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const engine of engines.filter((each) => each === 'jit' || each === 'interpreter')) {
      const guest = startGuestProcess([...paravane(), 'start', '--engine', engine], `our kernel, ${engine}`);
      try {
        await guest.until(/paravane> /, DEADLINE);
        for (const [loop, turns] of Object.entries(loops)) {
          // Once before, for what it makes only once.
          const measured = async (times: number): Promise<{ seconds: number; count: number; unit: string }> => {
            await sleep(SETTLE);
            const before = guest.use().seconds;
            guest.type(`bench ${loop} ${times}\r`);
            const [, count, unit] = await guest.until(/\nbench: (\d+) (.+)\n/, DEADLINE);
            await sleep(SETTLE);
            return { seconds: guest.use().seconds - before, count: Number(count), unit: unit! };
          };
          await measured(1);
          const { seconds, count, unit } = await measured(turns);
          results.push({ round, loop, engine, unit, nanoseconds: (seconds / count) * 1e9 });
        }
        say(`round ${round}: the loops of our kernel, ${engine}`);
      } finally {
        await guest.kill();
      }
    }
  }
  return results;
}
