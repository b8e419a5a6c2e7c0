/** Opens a qcow2 file: its header, its tables, its snapshots, the image under it. */
import {
  type DiskImage,
  type ImageFile,
  type ImageOpenOptions,
  type ImageSnapshot,
  imageError,
} from '@paravane/image-api';
import { checkQcow2 } from './check.js';
import { CompressedClusters, type Unpackers } from './compressed.js';
import { type Qcow2Header, readHeader } from './header.js';
import { Qcow2Image } from './image.js';
import { incompatible } from './layout.js';
import { Metadata } from './metadata.js';
import { type Opened, readTable } from './opened.js';
import { readSnapshots, type StoredSnapshot } from './snapshots.js';

export interface Qcow2Options extends ImageOpenOptions, Unpackers {
  /** Opens an internal snapshot by its name or id, for reading. */
  readonly snapshot?: string;
  /** Bytes of L2 tables kept in memory: 4 MiB, enough for 32 GiB of disk with clusters of 64 KiB. */
  readonly cacheBytes?: number;
}

const defaultCache = 4 * 2 ** 20;

export async function openQcow2(file: ImageFile, options: Qcow2Options = {}): Promise<Qcow2Image> {
  const header = await readHeader(file);
  const readOnly = options.readOnly === true || file.readOnly || options.snapshot !== undefined;
  if (!readOnly && (header.incompatible & incompatible.corrupt) !== 0 && options.metadataOnly !== true) {
    throw imageError(
      'image-invalid',
      'the qcow2 image is marked as corrupt: check and repair it, or open it for reading only',
    );
  }
  const snapshots = await readSnapshots(file, header);
  const root = options.snapshot === undefined ? undefined : findSnapshot(snapshots, options.snapshot);
  const l1 = await readTable(file, root?.l1Offset ?? header.l1Offset, (root?.l1Entries ?? header.l1Entries) * 8);
  const reftable = await readTable(file, header.reftableOffset, header.reftableClusters * 2 ** header.clusterBits);
  const cacheBytes = options.cacheBytes ?? defaultCache;
  const metadata = new Metadata({ file, header, l1, reftable, cacheBytes });
  const logicalBlockSize = options.logicalBlockSize ?? 512;
  const size = root?.size ?? header.size;
  const unpack = header.compression === 'zstd' ? options.unzstd : options.inflate;
  const opened: Opened = {
    metadata,
    header,
    readOnly,
    logicalBlockSize,
    backing: await openBacking(header, options),
    size: Math.floor(size / logicalBlockSize) * logicalBlockSize,
    compressed: new CompressedClusters(file, header.clusterBits, unpack, header.compression),
    snapshots,
  };
  if (!readOnly) await claim(opened);
  return new Qcow2Image(opened);
}

async function openBacking(header: Qcow2Header, options: Qcow2Options): Promise<DiskImage | undefined> {
  if (header.backing === undefined || options.metadataOnly === true) return undefined;
  const { name, format } = header.backing;
  if (options.openBacking === undefined) {
    throw imageError(
      'image-unsupported',
      `the qcow2 image needs the image "${name}" under it, and nothing to open that`,
    );
  }
  return options.openBacking(name, format);
}

/** Before the first write: counts that were left behind are made right, and marks that our writes make wrong go. */
async function claim(opened: Opened): Promise<void> {
  const { metadata, header } = opened;
  if (header.autoclear !== 0) {
    metadata.setField(88, new Uint8Array(8));
    opened.header = { ...header, autoclear: 0 };
    await metadata.commit();
  }
  if ((header.incompatible & incompatible.dirty) !== 0) await checkQcow2(metadata, opened, { repair: true });
}

function findSnapshot(snapshots: readonly StoredSnapshot[], wanted: string): StoredSnapshot {
  const found =
    snapshots.find(({ id }) => id === wanted) ?? snapshots.find(({ name }: ImageSnapshot) => name === wanted);
  if (found !== undefined) return found;
  const names = snapshots.map(({ name }) => `"${name}"`).join(', ') || 'none';
  throw imageError('image-invalid', `the qcow2 image has no snapshot "${wanted}"; it has ${names}`);
}
