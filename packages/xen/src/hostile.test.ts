/** A short run of tools/hostile: a guest that tries everything, beside one that watches; and the seeds that once failed. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));

function run(...args: string[]): { status: number | null; output: string } {
  if (!existsSync(`${root}packages/xen/dist/index.js`)) {
    throw new Error('the packages have not been built: run `npx --yes pnpm@10 build` first');
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, ['tools/hostile/run.mjs', ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, output: stdout + stderr };
}

it.each([
  ['a 64-bit guest', '1000'],
  ['a 32-bit guest', '1001'],
])('%s does what it can, and nothing comes of it', (_, seed) => {
  const { status, output } = run('--from', seed, '--events', '2000');
  expect(output).toContain('2000 events');
  expect({ status, output }).toMatchObject({ status: 0 });
});

it('seeds that failed once do not', () => {
  const { status, output } = run('--seeds', 'tools/hostile/seeds.json');
  expect(output).toContain(' 0 failures');
  expect({ status, output }).toMatchObject({ status: 0 });
});
