/** The host's clock and pauses for a domain's life. */
import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import type { HostTime } from '@paravane/toolstack';

/** Longest delay that a timer takes; longer pauses are cut, and whoever waits looks again. */
const longestDelay = 2 ** 31 - 1;

export const hostTime: HostTime = {
  now: () => performance.now(),
  async yield() {
    await setImmediate();
  },
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
