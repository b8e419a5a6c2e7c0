/**
 * Where a kernel's symbols come from: Linux's own kallsyms tables, or the ELF file's symbol table.
 */
import type { ElfFile } from '@paravane/elf';
import { type Gva, isParavaneError } from '@paravane/types';
import { findKallsyms } from './kallsyms.js';
import type { KernelImage } from './kernel-image.js';
import { type KernelSymbols, sortedSymbols } from './symbols.js';

const SHF_EXECINSTR = 4n;
/** STT_SECTION and STT_FILE name no place in the program. */
const FIRST_OTHER_TYPE = 3;
const SHN_ABS = 0xfff1;

/** The symbols of an ELF file's own table; undefined where it was stripped. */
export function elfSymbols(elf: ElfFile, end: Gva = 1n << 64n): KernelSymbols | undefined {
  const sections = elf.sections();
  const found = [...elf.symbols()].filter(
    ({ name, type, sectionIndex }) =>
      name !== '' && type < FIRST_OTHER_TYPE && sectionIndex !== 0 && sectionIndex !== SHN_ABS,
  );
  if (found.length === 0) return undefined;
  return sortedSymbols({
    addresses: BigUint64Array.from(found, ({ value }) => value),
    name: (index) => found[index].name,
    isCode: (index, address) => {
      const section = sections[found[index].sectionIndex];
      if (section === undefined || (section.flags & SHF_EXECINSTR) === 0n) return false;
      // Behind the last function of a section there is data, whose addresses are on stacks as well.
      return address < section.addr + section.size;
    },
    end,
  });
}

/** The best symbols that a kernel's file has; undefined where it has none, or only damaged ones. */
export function kernelSymbols(image: KernelImage): KernelSymbols | undefined {
  for (const { data } of image.segments) {
    const found = findKallsyms(data, image.virtEnd);
    if (found !== undefined) return found;
  }
  try {
    return elfSymbols(image.elf, image.virtEnd);
  } catch (error) {
    // A kernel runs with a damaged section table; its crash report does without names then.
    if (isParavaneError(error)) return undefined;
    throw error;
  }
}
