/**
 * `pnpm bench`: programs in guests, here and in other emulators, as multiples of what they take natively. Writes bench.md
 * and bench.svg, and all samples to .cache/bench/bench.json. Linux on x86-64.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readArguments } from '../arguments.js';
import { hostReference } from '../measure.js';
import { engineOrder, tables } from './figures.js';
import { runKernelLoops } from './kernel-loops.js';
import { type Engine, findMachines, MEMORY_MIB } from './machines.js';
import { plot } from './plot.js';
import { type Bits, buildPrograms } from './programs.js';
import { markdown } from './report.js';
import { runGuests } from './run.js';
import { guestWorkloads } from './workloads.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const { given, fail } = readArguments(
  `pnpm bench [--quick] [--only WORD]… [--bits 64|32]… [--engines ${engineOrder.join(',')}] [--rounds N] [--scale X] [--out FOLDER]
workloads: ${guestWorkloads.map(({ name }) => name).join(' ')}`,
  {
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      bits: { type: 'string', multiple: true, default: ['64', '32'] },
      engines: { type: 'string', default: engineOrder.join(',') },
      rounds: { type: 'string' },
      scale: { type: 'string' },
      out: { type: 'string', default: join(root, '.cache/bench') },
    },
  },
);
const { values } = given;
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const scale = Number(values.scale ?? (values.quick ? 0.25 : 1));
let bits = values.bits.map(Number) as Bits[];
const engines = values.engines.split(',') as Engine[];
const workloads = guestWorkloads
  .filter(({ name }) => values.only.length === 0 || values.only.some((word) => name.includes(word)))
  .map((workload) => ({ ...workload, count: Math.max(1, Math.round(workload.count * scale)) }));
const right =
  rounds >= 1 &&
  scale > 0 &&
  bits.every((each) => each === 64 || each === 32) &&
  engines.every((engine) => engineOrder.includes(engine)) &&
  workloads.length > 0;
if (!right) fail('each option takes what the usage says, and numbers above zero');

const cache = join(root, '.cache/bench');
mkdirSync(cache, { recursive: true });
const say = (line: string): void => console.error(line);
const started = performance.now();
const programs = buildPrograms(fileURLToPath(new URL('../../guest', import.meta.url)), cache, say);
const left: string[] = [];
const leave = (line: string): void => {
  left.push(line);
  say(`left out: ${line}`);
};
// Some hypervisors run no 32-bit code; then there is nothing to be a multiple of.
if (bits.includes(32) && spawnSync(programs.work[32], ['integer', '1'], { input: '\n\n' }).status !== 0) {
  leave('32 bits: this host does not run i386 programs');
  bits = bits.filter((each) => each !== 32);
}
const found = await findMachines(programs, cache, leave);
const machines = found.filter(
  (machine) => engines.includes(machine.engine) && machine.bits.some((each) => bits.includes(each)),
);
const before = hostReference();
const budget = values.quick ? 0.5 : 3;
const results = await runGuests({ programs, machines, workloads, bits, rounds, budget, say });
const kernel = await runKernelLoops(engines, rounds, say);
const after = hostReference();
const figures = tables(results);
const minutes = ((performance.now() - started) / 60_000).toFixed(0);
const about = [
  `Processor time as multiples of native, compiler threads included: medians of ${rounds} round${rounds === 1 ? '' : 's'} (least – greatest); in each round all machines boot anew.`,
  `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} processors; Node ${process.versions.node}; ${versionOf('qemu-system-x86_64')}; v86 ${v86Version()}; ${MEMORY_MIB} MiB for each guest.`,
  `The run took ${minutes} minutes; the host's reference loop: ${before.toFixed(0)} million turns a processor-second before, ${after.toFixed(0)} after.`,
  `Repetitions: ${scale === 1 ? 'all' : `${scale} of all`}, as far as ${budget} processor seconds go for each workload on each machine.`,
  ...left.map((line) => `Left out: ${line}`),
];
const report = markdown({
  tables: figures,
  boots: results.boots,
  kernel,
  failures: results.failures,
  restarts: results.restarts,
  about,
});
const out = resolve(process.env.INIT_CWD ?? '.', values.out);
mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'bench.md'), report);
writeFileSync(join(out, 'bench.svg'), plot(figures));
writeFileSync(join(cache, 'bench.json'), `${JSON.stringify({ about, ...results, kernel }, null, 1)}\n`);
console.log(report);
say(`written: bench.md and bench.svg in ${out}, all samples in ${join(cache, 'bench.json')}`);
process.exitCode = results.failures.length > 0 ? 1 : 0;

function versionOf(command: string): string {
  const { stdout, status } = spawnSync(command, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n', 1)[0]!.replace(/ \(.*/, '') : `no ${command}`;
}

function v86Version(): string {
  const manifest = new URL('../package.json', import.meta.resolve('v86'));
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}
