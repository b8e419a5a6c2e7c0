/**
 * The interface between a block back end and an image. The back end is trusted to stay within `size`; what the image's
 * bytes say is not trusted by anyone, the format driver included.
 */
import type { Buffers } from './buffers.js';
import type { ImageFile } from './image-file.js';

/** The version that `DiskImage` and `ImageDriver` of this package have. */
export const imageApiVersion = 1;

/** An answer at once, or later. Look for a promise before you await: most answers cost no turn of the event loop. */
export type Soon<T = void> = T | Promise<T>;

export interface DiscardOptions {
  /** The old bytes must not be readable from the host's file any more, either. */
  readonly secure?: boolean;
}

/**
 * A disk. Methods may answer at once, or with a promise; they fail with a `ParavaneError` (`ImageErrorCode`), thrown or
 * as a rejection.
 *
 * - Offsets and lengths are in bytes, multiples of `logicalBlockSize`, within `size`. The buffers of one request may
 *   have any length each; only their sum counts.
 * - Buffers belong to the image until it answers. They may lie on WebAssembly memory, shared or not; the image moves
 *   bytes straight to and from them.
 * - Any number of requests may be in flight. Requests that touch the same block while both are in flight have no order.
 * - A request whose predecessor was answered sees its effect.
 */
export interface DiskImage {
  readonly apiVersion: typeof imageApiVersion;
  /** Such as "raw" or "qcow2". */
  readonly format: string;
  /** Bytes: a multiple of `logicalBlockSize`. Changes with `resize` only. */
  readonly size: number;
  readonly readOnly: boolean;
  /** 512 or 4096. */
  readonly logicalBlockSize: number;

  /** Fills the buffers in order. */
  read(offset: number, into: Buffers): Soon;
  /** Stores the buffers in order. What was written survives a crash of the host only after a `flush`. */
  write(offset: number, from: Buffers): Soon;
  /** Answers when every write answered before this call is on stable storage (Node: fdatasync). */
  flush(): Soon;
  /** Makes a range read as zeroes. Cheaper than writing them, where the format can. */
  writeZeroes?(offset: number, length: number): Soon;
  /**
   * Gives the range back to the host. What it reads as afterwards is up to the image; it never is another's data.
   * Absent where the image can't.
   */
  discard?(offset: number, length: number, options?: DiscardOptions): Soon;
  /** New size in bytes, a multiple of `logicalBlockSize`. What is added reads as zeroes. Absent where it can't. */
  resize?(size: number): Soon;
  /** Facts for people and programs. */
  info?(): Soon<ImageInfo>;
  /** Compares what the image says of itself. Nothing else may be in flight. */
  check?(options?: ImageCheckOptions): Soon<ImageCheck>;
  /** Writes back what is pending, flushes and lets go of the files. No other call may follow. Twice is once. */
  close(): Soon;
}

export interface ImageSnapshot {
  readonly id: string;
  readonly name: string;
  /** Bytes of the disk at that time. */
  readonly size: number;
  /** Bytes of saved machine state. */
  readonly stateSize: number;
  /** Seconds since 1970. */
  readonly seconds: number;
}

export interface ImageInfo {
  readonly format: string;
  /** Bytes. */
  readonly size: number;
  /** Bytes of the file that are in use, where known. */
  readonly allocated?: number;
  readonly clusterSize?: number;
  /** As the image names it. */
  readonly backing?: { readonly name: string; readonly format?: string };
  readonly snapshots?: readonly ImageSnapshot[];
  /** Further facts of the format, by name. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

export interface ImageCheckOptions {
  /** Frees what is leaked, and counts what is not counted. */
  readonly repair?: boolean;
  /** Told now and then which part is done, from 0 to 1. */
  readonly progress?: (part: number) => void;
}

export interface ImageCheck {
  /** Sentences, each with the place in the file. The first hundred. */
  readonly problems: readonly string[];
  /** Contradictions that can cost data. */
  readonly corruptions: number;
  /** Clusters that nothing uses and that count as used: space lost, no data. */
  readonly leaks: number;
  /** Leaks and references repaired, where that was asked for. */
  readonly repaired: number;
  /** Clusters in use and in all. */
  readonly allocatedClusters: number;
  readonly totalClusters: number;
}

export interface ImageOpenOptions {
  readonly readOnly?: boolean;
  /** 512 where it is not given. */
  readonly logicalBlockSize?: number;
  /** Opens the image under this one, read-only. `name` is as the image says it: relative to the image's own file. */
  readonly openBacking?: (name: string, format: string | undefined) => Soon<DiskImage>;
  /** For `info`, `check` and `resize` only: an image under this one is not looked for, marks of damage are ignored. */
  readonly metadataOnly?: boolean;
}

/** A format: how an image of it is told from others, and opened. */
export interface ImageDriver {
  readonly apiVersion: typeof imageApiVersion;
  readonly format: string;
  /** Whether a file that starts with these bytes (up to 512 of them) is of this format. Absent: only when asked for. */
  probe?(head: Uint8Array): boolean;
  open(file: ImageFile, options?: ImageOpenOptions): Soon<DiskImage>;
}
