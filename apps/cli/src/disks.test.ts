/** Disks of real guests: what Debian and GRUB, pulled by name, read and write through the built command line. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Buffers, DiskImage } from '@paravane/image-api';
import { createMemoryImage } from '@paravane/images';
import { createMachine, startGuest } from '@paravane/machine';
import {
  type Machine,
  type RecordedEnd,
  readDisk,
  readDomainConfig,
  readRecording,
  recordingMachine,
  replayingMachine,
} from '@paravane/toolstack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const home = fileURLToPath(new URL('../../../.cache/guests', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'paravane-disks-'));
const mebibyte = 1 << 20;

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function paravane(args: string[], input = ''): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: folder,
      env: { ...process.env, PARAVANE_HOME: home },
    });
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

/** Bytes of which no two blocks are alike. */
function pattern(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  new Uint32Array(bytes.buffer, bytes.byteOffset, size / 4).forEach((_, index, words) => {
    words[index] = Math.imul(index + seed, 2654435761);
  });
  return bytes;
}
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
});

describe('Debian', () => {
  beforeAll(() => pull('debian'));

  it('reads and writes raw, qcow2 and overlaid disks, and may not write what is read-only', async () => {
    const content = pattern(4 * mebibyte, 1);
    for (const name of ['read.img', 'overlaid.img']) writeFileSync(file(name), content);
    writeFileSync(file('raw.img'), Buffer.alloc(4 * mebibyte));
    const qcow2 = spawnSync('qemu-img', ['create', '-f', 'qcow2', file('some.qcow2'), '4M']).status === 0;
    const input = [
      'ls /dev/xvd?',
      'sha256sum /dev/xvda',
      'dd if=/dev/xvda of=/dev/xvdb bs=64k 2>&1',
      'dd if=/dev/xvda of=/dev/xvdc bs=4k oflag=direct count=64 seek=3 2>&1',
      'dd if=/dev/zero of=/dev/xvda bs=4k count=1 2>&1 || echo refused',
      'sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum /dev/xvdb',
      ...(qcow2 ? ['dd if=/dev/xvda of=/dev/xvdd bs=1M 2>&1'] : []),
      'poweroff -f',
      '',
    ].join('\n');
    const { status, stdout, stderr } = await paravane(
      [
        ...['run', 'debian', '--clock', 'virtual', '--memory', '128', '--timeout', '1000', '--stats'],
        ...['--cmdline', 'console=hvc0 shell'],
        ...['--disk', 'format=raw,vdev=xvda,access=ro,target=read.img'],
        ...['--disk', 'raw.img,raw,xvdb,rw', '--disk', 'overlaid.img,raw,xvdc,rw,snapshot'],
        ...(qcow2 ? ['--disk', 'format=qcow2,vdev=xvdd,access=rw,target=some.qcow2'] : []),
      ],
      input,
    );
    expect(status).toBe(0);
    expect(stdout).toContain(`${sha256(content)}  /dev/xvda`);
    expect(stdout).toContain(`${sha256(content)}  /dev/xvdb`);
    expect(stdout).toContain('\nrefused');
    expect(Buffer.compare(readFileSync(file('raw.img')), content)).toBe(0);
    expect(Buffer.compare(readFileSync(file('read.img')), content)).toBe(0);
    expect(Buffer.compare(readFileSync(file('overlaid.img')), content)).toBe(0);
    expect(stderr).toMatch(/^disk xvdc, bytes written: 262144$/m);
    expect(stderr).toMatch(/^disk xvda, errors: 0$/m);
    if (!qcow2) return;
    expect(spawnSync('qemu-img', ['check', file('some.qcow2')]).status).toBe(0);
    expect(spawnSync('qemu-img', ['compare', file('some.qcow2'), file('raw.img')]).status).toBe(0);
  });
});

describe("Debian's front end", () => {
  beforeAll(() => pull('debian'));

  it('has a ring of sixteen pages for each vCPU, and requests of 256 segments', async () => {
    const content = pattern(8 * mebibyte, 5);
    writeFileSync(file('source.img'), content);
    writeFileSync(file('rings.img'), Buffer.alloc(8 * mebibyte));
    const copy = (cpu: number): string => {
      // More requests than a ring has entries, so that each goes round; then large ones.
      const part = `skip=$((${cpu} * 1024)) seek=$((${cpu} * 1024)) bs=4k`;
      return `taskset ${cpu + 1} sh -c "dd if=/tmp/all of=/dev/xvdb ${part} count=600 oflag=direct conv=notrunc; dd if=/tmp/all of=/dev/xvdb ${part} count=1024 conv=notrunc" 2>/dev/null &`;
    };
    const input = [
      'stty -echo; dd if=/dev/xvda of=/tmp/all bs=1M 2>/dev/null',
      `${copy(0)} ${copy(1)} wait; sync`,
      'echo tags $(cat /sys/block/xvdb/mq/*/nr_tags), segments $(cat /sys/block/xvdb/queue/max_segments)',
      'sha256sum /dev/xvdb',
      'poweroff -f',
      '',
    ].join('\n');
    const parameters = 'xen_blkfront.max_ring_page_order=4 xen_blkfront.max_indirect_segments=256';
    const { status, stdout, stderr } = await paravane(
      [
        ...['run', 'debian', '--clock', 'virtual', '--memory', '192', '--vcpus', '2', '--timeout', '1000', '--stats'],
        ...['--cmdline', `console=hvc0 shell quiet ${parameters}`],
        ...['--disk', 'source.img,raw,xvda,r', '--disk', 'rings.img,raw,xvdb,rw'],
      ],
      input,
    );
    expect(status).toBe(0);
    // 512 entries of 112 bytes; a ring of one page has 32.
    expect(stdout).toContain('tags 512 512, segments 256');
    expect(stdout).toContain(`${sha256(content)}  /dev/xvdb`);
    expect(Buffer.compare(readFileSync(file('rings.img')), content)).toBe(0);
    expect(stderr).toMatch(/^disk xvdb, errors: 0$/m);
  });
});

describe('Debian, while it runs', () => {
  beforeAll(() => pull('debian'));

  it('sees disks of another size and other media, and shuts down when it is asked to', async () => {
    let output = '';
    const image = createMemoryImage({ size: mebibyte });
    const large = createMemoryImage({ size: mebibyte, logicalBlockSize: 4096 });
    const securely: boolean[] = [];
    const { discard } = large;
    large.discard = (offset, length, options) => {
      securely.push(options?.secure === true);
      return discard!(offset, length, options);
    };
    const domain = await createMachine().bootDomain({
      config: {
        ...{ name: 'debian', type: 'pv', kernel: 'vmlinuz', memory: 128, maxmem: 128, vcpus: 1 },
        ...{ cmdline: 'console=hvc0 shell quiet', onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy' },
      },
      kernel: new Uint8Array(readFileSync(join(home, 'debian', 'vmlinuz'))),
      ramdisk: new Uint8Array(readFileSync(join(home, 'debian', 'initramfs.cpio.gz'))),
      disks: [
        { config: readDisk('memory,,xvda,rw').disk!, image },
        { config: readDisk(',,xvdb,cdrom').disk! },
        { config: readDisk('memory,,xvdc,rw').disk!, image: large },
      ],
      onOutput: (bytes) => void (output += Buffer.from(bytes).toString('latin1')),
      clock: 'virtual',
      seed: 0n,
      epoch: 0,
      now: () => 0,
    });
    const { disks } = domain.control!;
    /** Runs the guest until it has said `text`, or a change is made. */
    const until = async (reached: () => boolean): Promise<void> => {
      for (let steps = 0; !reached(); steps++) {
        const { state } = domain.step();
        if (state === 'ended' || steps > 20_000) throw new Error(output.slice(-2000));
        if (state !== 'running' || steps % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const ask = async (command: string): Promise<string> => {
      const from = output.length;
      domain.input(Buffer.from(`${command}; echo "@"@said\n`));
      await until(() => output.includes('@@said', from));
      return output.slice(from);
    };
    const make = async (change: Promise<void>): Promise<void> => {
      let made = false;
      change.then(() => (made = true));
      await until(() => made);
    };
    await until(() => output.includes('/root # '));
    await ask('stty -echo');
    const sizes = 'cat /sys/block/xvda/size /sys/block/xvdb/size';
    expect(await ask(sizes)).toMatch(/^2048\r\n0\r\n/m);

    await make(disks.resize('xvda', 3 * mebibyte));
    expect(await ask(sizes)).toMatch(/^6144\r\n0\r\n/m);
    expect(await ask('echo at the end | dd of=/dev/xvda bs=512 seek=6143 conv=sync,fsync 2>&1')).toContain(
      '0+1 records',
    );
    const last = Buffer.alloc(512);
    await image.read(3 * mebibyte - 512, last);
    expect(last.toString('latin1')).toContain('at the end');

    for (const seed of [8, 9]) {
      const content = pattern(2 * mebibyte, seed);
      const medium = createMemoryImage({ size: content.length });
      await medium.write(0, content);
      await make(disks.changeMedium('xvdb', medium));
      expect(await ask(sizes)).toMatch(/^6144\r\n4096\r\n/m);
      expect(await ask('sha256sum /dev/xvdb')).toContain(sha256(content));
    }
    await make(disks.changeMedium('xvdb', undefined));
    expect(await ask(sizes)).toMatch(/^6144\r\n0\r\n/m);

    // Blocks of 4096 bytes, and discards of both kinds.
    expect(await ask('cat /sys/block/xvdc/queue/logical_block_size')).toContain('4096');
    const fill = 'yes text | dd of=/dev/xvdc bs=4k count=8 iflag=fullblock oflag=direct 2>&1';
    expect(await ask(fill)).toContain('8+0 records');
    const start = Buffer.alloc(8 * 4096);
    await large.read(0, start);
    expect(start.toString('latin1')).toBe('text\n'.repeat(8 * 4096).slice(0, 8 * 4096));
    const give = 'blkdiscard -o 4096 -l 8192 /dev/xvdc && blkdiscard -s -o 16384 -l 4096 /dev/xvdc && echo gone';
    expect(await ask(give)).toContain('gone\r\n');
    expect(securely).toEqual([false, true]);
    await large.read(0, start);
    const zero = [0, 1, 2, 3, 4, 5, 6, 7].filter((block) => start[block * 4096] === 0);
    expect(zero).toEqual([1, 2, 4]);

    // Taken from its driver, and given back: Linux's blkfront leaves its state at Closed then, as on Xen. Only a back
    // end that says Connected once more makes it name rings again, which is for the toolstack to say.
    const { store, domid } = domain.control!;
    const states = async (): Promise<(string | undefined)[]> =>
      Promise.all(
        [`${domid}/device/vbd`, `0/backend/vbd/${domid}`].map((part) =>
          store.read(`/local/domain/${part}/51712/state`),
        ),
      );
    expect(await states()).toEqual(['4', '4']);
    await ask('cd /sys/bus/xen/drivers/vbd; echo vbd-51712 >unbind');
    expect(await states()).toEqual(['6', '6']);
    expect(await ask('echo vbd-51712 >bind && echo bound; ls /dev/xvda')).toMatch(/bound\r\n.*No such file/);
    expect(await states()).toEqual(['6', '6']);
    await make(store.write(`/local/domain/0/backend/vbd/${domid}/51712/state`, '4'));
    expect(await ask('while [ ! -b /dev/xvda ]; do sleep 0.1; done; tail -c 512 /dev/xvda')).toContain('at the end');
    expect(await states()).toEqual(['4', '4']);
    expect(await ask('echo anew | dd of=/dev/xvda conv=sync,fsync 2>&1')).toContain('0+1 records');
    await image.read(0, last);
    expect(last.toString('latin1')).toContain('anew');

    await make(store.write(`/local/domain/${domid}/control/shutdown`, 'poweroff'));
    let end: unknown;
    for (let steps = 0; end === undefined && steps < 20_000; steps++) {
      const result = domain.step();
      if (result.state === 'ended') end = result.end;
    }
    expect(end).toEqual({ kind: 'poweroff' });
    domain.destroy();
  });
});

describe('GRUB', () => {
  beforeAll(() => pull('grub'));

  it('lists a disk and reads from it', async () => {
    const image = createMemoryImage({ size: mebibyte });
    const block = Buffer.alloc(512);
    block.write('a line of text\n');
    await image.write(0, block);
    const guest = await startGuest({
      kernel: new Uint8Array(readFileSync(join(home, 'grub', 'grub.bin'))),
      memory: 64,
      disks: [{ config: readDisk('memory,,xvda,r').disk!, image }],
    });
    guest.waitFor('grub> ');
    guest.type('ls\r');
    expect(guest.waitFor('grub> ')).toContain('(memdisk) (proc) (xen/xvda)');
    guest.type('cat (xen/xvda)0+1\r');
    expect(guest.waitFor('grub> ')).toContain('a line of text');
    guest.type('halt\r');
    expect(guest.waitForEnd()).toEqual({ kind: 'poweroff' });
  });

  it('is recorded with its disk, and replayed to the same state', async () => {
    const contents = Buffer.alloc(mebibyte);
    contents.write('a line of text\n');
    writeFileSync(file('text.img'), contents);
    const run = (...flags: string[]) =>
      paravane(['run', 'grub', '--memory', '64', '--disk', 'text.img,raw,xvda,r', ...flags], 'ls\rhalt\r');
    const recorded = await run('--record', 'grub.rec', '--stats');
    expect(recorded.stdout).toContain('(memdisk) (proc) (xen/xvda)');
    expect(recorded.status).toBe(0);
    const state = /^state hash: (.*)$/m.exec(recorded.stderr)?.[1];
    const replayed = await run('--replay', 'grub.rec', '--engine', 'interpreter');
    expect(replayed.stderr).toMatch(
      new RegExp(`^paravane: replayed \\d+ instructions, to the recorded state ${state}\n$`),
    );
    expect(replayed).toMatchObject({ status: 0, stdout: recorded.stdout });
    contents.write('another');
    writeFileSync(file('text.img'), contents);
    const refused = await run('--replay', 'grub.rec');
    expect(refused.stderr).toContain("this run can't be the recorded one: disk xvda was");
    expect(refused.status).toBe(1);
  });

  it('is recorded with answers of its disk that came late, which a replay need not wait as long for', async () => {
    const image = createMemoryImage({ size: mebibyte });
    await image.write(0, Buffer.from('late'.padEnd(512, '\n')));
    const play = async (delay: number, wrap: (machine: Machine) => Machine) => {
      const late: DiskImage = Object.assign(Object.create(image) as DiskImage, {
        read: (offset: number, into: Buffers) => setTimeout(delay).then(() => image.read(offset, into)),
      });
      let output = '';
      const machine = wrap(createMachine());
      const domain = await machine.bootDomain({
        config: readDomainConfig('name = "grub"\nkernel = "grub.bin"\nmemory = 64\n').config!,
        kernel: new Uint8Array(readFileSync(join(home, 'grub', 'grub.bin'))),
        disks: [{ config: readDisk('memory,,xvda,r').disk!, image: late }],
        onOutput(bytes) {
          output += Buffer.from(bytes).toString('latin1');
        },
        clock: 'virtual',
        seed: 0n,
        epoch: 0,
        now: () => 0,
      });
      domain.input(Buffer.from('ls\rhalt\r'));
      for (;;) {
        const result = domain.step();
        if (result.state === 'busy') await result.done;
        if (result.state === 'ended') break;
      }
      domain.destroy();
      return output;
    };
    const host = { version: '1', createChecksum: () => ({ add: () => undefined, digest: () => '' }) };
    const lines: string[] = [];
    const same: RecordedEnd[] = [];
    const recorded = await play(3, (machine) =>
      recordingMachine(machine, { ...host, write: (line) => lines.push(line) }),
    );
    expect(recorded).toContain('(xen/xvda)');
    expect(lines.filter((line) => line.includes('"source":"disk"')).length).toBeGreaterThan(0);
    const recording = readRecording(lines.join('\n'), 'late.rec');
    const options = { ...host, onSame: (end: RecordedEnd) => same.push(end) };
    expect(await play(0, (machine) => replayingMachine(machine, recording, options))).toBe(recorded);
    expect(same).toHaveLength(1);
  });
});

describe('GNU Mach', () => {
  beforeAll(() => pull('gnumach'));

  it('finds a disk, as on Xen', async () => {
    writeFileSync(file('ddisk.img'), Buffer.alloc(16 * mebibyte));
    const { stdout } = await paravane(
      ['run', 'gnumach', '--clock', 'virtual', '--memory', '64', '--disk', 'ddisk.img,raw,xvda,w'],
      '',
    );
    // The line of the golden transcript.
    expect(stdout).toContain("xvd0: dom0's VBD 51712 (ddisk.img,w) 16MB");
  });
});
