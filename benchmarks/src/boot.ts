/**
 * Boots real guests with the command line of this clone and, where it is installed, QEMU's emulation with the same
 * Debian kernel: processor seconds to the prompt, seconds to the first output, peak memory of the process. Linux only
 * (it reads /proc). Guests are those that `paravane pull` made.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { above, readArguments } from './arguments.js';
import { hostReference } from './measure.js';

const TICKS_PER_SECOND = 100;
const DEADLINE_SECONDS = 300;

interface Boot {
  name: string;
  command: string[];
  prompt: string;
  /** What to type at the prompt so that the guest ends. */
  end: string;
  /** Files without which it is left out. */
  needs: string[];
}

interface Figures {
  name: string;
  /** From the start of the process to the first byte of the guest's console. */
  firstOutputSeconds: number;
  /** Processor time of the process, all threads, when the prompt appeared. */
  promptProcessorSeconds: number;
  promptSeconds: number;
  processorSeconds: number;
  peakMiB: number;
  status: number | null;
  /** Guest instructions of the whole run, where the emulator tells them. */
  instructions?: number;
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const paravane = join(root, 'paravane');
const data =
  process.env.PARAVANE_HOME ?? join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'paravane');
const kernel = join(data, 'debian/vmlinuz');
const initramfs = join(data, 'debian/initramfs.cpio.gz');

const debian = (memory: number): Boot => ({
  name: `Debian, ${memory} MiB`,
  command: [paravane, 'run', 'debian', '--memory', String(memory), '--stats'],
  prompt: ' # ',
  end: 'poweroff -f\n',
  needs: [kernel],
});
const qemu = (memory: number): Boot => ({
  name: `Debian, ${memory} MiB, QEMU TCG`,
  command: [
    ...['qemu-system-x86_64', '-accel', 'tcg', '-nographic', '-no-reboot', '-nic', 'none', '-m', String(memory)],
    ...['-kernel', kernel, '-initrd', initramfs, '-append', 'console=ttyS0'],
  ],
  prompt: ' # ',
  end: 'poweroff -f\n',
  needs: [kernel],
});
const boots: Boot[] = [
  { name: 'our kernel', command: [paravane, 'start', '--stats'], prompt: 'paravane> ', end: 'poweroff\n', needs: [] },
  {
    name: 'GRUB',
    command: [paravane, 'run', 'grub', '--stats'],
    prompt: 'grub> ',
    end: 'halt\n',
    needs: [join(data, 'grub/grub.cfg')],
  },
  debian(96),
  debian(256),
  debian(2048),
  ...(spawnSync('qemu-system-x86_64', ['--version']).status === 0 ? [qemu(256)] : []),
];

const { given, fail } = readArguments(
  `node benchmarks/dist/boot.js [--json] [--repeat N] [WORD…]
Boots the guests whose names contain one of the words, or all, so many times (1): ${boots.map(({ name }) => name).join(', ')}.`,
  { allowPositionals: true, options: { json: { type: 'boolean' }, repeat: { type: 'string', default: '1' } } },
);
const { values, positionals } = given;
const repeat = above('repeat', values.repeat, { fail });
const before = hostReference();
const results: Figures[] = [];
for (const boot of boots) {
  if (positionals.length > 0 && !positionals.some((word) => boot.name.toLowerCase().includes(word.toLowerCase())))
    continue;
  const missing = boot.needs.find((file) => !existsSync(file));
  if (missing !== undefined) {
    console.error(`${boot.name}: left out, there is no ${missing}; run paravane pull debian and paravane pull grub`);
    continue;
  }
  for (let i = 0; i < repeat; i++) {
    const figures = await run(boot);
    results.push(figures);
    if (!values.json) console.error(describe(figures));
  }
}
const host = { before, after: hostReference() };
if (values.json) console.log(JSON.stringify({ host, boots: results }, null, 2));
else printTable();
process.exitCode = results.some(({ status }) => status !== 0) ? 1 : 0;

/** Processor seconds so far and peak resident size of a process that still runs; null after its end. */
function usageOf(child: ChildProcess): { seconds: number; peakMiB: number } | null {
  const folder = `/proc/${child.pid}`;
  if (child.exitCode !== null || !existsSync(folder)) return null;
  const fields = readFileSync(`${folder}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`${folder}/status`, 'utf8'));
  if (peak === null) return null;
  return { seconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, peakMiB: Number(peak[1]) / 1024 };
}

function run(boot: Boot): Promise<Figures> {
  const figures: Figures = {
    name: boot.name,
    firstOutputSeconds: Number.NaN,
    promptProcessorSeconds: Number.NaN,
    promptSeconds: Number.NaN,
    processorSeconds: Number.NaN,
    peakMiB: Number.NaN,
    status: null,
  };
  const started = performance.now();
  const since = (): number => (performance.now() - started) / 1000;
  const child = spawn(boot.command[0]!, boot.command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
  let seen = '';
  let told = '';
  let prompted = false;
  const sample = (): void => {
    const usage = usageOf(child);
    if (usage === null) return;
    figures.processorSeconds = usage.seconds;
    figures.peakMiB = usage.peakMiB;
  };
  const sampling = setInterval(sample, 50);
  const deadline = setTimeout(() => child.kill('SIGKILL'), DEADLINE_SECONDS * 1000);
  child.stdin.on('error', (error) => console.error(`${boot.name}: ${error.message}`));
  child.stdout.on('data', (bytes: Buffer) => {
    if (Number.isNaN(figures.firstOutputSeconds)) figures.firstOutputSeconds = since();
    seen = (seen + bytes.toString('latin1')).slice(-4096);
    if (prompted || !seen.includes(boot.prompt)) return;
    prompted = true;
    sample();
    figures.promptSeconds = since();
    figures.promptProcessorSeconds = figures.processorSeconds;
    child.stdin.write(boot.end);
  });
  child.stderr.on('data', (bytes: Buffer) => {
    told += bytes.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      clearInterval(sampling);
      clearTimeout(deadline);
      figures.status = prompted ? status : null;
      const instructions = /guest instructions: (\d+)/.exec(told);
      if (instructions !== null) figures.instructions = Number(instructions[1]);
      if (figures.status !== 0)
        console.error(`${boot.name} ended with ${status}\n${seen.slice(-1000)}\n${told.slice(-2000)}`);
      resolve(figures);
    });
  });
}

function describe({ name, promptProcessorSeconds, peakMiB }: Figures): string {
  return `${name}: ${promptProcessorSeconds.toFixed(2)} processor-seconds to the prompt, ${peakMiB.toFixed(0)} MiB`;
}

function printTable(): void {
  console.log(
    '\n| Guest | first output, s | prompt, s | prompt, CPU s | whole run, CPU s | guest instructions | peak MiB |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const f of results) {
    const seconds = [f.firstOutputSeconds, f.promptSeconds, f.promptProcessorSeconds, f.processorSeconds];
    const cells = [
      f.name,
      ...seconds.map((n) => n.toFixed(2)),
      f.instructions?.toLocaleString('en') ?? '',
      f.peakMiB.toFixed(0),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
  const turns = `${host.before.toFixed(0)} million turns a processor-second before, ${host.after.toFixed(0)} after`;
  console.log(`\nhost's reference loop: ${turns}`);
}
