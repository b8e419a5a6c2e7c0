/** The errors of images, and the checks that each image begins a request with. */
import { isParavaneError, ParavaneError, type ParavaneErrorOptions } from '@paravane/types';

export type ImageErrorCode =
  /** The host could not read or write. */
  | 'io'
  /** The host's disk, or the format's address space, is full. */
  | 'no-space'
  /** A write to what may only be read. */
  | 'read-only'
  /** A request that is not within the disk, or not in whole blocks. */
  | 'out-of-range'
  /** The file is not of the format, or says impossible things. */
  | 'image-invalid'
  /** The file is right, and of a kind that this driver can't use. */
  | 'image-unsupported'
  /** A request to what was closed. */
  | 'closed';

const codes: ReadonlySet<string> = new Set<ImageErrorCode>([
  'io',
  'no-space',
  'read-only',
  'out-of-range',
  'image-invalid',
  'image-unsupported',
  'closed',
]);

export function imageError(
  code: ImageErrorCode,
  message: string,
  options?: ParavaneErrorOptions,
): ParavaneError<ImageErrorCode> {
  return new ParavaneError(code, message, options);
}

/** Whether `error` is one of an image's own, of `code` if that is given. */
export function isImageError(error: unknown, code?: ImageErrorCode): error is ParavaneError<ImageErrorCode> {
  return isParavaneError(error, code) && codes.has(error.code);
}

/** Throws 'out-of-range' unless the request is of whole blocks, within the disk. */
export function checkImageRange(
  image: { readonly size: number; readonly logicalBlockSize: number },
  offset: number,
  length: number,
): void {
  const { size, logicalBlockSize } = image;
  const whole =
    Number.isSafeInteger(offset) && offset >= 0 && offset % logicalBlockSize === 0 && length % logicalBlockSize === 0;
  if (whole && length >= 0 && offset + length <= size) return;
  throw imageError(
    'out-of-range',
    `a request of ${length} bytes at ${offset} is not of whole blocks of ${logicalBlockSize} bytes within the ` +
      `${size} bytes of the disk`,
    { data: { offset, length, size } },
  );
}

/** Throws 'read-only' unless the image may be written. */
export function checkImageWritable(image: { readonly readOnly: boolean }): void {
  if (image.readOnly) throw imageError('read-only', 'the image is open for reading only: open it for writing first');
}
