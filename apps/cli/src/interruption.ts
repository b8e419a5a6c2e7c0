/**
 * Ctrl-C and its like as the ordinary end of a command that would go on for ever; where its output can't be written any
 * more, it need not go on either. The handlers stay until the process
 * exits: a signal that comes once the command is done, while disks and files are closed, must not take its exit status.
 */
import { exitStatus } from './exit-status.js';
import type { Output } from './output.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Milliseconds between the signal that asks for the end and one that means it. One press of Ctrl-C can arrive twice: from
 * the terminal and from the process that started this one.
 */
const patience = 1000;

export interface Interruption {
  /** Resolves at the first signal, at `now`, or when the output is lost. */
  readonly done: Promise<undefined>;
  now(): void;
}

export function listenForInterruption(output: Output): Interruption {
  let now = (): void => undefined;
  let asked: number | undefined;
  const done = new Promise<undefined>((resolve) => {
    now = () => resolve(undefined);
  });
  const onSignal = (): void => {
    asked ??= performance.now();
    // Whatever hangs, the terminal is given back: that is done at the exit of the process.
    if (performance.now() - asked >= patience) process.exit(exitStatus.interrupted);
    now();
  };
  for (const signal of signals) process.on(signal, onSignal);
  void output.lost.then(now);
  return { done, now };
}
