/** Lists of buffers that stand for one run of bytes: guest frames, mostly. */

export type BufferList = readonly Uint8Array[];
/** One run of bytes, in one piece or several. */
export type Buffers = Uint8Array | BufferList;

export function byteLength(buffers: Buffers): number {
  if (buffers instanceof Uint8Array) return buffers.length;
  let sum = 0;
  for (const buffer of buffers) sum += buffer.length;
  return sum;
}

/** The part of the run from `start` (below `end`), in views: nothing is copied. */
export function sliceBuffers(buffers: Buffers, start: number, end: number): Buffers {
  if (buffers instanceof Uint8Array) {
    return start === 0 && end === buffers.length ? buffers : buffers.subarray(start, end);
  }
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const buffer of buffers) {
    const next = at + buffer.length;
    if (next > start && at < end) {
      const inside = start <= at && next <= end;
      parts.push(inside ? buffer : buffer.subarray(Math.max(start - at, 0), Math.min(end, next) - at));
    }
    at = next;
    if (at >= end) break;
  }
  return parts.length === 1 ? parts[0]! : parts;
}

/** Copies all of `from`, which is as long as the run, into the run. */
export function copyInto(into: Buffers, from: Uint8Array): void {
  if (into instanceof Uint8Array) {
    into.set(from);
    return;
  }
  let at = 0;
  for (const buffer of into) {
    buffer.set(from.subarray(at, at + buffer.length));
    at += buffer.length;
  }
}

/** Copies the run to `into`, which is at least as long. */
export function copyFrom(from: Buffers, into: Uint8Array): void {
  if (from instanceof Uint8Array) {
    into.set(from);
    return;
  }
  let at = 0;
  for (const buffer of from) {
    into.set(buffer, at);
    at += buffer.length;
  }
}

export function fillZero(buffers: Buffers): void {
  if (buffers instanceof Uint8Array) buffers.fill(0);
  else for (const buffer of buffers) buffer.fill(0);
}
