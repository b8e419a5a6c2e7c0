import { ParavaneError } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatenate, isElf, noteNumber, noteText, PT_LOAD, PT_NOTE, parseElf, writeElf, writeNote } from './index.js';

const text = Uint8Array.from({ length: 40 }, (_, index) => index);
const sample = (bits: 32 | 64): Uint8Array =>
  writeElf({
    bits,
    entry: 0x1234n,
    segments: [
      { type: PT_LOAD, data: text, vaddr: 0x1000n, paddr: 0x2000n, memsz: 0x100n },
      { type: PT_NOTE, data: concatenate(writeNote('Xen', 5, 'xen-3.0'), writeNote('GNU', 3, Uint8Array.of(1, 2, 3))) },
    ],
    sections: [
      { name: '.text', data: text, addr: 0x1000n },
      { name: '.note.Xen', data: writeNote('Xen', 1, 0x77n) },
    ],
    symbols: [
      { name: 'main', value: 0x1010n, size: 8n, type: 2 },
      { name: 'after', value: 0x1020n },
    ],
  });

/** Reads everything that can be read. */
function readAll(bytes: Uint8Array): number {
  const elf = parseElf(bytes);
  let seen = elf.segmentNotes().length + elf.sectionNotes().length;
  for (const header of elf.programHeaders) seen += header.data.length;
  for (const section of elf.sections()) seen += section.data().length;
  for (const symbol of elf.symbols()) seen += symbol.name.length;
  return seen;
}

/** What came of `read`: "read", or the code of this package's own error; any other error passes through. */
function outcome(read: () => unknown): string {
  try {
    read();
    return 'read';
  } catch (error) {
    if (error instanceof ParavaneError) return error.code;
    throw error;
  }
}
const expected = /^(read|elf-invalid|elf-truncated)$/;

describe.each([32, 64] as const)('an ELF%d file', (bits) => {
  const bytes = sample(bits);

  it('reads back as it was written', () => {
    const elf = parseElf(bytes);
    expect(isElf(bytes)).toBe(true);
    expect(elf).toMatchObject({ bits, entry: 0x1234n, type: 2, machine: bits === 64 ? 62 : 3 });
    expect(elf.programHeaders[0]).toMatchObject({
      type: PT_LOAD,
      vaddr: 0x1000n,
      paddr: 0x2000n,
      memsz: 0x100n,
      flags: 7,
    });
    expect(elf.programHeaders[0].data).toEqual(text);
    expect(elf.sections().map(({ name }) => name)).toEqual([
      '',
      '.text',
      '.note.Xen',
      '.strtab',
      '.symtab',
      '.shstrtab',
    ]);
    expect(elf.sections()[1].data()).toEqual(text);
    const [version, build] = elf.segmentNotes();
    expect([version.owner, version.type, noteText(version.desc)]).toEqual(['Xen', 5, 'xen-3.0']);
    expect([build.owner, build.desc]).toEqual(['GNU', Uint8Array.of(1, 2, 3)]);
    expect(noteNumber(elf.sectionNotes()[0].desc)).toBe(0x77n);
    expect([...elf.symbols()]).toMatchObject([
      { name: 'main', value: 0x1010n, size: 8n, type: 2 },
      { name: 'after', value: 0x1020n },
    ]);
  });

  it('cut at any length is read or refused, never more', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(outcome(() => readAll(bytes.slice(0, length)))).toMatch(expected);
    }
  });

  it('with flipped bytes is read or refused, and never yields more than the file holds', () => {
    const flips = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(flips, (changes) => {
        const damaged = bytes.slice();
        for (const [at, value] of changes) damaged[at] = value;
        const shared = (): boolean =>
          parseElf(damaged).programHeaders.every(({ data }) => data.length === 0 || data.buffer === damaged.buffer);
        expect(
          outcome(() => {
            if (!shared()) throw new Error('data that is not the file');
            readAll(damaged);
          }),
        ).toMatch(expected);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a damaged file is refused in words that name the place', () => {
  const bytes = sample(64);
  const changed = (change: (view: DataView) => void): Uint8Array => {
    const copy = bytes.slice();
    change(new DataView(copy.buffer));
    return copy;
  };

  it.each([
    ['empty file', new Uint8Array(0), 'truncated ELF identification'],
    ['text', Uint8Array.from({ length: 64 }, () => 65), 'not an ELF file'],
    ['half a header', bytes.slice(0, 40), 'truncated ELF header'],
    ['big-endian', changed((view) => view.setUint8(5, 2)), 'not little-endian'],
    ['too many program headers', changed((view) => view.setUint16(56, 0x4000, true)), 'truncated program header'],
    ['short program headers', changed((view) => view.setUint16(54, 8, true)), 'shorter than 56'],
    ['segment past the end', changed((view) => view.setUint32(64 + 8, 0x10000, true)), 'program header 0 (LOAD)'],
    [
      'segment that wraps',
      changed((view) => view.setBigUint64(64 + 8, 0xffff_ffff_ffff_fff0n, true)),
      'program header 0',
    ],
    [
      'more in file than memory',
      changed((view) => view.setUint32(64 + 40, 1, true)),
      'do not fit into its 0x1 in memory',
    ],
    ['sections elsewhere', changed((view) => view.setUint32(40, 0x7fffff00, true)), 'truncated section header'],
  ])('%s', (_, damaged, words) => {
    expect(() => readAll(damaged)).toThrow(words);
    expect(outcome(() => readAll(damaged))).toMatch(expected);
  });

  it('a damaged section table does not keep the segments from being read', () => {
    const damaged = changed((view) => view.setUint32(40, 0x7fffff00, true));
    expect(parseElf(damaged).programHeaders).toHaveLength(2);
  });
});

describe('notes', () => {
  const notesOf = (note: Uint8Array) =>
    parseElf(writeElf({ bits: 64, segments: [{ type: PT_NOTE, data: note }] })).segmentNotes();

  it('a description longer than its segment ends with it', () => {
    const note = writeNote('Xen', 9, 'yes');
    new DataView(note.buffer).setUint32(4, 12, true);
    expect(notesOf(note).map(({ desc }) => noteText(desc))).toEqual(['yes']);
  });

  it('a name longer than its segment is refused', () => {
    const note = writeNote('Xen', 1, 5n);
    new DataView(note.buffer).setUint32(0, 0xffff_fff0, true);
    expect(() => notesOf(note)).toThrow('truncated note 0 of program header 0');
  });

  it('a number has 1, 2, 4 or 8 bytes', () => {
    expect(noteNumber(Uint8Array.of(0x34, 0x12))).toBe(0x1234n);
    expect(noteNumber(Uint8Array.of(1, 2, 3))).toBeUndefined();
    expect(noteText(Uint8Array.of(0x79, 0x65, 0x73))).toBe('yes');
  });
});
