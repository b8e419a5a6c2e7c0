/** Asks this machine's processor the thousand questions of each form, and keeps digests of its answers. */

import { readFileSync } from 'node:fs';
import { Digest, digestOf, type FormAnswers, packAnswers, writeDigests } from '../../../packages/x86/silicon/digest.js';
import { identifyProcessor, runOnProcessor } from './processor.js';
import { digestQuestion, formsOf, type QuestionForm, questionOf, questionsOf } from './questions.js';

/** Instructions that Linux has to have switched on, by the flag in /proc/cpuinfo that says so. */
const SWITCHED_ON: Record<string, string> = {
  RDFSBASE: 'fsgsbase',
  RDGSBASE: 'fsgsbase',
  WRFSBASE: 'fsgsbase',
  WRGSBASE: 'fsgsbase',
  RDSEED: 'rdseed',
  XSAVEOPT: 'xsaveopt',
  XSAVEC: 'xsavec',
};

function processorFlags(): Set<string> {
  return new Set((/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' '));
}

function askForm(runner: string, form: QuestionForm): FormAnswers {
  const questions = [...questionsOf(form)];
  const asked = new Digest();
  for (const question of questions) digestQuestion(asked, question);
  const digests = [...runOnProcessor(runner, questions)].map((result, i) =>
    digestOf(questions[i].initial, result, questions[i].undefined),
  );
  return { key: form.key, cases: form.cases, questions: asked.value >>> 0, ...packAnswers(digests) };
}

/** Not every hypervisor lets programs run 32-bit code: the selector itself is #GP then, whatever the code. */
function refuse32Bit(runner: string, forms: readonly QuestionForm[]): void {
  const form = forms.find(({ form: { mode } }) => mode === 32);
  if (!form) return;
  const question = { ...questionOf(form, 0), code: Uint8Array.of(0x90) };
  for (const { exception } of runOnProcessor(runner, [question]))
    if (exception) throw new Error(`${form.key}: this machine runs no 32-bit code; ask on another one`);
}

/** The bytes of a group's file of digests. */
export function askMany(runner: string, group: string): Uint8Array {
  const flags = processorFlags();
  const forms = formsOf(group).filter(({ form }) => {
    const flag = SWITCHED_ON[form.mnemonic];
    return flag === undefined || flags.has(flag);
  });
  refuse32Bit(runner, forms);
  return writeDigests(
    identifyProcessor(),
    forms.map((form) => askForm(runner, form)),
  );
}
