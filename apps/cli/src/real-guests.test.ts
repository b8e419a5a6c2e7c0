/**
 * Boots the guests that `paravane pull` gets, with the built command line, and holds what they ask of the hypervisor
 * against what they were seen to ask of real Xen (tools/golden).
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Allowance, createProfiler, judge, type Profile } from '@paravane/trace';
import { afterAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(root, 'apps', 'cli', 'dist', 'main.js');
/** Pulled once; `rm -r .cache/guests` pulls anew. */
const home = join(root, '.cache', 'guests');
/** The suite of the golden runs: Linux 6.1, GRUB 2.06. */
const suite = 'bookworm';
const folder = mkdtempSync(join(tmpdir(), 'paravane-guests-'));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function paravane(args: readonly string[], input = ''): Promise<Run> {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
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

async function pulled(guest: string): Promise<void> {
  if (existsSync(join(home, guest, `${guest}.cfg`))) return;
  const name = guest === 'grub-pv32' ? 'grub' : guest;
  // GNU Mach's own suite is the newest one.
  const { status, stderr } = await paravane(['pull', name, ...(name === 'gnumach' ? [] : ['--suite', suite])]);
  if (status !== 0) throw new Error(`paravane pull ${name} failed:\n${stderr}`);
}

/** Two runs at once with the same input, in virtual time; one of them traced. */
async function runTwice(guest: string, trace: string, input: string, memory = '128'): Promise<[Run, Run]> {
  await pulled(guest);
  const args = ['run', guest, '--clock', 'virtual', '--memory', memory, '--timeout', '1000', '--stats'];
  return Promise.all([paravane([...args, '--trace', trace], input), paravane(args, input)]);
}

const readJson = <T>(...path: string[]): T =>
  JSON.parse(readFileSync(join(root, 'tools', 'golden', ...path), 'utf8')) as T;

/** Differences from the golden profile that are not allowed, and allowances that are not needed any more. */
function faults(golden: string, trace: string): string[] {
  const profiler = createProfiler();
  for (const line of readFileSync(trace, 'utf8').split('\n')) profiler.line(line);
  const { differences } = readJson<{ differences: Allowance[] }>('allowed', `${golden}.json`);
  const verdict = judge(readJson<Profile>('profiles', `${golden}.json`), profiler.profile(), differences);
  return [
    ...verdict.faults.map(({ kind, text }) => `${kind} ${text}`),
    ...verdict.unused.map(({ kind, key }) => `allowed, and not seen: ${kind} ${key}`),
  ];
}

const figure = ({ stderr }: Run, name: string): string | undefined =>
  new RegExp(`^${name}: (.+)$`, 'm').exec(stderr)?.[1];

function expectEqualRuns([first, second]: readonly [Run, Run]): void {
  for (const name of ['guest instructions', 'state hash']) {
    expect(figure(first, name)).toBeDefined();
    expect(figure(second, name)).toBe(figure(first, name));
  }
  expect(second.stdout).toBe(first.stdout);
}

describe('GRUB', () => {
  it('comes to its prompt, lists devices and halts, asks what it asks of Xen, and does so again', async () => {
    const trace = join(folder, 'grub.txt');
    const runs = await runTwice('grub', trace, 'ls\nhalt\n');
    expect(runs[0].stdout).toContain('GNU GRUB  version 2.06');
    expect(runs[0].stdout).toContain('(memdisk) (proc)');
    expect(runs[0].status).toBe(0);
    expect(faults('grub-2.06-pv64', trace)).toEqual([]);
    expectEqualRuns(runs);
  });
});

describe('GRUB in 32 bits', () => {
  it('comes to its prompt, lists devices and halts, asks what it asks of Xen, and does so again', async () => {
    const trace = join(folder, 'grub-pv32.txt');
    const runs = await runTwice('grub-pv32', trace, 'ls\nhalt\n');
    expect(runs[0].stdout).toContain('GNU GRUB  version 2.06');
    expect(runs[0].stdout).toContain('(memdisk) (proc)');
    expect(runs[0].status).toBe(0);
    expect(faults('grub-2.06-pv32', trace)).toEqual([]);
    expectEqualRuns(runs);
  });
});

describe('GNU Mach', () => {
  it('finds no bootstrap code and says so, asks what it asks of Xen, and does so again', async () => {
    const trace = join(folder, 'gnumach.txt');
    const runs = await runTwice('gnumach', trace, '', '64');
    expect(runs[0].stdout).toContain('Running on xen-3.0-x86_32p.');
    expect(runs[0].stdout).toContain('vm_page: DIRECTMAP: pages: 12288 (48M), free: 11988 (46M)');
    expect(runs[0].stdout).toContain('bootstrap_create: No bootstrap code loaded with the kernel!');
    expect(runs[0].status).toBe(3);
    expect(faults('gnumach-1.8-pv32', trace)).toEqual([]);
    expectEqualRuns(runs);
  });
});

describe("Debian's kernel", () => {
  it('boots to a shell and powers off, asks what it asks of Xen, and does so again', async () => {
    const trace = join(folder, 'linux.txt');
    const runs = await runTwice('debian', trace, 'cat /sys/hypervisor/properties/capabilities\npoweroff -f\n');
    expect(runs[0].stdout).toContain('xen-3.0-x86_64');
    expect(runs[0].stdout).toContain('reboot: System halted');
    expect(runs[0].status).toBe(0);
    expect(faults('linux-6.1-pv64', trace)).toEqual([]);
    expectEqualRuns(runs);
  });

  it('ends with status 3 and a report with names when it panics', async () => {
    await pulled('debian');
    const { status, stderr } = await paravane(['run', 'debian'], 'echo c > /proc/sysrq-trigger\n');
    expect(stderr).toContain('crashed');
    expect(stderr).toContain('panic');
    expect(stderr).toContain('sysrq_handle_crash');
    expect(stderr).not.toMatch(/\n\s+at .*\.js/);
    expect(status).toBe(3);
  });
});
