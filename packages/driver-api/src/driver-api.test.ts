import { describe, expect, it } from 'vitest';
import { createMemoryPeer, peerConformance } from './conformance.js';
import { createHostWork } from './index.js';

describe('the peer made of memory', () => {
  it.each(peerConformance(() => createMemoryPeer()))('$name', ({ run }) => {
    expect(run).not.toThrow();
  });
});

describe('host work', () => {
  it('passes on at once what is there at once, failures included', () => {
    const answers: unknown[] = [];
    const work = createHostWork(() => answers.push('late'));
    work.run(
      () => 7,
      (answer) => answers.push(answer),
    );
    const error = new Error('no');
    work.run(
      () => {
        throw error;
      },
      (answer) => answers.push(answer),
    );
    expect(answers).toEqual([
      { ok: true, value: 7 },
      { ok: false, error },
    ]);
    expect(work.inFlight).toBe(0);
  });

  it('holds a late answer until it is delivered, once', async () => {
    const answers: unknown[] = [];
    const numbers: number[] = [];
    const work = createHostWork((id) => numbers.push(id));
    work.run(
      () => Promise.resolve('value'),
      (answer) => answers.push(answer),
    );
    work.deliver(1);
    expect(work.inFlight).toBe(1);
    await work.idle();
    expect(numbers).toEqual([1]);
    expect(answers).toEqual([]);
    work.deliver(1);
    work.deliver(1);
    expect(answers).toEqual([{ ok: true, value: 'value' }]);
  });

  it('tells nobody after it was closed', async () => {
    const answers: unknown[] = [];
    const work = createHostWork((id) => work.deliver(id));
    work.run(
      () => Promise.reject(new Error('late')),
      (answer) => answers.push(answer),
    );
    work.close();
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect(answers).toEqual([]);
    expect(work.inFlight).toBe(0);
  });
});
