/**
 * The page tables of a domain's first address space, of four levels or the three of PAE: which tables a virtual range
 * needs, and what is in them. (AMD64 Architecture Programmer's Manual 2, "Long-Mode Page Translation" and "PAE Paging";
 * entry bits as Xen's libxenguest sets them.)
 *
 * Table pages hold machine frames and are mapped read-only, or Xen's page-type rules would not let them be tables.
 * Leaf entries carry no USER bit: Xen adds it when it validates an L1 of a 64-bit PV guest, and marks the page as the
 * guest kernel's.
 */
import type { Gva, Mfn, Pfn } from '@paravane/types';

export type Level = 1 | 2 | 3 | 4;

const PRESENT = 0x01;
const RW = 0x02;
const USER = 0x04;
const ACCESSED = 0x20;
const DIRTY = 0x40;

/** Bits of an L1 entry, for a plain page and for a page that is itself a table. */
export const LEAF_FLAGS = PRESENT | RW | ACCESSED;
export const TABLE_LEAF_FLAGS = PRESENT | ACCESSED;
/** Bits of L2, L3 and L4 entries; of an L3 of PAE too, which Xen runs with four levels. */
export const BRANCH_FLAGS = PRESENT | RW | USER | ACCESSED | DIRTY;

/** `pages` pages from `vaddr` on show the frames from `pfn` on. */
export interface Mapping {
  readonly vaddr: Gva;
  readonly pfn: Pfn;
  readonly pages: number;
}

/** Names one table by what it translates: `index` counts the tables of its level from address 0 up. */
export interface TableName {
  readonly level: Level;
  readonly index: number;
}

export interface PageTable extends TableName {
  readonly pfn: Pfn;
}

const ENTRIES = 512;
/** What the last L2 of PAE translates starts here. */
const PAE_LAST_L2 = 0xc000_0000;
/** Bytes that one table of a level translates. */
const span = (level: Level): number => 0x1000 * ENTRIES ** level;
/** The 48 bits that the tables translate; a number holds them exactly. */
const translated = (vaddr: Gva): number => Number(vaddr & 0xffff_ffff_ffffn);
const key = ({ level, index }: TableName): number => level * 2 ** 28 + index;

/** Tables that a range needs and `existing` has not, from the top level down: 4, or 3 for PAE. */
export function missingTables(first: Gva, pages: number, existing: readonly TableName[], top: 3 | 4 = 4): TableName[] {
  const known = new Set(existing.map(key));
  const start = translated(first);
  const last = start + pages * 0x1000 - 1;
  const missing: TableName[] = [];
  for (const level of [4, 3, 2, 1] as const) {
    if (level > top) continue;
    for (let index = Math.floor(start / span(level)); index <= Math.floor(last / span(level)); index++) {
      if (!known.has(key({ level, index }))) missing.push({ level, index });
    }
    // The last L2 of PAE has the hypervisor's area in it, so it is there even where the guest has nothing.
    if (top === 3 && level === 2 && last < PAE_LAST_L2 && existing.length === 0) missing.push({ level, index: 3 });
  }
  return missing;
}

/** Calls `emit` with the contents of each table: 512 entries as pairs of 32-bit words, in a buffer that is reused. */
export function fillTables(
  tables: readonly PageTable[],
  mappings: readonly Mapping[],
  p2m: ArrayLike<Mfn>,
  emit: (table: PageTable, contents: Uint8Array) => void,
): void {
  const byName = new Map(tables.map((table) => [key(table), table]));
  const tablePfns = new Set(tables.map(({ pfn }) => pfn));
  const contents = new Uint8Array(0x1000);
  const view = new DataView(contents.buffer);
  const put = (entry: number, pfn: Pfn, flags: number): void => {
    const frame = p2m[pfn];
    view.setUint32(entry * 8, ((frame << 12) | flags) >>> 0, true);
    view.setUint32(entry * 8 + 4, frame >>> 20, true);
  };
  for (const table of tables) {
    contents.fill(0);
    if (table.level === 1) {
      for (const mapping of mappings) putLeaves(table, mapping, tablePfns, put);
    } else {
      const level = (table.level - 1) as Level;
      for (let entry = 0; entry < ENTRIES; entry++) {
        const child = byName.get(key({ level, index: table.index * ENTRIES + entry }));
        if (child !== undefined) put(entry, child.pfn, BRANCH_FLAGS);
      }
    }
    emit(table, contents);
  }
}

function putLeaves(
  table: PageTable,
  mapping: Mapping,
  tablePfns: ReadonlySet<Pfn>,
  put: (entry: number, pfn: Pfn, flags: number) => void,
): void {
  const firstPage = translated(mapping.vaddr) / 0x1000;
  const tablePage = table.index * ENTRIES;
  const from = Math.max(firstPage, tablePage);
  const to = Math.min(firstPage + mapping.pages, tablePage + ENTRIES);
  for (let page = from; page < to; page++) {
    const pfn = (mapping.pfn + page - firstPage) as Pfn;
    put(page - tablePage, pfn, tablePfns.has(pfn) ? TABLE_LEAF_FLAGS : LEAF_FLAGS);
  }
}
