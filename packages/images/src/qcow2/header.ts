/**
 * The header of a qcow2 file, versions 2 and 3. Every number in it is claimed by the file until it is validated here:
 * no table is larger than QEMU's own limits, nor than the file it is in.
 */
import { byteLength, type ImageFile, imageError } from '@paravane/image-api';
import { incompatible, magic, readU64 } from './layout.js';

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly size: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly reftableOffset: number;
  readonly reftableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  /** Lower halves: the upper halves have no bit that is known. */
  readonly incompatible: number;
  readonly compatible: number;
  readonly autoclear: number;
  /** A reference count has 2 to the power of this many bits. */
  readonly refcountOrder: number;
  readonly compression: 'zlib' | 'zstd';
  /** 16 with extended L2 entries, which tell of each 32nd of a cluster. */
  readonly l2EntryBytes: 8 | 16;
  readonly backing?: { readonly name: string; readonly format?: string };
  /** The directory of persistent bitmaps, which we keep but don't read. */
  readonly bitmaps?: { readonly count: number; readonly offset: number; readonly length: number };
}

const extension = { end: 0, backingFormat: 0xe2792aca, features: 0x6803f857, bitmaps: 0x23852875 } as const;

export const limits = {
  clusterBits: { least: 9, most: 21 },
  /** Of images with extended L2 entries: a part of a cluster is not smaller than a sector. */
  extendedClusterBits: 14,
  l1Bytes: 32 * 2 ** 20,
  reftableBytes: 8 * 2 ** 20,
  snapshots: 65536,
  backingName: 1023,
} as const;

const headerBytes = { 2: 72, 3: 104 } as const;

export function isQcow2(head: Uint8Array): boolean {
  return head.length >= 8 && new DataView(head.buffer, head.byteOffset, head.byteLength).getUint32(0) === magic;
}

export async function readHeader(file: ImageFile): Promise<Qcow2Header> {
  const first = new Uint8Array(Math.min(512, file.size));
  await file.read(0, first);
  if (first.length < headerBytes[2] || !isQcow2(first)) {
    throw invalid('it does not begin as a qcow2 file does; is it a raw image?');
  }
  const clusterBits = new DataView(first.buffer).getUint32(20);
  expect(
    clusterBits >= limits.clusterBits.least && clusterBits <= limits.clusterBits.most,
    `its clusters have 2^${clusterBits} bytes, and can have 2^9 to 2^21`,
  );
  const bytes = new Uint8Array(Math.min(2 ** clusterBits, file.size));
  await file.read(0, bytes);
  return parse(bytes, file.size);
}

function parse(bytes: Uint8Array, fileSize: number): Qcow2Header {
  const view = new DataView(bytes.buffer);
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw unsupported(`its version is ${version}; versions 2 and 3 can be used`);
  expect(byteLength(bytes) >= headerBytes[version], `it ends within its header`);
  const clusterBits = view.getUint32(20);
  const clusterSize = 2 ** clusterBits;
  const v3 = version === 3;

  const headerLength = v3 ? view.getUint32(100) : headerBytes[2];
  expect(headerLength >= headerBytes[version] && headerLength <= bytes.length, `its header has ${headerLength} bytes`);
  const extensions = readExtensions(bytes, headerLength, readU64(view, 8));

  if (v3) checkFeatures(view, extensions.get(extension.features));
  if (view.getUint32(32) !== 0) throw unsupported('it is encrypted: decrypt it with qemu-img convert first');
  const refcountOrder = v3 ? view.getUint32(96) : 4;
  expect(refcountOrder <= 6, `its reference counts have 2^${refcountOrder} bits, and can have up to 64`);

  const l2EntryBytes = v3 && (view.getUint32(76) & incompatible.extendedL2) !== 0 ? 16 : 8;
  expect(
    l2EntryBytes === 8 || clusterBits >= limits.extendedClusterBits,
    `its clusters of 2^${clusterBits} bytes are too small for extended L2 entries`,
  );
  const size = readU64(view, 24);
  expect(Number.isSafeInteger(size), 'its disk is larger than 2^53 bytes');
  const l1Entries = view.getUint32(36);
  const l1Offset = readU64(view, 40);
  expect(l1Entries * 8 <= limits.l1Bytes, `its L1 table has ${l1Entries} entries, and can have 4194304`);
  expect(
    l1Entries >= Math.ceil(size / (clusterSize * (clusterSize / l2EntryBytes))),
    `its L1 table of ${l1Entries} entries is too short for a disk of ${size} bytes`,
  );
  checkPlace('L1 table', l1Offset, l1Entries * 8);

  const reftableOffset = readU64(view, 48);
  const reftableClusters = view.getUint32(56);
  expect(
    reftableClusters > 0 && reftableClusters * clusterSize <= Math.max(limits.reftableBytes, clusterSize),
    `its refcount table has ${reftableClusters} clusters`,
  );
  checkPlace('refcount table', reftableOffset, reftableClusters * clusterSize);

  const snapshotCount = view.getUint32(60);
  const snapshotsOffset = readU64(view, 64);
  expect(snapshotCount <= limits.snapshots, `it has ${snapshotCount} snapshots, and can have ${limits.snapshots}`);
  if (snapshotCount > 0) checkPlace('snapshot table', snapshotsOffset, snapshotCount * 40);

  const backing = readBacking(bytes, extensions.get(extension.backingFormat));
  const bitmaps = extensions.get(extension.bitmaps);
  const compressionType = v3 && headerLength > 104 ? view.getUint8(104) : 0;
  if (compressionType > 1) throw unsupported(`its clusters are compressed in an unknown way (${compressionType})`);

  return {
    version,
    clusterBits,
    size,
    l1Entries,
    l1Offset,
    reftableOffset,
    reftableClusters,
    snapshotCount,
    snapshotsOffset,
    incompatible: v3 ? view.getUint32(76) : 0,
    compatible: v3 ? view.getUint32(84) : 0,
    autoclear: v3 ? view.getUint32(92) : 0,
    refcountOrder,
    compression: compressionType === 1 ? 'zstd' : 'zlib',
    l2EntryBytes,
    ...(backing === undefined ? {} : { backing }),
    ...(bitmaps === undefined || bitmaps.length < 24 ? {} : { bitmaps: readBitmaps(bitmaps) }),
  };

  function checkPlace(what: string, offset: number, length: number): void {
    expect(Number.isSafeInteger(offset) && offset % clusterSize === 0, `its ${what} begins within a cluster`);
    // The file may end within the last cluster of a table.
    const end = Math.ceil(fileSize / clusterSize) * clusterSize;
    expect((offset > 0 || length === 0) && offset + length <= end, `its ${what} is not within the file`);
  }
}

function readExtensions(bytes: Uint8Array, begin: number, claimedEnd: number): Map<number, Uint8Array> {
  const view = new DataView(bytes.buffer);
  const found = new Map<number, Uint8Array>();
  const end = claimedEnd > 0 && claimedEnd < bytes.length ? claimedEnd : bytes.length;
  for (let at = begin; at + 8 <= end; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === extension.end) break;
    expect(length <= end - at - 8, `the header extension 0x${type.toString(16)} at ${at} has ${length} bytes`);
    found.set(type, bytes.subarray(at + 8, at + 8 + length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function checkFeatures(view: DataView, names: Uint8Array | undefined): void {
  const low = view.getUint32(76);
  if ((low & incompatible.externalData) !== 0)
    throw unsupported('its data is in another file (data_file): make a copy without, with qemu-img convert -O qcow2');
  const known = incompatible.dirty | incompatible.corrupt | incompatible.compressionType | incompatible.extendedL2;
  for (let bit = 0; bit < 64; bit++) {
    const set = ((bit < 32 ? low >>> bit : view.getUint32(72) >>> (bit - 32)) & 1) === 1;
    if (!set || (bit < 32 && ((known >>> bit) & 1) === 1)) continue;
    throw unsupported(`it needs ${featureName(names, bit) ?? `the feature of bit ${bit}`}`);
  }
}

function featureName(table: Uint8Array | undefined, bit: number): string | undefined {
  if (table === undefined) return undefined;
  for (let at = 0; at + 48 <= table.length; at += 48) {
    if (table[at] === 0 && table[at + 1] === bit) return `the feature "${text(table.subarray(at + 2, at + 48))}"`;
  }
  return undefined;
}

function readBacking(bytes: Uint8Array, format: Uint8Array | undefined): Qcow2Header['backing'] {
  const view = new DataView(bytes.buffer);
  const offset = readU64(view, 8);
  const length = view.getUint32(16);
  if (offset === 0 || length === 0) return undefined;
  expect(length <= limits.backingName, `the name of its backing file has ${length} bytes, and can have 1023`);
  expect(offset + length <= bytes.length, 'the name of its backing file is not within its first cluster');
  const name = text(bytes.subarray(offset, offset + length));
  return format === undefined || format.length === 0 ? { name } : { name, format: text(format) };
}

function readBitmaps(bytes: Uint8Array): NonNullable<Qcow2Header['bitmaps']> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { count: view.getUint32(0), length: readU64(view, 8), offset: readU64(view, 16) };
}

/** UTF-8 up to a NUL, if there is one. */
export function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  let encoded = '';
  for (const byte of end < 0 ? bytes : bytes.subarray(0, end)) encoded += `%${byte.toString(16).padStart(2, '0')}`;
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw imageError('image-invalid', 'the qcow2 image holds a name that is not UTF-8', { cause });
  }
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw invalid(otherwise);
}

function invalid(what: string): Error {
  return imageError('image-invalid', `not a usable qcow2 image: ${what}`);
}

function unsupported(what: string): Error {
  return imageError('image-unsupported', `a qcow2 image that can't be used: ${what}`);
}
