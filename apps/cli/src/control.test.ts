/** The commands that act on running guests, over the built command line and our own guest kernel. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openControlLinks } from '@paravane/host-node';
import type { GuestInfo } from '@paravane/toolstack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'paravane-run-'));
const folder = join(root, 'run');
const env = { ...process.env, PARAVANE_RUN_DIR: folder };
const name = 'paravane-guest';

interface Running {
  readonly child: ChildProcess;
  readonly status: Promise<number | null>;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves when standard output holds the text. */
  says(text: string): Promise<void>;
}

const all: ChildProcess[] = [];

function launch(...args: string[]): Running {
  const child = spawn(process.execPath, [program, ...args], { env });
  all.push(child);
  let [stdout, stderr] = ['', ''];
  let look = (): void => undefined;
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    look();
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const status = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return {
    child,
    status,
    stdout: () => stdout,
    stderr: () => stderr,
    says: (text) =>
      new Promise((resolve, reject) => {
        look = () => {
          if (stdout.includes(text)) resolve();
        };
        look();
        status.then(() => reject(new Error(`no "${text}" in:\n${stdout}${stderr}`)), reject);
      }),
  };
}

/** Runs a command to its end: standard output and error, and status. */
async function paravane(...args: string[]): Promise<[stdout: string, stderr: string, status: number | null]> {
  const command = launch(...args);
  command.child.stdin?.end();
  const status = await command.status;
  return [command.stdout(), command.stderr(), status];
}

async function state(): Promise<string> {
  const [stdout] = await paravane('list', '--json');
  return (JSON.parse(stdout) as { state: string }[])[0]?.state ?? 'none';
}

beforeAll(() => {
  if (!existsSync(program)) throw new Error('the command line has not been built: run `npx --yes pnpm@10 build` first');
});

afterAll(() => {
  for (const child of all) child.kill('SIGKILL');
  rmSync(root, { recursive: true, force: true });
});

describe('a running guest', () => {
  let guest: Running;
  beforeAll(async () => {
    guest = launch('start', '--timeout', '1000');
    await guest.says('paravane> ');
  });

  it('is listed', async () => {
    const [stdout, stderr, status] = await paravane('list');
    expect(stdout).toMatch(/^Name +ID +MiB +vCPUs +State +CPU s +Uptime +Process\n/);
    expect(stdout).toMatch(/\nparavane-guest +1 +32 +1 +(running|blocked) +[0-9.]+ +00:0\d:\d\d +\d+\n$/);
    expect(stdout).toContain(String(guest.child.pid));
    expect([stderr, status]).toEqual(['', 0]);
  });

  it('has a store that can be read, written, watched and listed', async () => {
    const watch = launch('store', 'watch', name, 'data', '--count', '2');
    await watch.says('/local/domain/1/data\n');
    expect(await paravane('store', 'write', name, 'data/x', 'grüß')).toEqual(['', '', 0]);
    expect(await watch.status).toBe(0);
    expect(watch.stdout()).toBe('/local/domain/1/data\n/local/domain/1/data/x\n');
    expect(await paravane('store', 'read', name, '/local/domain/1/data/x')).toEqual(['grüß\n', '', 0]);
    expect((await paravane('store', 'ls', name))[0]).toContain('\n   data = ""\n    x = "gr\\xc3\\xbc\\xc3\\x9f"\n');
    const [flat] = await paravane('store', 'ls', String(guest.child.pid), 'memory', '--flat', '--permissions');
    expect(flat).toContain('/local/domain/1/memory/target = "32768" (n0,r1)\n');
    expect(await paravane('store', 'rm', name, 'data/x')).toEqual(['', '', 0]);
    const [, missing, status] = await paravane('store', 'read', name, 'data/x');
    expect(missing).toBe('paravane: /local/domain/1/data/x: there is no such node in the store\n');
    expect(status).toBe(2);
    expect((await paravane('store', 'write', name, '/a//b', 'x'))[2]).toBe(2);
  });

  it('shows its console to several, and takes typing while it is paused', async () => {
    const viewers = [launch('console', name), launch('console', name)] as const;
    viewers[0].child.stdin?.write('echo first\r');
    await viewers[0].says('\r\nfirst\r\n');
    viewers[1].child.stdin?.write('echo second\r');
    await viewers[1].says('\r\nsecond\r\n');
    await viewers[0].says('\r\nsecond\r\n');
    expect(await paravane('pause', name)).toEqual(['', '', 0]);
    expect(await state()).toBe('paused');
    viewers[1].child.stdin?.write('echo third\r');
    expect((await paravane('shutdown', name))[1]).toContain('is paused, and will hear of it');
    expect(viewers[0].stdout()).not.toContain('third');
    expect(await paravane('unpause', name)).toEqual(['', '', 0]);
    await viewers[0].says('\r\nthird\r\n');
    expect(guest.stdout()).toContain('\r\nthird\r\n');
    expect(await paravane('store', 'read', name, 'control/shutdown')).toEqual(['poweroff\n', '', 0]);
    // Our kernel listens to no requests: somebody else takes this one.
    const asked = launch('sysrq', name, 'h');
    // In this process, for it has to be done within the ten seconds that a guest has.
    const [link] = await openControlLinks(folder);
    const path = 'control/sysrq';
    await new Promise<void>((resolve, reject) => {
      const look = (): void =>
        void link!.ask({ op: 'store-read', path }).then(
          (key) => key === 'h' && resolve(),
          () => undefined,
        );
      link!.ask({ op: 'store-watch', path }, look).catch(reject);
    });
    await link!.ask({ op: 'store-write', path, value: '' });
    link!.close();
    expect([await asked.status, asked.stderr()]).toEqual([0, '']);
    const [, untaken, failure] = await paravane('reboot', name);
    expect([untaken, failure]).toEqual([expect.stringContaining('has not taken the request in 10 seconds'), 1]);
    expect(await paravane('mem-set', name, '32')).toEqual(['', '', 0]);
    const [, tooMuch, refused] = await paravane('mem-set', name, '1G');
    expect([tooMuch, refused]).toEqual([expect.stringContaining('this guest can have 4 to 32 MiB'), 2]);
    viewers[0].child.kill('SIGINT');
    expect(await viewers[0].status).toBe(0);
    expect(await paravane('destroy', name)).toEqual(['', '', 0]);
    expect(await viewers[1].status).toBe(0);
    expect(viewers[1].stderr()).toContain('"paravane-guest" has ended: destroyed');
    expect(await guest.status).toBe(130);
    expect(guest.stderr()).toContain('was ended: destroyed');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('guests that are not there', () => {
  it('are status 2, as bad arguments are', async () => {
    const [, stderr, status] = await paravane('pause', 'nobody');
    expect(stderr).toBe('paravane: no guest "nobody" is running; paravane list shows those that are\n');
    expect(status).toBe(2);
    expect((await paravane('store', 'watch', 'nobody', 'x', '--count', '0'))[2]).toBe(2);
    expect((await paravane('store', 'read', 'nobody'))[2]).toBe(2);
    expect(await paravane('list')).toEqual([expect.stringMatching(/^Name [^\n]*\n$/), '', 0]);
  });
});

describe('a process that is slow to answer', () => {
  /** Answers to `info` after so many milliseconds, and to all else at once. */
  const serve = async (milliseconds: number): Promise<Server> => {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const info: GuestInfo = {
      ...{ name: 'slow', domid: 1, pid: process.pid, state: 'blocked', memory: 32, vcpus: 1 },
      ...{ cpuSeconds: 1, uptimeSeconds: 1 },
    };
    const server = createServer((socket) => {
      socket.write(`${JSON.stringify({ hello: 'paravane', protocol: 1 })}\n`);
      socket.on('error', () => undefined);
      socket.on('data', (text) => {
        const { id, op } = JSON.parse(String(text)) as { id: number; op: string };
        const answer = (result: unknown): void => void socket.write(`${JSON.stringify({ id, result })}\n`);
        if (op === 'info') setTimeout(() => answer(info), milliseconds).unref();
        else answer(null);
      });
    });
    server.listen(join(folder, `${process.pid}-00000000.sock`));
    await once(server, 'listening');
    return server;
  };

  it('is named, and not waited for for long', async () => {
    const server = await serve(60_000);
    const [stdout, stderr, status] = await paravane('list');
    server.close();
    expect(stderr).toBe(`paravane: left out process ${process.pid}, which gave no answer in 1 s\n`);
    expect([stdout, status]).toEqual([expect.stringMatching(/^Name [^\n]*\n$/), 0]);
  });

  it('is waited for where the command is for its guest', async () => {
    const server = await serve(1500);
    expect(await paravane('pause', 'slow')).toEqual(['', '', 0]);
    server.close();
  });
});

it('tells guests of one name apart by their processes, and outlives one that was killed', async () => {
  const guests = [launch('start'), launch('start')] as const;
  for (const guest of guests) await guest.says('paravane> ');
  const [, stderr, status] = await paravane('pause', name);
  expect(stderr).toContain('2 guests are called "paravane-guest"');
  expect(status).toBe(2);
  expect(await paravane('pause', String(guests[1].child.pid))).toEqual(['', '', 0]);
  // One that is stopped is told of at once, and hides nobody.
  const [stopped] = guests;
  stopped.child.kill('SIGSTOP');
  const [, told, unreached] = await paravane('unpause', String(stopped.child.pid));
  expect(told).toContain(`left out process ${stopped.child.pid}, which is stopped: kill -CONT`);
  expect(unreached).toBe(2);
  guests[0].child.kill('SIGKILL');
  await guests[0].status;
  expect(await state()).toBe('paused');
  expect(readdirSync(folder)).toHaveLength(1);
  expect((await paravane('destroy', name))[2]).toBe(0);
});
