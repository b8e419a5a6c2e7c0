import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { figure, geometricMean, tables } from './figures.js';
import { plot } from './plot.js';
import { markdown } from './report.js';
import type { Sample } from './run.js';
import { guestWorkloads } from './workloads.js';

const sample = (
  workload: string,
  engine: Sample['engine'],
  seconds: number,
  round = 1,
  bits: Sample['bits'] = 64,
): Sample => ({ workload, engine, seconds, round, bits });

describe('the figures of a run', () => {
  it('are medians, with the least and the greatest', () => {
    expect(figure([5, 1, 3])).toEqual({ median: 3, least: 1, greatest: 5 });
    expect(figure([4, 1, 2, 9])).toEqual({ median: 3, least: 1, greatest: 9 });
    expect(geometricMean([2, 8])).toBeCloseTo(4);
  });

  it('are multiples of native, and end in the geometric mean of what every engine ran', () => {
    const [table] = tables({
      samples: [
        ...[1, 2].flatMap((round) => [sample('a', 'native', 0.1, round), sample('b', 'native', 0.2, round)]),
        sample('a', 'jit', 0.2, 1),
        sample('a', 'jit', 0.4, 2),
        sample('b', 'jit', 2.4, 1),
        sample('b', 'jit', 2.4, 2),
        sample('c', 'native', 1),
        sample('c', 'jit', 100),
        ...[1, 2].flatMap((round) => [sample('a', 'qemu', 1, round), sample('b', 'qemu', 2, round)]),
      ],
    });
    expect(table!.engines).toEqual(['jit', 'qemu']);
    expect(table!.rows[0]!.ratios.jit!.median).toBeCloseTo(3);
    expect(table!.rows[2]!.ratios.qemu).toBeUndefined();
    expect(table!.means.jit!.median).toBeCloseTo(6);
    expect(table!.means.jit!.least).toBeCloseTo(Math.sqrt(2 * 12));
    expect(table!.means.qemu!.median).toBeCloseTo(10);
  });

  it('are shown as a table and as a picture', () => {
    const samples = [sample('a', 'native', 0.1), sample('a', 'jit', 0.25), sample('a', 'v86', 2, 1, 32)];
    const found = tables({ samples: [...samples, sample('a', 'native', 0.1, 1, 32)] });
    const boots = [{ round: 1, machine: 'Paravane', seconds: 5, peakMiB: 300 }];
    const kernel = [1, 2, 3].map((round) => {
      return { round, loop: 'faults', engine: 'jit' as const, unit: 'faults', nanoseconds: round * 100 };
    });
    const text = markdown({
      tables: found,
      boots,
      kernel,
      failures: ['b: no end\nmore'],
      restarts: ['c: late'],
      about: ['x'],
    });
    expect(text).toContain('| a | 100000 | 2.5 (2.5 – 2.5) |');
    expect(text).toContain('| **geometric mean** | | **20 (20 – 20)** |');
    expect(text).toContain('| faults | 200 (100 – 300) | faults |');
    expect(text).toContain('- b: no end\n');
    expect(text).toContain('booted anew\n\n- c: late\n');
    const picture = plot(found);
    expect(picture.match(/<circle/g)).toHaveLength(2 + 4);
    expect(picture).not.toMatch(/NaN|undefined/);
  });
});

it('every workload is one of the programs, and every program a workload', () => {
  const folder = new URL('../../guest/', import.meta.url);
  const sources = readdirSync(folder).filter((file) => file.endsWith('.c'));
  const text = sources.map((file) => readFileSync(new URL(file, folder), 'utf8')).join('');
  const names = [...text.matchAll(/const struct workload \w+ = \{"([^"]+)"/g)].map((match) => match[1]);
  expect(names.sort()).toEqual(guestWorkloads.map(({ name }) => name).sort());
});
