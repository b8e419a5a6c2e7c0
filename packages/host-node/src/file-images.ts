/** Disk images in the host's files: all formats, with the images under them found beside those that name them. */
import { dirname, resolve } from 'node:path';
import { constants, inflateRawSync } from 'node:zlib';
import type { DiskImage, ImageDriver } from '@paravane/image-api';
import { openImage, qcow2Driver, rawDriver, type Unpackers } from '@paravane/images';
import { decompress as unzstd } from 'fzstd';
import { type ImageFileOptions, openImageFile } from './file-image.js';
import { zstdFrameLength } from './zstd-frame.js';

/** Node's zlib, and Zstandard in JavaScript. */
export const imageUnpackers: Unpackers = {
  inflate: (packed, length) => inflateRawSync(packed, { maxOutputLength: length, finishFlush: constants.Z_SYNC_FLUSH }),
  unzstd: (packed, length) => unzstd(packed.subarray(0, zstdFrameLength(packed)), new Uint8Array(length)),
};

export const imageDrivers: readonly ImageDriver[] = [qcow2Driver(imageUnpackers), rawDriver];

export interface DiskImageOptions {
  /** "raw", "qcow2" or a format of `drivers`. Where it is missing, the file's first bytes decide. */
  readonly format?: string;
  readonly readOnly?: boolean;
  readonly logicalBlockSize?: number;
  readonly metadataOnly?: boolean;
  readonly blocking?: boolean;
  readonly drivers?: readonly ImageDriver[];
}

/** Opens an image of any known format. */
export function openDiskImage(path: string, options: DiskImageOptions = {}): Promise<DiskImage> {
  const { blocking = false, drivers = imageDrivers, ...rest } = options;
  return openImage(path, {
    ...rest,
    drivers,
    openFile(name, { readOnly, from }) {
      const file = from === undefined ? name : backingPath(name, from);
      const fileOptions: ImageFileOptions = { readOnly, blocking };
      return { file: openImageFile(file, fileOptions), name: file };
    },
  });
}

/** Where the image that `from` names is. */
export function backingPath(name: string, from: string): string {
  return resolve(dirname(from), name.replace(/^file:/, ''));
}
