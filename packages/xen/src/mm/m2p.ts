/**
 * The machine-to-physical table: for each machine frame the frame number its
 * owner knows it by (xen/include/asm-x86/mm.h, `machine_to_phys_mapping`).
 *
 * It lives in frames of the hypervisor that every domain may read, mapped
 * read-only at MACH2PHYS_VIRT_START through tables of the hypervisor that
 * hang in slot 256 of each validated L4; 32-bit domains find theirs in the last
 * L2 of their tables. Contents are what guests say; nothing
 * here trusts them.
 */
import { FrameFlag, HYPERVISOR_OWNER, type Mmu, PTE_HI_NX, Pte } from '@paravane/mmu';
import { type DomId, type Mfn, ParavaneError } from '@paravane/types';

export interface M2p {
  /** Low and high half of the L4 entry for slot 256. */
  readonly slotLo: number;
  readonly slotHi: number;
  set(mfn: number, pfn: bigint): void;
  get(mfn: number): bigint;
  /** Sets INVALID_M2P_ENTRY. */
  forget(mfn: number): void;
  /** First frame of each 2 MiB of the table. */
  readonly chunks: readonly Mfn[];
  /** L2 entries, low and high halves, that show the table of 32-bit domains; made when they are first asked for. */
  paeEntries(): readonly number[];
  /** First frame of each 2 MiB of that table. */
  paeChunks(): readonly Mfn[];
}

const TABLE = Pte.present | Pte.rw | Pte.user | Pte.accessed;
const PER_PAGE = 512;

export function createM2p(mmu: Mmu): M2p {
  const { frames, machine } = mmu;
  const { u32, frameBase } = machine;
  const take = (): Mfn => {
    const mfn = frames.allocate(HYPERVISOR_OWNER as DomId);
    if (mfn === -1) {
      throw new ParavaneError(
        'machine-memory-full',
        `no frame of ${frames.frames} is left for the machine-to-physical table; give the machine more memory`,
      );
    }
    return mfn;
  };
  const word = (mfn: number, index: number): number => (frameBase + mfn * 4096 + index * 8) >>> 2;
  const link = (table: number, index: number, to: number, bits: number, high = 0): void => {
    u32[word(table, index)] = ((to << 12) | bits) >>> 0;
    u32[word(table, index) + 1] = ((to >>> 20) | high) >>> 0;
  };

  const count = Math.ceil(frames.frames / PER_PAGE);
  const pages = new Uint32Array(count);
  const chunks: Mfn[] = [];
  const l3 = take();
  const l2 = take();
  link(l3, 0, l2, TABLE);
  let l1: Mfn = 0 as Mfn;
  for (let page = 0; page < count; page++) {
    if (page % PER_PAGE === 0) {
      l1 = take();
      link(l2, page / PER_PAGE, l1, TABLE);
    }
    const mfn = take();
    frames.flags[mfn] = frames.flags[mfn]! | FrameFlag.worldReadable;
    pages[page] = mfn;
    if (page % PER_PAGE === 0) chunks.push(mfn);
    link(l1, page % PER_PAGE, mfn, Pte.present | Pte.user | Pte.accessed | Pte.dirty, PTE_HI_NX);
    u32.fill(0xffffffff, word(mfn, 0), word(mfn, PER_PAGE));
  }
  const place = (mfn: number): number => word(pages[mfn >>> 9]!, mfn & 511);

  // The table of 32-bit domains has entries of 4 bytes, of all frames too; only a kernel reaches it.
  let pae: { entries: number[]; chunks: Mfn[]; pages: Mfn[] } | null = null;
  const paePlace = (mfn: number): number => ((frameBase + pae!.pages[mfn >>> 10]! * 4096) >>> 2) + (mfn & 1023);
  function makePae(): { entries: number[]; chunks: Mfn[]; pages: Mfn[] } {
    const made = { entries: [] as number[], chunks: [] as Mfn[], pages: [] as Mfn[] };
    let table: Mfn = 0 as Mfn;
    for (let page = 0; page < Math.ceil(frames.frames / 1024); page++) {
      if (page % PER_PAGE === 0) {
        table = take();
        made.entries.push(((table << 12) | TABLE) >>> 0, table >>> 20);
      }
      const mfn = take();
      frames.flags[mfn] = frames.flags[mfn]! | FrameFlag.worldReadable;
      made.pages.push(mfn);
      if (page % PER_PAGE === 0) made.chunks.push(mfn);
      link(table, page % PER_PAGE, mfn, Pte.present | Pte.accessed | Pte.dirty, PTE_HI_NX);
    }
    pae = made;
    for (const mfn of made.pages) u32.fill(0xffffffff, word(mfn, 0), word(mfn, PER_PAGE));
    for (let mfn = 0; mfn < frames.frames; mfn++) u32[paePlace(mfn)] = u32[place(mfn)]!;
    return made;
  }

  return {
    slotLo: ((l3 << 12) | TABLE) >>> 0,
    slotHi: l3 >>> 20,
    chunks,
    set(mfn, pfn) {
      u32[place(mfn)] = Number(pfn & 0xffffffffn);
      u32[place(mfn) + 1] = Number((pfn >> 32n) & 0xffffffffn);
      if (pae) u32[paePlace(mfn)] = Number(pfn & 0xffffffffn);
    },
    get: (mfn) => (BigInt(u32[place(mfn) + 1]!) << 32n) | BigInt(u32[place(mfn)]!),
    forget(mfn) {
      u32[place(mfn)] = 0xffffffff;
      u32[place(mfn) + 1] = 0xffffffff;
      if (pae) u32[paePlace(mfn)] = 0xffffffff;
    },
    paeEntries: () => (pae ??= makePae()).entries,
    paeChunks: () => (pae ??= makePae()).chunks,
  };
}
