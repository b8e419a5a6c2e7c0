/**
 * Waiting for the host. What a back end started (a read of a file) answers at once or later; what follows from a later
 * answer must run between two instructions of the guest, at a moment that the machine chooses and can record. A back
 * end therefore never awaits: it hands the answer and what is to follow to its `HostWork`.
 */

export type Settled<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown };

export interface HostWork {
  /** Runs `start`; passes its answer, or its failure, to `then`: at once if it is there at once, else later. */
  run<T>(start: () => T | Promise<T>, then: (settled: Settled<T>) => void): void;
  /**
   * Runs `action` once, a little later: when the guest has nothing to do but wait, or has gone on for so long that it
   * should not be kept waiting. Where it is missing, whatever can be done is done at once.
   */
  later?(action: () => void): void;
}

export interface HostWorkQueue extends HostWork {
  /** Work that has not answered. */
  readonly inFlight: number;
  /** Resolves when nothing is in flight that was when it was called. */
  idle(): Promise<void>;
  /** Passes on the answer of a piece of work, by its number. Numbers that are not known are nothing to do. */
  deliver(id: number): void;
  /** Forgets whoever waits; answers that come later reach nobody. */
  close(): void;
}

/** Calls `then` with the answer, now if it is there. */
export function settled<T>(
  start: () => T | Promise<T>,
  then: (settled: Settled<T>) => void,
): Promise<void> | undefined {
  let answer: T | Promise<T>;
  try {
    answer = start();
  } catch (error) {
    then({ ok: false, error });
    return undefined;
  }
  if (!(answer instanceof Promise)) {
    then({ ok: true, value: answer });
    return undefined;
  }
  return answer.then(
    (value) => then({ ok: true, value }),
    (error: unknown) => then({ ok: false, error }),
  );
}

/**
 * Numbers each piece of work as it starts. `onAnswer` hears the number of one that answered late; the machine calls
 * `deliver` with it when the time has come. `later` is the machine's, where it has one.
 */
export function createHostWork(onAnswer: (id: number) => void, later?: HostWork['later']): HostWorkQueue {
  const waiting = new Map<number, { promise: Promise<void>; deliver: (() => void) | undefined }>();
  let lastId = 0;
  let inFlight = 0;
  return {
    ...(later === undefined ? {} : { later }),
    get inFlight() {
      return inFlight;
    },
    run(start, then) {
      const id = ++lastId;
      let late = false;
      const promise = settled(start, (answer) => {
        if (!late) {
          then(answer);
          return;
        }
        inFlight--;
        const entry = waiting.get(id);
        if (!entry) return;
        entry.deliver = () => then(answer);
        onAnswer(id);
      });
      if (!promise) return;
      late = true;
      inFlight++;
      waiting.set(id, { promise, deliver: undefined });
    },
    async idle() {
      await Promise.all([...waiting.values()].map(({ promise }) => promise));
    },
    deliver(id) {
      const entry = waiting.get(id);
      if (!entry?.deliver) return;
      waiting.delete(id);
      entry.deliver();
    },
    close() {
      waiting.clear();
    },
  };
}
