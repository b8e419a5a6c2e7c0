/** What an L2 table says of a range of the disk. */
import { imageError } from '@paravane/image-api';
import { COMPRESSED, COPIED, entryOffset, ZERO } from './layout.js';
import type { Table } from './table.js';

export type ClusterKind = 'data' | 'zero' | 'unallocated' | 'compressed';

export function kindOf(high: number, low: number): ClusterKind {
  if ((high & COMPRESSED) !== 0) return 'compressed';
  if ((low & ZERO) !== 0) return 'zero';
  return entryOffset(high, low) === 0 ? 'unallocated' : 'data';
}

export interface Geometry {
  readonly clusterSize: number;
  readonly l2Entries: number;
  /** 16 where an entry tells of each part of its cluster. */
  readonly l2EntryBytes: 8 | 16;
}

/** Extended L2 entries halve clusters five times. */
const partsOfCluster = 32;

export interface Run {
  readonly kind: ClusterKind;
  /** Bytes. */
  readonly length: number;
  /** For data: where the first byte is in the file. */
  readonly host: number;
  readonly index: number;
}

/** The longest run of one kind from `at`, no longer than `most`, within one table; data is in one piece of the file. */
export function runAt(table: Table | null, at: number, most: number, geometry: Geometry): Run {
  const { clusterSize, l2Entries } = geometry;
  const cluster = Math.floor(at / clusterSize);
  const index = cluster % l2Entries;
  const inside = at - cluster * clusterSize;
  let length = clusterSize - inside;
  if (table === null) {
    length += (l2Entries - index - 1) * clusterSize;
    return { kind: 'unallocated', length: Math.min(length, most), host: 0, index };
  }
  if (geometry.l2EntryBytes === 16) return partRunAt(table, at, most, geometry);
  const kind = kindOf(table.high(index), table.low(index));
  const host = kind === 'data' ? hostOffset(table, index, clusterSize) : 0;
  if (kind !== 'compressed') {
    for (let next = index + 1; length < most && next < l2Entries; next++) {
      const high = table.high(next);
      const low = table.low(next);
      if (kindOf(high, low) !== kind) break;
      if (kind === 'data' && entryOffset(high, low) !== host + (next - index) * clusterSize) break;
      length += clusterSize;
    }
  }
  return { kind, length: Math.min(length, most), host: host + inside, index };
}

/** The same in a table of extended entries, part by part. */
function partRunAt(table: Table, at: number, most: number, { clusterSize, l2Entries }: Geometry): Run {
  const partSize = clusterSize / partsOfCluster;
  const index = Math.floor(at / clusterSize) % l2Entries;
  const first = index * partsOfCluster + Math.floor((at % clusterSize) / partSize);
  const kind = partKind(table, first);
  if (kind === 'compressed') {
    return { kind, length: Math.min(clusterSize - (at % clusterSize), most), host: 0, index };
  }
  const hostOf = (part: number): number =>
    hostOffset(table, Math.floor(part / partsOfCluster), clusterSize) + (part % partsOfCluster) * partSize;
  const host = kind === 'data' ? hostOf(first) : 0;
  let length = partSize - (at % partSize);
  for (let part = first + 1; length < most && part < l2Entries * partsOfCluster; part++) {
    if (partKind(table, part) !== kind) break;
    if (kind === 'data' && hostOf(part) !== host + (part - first) * partSize) break;
    length += partSize;
  }
  return { kind, length: Math.min(length, most), host: host + (at % partSize), index };
}

function partKind(table: Table, part: number): ClusterKind {
  const index = Math.floor(part / partsOfCluster);
  if ((table.high(index) & COMPRESSED) !== 0) return 'compressed';
  if (!arePartsSound(table, index)) {
    throw imageError(
      'image-invalid',
      `the parts of entry ${index} of the L2 table at ${table.offset} contradict each other: the image is damaged`,
    );
  }
  const bit = 1 << (part % partsOfCluster);
  if ((table.zeroParts(index) & bit) !== 0) return 'zero';
  return (table.storedParts(index) & bit) === 0 ? 'unallocated' : 'data';
}

/** No part of a cluster is both stored and zero, and none is stored where there is no cluster, or a compressed one. */
export function arePartsSound(table: Table, index: number): boolean {
  const [high, stored, zero] = [table.high(index), table.storedParts(index), table.zeroParts(index)];
  if ((high & COMPRESSED) !== 0) return stored === 0 && zero === 0;
  return (stored & zero) === 0 && (stored === 0 || entryOffset(high, table.low(index)) !== 0);
}

/** Bytes from `at`, up to `most`, that may be written where they are: one piece of the file, with one reference. */
export function writableRun(table: Table, at: number, most: number, geometry: Geometry): Run | undefined {
  const { clusterSize, l2Entries } = geometry;
  const cluster = Math.floor(at / clusterSize);
  const index = cluster % l2Entries;
  if (!inPlace(table, index)) return undefined;
  const inside = at - cluster * clusterSize;
  const host = hostOffset(table, index, clusterSize);
  let length = clusterSize - inside;
  for (let next = index + 1; length < most && next < l2Entries && inPlace(table, next); next++) {
    if (entryOffset(table.high(next), table.low(next)) !== host + (next - index) * clusterSize) break;
    length += clusterSize;
  }
  return { kind: 'data', length: Math.min(length, most), host: host + inside, index };
}

export function inPlace(table: Table, index: number): boolean {
  const high = table.high(index);
  return (high & COPIED) !== 0 && kindOf(high, table.low(index)) === 'data';
}

export function hostOffset(table: Table, index: number, clusterSize: number): number {
  const offset = entryOffset(table.high(index), table.low(index));
  if (Number.isSafeInteger(offset + clusterSize) && offset % clusterSize === 0) return offset;
  throw imageError(
    'image-invalid',
    `entry ${index} of the L2 table at ${table.offset} names a cluster at ${offset}: the image is damaged, check it`,
  );
}
