// Guests that boot and end again and again in one process; does it grow?
// `node tools/soak/run.mjs [--guest ours|ours-32|debian] [--cycles N] [--minutes M] [--every N] [--engine jit|interpreter] [--limit KB]`
//
// `ours` (32 bits: `ours-32`) is our own kernel, which checks page tables, traps, user mode and memory in each cycle;
// `debian` is what `paravane pull debian` made: it boots to its shell, runs some commands, and powers off.
//
// After every N cycles and a garbage collection a line tells what the process holds: MiB of the JavaScript heap, of
// array buffers and what else V8 knows outside of it, of the process (rss); WebAssembly modules and memories that have
// not been collected; open handles. In the end, Ctrl-C's too, the slope of each over the second half of the lines is
// told, a cycle. Exit status 1 where one rises steadily (KiB a cycle above `--limit`, 16 if not given, and above three
// standard errors; modules, memories and handles: any), or where a guest did not end as it should.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { guestKernel } from '../../packages/guest-stubs/dist/index.js';
import { dataFolder, decompressors, hostTime, prepareV8 } from '../../packages/host-node/dist/index.js';
import { createMachine } from '../../packages/machine/dist/index.js';
import { runDomain } from '../../packages/toolstack/dist/index.js';
import { readOptions } from '../options.mjs';
import { growth } from './growth.mjs';

const MIB = 1 << 20;
const { values } = readOptions({
  options: {
    guest: { type: 'string', default: 'ours' },
    cycles: { type: 'string', default: 'Infinity' },
    minutes: { type: 'string', default: 'Infinity' },
    every: { type: 'string' },
    engine: { type: 'string', default: 'jit' },
    limit: { type: 'string', default: '16' },
  },
});

function pulledDebian() {
  const file = (name) => join(dataFolder(process.env), 'debian', name);
  if (!existsSync(file('vmlinuz'))) throw new Error('run `paravane pull debian` first');
  return {
    kernel: readFileSync(file('vmlinuz')),
    ramdisk: readFileSync(file('initramfs.cpio.gz')),
    memory: 96,
    cmdline: 'console=hvc0 shell quiet',
    typed: 'uname -r; ls -lR / | md5sum; dmesg | tail -3\npoweroff -f\n',
    every: 1,
  };
}
function ourKernel(bits) {
  const cmdline = 'cmd=info;map;traps;user;memtest;poweroff';
  return { kernel: guestKernel(bits), memory: 32, cmdline, typed: '', every: 10 };
}
const GUESTS = { ours: () => ourKernel(64), 'ours-32': () => ourKernel(32), debian: pulledDebian };
if (!(values.guest in GUESTS)) throw new Error(`--guest is one of ${Object.keys(GUESTS).join(', ')}`);
const guest = GUESTS[values.guest]();
const every = Number(values.every ?? guest.every);

prepareV8();
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

/** Counts the objects of a constructor of WebAssembly that have not been collected. */
function countLiving(name) {
  let living = 0;
  const gone = new FinalizationRegistry(() => living--);
  WebAssembly[name] = new Proxy(WebAssembly[name], {
    construct(target, args) {
      const made = Reflect.construct(target, args);
      living++;
      gone.register(made);
      return made;
    },
  });
  return () => living;
}
const modules = countLiving('Module');
const memories = countLiving('Memory');

const machine = createMachine({ decompress: decompressors });
let run;
let stopped = false;

/** One guest from its boot to its end. */
async function cycle() {
  let output = '';
  run = runDomain(
    machine,
    {
      config: {
        name: 'soak',
        type: 'pv',
        kernel: values.guest,
        cmdline: guest.cmdline,
        memory: guest.memory,
        maxmem: guest.memory,
        vcpus: 1,
        onPoweroff: 'destroy',
        onReboot: 'destroy',
        onCrash: 'destroy',
      },
      kernel: guest.kernel,
      ...(guest.ramdisk === undefined ? {} : { ramdisk: guest.ramdisk }),
      onOutput: (bytes) => {
        output = (output + Buffer.from(bytes).toString('latin1')).slice(-20_000);
      },
      clock: 'virtual',
      engine: values.engine,
      seed: 0n,
      epoch: 0,
      now: hostTime.now,
    },
    { time: hostTime },
  );
  run.input(Buffer.from(guest.typed));
  const outcome = await run.outcome;
  const { instructions, counters, stateHash } = run.stats();
  run = undefined;
  if (stopped && outcome.kind === 'interrupted') return undefined;
  if (outcome.kind !== 'shutdown' || outcome.by !== 'poweroff' || output.includes('WRONG')) {
    throw new Error(`a guest ended by ${JSON.stringify(outcome)}; it said last:\n${output}`);
  }
  return { instructions, stateHash, compiled: counters.compiledModules ?? 0 };
}

/** What the process holds when nothing runs. */
async function look() {
  // What refers to each other across the heaps goes in turns, and finalizers wait for theirs.
  for (let i = 0; i < 3 || (i < 12 && memories() > 0); i++) {
    collect();
    await setImmediate();
  }
  const { heapUsed, external, arrayBuffers, rss } = process.memoryUsage();
  return {
    heap: heapUsed / MIB,
    external: external / MIB,
    buffers: arrayBuffers / MIB,
    rss: rss / MIB,
    modules: modules(),
    memories: memories(),
    handles: process.getActiveResourcesInfo().length,
  };
}
const COUNTS = ['modules', 'memories', 'handles'];
const COLUMNS = ['heap', 'external', 'buffers', 'rss', ...COUNTS];
const row = (cells) => console.log(cells.map((cell) => String(cell).padStart(10)).join(''));

function summarize(seen, cycles, seconds) {
  console.log(`${cycles} cycles in ${seconds.toFixed(0)} s; slopes of the second half, KiB or objects a cycle:`);
  let grows = false;
  for (const column of COLUMNS) {
    const counts = COUNTS.includes(column);
    const unit = counts ? 1 : 1024;
    const points = seen.map((line) => [line.cycle, line[column] * unit]);
    const found = growth(points, counts ? 0 : Number(values.limit));
    if (found === undefined) {
      console.log('too few lines to tell');
      return false;
    }
    const { slope, error, steady } = found;
    grows ||= steady;
    console.log(`${column.padStart(10)} ${slope.toFixed(3)} ± ${error.toFixed(3)}${steady ? '  GROWS' : ''}`);
  }
  return grows;
}

process.on('SIGINT', () => {
  stopped = true;
  run?.interrupt();
});
const start = performance.now();
const seconds = () => (performance.now() - start) / 1000;
const seen = [];
let cycles = 0;
let first;
row(['cycle', ...COLUMNS, 'seconds']);
while (!stopped && cycles < Number(values.cycles) && seconds() < Number(values.minutes) * 60) {
  const ended = await cycle();
  if (ended === undefined) break;
  first ??= ended;
  if (ended.instructions !== first.instructions || ended.stateHash !== first.stateHash) {
    throw new Error(`cycle ${cycles + 1} was not what the first was: ${ended.instructions} ${ended.stateHash}`);
  }
  cycles++;
  if (cycles % every !== 0) continue;
  const line = await look();
  seen.push({ cycle: cycles, ...line });
  row([cycles, ...COLUMNS.map((of) => (COUNTS.includes(of) ? line[of] : line[of].toFixed(2))), seconds().toFixed(0)]);
}
if (first !== undefined) {
  console.log(
    `each: ${first.instructions} instructions, state hash ${first.stateHash}, ${first.compiled} modules compiled`,
  );
}
process.exitCode = summarize(seen, cycles, seconds()) ? 1 : 0;
