import { readdirSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { formatReport, type ReplayReport, readSilicon, replay } from '../silicon/format.js';
import { createCaseRunner } from './testing/silicon-runner.js';

/** The stored answers, or those in a folder that `silicon.mjs compare` made. */
const folder = process.env.SILICON_ANSWERS
  ? pathToFileURL(`${process.env.SILICON_ANSWERS}/`)
  : new URL('../silicon/', import.meta.url);
const groups = readdirSync(folder)
  .filter((name) => name.endsWith('.bin.gz'))
  .sort();

const differences = (report: ReplayReport): string => (report.different === 0 ? '' : formatReport(report));

describe('the interpreter gives the answers of the real processor', () => {
  const runner = createCaseRunner();
  it.each(groups)('%s', (name) => {
    const file = readSilicon(gunzipSync(readFileSync(new URL(name, folder))));
    const report = replay(file, runner);
    expect(report.cases).toBeGreaterThan(0);
    expect(differences(report)).toBe('');
  });
});

describe('so do the blocks made for the last instruction of a budget', () => {
  const runner = createCaseRunner(true);
  // A repetition is many instructions: with a budget of one it does one. A jump to nowhere faults at the next one.
  const select = (form: string): boolean => !/^((CMPS|LODS|MOVS|SCAS|STOS)(B|\/\d+)|(CALL|JMP) m32)$/.test(form);
  it.each(groups.filter((name) => !name.startsWith('string')))('%s', (name) => {
    const report = replay(readSilicon(gunzipSync(readFileSync(new URL(name, folder)))), runner, { select });
    expect(differences(report)).toBe('');
  });
});
