/**
 * Frames on their way to an end that may have no room: a bounded queue. What exceeds it is dropped, as on a wire; who
 * would rather wait looks at `hasRoom` and is told by `onRoom`.
 */
import type { Frame, FrameSink } from '@paravane/link-api';
import { adaptFrames } from './offload.js';

export interface Outbox {
  /** Whether less than half of the bounds is used. */
  readonly hasRoom: boolean;
  readonly dropped: number;
  /** Queues frames, without giving them away yet. */
  push(frames: readonly Frame[]): void;
  /** Gives what is queued. */
  flush(): void;
  /** The end has room again. */
  resume(): void;
  clear(): void;
}

export interface OutboxOptions {
  readonly mostFrames?: number;
  readonly mostBytes?: number;
  /** Called when `hasRoom` has become true. */
  onRoom?(): void;
}

export function createOutbox(end: () => FrameSink | undefined, options: OutboxOptions = {}): Outbox {
  const { mostFrames = 1024, mostBytes = 4 << 20 } = options;
  let queue: Frame[] = [];
  let bytes = 0;
  let dropped = 0;
  let blocked = false;
  let flushing = false;
  let wasFull = false;

  const hasRoom = (): boolean => queue.length < mostFrames / 2 && bytes < mostBytes / 2;

  function flush(): void {
    const sink = end();
    if (!sink || blocked || flushing) return;
    flushing = true;
    while (queue.length > 0 && !blocked) {
      const batch = queue;
      queue = [];
      // Blocked before the call: a `resume` from within it must not be lost.
      blocked = true;
      const taken = sink.send(batch);
      if (taken >= batch.length) blocked = false;
      for (let at = 0; at < taken && at < batch.length; at++) bytes -= (batch[at] as Frame).bytes.length;
      if (taken < batch.length) queue = batch.slice(taken).concat(queue);
    }
    flushing = false;
    if (wasFull && hasRoom()) {
      wasFull = false;
      options.onRoom?.();
    }
  }

  return {
    get hasRoom() {
      const room = hasRoom();
      if (!room) wasFull = true;
      return room;
    },
    get dropped() {
      return dropped;
    },
    push(frames) {
      const sink = end();
      if (!sink) return;
      for (const frame of adaptFrames(frames, sink.offloads)) {
        if (queue.length >= mostFrames || bytes + frame.bytes.length > mostBytes) {
          dropped++;
          continue;
        }
        queue.push(frame);
        bytes += frame.bytes.length;
      }
    },
    flush,
    resume() {
      blocked = false;
      flush();
    },
    clear() {
      queue = [];
      bytes = 0;
    },
  };
}
