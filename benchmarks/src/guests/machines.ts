/** The machines that are compared, as far as this host has what they need. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { aptSource, dataFolder, hasApt, readDeb } from '@paravane/host-node';
import { paravane } from '../command-line.js';
import type { Bits, Programs } from './programs.js';
import { engineNames } from './report.js';

/** `again` has the compiled code of its last run, `jit` begins with none. */
export type Engine = 'jit' | 'again' | 'interpreter' | 'qemu' | 'v86';

export interface GuestMachine {
  readonly engine: Engine;
  readonly name: string;
  /** Of the programs that it runs. */
  readonly bits: readonly Bits[];
  readonly command: readonly string[];
  /** Whether it is run once before it is measured. */
  readonly rehearses?: boolean;
}

export const MEMORY_MIB = 256;
const BIOS = '/usr/share/seabios';

/** @param leave told of each machine that is left out, and why */
export async function findMachines(
  programs: Programs,
  cache: string,
  leave: (line: string) => void,
): Promise<GuestMachine[]> {
  const kernel64 = join(dataFolder(process.env), 'debian/vmlinuz');
  if (!existsSync(kernel64)) throw new Error(`there is no ${kernel64}: run paravane pull debian first`);
  const common = 'quiet mitigations=off nowatchdog';
  const here = (engine: 'jit' | 'again' | 'interpreter'): GuestMachine => ({
    engine,
    name: engineNames[engine],
    bits: [64, 32],
    rehearses: engine === 'again',
    command: [
      ...['env', `XDG_CACHE_HOME=${cache}`, ...paravane(), 'run'],
      ...(engine === 'again' ? [] : ['--engine', engine, '--no-code-cache']),
      ...['--kernel', kernel64, '--ramdisk', programs.initramfs[64], '--memory', String(MEMORY_MIB)],
      ...['--cmdline', `console=hvc0 ${common}`],
    ],
  });
  const machines = [here('jit'), here('again'), here('interpreter')];
  const kernel32 = await fetchKernel32(cache, leave);
  const qemu = (command: string, bits: Bits, kernel: string): void => {
    if (spawnSync(command, ['--version']).status !== 0) {
      leave(`QEMU, ${bits} bits: there is no ${command}`);
      return;
    }
    machines.push({
      engine: 'qemu',
      name: `QEMU, ${bits} bits`,
      bits: [bits],
      command: [
        ...[command, '-accel', 'tcg', '-display', 'none', '-serial', 'stdio', '-monitor', 'none', '-no-reboot'],
        ...['-nic', 'none', '-m', String(MEMORY_MIB), '-kernel', kernel, '-initrd', programs.initramfs[bits]],
        ...['-append', `console=ttyS0 ${common}`],
      ],
    });
  };
  qemu('qemu-system-x86_64', 64, kernel64);
  if (kernel32 === undefined) return machines;
  qemu('qemu-system-i386', 32, kernel32);
  const [bios, vgaBios] = [join(BIOS, 'bios.bin'), join(BIOS, 'vgabios-stdvga.bin')];
  if (!existsSync(bios) || !existsSync(vgaBios)) {
    leave(`v86: there is no ${bios}; the Debian package seabios has it`);
    return machines;
  }
  const v86 = fileURLToPath(new URL('v86-host.js', import.meta.url));
  machines.push({
    engine: 'v86',
    name: 'v86',
    bits: [32],
    command: [
      ...[process.execPath, v86, bios, vgaBios, kernel32, programs.initramfs[32], String(MEMORY_MIB)],
      `console=ttyS0 ${common}`,
    ],
  });
  return machines;
}

/** The kernel of Debian's `linux-image-686`: the smallest of its kernels that v86 boots. Undefined where apt is not. */
async function fetchKernel32(cache: string, leave: (line: string) => void): Promise<string | undefined> {
  const file = join(cache, 'vmlinuz-686');
  if (existsSync(file)) return file;
  if (!(await hasApt())) {
    leave('v86 and QEMU, 32 bits: their kernel, linux-image-686, is fetched with apt-get, which is not here');
    return undefined;
  }
  const folder = join(cache, 'apt');
  mkdirSync(folder, { recursive: true });
  const source = aptSource({ folder, progress: (line) => console.error(line) });
  const fetch = async (name: string): Promise<ReturnType<typeof readDeb>> => {
    const fetched = await source.fetch({ name, architecture: 'i386' });
    return readDeb(fetched.bytes, fetched.file);
  };
  const newest = (await fetch('linux-image-686')).depends.find(({ name }) => name.startsWith('linux-image-'));
  if (newest === undefined) throw new Error('linux-image-686 depends on no kernel');
  const kernel = (await fetch(newest.name)).entries().find(({ path }) => /(^|\/)boot\/vmlinuz-/.test(path));
  if (kernel?.content === undefined) throw new Error(`${newest.name} has no kernel`);
  writeFileSync(file, kernel.content);
  return file;
}
