/**
 * The rate limit of what a guest sends, by credit as xl-network-configuration(5) has it: so many bytes are given anew in
 * each interval. A frame may go while there is credit left, and may take more than that; what it took too much is paid
 * back first. Credit is not saved up beyond one interval's, or 128 KiB where that is more, as in XEN_NETBK.
 */

export interface RateClock {
  /** Milliseconds. */
  now(): number;
  /** Runs `run` once, `delay` milliseconds from now; the result takes it back. */
  schedule(delay: number, run: () => void): () => void;
}

export interface RateLimit {
  /** Given in each interval; above 0. */
  readonly bytes: number;
  /** Microseconds; above 0. */
  readonly interval: number;
  readonly clock: RateClock;
}

export interface Credit {
  /** Whether a frame may go. Where not, `again` is called when one may, once for any number of refusals. */
  may(again: () => void): boolean;
  take(bytes: number): void;
  /** Calls nobody any more. */
  close(): void;
}

const mostBurst = 128 << 10;

export const noLimit: Credit = { may: () => true, take: () => undefined, close: () => undefined };

export function createCredit({ bytes, interval, clock }: RateLimit): Credit {
  const milliseconds = interval / 1000;
  const most = Math.max(mostBurst, bytes);
  let left = bytes;
  let since = clock.now();
  let cancel: (() => void) | undefined;
  const waiting = new Set<() => void>();

  function replenish(): void {
    const intervals = Math.floor((clock.now() - since) / milliseconds);
    if (intervals <= 0) return;
    since += intervals * milliseconds;
    left = Math.min(most, left + intervals * bytes);
  }

  return {
    may(again) {
      replenish();
      if (left > 0) return true;
      waiting.add(again);
      const intervals = Math.floor(-left / bytes) + 1;
      cancel ??= clock.schedule(Math.max(0, since + intervals * milliseconds - clock.now()), () => {
        cancel = undefined;
        const woken = [...waiting];
        waiting.clear();
        for (const wake of woken) wake();
      });
      return false;
    },
    take(count) {
      left -= count;
    },
    close() {
      cancel?.();
      waiting.clear();
    },
  };
}
