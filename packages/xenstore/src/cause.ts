/**
 * A domain's request that is under way: until its reply and the events that it caused at any domain have been read, or
 * are dropped. How many a domain may have bounds what it can make the store keep, and keeps it from flooding others.
 */
export interface Cause {
  /** An event that the request caused waits to be read. */
  eventWaits(): void;
  eventGone(): void;
  replyGone(): void;
}

/** `over` is called once, when nothing of the request waits any more. */
export function createCause(over: () => void): Cause {
  let waiting = 1;
  const gone = (): void => {
    if (--waiting === 0) over();
  };
  return { eventWaits: () => void waiting++, eventGone: gone, replyGone: gone };
}
