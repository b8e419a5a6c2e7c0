/** Disk images in the host's files: all formats, with the images under them found beside those that name them. */
import { dirname, resolve } from 'node:path';
import { constants, inflateRawSync } from 'node:zlib';
import type { DiskImage, ImageDriver, ImageFile } from '@paravane/image-api';
import { openHttpFile, openImage, qcow2Driver, rawDriver, type Unpackers } from '@paravane/images';
import { decompress as unzstd } from 'fzstd';
import { openImageFile } from './file-image.js';
import { lockImage } from './image-lock.js';
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

/** Opens an image of any known format, in a file, on a block device, or for reading at an http:// or https:// URL. */
export function openDiskImage(path: string, options: DiskImageOptions = {}): Promise<DiskImage> {
  const { blocking = false, drivers = imageDrivers, ...rest } = options;
  return openImage(path, {
    ...rest,
    drivers,
    async openFile(name, { readOnly, from }) {
      const path = from === undefined ? name : backingPath(name, from);
      if (isUrl(path))
        return { file: await openHttpFile({ url: path, fetch: (url, init) => fetch(url, init) }), name: path };
      const file = openImageFile(path, { readOnly, blocking });
      return { file: readOnly ? file : await lockedFile(file, path), name: path };
    },
  });
}

/** The file, which no other process may open for writing until it is closed. */
async function lockedFile(file: ImageFile, path: string): Promise<ImageFile> {
  try {
    const unlock = await lockImage(path);
    const { close } = file;
    file.close = () => {
      close();
      unlock();
    };
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Where the image that `from` names is. */
export function backingPath(name: string, from: string): string {
  if (isUrl(name)) return name;
  return isUrl(from) ? new URL(name, from).href : resolve(dirname(from), name.replace(/^file:/, ''));
}

function isUrl(name: string): boolean {
  return /^https?:\/\//.test(name);
}
