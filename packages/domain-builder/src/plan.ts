/**
 * The layout of a Xen PV domain's memory at its start, 64-bit or 32-bit with PAE, as a computation without memory.
 *
 * From VIRT_BASE upward, which is pseudo-physical frame 0: kernel, ramdisk (unless MOD_START_PFN), P2M list (unless
 * INIT_P2M), start_info, xenstore page, console page, page tables, boot stack; then at least 512 KiB spare, and the end
 * of what is mapped rounded up to 4 MiB. An unmapped ramdisk comes after that, and then a P2M list with an address of
 * its own, followed by the tables that map it. The order is that of Xen's own builder (libxenguest), so that a kernel
 * finds each frame where it does on Xen. (Xen, public/xen.h, "Initial address space".)
 */
import {
  HYPERVISOR_VIRT_END,
  HYPERVISOR_VIRT_START,
  HYPERVISOR_VIRT_START_PAE,
  MAX_GUEST_CMDLINE,
} from '@paravane/abi-xen';
import { type Gva, PAGE_SIZE, type Pfn } from '@paravane/types';
import { failure, hex, invalid } from './failure.js';
import type { KernelImage } from './kernel-image.js';
import { type Mapping, missingTables, type PageTable, type TableName } from './page-tables.js';

export interface PvDomainOptions {
  /** The domain's memory in pages of 4 KiB. */
  readonly memoryPages: number;
  readonly ramdisk?: Uint8Array;
  readonly cmdline?: string;
}

/** Consecutive frames with one purpose. */
export interface Region {
  readonly pfn: Pfn;
  readonly pages: number;
}

export interface MappedRegion extends Region {
  readonly vaddr: Gva;
}

export interface PvPlan {
  readonly image: KernelImage;
  readonly memoryPages: number;
  /** As it will be in start_info: UTF-8, one character per byte. */
  readonly cmdline: string;
  readonly ramdiskBytes?: Uint8Array;
  readonly kernel: MappedRegion;
  /** `vaddr` is there where the ramdisk is mapped. */
  readonly ramdisk?: Region & { readonly vaddr?: Gva };
  readonly p2m: MappedRegion;
  /** All frames of a P2M list with an address of its own: list and tables. Without INIT_P2M there are none. */
  readonly p2mFrames?: Region;
  readonly startInfo: MappedRegion;
  readonly xenstore: MappedRegion;
  readonly console: MappedRegion;
  /** The tables of the initial mapping, the top level (L4, PAE: L3) first. */
  readonly pageTables: MappedRegion;
  readonly bootStack: MappedRegion;
  /** Every table with its level, the top one first: what a personality has to validate and pin. */
  readonly tables: readonly PageTable[];
  readonly mappings: readonly Mapping[];
  /** First frame that the builder does not use; it and those above are the guest's free memory. */
  readonly endPfn: Pfn;
}

const SPARE_PAGES = (512 << 10) / PAGE_SIZE;
const STACK_PAGES = 1;
/** Pages in 4 MiB. */
const END_ALIGNMENT = 1024;
/** All guests together stay under 4 GiB. */
const MOST_PAGES = 1 << 20;
const ADDRESS_END = 1n << 64n;

/** Lays out a domain. Fails where the kernel needs what is not offered, or memory or command line do not fit. */
export function planPvDomain(image: KernelImage, options: PvDomainOptions): PvPlan {
  if (image.bits === 32 && !/^(yes|bimodal)/.test(image.notes.paeMode)) {
    throw failure(
      'kernel-unsupported',
      'this is a 32-bit kernel without PAE (note PAE_MODE); Xen runs only those with PAE, use a kernel built with it',
    );
  }
  const { memoryPages } = options;
  if (!Number.isInteger(memoryPages) || memoryPages < 1 || memoryPages > MOST_PAGES) {
    throw failure('option-invalid', `a domain cannot have ${memoryPages} pages of memory; give it 1 MB to 4096 MB`);
  }
  const plan = layOut(image, options, memoryPages);
  if (plan.endPfn > memoryPages) throw tooSmall(image, options, plan.endPfn);
  return plan;
}

/** The smallest number of megabytes that the kernel can be started with. Its P2M list grows with the answer. */
export function neededMegabytes(image: KernelImage, options: Pick<PvDomainOptions, 'ramdisk' | 'cmdline'>): number {
  let pages = 256;
  for (let end = 0; ; pages = Math.ceil(end / 256) * 256) {
    end = layOut(image, options, pages).endPfn;
    if (end <= pages) return pages / 256;
  }
}

function tooSmall(image: KernelImage, options: PvDomainOptions, endPfn: number): Error {
  const needed = neededMegabytes(image, options);
  const has = Math.floor(options.memoryPages / 256);
  return failure(
    'memory-too-small',
    `kernel, ramdisk and page tables need ${needed} MB, the domain has ${has} MB; give it at least ${needed} MB (memory = ${needed}), and more to work with`,
    { data: { neededMegabytes: needed, pages: endPfn } },
  );
}

function layOut(image: KernelImage, options: Omit<PvDomainOptions, 'memoryPages'>, memoryPages: number): PvPlan {
  const { notes } = image;
  const { virtBase } = notes;
  const pageOf = (vaddr: Gva): number => Number((vaddr - virtBase) >> 12n);
  const kernelPfn = pageOf(image.virtStart);
  let next = kernelPfn;
  const take = (pages: number): MappedRegion => {
    const region = { pfn: next as Pfn, pages, vaddr: virtBase + BigInt(next) * 0x1000n };
    next += pages;
    return region;
  };

  const ramdiskBytes = options.ramdisk?.length ? options.ramdisk : undefined;
  const ramdiskPages = Math.ceil((ramdiskBytes?.length ?? 0) / PAGE_SIZE);
  const p2mPages = Math.ceil((memoryPages * (image.bits / 8)) / PAGE_SIZE);
  const ownP2m = p2mAddress(image);

  const kernel = take(pageOf(image.virtEnd + 0xfffn) - kernelPfn);
  if (next > MOST_PAGES) throw tooFar(image);
  const mappedRamdisk = notes.modStartPfn || ramdiskBytes === undefined ? undefined : take(ramdiskPages);
  const mappedP2m = ownP2m === undefined ? take(p2mPages) : undefined;
  const startInfo = take(1);
  const xenstore = take(1);
  const consolePage = take(1);
  const { names, pages } = initialTables(virtBase, next, image.bits);
  const pageTables = take(names.length);
  const bootStack = take(STACK_PAGES);
  next = pages;
  const mappings: Mapping[] = [{ vaddr: virtBase, pfn: 0 as Pfn, pages }];
  checkRange(virtBase, pages, 'initial mapping', image.bits);
  const tables = names.map((name, index) => ({ ...name, pfn: (pageTables.pfn + index) as Pfn }));

  const unmappedRamdisk = notes.modStartPfn && ramdiskBytes !== undefined ? regionOf(take(ramdiskPages)) : undefined;
  const p2mFirst = next;
  let p2m = mappedP2m;
  if (ownP2m !== undefined) {
    p2m = { ...take(p2mPages), vaddr: ownP2m };
    checkRange(ownP2m, p2mPages, 'P2M list (INIT_P2M)');
    if (ownP2m + BigInt(p2mPages) * 0x1000n > virtBase) {
      throw invalid(`the P2M list at the kernel's INIT_P2M ${hex(ownP2m)} would reach its VIRT_BASE ${hex(virtBase)}`);
    }
    mappings.push(p2m);
    for (const name of missingTables(ownP2m, p2mPages, tables)) tables.push({ ...name, pfn: take(1).pfn });
  }
  return {
    image,
    memoryPages,
    cmdline: commandLine(options.cmdline ?? ''),
    ramdiskBytes,
    kernel,
    ramdisk: mappedRamdisk ?? unmappedRamdisk,
    p2m: p2m as MappedRegion,
    p2mFrames: ownP2m === undefined ? undefined : { pfn: p2mFirst as Pfn, pages: next - p2mFirst },
    startInfo,
    xenstore,
    console: consolePage,
    pageTables,
    bootStack,
    tables,
    mappings,
    endPfn: next as Pfn,
  };
}

const regionOf = ({ pfn, pages }: Region): Region => ({ pfn, pages });

/** As on Xen, a place that is not a page or not below the kernel is no place: the list goes into the initial mapping. */
function p2mAddress({ notes, bits }: KernelImage): Gva | undefined {
  const { initP2m, virtBase } = notes;
  const unusable = bits === 32 || initP2m === undefined || initP2m >= virtBase || (initP2m & 0xfffn) !== 0n;
  return unusable ? undefined : initP2m;
}

/**
 * The tables for a mapping that begins at `virtBase` and has room, after `usedPages`, for themselves, the stack and the
 * spare; and its length. More tables may need a longer mapping, which may need more tables: the first length that holds
 * its own is taken.
 */
function initialTables(virtBase: Gva, usedPages: number, bits: 32 | 64): { names: TableName[]; pages: number } {
  // Xen rounds the virtual address, so what VIRT_BASE lacks to a multiple of 4 MiB counts.
  const offset = Number((virtBase >> 12n) % BigInt(END_ALIGNMENT));
  let extra = SPARE_PAGES + STACK_PAGES;
  for (;;) {
    const pages = (Math.floor((offset + usedPages + extra) / END_ALIGNMENT) + 1) * END_ALIGNMENT - offset;
    const names = missingTables(virtBase, pages, [], bits === 64 ? 4 : 3);
    extra = names.length + SPARE_PAGES + STACK_PAGES;
    if (usedPages + extra <= pages) return { names, pages };
  }
}

function checkRange(vaddr: Gva, pages: number, what: string, bits: 32 | 64 = 64): void {
  const end = vaddr + BigInt(pages) * 0x1000n;
  if (bits === 32) {
    if (end <= BigInt(HYPERVISOR_VIRT_START_PAE)) return;
    throw invalid(`the ${what} of the kernel, ${hex(vaddr)} to ${hex(end)}, overlaps the hypervisor's own addresses`);
  }
  const low = end <= 0x8000_0000_0000n;
  const high = vaddr >= HYPERVISOR_VIRT_END && end <= ADDRESS_END;
  if (low || high) return;
  const xen = vaddr < HYPERVISOR_VIRT_END && end > HYPERVISOR_VIRT_START;
  throw invalid(
    `the ${what} of the kernel, ${hex(vaddr)} to ${hex(end)}, ${xen ? "overlaps the hypervisor's own addresses" : 'is not in the address space'}`,
  );
}

function tooFar(image: KernelImage): Error {
  const { virtBase } = image.notes;
  return invalid(
    `the kernel at ${hex(image.virtStart)} to ${hex(image.virtEnd)} ends more than 4 GB above its VIRT_BASE ${hex(virtBase)}, where memory begins`,
  );
}

/** UTF-8 with one character per byte. Too long a line is refused, where Xen would cut it and say nothing. */
function commandLine(text: string): string {
  if (text.includes('\0')) throw failure('option-invalid', 'the kernel command line holds a NUL character; remove it');
  const bytes = encodeURIComponent(text.replace(/\p{Surrogate}/gu, '\ufffd')).replace(/%(..)/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
  if (bytes.length >= MAX_GUEST_CMDLINE) {
    throw failure(
      'option-invalid',
      `the kernel command line has ${bytes.length} bytes; start_info holds ${MAX_GUEST_CMDLINE - 1}, shorten it`,
    );
  }
  return bytes;
}
