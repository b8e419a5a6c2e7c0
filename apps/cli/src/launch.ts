/** Runs the command line in this process. */
import { runApp } from './app.js';
import type { CliContext, Parts } from './context.js';

export async function launch(parts: Parts): Promise<void> {
  const { stdout, stderr, stdin, env } = process;
  const context: CliContext = { process: { stdout, stderr, env }, stdin, parts };
  await runApp(process.argv.slice(2), context);
  process.exitCode = Number(context.process.exitCode ?? 0);
}
