/** Time that passes only when a test says so. */
import type { NetworkClock } from '../clock.js';

export interface ManualClock extends NetworkClock {
  /** Lets so many milliseconds pass, timer by timer. */
  advance(milliseconds: number): void;
  /** Jumps to the next timer and runs it; false if there is none. */
  step(): boolean;
  readonly pending: number;
}

export function createManualClock(): ManualClock {
  let now = 0;
  let count = 0;
  const timers = new Map<number, { at: number; run: () => void }>();

  function earliest(): number | undefined {
    let best: number | undefined;
    for (const [id, { at }] of timers) {
      if (best === undefined || at < (timers.get(best)?.at ?? 0)) best = id;
    }
    return best;
  }

  function runNext(until: number): boolean {
    const id = earliest();
    const timer = id === undefined ? undefined : timers.get(id);
    if (id === undefined || !timer || timer.at > until) return false;
    timers.delete(id);
    now = Math.max(now, timer.at);
    timer.run();
    return true;
  }

  return {
    now: () => now,
    schedule(delay, run) {
      const id = ++count;
      timers.set(id, { at: now + Math.max(0, delay), run });
      return () => void timers.delete(id);
    },
    advance(milliseconds) {
      const until = now + milliseconds;
      while (runNext(until));
      now = until;
    },
    step: () => runNext(Number.POSITIVE_INFINITY),
    get pending() {
      return timers.size;
    },
  };
}
