// Puts the command line and the packages that it is made of into one script, apps/cli/dist/command-line.cjs, and what
// runs it into apps/cli/dist/main.js, which tsc has written with imports. Reading hundreds of files took a third of each
// start, and only of a script can Node.js 20 use what V8 made of it before. `--stats` tells where time goes by the lines
// that name the files (packages/host-node/src/time-shares.ts). Does nothing while the result is newer than all that it is
// made from.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cli = join(root, 'apps/cli');
const out = join(cli, 'dist');

const timeOf = (file) => statSync(file).mtimeMs;
const filesIn = (dir) =>
  readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(js|ts|json)$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const sources = [
  fileURLToPath(import.meta.url),
  ...filesIn(join(cli, 'src')),
  ...readdirSync(join(root, 'packages'))
    .map((name) => join(root, 'packages', name, 'dist'))
    .flatMap(filesIn),
];

const main = join(out, 'main.js');
const script = join(out, 'command-line.cjs');
const newest = Math.max(...sources.map(timeOf));
// tsc has come since where main.js has imports of packages.
const isDone = existsSync(script) && timeOf(script) >= newest && !/from ['"]@paravane/.test(readFileSync(main, 'utf8'));
if (!isDone) {
  const { build } = await import(pathToFileURL(createRequire(join(cli, 'package.json')).resolve('rolldown')).href);
  // What others wrote stays in packages of its own.
  const options = { platform: 'node', external: [/^node:/, /^@stricli\//, 'fzstd'], logLevel: 'warn' };
  await build({ ...options, input: join(cli, 'src/main.ts'), output: { file: main } });
  await build({
    ...options,
    input: join(cli, 'src/command-line.ts'),
    output: { file: script, format: 'cjs', codeSplitting: false, comments: false },
  });
  // A function, as Node.js wraps modules, on the first line, so that the lines keep their numbers; in ASCII, which is
  // read without being decoded and takes half of the room.
  const text = readFileSync(script, 'utf8');
  const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const body = text.replace(/[^\x00-\x7f]/g, escaped);
  writeFileSync(script, `(function (exports, require, module, __filename, __dirname) {${body}})\n`);
}
