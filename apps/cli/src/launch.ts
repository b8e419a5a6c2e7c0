/** Runs the command line in this process. */
import { setImmediate } from 'node:timers/promises';
import { runApp } from './app.js';
import { type CliContext, type Parts, sayError } from './context.js';
import { watchOutput } from './output.js';

export async function launch(parts: Parts): Promise<void> {
  const { stdout, stderr, stdin, env } = process;
  const output = watchOutput(stdout);
  // Of what can't be said nothing can be said; a guest runs on without.
  stderr.on('error', () => undefined);
  const context: CliContext = { process: { stdout, stderr, env }, stdin, output, parts };
  await runApp(process.argv.slice(2), context);
  // The failure of a write is told after it.
  await setImmediate();
  process.exitCode =
    output.failure === undefined ? Number(context.process.exitCode ?? 0) : sayError(context, output.failure);
}
