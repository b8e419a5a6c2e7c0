/**
 * The inbox: all that reaches the machine from outside (console bytes,
 * packets, completions) comes in here, is handed over between two slices, and
 * is stamped with the step and the instruction count at which that happened.
 * The stamped list is the recording; given back, it is replayed at the same
 * places.
 */
import { ParavaneError } from '@paravane/types';

export interface InputRecord {
  /** Steps done before the input was handed over: they name one place in a run in virtual time. */
  step: number;
  /** Instructions retired by all vCPUs until then. */
  instructions: number;
  /** System time then. */
  time: number;
  source: string;
  data: Uint8Array;
}

export interface Inbox {
  /** Names a source; `deliver` gets its inputs between slices. The name must be free. */
  source(name: string, deliver: (data: Uint8Array) => void): void;
  removeSource(name: string): void;
  /** Queues an input. Ignored while a recording is replayed. */
  post(name: string, data: Uint8Array): void;
  readonly pending: boolean;
  /** Tells of everything that is handed over from now on. */
  record(take: (record: InputRecord) => void): void;
  /**
   * Feeds a recording instead of what is posted. `handOver` throws `replay-differs` where the instructions done so far
   * are not those of the recorded run.
   */
  replay(records: readonly InputRecord[]): void;
}

export interface InboxPosition {
  step: number;
  instructions: number;
  time: number;
}

export function createInbox(): Inbox & {
  /** Hands over what has come; whether there was anything. */
  handOver(at: InboxPosition): boolean;
} {
  const sources = new Map<string, (data: Uint8Array) => void>();
  const takers: ((record: InputRecord) => void)[] = [];
  let queue: { source: string; data: Uint8Array }[] = [];
  let replayed: readonly InputRecord[] | null = null;
  let replayAt = 0;

  function deliver(source: string, data: Uint8Array, at: InboxPosition): void {
    for (const take of takers) take({ ...at, source, data });
    sources.get(source)?.(data);
  }
  return {
    source(name, handler) {
      if (sources.has(name)) {
        throw new ParavaneError(
          'input-source-taken',
          `an input source "${name}" is there already; name each source once`,
        );
      }
      sources.set(name, handler);
    },
    removeSource: (name) => void sources.delete(name),
    post(source, data) {
      if (!replayed) queue.push({ source, data: data.slice() });
    },
    get pending() {
      return queue.length > 0 || (replayed !== null && replayAt < replayed.length);
    },
    record: (take) => void takers.push(take),
    replay(records) {
      replayed = records;
      replayAt = 0;
      queue = [];
    },
    handOver(at) {
      if (replayed) {
        const from = replayAt;
        while (replayAt < replayed.length && replayed[replayAt]!.step <= at.step) {
          const record = replayed[replayAt++]!;
          if (record.step !== at.step || record.instructions !== at.instructions) throw differs(record, at);
          deliver(record.source, record.data, at);
        }
        return replayAt > from;
      }
      if (queue.length === 0) return false;
      const inputs = queue;
      queue = [];
      for (const input of inputs) deliver(input.source, input.data, at);
      return true;
    },
  };
}

function differs(record: InputRecord, at: InboxPosition): ParavaneError {
  return new ParavaneError(
    'replay-differs',
    `this run is not the recorded one: an input that came after ${record.instructions} instructions (step ${record.step}) ` +
      `would come after ${at.instructions} (step ${at.step}); replay with the same version, kernel and disks`,
  );
}
