import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { dataFolder } from './data-folder.js';
import { readWhole, writeWhole } from './files.js';
import { openTraceFile } from './trace-file.js';

const folder = mkdtempSync(join(tmpdir(), 'paravane-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('an unreadable file is named, with the cause', () => {
  expect(() => readWhole(join(folder, 'no'), 'the kernel')).toThrow(
    /^cannot read the kernel .*no: there is no such file$/,
  );
  expect(() => readWhole(folder, 'the kernel')).toThrow('it is a folder, not a file');
  expect(() => openTraceFile(join(folder, 'no', 'trace'))).toThrow(
    /^cannot write the trace to .*trace: there is no folder .*no$/,
  );
});

it('a file is written whole, in a folder that is made, or not at all', () => {
  writeWhole(join(folder, 'a', 'b'), 'text');
  expect(readdirSync(join(folder, 'a'))).toEqual(['b']);
  writeFileSync(join(folder, 'plain'), '');
  expect(() => writeWhole(join(folder, 'plain', 'c'), 'x')).toThrow(/^cannot write .*plain\/c: /);
});

it('a trace holds every line, in order, after it is closed', () => {
  const file = join(folder, 'trace');
  const trace = openTraceFile(file);
  for (let line = 0; line < 20_000; line += 1) trace.write(`line ${line}`);
  trace.close();
  trace.close();
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  expect([lines.length, lines[19_999]]).toEqual([20_000, 'line 19999']);
});

it('the data folder follows PARAVANE_HOME, then XDG_DATA_HOME', () => {
  expect(dataFolder({ PARAVANE_HOME: '/p', XDG_DATA_HOME: '/x' })).toBe('/p');
  expect(dataFolder({ XDG_DATA_HOME: '/x' })).toBe('/x/paravane');
  expect(dataFolder({})).toMatch(/\.local\/share\/paravane$/);
});
