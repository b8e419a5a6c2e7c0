/** @paravane/elf: reads ELF files whose every field is a claim until it is checked; writes small ones. */
export {
  type ElfFile,
  type ElfSymbol,
  isElf,
  type ProgramHeader,
  parseElf,
  type SectionHeader,
} from './elf.js';
export { type ElfNote, noteNumber, noteText, parseNotes } from './notes.js';
export * from './numbers.js';
export {
  concatenate,
  type ElfToWrite,
  type SectionToWrite,
  type SegmentToWrite,
  type SymbolToWrite,
  terminated,
  writeElf,
  writeNote,
} from './write.js';
