// A hostile guest beside a witness: `node tools/hostile/run.mjs [--events N] [--from SEED] [--only SEED] [--fresh]
// [--seeds FILE]`.
//
// An event is a hypercall with random arguments, a mutation of a page table, a descriptor or a shared structure in use,
// or a run of random instructions, in 64-bit and 32-bit guests by turns. Wrong is: an exception of the host; more
// than 100 ms of the host's time until others can run, or 10 million instructions, or no end, of an event; a frame count, a table
// entry or a translation that is not what the tables and the owners make it; anything that the witness notices; memory
// that a domain leaves behind. What is done is kept in .cache/hostile.json, and the next run goes on from there. A
// failure is printed with the seed of its run, which `--only` runs again. Exit status 1 where there is one.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FrameFlag, FrameType } from '../../packages/mmu/dist/index.js';
import { choices } from '../equality/random.mjs';
import { readOptions } from '../options.mjs';
import { audit } from './audit.mjs';
import { createActor } from './hostile.mjs';
import { createWorld } from './world.mjs';

/** Events of one run, and between two looks at the witness and at the books. */
const RUN_EVENTS = 4000;
const CHECK_EVERY = 500;
const MOST_MILLISECONDS = 100;
const MOST_INSTRUCTIONS = 10_000_000;
const SAY_EVERY = 25;

const { values } = readOptions({
  options: {
    events: { type: 'string', default: '1000000' },
    from: { type: 'string' },
    only: { type: 'string' },
    seeds: { type: 'string' },
    fresh: { type: 'boolean', default: false },
  },
});
const cache = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), '.cache');
const stateFile = join(cache, 'hostile.json');
const single = values.only !== undefined || values.seeds !== undefined;
const fresh = values.fresh || values.from !== undefined || single;
const state =
  fresh || !existsSync(stateFile)
    ? {
        next: Number(values.from ?? 0),
        events: 0,
        domains: 0,
        instructions: 0,
        slowest: 0,
        slowestEvent: '',
        failures: [],
      }
    : JSON.parse(readFileSync(stateFile, 'utf8'));
mkdirSync(cache, { recursive: true });

const started = process.cpuUsage();
let stopping = false;
process.on('SIGINT', () => {
  stopping = true;
});

if (values.seeds !== undefined) for (const seed of JSON.parse(readFileSync(values.seeds, 'utf8'))) record(seed);
else if (values.only !== undefined) record(Number(values.only));
else await runMany(Number(values.events));
console.log(summary());
process.exitCode = state.failures.length > 0 ? 1 : 0;

async function runMany(events) {
  const until = state.events + events;
  for (let runs = 1; state.events < until && !stopping; runs++) {
    record(state.next++, until - state.events);
    if (!values.fresh && values.from === undefined) writeFileSync(stateFile, `${JSON.stringify(state)}\n`);
    if (runs % SAY_EVERY === 0) console.error(summary());
    // Lets the signal in.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function summary() {
  const { user, system } = process.cpuUsage(started);
  return [
    `${state.events} events up to seed ${state.next - 1}`,
    `${state.domains} domains, ${(state.instructions / 1e6).toFixed(1)} million instructions`,
    `slowest stop ${state.slowest.toFixed(1)} ms (${state.slowestEvent})`,
    `${state.failures.length} failures${state.failures.length > 0 ? ` (${state.failures.join(' ')})` : ''}`,
    `${((user + system) / 1e6).toFixed(0)} processor seconds`,
  ].join('; ');
}

function record(seed, most = RUN_EVENTS) {
  const events = Math.min(most, RUN_EVENTS);
  let { wrong, ...done } = run(seed, events);
  // What took long may have been the host's own doing: only what takes long again counts.
  const slow = new Set();
  while (wrong?.slow && !slow.has(wrong.event)) {
    slow.add(wrong.event);
    ({ wrong, ...done } = run(seed, events));
  }
  for (const [figure, amount] of Object.entries(done)) state[figure] += amount;
  if (wrong === undefined) return;
  state.failures.push(seed);
  console.error(`seed ${seed}, event ${wrong.event}: ${wrong.what}`);
}

/** Time that this thread had of a processor, in milliseconds, where the host tells it. */
function threadTime() {
  if (process.platform !== 'linux') return performance.now();
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6;
}

/** Measures the time between two moments in which other domains could have run: the host's, where long the thread's. */
function createStopwatch() {
  let longest = 0;
  let clock = 0;
  let thread = threadTime();
  return {
    start() {
      clock = performance.now();
    },
    stop() {
      const took = performance.now() - clock;
      if (took > 5) {
        const now = threadTime();
        longest = Math.max(longest, Math.min(took, now - thread));
        thread = now;
      } else longest = Math.max(longest, took);
    },
    /** Since this was asked last. */
    longest() {
      const most = longest;
      longest = 0;
      thread = threadTime();
      return most;
    },
  };
}

/** One run of events from a seed: what was done, and what is wrong, if anything. */
function run(seed, events) {
  const world = createWorld(seed % 3 === 2 ? 32 : 64);
  const stopwatch = createStopwatch();
  const actor = createActor(world, choices(seed), stopwatch);
  const { hypervisor, mmu, witness } = world;
  witness.pv.domain.pause();
  let event = 0;
  let wrong;
  try {
    for (; event < events && wrong === undefined; event++) {
      actor.prepare();
      const before = hypervisor.instructions;
      const what = actor.event();
      const instructions = hypervisor.instructions - before;
      const took = stopwatch.longest();
      if (what !== undefined) wrong = { event, what: `${what}: ${actor.last}` };
      else if (instructions > MOST_INSTRUCTIONS) wrong = { event, what: `${instructions} instructions: ${actor.last}` };
      else if (took > MOST_MILLISECONDS) wrong = { event, what: `${took.toFixed(0)} ms: ${actor.last}`, slow: true };
      else if (took > state.slowest) {
        state.slowest = took;
        state.slowestEvent = `seed ${seed}, event ${event}: ${actor.last}`;
      }
      if (event % CHECK_EVERY === CHECK_EVERY - 1) wrong ??= look(event);
    }
    wrong ??= look(event);
    actor.end();
    const left = world.freeFrames - mmu.frames.freeCount;
    if (left !== 0) wrong ??= { event, what: `${left} frames are not free again` };
    wrong ??= look(event);
  } catch (error) {
    wrong = { event, what: error instanceof Error ? error.stack : String(error) };
  }
  return { wrong, events: event, domains: actor.domains, instructions: hypervisor.instructions };

  function look(at) {
    const books = audit(world, { types: FrameType, flags: FrameFlag });
    if (books.length > 0) return { event: at, what: books.slice(0, 5).join('; ') };
    const seen = witness.check();
    return seen === undefined ? undefined : { event: at, what: seen };
  }
}
