/**
 * One-shot timers in a binary heap, ordered by deadline and, for equal
 * deadlines, by when they were set: the order in which they fire depends on
 * nothing else.
 */
import type { Timer } from '@paravane/personality-api';

export interface TimerQueue {
  create(fire: () => void): Timer;
  /** Deadline of the next timer, or `Infinity`. */
  readonly next: number;
  /** Fires what is due at `now`, one after the other; a timer may set itself again. */
  fireDue(now: number): void;
}

interface Entry {
  deadline: number;
  order: number;
  /** Index in the heap, -1 while not set. */
  place: number;
  fire: () => void;
}

export function createTimerQueue(): TimerQueue {
  const heap: Entry[] = [];
  let order = 0;

  const before = (a: Entry, b: Entry): boolean =>
    a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
  function put(entry: Entry, place: number): void {
    heap[place] = entry;
    entry.place = place;
  }
  function rise(entry: Entry, from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!before(entry, heap[parent]!)) break;
      put(heap[parent]!, place);
      place = parent;
    }
    put(entry, place);
  }
  function sink(entry: Entry, from: number): void {
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, entry)) break;
      put(heap[child]!, place);
      place = child;
    }
    put(entry, place);
  }
  function remove(entry: Entry): void {
    const place = entry.place;
    if (place < 0) return;
    entry.place = -1;
    const last = heap.pop()!;
    if (last === entry) return;
    sink(last, place);
    if (last.place === place) rise(last, place);
  }
  return {
    create(fire) {
      const entry: Entry = { deadline: Infinity, order: 0, place: -1, fire };
      return {
        get deadline() {
          return entry.place < 0 ? Infinity : entry.deadline;
        },
        set(deadline) {
          remove(entry);
          entry.deadline = deadline;
          entry.order = order++;
          rise(entry, heap.length);
        },
        cancel: () => remove(entry),
      };
    },
    get next() {
      return heap.length === 0 ? Infinity : heap[0]!.deadline;
    },
    fireDue(now) {
      // A timer that sets itself to a time that has passed fires once per call, or it would never end.
      const limit = order;
      while (heap.length > 0 && heap[0]!.deadline <= now && heap[0]!.order < limit) {
        const entry = heap[0]!;
        remove(entry);
        entry.fire();
      }
    },
  };
}
