/**
 * The cases that the digests of `packages/x86/silicon` answer: the same questions on every machine, made anew each time
 * from the tables and the number of a case. A form's questions depend on its own line only, so that another line of a
 * table leaves its answers valid.
 */

import type { Undefined } from '../../../packages/x86/silicon/case.js';
import { Digest } from '../../../packages/x86/silicon/digest.js';
import { type CpuSnapshot, caseSeed, type Profile } from '../../../packages/x86/silicon/state.js';
import { createDraft } from './draft.js';
import { type Form, parseLine } from './form.js';
import { memorySize, prepareCase } from './prepare.js';
import { GROUPS } from './tables/groups.js';

const CASES = 1024;

export interface QuestionForm {
  key: string;
  form: Form;
  profile: Profile;
  cases: number;
}

export interface FormQuestion {
  code: Uint8Array;
  initial: CpuSnapshot;
  mode: 64 | 32;
  undefined: Undefined;
  /** The operand in memory. */
  memory?: { address: bigint; size: number };
}

/** The forms of a group. */
export function formsOf(group: string): QuestionForm[] {
  return GROUPS[group].flatMap(({ line, profile }) =>
    parseLine(line).map((form) => {
      const [head, encoding] = line.split('|').map((part) => part.trim());
      const key = `${group}: ${head} | ${encoding} | ${form.width * 8}${form.memory ? ' memory' : ''}`;
      return { key, form, profile, cases: CASES };
    }),
  );
}

function seedOf(key: string): number {
  const digest = new Digest();
  for (let i = 0; i < key.length; i++) digest.word(key.charCodeAt(i));
  return digest.value >>> 0;
}

export function questionOf({ key, form, profile }: QuestionForm, index: number): FormQuestion {
  const draft = createDraft(form, profile, caseSeed(seedOf(key), index), index);
  const code = prepareCase(draft);
  const { initial, undefined: unknown } = draft;
  return {
    code,
    initial,
    mode: form.mode,
    undefined: unknown,
    ...(form.memory ? { memory: { address: draft.target, size: memorySize(form) } } : {}),
  };
}

export function* questionsOf(form: QuestionForm): Generator<FormQuestion> {
  for (let i = 0; i < form.cases; i++) yield questionOf(form, i);
}

/** Adds a question to the digest that tells whether the tables still ask the same. */
export function digestQuestion(digest: Digest, { code, initial }: FormQuestion): void {
  digest.bytes(code);
  digest.words(new Uint32Array(initial.gpr.buffer));
  digest.word(initial.rflags);
}
