/** The figures of a run as Markdown. */
import { type Figure, figure, type Table } from './figures.js';
import type { KernelLoop } from './kernel-loops.js';
import type { Engine } from './machines.js';
import type { Boot } from './run.js';

export const engineNames: Readonly<Record<Engine, string>> = {
  jit: 'Paravane, compiled',
  again: 'Paravane, run again',
  interpreter: 'Paravane, interpreter',
  qemu: 'QEMU, TCG',
  v86: 'v86',
};

export interface Report {
  readonly tables: readonly Table[];
  readonly boots: readonly Boot[];
  readonly kernel: readonly KernelLoop[];
  readonly failures: readonly string[];
  readonly restarts: readonly string[];
  /** What was compared, and where: a line each. */
  readonly about: readonly string[];
}

export function markdown({ tables, boots, kernel, failures, restarts, about }: Report): string {
  const lines = ['# Programs in guests', '', ...about.map((line) => `- ${line}`)];
  for (const table of tables) lines.push('', `## ${table.bits} bits`, '', ...ratioTable(table));
  lines.push('', '## Boots', '', ...bootTable(boots));
  if (kernel.length > 0) lines.push('', '## Loops in our own kernel', '', ...kernelTable(kernel));
  if (failures.length > 0) lines.push('', '## What failed', '', ...failures.map((line) => `- ${firstLine(line)}`));
  const restarted = 'What a machine did only after it was booted anew';
  if (restarts.length > 0) lines.push('', `## ${restarted}`, '', ...restarts.map((line) => `- ${firstLine(line)}`));
  return `${lines.join('\n')}\n`;
}

function ratioTable({ engines, rows, means }: Table): string[] {
  const cell = (ratio: Figure | undefined): string =>
    ratio === undefined ? '' : `${short(ratio.median)} (${short(ratio.least)} – ${short(ratio.greatest)})`;
  return [
    `| Workload | native, µs | ${engines.map((engine) => engineNames[engine]).join(' | ')} |`,
    `|---|---|${engines.map(() => '---|').join('')}`,
    ...rows.map(
      ({ workload, native, ratios }) =>
        `| ${workload} | ${(native.median * 1e6).toFixed(0)} | ${engines.map((each) => cell(ratios[each])).join(' | ')} |`,
    ),
    `| **geometric mean** | | ${engines.map((each) => `**${cell(means[each])}**`).join(' | ')} |`,
  ];
}

function bootTable(boots: readonly Boot[]): string[] {
  const machines = [...new Set(boots.map(({ machine }) => machine))];
  return [
    '| Machine | CPU s to the first process | peak memory after all, MiB |',
    '|---|---|---|',
    ...machines.map((machine) => {
      const mine = boots.filter((boot) => boot.machine === machine);
      const seconds = figure(mine.map((boot) => boot.seconds));
      const peak = Math.max(...mine.map(({ peakMiB }) => peakMiB));
      const spread = `${seconds.median.toFixed(1)} (${seconds.least.toFixed(1)} – ${seconds.greatest.toFixed(1)})`;
      return `| ${machine} | ${spread} | ${peak.toFixed(0)} |`;
    }),
  ];
}

function kernelTable(kernel: readonly KernelLoop[]): string[] {
  const engines = [...new Set(kernel.map(({ engine }) => engine))];
  const loops = [...new Set(kernel.map(({ loop }) => loop))];
  const cell = (loop: string, engine: Engine): string => {
    const mine = kernel.filter((each) => each.loop === loop && each.engine === engine);
    const { median, least, greatest } = figure(mine.map(({ nanoseconds }) => nanoseconds));
    return `${short(median)} (${short(least)} – ${short(greatest)})`;
  };
  return [
    `| Loop | ${engines.map((engine) => `${engineNames[engine]}, ns`).join(' | ')} | for each of its |`,
    `|---|${engines.map(() => '---|').join('')}---|`,
    ...loops.map((loop) => {
      const unit = kernel.find((each) => each.loop === loop)!.unit;
      return `| ${loop} | ${engines.map((engine) => cell(loop, engine)).join(' | ')} | ${unit} |`;
    }),
  ];
}

const firstLine = (text: string): string => text.split('\n', 1)[0]!;
const short = (value: number): string => (value < 10 ? value.toFixed(1) : value.toFixed(0));
