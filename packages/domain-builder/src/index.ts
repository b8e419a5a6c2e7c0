/** @paravane/domain-builder: from a kernel file to a domain's memory as its first instruction finds it. */

export { type BuilderMemory, buildPvDomain, type EntryState, type PvDomainPlace } from './build.js';
export { bzImagePayload, isBzImage } from './bzimage.js';
export type { BuilderErrorCode } from './failure.js';
export { hypercallPage32, hypercallPage64 } from './hypercall-page.js';
export { findKallsyms } from './kallsyms.js';
export { type KernelImage, type KernelSegment, loadKernelImage, readKernelImage } from './kernel-image.js';
export { elfSymbols, kernelSymbols } from './kernel-symbols.js';
export { LZ4_LEGACY_MAGIC, unpackLz4Legacy } from './lz4-legacy.js';
export { unpackLzma } from './lzma.js';
export { BRANCH_FLAGS, LEAF_FLAGS, type Level, type Mapping, type PageTable, TABLE_LEAF_FLAGS } from './page-tables.js';
export {
  type MappedRegion,
  neededMegabytes,
  type PvDomainOptions,
  type PvPlan,
  planPvDomain,
  type Region,
} from './plan.js';
export type { KernelSymbols, SymbolHit } from './symbols.js';
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
export { unpackXz } from './xz.js';
