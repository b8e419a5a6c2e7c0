import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readSilicon } from '../silicon/format.js';
import { coverage, formatCoverage } from './coverage.js';

const folder = new URL('../silicon/', import.meta.url);

/** The instructions of all stored cases. */
function* codes(): Generator<Uint8Array> {
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith('.bin.gz')) continue;
    for (const { code } of readSilicon(gunzipSync(readFileSync(new URL(name, folder)))).cases()) yield code;
  }
}

describe('the instruction table', () => {
  it('has a definition for every line', () => {
    expect(coverage().filter(({ definition }) => definition === 'missing')).toEqual([]);
  });
  // `pnpm --filter @paravane/x86 coverage` writes the report anew.
  it('is covered as coverage.txt says', async () => {
    await expect(formatCoverage(coverage(codes()))).toMatchFileSnapshot('../coverage.txt');
  });
});
