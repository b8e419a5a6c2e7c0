/** `pnpm bench [--json] [--seconds S] [WORD…]`: runs the workloads whose names contain one of the words, or all. */
import { parseArgs } from 'node:util';
import { generateProgram } from './generated-program.js';
import { createLoops } from './loops.js';
import { type Measurement, measure } from './measure.js';
import { PROGRAM_RESULT } from './program-result.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean' }, seconds: { type: 'string', default: '2' } },
});
const seconds = Number(values.seconds);
if (!(seconds > 0)) {
  console.error(`--seconds ${values.seconds}: give a number above zero`);
  process.exit(2);
}
const workloads = [generateProgram(PROGRAM_RESULT), ...createLoops()].filter(
  ({ name }) => positionals.length === 0 || positionals.some((word) => name.includes(word)),
);
const measurements: Measurement[] = [];
for (const workload of workloads) {
  if (!values.json) process.stderr.write(`${workload.name}: ${workload.about}\n`);
  measurements.push(measure(workload, { seconds }));
}
if (values.json) console.log(JSON.stringify(measurements, null, 2));
else printTable(measurements);
process.exitCode = measurements.some(({ wrong }) => wrong.length > 0) ? 1 : 0;

function printTable(rows: Measurement[]): void {
  const base = rows[0]?.mips ?? 1;
  const header = [
    'workload',
    'instructions',
    'CPU s',
    'MIPS',
    `ratio to ${rows[0]?.name}`,
    'first pass MIPS',
    'result',
  ];
  const lines = rows.map((row) => [
    row.name,
    row.instructions.toLocaleString('en'),
    row.seconds.toFixed(2),
    row.mips.toFixed(1),
    (row.mips / base).toFixed(2),
    (row.first.instructions / row.first.seconds / 1e6).toFixed(1),
    row.wrong.length === 0 ? 'right' : 'WRONG',
  ]);
  const widths = header.map((text, i) => Math.max(text.length, ...lines.map((line) => line[i]!.length)));
  const show = (cells: string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  console.log(`\n${show(header)}\n${widths.map((n) => '-'.repeat(n)).join('  ')}`);
  for (const line of lines) console.log(show(line));
  const loops = rows.filter(({ group }) => group === 'loops');
  if (loops.length > 1) {
    const mean = Math.exp(loops.reduce((sum, { mips }) => sum + Math.log(mips), 0) / loops.length);
    console.log(`\ngeometric mean of the ${loops.length} loops: ${mean.toFixed(1)} MIPS`);
  }
  for (const { name, wrong } of rows) for (const text of wrong) console.log(`${name}: ${text}`);
}
