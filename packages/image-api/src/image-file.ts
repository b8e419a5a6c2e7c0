/** What a format needs of a file: bytes with random access, and a promise about when they are durable. */
import type { Buffers } from './buffers.js';
import type { Soon } from './disk-image.js';

/**
 * Fails with the error codes of images. As with images, methods may answer at once or with a promise, and buffers belong
 * to the file until it answers. Writes may reach stable storage in any order, in part or not at all before a `flush`.
 */
export interface ImageFile {
  readonly readOnly: boolean;
  /** Bytes. Grows with writes past the end. */
  readonly size: number;
  /** Fills the buffers in order. Bytes past the end read as zeroes. */
  read(offset: number, into: Buffers): Soon;
  write(offset: number, from: Buffers): Soon;
  /** Answers when every write and resize answered before this call is on stable storage. */
  flush(): Soon;
  /** Cuts the file off, or adds zeroes. */
  setSize(size: number): Soon;
  /** Makes a range read as zeroes and gives its space back to the host. Absent where the host can't. */
  punchHole?(offset: number, length: number): Soon;
  close(): Soon;
}
