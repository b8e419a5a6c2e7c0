/**
 * Runs a script with what V8 made of it in an earlier run: reading and compiling it anew takes as long as Node.js itself
 * takes to start.
 */
import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { cacheFolder, openKeptCode, withoutBaselineAtOnce } from '@paravane/host-node';

type CommonJs = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  file: string,
  folder: string,
) => void;

/**
 * Runs a script that is a function of what a CommonJS module gets, in ASCII. What V8 made of it, with the functions that
 * were compiled on the way, is kept when the process ends, unless it was there. Where it can't be kept, nothing is said;
 * the next run takes longer.
 */
export function runScript(file: string): void {
  const { size, mtimeMs } = statSync(file);
  const made = Buffer.from(`${process.versions.v8} ${file} ${size} ${mtimeMs}`);
  const kept = openKeptCode(join(cacheFolder(process.env), 'code'), made, () => undefined);
  const cachedData = kept.bytes;
  withoutBaselineAtOnce(() => {
    const compiled = new Script(readFileSync(file, 'latin1'), {
      filename: pathToFileURL(file).href,
      ...(cachedData === null ? {} : { cachedData }),
    });
    const isUsed = cachedData !== null && compiled.cachedDataRejected !== true;
    if (!isUsed) process.on('exit', () => withoutBaselineAtOnce(() => kept.keep(compiled.createCachedData())));
    const module = { exports: {} };
    const run = compiled.runInThisContext() as CommonJs;
    run(module.exports, createRequire(file), module, file, dirname(file));
  });
}
