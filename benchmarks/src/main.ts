/** `pnpm bench:core`: the core alone, with the settings of V8 that guests run with. */
import { prepareV8 } from '@paravane/host-node';
import { above, readArguments } from './arguments.js';
import { generateProgram } from './generated-program.js';
import { createLoops } from './loops.js';
import type { Core } from './machine.js';
import { hostReference, type Measurement, measure } from './measure.js';
import { PROGRAM_RESULT } from './program-result.js';

const cores: Record<string, Core[]> = {
  interpreter: ['interpreter'],
  compiler: ['compiler'],
  both: ['interpreter', 'compiler'],
};
const { given, fail } = readArguments(
  `bench:core [--json] [--seconds S] [--core interpreter|compiler|both] [WORD…]
Runs the workloads whose names contain one of the words, or all: processor seconds to measure each (2), on which core.`,
  {
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      seconds: { type: 'string', default: '2' },
      core: { type: 'string', default: 'both' },
    },
  },
);
const { values, positionals } = given;
const seconds = above('seconds', values.seconds, { fail });
const chosen = cores[values.core] ?? fail('--core takes interpreter, compiler or both');
const workloads = [generateProgram(PROGRAM_RESULT), ...createLoops()].filter(
  ({ name }) => positionals.length === 0 || positionals.some((word) => name.includes(word)),
);
if (workloads.length === 0) fail(`no workload has ${positionals.join(' or ')} in its name`);
prepareV8();
const before = hostReference();
const measurements: Measurement[] = [];
for (const workload of workloads) {
  if (!values.json) process.stderr.write(`${workload.name}: ${workload.about}\n`);
  for (const core of chosen) measurements.push(measure(workload, { core, seconds }));
}
const host = { before, after: hostReference() };
if (values.json) console.log(JSON.stringify({ host, measurements }, null, 2));
else printTable(measurements);
process.exitCode = measurements.some(({ wrong }) => wrong.length > 0) ? 1 : 0;

function printTable(rows: Measurement[]): void {
  const base = rows[0]?.mips ?? 1;
  const header = [
    'workload',
    'core',
    'instructions',
    'CPU s',
    'MIPS',
    `ratio to ${rows[0]?.name}`,
    'first pass MIPS',
    'result',
  ];
  const lines = rows.map((row) => [
    row.name,
    row.core,
    row.instructions.toLocaleString('en'),
    row.seconds.toFixed(2),
    row.mips.toFixed(1),
    (row.mips / base).toFixed(2),
    (row.first.instructions / row.first.seconds / 1e6).toFixed(1),
    row.wrong.length === 0 ? 'right' : 'WRONG',
  ]);
  const widths = header.map((text, i) => Math.max(text.length, ...lines.map((line) => line[i]!.length)));
  const show = (cells: string[]): string =>
    cells.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  console.log(`\n${show(header)}\n${widths.map((n) => '-'.repeat(n)).join('  ')}`);
  for (const line of lines) console.log(show(line));
  console.log('');
  for (const core of chosen) {
    const loops = rows.filter((row) => row.group === 'loops' && row.core === core);
    if (loops.length < 2) continue;
    const mean = Math.exp(loops.reduce((sum, { mips }) => sum + Math.log(mips), 0) / loops.length);
    console.log(`geometric mean of the ${loops.length} loops, ${core}: ${mean.toFixed(1)} MIPS`);
  }
  const turns = `${host.before.toFixed(0)} million turns a processor-second before, ${host.after.toFixed(0)} after`;
  console.log(`host's reference loop: ${turns}`);
  for (const { name, core, wrong } of rows) for (const text of wrong) console.log(`${name}, ${core}: ${text}`);
}
