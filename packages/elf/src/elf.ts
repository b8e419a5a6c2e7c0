/**
 * A reader of little-endian ELF32 and ELF64 files (System V ABI chapter 4; x86-64 psABI).
 *
 * Trusts nothing in the file: whatever an offset, count or size claims is checked against the file's length before it
 * is used, nothing is allocated by a claim, and the only exception is a `ParavaneError` (`elf-truncated`,
 * `elf-invalid`). Program headers are read at once because a loader always needs them; section headers when asked for,
 * because a stripped or damaged section table need not keep a kernel from booting.
 */
import { hex, invalid } from './failure.js';
import { cString, Fields } from './fields.js';
import { type ElfNote, parseNotes } from './notes.js';
import {
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  EV_CURRENT,
  PN_XNUM,
  PT_LOAD,
  PT_NOTE,
  SHN_XINDEX,
  SHT_DYNSYM,
  SHT_NOBITS,
  SHT_NOTE,
  SHT_NULL,
  SHT_STRTAB,
  SHT_SYMTAB,
} from './numbers.js';

export interface ProgramHeader {
  readonly index: number;
  readonly type: number;
  readonly flags: number;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  /** The bytes that the file holds for this segment (sharing its memory); they were checked to be there. */
  readonly data: Uint8Array;
  /** Size in memory; never less than `data.length` for a loadable segment. A claim: bound it before allocating. */
  readonly memsz: bigint;
}

export interface SectionHeader {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly addr: bigint;
  readonly size: bigint;
  readonly link: number;
  readonly info: number;
  readonly entsize: bigint;
  /** The section's bytes in the file, sharing its memory; empty for SHT_NOBITS. Fails if the file is too short. */
  data(): Uint8Array;
}

export interface ElfSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size: bigint;
  /** STT_FUNC and so on. */
  readonly type: number;
  /** STB_LOCAL 0, STB_GLOBAL 1, STB_WEAK 2. */
  readonly binding: number;
  readonly sectionIndex: number;
}

export interface ElfFile {
  readonly bytes: Uint8Array;
  readonly bits: 32 | 64;
  /** ET_EXEC and so on. */
  readonly type: number;
  /** EM_386, EM_X86_64 and so on. */
  readonly machine: number;
  readonly entry: bigint;
  readonly programHeaders: readonly ProgramHeader[];
  /** Section headers, read on the first call. An empty list where the file has none. */
  sections(): readonly SectionHeader[];
  /** Notes of the PT_NOTE segments, in file order. */
  segmentNotes(): ElfNote[];
  /** Notes of the SHT_NOTE sections, in file order. */
  sectionNotes(): ElfNote[];
  /** Symbols of .symtab, or of .dynsym where there is no .symtab; none in a stripped file. */
  symbols(): Iterable<ElfSymbol>;
}

/** Where the fields of the two classes are; offsets from the start of each structure. */
interface Layout {
  readonly word: 4 | 8;
  readonly header: number;
  readonly programHeader: number;
  readonly sectionHeader: number;
  readonly symbol: number;
  readonly phFlags: number;
  /** e_phentsize's offset; the other five u16 follow in order. */
  readonly sizes: number;
}

const LAYOUT32: Layout = {
  word: 4,
  header: 52,
  programHeader: 32,
  sectionHeader: 40,
  symbol: 16,
  phFlags: 24,
  sizes: 42,
};
const LAYOUT64: Layout = {
  word: 8,
  header: 64,
  programHeader: 56,
  sectionHeader: 64,
  symbol: 24,
  phFlags: 4,
  sizes: 54,
};

/** True for bytes that begin as an ELF file does, whatever follows. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** Reads an ELF file. The result shares the memory of `bytes`. Fails with `elf-invalid` or `elf-truncated`. */
export function parseElf(bytes: Uint8Array): ElfFile {
  return new Reader(bytes);
}

class Reader implements ElfFile {
  readonly bits: 32 | 64;
  readonly type: number;
  readonly machine: number;
  readonly entry: bigint;
  readonly programHeaders: readonly ProgramHeader[];
  readonly #fields: Fields;
  readonly #layout: Layout;
  #sections: readonly SectionHeader[] | undefined;

  constructor(readonly bytes: Uint8Array) {
    const fields = new Fields(bytes);
    fields.need(0, 16, 'ELF identification');
    if (!isElf(bytes)) throw invalid('not an ELF file: the first four bytes are not 7f 45 4c 46');
    const elfClass = bytes[4];
    if (elfClass !== ELFCLASS32 && elfClass !== ELFCLASS64)
      throw invalid(`ELF class ${elfClass} is neither 32 nor 64 bit`);
    if (bytes[5] !== ELFDATA2LSB) throw invalid('the ELF file is not little-endian');
    if (bytes[6] !== EV_CURRENT) throw invalid(`ELF version ${bytes[6]} is not 1`);
    const layout = elfClass === ELFCLASS64 ? LAYOUT64 : LAYOUT32;
    fields.need(0, layout.header, 'ELF header');
    this.#fields = fields;
    this.#layout = layout;
    this.bits = elfClass === ELFCLASS64 ? 64 : 32;
    this.type = fields.u16(16);
    this.machine = fields.u16(18);
    this.entry = this.#word(24);
    this.programHeaders = this.#readProgramHeaders();
  }

  sections(): readonly SectionHeader[] {
    this.#sections ??= this.#readSections();
    return this.#sections;
  }

  segmentNotes(): ElfNote[] {
    return this.programHeaders
      .filter((header) => header.type === PT_NOTE)
      .flatMap((header) => parseNotes(header.data, `program header ${header.index}`));
  }

  sectionNotes(): ElfNote[] {
    return this.sections()
      .filter((section) => section.type === SHT_NOTE)
      .flatMap((section) => parseNotes(section.data(), describe(section)));
  }

  *symbols(): Iterable<ElfSymbol> {
    const sections = this.sections();
    const table =
      sections.find((section) => section.type === SHT_SYMTAB) ??
      sections.find((section) => section.type === SHT_DYNSYM);
    if (table === undefined) return;
    const strings = sections[table.link];
    if (strings?.type !== SHT_STRTAB)
      throw invalid(`${describe(table)} names section ${table.link}, which holds no strings`);
    const stride = this.#layout.symbol;
    if (table.entsize !== BigInt(stride)) {
      throw invalid(`${describe(table)} has entries of ${table.entsize} bytes, not ${stride}`);
    }
    const entries = new Fields(table.data());
    const names = strings.data();
    // Entry 0 is reserved and undefined.
    for (let at = stride; at + stride <= entries.bytes.length; at += stride) yield this.#symbol(entries, at, names);
  }

  #symbol(entries: Fields, at: number, names: Uint8Array): ElfSymbol {
    const wide = this.bits === 64;
    const nameAt = entries.u32(at);
    const name = cString(names, nameAt);
    if (name === undefined) {
      throw invalid(
        `symbol ${at / this.#layout.symbol} has its name at ${hex(nameAt)} of the strings, where none ends`,
      );
    }
    const info = entries.bytes[at + (wide ? 4 : 12)];
    return {
      name,
      value: wide ? entries.u64(at + 8) : BigInt(entries.u32(at + 4)),
      size: wide ? entries.u64(at + 16) : BigInt(entries.u32(at + 8)),
      type: info & 15,
      binding: info >> 4,
      sectionIndex: entries.u16(at + (wide ? 6 : 14)),
    };
  }

  #word(offset: number): bigint {
    return this.bits === 64 ? this.#fields.u64(offset) : BigInt(this.#fields.u32(offset));
  }

  /** The table's offset, once all of its claimed entries are known to be in the file. */
  #tableOffset(claimedOffset: bigint, count: number, claimedEntrySize: number, minimum: number, what: string): number {
    if (claimedEntrySize < minimum) {
      throw invalid(`ELF ${what}s of ${claimedEntrySize} bytes are shorter than ${minimum}`);
    }
    const length = BigInt(this.bytes.length);
    const room = claimedOffset < length ? (length - claimedOffset) / BigInt(claimedEntrySize) : 0n;
    if (room < BigInt(count))
      this.#fields.slice(claimedOffset, count * claimedEntrySize, `${what} ${room} of ${count}`);
    return Number(claimedOffset);
  }

  #readProgramHeaders(): ProgramHeader[] {
    const { word, sizes, programHeader } = this.#layout;
    const count = this.#fields.u16(sizes + 2);
    if (count === 0) return [];
    if (count === PN_XNUM) throw invalid('an ELF file with 65535 or more program headers is no kernel');
    const stride = this.#fields.u16(sizes);
    const base = this.#tableOffset(this.#word(24 + word), count, stride, programHeader, 'program header');
    const headers: ProgramHeader[] = [];
    for (let index = 0; index < count; index++) headers.push(this.#programHeader(base + index * stride, index));
    return headers;
  }

  #programHeader(at: number, index: number): ProgramHeader {
    const { word, phFlags } = this.#layout;
    const type = this.#fields.u32(at);
    const first = at + word;
    const claimedFilesz = this.#word(first + 3 * word);
    const memsz = this.#word(first + 4 * word);
    const what = `segment of program header ${index} (${type === PT_LOAD ? 'LOAD' : `type ${hex(type)}`})`;
    if (type === PT_LOAD && memsz < claimedFilesz) {
      throw invalid(`${what}: ${hex(claimedFilesz)} bytes in the file do not fit into its ${hex(memsz)} in memory`);
    }
    // Only what a loader reads has to be there; linkers leave odd offsets in the others (GNU_STACK and the like).
    const wanted = type === PT_LOAD || type === PT_NOTE;
    return {
      index,
      type,
      flags: this.#fields.u32(at + phFlags),
      vaddr: this.#word(first + word),
      paddr: this.#word(first + 2 * word),
      data:
        wanted && claimedFilesz > 0n ? this.#fields.slice(this.#word(first), claimedFilesz, what) : new Uint8Array(0),
      memsz,
    };
  }

  #readSections(): SectionHeader[] {
    const { word, sizes, sectionHeader } = this.#layout;
    const claimedOffset = this.#word(24 + 2 * word);
    if (claimedOffset === 0n) return [];
    const stride = this.#fields.u16(sizes + 4);
    const base = this.#tableOffset(claimedOffset, 1, stride, sectionHeader, 'section header');
    // A count or string-table index that does not fit 16 bits is in section 0 (gABI, "extended section header").
    const count = this.#fields.u16(sizes + 6) || Number(this.#word(base + 8 + 3 * word));
    const claimedNames = this.#fields.u16(sizes + 8);
    const namesIndex = claimedNames === SHN_XINDEX ? this.#fields.u32(base + 8 + 4 * word) : claimedNames;
    this.#tableOffset(claimedOffset, count, stride, sectionHeader, 'section header');
    const names =
      namesIndex > 0 && namesIndex < count
        ? this.#sectionAt(base + namesIndex * stride, namesIndex, undefined).data()
        : undefined;
    const sections: SectionHeader[] = [];
    for (let index = 0; index < count; index++) sections.push(this.#sectionAt(base + index * stride, index, names));
    return sections;
  }

  #sectionAt(at: number, index: number, names: Uint8Array | undefined): SectionHeader {
    const { word } = this.#layout;
    const first = at + 8;
    const type = this.#fields.u32(at + 4);
    const nameAt = this.#fields.u32(at);
    const name = names === undefined || type === SHT_NULL ? '' : cString(names, nameAt);
    if (name === undefined)
      throw invalid(`section ${index} has its name at ${hex(nameAt)} of the strings, where none ends`);
    const size = this.#word(first + 3 * word);
    const section: SectionHeader = {
      index,
      name,
      type,
      flags: this.#word(first),
      addr: this.#word(first + word),
      size,
      link: this.#fields.u32(first + 4 * word),
      info: this.#fields.u32(first + 4 * word + 4),
      entsize: this.#word(first + 5 * word + 8),
      data: () =>
        type === SHT_NOBITS
          ? new Uint8Array(0)
          : this.#fields.slice(this.#word(first + 2 * word), size, describe(section)),
    };
    return section;
  }
}

function describe(section: SectionHeader): string {
  return section.name === '' ? `section ${section.index}` : `section ${section.index} (${section.name})`;
}
