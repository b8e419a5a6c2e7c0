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

describe.each(['interpreter', 'compiler'] as const)('the %s leaves what a processor leaves', (core) => {
  for (const workload of [generateProgram(PROGRAM_RESULT), ...createLoops()]) {
    it(`after ${workload.name}`, () => {
      const machine = createBenchmarkMachine(workload, core);
      machine.reset();
      machine.finish();
      expect(check(workload, machine)).toEqual([]);
    });
  }
});
