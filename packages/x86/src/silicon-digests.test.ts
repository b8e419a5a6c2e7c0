import { readdirSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { digestQuestion, formsOf, type QuestionForm, questionOf } from '../../../tools/silicon/src/questions.js';
import { type AskedCase, knownDifference } from '../silicon/differences.js';
import { BLOCK, Digest, type DigestFile, differingInBlock, digestOf, readDigests } from '../silicon/digest.js';
import type { Undefined } from '../silicon/format.js';
import { createCaseRunner } from './testing/silicon-runner.js';

/** The stored answers, or those in a folder that `silicon.mjs` made. */
const folder = process.env.SILICON_ANSWERS
  ? pathToFileURL(`${process.env.SILICON_ANSWERS}/`)
  : new URL('../silicon/', import.meta.url);
/** All cases are for `silicon.mjs replay`; the test command takes two blocks of each form, others of each. */
const everything = process.env.SILICON_CASES === 'all';
const names = readdirSync(folder).filter((name) => name.endsWith('.digests.gz'));
const wanted = process.env.SILICON_GROUPS?.split(',');
const groups = [...new Set(names.map((name) => name.split('.')[0]!))].filter(
  (group) => wanted?.includes(group) ?? true,
);
const filesOf = (group: string): DigestFile[] =>
  names
    .filter((name) => name.startsWith(`${group}.`))
    .map((name) => readDigests(gunzipSync(readFileSync(new URL(name, folder)))));

function blocksOf(cases: number, turn: number): number[] {
  const blocks = Array.from({ length: Math.ceil(cases / BLOCK) }, (_, block) => block);
  if (everything) return blocks;
  const chosen = [turn, turn + (blocks.length >> 1)].map((block) => block % blocks.length);
  return [...new Set(chosen)];
}

interface Answered extends AskedCase {
  undefined: Undefined;
}

/** What the interpreter answers to a block of a form's questions. */
function answer(
  runner: ReturnType<typeof createCaseRunner>,
  form: QuestionForm,
  block: number,
  all: Digest,
): Answered[] {
  const cases = Math.min(BLOCK, form.cases - block * BLOCK);
  return Array.from({ length: cases }, (_, i) => {
    const question = questionOf(form, block * BLOCK + i);
    digestQuestion(all, question);
    const result = runner.run(question.code, question.initial, question.mode);
    return { ...question, key: form.key, result, again: (code, initial) => runner.run(code, initial) };
  });
}

/** Places in a block whose answers differ from a processor's by more than its vendor is known for. */
function differences(file: DigestFile, form: QuestionForm, block: number, cases: readonly Answered[]): number[] {
  const stored = file.forms.get(form.key);
  if (!stored) return [];
  const excused = new Set<number>();
  const digests = cases.map((one, i) => {
    const known = knownDifference(file.vendor, one);
    const expected = known ? known.answer?.(one) : one.result;
    if (!expected) excused.add(i);
    return digestOf(one.initial, expected ?? one.result, one.undefined);
  });
  const different = differingInBlock(stored, block, digests);
  // With an excused case in it a block's own digest can't agree.
  if (different.length === cases.length && excused.size > 0) return [];
  return different.filter((i) => !excused.has(i)).map((i) => block * BLOCK + i);
}

describe.each(groups)('a thousand cases of each form of %s', (group) => {
  it('have the answers of the real processors', () => {
    const runner = createCaseRunner();
    const files = filesOf(group);
    const wrong: string[] = [];
    formsOf(group).forEach((form, turn) => {
      const different = files.map((): number[] => []);
      const asked = new Digest();
      for (const block of blocksOf(form.cases, turn)) {
        const cases = answer(runner, form, block, asked);
        files.forEach((file, i) => different[i]!.push(...differences(file, form, block, cases)));
      }
      files.forEach(({ vendor, forms }, i) => {
        const found = different[i]!;
        if (everything && forms.has(form.key) && forms.get(form.key)!.questions !== asked.value >>> 0)
          wrong.push(`${form.key} (${vendor}): asked something else by now; ask again`);
        else if (found.length > 0) wrong.push(`${form.key} (${vendor}): ${found.length} cases: ${found.slice(0, 8)}`);
      });
    });
    expect(files.reduce((sum, file) => sum + file.forms.size, 0)).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
  });
});
