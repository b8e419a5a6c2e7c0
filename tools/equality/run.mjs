// Random programs on two engines: `node tools/equality/run.mjs [--programs N] [--from SEED] [--only SEED] [--fresh]
// [--warm]`.
//
// At every stop, the budget's and others', registers, flags, RIP, x87 and SSE state, the count and the reason must be
// equal; after each program, memory and code. Programs come in batches that share a machine, so that many are compiled
// together; each is run once to make it hot and again, from other registers, by budgets that end anywhere. What is
// done is kept in .cache/equality.json, and the next run goes on from there. A failure is printed with its seed, which
// `--only` runs again; its program is put beside that file. Exit status 1 where there is one. With `--warm` each batch
// is run once more, by an engine that is given the code which the first compiled.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions } from '../options.mjs';
import { link } from './link.mjs';
import { CODE, createEqualityMachine, DATA_BYTES } from './machine.mjs';
import { writeProgram } from './program.mjs';
import { choices } from './random.mjs';

const BATCH = 32;
/** Each program has two pages, and begins anywhere in the first. */
const ROOM = 8192;
/** Instructions of the first run of each program, and of one that is slow. */
const WARM_UP = 500_000;
const SHORT_WARM_UP = 60_000;
/** Batches that share a pair of machines. */
const GENERATION = 16;
/** Stops that are not the budget's, in one run of a program. */
const MOST_STOPS = 24;

const { values } = readOptions({
  options: {
    programs: { type: 'string', default: '100000' },
    from: { type: 'string' },
    only: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    warm: { type: 'boolean', default: false },
  },
});
const cache = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), '.cache');
const stateFile = join(cache, 'equality.json');
const state =
  values.fresh || values.from !== undefined || values.only !== undefined || !existsSync(stateFile)
    ? {
        next: Number(values.from ?? values.only ?? 0),
        programs: 0,
        stops: 0,
        instructions: 0,
        compiled: 0,
        failures: [],
      }
    : JSON.parse(readFileSync(stateFile, 'utf8'));
mkdirSync(cache, { recursive: true });

const first = Math.floor(state.next / BATCH);
const batches = values.only === undefined ? Math.ceil(Number(values.programs) / BATCH) : 1;
const started = process.cpuUsage();
let machines;
for (let batch = first; batch < first + batches; batch++) {
  if (machines === undefined || batch % GENERATION === 0) {
    machines = [makeMachine({ jit: true, ...(values.warm ? { code: null } : {}) }), makeMachine({ jit: false })];
  }
  const before = machines[0].engine.stats().compiledRegions;
  runBatch(batch);
  const { engine } = machines[0];
  state.compiled += engine.stats().compiledRegions - before;
  if (values.warm) {
    const cold = machines;
    machines = [makeMachine({ jit: true, code: engine.compiledCode() }), makeMachine({ jit: false })];
    runBatch(batch);
    state.warm = (state.warm ?? 0) + machines[0].engine.stats().warmRegions;
    machines = cold;
  }
  state.next = (batch + 1) * BATCH;
  if (values.only === undefined) {
    writeFileSync(stateFile, `${JSON.stringify(state)}\n`);
    if (batch % 32 === 31) console.error(summary());
  }
}
console.log(summary());
process.exitCode = state.failures.length > 0 ? 1 : 0;

function summary() {
  const { user, system } = process.cpuUsage(started);
  return [
    `${state.programs} programs up to seed ${state.next - 1}, ${state.stops} stops compared`,
    `${(state.instructions / 1e9).toFixed(2)} billion instructions, ${state.compiled} regions compiled${values.warm ? `, ${state.warm} put back` : ''}`,
    `${state.failures.length} failures${state.failures.length > 0 ? ` (${state.failures.join(' ')})` : ''}`,
    `${((user + system) / 1e6).toFixed(0)} processor seconds`,
  ].join('; ');
}

function makeMachine(options) {
  return createEqualityMachine({ ...options, compileAfter: 0 }, (BATCH * ROOM) / 4096);
}

function runBatch(batch) {
  const programs = Array.from({ length: BATCH }, (_, i) => makeProgram(batch * BATCH + i, i));
  for (const program of programs) for (const machine of machines) machine.load(program.offset, program.bytes);
  for (const program of programs) compare(program, [program.slow ? SHORT_WARM_UP : WARM_UP]);
  for (const program of programs) {
    if (program.failed) continue;
    // What a program did to itself is undone.
    for (const machine of machines) machine.load(program.offset, program.bytes);
    compare(program, program.budgets);
    state.programs++;
  }
}

function makeProgram(seed, place) {
  const random = choices(seed);
  const mode = random.rarely(3) ? 32 : 64;
  const { text, slow } = writeProgram(random, mode);
  // Page ends are worth more than chance gives them.
  const wish = place * ROOM + (random.rarely(3) ? random.below(4000) & ~15 : random.rarely(2) ? 4000 & ~15 : 0);
  const assembled = (offset) => ({ offset, bytes: link(text, CODE + offset, mode) });
  const wished = assembled(wish);
  const placed = wished.bytes.length <= (place + 1) * ROOM - wish ? wished : assembled(place * ROOM);
  const budget = () => random.one([random.between(1, 40), random.between(1, 3000), random.between(1, 20_000)]);
  return {
    seed,
    mode,
    text,
    slow,
    ...placed,
    random,
    failed: false,
    budgets: Array.from({ length: random.between(4, 10) }, budget),
  };
}

/** Runs a program on both machines, from fresh registers and data, and compares. */
function compare(program, budgets) {
  const { mode, offset, random } = program;
  const registers = BigUint64Array.from({ length: 16 }, () => {
    const value = random.one([random.wide(), BigInt(random.below(1000)), BigInt(random.next())]);
    return mode === 64 ? value : value & 0xffffffffn;
  });
  const data = new Uint8Array(DATA_BYTES);
  const words = new Uint32Array(data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = random.rarely(2) ? random.next() : random.below(100);
  for (const machine of machines) machine.enter({ mode, offset, registers, data });
  const start = machines[0].vcpu.count;
  let stops = 0;
  for (const budget of budgets) {
    for (let left = budget; left > 0; ) {
      const [a, b] = machines.map(({ vcpu }) => {
        const from = vcpu.count;
        const { reason, vector, errorCode, address } = vcpu.run(left);
        return { reason, vector, errorCode, address, ran: vcpu.count - from, ...stateOf(vcpu) };
      });
      state.stops++;
      const differs = difference(a, b);
      if (differs !== undefined) return fail(program, differs);
      left -= a.ran;
      if (a.reason === 'budget') break;
      if (++stops > MOST_STOPS) break;
      // A fault goes back to the start, with the registers that it had; after the others the program goes on.
      if (a.reason === 'exception' || a.reason === 'privileged') {
        for (const { vcpu } of machines) vcpu.rip = BigInt(CODE + offset);
      }
    }
  }
  state.instructions += machines[0].vcpu.count - start;
  const [a, b] = machines.map((machine) => machine.memory(offset, program.bytes.length));
  if (!a.equals(b)) fail(program, `memory differs at byte ${a.findIndex((byte, i) => byte !== b[i])}`);
}

function stateOf(vcpu) {
  return {
    regs: [...vcpu.regs].map((value) => value.toString(16)).join(' '),
    rip: vcpu.rip,
    rflags: vcpu.rflags,
    count: vcpu.count,
    fx: Buffer.from(vcpu.readFxState()).toString('hex'),
  };
}

function difference(a, b) {
  const names = Object.keys(a).filter((name) => a[name] !== b[name]);
  return names.length === 0 ? undefined : names.map((name) => `${name}: ${a[name]}, interpreter ${b[name]}`).join('\n');
}

function fail(program, how) {
  program.failed = true;
  const { seed, mode, offset, text } = program;
  state.failures.push(seed);
  const file = join(cache, `equality-${seed}.asm`);
  writeFileSync(file, `; ${mode} bits, at 0x${(CODE + offset).toString(16)}\n${text}\n`);
  console.error(`seed ${seed} (${mode} bits):\n${how}\n  ${file}; again: node tools/equality/run.mjs --only ${seed}`);
}
