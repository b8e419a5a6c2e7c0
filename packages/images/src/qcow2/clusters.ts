/**
 * What an L2 table says of a range of the disk. An entry tells of each part of its cluster: of 32 in extended entries,
 * of one, the whole cluster, in others.
 */
import { imageError } from '@paravane/image-api';
import { COMPRESSED, COPIED, entryOffset } from './layout.js';
import type { Parts, Table } from './table.js';

/** What is in the file is this image's alone (`own`), or a snapshot's as well (`shared`). */
export type PartKind = 'own' | 'shared' | 'zero' | 'unallocated' | 'compressed';

export interface Geometry {
  readonly clusterSize: number;
  /** Bytes of a part of a cluster. */
  readonly partSize: number;
  readonly l2Entries: number;
}

export interface Run {
  readonly kind: PartKind;
  /** Bytes. */
  readonly length: number;
  /** For what is in the file: where its first byte is. */
  readonly host: number;
  readonly index: number;
}

/** The longest run of one kind from `at`, no longer than `most`, within one table, and in one piece of the file. */
export function runAt(table: Table | null, at: number, most: number, geometry: Geometry): Run {
  const { clusterSize, partSize, l2Entries } = geometry;
  const cluster = Math.floor(at / clusterSize);
  const index = cluster % l2Entries;
  const inside = at - cluster * clusterSize;
  if (table === null) {
    return { kind: 'unallocated', length: Math.min((l2Entries - index) * clusterSize - inside, most), host: 0, index };
  }
  let part = Math.floor(inside / partSize);
  const kind = partKind(table, index, part);
  if (kind === 'compressed') return { kind, length: Math.min(clusterSize - inside, most), host: 0, index };
  const stored = kind === 'own' || kind === 'shared';
  const host = stored ? hostOffset(table, index, clusterSize) : 0;
  let length = (part + 1) * partSize - inside;
  for (let entry = index; length < most; length += partSize) {
    if (++part * partSize === clusterSize) {
      part = 0;
      if (++entry === l2Entries) break;
      const next = host + (entry - index) * clusterSize;
      if (stored && entryOffset(table.high(entry), table.low(entry)) !== next) break;
    }
    if (partKind(table, entry, part) !== kind) break;
  }
  return { kind, length: Math.min(length, most), host: stored ? host + inside : 0, index };
}

export function partKind(table: Table, index: number, part: number): PartKind {
  const high = table.high(index);
  if ((high & COMPRESSED) !== 0) return 'compressed';
  if (!arePartsSound(table, index)) {
    throw imageError(
      'image-invalid',
      `the parts of entry ${index} of the L2 table at ${table.offset} contradict each other: the image is damaged`,
    );
  }
  if (((table.zeroParts(index) >>> part) & 1) !== 0) return 'zero';
  if (((table.storedParts(index) >>> part) & 1) === 0) return 'unallocated';
  return (high & COPIED) !== 0 ? 'own' : 'shared';
}

/** No part of a cluster is both stored and zero, and none is stored where there is no cluster, or a compressed one. */
export function arePartsSound(table: Table, index: number): boolean {
  return table.entryBytes === 8 || wrongParts(table, index) === 0;
}

function wrongParts(table: Table, index: number): number {
  const [high, zero, stored] = [table.high(index), table.zeroParts(index), table.storedParts(index)];
  if ((high & COMPRESSED) !== 0) return stored | zero;
  return entryOffset(high, table.low(index)) === 0 ? stored : stored & zero;
}

/** The parts as they can be: those that contradict themselves read as zeroes, and a compressed cluster has none. */
export function soundParts(table: Table, index: number): Parts {
  const wrong = wrongParts(table, index);
  const zero = (table.high(index) & COMPRESSED) !== 0 ? 0 : table.zeroParts(index) | wrong;
  return { zero, stored: table.storedParts(index) & ~wrong };
}

/** The bits of the parts that the bytes of a cluster from `begin` to `end` are in. */
export function partsWithin(begin: number, end: number, partSize: number): number {
  return (bitsBelow(Math.ceil(end / partSize)) & ~bitsBelow(Math.floor(begin / partSize))) >>> 0;
}

/** Parts that have to come along when the cluster gets another place. */
export function movingParts(table: Table, index: number): number {
  if ((table.high(index) & COMPRESSED) === 0) return table.storedParts(index);
  return table.entryBytes === 16 ? 0xffffffff : 1;
}

/** 32 where none is set. */
export function firstBit(bits: number): number {
  return bits === 0 ? 32 : 31 - Math.clz32(bits & -bits);
}

function bitsBelow(count: number): number {
  return count === 32 ? 0xffffffff : (1 << count) - 1;
}

/** Whether the entry names a cluster that is this image's alone: any part of it may be written where it is. */
export function isOwn(table: Table, index: number): boolean {
  const high = table.high(index);
  return (high & COPIED) !== 0 && (high & COMPRESSED) === 0 && entryOffset(high, table.low(index)) !== 0;
}

export function hostOffset(table: Table, index: number, clusterSize: number): number {
  const offset = entryOffset(table.high(index), table.low(index));
  if (Number.isSafeInteger(offset + clusterSize) && offset % clusterSize === 0) return offset;
  throw imageError(
    'image-invalid',
    `entry ${index} of the L2 table at ${table.offset} names a cluster at ${offset}: the image is damaged, check it`,
  );
}
