/** A new size for the disk of a qcow2 image. */
import { imageError } from '@paravane/image-api';
import { limits, type Qcow2Header } from './header.js';
import type { Qcow2Image } from './image.js';
import { writeU64 } from './layout.js';
import { Table } from './table.js';

export async function resizeQcow2(
  image: Qcow2Image,
  header: Qcow2Header,
  size: number,
  setSize: (size: number) => void,
): Promise<void> {
  const { metadata } = image;
  const old = image.size;
  if (size === old) return;
  if (header.version === 2 && header.snapshotCount > 0) {
    throw imageError('image-unsupported', 'a qcow2 image of version 2 with snapshots keeps its size: convert it first');
  }
  if (Math.ceil(size / metadata.l2Span) * 8 > limits.l1Bytes) {
    throw imageError(
      'no-space',
      `a qcow2 image with clusters of ${metadata.clusterSize} bytes can't map ${size} bytes`,
    );
  }
  if (size < old) {
    // What is cut off must not come back when the disk grows again.
    await image.writeZeroes(size, old - size);
    setSize(size);
    storeSize(image, size);
    await metadata.settle();
    return;
  }
  await growL1(image, size);
  storeSize(image, size);
  await metadata.settle();
  setSize(size);
  const under = Math.min(image.backing?.size ?? 0, size);
  // The image under this one must not show through where the disk was smaller.
  if (under > old) await image.writeZeroes(old, under - old);
  await metadata.flush();
}

function storeSize(image: Qcow2Image, size: number): void {
  const bytes = new Uint8Array(8);
  writeU64(new DataView(bytes.buffer), 0, size);
  image.metadata.setField(24, bytes);
}

async function growL1({ metadata }: Qcow2Image, size: number): Promise<void> {
  const entries = Math.ceil(size / metadata.l2Span);
  const old = metadata.l1;
  if (entries * 8 <= old.bytes.length) return;
  await metadata.settle();
  const { clusterSize } = metadata;
  const clusters = Math.ceil((entries * 8) / clusterSize);
  const cluster = await metadata.refcounts.allocateTable(clusters);
  const grown = new Table(cluster * clusterSize, new Uint8Array(entries * 8));
  grown.bytes.set(metadata.l1.bytes);
  grown.fresh = true;
  metadata.l1 = grown;
  const field = new Uint8Array(12);
  const view = new DataView(field.buffer);
  view.setUint32(0, entries);
  writeU64(view, 4, grown.offset);
  metadata.setField(36, field);
  for (let at = 0; at < old.bytes.length; at += clusterSize) metadata.unlink(old.offset + at);
}
