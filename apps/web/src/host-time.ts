/** A browser's clock and pauses for a domain's life. */
import type { HostTime } from '@paravane/toolstack';

/** Longest delay that a timer takes; longer pauses are cut, and whoever waits looks again. */
const longestDelay = 2 ** 31 - 1;

export function createHostTime(): HostTime {
  // A message to oneself: messages from the page get their turn before it, and no timer's least delay is waited for.
  const { port1, port2 } = new MessageChannel();
  return {
    now: () => performance.now(),
    yield: () =>
      new Promise((resolve) => {
        port1.onmessage = () => resolve();
        port2.postMessage(null);
      }),
    pause(milliseconds) {
      let wake = (): void => undefined;
      const done = new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(milliseconds, longestDelay));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      return { done, wake };
    },
  };
}
