/** Compressed clusters, unpacked by what the host gives, and kept for the next request to the same one. */
import { type ImageFile, imageError } from '@paravane/image-api';
import { compressedRun } from './layout.js';

/** Unpacks to exactly `length` bytes. What follows the packed bytes is not looked at. */
export type Unpack = (packed: Uint8Array, length: number) => Uint8Array;

/** Host's decompressors. */
export interface Unpackers {
  /** Raw deflate (RFC 1951). */
  readonly inflate?: Unpack;
  /** One Zstandard frame (RFC 8878). */
  readonly unzstd?: Unpack;
}

const kept = 8;

export class CompressedClusters {
  #recent = new Map<number, Promise<Uint8Array>>();

  constructor(
    readonly file: ImageFile,
    readonly clusterBits: number,
    readonly unpack: Unpack | undefined,
    readonly compression: string,
  ) {}

  /** All of the cluster that the L2 entry names. */
  read(high: number, low: number): Promise<Uint8Array> {
    const { offset, length } = compressedRun(high, low, this.clusterBits);
    let cluster = this.#recent.get(offset);
    if (cluster === undefined) {
      cluster = this.#unpack(offset, length);
      this.#recent.set(offset, cluster);
      cluster.catch(() => this.#recent.delete(offset));
      if (this.#recent.size > kept) this.#recent.delete(this.#recent.keys().next().value!);
    }
    return cluster;
  }

  /** Other bytes may be at these places from now on. */
  forget(): void {
    this.#recent.clear();
  }

  async #unpack(offset: number, length: number): Promise<Uint8Array> {
    if (this.unpack === undefined) {
      throw imageError(
        'image-unsupported',
        `the image has clusters packed with ${this.compression}, and nothing to unpack them`,
      );
    }
    if (offset >= this.file.size) throw damaged(offset, 'it is not in the file');
    const packed = new Uint8Array(length);
    await this.file.read(offset, packed);
    let bytes: Uint8Array;
    try {
      bytes = this.unpack(packed, 2 ** this.clusterBits);
    } catch (cause) {
      throw damaged(offset, (cause as Error).message, cause);
    }
    if (bytes.length !== 2 ** this.clusterBits) throw damaged(offset, `it unpacks to ${bytes.length} bytes`);
    return bytes;
  }
}

function damaged(offset: number, what: string, cause?: unknown): Error {
  return imageError('image-invalid', `the compressed cluster at ${offset} is damaged: ${what}`, { cause });
}
