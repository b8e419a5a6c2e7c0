/** Ctrl-C and its like as the ordinary end of a command that would go on for ever. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interruption {
  /** Resolves at the first signal, or at `now`. */
  readonly done: Promise<undefined>;
  now(): void;
  close(): void;
}

export function listenForInterruption(output: NodeJS.WritableStream): Interruption {
  let now = (): void => undefined;
  const done = new Promise<undefined>((resolve) => {
    now = () => resolve(undefined);
  });
  for (const signal of signals) process.on(signal, now);
  // Whoever read our output has gone.
  output.on('error', now);
  return {
    done,
    now,
    close() {
      for (const signal of signals) process.removeListener(signal, now);
    },
  };
}
