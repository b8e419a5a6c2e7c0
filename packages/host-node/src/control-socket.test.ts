import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DomainRun, type HostTime, type Machine, runDomain } from '@paravane/toolstack';
import { afterAll, describe, expect, it } from 'vitest';
import { controlFolder, hostTime, openControlLinks, openControlSocket } from './index.js';

const root = mkdtempSync(join(tmpdir(), 'paravane-control-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;
function newFolder(): string {
  folders += 1;
  return join(root, String(folders));
}

/** A domain that waits for ever and shows what is typed. */
function waitingRun(time: HostTime = hostTime): DomainRun {
  const machine: Machine = {
    bootDomain: (request) =>
      Promise.resolve({
        input: (bytes) => request.onOutput(bytes),
        step: () => ({ state: 'waiting' }),
        guestMilliseconds: 0,
        stats: () => ({ instructions: 0n, guestMilliseconds: 0, counters: {} }),
        destroy: () => undefined,
      }),
  };
  return runDomain(
    machine,
    {
      config: {
        name: 'guest',
        type: 'pv',
        kernel: '',
        cmdline: '',
        memory: 8,
        maxmem: 8,
        vcpus: 1,
        onPoweroff: 'destroy',
        onReboot: 'destroy',
        onCrash: 'destroy',
      },
      kernel: new Uint8Array(),
      onOutput: () => undefined,
      clock: 'wall',
      seed: 0n,
      epoch: 0,
      now: time.now,
    },
    { time },
  );
}

const open = (folder: string, run = waitingRun()) =>
  openControlSocket(folder, { name: 'guest', memory: 8, vcpus: 1, run });

/** Sends text, and returns all that comes back until the other side hangs up or has answered `lines` times. */
function exchange(path: string, text: string, lines: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(path, () => socket.write(text));
    const all = () => got.split('\n').filter((line) => line !== '');
    socket.on('data', (chunk) => {
      got += chunk;
      if (all().length >= lines) socket.destroy();
    });
    socket.on('close', () => resolve(all()));
    socket.on('error', reject);
  });
}

describe('a control socket', () => {
  it('is for its owner alone, and gone when closed', async () => {
    const folder = newFolder();
    const socket = await open(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(socket.path).mode & 0o777).toBe(0o600);
    await socket.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('serves several clients, and tells them the end before it closes', async () => {
    const folder = newFolder();
    const run = waitingRun();
    const socket = await open(folder, run);
    const [first] = await openControlLinks(folder);
    const [second] = await openControlLinks(folder);
    const shown: string[] = [];
    const typed = new Promise((resolve) => {
      const ended = first?.ask({ op: 'console' }, (text) => {
        shown.push(text);
        resolve(undefined);
      });
      ended?.then((end) => shown.push(end.end));
    });
    await first?.ask({ op: 'info' });
    await second?.ask({ op: 'input', data: 'hello' });
    await typed;
    const ended = second?.ask({ op: 'wait' });
    await second?.ask({ op: 'destroy' });
    expect(await run.outcome).toEqual({ kind: 'interrupted', destroyed: true });
    await socket.close();
    expect(await ended).toEqual({ end: 'destroyed' });
    expect(shown).toEqual(['hello', 'destroyed']);
    await expect(first?.ask({ op: 'info' })).rejects.toMatchObject({ code: 'host-control-lost' });
  });

  it('answers garbage with errors and goes on', async () => {
    const folder = newFolder();
    const socket = await open(folder);
    const garbage = `GET / HTTP/1.1\r\n\xff\xfe{}\n[[[[\n{"id":5}\n{"id":6,"op":"info"}\n`;
    const answers = await exchange(socket.path, garbage, 6);
    expect(answers.map((line) => JSON.parse(line).id)).toEqual([undefined, null, null, null, 5, 6]);
    expect(await exchange(socket.path, 'x'.repeat(200_000), 99)).toHaveLength(2);
    expect(await exchange(socket.path, '{"id":6,"op":"info"}\n', 2)).toHaveLength(2);
    await socket.close();
  });
});

describe('the folder of control sockets', () => {
  it('is where the environment says', () => {
    expect(controlFolder({ PARAVANE_RUN_DIR: '/a', XDG_RUNTIME_DIR: '/b' })).toBe('/a');
    expect(controlFolder({ XDG_RUNTIME_DIR: '/b' })).toBe('/b/paravane');
    expect(controlFolder({})).toMatch(/paravane-\w+$/);
  });

  it('is cleaned of the sockets of dead processes', async () => {
    const folder = newFolder();
    mkdirSync(folder, { mode: 0o700 });
    const script = `const { createServer } = require('node:net');
createServer().listen(process.argv[1] + '/' + process.pid + '-01234567.sock', () => process.kill(process.pid, 'SIGKILL'));`;
    spawnSync(process.execPath, ['-e', script, folder]);
    writeFileSync(join(folder, 'other'), '');
    expect(readdirSync(folder)).toHaveLength(2);
    expect(await openControlLinks(folder)).toEqual([]);
    expect(readdirSync(folder)).toEqual(['other']);
    expect(await openControlLinks(newFolder())).toEqual([]);
  });

  it('is refused where others may enter, or where it leads elsewhere', async () => {
    const wide = newFolder();
    mkdirSync(wide);
    chmodSync(wide, 0o755);
    const link = newFolder();
    symlinkSync(root, link);
    for (const folder of [wide, link]) {
      await expect(open(folder)).rejects.toMatchObject({ code: 'host-run-folder' });
      await expect(openControlLinks(folder)).rejects.toMatchObject({ code: 'host-run-folder' });
    }
    expect(existsSync(join(wide, 'paravane'))).toBe(false);
  });

  it('is too long for a socket, and says so', async () => {
    await expect(open(join(root, 'x'.repeat(120)))).rejects.toThrow(/too long for a socket; set PARAVANE_RUN_DIR/);
  });
});
