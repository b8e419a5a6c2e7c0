/** Figures of one disk, from its beginning on. */
export interface BlockStats {
  reads: number;
  writes: number;
  flushes: number;
  barriers: number;
  discards: number;
  /** Requests that were answered with an error. */
  errors: number;
  bytesRead: number;
  bytesWritten: number;
  /** Requests that were joined to one before them. */
  merges: number;
  /** Calls of the image. */
  imageCalls: number;
  /** Requests in progress now, and the most at a time. */
  inFlight: number;
  mostInFlight: number;
  /** Events from the guest, and to it. */
  eventsIn: number;
  eventsOut: number;
}

export const createBlockStats = (): BlockStats => ({
  reads: 0,
  writes: 0,
  flushes: 0,
  barriers: 0,
  discards: 0,
  errors: 0,
  bytesRead: 0,
  bytesWritten: 0,
  merges: 0,
  imageCalls: 0,
  inFlight: 0,
  mostInFlight: 0,
  eventsIn: 0,
  eventsOut: 0,
});
