/**
 * Standard output that can't be written: the disk is full, or whoever read it has gone. There is nobody left to run for
 * then, so what runs ends, and the process with a failure of the host.
 */
import { fileCause } from '@paravane/host-node';
import { ParavaneError } from '@paravane/types';

export interface Output {
  /** What a write failed with. */
  readonly failure: ParavaneError | undefined;
  /** Resolves when one has failed. */
  readonly lost: Promise<void>;
}

export function watchOutput(stream: NodeJS.WritableStream): Output {
  let failure: ParavaneError | undefined;
  const lost = new Promise<void>((resolve) => {
    stream.on('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EPIPE' ? 'whoever read it has gone' : fileCause(cause);
      failure ??= new ParavaneError('host-output', `cannot write to standard output: ${why}`, { cause });
      resolve();
    });
  });
  return {
    get failure() {
      return failure;
    },
    lost,
  };
}
