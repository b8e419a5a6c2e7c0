/**
 * Command line of the silicon tool.
 *
 *     generate RUNNER DIRECTORY [GROUP...]      asks the processor and writes DIRECTORY/GROUP.bin.gz
 *         --scale N      N times as many cases of each form (1000 and more per form with --scale 40)
 *         --salt N       other cases than the stored ones
 *         --out FOLDER   instead of DIRECTORY
 *     digests RUNNER DIRECTORY [GROUP...]       asks a thousand questions of each form: DIRECTORY/GROUP.VENDOR.digests.gz
 *     segments RUNNER DIRECTORY                 the same for segments and single-step: to the folder of packages/xen
 *     check RUNNER DIRECTORY [GROUP...]         replays the stored cases on this processor and prints differences
 *     show DIRECTORY GROUP [NAME]               counts per form, or the cases of one form
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { SiliconFile } from '../../../packages/x86/silicon/case.js';
import { compare, describeInputs } from '../../../packages/x86/silicon/compare.js';
import { readSilicon } from '../../../packages/x86/silicon/format.js';
import { caseSeed, type Profile, seededState } from '../../../packages/x86/silicon/state.js';
import { createDraft } from './draft.js';
import { type Form, parseLine } from './form.js';
import { askMany } from './many.js';
import { prepareCase } from './prepare.js';
import { identifyProcessor, runOnProcessor } from './processor.js';
import { askSegments } from './segments.js';
import { GROUPS } from './tables/groups.js';
import { encodeFile, encodeForm } from './write.js';

interface Options {
  scale: number;
  salt: number;
  out: string | undefined;
}

/** Takes the options out of the arguments. */
function takeOptions(args: string[]): { options: Options; names: string[] } {
  const options: Options = { scale: 1, salt: 0, out: undefined };
  const names: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    if (arg === '--scale') options.scale = Number(args[++i]);
    else if (arg === '--salt') options.salt = Number(args[++i]);
    else if (arg === '--out') options.out = args[++i];
    else if (arg in GROUPS) names.push(arg);
    else throw new Error(`"${arg}" is no option and no group; groups are ${Object.keys(GROUPS).join(', ')}`);
  }
  if (!(options.scale >= 1 && options.scale <= 500)) throw new Error('--scale takes a number from 1 to 500');
  return { options, names: names.length > 0 ? names : Object.keys(GROUPS) };
}

/** A seed per group, so that groups can be generated alone. */
function groupSeed(group: string, salt: number): number {
  let hash = 0x811c9dc5 ^ salt;
  for (const character of group) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}

function caseCount(form: Form): number {
  // What 64-bit code was asked already.
  if (form.options.has('again')) return 8;
  if (form.options.has('many')) return 120;
  if (form.options.has('stack') || form.options.has('any-prefixes')) return 64;
  if (form.options.has('float')) return form.memory ? 60 : 96;
  return form.memory ? 36 : 32;
}

/** Asks about one form, a case for each seed. */
function askForm(runner: string, form: Form, profile: Profile, seeds: number[]): Uint8Array {
  const drafts = seeds.map((seed, index) => {
    const draft = createDraft(form, profile, seed, index);
    const code = prepareCase(draft);
    return { draft, code, initial: draft.initial, mode: form.mode, seeded: seededState(seed, profile) };
  });
  const results = [...runOnProcessor(runner, drafts)];
  const cases = drafts.map(({ draft, code, initial, seeded }, i) => {
    return { code, seeded, initial, result: results[i], undefined: draft.undefined };
  });
  return encodeForm({ name: form.name, profile, mode: form.mode, cases });
}

function generate(runner: string, directory: string, args: string[]): void {
  const { options, names } = takeOptions(args);
  const processor = identifyProcessor();
  for (const group of names) {
    const seedOfFile = groupSeed(group, options.salt);
    let total = 0;
    const forms = GROUPS[group].flatMap(({ line, profile }) =>
      parseLine(line).map((form) => {
        const seeds = Array.from({ length: caseCount(form) * options.scale }, (_, i) =>
          caseSeed(seedOfFile, total + i),
        );
        total += seeds.length;
        return askForm(runner, form, profile, seeds);
      }),
    );
    const packed = gzipSync(encodeFile(processor, group, seedOfFile, forms), { level: 9 });
    writeFileSync(`${options.out ?? directory}/${group}.bin.gz`, packed);
    process.stdout.write(`${group}: ${forms.length} forms, ${total} cases, ${packed.length} bytes\n`);
  }
}

function storedFile(directory: string, group: string): SiliconFile {
  return readSilicon(gunzipSync(readFileSync(`${directory}/${group}.bin.gz`)));
}

function check(runner: string, directory: string, args: string[]): void {
  const { options, names } = takeOptions(args);
  for (const group of names) {
    const stored = storedFile(options.out ?? directory, group);
    let total = 0;
    let different = 0;
    for (const name of stored.forms().keys()) {
      const cases = [...stored.cases((candidate) => candidate === name)];
      total += cases.length;
      const results = [...runOnProcessor(runner, cases)];
      cases.forEach((one, i) => {
        const difference = compare(one, results[i]);
        if (difference === null) return;
        different++;
        if (different <= 10) process.stdout.write(`${difference}\n`);
      });
    }
    process.stdout.write(`${group}: ${total} cases, ${different} different\n`);
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
else if (command === 'digests' && rest.length >= 2) {
  const { options, names } = takeOptions(rest.slice(2));
  const { vendor } = identifyProcessor();
  for (const group of names) {
    const packed = gzipSync(askMany(rest[0], group), { level: 9 });
    writeFileSync(`${options.out ?? rest[1]}/${group}.${vendor}.digests.gz`, packed);
    process.stdout.write(`${group}: ${packed.length} bytes\n`);
  }
} else if (command === 'segments' && rest.length >= 2) {
  const { text, cases } = askSegments(rest[0]);
  const packed = gzipSync(text, { level: 9 });
  writeFileSync(`${rest[1]}/../../xen/silicon/segments.json.gz`, packed);
  process.stdout.write(`segments: ${cases} cases, ${packed.length} bytes\n`);
} else if (command === 'show' && rest.length >= 2) show(rest[0], rest[1], rest[2]);
else {
  process.stderr.write(
    'usage: (generate | digests | check) RUNNER DIRECTORY [GROUP...] | segments RUNNER DIRECTORY | show DIRECTORY GROUP [NAME]\n',
  );
  process.exitCode = 2;
}
