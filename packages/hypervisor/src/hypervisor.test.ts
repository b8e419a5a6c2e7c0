import { readFileSync } from 'node:fs';
import type { Engine, Exit, VcpuCore } from '@paravane/engine-api';
import { createMmu, emptySpace } from '@paravane/mmu';
import { type Domain, PERSONALITY_API_VERSION, type Personality, type Vcpu } from '@paravane/personality-api';
import type { DomId, Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { createHypervisor, createStateHash, type HypervisorOptions, type InputRecord } from './index.js';
import { runOne } from './testing/readme-example.js';

/** A core that halts after each `period` instructions. */
function createCountingCore(period: number): VcpuCore {
  const exit: Exit = { reason: 'budget', vector: 0, errorCode: -1, address: 0n, length: 0, dr6: 0, instruction: null };
  let count = 0;
  return {
    regs: new BigUint64Array(16),
    selectors: new Uint16Array(6),
    rip: 0n,
    rflags: 2,
    fsBase: 0n,
    gsBase: 0n,
    cr0: 0,
    cr4: 0,
    xcr0: 1,
    mode: 64,
    get count() {
      return count;
    },
    tscRatio: 1,
    tscOffset: 0,
    tscAux: 0,
    space: emptySpace(1 as DomId),
    spaces: [],
    activeSpace: 0,
    personal: new DataView(new ArrayBuffer(0)),
    transitionFrame: 0,
    run(budget) {
      const untilHalt = period - (count % period);
      exit.reason = untilHalt <= budget ? 'halt' : 'budget';
      count += Math.min(untilHalt, budget);
      return exit;
    },
    debug: new BigUint64Array(8),
    segment: () => ({ base: 0n, limit: 0xffffffff, rights: 0xc0f3 }),
    setSegment: () => undefined,
    codeAddress: 0n,
    debugTrap: () => 0,
    runEmulatingStore: () => null,
    readFxState: () => new Uint8Array(512),
    writeFxState: () => undefined,
    save: () => new Uint8Array([count & 0xff]),
    restore: () => undefined,
  };
}

function createMachine(options: Partial<HypervisorOptions> = {}, period = Infinity, onHalt?: (vcpu: Vcpu) => void) {
  const mmu = createMmu({ frames: 64, coreBytes: 1 << 19 });
  const engine: Engine = {
    name: 'counting',
    createVcpu: () => createCountingCore(period),
    disassemble: () => ({ text: '??', length: 1 }),
    stats: () => ({}),
  };
  const hypervisor = createHypervisor({ mmu, engine, clock: 'virtual', slice: 1000, loneSlice: 1000, ...options });
  const order: string[] = [];
  const personality: Personality = {
    name: 'test',
    apiVersion: PERSONALITY_API_VERSION,
    beforeRun: (vcpu) => void order.push(`${vcpu.domain.id}.${vcpu.id}@${hypervisor.now()}`),
    handleExit: (vcpu) => onHalt?.(vcpu),
    scheduled: () => undefined,
    destroyDomain: () => undefined,
    hashState: () => undefined,
  };
  const start = (name: string, vcpus = 1): Domain => {
    const domain = hypervisor.createDomain({ name, personality });
    for (let id = 0; id < vcpus; id++) domain.addVcpu().online();
    domain.unpause();
    return domain;
  };
  return { hypervisor, order, start, personality };
}

describe('the scheduler', () => {
  it('gives turns to domains evenly, and to the vCPUs of each in the order in which they became runnable', () => {
    const { hypervisor, order, start } = createMachine();
    start('a', 2);
    start('b');
    hypervisor.run(6000);
    expect(order).toEqual(['1.0@0', '2.0@1000', '1.1@2000', '2.0@3000', '1.0@4000', '2.0@5000']);
  });

  it('lets a vCPU go on while nobody waits', () => {
    const { hypervisor, order, start } = createMachine({ loneSlice: 3000 });
    start('a');
    hypervisor.runSlice();
    expect(hypervisor.now()).toBe(3000);
    start('b');
    hypervisor.run(2000);
    expect(order).toEqual(['1.0@0', '1.0@3000', '2.0@4000']);
  });

  const instructionsOf = (domain: Domain): number => domain.vcpus.reduce((sum, { core }) => sum + core.count, 0);

  it('gives time by weight, however many vCPUs a domain spins on', () => {
    const { hypervisor, start } = createMachine();
    const domains = [start('many', 4), start('one'), start('heavy', 2)];
    hypervisor.setShare(domains[2], { weight: 1024 });
    hypervisor.run(600_000);
    expect(domains.map(instructionsOf)).toEqual([100_000, 100_000, 400_000]);
  });

  it('gives one that slept its share, and nothing that it saved up', () => {
    const { hypervisor, start } = createMachine();
    const spinning = start('spinning');
    hypervisor.run(50_000);
    const late = start('late');
    hypervisor.run(20_000);
    expect(instructionsOf(late)).toBe(10_000);
    expect(instructionsOf(spinning)).toBe(60_000);
  });

  it('holds a domain to its cap, and idles for the rest', () => {
    const { hypervisor, start } = createMachine({ slice: 100_000, loneSlice: 400_000 });
    const capped = start('capped', 2);
    hypervisor.setShare(capped, { cap: 25 });
    for (let turn = 0; turn < 2000 && hypervisor.now() < 100_000_000; turn++)
      hypervisor.runSlice(Infinity, 100_000_000);
    expect(hypervisor.now()).toBe(100_000_000);
    expect(instructionsOf(capped)).toBe(25_000_000);
    const other = start('other');
    for (let turn = 0; turn < 4000 && hypervisor.now() < 200_000_000; turn++)
      hypervisor.runSlice(Infinity, 200_000_000);
    expect(instructionsOf(capped)).toBe(50_000_000);
    expect(instructionsOf(other)).toBe(75_000_000);
  });

  it.each([{ weight: 0 }, { weight: 65_536 }, { weight: 1.5 }, { cap: -1 }, { cap: Number.NaN }])(
    'refuses the share %j',
    (share) => {
      const { hypervisor, start } = createMachine();
      expect(() => hypervisor.setShare(start('a'), share)).toThrow(/a (weight|cap) is a whole number/);
    },
  );

  it('ends a turn early when the vCPU yields or blocks, and wakes it later', () => {
    const { hypervisor, start } = createMachine({}, 100, (vcpu) => vcpu.block());
    const domain = start('a');
    expect(hypervisor.run(5000)).toBe('idle');
    expect(hypervisor.now()).toBe(100);
    domain.vcpus[0].wake();
    hypervisor.run(5000);
    expect(hypervisor.now()).toBe(200);
  });

  it('runs no paused domain, and says so when none can ever run', () => {
    const { hypervisor, start } = createMachine();
    const domain = start('a');
    domain.pause();
    expect(hypervisor.runSlice()).toBe('idle');
    domain.unpause();
    domain.shutdown({ reason: 'poweroff', code: 0, detail: '', report: [], vcpu: 0, time: 0 });
    expect(hypervisor.runSlice()).toBe('done');
    hypervisor.destroyDomain(domain);
    expect(hypervisor.domains.size).toBe(0);
  });
});

describe('time', () => {
  it('fires timers at their exact instruction, in order of deadline and of setting', () => {
    const { hypervisor, start } = createMachine();
    start('a');
    const fired: string[] = [];
    const timer = (name: string, deadline: number): void => {
      const it = hypervisor.services.createTimer(() => fired.push(`${name}@${hypervisor.now()}`));
      it.set(deadline);
    };
    timer('late', 700);
    timer('first', 250);
    timer('second', 250);
    hypervisor.services.createTimer(() => fired.push('never')).set(90_000);
    hypervisor.run(1000);
    expect(fired).toEqual(['first@250', 'second@250', 'late@700']);
  });

  it('skips to the next timer when nobody can run, unless held', () => {
    const { hypervisor, start } = createMachine({}, 10, (vcpu) => vcpu.block());
    const domain = start('a');
    const timer = hypervisor.services.createTimer(() => domain.vcpus[0].wake());
    timer.set(1_000_000);
    const release = hypervisor.holdIdle();
    expect(hypervisor.run()).toBe('idle');
    expect(hypervisor.now()).toBe(10);
    expect(hypervisor.sleepNs).toBe(999_990);
    release();
    hypervisor.run();
    expect(hypervisor.now()).toBe(1_000_010);
  });

  it('does what waits for idleness when nobody can run, or after so many instructions, once', () => {
    const { hypervisor, start } = createMachine({}, 100, (vcpu) => vcpu.block());
    const domain = start('a');
    const done: string[] = [];
    const ask = (name: string, withinInstructions: number): void =>
      hypervisor.services.whenIdle(() => {
        done.push(`${name}@${hypervisor.now()}`);
        if (name === 'waking') domain.vcpus[0].wake();
      }, withinInstructions);
    ask('waking', 5000);
    ask('late', 40);
    const release = hypervisor.holdIdle();
    hypervisor.run(150);
    // A machine that is held is not idle: its guest is paused.
    expect(done).toEqual(['late@40']);
    release();
    hypervisor.run();
    expect(done).toEqual(['late@40', 'waking@100']);
    expect(hypervisor.now()).toBe(200);
    expect(hypervisor.sleepNs).toBe(Infinity);
  });

  it('counts instructions of the wall clock where it waits for idleness, whatever the host does meanwhile', () => {
    let host = 0;
    const { hypervisor, start } = createMachine({ clock: 'wall', hostTime: () => (host += 50_000_000) }, 1000);
    start('a');
    const done: number[] = [];
    hypervisor.services.whenIdle(() => done.push(hypervisor.instructions), 3500);
    for (let slice = 0; slice < 6; slice++) hypervisor.runSlice();
    expect(done).toHaveLength(1);
    expect(done[0]).toBeGreaterThanOrEqual(3500);
    expect(done[0]).toBeLessThan(4500);
  });

  it('takes a vCPU that yields to nobody for an idle one', () => {
    const { hypervisor, start } = createMachine({}, 100, (vcpu) => vcpu.yield());
    start('a');
    const done: number[] = [];
    hypervisor.services.whenIdle(() => done.push(hypervisor.now()), 50_000);
    expect(hypervisor.ready).toBe(true);
    hypervisor.runSlice();
    expect(done).toEqual([100]);
    start('b');
    hypervisor.services.whenIdle(() => done.push(hypervisor.now()), 950);
    hypervisor.run(2000);
    expect(done).toEqual([100, 1050]);
  });

  it('follows the host in the wall clock and never runs backwards', () => {
    let host = 0;
    const { hypervisor, start } = createMachine({ clock: 'wall', hostTime: () => host });
    start('a');
    host = 5000;
    hypervisor.runSlice();
    expect(hypervisor.now()).toBe(6000);
    host = 5500;
    hypervisor.runSlice();
    expect(hypervisor.now()).toBe(7000);
    host = 20_000;
    hypervisor.runSlice();
    expect(hypervisor.now()).toBe(21_000);
  });

  it('gives instructions of the wall clock about the time they take', () => {
    let host = 0;
    const { hypervisor, start } = createMachine({ clock: 'wall', hostTime: () => host }, 1000, () => {
      host += 10_000;
    });
    start('a');
    for (let turn = 0; turn < 20; turn++) hypervisor.runSlice();
    expect(hypervisor.now()).toBe(hypervisor.instructions * 10 - 10_000 + 8000);
  });

  it('lets a timer that is always late run once per turn', () => {
    const { hypervisor, start } = createMachine();
    start('a');
    let fired = 0;
    const timer = hypervisor.services.createTimer(() => {
      fired++;
      timer.set(0);
    });
    timer.set(0);
    hypervisor.runSlice(3);
    expect(fired).toBeGreaterThan(0);
    expect(fired).toBeLessThan(10);
  });
});

describe('the inbox', () => {
  it('hands inputs over between turns, stamped, and replays them at the same places', () => {
    function play(records?: readonly InputRecord[]) {
      const { hypervisor, start } = createMachine();
      start('a');
      const got: string[] = [];
      const recording: InputRecord[] = [];
      hypervisor.inbox.source('console', (data) => got.push(`${data[0]}@${hypervisor.now()}`));
      hypervisor.inbox.record((record) => recording.push(record));
      if (records) hypervisor.inbox.replay(records);
      hypervisor.run(2000);
      if (!records) hypervisor.inbox.post('console', new Uint8Array([65]));
      hypervisor.run(3000);
      if (!records) hypervisor.inbox.post('console', new Uint8Array([66]));
      hypervisor.run(1000);
      return { got, recording };
    }
    const first = play();
    expect(first.got).toEqual(['65@2000', '66@5000']);
    expect(play(first.recording).got).toEqual(first.got);
    const late = first.recording.map((record) => ({ ...record, instructions: record.instructions + 1 }));
    expect(() => play(late)).toThrow('came after 2001 instructions (step 2) would come after 2000 (step 2)');
  });

  it('names one place for each input, however often an idle machine was asked before it came', () => {
    const play = (polls: number, records?: readonly InputRecord[]) => {
      const { hypervisor, start } = createMachine();
      const happened: string[] = [];
      const recording: InputRecord[] = [];
      start('a').pause();
      hypervisor.inbox.source('console', (data) => happened.push(`input ${data[0]}`));
      hypervisor.inbox.record((record) => recording.push(record));
      if (records) hypervisor.inbox.replay(records);
      hypervisor.services.whenIdle(() => happened.push('idle'), 1000);
      for (let poll = 0; poll < polls; poll++) hypervisor.runSlice();
      for (const key of [65, 66]) {
        if (!records) hypervisor.inbox.post('console', Uint8Array.of(key));
        hypervisor.services.defer(() => happened.push('deferred'));
        hypervisor.runSlice();
      }
      return { happened, recording };
    };
    const [once, often] = [play(2), play(7)];
    expect(once.happened).toEqual(['idle', 'input 65', 'deferred', 'input 66', 'deferred']);
    expect(often).toEqual(once);
    expect(play(2, often.recording)).toEqual(once);
  });

  it('has each source once', () => {
    const { hypervisor } = createMachine();
    hypervisor.inbox.source('console', () => undefined);
    expect(() => hypervisor.inbox.source('console', () => undefined)).toThrow('name each source once');
  });
});

describe('options', () => {
  it('say what is missing', () => {
    expect(() => createMachine({ clock: 'wall' })).toThrow('pass hostTime');
    expect(() => createMachine({ instructionNs: 0.5 })).toThrow('whole numbers');
  });
  it('refuse a personality of another interface', () => {
    const { hypervisor, personality } = createMachine();
    const old = { ...personality, apiVersion: 0 };
    expect(() => hypervisor.createDomain({ name: 'x', personality: old })).toThrow('matching packages');
  });
});

describe('random numbers', () => {
  it('come from the seed alone, and differ between seeds', () => {
    const numbers = (seed: number): number[] => {
      const { services } = createMachine({ seed }).hypervisor;
      return [services.random(), services.random()];
    };
    expect(numbers(7)).toEqual(numbers(7));
    expect(numbers(0)).not.toEqual(numbers(1));
  });
});

describe('the state hash', () => {
  it('is the same for the same run and differs after one byte', () => {
    const hash = (): string => {
      const { hypervisor, start } = createMachine();
      const domain = start('a');
      const frame = hypervisor.mmu.frames.allocate(domain.id);
      if (frame !== -1) hypervisor.mmu.write(frame, 7, new Uint8Array([1]));
      hypervisor.run(1500);
      return hypervisor.stateHash(domain);
    };
    expect(hash()).toBe(hash());
    const a = createStateHash();
    const b = createStateHash();
    a.bytes(new Uint8Array([1, 2, 3]));
    b.bytes(new Uint8Array([1, 2, 4]));
    expect(a.digest()).not.toBe(b.digest());
    expect(a.digest()).toMatch(/^[0-9a-f]{16}$/);
  });

  it('is that of zeroes for a frame that was never written, without a look at it', () => {
    const { hypervisor, start } = createMachine();
    const { mmu } = hypervisor;
    const domain = start('a');
    const frame = mmu.frames.allocate(domain.id) as Mfn;
    const unread = hypervisor.stateHash(domain);
    const place = mmu.machine.frameBase + frame * 4096 + 100;
    // Nothing else can write past the mark.
    mmu.machine.u8[place] = 1;
    expect(hypervisor.stateHash(domain)).toBe(unread);
    mmu.machine.u8[place] = 0;
    mmu.write(frame, 100, new Uint8Array(1));
    expect(hypervisor.stateHash(domain)).toBe(unread);
    mmu.write(frame, 100, Uint8Array.of(1));
    expect(hypervisor.stateHash(domain)).not.toBe(unread);
  });
});

describe('the README', () => {
  it('has an example that runs a guest to its end', () => {
    const example = readFileSync(new URL('./testing/readme-example.ts', import.meta.url), 'utf8');
    expect(readFileSync(new URL('../README.md', import.meta.url), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
    const engine: Engine = {
      name: 'counting',
      createVcpu: () => createCountingCore(50),
      disassemble: () => ({ text: '??', length: 1 }),
      stats: () => ({}),
    };
    const { personality } = createMachine({}, 50, ({ id, domain }) =>
      domain.shutdown({ reason: 'poweroff', code: 0, detail: '', report: [], vcpu: id, time: 0 }),
    );
    expect(runOne(engine, personality)).toBe('poweroff');
  });
});
