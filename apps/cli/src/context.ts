/** What the commands work with: the process around them and the machines they may build. */
import type { Machine } from '@paravane/toolstack';
import { isParavaneError } from '@paravane/types';
import { statusOfError } from './exit-status.js';
import type { Output } from './output.js';

/** Our own guest, which `start` boots. */
export interface OwnGuest {
  readonly kernel: Uint8Array;
  /** MiB. */
  readonly memory: number;
  readonly cmdline: string;
}

/** Where machines and our own guest come from; tests put others in their place. */
export interface Parts {
  createMachine(): Promise<Machine>;
  ownGuest(bits: 64 | 32): Promise<OwnGuest>;
}

export interface CliContext {
  /** For the command-line library: its streams, and the status that the process will exit with. */
  readonly process: {
    readonly stdout: NodeJS.WriteStream;
    readonly stderr: NodeJS.WriteStream;
    readonly env: Readonly<Record<string, string | undefined>>;
    exitCode?: number | string | null;
  };
  readonly stdin: NodeJS.ReadStream;
  /** What becomes of the writes to `process.stdout`. */
  readonly output: Output;
  readonly parts: Parts;
}

/** A line on standard error, under our name. */
export function say(context: CliContext, text: string): void {
  context.process.stderr.write(`paravane: ${text}\n`);
}

/** Tells of a failure in one sentence; the exit status that it makes. */
export function sayError(context: CliContext, error: unknown): number {
  if (isParavaneError(error)) {
    say(context, error.message);
  } else {
    say(context, `an error inside paravane: ${error instanceof Error ? error.message : String(error)}`);
    if (context.process.env.PARAVANE_DEBUG) context.process.stderr.write(`${(error as Error).stack}\n`);
    else say(context, 'set PARAVANE_DEBUG=1 to see where, and please report it');
  }
  return statusOfError(error);
}

/** Carries out a command: its result is the exit status, and so is its failure. */
export async function carryOut(context: CliContext, command: () => Promise<number>): Promise<void> {
  try {
    context.process.exitCode = await command();
  } catch (error) {
    context.process.exitCode = sayError(context, error);
  }
}
