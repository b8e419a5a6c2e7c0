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
const empty = new Uint8Array(0);

/** Rings that are in no use: whoever is acknowledged all that was sent needs one again soon, or another connection does. */
export interface SpareRings {
  /** Of exactly `size` bytes, whatever they are. */
  take(size: number): Uint8Array;
  give(ring: Uint8Array): void;
}

/** Keeps so many rings at most, and none that is quickly made. */
export function createSpareRings(most = 4, worthKeeping = 64 << 10): SpareRings {
  const spares: Uint8Array[] = [];
  return {
    take(size) {
      const at = spares.findIndex(({ length }) => length === size);
      return (at < 0 ? undefined : spares.splice(at, 1)[0]) ?? new Uint8Array(size);
    },
    give(ring) {
      if (ring.length >= worthKeeping && spares.length < most) spares.push(ring);
    },
  };
}

/** `capacity` is a power of two. */
export function createSendBuffer(capacity: number, spares: SpareRings = createSpareRings(0)): SendBuffer {
  let ring: Uint8Array = empty;
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
    const bigger = spares.take(Math.min(size, capacity));
    if (length > 0) copy(0, length, bigger, 0);
    spares.give(ring);
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
      if (length > 0 || ring.length <= smallest) return;
      spares.give(ring);
      ring = empty;
    },
  };
}
