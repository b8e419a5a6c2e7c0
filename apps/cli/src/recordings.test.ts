/**
 * Runs that were recorded on one machine (an AMD EPYC with two processors, Node.js 20), wherever this is run. Each is
 * our own kernel: its help, information, memory, traps, user mode, mappings and benchmarks, then
 * poweroff. Where an instruction's count, an exception or virtual time changes on purpose, or the kernel is built anew,
 * they are recorded anew: `paravane start [--pv32] --record FILE` with the input that is in them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownVersion } from './version.js';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'paravane-recorded-'));
});
afterAll(() => {
  rmSync(home, { recursive: true });
});

interface Recorded {
  start?: { version: string };
  end?: { instructions: number; stateHash: string };
}

describe('a run that was recorded on another machine', () => {
  it.each([
    { name: 'own-x86_64', flags: [], engine: 'jit' },
    { name: 'own-x86_64', flags: [], engine: 'interpreter' },
    { name: 'own-x86_32', flags: ['--pv32'], engine: 'jit' },
    { name: 'own-x86_32', flags: ['--pv32'], engine: 'interpreter' },
  ])('comes to the same count and state here: $name, $engine', ({ name, flags, engine }) => {
    const text = readFileSync(new URL(`../recordings/${name}.rec`, import.meta.url), 'utf8');
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Recorded);
    // A recording is for one version; these go on as long as nothing that they see has changed.
    lines[0]!.start!.version = ownVersion();
    const file = join(home, `${name}.rec`);
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const { instructions, stateHash } = lines.at(-1)!.end!;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [program, 'start', ...flags, '--engine', engine, '--replay', file],
      { encoding: 'utf8', env: { ...process.env, PARAVANE_HOME: home } },
    );
    expect(stderr).toBe(`paravane: replayed ${instructions} instructions, to the recorded state ${stateHash}\n`);
    expect(status).toBe(0);
    expect(stdout).toContain('page-table updates');
  });
});
