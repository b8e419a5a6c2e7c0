import { noteText, PT_LOAD, PT_NOTE, parseElf, writeElf, writeNote } from '@paravane/elf';

const file = writeElf({
  bits: 64,
  segments: [
    { type: PT_LOAD, data: new Uint8Array(100), paddr: 0x100000n, memsz: 4096n },
    { type: PT_NOTE, data: writeNote('Xen', 6, 'linux') },
  ],
  symbols: [{ name: 'start', value: 0x100040n }],
});

const elf = parseElf(file);
for (const { type, paddr, data, memsz } of elf.programHeaders) {
  if (type === PT_LOAD) console.log(paddr, data.length, memsz); // 1048576n 100 4096n
}
for (const { owner, type, desc } of elf.segmentNotes()) console.log(owner, type, noteText(desc)); // Xen 6 linux
for (const { name, value } of elf.symbols()) console.log(name, value); // start 1048640n
