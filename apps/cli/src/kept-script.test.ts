import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const version = `${(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version}\n`;
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'paravane-kept-'));
});
afterEach(() => {
  rmSync(home, { recursive: true });
});

const run = (options: string[] = [], environment = {}) => {
  const env = { ...process.env, PARAVANE_HOME: home, ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, [...options, program, '--version'], {
    encoding: 'utf8',
    env,
  });
  return { status, stdout, stderr };
};
const answer = { status: 0, stdout: version, stderr: '' };
const folder = () => join(home, 'cache', 'code');
const kept = () => {
  const [name, ...others] = readdirSync(folder());
  expect(others).toEqual([]);
  return join(folder(), name!);
};
/** Whether a run writes what is kept anew. */
const isWrittenBy = (options: string[] = []): boolean => {
  const file = kept();
  utimesSync(file, 1, 1);
  expect(run(options)).toEqual(answer);
  return statSync(kept()).mtimeMs !== 1000;
};

describe('what V8 made of the command line', () => {
  it('is kept by the first run and used by the next', () => {
    expect(run()).toEqual(answer);
    expect(statSync(kept()).size).toBeGreaterThan(100_000);
    expect(isWrittenBy()).toBe(false);
  });
  it('is made anew where it is damaged or of other settings', () => {
    expect(run()).toEqual(answer);
    const bytes = readFileSync(kept());
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(kept(), bytes);
    expect(isWrittenBy()).toBe(true);
    expect(isWrittenBy(['--no-opt'])).toBe(true);
    expect(isWrittenBy(['--no-opt'])).toBe(false);
  });
  it('is done without, and without a word, where it cannot be kept', () => {
    writeFileSync(join(home, 'cache'), 'no folder');
    expect(run()).toEqual(answer);
    expect(readFileSync(join(home, 'cache'), 'utf8')).toBe('no folder');
    rmSync(join(home, 'cache'));
    expect(run()).toEqual(answer);
    chmodSync(kept(), 0o666);
    expect(run()).toEqual(answer);
  });
});
