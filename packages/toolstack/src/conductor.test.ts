import { describe, expect, it } from 'vitest';
import {
  type BootRequest,
  createConductor,
  type DomainConfig,
  type HostTime,
  type Machine,
  runDomain,
  type StepResult,
} from './index.js';

/** A host whose time passes only in pauses. */
function fakeTime(): HostTime & { readonly slept: number[] } {
  let milliseconds = 0;
  const slept: number[] = [];
  return {
    slept,
    now: () => milliseconds,
    yield: () => Promise.resolve(),
    pause(length) {
      let wake = (): void => undefined;
      const done = new Promise<void>((resolve) => {
        wake = resolve;
        slept.push(length);
        if (length === Number.POSITIVE_INFINITY) return;
        milliseconds += length;
        resolve();
      });
      return { done, wake };
    },
  };
}

const config = (name: string): DomainConfig => ({
  name,
  type: 'pv',
  kernel: 'k',
  cmdline: '',
  memory: 64,
  maxmem: 64,
  vcpus: 1,
  onPoweroff: 'destroy',
  onReboot: 'restart',
  onCrash: 'destroy',
});

type Event = string;

/** A domain that has something to do at some moments of its time, and ends at the last of them. */
function machineOf(moments: readonly number[], note: (what: string, at: number) => void, steps = 0.1): Machine {
  return {
    bootDomain() {
      let now = 0;
      const left = [...moments];
      const step = (until = Number.POSITIVE_INFINITY): StepResult => {
        const next = left[0] ?? Number.POSITIVE_INFINITY;
        if (now >= until) return { state: 'waiting', milliseconds: Math.max(0, next - now) };
        if (now < next) {
          now = Math.min(next, until, now + (next - now > 5 ? 1e9 : steps));
          return now < until ? { state: 'running' } : { state: 'waiting', milliseconds: next - now };
        }
        left.shift();
        note('works', now);
        return left.length > 0 ? { state: 'running' } : { state: 'ended', end: { kind: 'poweroff' } };
      };
      return Promise.resolve({
        input: () => undefined,
        step,
        get guestMilliseconds() {
          return now;
        },
        stats: () => ({ instructions: 0n, guestMilliseconds: now, counters: {} }),
        destroy: () => undefined,
      });
    },
  };
}

const request = (name: string): BootRequest => ({
  config: config(name),
  kernel: new Uint8Array(0),
  onOutput: () => undefined,
  clock: 'virtual',
  seed: 0n,
  epoch: 0,
  now: () => 0,
});

describe('a conductor', () => {
  it('lets domains go on together, in the same order every time', async () => {
    async function play(): Promise<Event[]> {
      const time = fakeTime();
      const conductor = createConductor({ time });
      const events: Event[] = [];
      const runs = ['a', 'b'].map((name) =>
        runDomain(
          machineOf(name === 'a' ? [0.3, 1.1, 10, 2000] : [0.4, 9, 3000], (what, at) => {
            events.push(`${name} ${what} ${at.toFixed(1)}`);
            expect(Math.abs(conductor.clock.now() - at)).toBeLessThan(0.5);
          }),
          request(name),
          { time, member: conductor.join() },
        ),
      );
      const outcomes = await Promise.all(runs.map(({ outcome }) => outcome));
      expect(outcomes.map(({ kind }) => kind)).toEqual(['shutdown', 'shutdown']);
      expect(time.slept).toEqual([]);
      return events;
    }
    const events = await play();
    expect(events).toEqual([
      'a works 0.3',
      'b works 0.4',
      'a works 1.1',
      'b works 9.0',
      'a works 10.0',
      'a works 2000.0',
      'b works 3000.0',
    ]);
    expect(await play()).toEqual(events);
  });

  it('fires timers of the shared time where the domains come to them', async () => {
    const time = fakeTime();
    const conductor = createConductor({ time });
    const fired: number[] = [];
    const { clock } = conductor;
    clock.schedule(100, () => fired.push(clock.now()));
    clock.schedule(0.05, () => {
      fired.push(clock.now());
      clock.schedule(7, () => fired.push(clock.now()));
    });
    clock.schedule(8, () => fired.push(-1))();
    const run = runDomain(
      machineOf([50], () => fired.push(50)),
      request('a'),
      { time, member: conductor.join() },
    );
    await run.outcome;
    expect(fired).toEqual([0.05, 7.05, 50]);
  });

  it('lets idle time pass as the host’s does while an answer may come, and not for ever', async () => {
    const time = fakeTime();
    let waits = true;
    const conductor = createConductor({ time, paced: () => waits });
    const run = runDomain(
      machineOf([100, 4000, 90_000, 90_100], (_, at) => {
        if (at > 50_000) waits = false;
      }),
      request('a'),
      { time, member: conductor.join() },
    );
    await run.outcome;
    expect(time.slept.map(Math.round)).toEqual([100, 3900, 86_000]);
    expect(time.now()).toBeLessThan(90_100);
  });

  it('ends at a timeout although nobody has anything to do', async () => {
    const time = fakeTime();
    const conductor = createConductor({ time });
    const run = runDomain(
      machineOf([Number.POSITIVE_INFINITY], () => undefined),
      request('a'),
      {
        time,
        member: conductor.join(),
        timeout: 500,
      },
    );
    expect((await run.outcome).kind).toBe('timeout');
  });

  it('lets the others go on when one is interrupted', async () => {
    const time = fakeTime();
    const conductor = createConductor({ time });
    const idle = runDomain(
      machineOf([Number.POSITIVE_INFINITY], () => undefined),
      request('a'),
      {
        time,
        member: conductor.join(),
      },
    );
    const busy = runDomain(
      machineOf([1, 2, 3, 400], (_, at) => {
        if (at === 3) idle.interrupt();
      }),
      request('b'),
      { time, member: conductor.join() },
    );
    expect((await idle.outcome).kind).toBe('interrupted');
    expect((await busy.outcome).kind).toBe('shutdown');
  });
});
