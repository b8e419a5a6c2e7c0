/**
 * Whether to wait for more requests when there is one. A front end with many requests under way sends the next ones at
 * once: served together, they cost it one event to send and one to take. One that waits for each answer only loses time.
 * Which it is shows when the wait is over: nothing more has come, and the wait is not repeated for a while, twice as long
 * each time.
 */

/** Events that are served at once, at most, before waiting is tried again. */
const LONGEST_PAUSE = 64;

export interface Gathering {
  /** To be asked once for each event. */
  pays(): boolean;
  /** How many requests an event led to, and whether they were waited for. */
  learn(requests: number, waited: boolean): void;
}

export function createGathering(): Gathering {
  let pause = 0;
  let left = 0;
  return {
    pays() {
      if (left === 0) return true;
      left--;
      return false;
    },
    learn(requests, waited) {
      if (requests > 1) pause = left = 0;
      else if (waited && requests === 1) left = pause = Math.min(LONGEST_PAUSE, Math.max(1, pause * 2));
    },
  };
}
