import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { formsOf, questionOf } from '../../../tools/silicon/src/questions.js';
import { readDigests, readSilicon } from '../silicon/format.js';
import { byProcessors, coverage, ENOUGH, formatCoverage, type Judgement } from './coverage.js';
import { MANUAL_CASES } from './testing/manual-cases.js';
import { SHARED_GROUPS, sharedQuestions } from './testing/other-modes.js';

const folder = new URL('../silicon/', import.meta.url);
const stored = (ending: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .sort();
const read = (name: string): Uint8Array => gunzipSync(readFileSync(new URL(name, folder)));
const nameOf = (vendor: string): string => vendor.replace(/^(Genuine|Authentic)/, '');

/** All cases that are stored in full. */
function* fullAnswers(): Generator<Judgement> {
  for (const name of stored('.bin.gz')) {
    const file = readSilicon(read(name));
    for (const { code } of file.cases()) yield { judge: nameOf(file.vendor), code, mode: 64, cases: 1 };
  }
}

/** The forms of which digests are stored; those with random prefixes are of no one line. */
function* digests(): Generator<Judgement> {
  for (const name of stored('.digests.gz')) {
    const file = readDigests(read(name));
    for (const form of formsOf(name.split('.')[0]!)) {
      const answers = file.forms.get(form.key);
      if (!answers || form.form.options.has('any-prefixes')) continue;
      const { code, mode } = questionOf(form, 0);
      yield { judge: nameOf(file.vendor), code, mode, cases: answers.cases };
    }
  }
}

/** What is asked about segments, far transfers and single-step (`packages/xen/silicon`). */
function* segments(): Generator<Judgement> {
  const file = new URL('../../xen/silicon/segments.json.gz', import.meta.url);
  const [head, ...lines] = gunzipSync(readFileSync(file)).toString().trimEnd().split('\n');
  const judge = nameOf((JSON.parse(head!) as { vendor: string }).vendor);
  for (const line of lines) {
    const { code, selectors } = JSON.parse(line) as { code: string; selectors: number[] };
    const cs = selectors[1]!;
    // Entries 7 and 13 of the table of descriptors are 16-bit code.
    const small = cs === 0x3f || cs === 0x6f;
    yield { judge, code: Uint8Array.from(Buffer.from(code, 'hex')), mode: cs === 0x33 ? 64 : 32, small, cases: 1 };
  }
}

/** What the manual says of what processors were not asked about. */
function* manual(): Generator<Judgement> {
  for (const { code, mode } of MANUAL_CASES) yield { judge: 'manual', code, mode, cases: 1 };
}

/** What is held to the answers in 64-bit code. */
function* otherModes(): Generator<Judgement> {
  for (const group of SHARED_GROUPS)
    for (const { code, code16 } of sharedQuestions(group)) {
      yield { judge: '', code, mode: 32, cases: 0 };
      if (code16) yield { judge: '', code: code16, mode: 32, small: true, cases: 0 };
    }
}

function* all(): Generator<Judgement> {
  yield* fullAnswers();
  yield* digests();
  yield* segments();
  yield* manual();
  yield* otherModes();
}

describe('the instruction table', () => {
  it('has a definition for every line', () => {
    expect(coverage().filter(({ definition }) => definition === 'missing')).toEqual([]);
  });
  const lines = coverage(all());
  it('has a reason and cases of the manual for every line that no processor judges', () => {
    const without = lines.filter((one) => byProcessors(one) === 0 && !(one.reason && one.cases.get('manual')));
    expect(without.map(({ line }) => line)).toEqual([]);
  });
  it('has a reason for every line that processors judge by less than a thousand cases', () => {
    expect(lines.filter((one) => byProcessors(one) < ENOUGH && !one.reason).map(({ line }) => line)).toEqual([]);
  });
  // `pnpm --filter @paravane/x86 coverage` writes the report anew.
  it('is covered as coverage.txt says', async () => {
    await expect(formatCoverage(lines)).toMatchFileSnapshot('../coverage.txt');
  });
});
