import { describe, expect, it } from 'vitest';
import { generateProgram } from './generated-program.js';
import { createLoops } from './loops.js';
import { createBenchmarkMachine } from './machine.js';
import { check } from './measure.js';
import { PROGRAM_RESULT } from './program-result.js';
import { hashOf } from './workload.js';

describe('the generated program', () => {
  it('is the same for the same seed, and of the size that is promised', () => {
    const [one, same, other] = [generateProgram(), generateProgram(), generateProgram({ seed: 2 })];
    expect(hashOf(one.code)).toBe(hashOf(same.code));
    expect(hashOf(one.code)).not.toBe(hashOf(other.code));
    expect(one.functions).toBe(1200);
    expect(one.instructions).toBeGreaterThan(48_000);
    expect(one.instructions).toBeLessThan(58_000);
  });
});

/** Each makes a machine of its own, so the compiler gets those that differ most in their control flow. */
const compiled = ['program', 'fibonacci', 'sieve', 'bytecode', 'range-scan', 'limb-multiply'];
const workloads = [generateProgram(PROGRAM_RESULT), ...createLoops()];

describe.each([
  { core: 'interpreter' as const, chosen: workloads },
  { core: 'compiler' as const, chosen: workloads.filter(({ name }) => compiled.includes(name)) },
])('the $core leaves what a processor leaves', ({ core, chosen }) => {
  for (const workload of chosen) {
    it(`after ${workload.name}`, () => {
      const machine = createBenchmarkMachine(workload, core);
      machine.reset();
      machine.finish();
      expect(check(workload, machine)).toEqual([]);
    });
  }
});
