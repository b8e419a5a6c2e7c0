/** The retransmission timeout (RFC 6298). */

export interface RoundTrip {
  /** Milliseconds. */
  readonly timeout: number;
  sample(milliseconds: number): void;
  /** Doubles the timeout. */
  backOff(): void;
  /** Forgets the doubling. */
  recovered(): void;
}

const least = 200;
const most = 60_000;

export function createRoundTrip(): RoundTrip {
  let smoothed: number | undefined;
  let variation = 0;
  let base = 1000;
  let factor = 1;
  return {
    get timeout() {
      return Math.min(base * factor, most);
    },
    sample(milliseconds) {
      if (smoothed === undefined) {
        smoothed = milliseconds;
        variation = milliseconds / 2;
      } else {
        variation = 0.75 * variation + 0.25 * Math.abs(smoothed - milliseconds);
        smoothed = 0.875 * smoothed + 0.125 * milliseconds;
      }
      base = Math.min(Math.max(smoothed + Math.max(4 * variation, 1), least), most);
      factor = 1;
    },
    backOff() {
      if (base * factor < most) factor *= 2;
    },
    recovered() {
      factor = 1;
    },
  };
}
