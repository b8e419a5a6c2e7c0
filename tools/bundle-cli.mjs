// Puts the command line and the packages that it is made of into a few files: apps/cli/dist/main.js, which tsc has
// written as a small one, and part-*.js beside it. Reading hundreds of files took a third of each start. `--stats` tells
// where time goes by the lines that name the files (packages/host-node/src/time-shares.ts). Does nothing while the result
// is newer than all that it is made from.
import { readdirSync, rmSync, statSync } from 'node:fs';
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

const parts = readdirSync(out)
  .filter((name) => /^part-.*\.js$/.test(name))
  .map((name) => join(out, name));
// One by tsc is a small one without parts, or has come since.
const main = join(out, 'main.js');
const newest = Math.max(...sources.map(timeOf));
const isBundle = statSync(main).size > 50_000 && [main, ...parts].every((file) => timeOf(file) >= newest);
if (!isBundle || parts.length === 0) {
  const { build } = await import(pathToFileURL(createRequire(join(cli, 'package.json')).resolve('rolldown')).href);
  for (const part of parts) rmSync(part);
  await build({
    input: join(cli, 'src/main.ts'),
    platform: 'node',
    // What others wrote stays in packages of its own.
    external: [/^node:/, /^@stricli\//, 'fzstd'],
    logLevel: 'warn',
    output: {
      dir: out,
      entryFileNames: 'main.js',
      chunkFileNames: 'part-[name].js',
    },
  });
}
