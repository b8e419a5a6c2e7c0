import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { otherThreadsSeconds, partsOf, profileTime } from './time-shares.js';

interface Node {
  readonly name: string;
  readonly url: string;
  readonly children?: readonly Node[];
  readonly line?: number;
}

/** A profile with one sample of a second in each node. */
function profile(root: Node): Parameters<typeof partsOf>[0] {
  const nodes: Parameters<typeof partsOf>[0]['nodes'] = [];
  const add = ({ name, url, line = 0, children = [] }: Node): number => {
    const id = nodes.length + 1;
    const callFrame = { functionName: name, url, scriptId: '0', lineNumber: line, columnNumber: 0 };
    const node = { id, callFrame, children: [] as number[] };
    nodes.push(node);
    for (const child of children) node.children.push(add(child));
    return id;
  };
  add(root);
  const samples = nodes.map(({ id }) => id);
  return { nodes, startTime: 0, endTime: 1, samples, timeDeltas: samples.map(() => 1e6) };
}

describe('shares of time', () => {
  it('are told by what the files were that a bundler has put together', () => {
    const folder = mkdtempSync(join(tmpdir(), 'time-shares-'));
    const file = join(folder, 'main.js');
    writeFileSync(file, 'start();\n// packages/xen/dist/a.js\nf();\ng();\n// packages/x86/dist/jit/b.js\nh();\n');
    const url = pathToFileURL(file).href;
    const children = [0, 2, 3, 5].map((line) => ({ name: `at ${line}`, url, line }));
    const parts = partsOf(profile({ name: '(root)', url: '', children }));
    rmSync(folder, { recursive: true });
    expect(Object.fromEntries(parts)).toEqual({
      'everything else': 2,
      'hypercalls and traps': 2,
      'translating and compiling': 1,
    });
  });

  it('are told by files, modules and callers', () => {
    const region: Node = {
      name: 'wasm-function[2]',
      url: 'wasm://wasm/0002',
      children: [{ name: 'f', url: 'wasm://wasm/0002' }],
    };
    const root: Node = {
      name: '(root)',
      url: '',
      children: [
        { name: '(idle)', url: '' },
        { name: '(garbage collector)', url: '' },
        {
          name: 'execute',
          url: 'file:///a/packages/x86/dist/vcpu.js',
          children: [
            {
              name: 'wasm-function[9]',
              url: 'wasm://wasm/0001',
              children: [
                region,
                { name: 'wasm-function[8]', url: 'wasm://wasm/0001' },
                { name: 'walk', url: 'file:///a/node_modules/@paravane/mmu/dist/walk.js' },
              ],
            },
            {
              name: 'flush',
              url: 'file:///a/packages/x86/dist/jit/jit.js',
              children: [{ name: 'Module', url: '' }],
            },
          ],
        },
        { name: 'dispatch', url: 'file:///a/packages/xen/dist/calls/dispatch.js' },
        { name: 'serve', url: 'file:///a/packages/block-back/dist/queue.js' },
        { name: 'require', url: 'node:internal' },
      ],
    };
    expect(Object.fromEntries(partsOf(profile(root)))).toEqual({
      'everything else': 2,
      idle: 1,
      'garbage collection': 1,
      'decoding, page walks, rare instructions': 2,
      interpreter: 2,
      'compiled code': 2,
      'translating and compiling': 2,
      'hypercalls and traps': 1,
      devices: 1,
    });
  });

  it('are all of the time since the start', async () => {
    const time = profileTime();
    const sum = (): number => time.read().parts.reduce((total, [, seconds]) => total + seconds, 0);
    while (sum() <= 0.03) await new Promise((resolve) => setTimeout(resolve, 5));
    const first = sum();
    expect(sum()).toBeGreaterThanOrEqual(first);
    time.stop();
    const last = sum();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(sum()).toBe(last);
    expect(otherThreadsSeconds() ?? 0).toBeGreaterThanOrEqual(0);
  });
});
