/**
 * The symbols of a kernel with the note BSD_SYMTAB, behind its last segment: a size of four bytes and what looks like
 * an ELF file with nothing but a symbol table and its strings. BSD's kernels (and XTF) look for it there.
 * (Xen, common/libelf/libelf-loader.c, `elf_load_bsdsyms`.)
 */
import { type ElfFile, type SectionHeader, SHT_STRTAB, SHT_SYMTAB } from '@paravane/elf';
import { isParavaneError } from '@paravane/types';
import type { KernelSegment } from './kernel-image.js';

/** Xen's structure has room for the larger class, and gives all of it to both. */
const ELF_HEADER_BYTES = 64;
const HEADERS_BYTES = 4 + 4 * ELF_HEADER_BYTES;
const [SYMTAB, STRTAB, SECTIONS] = [1, 2, 3];
const EV_CURRENT = 1;

/** Segments with the symbols, from the first aligned address at or behind `end`; none where the file has no symbols. */
export function symbolSegments(elf: ElfFile, end: bigint): KernelSegment[] {
  const found = tables(elf);
  if (found === undefined) return [];
  const word = elf.bits / 8;
  const roundUp = (value: number): number => Math.ceil(value / word) * word;
  const start = ((end + BigInt(word) - 1n) / BigInt(word)) * BigInt(word);
  const { symbols, strings } = found;
  const symbolsAt = roundUp(HEADERS_BYTES);
  const stringsAt = roundUp(symbolsAt + symbols.bytes.length);

  const headers = new Uint8Array(HEADERS_BYTES);
  const view = new DataView(headers.buffer);
  const wide = elf.bits === 64;
  const putWord = (at: number, value: bigint): void => {
    if (wide) view.setBigUint64(at, value, true);
    else view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
  };
  view.setUint32(0, stringsAt + strings.bytes.length - 4, true);
  const headerBytes = wide ? 64 : 52;
  headers.set(elf.bytes.subarray(0, headerBytes), 4);
  view.setUint32(4 + 20, EV_CURRENT, true);
  putWord(4 + 24 + word, 0n); // e_phoff
  putWord(4 + 24 + 2 * word, BigInt(ELF_HEADER_BYTES)); // e_shoff
  const sectionBytes = wide ? 64 : 40;
  // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
  const sizes = [headerBytes, 0, 0, sectionBytes, SECTIONS, 0];
  sizes.forEach((value, index) => view.setUint16(headerBytes - 12 + 4 + 2 * index, value, true));

  const section = (index: number, { header }: Table, at: number, link: number, align: number): void => {
    const base = 4 + ELF_HEADER_BYTES + index * sectionBytes;
    view.setUint32(base + 4, header.type, true);
    const fields = [header.flags, header.addr, BigInt(at - 4), header.size];
    fields.forEach((value, i) => putWord(base + 8 + i * word, value));
    const links = base + 8 + 4 * word;
    view.setUint32(links, link, true);
    view.setUint32(links + 4, header.info, true);
    putWord(links + 8, BigInt(align));
    putWord(links + 8 + word, header.entsize);
  };
  section(SYMTAB, symbols, symbolsAt, STRTAB, word);
  section(STRTAB, strings, stringsAt, strings.header.link, 1);
  const segment = (at: number, data: Uint8Array): KernelSegment => ({
    vaddr: start + BigInt(at),
    data,
    memsz: BigInt(data.length),
  });
  return [segment(0, headers), segment(symbolsAt, symbols.bytes), segment(stringsAt, strings.bytes)];
}

interface Table {
  readonly header: SectionHeader;
  readonly bytes: Uint8Array;
}

function tables(elf: ElfFile): { symbols: Table; strings: Table } | undefined {
  try {
    const sections = elf.sections();
    const symbols = sections.find(({ type }) => type === SHT_SYMTAB);
    const strings = symbols && sections[symbols.link];
    if (symbols === undefined || strings?.type !== SHT_STRTAB) return undefined;
    return {
      symbols: { header: symbols, bytes: symbols.data() },
      strings: { header: strings, bytes: strings.data() },
    };
  } catch (error) {
    // A kernel runs with a damaged section table, and does without its symbols then.
    if (isParavaneError(error)) return undefined;
    throw error;
  }
}
