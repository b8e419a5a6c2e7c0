/**
 * The inbox: all that reaches the machine from outside (console bytes,
 * packets, completions) comes in here, is handed over between two slices, and
 * is stamped with the step and the instruction count at which that happened.
 * The stamped list is the recording; given back, it is replayed at the same
 * places.
 */
import { ParavaneError } from '@paravane/types';

export interface InputRecord {
  /** Steps (slices and idle skips) done before the input was handed over. */
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
  /** Everything handed over so far. */
  readonly recording: readonly InputRecord[];
  /** Feeds a recording instead of what is posted. */
  replay(records: readonly InputRecord[]): void;
}

export interface InboxPosition {
  step: number;
  instructions: number;
  time: number;
}

export function createInbox(): Inbox & { handOver(at: InboxPosition): void } {
  const sources = new Map<string, (data: Uint8Array) => void>();
  const recording: InputRecord[] = [];
  let queue: { source: string; data: Uint8Array }[] = [];
  let replayed: readonly InputRecord[] | null = null;
  let replayAt = 0;

  function deliver(source: string, data: Uint8Array, at: InboxPosition): void {
    recording.push({ ...at, source, data });
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
    recording,
    replay(records) {
      replayed = records;
      replayAt = 0;
      queue = [];
    },
    handOver(at) {
      if (replayed) {
        while (replayAt < replayed.length && replayed[replayAt]!.step <= at.step) {
          const record = replayed[replayAt++]!;
          deliver(record.source, record.data, at);
        }
        return;
      }
      if (queue.length === 0) return;
      const inputs = queue;
      queue = [];
      for (const input of inputs) deliver(input.source, input.data, at);
    },
  };
}
