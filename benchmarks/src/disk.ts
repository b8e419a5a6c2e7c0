/**
 * Disks: processor seconds of the whole process for sequential and random transfers in Debian, here (xen-blkfront) and in
 * QEMU's emulation (virtio-blk), with the same kernel, the same programs and the same image files, one after the other.
 * Sequential: 64 KiB, per GB. Random: 4 KiB, per 100,000. fio does all, directly (no page cache in the guest), 32 deep
 * and one at a time; what it costs to start fio is measured with a single request and taken off. Linux only.
 *
 * `paravane pull debian` first.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { above, readArguments } from './arguments.js';
import { paravane } from './command-line.js';
import { hostReference } from './measure.js';

const TICKS_PER_SECOND = 100;
const DEADLINE_SECONDS = 300;

interface Load {
  readonly name: string;
  readonly rw: string;
  readonly blockSize: number;
  readonly depth: number;
  readonly requests: number;
  /** The figure is per so many bytes, or requests. */
  readonly unit: { readonly bytes: number } | { readonly requests: number };
}

interface Machine {
  readonly name: string;
  readonly command: readonly string[];
  /** The disk that is measured, as the guest names it. */
  readonly device: string;
  readonly prepare: readonly string[];
}

interface Figures {
  readonly machine: string;
  readonly format: string;
  readonly load: string;
  readonly processorSeconds: number;
  readonly requests: number;
  /** Per unit of the load, without the start of fio. */
  readonly perUnit: number;
}

const { given, fail } = readArguments(
  `node benchmarks/dist/disk.js [--json] [--formats raw,qcow2] [--machines here,QEMU] [--scale N]
Disks of these formats on these machines, with so many times the requests.`,
  {
    options: {
      json: { type: 'boolean' },
      formats: { type: 'string', default: 'raw,qcow2' },
      machines: { type: 'string', default: 'here,QEMU' },
      scale: { type: 'string', default: '1' },
    },
  },
);
const { values } = given;
const scale = above('scale', values.scale, { fail });
const root = fileURLToPath(new URL('../../', import.meta.url));
const data =
  process.env.PARAVANE_HOME ?? join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'paravane');
const kernel = join(data, 'debian/vmlinuz');
const initramfs = join(data, 'debian/initramfs.cpio.gz');
const folder = mkdtempSync(join(tmpdir(), 'paravane-disk-'));
const diskMiB = 1024;

const perGb = { bytes: 1e9 };
const per100k = { requests: 100_000 };
// A gigabyte and 100,000 requests, as the figures are for: code that is compiled costs what it costs once.
const loads: readonly Load[] = [
  load('64 KiB sequential write', 'write', 65536, 32, 15_259, perGb),
  load('64 KiB sequential read', 'read', 65536, 32, 15_259, perGb),
  load('4 KiB random write, 32 deep', 'randwrite', 4096, 32, 100_000, per100k),
  load('4 KiB random read, 32 deep', 'randread', 4096, 32, 100_000, per100k),
  load('4 KiB random read, 1 deep', 'randread', 4096, 1, 100_000, per100k),
];

function load(name: string, rw: string, blockSize: number, depth: number, requests: number, unit: Load['unit']): Load {
  return { name, rw, blockSize, depth, requests: Math.round(requests * scale), unit };
}

const tools = host(process.execPath, [join(root, 'tools/disks/tools-image.mjs')]).trim();
const before = hostReference();
const results: Figures[] = [];
const told: string[] = [];
try {
  for (const format of values.formats.split(',')) {
    const image = join(folder, `disk.${format}`);
    host('qemu-img', ['create', '-q', '-f', format, image, `${diskMiB}M`]);
    for (const machine of machinesFor(format, image)) {
      if (values.machines.split(',').includes(machine.name)) await measure(machine, format);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const reference = { before, after: hostReference() };
if (values.json) console.log(JSON.stringify({ host: reference, figures: results, stats: told }, null, 2));
else printTable();

function host(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stderr}`);
  return stdout;
}

function machinesFor(format: string, image: string): Machine[] {
  const cmdline = 'shell quiet';
  const here: Machine = {
    name: 'here',
    command: [
      ...[...paravane(), 'run', '--kernel', kernel, '--ramdisk', initramfs, '--memory', '256', '--stats'],
      ...['--cmdline', `console=hvc0 ${cmdline}`],
      ...['--disk', `${tools},raw,xvda,r`, '--disk', `${image},${format},xvdb,rw`],
    ],
    device: 'xvdb',
    prepare: ['mount -t ext4 -o ro /dev/xvda /mnt'],
  };
  const qemu: Machine = {
    name: 'QEMU',
    command: [
      ...['qemu-system-x86_64', '-accel', 'tcg', '-nographic', '-no-reboot', '-nic', 'none', '-m', '256'],
      ...['-kernel', kernel, '-initrd', initramfs, '-append', `console=ttyS0 ${cmdline}`],
      // The kernel has NVMe built in; the modules for the disk that is measured come from this one.
      ...['-drive', `file=${tools},format=raw,if=none,id=tools,readonly=on`],
      ...['-device', 'nvme,drive=tools,serial=tools'],
      ...['-drive', `file=${image},format=${format},if=none,id=disk`, '-device', 'virtio-blk-pci,drive=disk'],
    ],
    device: 'vda',
    prepare: [
      'mount -t ext4 -o ro /dev/nvme0n1 /mnt',
      'for module in /mnt/modules/*; do insmod $module; done',
      'for turn in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vda ] || sleep 1; done',
    ],
  };
  return spawnSync('qemu-system-x86_64', ['--version']).status === 0 ? [here, qemu] : [here];
}

function processorSeconds(child: ChildProcess): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function measure(machine: Machine, format: string): Promise<void> {
  const child = spawn(machine.command[0]!, machine.command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  let look = (): void => undefined;
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString('latin1').replaceAll('\r', '');
    look();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString();
  });
  child.on('close', () => look());
  const until = (pattern: RegExp, from: number): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const fail = (): void => reject(new Error(`${machine.name}: no ${pattern}\n${output.slice(-3000)}\n${errors}`));
      const timer = setTimeout(fail, DEADLINE_SECONDS * 1000);
      look = () => {
        const found = pattern.exec(output.slice(from));
        if (!found && child.exitCode === null && child.signalCode === null) return;
        clearTimeout(timer);
        look = () => undefined;
        if (found) resolve(found);
        else fail();
      };
      look();
    });
  // What is looked for never stands in what is typed, which is echoed.
  const run = async (command: string): Promise<void> => {
    const from = output.length;
    child.stdin.write(`${command}; echo "@"@status $?\n`);
    const [, status] = await until(/@@status (\d+)\n/, from);
    if (status !== '0') throw new Error(`${machine.name}: ${command}: ${status}\n${output.slice(from)}`);
  };
  const costs = async (command: string): Promise<number> => {
    const started = processorSeconds(child);
    await run(command);
    return processorSeconds(child) - started;
  };
  const fio = ({ rw, blockSize, depth }: Load, requests: number): string =>
    [
      `chroot /mnt fio --name=x --output-format=terse --ioengine=libaio --direct=1 --thread --filename=/dev/${machine.device}`,
      `--rw=${rw} --bs=${blockSize} --iodepth=${depth} --size=${diskMiB}m --number_ios=${requests} --randseed=1`,
      '--norandommap --gtod_reduce=1 > /tmp/out',
    ].join(' ');

  try {
    await until(/\/root # /, 0);
    for (const command of machine.prepare) await run(command);
    await run('for d in dev proc sys; do mount --bind /$d /mnt/$d; done; echo "@"@mounted');
    for (const each of loads) {
      // Twice: the first one reads fio from its disk, and warms up.
      await run(fio(each, 1));
      const start = await costs(fio(each, 1));
      const all = await costs(fio(each, each.requests));
      const units =
        'bytes' in each.unit ? (each.requests * each.blockSize) / each.unit.bytes : each.requests / each.unit.requests;
      const perUnit = Math.max(0, all - start) / units;
      const { name: load, requests } = each;
      results.push({ machine: machine.name, format, load, processorSeconds: all, requests, perUnit });
      if (!values.json) console.error(`${format}, ${load}, ${machine.name}: ${perUnit.toFixed(2)}`);
    }
    child.stdin.write('poweroff -f\n');
    if (child.exitCode === null) await new Promise((resolve) => child.once('close', resolve));
    for (const line of errors.split('\n')) if (/^(?:disk xvdb|exits), /.test(line)) told.push(`${format} ${line}`);
  } finally {
    child.kill('SIGKILL');
  }
}

function printTable(): void {
  console.log('\n| Image | Load | per | here, CPU s | QEMU, CPU s | ratio |');
  console.log('|---|---|---|---|---|---|');
  for (const { machine, format, load, perUnit } of results) {
    if (machine !== 'here') continue;
    const other = results.find((found) => found.machine === 'QEMU' && found.format === format && found.load === load);
    const unit = loads.find(({ name }) => name === load)!.unit;
    const per = 'bytes' in unit ? 'GB' : '100,000';
    const ratio = other === undefined ? '' : (perUnit / other.perUnit).toFixed(2);
    console.log(
      `| ${format} | ${load} | ${per} | ${perUnit.toFixed(2)} | ${other?.perUnit.toFixed(2) ?? ''} | ${ratio} |`,
    );
  }
  for (const line of told) console.log(line);
  const turns = `${reference.before.toFixed(0)} million turns a processor-second before, ${reference.after.toFixed(0)} after`;
  console.log(`\nhost's reference loop: ${turns}`);
}
