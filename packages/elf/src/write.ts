/**
 * Writes small ELF files: for tests of loaders and for tools that put a kernel together. The counterpart of `parseElf`:
 * what is written here reads back the same (the tests hold it to that).
 */
import {
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_386,
  EM_X86_64,
  ET_EXEC,
  EV_CURRENT,
  PF_R,
  PF_W,
  PF_X,
  SHT_NOTE,
  SHT_PROGBITS,
  SHT_STRTAB,
  SHT_SYMTAB,
} from './numbers.js';

export interface SegmentToWrite {
  readonly type: number;
  readonly data: Uint8Array;
  readonly vaddr?: bigint;
  readonly paddr?: bigint;
  /** Size in memory; the size of the data where left out. */
  readonly memsz?: bigint;
  readonly flags?: number;
}

export interface SectionToWrite {
  readonly name: string;
  readonly type?: number;
  readonly data: Uint8Array;
  readonly addr?: bigint;
}

export interface SymbolToWrite {
  readonly name: string;
  readonly value: bigint;
  readonly size?: bigint;
  readonly type?: number;
}

export interface ElfToWrite {
  readonly bits: 32 | 64;
  readonly entry?: bigint;
  readonly machine?: number;
  readonly segments?: readonly SegmentToWrite[];
  readonly sections?: readonly SectionToWrite[];
  readonly symbols?: readonly SymbolToWrite[];
}

/** A growing list of little-endian fields. */
class Fields {
  readonly #bytes: number[] = [];

  uint(value: bigint | number, width: number): this {
    for (let at = 0; at < width; at++) this.#bytes.push(Number((BigInt(value) >> BigInt(8 * at)) & 0xffn));
    return this;
  }

  bytes(data: Uint8Array): this {
    for (const byte of data) this.#bytes.push(byte);
    return this;
  }

  pad(multiple: number): this {
    while (this.#bytes.length % multiple !== 0) this.#bytes.push(0);
    return this;
  }

  get length(): number {
    return this.#bytes.length;
  }

  done(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

/** Latin-1 text with a NUL at its end. */
export function terminated(text: string): Uint8Array {
  return Uint8Array.from([...text, '\0'], (character) => character.charCodeAt(0));
}

/** One note record; a text description gets its NUL, a number becomes eight bytes. */
export function writeNote(owner: string, type: number, desc: Uint8Array | string | bigint): Uint8Array {
  const data =
    typeof desc === 'string' ? terminated(desc) : typeof desc === 'bigint' ? new Fields().uint(desc, 8).done() : desc;
  const name = terminated(owner);
  const record = new Fields().uint(name.length, 4).uint(data.length, 4).uint(type, 4);
  return record.bytes(name).pad(4).bytes(data).pad(4).done();
}

/** The bytes of several arrays, one after the other. */
export function concatenate(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

interface PlacedSection {
  readonly nameAt: number;
  readonly type: number;
  readonly addr: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly entsize: number;
}

/** The file's bytes: header, program headers, segment data, section data, section headers. */
export function writeElf(elf: ElfToWrite): Uint8Array {
  const wide = elf.bits === 64;
  const word = wide ? 8 : 4;
  const headerSize = wide ? 64 : 52;
  const segments = elf.segments ?? [];
  const programHeaderSize = wide ? 56 : 32;
  const body = new Fields();
  const bodyStart = headerSize + segments.length * programHeaderSize;
  const place = (data: Uint8Array): number => {
    body.pad(8);
    const offset = bodyStart + body.length;
    body.bytes(data);
    return offset;
  };
  const segmentOffsets = segments.map((segment) => place(segment.data));
  const sections = placeSections(elf, place);
  body.pad(8);
  const sectionTable = bodyStart + body.length;

  const file = new Fields().bytes(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, wide ? ELFCLASS64 : ELFCLASS32, ELFDATA2LSB));
  file.uint(EV_CURRENT, 1).pad(16).uint(ET_EXEC, 2);
  file
    .uint(elf.machine ?? (wide ? EM_X86_64 : EM_386), 2)
    .uint(EV_CURRENT, 4)
    .uint(elf.entry ?? 0n, word);
  file
    .uint(segments.length > 0 ? headerSize : 0, word)
    .uint(sections.length > 0 ? sectionTable : 0, word)
    .uint(0, 4);
  file.uint(headerSize, 2).uint(programHeaderSize, 2).uint(segments.length, 2);
  file
    .uint(wide ? 64 : 40, 2)
    .uint(sections.length, 2)
    .uint(Math.max(sections.length - 1, 0), 2);
  segments.forEach((segment, index) => writeProgramHeader(file, segment, segmentOffsets[index], wide));
  file.bytes(body.done());
  for (const section of sections) writeSectionHeader(file, section, word);
  return file.done();
}

function writeProgramHeader(file: Fields, segment: SegmentToWrite, offset: number, wide: boolean): void {
  const word = wide ? 8 : 4;
  const flags = segment.flags ?? PF_R | PF_W | PF_X;
  const vaddr = segment.vaddr ?? 0n;
  file.uint(segment.type, 4);
  if (wide) file.uint(flags, 4);
  file
    .uint(offset, word)
    .uint(vaddr, word)
    .uint(segment.paddr ?? vaddr, word)
    .uint(segment.data.length, word);
  file.uint(segment.memsz ?? BigInt(segment.data.length), word);
  if (!wide) file.uint(flags, 4);
  file.uint(0x1000, word);
}

function writeSectionHeader(file: Fields, section: PlacedSection, word: number): void {
  file.uint(section.nameAt, 4).uint(section.type, 4).uint(0, word).uint(section.addr, word).uint(section.offset, word);
  file.uint(section.size, word).uint(section.link, 4).uint(0, 4).uint(1, word).uint(section.entsize, word);
}

/** All sections with the null section first and the names last; none at all where none were asked for. */
function placeSections(elf: ElfToWrite, place: (data: Uint8Array) => number): PlacedSection[] {
  const wanted: (SectionToWrite & { link?: number; entsize?: number })[] = [...(elf.sections ?? [])];
  if (elf.symbols !== undefined) {
    const { table, strings } = symbolTable(elf.symbols, elf.bits);
    wanted.push({ name: '.strtab', type: SHT_STRTAB, data: strings });
    const entsize = elf.bits === 64 ? 24 : 16;
    wanted.push({ name: '.symtab', type: SHT_SYMTAB, data: table, link: wanted.length, entsize });
  }
  if (wanted.length === 0) return [];
  const names = concatenate(
    Uint8Array.of(0),
    ...[...wanted, { name: '.shstrtab' }].map(({ name }) => terminated(name)),
  );
  wanted.push({ name: '.shstrtab', type: SHT_STRTAB, data: names });
  let nameAt = 1;
  const placed: PlacedSection[] = [{ nameAt: 0, type: 0, addr: 0n, offset: 0, size: 0, link: 0, entsize: 0 }];
  for (const { name, type, data, addr, link, entsize } of wanted) {
    const kind = type ?? (name.startsWith('.note') ? SHT_NOTE : SHT_PROGBITS);
    const offset = place(data);
    placed.push({
      nameAt,
      type: kind,
      addr: addr ?? 0n,
      offset,
      size: data.length,
      link: link ?? 0,
      entsize: entsize ?? 0,
    });
    nameAt += name.length + 1;
  }
  return placed;
}

function symbolTable(symbols: readonly SymbolToWrite[], bits: 32 | 64): { table: Uint8Array; strings: Uint8Array } {
  const table = new Fields().bytes(new Uint8Array(bits === 64 ? 24 : 16));
  let nameAt = 1;
  for (const { name, value, size = 0n, type = 0 } of symbols) {
    table.uint(nameAt, 4);
    if (bits === 64) table.uint(type, 1).uint(0, 1).uint(1, 2).uint(value, 8).uint(size, 8);
    else table.uint(value, 4).uint(size, 4).uint(type, 1).uint(0, 1).uint(1, 2);
    nameAt += name.length + 1;
  }
  const strings = concatenate(Uint8Array.of(0), ...symbols.map(({ name }) => terminated(name)));
  return { table: table.done(), strings };
}
