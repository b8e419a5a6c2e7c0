/**
 * Guests that nobody here has written: GRUB's Xen image and Debian's cloud kernel, pulled from Debian's packages by
 * name and booted by the built command line. What was pulled is kept in the repository's cache folder.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startGuest } from '@paravane/machine';
import { beforeAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const home = fileURLToPath(new URL('../../../.cache/guests', import.meta.url));

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function paravane(args: string[], input = ''): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { env: { ...process.env, PARAVANE_HOME: home } });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
    child.stdin.end(input);
  });
}

async function pull(guest: string): Promise<void> {
  if (existsSync(join(home, guest, `${guest}.cfg`))) return;
  const { status, stderr } = await paravane(['pull', guest]);
  if (status !== 0) throw new Error(`paravane pull ${guest}: ${stderr}`);
}

/** An initramfs with one more file in its root: archives in the cpio format may follow each other. */
function withFile(initramfs: Uint8Array, name: string, contents: Uint8Array): Uint8Array {
  const entry = (path: string, mode: number, data: Uint8Array): Buffer[] => {
    const fields = [1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${path}\0`;
    return [header, data].map((part) => Buffer.concat([Buffer.from(part as string), Buffer.alloc(-part.length & 3)]));
  };
  const gap = Buffer.alloc(-initramfs.length & 511);
  return Buffer.concat([initramfs, gap, ...entry(name, 0o100644, contents), ...entry('TRAILER!!!', 0, Buffer.of())]);
}

const testing = (name: string): Buffer => readFileSync(new URL(`../src/testing/${name}`, import.meta.url));
const bytesOf = (guest: string, file: string): Uint8Array => new Uint8Array(readFileSync(join(home, guest, file)));

beforeAll(() => {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
});

describe('our own kernel', () => {
  it.each([
    [[], 'xen-3.0-x86_64'],
    [['--pv32'], 'xen-3.0-x86_32p'],
  ])('is booted by start %j, and powers off', async (flags, magic) => {
    const { status, stdout, stderr } = await paravane(
      ['start', ...flags, '--timeout', '1000'],
      'echo typed\rpoweroff\r',
    );
    expect(stderr).toBe('');
    expect(stdout).toContain(`Paravane guest kernel on ${magic},`);
    expect(stdout).toContain('\r\ntyped\r\n');
    expect(status).toBe(0);
  });

  it('has the compiled code of its last run, unless that is not wanted, and does the same with it', async () => {
    const run = async (...flags: string[]): Promise<{ warm: number | undefined; instructions: string | undefined }> => {
      const args = ['start', '--clock', 'virtual', '--stats', ...flags];
      const { status, stderr } = await paravane(args, 'memtest\rbench branches 100\rpoweroff\r');
      expect(status).toBe(0);
      const warm = /^warm regions: (\d+)$/m.exec(stderr)?.[1];
      return {
        warm: warm === undefined ? undefined : Number(warm),
        instructions: /instructions: \d+/.exec(stderr)?.[0],
      };
    };
    await run();
    const [kept, not] = [await run(), await run('--no-code-cache')];
    expect(kept.warm).toBeGreaterThan(0);
    expect(not.warm).toBeUndefined();
    expect(kept.instructions).toBe(not.instructions);
  });
});

describe('GRUB', () => {
  beforeAll(() => pull('grub'));

  it('comes to its prompt, lists its devices and halts', async () => {
    const guest = await startGuest({ kernel: bytesOf('grub', 'grub.bin'), memory: 64 });
    expect(guest.waitFor('grub> ')).toContain('GNU GRUB  version 2');
    guest.type('ls\r');
    expect(guest.waitFor('grub> ')).toContain('(memdisk) (proc)');
    guest.type('halt\r');
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
  });

  it('is run by name', async () => {
    const { status, stdout } = await paravane(['run', 'grub', '--clock', 'virtual', '--timeout', '1000'], 'halt\r');
    expect(stdout).toContain('grub> ');
    expect(status).toBe(0);
  });
});

describe('Debian', () => {
  const prompt = '/root # ';
  beforeAll(() => pull('debian'));

  it('boots to a shell in 96 MiB, in the time of the host, and powers off', async () => {
    const args = ['run', 'debian', '--memory', '96', '--timeout', '1000'];
    const { status, stdout, stderr } = await paravane(args, 'uname -sr\npoweroff -f\n');
    expect(stderr).toBe('');
    expect(stdout).toMatch(/\nLinux \d+\.\d+\.\S+-cloud-amd64\r\n/);
    expect(stdout).toContain('reboot: System halted');
    expect(status).toBe(0);
  });

  it('is reported with the names of its functions when it crashes', async () => {
    const args = ['run', 'debian', '--clock', 'virtual', '--timeout', '1000'];
    const { status, stderr } = await paravane(args, 'echo c > /proc/sysrq-trigger\n');
    expect(stderr).toContain('Domain "debian" crashed: ');
    expect(stderr).toMatch(/\n {2}ffffffff[0-9a-f]{8} {2}sysrq_handle_crash\+0x/);
    expect(stderr).toContain('Kernel panic - not syncing: sysrq triggered crash');
    expect(status).toBe(3);
  });

  it('runs programs on two virtual CPUs in 2 GiB, with the results of a real processor', async () => {
    const guest = await startGuest({
      kernel: bytesOf('debian', 'vmlinuz'),
      ramdisk: withFile(bytesOf('debian', 'initramfs.cpio.gz'), 'programs.sh', testing('programs.sh')),
      cmdline: 'console=hvc0',
      memory: 2048,
      vcpus: 2,
    });
    guest.waitFor(prompt);
    const ask = (command: string): string => {
      guest.type(`${command}\r`);
      return guest.waitFor(prompt);
    };
    expect(ask('nproc')).toContain('\r\n2\r\n');
    expect(ask('free -m | grep Mem')).toMatch(/Mem: +19\d\d /);
    // Both at work at once, memory and files between them, and the sums agree.
    const work = 'head -c 1000000 /dev/zero | md5sum > /tmp/$i & ';
    expect(ask(`for i in 1 2 3 4; do ${work} done; wait; cat /tmp/[1-4] | sort | uniq -c`)).toContain(
      '4 879f4bba57ed37c9ec5e5aedf9864698  -',
    );
    guest.type("sh -c 'echo asleep; sleep 100000'\r");
    guest.waitFor('\r\nasleep');
    guest.type('\x03');
    guest.waitFor(prompt);
    expect(ask('echo $?')).toContain('\r\n130\r\n');
    ask('mkdir /tmp/work; sh /programs.sh /tmp/work > /tmp/answers 2>&1');
    const answers = ask('cat /tmp/answers').replaceAll('\r', '').split('cat /tmp/answers\n')[1];
    expect(answers?.replace(prompt, '')).toBe(testing('programs.answers').toString());
    expect(ask('dmesg | grep -ciE "bug:|oops|warning:"')).toContain('\r\n0\r\n');
    guest.type('poweroff -f\r');
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
  });

  it('is refused where it does not fit, with what it needs', async () => {
    const { status, stderr } = await paravane(['run', 'debian', '--memory', '48']);
    expect(stderr).toMatch(/^paravane: .*need \d+ MB.*\n$/);
    expect(status).toBe(2);
  });
});
