/** The table of internal snapshots, as the file claims it: validated here. */
import { type ImageFile, type ImageSnapshot, imageError } from '@paravane/image-api';
import { limits, type Qcow2Header, text } from './header.js';
import { readU64 } from './layout.js';

export interface StoredSnapshot extends ImageSnapshot {
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** Bytes of its entry in the table. */
  readonly entryLength: number;
}

const fixedBytes = 40;
/** Far above what QEMU writes. */
const mostExtra = 1024;

export async function readSnapshots(file: ImageFile, header: Qcow2Header): Promise<StoredSnapshot[]> {
  const snapshots: StoredSnapshot[] = [];
  let at = header.snapshotsOffset;
  for (let index = 0; index < header.snapshotCount; index++) {
    const snapshot = await readSnapshot(file, header, at, index);
    snapshots.push(snapshot);
    at += snapshot.entryLength;
  }
  return snapshots;
}

async function readSnapshot(file: ImageFile, header: Qcow2Header, at: number, index: number): Promise<StoredSnapshot> {
  const fail = (what: string): Error => imageError('image-invalid', `snapshot ${index + 1} of the qcow2 image ${what}`);
  const fixed = new Uint8Array(fixedBytes);
  await file.read(at, fixed);
  const view = new DataView(fixed.buffer);
  const l1Offset = readU64(view, 0);
  const l1Entries = view.getUint32(8);
  const idLength = view.getUint16(12);
  const nameLength = view.getUint16(14);
  const extraLength = view.getUint32(36);
  if (extraLength > mostExtra) throw fail(`has ${extraLength} bytes of extra data`);
  const restLength = extraLength + idLength + nameLength;
  if (at + fixedBytes + restLength > file.size) throw fail('is not within the file');
  const rest = new Uint8Array(restLength);
  if (restLength > 0) await file.read(at + fixedBytes, rest);
  const extra = new DataView(rest.buffer, 0, extraLength);

  const clusterSize = 2 ** header.clusterBits;
  const size = extraLength >= 16 ? readU64(extra, 8) : header.size;
  const l2Span = clusterSize * (clusterSize / header.l2EntryBytes);
  const fits = l1Entries * 8 <= limits.l1Bytes && l1Entries >= Math.ceil(size / l2Span);
  if (!Number.isSafeInteger(size) || !fits) throw fail(`has an L1 table of ${l1Entries} entries`);
  if (l1Offset % clusterSize !== 0 || !(l1Offset + l1Entries * 8 <= Math.ceil(file.size / clusterSize) * clusterSize)) {
    throw fail(`has an L1 table at ${l1Offset}, which is not in the file`);
  }
  return {
    id: text(rest.subarray(extraLength, extraLength + idLength)),
    name: text(rest.subarray(extraLength + idLength)),
    size,
    stateSize: extraLength >= 8 ? readU64(extra, 0) : view.getUint32(32),
    seconds: view.getUint32(16),
    l1Offset,
    l1Entries,
    entryLength: Math.ceil((fixedBytes + restLength) / 8) * 8,
  };
}
