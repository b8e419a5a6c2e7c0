/**
 * The software TLB, probed inline by generated code and filled only by the
 * walker of this package. Direct-mapped; one half for data, one for code, so
 * that a page of a kernel's code and one of its data do not take turns in an entry.
 *
 * Entry, 32 bytes. Data: readTag i64 @0, writeTag i64 @8, addend i32 @24 (offset
 * in memory = addend + low 32 bits of the linear address). Code: execTag i64 @0,
 * addend i32 @24, code i32 @28 (code descriptor of the frame, 0 if not known).
 * A tag is the linear page address with a nonzero 12-bit address-space tag in
 * its low bits; 0 never matches.
 */
import type { Mfn } from '@paravane/types';
import type { MachineMemory } from './machine-memory.js';

/** Entries of each half. */
export const TLB_ENTRIES = 4096;
export const TLB_ENTRY_BYTES = 32;
const HALF_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_BYTES = 2 * HALF_BYTES;
/** From an entry of data; the code's of the same number lies a half further. */
export const TlbField = {
  readTag: 0,
  writeTag: 8,
  addend: 24,
  execTag: HALF_BYTES,
  execAddend: HALF_BYTES + 24,
  code: HALF_BYTES + 28,
} as const;
const MAX_TAG = 0xffe;

/** Consecutive address spaces get tags far apart, so that equal pages of them lie far apart. Odd: no two are equal. */
const TAG_STEP = 1597;
/** A tag that no address space gets: nothing is found under it as long as nobody fills entries with it. */
export const UNUSED_TAG = ((MAX_TAG + 1) * TAG_STEP) & 0xfff;

/**
 * Offset of the entry for a linear address under a tag from the TLB's base. Bits 33 and up are mixed in: large tables
 * of a kernel begin at addresses that are equal below that, and are walked side by side. So is the tag: a kernel is
 * seen through the tables of every process.
 */
export const tlbEntryOffset = (vaLo: number, vaHi: number, tag: number): number =>
  (((vaLo >>> 12) ^ (vaHi >>> 1) ^ tag) & (TLB_ENTRIES - 1)) * TLB_ENTRY_BYTES;

/**
 * What the TLB knows of the entries that map a frame; all in the machine's memory. By frame those of data, and behind
 * all frames those of code: a page of code that is written to is often dropped as data.
 */
export interface TlbNotes {
  /** Epoch in which the frame was last entered; the others hold for that epoch alone. */
  readonly filledIn: Uint32Array;
  /** Numbers of two entries that may map it. */
  readonly first: Uint16Array;
  readonly second: Uint16Array;
  /** 1 where there may be others. */
  readonly scattered: Uint8Array;
  /** One element: counts the times that the TLB was emptied. */
  readonly epoch: Uint32Array;
}

export interface Tlb {
  /** Offset of entry 0 in the machine's memory. */
  readonly base: number;
  readonly notes: TlbNotes;
  /**
   * The 12-bit tag of an address space (root frame) under the given mode bits. Ask before each run: after a
   * `flushRoot`, or when all tags are used up (which empties the TLB), it is another one.
   */
  tag(root: Mfn, modeBits: number): number;
  /** Changes whenever an address space may have got another tag than it had. */
  readonly generation: number;
  fill(vaLo: number, vaHi: number, tag: number, mfn: Mfn, write: boolean): void;
  /** The same for fetches; the code descriptor is kept where the entry had this translation already. */
  fillCode(vaLo: number, vaHi: number, tag: number, mfn: Mfn): void;
  flushAll(): void;
  /** Forgets every translation made under `root`. */
  flushRoot(root: Mfn): void;
  /** Forgets the page at this linear address in every address space. */
  flushPage(vaLo: number, vaHi: number): void;
  /** Forgets every translation to a frame (freed, exchanged, unmapped). */
  dropFrame(mfn: Mfn): void;
  /** Forgets every write translation to a frame (became a table, a descriptor page, or holds code). */
  dropWrites(mfn: Mfn): void;
  /** Forgets every write translation: a dirty log starts. */
  dropAllWrites(): void;
}

export function createTlb(machine: MachineMemory): Tlb {
  const base = machine.reserve(TLB_BYTES, 4096);
  const { u8, i32, frameBase } = machine;
  /** By root frame, then by mode bits. */
  const tags = new Map<Mfn, Map<number, number>>();
  let nextTag = 1;
  let generation = 1;
  const { buffer } = machine.memory;
  const { frames } = machine;
  const filledIn = new Uint32Array(buffer, machine.reserveForFrames(8), 2 * frames);
  const first = new Uint16Array(buffer, machine.reserveForFrames(4), 2 * frames);
  const second = new Uint16Array(buffer, machine.reserveForFrames(4), 2 * frames);
  const scattered = new Uint8Array(buffer, machine.reserveForFrames(2), 2 * frames);
  const epoch = new Uint32Array(buffer, machine.reserve(4, 4), 1).fill(1);

  const entryAt = (vaLo: number, vaHi: number, tag: number): number => base + tlbEntryOffset(vaLo, vaHi, tag);
  // Tags outlive a flush: code that is running under one goes on filling entries with it.
  function flushAll(): void {
    u8.fill(0, base, base + TLB_BYTES);
    epoch[0] = epoch[0]! + 1;
  }
  const addendOf = (vaLo: number, mfn: Mfn): number => (frameBase + mfn * 4096 - (vaLo & ~0xfff)) | 0;
  const wordOf = (entry: number): number => (base + entry * TLB_ENTRY_BYTES) >> 2;
  /** The tag kept in readTag carries the linear page; addend + page = offset of the frame. */
  const maps = (word: number, mfn: Mfn): boolean =>
    i32[word] !== 0 && ((i32[word + 6]! + (i32[word]! & ~0xfff)) | 0) === ((frameBase + mfn * 4096) | 0);
  /** Notes that an entry maps a frame, so that dropping the frame seldom has to look through all of them. */
  function noteEntry(mfn: Mfn, entry: number): void {
    const at = entry < TLB_ENTRIES ? mfn : frames + mfn;
    if (filledIn[at] !== epoch[0]) {
      filledIn[at] = epoch[0]!;
      scattered[at] = 0;
      first[at] = entry;
      second[at] = entry;
    } else if (first[at] !== entry && second[at] !== entry) {
      if (first[at] === second[at] || !maps(wordOf(second[at]!), mfn)) second[at] = entry;
      else if (!maps(wordOf(first[at]!), mfn)) first[at] = entry;
      else scattered[at] = 1;
    }
  }
  /** Runs `drop` on the word index of each entry of data (`half` 0) or of code (1) that maps `mfn`. */
  function eachEntryOf(mfn: Mfn, half: 0 | 1, drop: (word: number) => void): void {
    const at = half * frames + mfn;
    if (filledIn[at] !== epoch[0]) return;
    if (scattered[at]) {
      const end = (half + 1) * TLB_ENTRIES;
      for (let entry = half * TLB_ENTRIES; entry < end; entry++) if (maps(wordOf(entry), mfn)) drop(wordOf(entry));
      return;
    }
    for (const place of [first, second]) if (maps(wordOf(place[at]!), mfn)) drop(wordOf(place[at]!));
  }
  return {
    base,
    notes: { filledIn, first, second, scattered, epoch },
    get generation() {
      return generation;
    },
    tag(root, modeBits) {
      let tag = tags.get(root)?.get(modeBits);
      if (tag === undefined) {
        if (nextTag > MAX_TAG) {
          flushAll();
          tags.clear();
          nextTag = 1;
          generation++;
        }
        tag = (nextTag++ * TAG_STEP) & 0xfff;
        const ofRoot = tags.get(root);
        if (ofRoot) ofRoot.set(modeBits, tag);
        else tags.set(root, new Map([[modeBits, tag]]));
      }
      return tag;
    },
    fill(vaLo, vaHi, tag, mfn, write) {
      const entry = entryAt(vaLo, vaHi, tag);
      const word = entry >> 2;
      const lo = (vaLo & ~0xfff) | tag;
      i32[word] = lo;
      i32[word + 1] = vaHi;
      i32[word + 2] = write ? lo : 0;
      i32[word + 3] = write ? vaHi : 0;
      i32[word + 6] = addendOf(vaLo, mfn);
      noteEntry(mfn, (entry - base) / TLB_ENTRY_BYTES);
    },
    fillCode(vaLo, vaHi, tag, mfn) {
      const entry = entryAt(vaLo, vaHi, tag) + TlbField.execTag;
      const word = entry >> 2;
      const lo = (vaLo & ~0xfff) | tag;
      const addend = addendOf(vaLo, mfn);
      if (i32[word] !== lo || i32[word + 1] !== (vaHi | 0) || i32[word + 6] !== addend) i32[word + 7] = 0;
      i32[word] = lo;
      i32[word + 1] = vaHi;
      i32[word + 6] = addend;
      noteEntry(mfn, (entry - base) / TLB_ENTRY_BYTES);
    },
    flushAll,
    flushRoot(root) {
      generation++;
      tags.delete(root);
    },
    flushPage(vaLo, vaHi) {
      for (const ofRoot of tags.values())
        for (const tag of ofRoot.values()) {
          for (const half of [TlbField.readTag, TlbField.execTag]) {
            const word = (entryAt(vaLo, vaHi, tag) + half) >> 2;
            if (i32[word] === ((vaLo & ~0xfff) | tag) && i32[word + 1] === (vaHi | 0)) i32.fill(0, word, word + 8);
          }
        }
    },
    dropFrame(mfn) {
      for (const half of [0, 1] as const) eachEntryOf(mfn, half, (word) => i32.fill(0, word, word + 8));
    },
    dropWrites: (mfn) => eachEntryOf(mfn, 0, (word) => i32.fill(0, word + 2, word + 4)),
    dropAllWrites() {
      for (let word = base >> 2; word < (base + HALF_BYTES) >> 2; word += 8) i32.fill(0, word + 2, word + 4);
    },
  };
}
