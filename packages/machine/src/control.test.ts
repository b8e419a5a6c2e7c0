import { guestKernel } from '@paravane/guest-stubs';
import type { RunningDomain } from '@paravane/toolstack';
import { describe, expect, it } from 'vitest';
import { createMachine } from './index.js';

async function booted(cmdline = '', clock: 'virtual' | 'wall' = 'virtual', now = () => 0) {
  const said = { output: '' };
  const domain = await createMachine().bootDomain({
    config: {
      name: 'guest',
      type: 'pv',
      kernel: 'own',
      cmdline,
      memory: 32,
      maxmem: 32,
      vcpus: 1,
      onPoweroff: 'destroy',
      onReboot: 'destroy',
      onCrash: 'destroy',
    },
    kernel: guestKernel(),
    onOutput(bytes) {
      for (const byte of bytes) said.output += String.fromCharCode(byte);
    },
    clock,
    seed: 0n,
    epoch: 0,
    now,
  });
  const { control } = domain;
  if (control === undefined) throw new Error('the machine offers no control');
  return { domain, control, said };
}

/** Steps until the guest waits or has ended; by how it left off. */
function settle(domain: RunningDomain): string {
  for (;;) {
    const { state } = domain.step();
    if (state !== 'running') return state;
  }
}

describe("a domain's store", () => {
  it('takes changes at the next step, and tells who watches', async () => {
    const { domain, control } = await booted();
    settle(domain);
    const { store, domid } = control;
    const path = `/local/domain/${domid}/data/x`;
    const changed: string[] = [];
    const stop = store.watch(`/local/domain/${domid}/data`, (at) => changed.push(at));
    const written = store.write(path, 'a\0\xff');
    expect(store.read(path)).toBeUndefined();
    domain.step();
    await written;
    expect(store.read(path)).toBe('a\0\xff');
    expect([...store.entries(path)]).toMatchObject([{ path, value: 'a\0\xff' }]);
    const removed = store.remove(path);
    domain.step();
    await removed;
    stop();
    expect(changed).toEqual([`/local/domain/${domid}/data`, path, path]);
  });

  it('refuses a malformed path, and every change once the domain is gone', async () => {
    const { domain, control } = await booted();
    const outcome = (change: Promise<unknown>): Promise<unknown> => change.catch((error: unknown) => error);
    const bad = outcome(control.store.write('/a//b', ''));
    domain.step();
    expect(await bad).toMatchObject({ code: 'xenstore-path' });
    const late = outcome(control.store.write('/a', ''));
    domain.destroy();
    expect(await late).toMatchObject({ code: 'guest-ended' });
    await expect(control.store.remove('/a')).rejects.toMatchObject({ code: 'guest-ended' });
  });
});

describe('a paused domain', () => {
  it('runs the same in virtual time as one that never was', async () => {
    const paused: unknown[] = [];
    const run = async (pauses: boolean) => {
      const { domain, control, said } = await booted('cmd=sleep 50;bench 1;traps;poweroff');
      for (let step = 0; ; step++) {
        if (pauses && step % 40 === 0) {
          control.pause();
          control.pause();
          const before = domain.guestMilliseconds;
          paused.push({ ...domain.step(), passed: domain.guestMilliseconds - before });
          control.unpause();
          control.unpause();
        }
        const { state } = domain.step();
        if (state === 'ended') return { ...said, stats: domain.stats() };
      }
    };
    const free = await run(false);
    expect(free.output).toContain('traps: 10 passed, 0 failed');
    expect(await run(true)).toEqual(free);
    expect(paused.length).toBeGreaterThan(0);
    expect(paused).toEqual(paused.map(() => ({ state: 'waiting', passed: 0 })));
  });

  it('takes typing and changes of its store, and acts on them later', async () => {
    const { domain, control, said } = await booted();
    settle(domain);
    control.pause();
    domain.input(new TextEncoder().encode('echo later\r'));
    const written = control.store.write('/local/domain/1/data/x', '1');
    expect(settle(domain)).toBe('waiting');
    await written;
    expect(said.output).not.toContain('later');
    control.unpause();
    settle(domain);
    expect(said.output).toContain('\r\nlater\r\n');
  });

  it('sees the host clock go on in wall time', async () => {
    let milliseconds = 0;
    const { domain, control } = await booted('', 'wall', () => milliseconds);
    settle(domain);
    const before = domain.guestMilliseconds;
    control.pause();
    milliseconds += 5000;
    expect(settle(domain)).toBe('waiting');
    control.unpause();
    settle(domain);
    expect(domain.guestMilliseconds - before).toBeGreaterThan(4900);
    domain.input(new TextEncoder().encode('poweroff\r'));
    expect(settle(domain)).toBe('ended');
  });
});
