/** Answers that come at once or later, put together. */
import type { Soon } from '@paravane/image-api';

/**
 * One answer for several: it comes when all have come, so that no buffer is still in use, and fails if one failed.
 */
export function join(answers: readonly Promise<void>[]): Soon {
  if (answers.length === 0) return undefined;
  return answers.length === 1 ? answers[0]! : joinAll(answers);
}

async function joinAll(answers: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(answers)) if (outcome.status === 'rejected') throw outcome.reason;
}

/** Starts a part of a request. A part that fails at once fails like one that fails later: after its siblings answered. */
export function start(answers: Promise<void>[], part: () => Soon): void {
  try {
    const answer = part();
    if (answer !== undefined) answers.push(answer);
  } catch (error) {
    answers.push(Promise.reject(error));
  }
}
