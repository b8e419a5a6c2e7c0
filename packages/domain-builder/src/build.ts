/**
 * Writes a planned PV domain into its frames: kernel, ramdisk, P2M list, page tables, start_info, hypercall page.
 *
 * Trusts its caller that the frames belong to the domain, are distinct and were cleared when they were given to it;
 * pages that hold less than a page of something are cleared here all the same. (Xen, public/xen.h, `start_info`.)
 */
import { SIF_MOD_START_PFN, SIF_VIRT_P2M_4TOOLS, start_info, XEN_START_MAGIC } from '@paravane/abi-xen';
import { type Gva, type Maddr, type Mfn, PAGE_SIZE, type Pfn, type Port } from '@paravane/types';
import { failure } from './failure.js';
import { hypercallPage32, hypercallPage64 } from './hypercall-page.js';
import type { KernelSegment } from './kernel-image.js';
import { fillTables, type Level } from './page-tables.js';
import type { PvPlan, Region } from './plan.js';

/** What building needs of machine memory. */
export interface BuilderMemory {
  /** Copies `bytes` into a frame; offset and length stay inside it. */
  write(mfn: Mfn, offset: number, bytes: Uint8Array): void;
  /** Fills a frame with zeros. */
  clear(mfn: Mfn): void;
}

export interface PvDomainPlace {
  /** The machine frame of each of the domain's pages; at least as many as the plan's memory. */
  readonly p2m: ArrayLike<Mfn>;
  /** Machine address of the shared_info page. */
  readonly sharedInfo: Maddr;
  /** The guest's ends of the two channels. */
  readonly storePort: Port;
  readonly consolePort: Port;
}

/** What the first virtual CPU starts with, and what the toolstack has to know. */
export interface EntryState {
  readonly rip: Gva;
  readonly rsp: Gva;
  /** Address of start_info. */
  readonly rsi: Gva;
  readonly rflags: bigint;
  /** The frame of the top table: L4, PAE: L3. */
  readonly cr3: Mfn;
  readonly startInfoMfn: Mfn;
  readonly storeMfn: Mfn;
  readonly consoleMfn: Mfn;
  /** Every page table with its level, the top one first: to be validated and pinned. */
  readonly tables: readonly { readonly pfn: Pfn; readonly mfn: Mfn; readonly level: Level }[];
}

const INTERRUPT_FLAG = 0x200n;

export function buildPvDomain(plan: PvPlan, memory: BuilderMemory, place: PvDomainPlace): EntryState {
  const { p2m } = place;
  if (p2m.length < plan.memoryPages) {
    throw failure(
      'option-invalid',
      `the domain was planned with ${plan.memoryPages} pages, but only ${p2m.length} frames were given`,
    );
  }
  loadKernel(plan, memory, p2m);
  if (plan.ramdisk !== undefined && plan.ramdiskBytes !== undefined) {
    writeRegion(memory, p2m, plan.ramdisk, 0, plan.ramdiskBytes);
  }
  writeP2mList(plan, memory, p2m);
  fillTables(plan.tables, plan.mappings, p2m, ({ pfn }, contents) => memory.write(p2m[pfn], 0, contents));
  memory.write(p2m[plan.startInfo.pfn], 0, startInfo(plan, place));
  for (const { pfn } of [plan.xenstore, plan.console, plan.bootStack]) memory.clear(p2m[pfn]);
  return {
    rip: plan.image.notes.entry,
    rsp: plan.bootStack.vaddr + BigInt(plan.bootStack.pages * PAGE_SIZE),
    rsi: plan.startInfo.vaddr,
    rflags: INTERRUPT_FLAG,
    cr3: p2m[plan.pageTables.pfn],
    startInfoMfn: p2m[plan.startInfo.pfn],
    storeMfn: p2m[plan.xenstore.pfn],
    consoleMfn: p2m[plan.console.pfn],
    tables: plan.tables.map(({ pfn, level }) => ({ pfn, mfn: p2m[pfn], level })),
  };
}

function loadKernel(plan: PvPlan, memory: BuilderMemory, p2m: ArrayLike<Mfn>): void {
  const { image, kernel } = plan;
  const offsetOf = ({ vaddr }: KernelSegment): number => Number(vaddr - kernel.vaddr);
  // The pages that a segment fills need no clearing: most of a kernel.
  const filled = new Uint8Array(kernel.pages);
  for (const segment of image.segments) {
    const start = offsetOf(segment);
    filled.fill(1, Math.ceil(start / PAGE_SIZE), Math.floor((start + segment.data.length) / PAGE_SIZE));
  }
  for (let page = 0; page < kernel.pages; page++) {
    if (filled[page] === 0) memory.clear(p2m[kernel.pfn + page]);
  }
  for (const segment of image.segments) writeRegion(memory, p2m, kernel, offsetOf(segment), segment.data, false);
  const { hypercallPage } = image.notes;
  if (hypercallPage !== undefined) {
    writeRegion(
      memory,
      p2m,
      kernel,
      Number(hypercallPage - kernel.vaddr),
      image.bits === 64 ? hypercallPage64() : hypercallPage32(),
    );
  }
}

/** Writes `bytes` at a byte offset of a region, frame by frame; clears a last page that they leave unfilled. */
function writeRegion(
  memory: BuilderMemory,
  p2m: ArrayLike<Mfn>,
  region: Region,
  offset: number,
  bytes: Uint8Array,
  clearRest = true,
): void {
  for (let at = 0; at < bytes.length; ) {
    const to = offset + at;
    const inPage = to % PAGE_SIZE;
    const length = Math.min(PAGE_SIZE - inPage, bytes.length - at);
    const frame = p2m[region.pfn + Math.floor(to / PAGE_SIZE)];
    if (clearRest && length < PAGE_SIZE) memory.clear(frame);
    memory.write(frame, inPage, bytes.subarray(at, at + length));
    at += length;
  }
}

function writeP2mList(plan: PvPlan, memory: BuilderMemory, p2m: ArrayLike<Mfn>): void {
  const page = new Uint8Array(PAGE_SIZE);
  const words = new DataView(page.buffer);
  const entryBytes = plan.image.bits / 8;
  const entriesPerPage = PAGE_SIZE / entryBytes;
  for (let index = 0; index < plan.p2m.pages; index++) {
    page.fill(0);
    const first = index * entriesPerPage;
    const count = Math.min(entriesPerPage, plan.memoryPages - first);
    for (let entry = 0; entry < count; entry++) words.setUint32(entry * entryBytes, p2m[first + entry], true);
    memory.write(p2m[plan.p2m.pfn + index], 0, page);
  }
}

function startInfo(plan: PvPlan, { p2m, sharedInfo, storePort, consolePort }: PvDomainPlace): Uint8Array {
  const { ramdisk, p2mFrames } = plan;
  const unmapped = ramdisk !== undefined && ramdisk.vaddr === undefined;
  const page = new Uint8Array(PAGE_SIZE);
  start_info.write(
    new DataView(page.buffer),
    0,
    {
      magic: XEN_START_MAGIC[plan.image.bits],
      nr_pages: BigInt(plan.memoryPages),
      shared_info: BigInt(sharedInfo),
      flags: SIF_VIRT_P2M_4TOOLS | (unmapped ? SIF_MOD_START_PFN : 0),
      store_mfn: BigInt(p2m[plan.xenstore.pfn]),
      store_evtchn: storePort,
      console_mfn: BigInt(p2m[plan.console.pfn]),
      console_evtchn: consolePort,
      pt_base: plan.pageTables.vaddr,
      nr_pt_frames: BigInt(plan.pageTables.pages),
      mfn_list: plan.p2m.vaddr,
      mod_start: ramdisk === undefined ? 0n : (ramdisk.vaddr ?? BigInt(ramdisk.pfn)),
      // Whole pages of one that is not mapped, as Xen's builder says it.
      mod_len: BigInt(unmapped ? ramdisk.pages * PAGE_SIZE : (plan.ramdiskBytes?.length ?? 0)),
      cmd_line: plan.cmdline,
      first_p2m_pfn: BigInt(p2mFrames?.pfn ?? 0),
      nr_p2m_frames: BigInt(p2mFrames?.pages ?? 0),
    },
    plan.image.bits,
  );
  return page;
}
