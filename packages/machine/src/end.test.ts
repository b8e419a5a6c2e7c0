import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { helloKernel } from '@paravane/guest-stubs';
import { type RunningDomain, runDomain } from '@paravane/toolstack';
import { expect, it } from 'vitest';
import { createMachine } from './index.js';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');
const now = (): number => 0;

/** Boots a guest that powers off by itself; what would keep its memory alive. */
async function bootAndEnd(): Promise<WeakRef<RunningDomain>> {
  const { bootDomain } = createMachine();
  let domain: WeakRef<RunningDomain> | undefined;
  const machine = {
    async bootDomain(request: Parameters<typeof bootDomain>[0]) {
      const booted = await bootDomain(request);
      domain = new WeakRef(booted);
      return booted;
    },
  };
  const actions = { onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy' } as const;
  const config = { name: 'brief', type: 'pv', kernel: 'hello', cmdline: '', memory: 8, maxmem: 8, vcpus: 1 } as const;
  const request = {
    kernel: helloKernel(),
    onOutput: () => undefined,
    clock: 'virtual',
    seed: 0n,
    epoch: 0,
    now,
  } as const;
  const time = { now, yield: () => setImmediate(), pause: () => ({ done: Promise.resolve(), wake: () => undefined }) };
  const run = runDomain(machine, { ...request, config: { ...config, ...actions } }, { time });
  expect(await run.outcome).toEqual({ kind: 'shutdown', by: 'poweroff' });
  return domain as WeakRef<RunningDomain>;
}

it('nothing of a guest lives when it has ended, however many there were', async () => {
  const domains: WeakRef<RunningDomain>[] = [];
  for (let cycle = 0; cycle < 3; cycle++) domains.push(await bootAndEnd());
  const living = (): number => domains.filter((domain) => domain.deref() !== undefined).length;
  // What refers to each other across the heaps of JavaScript and WebAssembly goes in turns.
  for (let i = 0; i < 20 && living() > 0; i++) {
    await setImmediate();
    collect();
  }
  expect(living()).toBe(0);
});
