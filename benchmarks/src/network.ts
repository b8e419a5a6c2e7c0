/**
 * The network: processor seconds of the whole process for TCP between Debian and the host, here (xen-netfront and the
 * user-mode network) and in QEMU's emulation (virtio-net and its user network), with the same kernel and the same
 * programs, one after the other. Per GB each way, and how many round trips and connections a processor-second makes;
 * what it costs to start the program is measured with next to no load and taken off. Linux only.
 *
 * `paravane pull debian --rootfs` first: the programs are a few lines of Perl in that system.
 */
import { spawnSync } from 'node:child_process';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { above, readArguments } from './arguments.js';
import { paravane } from './command-line.js';
import { hostReference } from './measure.js';
import { type MeasuredGuest, startGuest } from './measured-guest.js';

const { given, fail } = readArguments(
  `node benchmarks/dist/network.js [--json] [--machines here,QEMU] [--scale N]
The network of these machines, with so many times the load.`,
  {
    options: {
      json: { type: 'boolean' },
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
const system = join(data, 'debian/root.img');
const megabyte = 1e6;

interface Load {
  readonly name: string;
  /** The Perl program; `$port` and `$n` are given. */
  readonly program: string;
  readonly serve: (socket: Socket) => void;
  /** Megabytes, round trips or connections. */
  readonly count: number;
  /** Of a load that counts megabytes, the figure is what 1,000 of them cost; else how many a second of the processor makes. */
  readonly counts: 'MB' | 'round trips' | 'connections';
}

const block = Buffer.alloc(1 << 16, 'paravane');

const loads: readonly Load[] = [
  {
    name: 'to the guest',
    // The guest says how much it wants.
    program:
      'my $s = c(); print $s "$n\\n"; my $got = 0; while (my $r = sysread $s, my $b, 65536) { $got += $r } die if $got != $n * 1e6',
    serve(socket) {
      socket.once('data', (line) => {
        let left = Number(String(line)) * megabyte;
        const more = (): void => {
          while (left > 0) {
            const piece = block.subarray(0, Math.min(left, block.length));
            left -= piece.length;
            if (!socket.write(piece)) return void socket.once('drain', more);
          }
          socket.end();
        };
        more();
      });
    },
    count: 1000,
    counts: 'MB',
  },
  {
    name: 'from the guest',
    program:
      'my $s = c(); my $b = "p" x 65536; my $left = $n * 1e6; while ($left > 0) { my $w = syswrite $s, $b, $left < 65536 ? $left : 65536; die unless $w; $left -= $w } shutdown $s, 1; sysread($s, my $r, 99); die if $r ne $n * 1e6',
    serve(socket) {
      let got = 0;
      socket.on('data', (bytes) => (got += bytes.length));
      socket.on('end', () => socket.end(String(got)));
    },
    count: 1000,
    counts: 'MB',
  },
  {
    name: 'round trips',
    program: 'my $s = c(); for (1 .. $n) { syswrite $s, "x"; sysread $s, my $b, 1 or die }',
    serve: (socket) => void socket.on('data', (bytes) => void socket.write(bytes)),
    count: 50_000,
    counts: 'round trips',
  },
  {
    name: 'connections',
    program: 'for (1 .. $n) { my $s = c(); syswrite $s, "x"; sysread $s, my $b, 1 or die; close $s }',
    serve: (socket) => void socket.once('data', (bytes) => void socket.end(bytes)),
    count: 10_000,
    counts: 'connections',
  },
];

interface Machine {
  readonly name: string;
  readonly command: readonly string[];
  /** The disk with Debian, as the guest names it. */
  readonly system: string;
  readonly prepare: readonly string[];
}

interface Figures {
  readonly machine: string;
  readonly load: string;
  readonly processorSeconds: number;
  readonly count: number;
  /** Processor seconds per GB, or round trips or connections per processor second. */
  readonly figure: number;
}

const here: Machine = {
  name: 'here',
  command: [
    ...[...paravane(), 'run', '--kernel', kernel, '--ramdisk', initramfs],
    ...['--memory', '256', '--vif', '', '--cmdline', 'console=hvc0 shell quiet'],
    ...['--disk', `${system},raw,xvda,r`],
  ],
  system: 'xvda',
  prepare: [],
};

function qemu(): Machine {
  const tools = host(process.execPath, [join(root, 'tools/disks/tools-image.mjs')]).trim();
  return {
    name: 'QEMU',
    command: [
      ...['qemu-system-x86_64', '-accel', 'tcg', '-nographic', '-no-reboot', '-m', '256'],
      ...['-kernel', kernel, '-initrd', initramfs, '-append', 'console=ttyS0 shell quiet'],
      ...['-drive', `file=${system},format=raw,if=none,id=system,readonly=on`, '-device', 'nvme,drive=system,serial=1'],
      // The modules for the interface come from here; NVMe is in the kernel.
      ...['-drive', `file=${tools},format=raw,if=none,id=tools,readonly=on`, '-device', 'nvme,drive=tools,serial=2'],
      ...['-nic', 'user,model=virtio-net-pci'],
    ],
    system: 'nvme0n1',
    prepare: [
      'mkdir /tools; mount -t ext4 -o ro /dev/nvme1n1 /tools',
      'for module in /tools/modules/*; do insmod $module; done',
      'for turn in 1 2 3 4 5 6 7 8 9; do [ -e /sys/class/net/eth0 ] || sleep 1; done',
      'udhcpc -i eth0 -n -t 4 -T 1 -s /etc/udhcpc.script',
    ],
  };
}

function host(command: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${stderr}`);
  return stdout;
}

const common =
  'use Socket; sub c { socket(my $s, PF_INET, SOCK_STREAM, 0); connect($s, sockaddr_in($port, inet_aton("10.0.2.2"))) or die $!; setsockopt $s, 6, 1, 1; select((select($s), $| = 1)[0]); $s }';

async function costs(guest: MeasuredGuest, { program }: Load, port: number, count: number): Promise<number> {
  const before = guest.processorSeconds();
  await guest.run(`chroot /mnt perl -e 'my ($port, $n) = (${port}, ${count}); ${common} ${program}'`);
  return guest.processorSeconds() - before;
}

async function measure(machine: Machine): Promise<Figures[]> {
  const guest = await startGuest(machine.name, machine.command);
  const servers: Server[] = [];
  const figures: Figures[] = [];
  try {
    for (const command of [
      ...machine.prepare,
      `mount -t ext4 -o ro,noload /dev/${machine.system} /mnt`,
      'mount --bind /dev /mnt/dev',
    ]) {
      await guest.run(command);
    }
    for (const load of loads) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        socket.on('error', () => socket.destroy());
        load.serve(socket);
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const count = Math.max(1, Math.round(load.count * scale));
      // Twice: the first one reads Perl from its disk, and warms up.
      await costs(guest, load, port, Math.max(1, count / 10));
      const start = await costs(guest, load, port, 1);
      const processorSeconds = (await costs(guest, load, port, count + 1)) - start;
      const figure = load.counts === 'MB' ? (processorSeconds * 1000) / count : count / processorSeconds;
      figures.push({ machine: machine.name, load: load.name, processorSeconds, count, figure });
      if (!values.json) console.error(`${machine.name}, ${load.name}: ${figure.toFixed(2)}`);
    }
    await guest.powerOff();
    return figures;
  } finally {
    guest.kill();
    for (const server of servers) server.close();
  }
}

function printTable(results: readonly Figures[]): void {
  console.log('\n| Load | unit | here | QEMU | ratio |');
  console.log('|---|---|---|---|---|');
  for (const { name, counts } of loads) {
    const of = (machine: string): number =>
      results.find((found) => found.machine === machine && found.load === name)?.figure ?? Number.NaN;
    const [ours, theirs] = [of('here'), of('QEMU')];
    const unit = counts === 'MB' ? 'CPU s per GB' : `${counts} per CPU s`;
    // Below 1 is better than QEMU in each.
    const ratio = counts === 'MB' ? ours / theirs : theirs / ours;
    console.log(`| ${name} | ${unit} | ${ours.toFixed(2)} | ${theirs.toFixed(2)} | ${ratio.toFixed(2)} |`);
  }
}

const before = hostReference();
const results: Figures[] = [];
for (const name of values.machines.split(',')) results.push(...(await measure(name === 'QEMU' ? qemu() : here)));
const reference = { before, after: hostReference() };
if (values.json) console.log(JSON.stringify({ host: reference, figures: results }, null, 2));
else {
  printTable(results);
  const turns = `${reference.before.toFixed(0)} million turns a processor-second before, ${reference.after.toFixed(0)} after`;
  console.log(`\nhost's reference loop: ${turns}`);
}
