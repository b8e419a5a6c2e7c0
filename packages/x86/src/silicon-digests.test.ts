import { readdirSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { digestQuestion, formsOf, type QuestionForm, questionsOf } from '../../../tools/silicon/src/questions.js';
import { type AskedCase, knownDifference } from '../silicon/differences.js';
import { BLOCK, Digest, type DigestFile, differingCases, digestOf, readDigests } from '../silicon/digest.js';
import { createCaseRunner } from './testing/silicon-runner.js';

/** The stored answers, or those in a folder that `silicon.mjs` made. */
const folder = process.env.SILICON_ANSWERS
  ? pathToFileURL(`${process.env.SILICON_ANSWERS}/`)
  : new URL('../silicon/', import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith('.digests.gz'));
const groups = [...new Set(names.map((name) => name.split('.')[0]!))];
const filesOf = (group: string): DigestFile[] =>
  names
    .filter((name) => name.startsWith(`${group}.`))
    .map((name) => readDigests(gunzipSync(readFileSync(new URL(name, folder)))));

interface Answer {
  digests: number[];
  asked: AskedCase[];
  questions: number;
}

/** What the interpreter answers, and whether the questions are still those that were asked. */
function answer(runner: ReturnType<typeof createCaseRunner>, form: QuestionForm): Answer {
  const all = new Digest();
  const digests: number[] = [];
  const asked: AskedCase[] = [];
  for (const question of questionsOf(form)) {
    digestQuestion(all, question);
    const result = runner.run(question.code, question.initial, question.mode);
    digests.push(digestOf(question.initial, result, question.undefined));
    asked.push({ key: form.key, code: question.code, vector: result.exception?.vector ?? -1 });
  }
  return { digests, asked, questions: all.value >>> 0 };
}

function differences(file: DigestFile, key: string, { digests, asked, questions }: Answer): string[] {
  const stored = file.forms.get(key);
  if (!stored) return [];
  if (stored.questions !== questions) return [`${key}: asked something else by now; ask again`];
  const known = (i: number): boolean => knownDifference(file.vendor, asked[i]!) !== undefined;
  const different = differingCases(stored, digests).filter((i) => {
    if (i >= 0) return !known(i);
    const block = (-1 - i) * BLOCK;
    return !asked.slice(block, block + BLOCK).some((_, n) => known(block + n));
  });
  return different.length === 0 ? [] : [`${key} (${file.vendor}): ${different.length} cases: ${different.slice(0, 8)}`];
}

describe.each(groups)('a thousand cases of each form of %s', (group) => {
  it('have the answers of the real processors', () => {
    const runner = createCaseRunner();
    const files = filesOf(group);
    const forms = formsOf(group);
    const wrong = forms.flatMap((form) => {
      const answers = answer(runner, form);
      return files.flatMap((file) => differences(file, form.key, answers));
    });
    expect(files.reduce((sum, file) => sum + file.forms.size, 0)).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
  });
});
