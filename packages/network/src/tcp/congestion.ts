/** The congestion window: slow start and avoidance (RFC 5681), recovery (RFC 6582). Bytes. */

export interface Congestion {
  readonly window: number;
  /** The sequence number up to which this recovery goes; undefined where nothing is being recovered. */
  readonly recover: number | undefined;
  start(mss: number): void;
  acknowledged(bytes: number): void;
  /** Three duplicates say that a segment is lost. */
  lost(inFlight: number, recover: number): void;
  duplicate(): void;
  partial(acknowledged: number): void;
  recovered(): void;
  timeout(inFlight: number): void;
}

const initialSegments = 10;
const most = 16 << 20;
export const duplicatesForLoss = 3;

export function createCongestion(): Congestion {
  let mss = 0;
  let window = 0;
  let threshold = most;
  let recover: number | undefined;
  const reduce = (inFlight: number): void => {
    threshold = Math.max(inFlight / 2, 2 * mss);
  };
  return {
    get window() {
      return window;
    },
    get recover() {
      return recover;
    },
    start(size) {
      mss = size;
      window = initialSegments * mss;
    },
    acknowledged(bytes) {
      if (window >= most) return;
      window += window < threshold ? bytes : Math.max(1, (mss * Math.min(bytes, window)) / window);
    },
    lost(inFlight, upTo) {
      recover = upTo;
      reduce(inFlight);
      window = threshold + duplicatesForLoss * mss;
    },
    duplicate() {
      window = Math.min(window + mss, most);
    },
    partial(bytes) {
      window = Math.max(window - bytes + mss, mss);
    },
    recovered() {
      recover = undefined;
      window = threshold;
    },
    timeout(inFlight) {
      recover = undefined;
      reduce(inFlight);
      window = mss;
    },
  };
}
