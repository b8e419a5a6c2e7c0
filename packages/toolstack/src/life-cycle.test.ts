import { describe, expect, it } from 'vitest';
import {
  type BootRequest,
  type DomainConfig,
  type DomainEnd,
  formatCrashReport,
  type HostTime,
  type Machine,
  runDomain,
  type StepResult,
} from './index.js';

const config: DomainConfig = {
  name: 'guest',
  type: 'pv',
  kernel: 'k',
  cmdline: '',
  memory: 64,
  maxmem: 64,
  vcpus: 1,
  onPoweroff: 'destroy',
  onReboot: 'restart',
  onCrash: 'destroy',
};

/** A host whose time passes only in pauses and by `tick` at each look at the clock. */
function fakeTime(tick = 0): HostTime {
  let milliseconds = 0;
  return {
    now: () => (milliseconds += tick),
    yield: () => Promise.resolve(),
    pause(length) {
      let wake = (): void => undefined;
      const done = new Promise<void>((resolve) => {
        wake = resolve;
        if (length !== Number.POSITIVE_INFINITY) {
          milliseconds += length;
          resolve();
        }
      });
      return { done, wake };
    },
  };
}

/** A machine whose domains play one script each. */
function scriptedMachine(...scripts: StepResult[][]) {
  const typed: string[] = [];
  const destroyed: number[] = [];
  let boots = 0;
  const machine: Machine = {
    bootDomain(request) {
      const number = boots;
      boots += 1;
      const script = [...(scripts[number] ?? [])];
      request.onOutput(new TextEncoder().encode(`boot ${number}\r\n`));
      return Promise.resolve({
        input: (bytes) => typed.push(new TextDecoder().decode(bytes)),
        step: () => script.shift() ?? { state: 'running' },
        guestMilliseconds: 0,
        stats: () => ({ instructions: BigInt(number), guestMilliseconds: 0, counters: {} }),
        destroy: () => destroyed.push(number),
      });
    },
  };
  return { machine, typed, destroyed };
}

const request = (changes: Partial<DomainConfig> = {}): BootRequest => ({
  config: { ...config, ...changes },
  kernel: new Uint8Array(),
  onOutput: () => undefined,
  clock: 'virtual',
  seed: 0n,
  epoch: 0,
  now: () => 0,
});

const ended = (end: DomainEnd): StepResult => ({ state: 'ended', end });
const crash: DomainEnd = { kind: 'crash', report: { reason: 'triple fault', bits: 64, registers: [], backtrace: [] } };

describe('runDomain', () => {
  it('runs a domain until it powers off, and gives it back', async () => {
    const { machine, destroyed } = scriptedMachine([{ state: 'running' }, ended({ kind: 'poweroff' })]);
    const run = runDomain(machine, request(), { time: fakeTime() });
    expect(await run.outcome).toEqual({ kind: 'shutdown', by: 'poweroff' });
    expect(destroyed).toEqual([0]);
    expect(run.stats()?.instructions).toBe(0n);
  });

  it('restarts or ends a domain as on_reboot and on_crash say', async () => {
    const twice = scriptedMachine([ended({ kind: 'reboot' })], [ended(crash)]);
    const restarts: string[] = [];
    const run = runDomain(twice.machine, request(), {
      time: fakeTime(),
      onRestart: (end) => restarts.push(end.kind),
    });
    expect(await run.outcome).toMatchObject({ kind: 'crash', consoleTail: ['boot 0', 'boot 1'] });
    expect(restarts).toEqual(['reboot']);
    expect(twice.destroyed).toEqual([0, 1]);

    const once = scriptedMachine([ended({ kind: 'reboot' })]);
    const stays = runDomain(once.machine, request({ onReboot: 'destroy' }), { time: fakeTime() });
    expect(await stays.outcome).toEqual({ kind: 'shutdown', by: 'reboot' });
  });

  it('delivers what was typed before the domain was built, and wakes a waiting one', async () => {
    const { machine, typed } = scriptedMachine([{ state: 'waiting' }, ended({ kind: 'poweroff' })]);
    const run = runDomain(machine, request(), { time: fakeTime() });
    run.input(new TextEncoder().encode('early'));
    setTimeout(() => run.input(new TextEncoder().encode('late')), 5);
    await run.outcome;
    expect(typed).toEqual(['early', 'late']);
  });

  it('ends at the timeout, whether the domain runs or waits', async () => {
    const busy = runDomain(scriptedMachine().machine, request(), { time: fakeTime(1), timeout: 100 });
    expect(await busy.outcome).toEqual({ kind: 'timeout' });
    const idle = scriptedMachine([{ state: 'waiting' }]).machine;
    expect(await runDomain(idle, request(), { time: fakeTime(), timeout: 100 }).outcome).toEqual({ kind: 'timeout' });
  });

  it('ends when interrupted', async () => {
    const run = runDomain(scriptedMachine([{ state: 'waiting' }]).machine, request(), { time: fakeTime() });
    setTimeout(() => run.interrupt(), 5);
    expect(await run.outcome).toEqual({ kind: 'interrupted' });
  });

  it('passes on why a kernel cannot be booted', async () => {
    const machine: Machine = { bootDomain: () => Promise.reject(new Error('no ELF image')) };
    await expect(runDomain(machine, request(), { time: fakeTime() }).outcome).rejects.toThrow('no ELF image');
  });
});

describe('formatCrashReport', () => {
  it('gives reason, registers, addresses with names, and the console', () => {
    const report = {
      reason: 'the guest asked to be crashed (SCHEDOP_shutdown)',
      bits: 64 as const,
      registers: [
        ['rip', 0xffffffff81000000n],
        ['rax', -1n],
      ] as const,
      backtrace: [{ address: 0xffffffff8100abcdn, symbol: 'panic+0x1d/0x300' }, { address: 16n }],
    };
    expect(formatCrashReport('g', report, ['Kernel panic'])).toEqual([
      'Domain "g" crashed: the guest asked to be crashed (SCHEDOP_shutdown)',
      '',
      'Registers:',
      '  rip ffffffff81000000  rax ffffffffffffffff',
      '',
      'Return addresses on the stack:',
      '  ffffffff8100abcd  panic+0x1d/0x300',
      '  0000000000000010',
      '',
      'Last console lines:',
      '  | Kernel panic',
    ]);
    const narrow = { reason: 'x', bits: 32, registers: [['eip', 0xc0001000n]], backtrace: [{ address: 16n }] } as const;
    expect(formatCrashReport('g', narrow, []).filter((line) => line.startsWith('  '))).toEqual([
      '  eip c0001000',
      '  00000010',
    ]);
  });
});
