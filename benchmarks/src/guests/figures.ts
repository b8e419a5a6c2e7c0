/** From samples to ratios: medians over the rounds, how far they spread, and geometric means. */
import type { Engine } from './machines.js';
import type { Bits } from './programs.js';
import type { Results, Sample } from './run.js';

/** A median, with the least and the greatest of the rounds. */
export interface Figure {
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
}

export interface Row {
  readonly workload: string;
  /** Processor seconds of one repetition. */
  readonly native: Figure;
  /** Multiples of native. */
  readonly ratios: Readonly<Partial<Record<Engine, Figure>>>;
}

export interface Table {
  readonly bits: Bits;
  readonly engines: readonly Engine[];
  readonly rows: readonly Row[];
  /** Of the ratios of those workloads that all engines ran. */
  readonly means: Readonly<Partial<Record<Engine, Figure>>>;
}

export const engineOrder: readonly Engine[] = ['jit', 'again', 'interpreter', 'qemu', 'v86'];

export function figure(values: readonly number[]): Figure {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, least: sorted[0]!, greatest: sorted.at(-1)! };
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

export function tables({ samples }: Pick<Results, 'samples'>): Table[] {
  return ([64, 32] as const).flatMap((bits) => {
    const mine = samples.filter((sample) => sample.bits === bits);
    return mine.length === 0 ? [] : [tableOf(bits, mine)];
  });
}

function tableOf(bits: Bits, samples: readonly Sample[]): Table {
  const engines = engineOrder.filter((engine) => samples.some((sample) => sample.engine === engine));
  const rounds = [...new Set(samples.map(({ round }) => round))];
  const of = (workload: string, engine: Sample['engine'], round?: number): number[] =>
    samples
      .filter((s) => s.workload === workload && s.engine === engine && (round === undefined || s.round === round))
      .map(({ seconds }) => seconds);
  const names = [...new Set(samples.map(({ workload }) => workload))];
  const rows = names.map((workload): Row => {
    const native = figure(of(workload, 'native'));
    const ratios: Partial<Record<Engine, Figure>> = {};
    for (const engine of engines) {
      const seconds = of(workload, engine);
      if (seconds.length > 0) ratios[engine] = figure(seconds.map((each) => each / native.median));
    }
    return { workload, native, ratios };
  });
  const complete = rows.filter(({ ratios }) => engines.every((engine) => ratios[engine] !== undefined));
  const means: Partial<Record<Engine, Figure>> = {};
  for (const engine of complete.length === 0 ? [] : engines) {
    const inRounds = rounds.flatMap((round) => {
      const ratios = complete.map(({ workload, native }) => (of(workload, engine, round)[0] ?? 0) / native.median);
      return ratios.every((ratio) => ratio > 0) ? [geometricMean(ratios)] : [];
    });
    const median = geometricMean(complete.map(({ ratios }) => ratios[engine]!.median));
    means[engine] = { median, least: Math.min(median, ...inRounds), greatest: Math.max(median, ...inRounds) };
  }
  return { bits, engines, rows, means };
}
