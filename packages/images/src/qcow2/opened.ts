/** What an open qcow2 file is made of, for the image, its check and its opening. */
import type { DiskImage, ImageFile } from '@paravane/image-api';
import type { CompressedClusters } from './compressed.js';
import type { Qcow2Header } from './header.js';
import { writeU64 } from './layout.js';
import type { Metadata } from './metadata.js';
import type { StoredSnapshot } from './snapshots.js';
import { Table } from './table.js';

export interface Opened {
  readonly metadata: Metadata;
  header: Qcow2Header;
  readonly readOnly: boolean;
  readonly logicalBlockSize: number;
  readonly backing: DiskImage | undefined;
  readonly size: number;
  readonly compressed: CompressedClusters;
  readonly snapshots: readonly StoredSnapshot[];
}

/** Says in the header which features the image has now. */
export async function setIncompatible(opened: Opened, features: number): Promise<void> {
  const bytes = new Uint8Array(8);
  writeU64(new DataView(bytes.buffer), 0, features);
  opened.metadata.setField(72, bytes);
  opened.header = { ...opened.header, incompatible: features };
  await opened.metadata.commit();
}

export async function readTable(
  file: ImageFile,
  offset: number,
  length: number,
  entryBytes: 8 | 16 = 8,
): Promise<Table> {
  const bytes = new Uint8Array(length);
  if (length > 0) await file.read(offset, bytes);
  return new Table(offset, bytes, entryBytes);
}
