/**
 * Little-endian fields of a byte array, with every access checked against the array's own end.
 * A file offset is a `number` only after `offsetOf` has found it below the array's length.
 */
import { hex, truncated } from './failure.js';

export class Fields {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Fails unless `length` bytes at `offset` are in the file. */
  need(offset: number, length: number, what: string): void {
    if (offset + length > this.bytes.length) {
      throw truncated(
        `truncated ${what}: needs bytes ${hex(offset)} to ${hex(offset + length)}, the file has ${hex(this.bytes.length)}`,
      );
    }
  }

  /** A part of the file, sharing its memory. Offset and length are claims of the file. */
  slice(claimedOffset: bigint | number, claimedLength: bigint | number, what: string): Uint8Array {
    const end = BigInt(claimedOffset) + BigInt(claimedLength);
    if (end > BigInt(this.bytes.length)) {
      throw truncated(
        `truncated ${what}: claims bytes ${hex(claimedOffset)} to ${hex(end)}, the file has ${hex(this.bytes.length)}`,
      );
    }
    return this.bytes.subarray(Number(claimedOffset), Number(end));
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number): bigint {
    return this.#view.getBigUint64(offset, true);
  }
}

const latin1 = (bytes: Uint8Array, start: number, end: number): string => {
  let text = '';
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]);
  return text;
};

/** The text from `start` up to its NUL byte, or undefined where there is none (or more than `limit` bytes). */
export function cString(bytes: Uint8Array, start: number, limit = 4096): string | undefined {
  // The search is bounded too, so that a table of many unterminated names costs no more than its size.
  const length = bytes.subarray(start, start + limit + 1).indexOf(0);
  return length < 0 ? undefined : latin1(bytes, start, start + length);
}
