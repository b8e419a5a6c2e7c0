// Builds the native runner and the generator, and runs one of its commands:
//   node tools/silicon/silicon.mjs generate [GROUP...]
//   node tools/silicon/silicon.mjs check [GROUP...]
//   node tools/silicon/silicon.mjs show GROUP [FORM]
//   node tools/silicon/silicon.mjs replay [GROUP...]
// Needs gcc and a 64-bit Linux on the processor that is to be asked. Results land in packages/x86/silicon.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const out = join(root, '.cache', 'silicon');
const answers = join(root, 'packages', 'x86', 'silicon');

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', cwd: root });
  if (error) throw new Error(`${command} could not be started: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

const vitest = (...args) =>
  run(process.execPath, [
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    ...args,
    '--testTimeout',
    '3600000',
  ]);
const [asked = '', ...rest] = process.argv.slice(2);
// All cases of the digests on the interpreter; needs no processor of any kind.
if (asked === 'replay') {
  process.env.SILICON_CASES = 'all';
  if (rest.length > 0) process.env.SILICON_GROUPS = rest.join(',');
  vitest('packages/x86/src/silicon-digests.test.ts');
  process.exit();
}

mkdirSync(out, { recursive: true });
writeFileSync(join(out, 'package.json'), '{ "type": "module" }\n');
run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', here]);

const runner = join(out, 'runner');
const freestanding = '-O1 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector';
const restricted = '-mgeneral-regs-only -fcf-protection=none';
// `compare` asks anew, and the interpreter answers beside the processor; nothing is kept.
const compares = asked === 'compare';
const command = compares ? 'generate' : asked;
const fresh = join(out, 'answers');
if (compares) {
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh);
  rest.push('--out', fresh);
}
if (command !== 'show') {
  const source = join(here, 'native', 'runner.c');
  run('gcc', [...freestanding.split(' '), ...restricted.split(' '), '-o', runner, source]);
}
const places = command === 'show' ? [answers] : [runner, answers];
run(process.execPath, [join(out, 'tools', 'silicon', 'src', 'main.js'), command, ...places, ...rest]);
if (compares) {
  process.env.SILICON_ANSWERS = fresh;
  vitest('packages/x86/src/silicon.test.ts', '-t', 'the interpreter gives');
}
