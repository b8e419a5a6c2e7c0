// Holds a trace of ours against what a guest was seen to ask of real Xen:
//   node tools/golden/compare.mjs --guest NAME TRACE     differences; status 1 for any that allowed/NAME.json lacks
//   node tools/golden/compare.mjs --list TRACE           the profile of a trace
//   node tools/golden/compare.mjs --record NAME TRACE    makes the golden profile profiles/NAME.json of a trace
// TRACE is a file that `paravane run … --trace FILE` wrote, or one in that format, also compressed (.gz).
import { createReadStream, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createGunzip } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, '..', '..', 'packages', 'trace', 'dist', 'index.js');

function stop(message) {
  console.error(message);
  process.exit(2);
}

if (!existsSync(built)) stop('The packages are not built yet: run `node tools/build.mjs` first.');
const { createProfiler, judge } = await import(built);

const profileFile = (guest) => join(here, 'profiles', `${guest}.json`);
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));
const guests = () => readdirSync(join(here, 'profiles')).map((file) => file.replace(/\.json$/, ''));

async function profileOfFile(file) {
  if (!existsSync(file)) stop(`There is no trace ${file}.`);
  const bytes = createReadStream(file);
  const profiler = createProfiler();
  const text = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
  for await (const line of createInterface({ input: text, crlfDelay: Number.POSITIVE_INFINITY })) profiler.line(line);
  return profiler.profile();
}

async function list(file) {
  for (const { key, count, results, values } of await profileOfFile(file)) {
    const ends = Object.entries(results ?? {}).map(([name, times]) => `${name} ${times}`);
    console.log(
      [String(count).padStart(8), key.padEnd(48), ends.join(', '), values?.join(' ') ?? ''].join(' ').trimEnd(),
    );
  }
}

async function record(guest, file) {
  const lines = (await profileOfFile(file)).map((entry) => `  ${JSON.stringify(entry)}`);
  writeFileSync(profileFile(guest), `[\n${lines.join(',\n')}\n]\n`);
}

async function compare(guest, file) {
  if (!existsSync(profileFile(guest)))
    stop(`There is no golden profile of ${guest}; there are ${guests().join(', ')}.`);
  const { differences } = readJson(join(here, 'allowed', `${guest}.json`));
  const { faults, allowed, unused } = judge(readJson(profileFile(guest)), await profileOfFile(file), differences);
  for (const { difference, why } of allowed)
    console.log(`allowed  ${difference.kind.padEnd(7)} ${difference.text} (${why})`);
  for (const { kind, key } of unused) console.log(`unused   ${kind.padEnd(7)} ${key}: allowed, and not seen`);
  for (const { kind, text } of faults) console.log(`FAULT    ${kind.padEnd(7)} ${text}`);
  console.log(`${guest}: ${faults.length} differences that are not allowed, ${allowed.length} that are`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}

const usage = 'usage: compare.mjs --guest NAME TRACE | --list TRACE | --record NAME TRACE';
let given;
try {
  given = parseArgs({
    allowPositionals: true,
    options: { guest: { type: 'string' }, list: { type: 'boolean' }, record: { type: 'string' } },
  });
} catch (error) {
  stop(`${error.message}\n${usage}`);
}
const {
  values,
  positionals: [file],
} = given;
if (file === undefined) stop(usage);
try {
  if (values.record !== undefined) await record(values.record, file);
  else if (values.list) await list(file);
  else if (values.guest !== undefined) await compare(values.guest, file);
  else stop(usage);
} catch (error) {
  if (error?.code === undefined) throw error;
  stop(`${file}: ${error.message}`);
}
