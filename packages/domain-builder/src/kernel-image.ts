/**
 * A kernel that has been looked at and found loadable: its segments, its notes, and the virtual range that it takes.
 * Nothing here knows a domain or its memory; that begins with `planPvDomain`.
 */
import { type ElfFile, EM_386, EM_X86_64, machineName, PT_LOAD, parseElf } from '@paravane/elf';
import { symbolSegments } from './bsd-symtab.js';
import { failure, hex, invalid } from './failure.js';
import { type UnpackOptions, unpackKernel } from './unpack.js';
import { parseXenNotes, type XenNotes } from './xen-notes.js';

export interface KernelSegment {
  /** Where the segment begins, counted in the initial mapping (not the program header's own virtual address). */
  readonly vaddr: bigint;
  /** The file's bytes; the rest up to `memsz` is zero. */
  readonly data: Uint8Array;
  readonly memsz: bigint;
}

export interface KernelImage {
  readonly bits: 32 | 64;
  readonly elf: ElfFile;
  readonly notes: XenNotes;
  /** Ordered by address. */
  readonly segments: readonly KernelSegment[];
  /** Lowest virtual address of the segments, and the first one after them. */
  readonly virtStart: bigint;
  readonly virtEnd: bigint;
}

const ADDRESS_END = 1n << 64n;
/** Far above any kernel, far below where arithmetic on claims would wrap. */
const LARGEST_KERNEL = 1n << 32n;

/** Unpacks and reads a kernel file: ELF, bzImage, or one of these compressed. */
export async function loadKernelImage(bytes: Uint8Array, options: UnpackOptions = {}): Promise<KernelImage> {
  const unpacked = await unpackKernel(bytes, options);
  return readKernelImage(unpacked.bytes);
}

/** Reads an unpacked kernel, an ELF file. The result shares its memory. */
export function readKernelImage(bytes: Uint8Array): KernelImage {
  const elf = parseElf(bytes);
  if (elf.machine !== EM_386 && elf.machine !== EM_X86_64) {
    throw failure('kernel-unsupported', `the kernel is for ${machineName(elf.machine)}; this machine is an x86`);
  }
  const notes = parseXenNotes(elf);
  const loaded = loadable(elf, notes);
  const virtStart = loaded[0].vaddr;
  const loadedEnd = endOf(loaded);
  if (loadedEnd - virtStart > LARGEST_KERNEL) {
    throw invalid(`the kernel claims addresses ${hex(virtStart)} to ${hex(loadedEnd)}, more than 4 GB`);
  }
  checkAddresses(notes, virtStart, loadedEnd);
  const segments = notes.bsdSymtab ? [...loaded, ...symbolSegments(elf, loadedEnd)] : loaded;
  const virtEnd = endOf(segments);
  return { bits: elf.bits, elf, notes, segments, virtStart, virtEnd };
}

const endOf = (segments: readonly KernelSegment[]): bigint =>
  segments.reduce((end, { vaddr, memsz }) => (vaddr + memsz > end ? vaddr + memsz : end), 0n);

/** Segments by physical address, as Xen loads them: Linux has one (per-CPU data) whose virtual address is no place. */
function loadable(elf: ElfFile, notes: XenNotes): KernelSegment[] {
  const segments = elf.programHeaders
    .filter(({ type, flags, memsz }) => type === PT_LOAD && (flags & 7) !== 0 && memsz > 0n)
    .map(({ index, paddr, data, memsz }) => {
      const vaddr = BigInt.asUintN(64, paddr - notes.paddrOffset + notes.virtBase);
      if (memsz > LARGEST_KERNEL || vaddr + memsz > ADDRESS_END) {
        throw invalid(
          `program header ${index} claims ${hex(memsz)} bytes of memory at ${hex(vaddr)}, which is past the last address`,
        );
      }
      return { vaddr, data, memsz };
    });
  if (segments.length === 0) throw invalid('the kernel has nothing to load: no program header of type LOAD');
  return segments.sort((a, b) => (a.vaddr < b.vaddr ? -1 : a.vaddr > b.vaddr ? 1 : 0));
}

function checkAddresses(notes: XenNotes, virtStart: bigint, virtEnd: bigint): void {
  const range = `${hex(virtStart)} to ${hex(virtEnd)}`;
  if (notes.virtBase > virtStart) {
    throw invalid(`the kernel's VIRT_BASE ${hex(notes.virtBase)} is above its first segment at ${hex(virtStart)}`);
  }
  if (notes.virtBase & 0xfffn)
    throw invalid(`the kernel's VIRT_BASE ${hex(notes.virtBase)} is not the start of a page`);
  if (notes.entry < virtStart || notes.entry >= virtEnd) {
    throw invalid(`the kernel's ENTRY ${hex(notes.entry)} is outside its segments, ${range}`);
  }
  const { hypercallPage, initP2m } = notes;
  if (hypercallPage !== undefined) {
    if (hypercallPage & 0xfffn)
      throw invalid(`the kernel's HYPERCALL_PAGE ${hex(hypercallPage)} is not the start of a page`);
    if (hypercallPage < virtStart || hypercallPage >= virtEnd) {
      throw invalid(`the kernel's HYPERCALL_PAGE ${hex(hypercallPage)} is outside its segments, ${range}`);
    }
  }
  if (initP2m !== undefined && initP2m >= virtStart && initP2m < virtEnd) {
    throw invalid(`the kernel's INIT_P2M ${hex(initP2m)} lies inside its segments, ${range}`);
  }
}
