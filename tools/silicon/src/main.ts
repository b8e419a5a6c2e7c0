/**
 * Command line of the silicon tool.
 *
 *     generate RUNNER DIRECTORY [GROUP...]      asks the processor and writes DIRECTORY/GROUP.bin.gz
 *     check RUNNER DIRECTORY [GROUP...]         replays the stored cases on this processor and prints differences
 *     show DIRECTORY GROUP [NAME]               counts per form, or the cases of one form
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import { compare, describeInputs } from '../../../packages/x86/silicon/compare.js';
import { readSilicon, type SiliconFile } from '../../../packages/x86/silicon/format.js';
import { caseSeed, copySnapshot, type Profile, seededState } from '../../../packages/x86/silicon/state.js';
import { createDraft, type Draft } from './draft.js';
import { type Form, parseLine } from './form.js';
import { prepareCase } from './prepare.js';
import { identifyProcessor, runOnProcessor } from './processor.js';
import { GROUPS } from './tables/groups.js';
import { type AnsweredForm, writeSilicon } from './write.js';

interface Planned {
  form: Form;
  profile: Profile;
  drafts: { draft: Draft; code: Uint8Array; seed: number }[];
}

/** A seed per group, so that groups can be generated alone. */
function groupSeed(group: string): number {
  let hash = 0x811c9dc5;
  for (const character of group) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}

function caseCount(form: Form): number {
  if (form.options.has('many')) return 120;
  if (form.options.has('stack')) return 64;
  if (form.options.has('float')) return form.memory ? 48 : 64;
  return form.memory ? 28 : 24;
}

function plan(group: string): Planned[] {
  const seedOfFile = groupSeed(group);
  const planned: Planned[] = [];
  let ordinal = 0;
  for (const { line, profile } of GROUPS[group]) {
    for (const form of parseLine(line)) {
      const drafts = Array.from({ length: caseCount(form) }, (_, index) => {
        const seed = caseSeed(seedOfFile, ordinal++);
        const draft = createDraft(form, profile, seed, index);
        return { draft, code: prepareCase(draft), seed };
      });
      planned.push({ form, profile, drafts });
    }
  }
  return planned;
}

function* questions(planned: Planned[]): Generator<{ code: Uint8Array; initial: Draft['initial'] }> {
  for (const { drafts } of planned) for (const { draft, code } of drafts) yield { code, initial: draft.initial };
}

function generate(runner: string, directory: string, groups: string[]): void {
  const processor = identifyProcessor();
  for (const group of groups.length > 0 ? groups : Object.keys(GROUPS)) {
    const planned = plan(group);
    const answers = runOnProcessor(runner, questions(planned));
    const forms: AnsweredForm[] = planned.map(({ form, profile, drafts }) => ({
      name: form.name,
      profile,
      cases: drafts.map(({ draft, code, seed }) => {
        const { value, done } = answers.next();
        if (done) throw new Error(`${group}: the processor gave fewer answers than it was asked`);
        return {
          code,
          seeded: seededState(seed, profile),
          initial: copySnapshot(draft.initial),
          result: value,
          undefined: draft.undefined,
        };
      }),
    }));
    const bytes = writeSilicon(processor, group, groupSeed(group), forms);
    const packed = gzipSync(bytes, { level: 9 });
    writeFileSync(`${directory}/${group}.bin.gz`, packed);
    const total = forms.reduce((sum, form) => sum + form.cases.length, 0);
    process.stdout.write(`${group}: ${forms.length} forms, ${total} cases, ${packed.length} bytes\n`);
  }
}

function storedFile(directory: string, group: string): SiliconFile {
  return readSilicon(gunzipSync(readFileSync(`${directory}/${group}.bin.gz`)));
}

function check(runner: string, directory: string, groups: string[]): void {
  for (const group of groups.length > 0 ? groups : Object.keys(GROUPS)) {
    const stored = [...storedFile(directory, group).cases()];
    const answers = runOnProcessor(runner, stored);
    let different = 0;
    for (const one of stored) {
      const { value, done } = answers.next();
      const difference = done ? `${one.name}: no answer` : compare(one, value);
      if (difference === null) continue;
      different++;
      if (different <= 10) process.stdout.write(`${difference}\n`);
    }
    process.stdout.write(`${group}: ${stored.length} cases, ${different} different\n`);
    if (different > 0) process.exitCode = 1;
  }
}

function show(directory: string, group: string, name: string | undefined): void {
  const file = storedFile(directory, group);
  process.stdout.write(`${file.vendor} ${file.model} (signature 0x${file.signature.toString(16)})\n`);
  if (name === undefined) {
    for (const [form, count] of file.forms()) process.stdout.write(`${form}: ${count}\n`);
    return;
  }
  for (const one of file.cases((candidate) => candidate === name)) {
    const { exception, final } = one;
    const outcome = exception
      ? `vector ${exception.vector} error ${exception.errorCode} at ${exception.address.toString(16)}`
      : `rip ${final.rip.toString(16)}`;
    const changed = Array.from(final.gpr).flatMap((value, i) =>
      value === one.initial.gpr[i] ? [] : [`r${i}=${value.toString(16)}`],
    );
    process.stdout.write(
      `${Buffer.from(one.code).toString('hex')} ${outcome} flags=${final.rflags.toString(16)} undefined=${one.undefined.rflags.toString(16)} ${changed.join(' ')}\n${describeInputs(one)}`,
    );
  }
}

const [command, ...rest] = process.argv.slice(2);
if (command === 'generate' && rest.length >= 2) generate(rest[0], rest[1], rest.slice(2));
else if (command === 'check' && rest.length >= 2) check(rest[0], rest[1], rest.slice(2));
else if (command === 'show' && rest.length >= 2) show(rest[0], rest[1], rest[2]);
else {
  process.stderr.write('usage: (generate | check) RUNNER DIRECTORY [GROUP...] | show DIRECTORY GROUP [NAME]\n');
  process.exitCode = 2;
}
