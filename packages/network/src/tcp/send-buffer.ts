/** Bytes that are not acknowledged yet: a ring that grows up to a bound. */

export interface SendBuffer {
  readonly length: number;
  readonly room: number;
  /** Takes bytes from the front of `bytes`; returns how many. */
  append(bytes: Uint8Array): number;
  /** Copies `length` bytes, from `offset` on, to `target`. */
  copy(offset: number, length: number, target: Uint8Array, at: number): void;
  /** Forgets the first `count` bytes. */
  drop(count: number): void;
}

const smallest = 4096;

/** `capacity` is a power of two. */
export function createSendBuffer(capacity: number): SendBuffer {
  let ring = new Uint8Array(0);
  let head = 0;
  let length = 0;

  function copy(offset: number, count: number, target: Uint8Array, at: number): void {
    const from = (head + offset) % ring.length;
    const first = Math.min(count, ring.length - from);
    target.set(ring.subarray(from, from + first), at);
    if (first < count) target.set(ring.subarray(0, count - first), at + first);
  }

  function grow(needed: number): void {
    let size = Math.max(ring.length, Math.min(smallest, capacity));
    while (size < needed) size *= 2;
    const bigger = new Uint8Array(Math.min(size, capacity));
    if (length > 0) copy(0, length, bigger, 0);
    ring = bigger;
    head = 0;
  }

  return {
    get length() {
      return length;
    },
    get room() {
      return capacity - length;
    },
    append(bytes) {
      const count = Math.min(bytes.length, capacity - length);
      if (count === 0) return 0;
      if (length + count > ring.length) grow(length + count);
      const tail = (head + length) % ring.length;
      const first = Math.min(count, ring.length - tail);
      ring.set(bytes.subarray(0, first), tail);
      if (first < count) ring.set(bytes.subarray(first, count), 0);
      length += count;
      return count;
    },
    copy,
    drop(count) {
      length -= count;
      head = length === 0 ? 0 : (head + count) % ring.length;
      // A connection that is idle holds nothing.
      if (length === 0 && ring.length > smallest) ring = new Uint8Array(0);
    },
  };
}
