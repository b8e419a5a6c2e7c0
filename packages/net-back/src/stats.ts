/** Figures of an interface, from the guest's side: `sent` is what the guest sent. */

export interface NetStats {
  framesSent: number;
  bytesSent: number;
  framesReceived: number;
  bytesReceived: number;
  /** Frames that the guest described wrongly. */
  errors: number;
  /** Frames for the guest that it has no way to take. */
  dropped: number;
  eventsIn: number;
  eventsOut: number;
}

export const createNetStats = (): NetStats => ({
  framesSent: 0,
  bytesSent: 0,
  framesReceived: 0,
  bytesReceived: 0,
  errors: 0,
  dropped: 0,
  eventsIn: 0,
  eventsOut: 0,
});
