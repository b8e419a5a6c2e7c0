/** @paravane/domain-builder: from a kernel file to a domain's memory as its first instruction finds it. */
export { bzImagePayload, isBzImage } from './bzimage.js';
export type { BuilderErrorCode } from './failure.js';
export { type KernelImage, type KernelSegment, loadKernelImage, readKernelImage } from './kernel-image.js';
export { LZ4_LEGACY_MAGIC, unpackLz4Legacy } from './lz4-legacy.js';
export {
  type Compression,
  compressionOf,
  type DecompressLimits,
  type Decompressor,
  type DecompressorTable,
  type UnpackedKernel,
  type UnpackOptions,
  unpackKernel,
} from './unpack.js';
export { type XenFeatures } from './xen-features.js';
export { describeNotes, parseXenNotes, type XenNotes } from './xen-notes.js';
