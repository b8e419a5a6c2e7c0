/** Makes an empty qcow2 file. */
import { type ImageFile, imageError } from '@paravane/image-api';
import { limits } from './header.js';
import { incompatible, lazyRefcounts, magic, writeU64 } from './layout.js';

export interface Qcow2CreateOptions {
  /** Bytes of the disk. */
  readonly size: number;
  readonly version?: 2 | 3;
  /** Bytes: a power of two, 512 to 2 MiB. 64 KiB where it is not given. */
  readonly clusterSize?: number;
  /** 1 to 64, a power of two; 16 where it is not given. Other values need version 3. */
  readonly refcountBits?: number;
  /** The image under this one, as this one is to name it: relative to its own file. */
  readonly backing?: { readonly name: string; readonly format: string };
  /** Entries that tell of each 32nd of a cluster: less is copied for small writes. Clusters have 16 KiB or more. */
  readonly extendedL2?: boolean;
  /** Marks the image so that others may leave its counts behind. We never do. */
  readonly lazyRefcounts?: boolean;
}

const backingFormatExtension = 0xe2792aca;
const headerLength = 104;

export async function createQcow2(file: ImageFile, options: Qcow2CreateOptions): Promise<void> {
  const { size, version = 3, clusterSize = 65536, refcountBits = 16, backing } = options;
  const clusterBits = Math.log2(clusterSize);
  const order = Math.log2(refcountBits);
  need(Number.isSafeInteger(size) && size >= 0 && size % 512 === 0, `a disk has a multiple of 512 bytes, not ${size}`);
  const { least, most } = limits.clusterBits;
  need(
    Number.isInteger(clusterBits) && clusterBits >= least && clusterBits <= most,
    `clusters have 512 bytes to 2 MiB, a power of two, not ${clusterSize}`,
  );
  need(Number.isInteger(order) && order >= 0 && order <= 6, `counts have 1, 2, 4 … 64 bits, not ${refcountBits}`);
  need(version === 3 || order === 4, 'counts of other than 16 bits need version 3');
  need(version === 3 || options.lazyRefcounts !== true, 'lazy reference counts need version 3');
  const extended = options.extendedL2 === true;
  need(version === 3 || !extended, 'extended L2 entries need version 3');
  need(
    !extended || clusterBits >= limits.extendedClusterBits,
    `extended L2 entries need clusters of 16 KiB or more, not ${clusterSize} bytes`,
  );
  const l1Entries = Math.max(1, Math.ceil(size / (clusterSize * (clusterSize / (extended ? 16 : 8)))));
  need(l1Entries * 8 <= limits.l1Bytes, `a disk of ${size} bytes needs larger clusters than ${clusterSize}`);

  // Header, refcount table, refcount blocks, L1 table.
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterSize);
  const perBlock = (clusterSize * 8) / refcountBits;
  const { tableClusters, blocks } = countBlocks(1 + l1Clusters, perBlock, clusterSize / 8);
  const reftableOffset = clusterSize;
  const blocksOffset = reftableOffset + tableClusters * clusterSize;
  const l1Offset = blocksOffset + blocks * clusterSize;
  const used = 1 + tableClusters + blocks + l1Clusters;

  const reftable = new Uint8Array(tableClusters * clusterSize);
  const reftableView = new DataView(reftable.buffer);
  for (let block = 0; block < blocks; block++) writeU64(reftableView, block * 8, blocksOffset + block * clusterSize);
  await file.setSize(0);
  await file.setSize(used * clusterSize);
  await file.write(reftableOffset, reftable);
  await file.write(blocksOffset, counts(used, refcountBits));
  // A file without its header is no image; one with it is whole.
  await file.flush();
  await file.write(0, header());
  await file.flush();

  function header(): Uint8Array {
    const bytes = new Uint8Array(clusterSize);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, magic);
    view.setUint32(4, version);
    view.setUint32(20, clusterBits);
    writeU64(view, 24, size);
    view.setUint32(36, l1Entries);
    writeU64(view, 40, l1Offset);
    writeU64(view, 48, reftableOffset);
    view.setUint32(56, tableClusters);
    if (version === 3) {
      view.setUint32(76, extended ? incompatible.extendedL2 : 0);
      view.setUint32(84, options.lazyRefcounts === true ? lazyRefcounts : 0);
      view.setUint32(96, order);
      view.setUint32(100, headerLength);
    }
    if (backing !== undefined) storeBacking(bytes, view, backing);
    return bytes;
  }

  function storeBacking(bytes: Uint8Array, view: DataView, { name, format }: { name: string; format: string }): void {
    const begin = version === 3 ? headerLength : 72;
    const formatBytes = utf8(format);
    const nameBytes = utf8(name);
    // An extension of its format, the end of the extensions, the name.
    const nameAt = begin + 8 + Math.ceil(formatBytes.length / 8) * 8 + 8;
    need(
      nameBytes.length <= limits.backingName && nameAt + nameBytes.length <= clusterSize,
      `the name of the backing image is too long: "${name}"`,
    );
    view.setUint32(begin, backingFormatExtension);
    view.setUint32(begin + 4, formatBytes.length);
    bytes.set(formatBytes, begin + 8);
    writeU64(view, 8, nameAt);
    view.setUint32(16, nameBytes.length);
    bytes.set(nameBytes, nameAt);
  }
}

/** How many blocks count `others` clusters and themselves, and how many clusters of table name them. */
function countBlocks(others: number, perBlock: number, perTable: number): { tableClusters: number; blocks: number } {
  let tableClusters = 1;
  let blocks = 1;
  for (;;) {
    const needed = Math.ceil((others + tableClusters + blocks) / perBlock);
    const table = Math.ceil(needed / perTable);
    if (needed <= blocks && table <= tableClusters) return { tableClusters, blocks };
    blocks = Math.max(blocks, needed);
    tableClusters = Math.max(tableClusters, table);
  }
}

/** Counts of one for the first `used` clusters. */
function counts(used: number, bits: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((used * bits) / 8));
  for (let cluster = 0; cluster < used; cluster++) {
    if (bits >= 8) bytes[((cluster + 1) * bits) / 8 - 1] = 1;
    else bytes[(cluster * bits) >>> 3]! |= 1 << ((cluster * bits) & 7);
  }
  return bytes;
}

function utf8(value: string): Uint8Array {
  const bytes: number[] = [];
  const encoded = encodeURIComponent(value);
  for (let at = 0; at < encoded.length; at++) {
    if (encoded[at] === '%') {
      bytes.push(Number.parseInt(encoded.slice(at + 1, at + 3), 16));
      at += 2;
    } else bytes.push(encoded.charCodeAt(at));
  }
  return Uint8Array.from(bytes);
}

function need(holds: boolean, otherwise: string): void {
  if (!holds) throw imageError('image-invalid', `can't make a qcow2 image: ${otherwise}`);
}
