/**
 * Disks in the hands of programs that nobody here has written: GRUB reads ext2 and ext4, fio verifies what it wrote in
 * Debian, and Debian finds what it made durable after its process was killed. Needs e2fsprogs and qemu-utils; the two
 * last are short runs of tools/disks.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { guestKernel } from '@paravane/guest-stubs';
import { openDiskImage } from '@paravane/host-node';
import { createMachine, startGuest } from '@paravane/machine';
import { readDisk, readDomainConfig } from '@paravane/toolstack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(root, 'apps/cli/dist/main.js');
const home = join(root, '.cache/guests');
const folder = mkdtempSync(join(tmpdir(), 'paravane-trials-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function node(args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env: { ...process.env, PARAVANE_HOME: home } });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

async function pull(guest: string): Promise<void> {
  if (existsSync(join(home, guest, `${guest}.cfg`))) return;
  const { status, stderr } = await node([program, 'pull', guest]);
  if (status !== 0) throw new Error(`paravane pull ${guest}: ${stderr}`);
}

beforeAll(() => {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
});

describe('GRUB', () => {
  beforeAll(() => pull('grub'));

  it.each([
    ['ext2', 'grub.bin'],
    ['ext4', 'grub.bin'],
    ['ext2', 'grub-pv32.bin'],
  ])('lists and reads the files of an %s disk: %s', async (type, kernel) => {
    const tree = join(folder, `${type}-${kernel}-tree`);
    mkdirSync(join(tree, 'boot/grub'), { recursive: true });
    writeFileSync(join(tree, 'hello.txt'), 'test-data\n');
    const words = Array.from({ length: 30_000 }, (_, index) => `line ${index} of many\n`).join('');
    writeFileSync(join(tree, 'boot/long.txt'), `${words}the last line\n`);
    const file = join(folder, `${type}-${kernel}.img`);
    const made = spawnSync('mke2fs', ['-q', '-F', '-t', type, '-d', tree, file, '16M'], { encoding: 'utf8' });
    expect(made.stderr).toBe('');

    const guest = await startGuest({
      kernel: new Uint8Array(readFileSync(join(home, 'grub', kernel))),
      memory: 64,
      disks: [
        {
          config: readDisk(`${file},raw,xvda,r`).disk!,
          image: await openDiskImage(file, { format: 'raw', readOnly: true, blocking: true }),
        },
      ],
    });
    const ask = (command: string): string => {
      guest.type(`${command}\r`);
      return guest.waitFor('grub> ');
    };
    guest.waitFor('grub> ');
    expect(ask('ls')).toContain('(memdisk) (proc) (xen/xvda)');
    expect(ask('ls (xen/xvda)/')).toMatch(/boot\/ .*hello\.txt|hello\.txt .*boot\//);
    expect(ask('cat (xen/xvda)/hello.txt')).toContain('test-data');
    const sum = createHash('md5').update(`${words}the last line\n`).digest('hex');
    expect(ask('md5sum (xen/xvda)/boot/long.txt')).toContain(sum);
    guest.type('halt\r');
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
  });

  it('hands its disk on to the kernel that it loads from it', async () => {
    const tree = join(folder, 'chain-tree');
    mkdirSync(tree);
    writeFileSync(join(tree, 'kernel'), guestKernel());
    const file = join(folder, 'chain.img');
    spawnSync('mke2fs', ['-q', '-F', '-t', 'ext2', '-d', tree, file, '4M']);
    let output = '';
    const domain = await createMachine().bootDomain({
      config: readDomainConfig('name = "grub"\nkernel = "grub.bin"\nmemory = 64\n').config!,
      kernel: new Uint8Array(readFileSync(join(home, 'grub', 'grub.bin'))),
      disks: [
        {
          config: readDisk(`${file},raw,xvda,r`).disk!,
          image: await openDiskImage(file, { format: 'raw', readOnly: true, blocking: true }),
        },
      ],
      onOutput: (bytes) => void (output += Buffer.from(bytes).toString('latin1')),
      clock: 'virtual',
      seed: 0n,
      epoch: 0,
      now: () => 0,
    });
    const until = (text: string): void => {
      const from = output.length;
      while (!output.slice(from).includes(text)) {
        if (domain.step().state === 'ended') throw new Error(output.slice(-2000));
      }
    };
    const { store, domid } = domain.control!;
    const states = (): (string | undefined)[] =>
      [`${domid}/device/vbd`, `0/backend/vbd/${domid}`].map((part) => store.read(`/local/domain/${part}/51712/state`));
    until('grub> ');
    expect(states()).toEqual(['3', '4']);
    domain.input(Buffer.from('linux (xen/xvda)/kernel\r'));
    until('grub> ');
    domain.input(Buffer.from('boot\r'));
    until('paravane> ');
    // Closed, and begun anew: the back end offers itself to whoever comes.
    expect(states()).toEqual(['1', '2']);
    expect(domain.stats().counters['disk.xvda.reads']).toBeGreaterThan(0);
    domain.destroy();
  });
});

describe('Debian', () => {
  beforeAll(() => pull('debian'));

  it('has fio verify what it writes to a raw and to two qcow2 images, in order, at random and mixed', async () => {
    const { status, stdout, stderr } = await node([join(root, 'tools/disks/fio.mjs'), '--size', '2']);
    expect(stderr).toBe('');
    // Four patterns on each of three images.
    expect(stdout.match(/KiB read and verified/g)).toHaveLength(12);
    expect(status).toBe(0);
  });

  it('finds what it made durable after its process was killed in mid-write', async () => {
    const { status, stdout, stderr } = await node([join(root, 'tools/disks/kill.mjs'), '--rounds', '2', '--seed', '7']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^2 rounds, [1-9]\d* durable files found again, .* no corruption/m);
    expect(status).toBe(0);
  });
});
