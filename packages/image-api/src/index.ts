/** Disk images: what a block back end asks of one, what a format asks of the file under it, and the words of errors. */
export {
  type BufferList,
  type Buffers,
  byteLength,
  copyFrom,
  copyInto,
  fillZero,
  sliceBuffers,
} from './buffers.js';
export {
  type DiscardOptions,
  type DiskImage,
  type ImageCheck,
  type ImageCheckOptions,
  type ImageDriver,
  type ImageInfo,
  type ImageOpenOptions,
  type ImageSnapshot,
  imageApiVersion,
  type Soon,
} from './disk-image.js';
export { checkImageRange, checkImageWritable, type ImageErrorCode, imageError, isImageError } from './errors.js';
export type { ImageFile } from './image-file.js';
