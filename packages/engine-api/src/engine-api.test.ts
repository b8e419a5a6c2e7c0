import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Exit, Flag, Gpr, Seg, timeStamp, type VcpuCore, Vector } from './index.js';
import { serve } from './testing/readme-example.js';

/** A core that stops for the reasons given, one a run. */
function scripted(reasons: Exit['reason'][]): VcpuCore {
  const exit: Exit = { reason: 'budget', vector: 0, errorCode: -1, address: 0n, length: 0, dr6: 0, instruction: null };
  const core: Partial<VcpuCore> = {
    regs: new BigUint64Array(16),
    run: () => Object.assign(exit, { reason: reasons.shift() }),
  };
  return core as VcpuCore;
}

describe('the README', () => {
  it('runs', () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    const core = scripted(['budget', 'syscall', 'budget', 'exception']);
    core.regs[Gpr.rdi] = 30n;
    core.regs[Gpr.rsi] = 12n;
    expect(serve(core).reason).toBe('exception');
    expect(core.regs[Gpr.rax]).toBe(42n);
  });
});

describe('numbers', () => {
  it('are those of the manual', () => {
    expect(Object.keys(Gpr).slice(0, 8)).toEqual(['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi']);
    expect(Object.values(Gpr)).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(Object.keys(Seg)).toEqual(['es', 'cs', 'ss', 'ds', 'fs', 'gs']);
    expect([Vector.UD, Vector.DF, Vector.GP, Vector.PF, Vector.XM]).toEqual([6, 8, 13, 14, 19]);
  });
  it('of flags do not overlap', () => {
    const bits = Object.values(Flag);
    expect(bits.reduce((a: number, b) => a + b, 0)).toBe(bits.reduce((a: number, b) => a | b, 0));
  });
});

it('the time-stamp counter is the count by ratio and offset, rounded down', () => {
  expect(timeStamp({ count: 1_000_001, tscRatio: 2.75, tscOffset: 2 ** 40 + 0.5 })).toBe(2n ** 40n + 2_750_003n);
  expect(timeStamp({ count: 0, tscRatio: 1, tscOffset: 7.99 })).toBe(7n);
});
