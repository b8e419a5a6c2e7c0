import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { formatReport, readSilicon, replay } from '../silicon/format.js';
import { createCaseRunner } from './silicon-runner.js';

const folder = new URL('../silicon/', import.meta.url);
const groups = readdirSync(folder)
  .filter((name) => name.endsWith('.bin.gz'))
  .sort();

describe('the interpreter gives the answers of the real processor', () => {
  const runner = createCaseRunner();
  it.each(groups)('%s', (name) => {
    const file = readSilicon(gunzipSync(readFileSync(new URL(name, folder))));
    const report = replay(file, runner);
    expect(report.cases).toBeGreaterThan(0);
    expect(report.different, formatReport(report)).toBe(0);
  });
});
