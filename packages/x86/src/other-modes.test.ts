/**
 * Instructions in 32- and in 16-bit code do what they do in 64-bit code, where real processors judge them, wherever the
 * manual lets the modes differ in nothing but the upper halves of registers.
 */
import { describe, expect, it } from 'vitest';
import { type CaseResult, type CpuSnapshot, digestOf, type Undefined } from '../silicon/format.js';
import { MASK, SHARED_GROUPS, type SharedQuestion, sharedQuestions } from './testing/other-modes.js';
import { createCaseRunner } from './testing/silicon-runner.js';

const narrowed = (state: CpuSnapshot): CpuSnapshot => ({ ...state, gpr: state.gpr.map((value) => value & MASK) });

const NOTHING: Undefined = { rflags: 0, gprs: 0, fsw: 0, tolerance: 'exact' };
/** A digest of all but the upper halves of registers and the instruction's length. */
function digest(initial: CpuSnapshot, { final, exception }: CaseResult, length: number): number {
  const rip = final.rip - (exception ? 0n : BigInt(length));
  const result = { final: { ...narrowed(final), rip } };
  return digestOf(initial, exception ? { ...result, exception } : result, NOTHING);
}

const runner = createCaseRunner();
const runner16 = createCaseRunner(false, undefined, true);

/** In which modes a question has another answer than in 64-bit code. */
function differing({ key, code, code16, initial }: SharedQuestion): string[] {
  const initial32 = narrowed(initial);
  const wanted = digest(initial, runner.run(code, initial), code.length);
  const answers = [digest(initial, runner.run(code, initial32, 32), code.length)];
  if (code16) answers.push(digest(initial, runner16.run(code16, initial32, 32), code16.length));
  return answers.flatMap((answer, i) => (answer === wanted ? [] : [`${key} in ${[32, 16][i]}-bit code`]));
}

describe.each(SHARED_GROUPS)('instructions of %s', (group) => {
  it('do in 32- and in 16-bit code what they do in 64-bit code', () => {
    const questions = [...sharedQuestions(group)];
    expect(questions.some(({ code16 }) => code16 !== null)).toBe(true);
    expect(questions.flatMap(differing)).toEqual([]);
  });
});
