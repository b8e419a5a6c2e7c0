/** Time, passed in: the host's, or a guest's virtual one. */

export interface NetworkClock {
  /** Milliseconds from any beginning; never goes back. */
  now(): number;
  /** Runs `run` once, `delay` milliseconds from now; the result takes it back. */
  schedule(delay: number, run: () => void): () => void;
}
