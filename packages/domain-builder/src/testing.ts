/**
 * Small kernels for the tests of this package and of those that start domains: ELF files with Xen notes, and bzImages
 * around them. Not part of the package's entry.
 */
import { XEN_ELFNOTE } from '@paravane/abi-xen';
import {
  concatenate,
  PT_LOAD,
  PT_NOTE,
  type SegmentToWrite,
  type SymbolToWrite,
  writeElf,
  writeNote,
} from '@paravane/elf';

export type NoteValues = { readonly [Name in keyof typeof XEN_ELFNOTE]?: string | bigint | Uint8Array | null };

const LINUX_NOTES: NoteValues = {
  XEN_VERSION: 'xen-3.0',
  GUEST_OS: 'linux',
  LOADER: 'generic',
  VIRT_BASE: 0xffffffff80000000n,
  PADDR_OFFSET: 0n,
  ENTRY: 0xffffffff81000040n,
  INIT_P2M: 0x8000000000n,
  MOD_START_PFN: 1n,
  FEATURES: '!writable_page_tables|pae_pgdir_above_4gb',
};

export interface TestKernel {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly entry?: bigint;
  /** Changes to the notes of a Linux-like kernel; null leaves one out. */
  readonly notes?: NoteValues;
  readonly owner?: string;
  readonly segments?: readonly SegmentToWrite[];
  readonly symbols?: readonly SymbolToWrite[];
}

export function xenNotes(notes: NoteValues, owner = 'Xen'): Uint8Array {
  const present = Object.entries(notes).filter(([, value]) => value !== null && value !== undefined);
  return concatenate(
    ...present.map(([name, value]) =>
      writeNote(owner, XEN_ELFNOTE[name as keyof typeof XEN_ELFNOTE], value as string | bigint | Uint8Array),
    ),
  );
}

/** Two segments at 16 MiB, like Linux's, unless told otherwise. */
export function testKernel(kernel: TestKernel = {}): Uint8Array {
  const text = Uint8Array.from({ length: 0x1800 }, (_, index) => (index * 7 + 1) & 255);
  const segments = kernel.segments ?? [
    { type: PT_LOAD, data: text, vaddr: 0xffffffff81000000n, paddr: 0x1000000n, memsz: 0x1800n, flags: 5 },
    { type: PT_LOAD, data: text.subarray(0, 0x20), vaddr: 0n, paddr: 0x1003000n, memsz: 0x2010n, flags: 6 },
  ];
  const notes = xenNotes({ ...LINUX_NOTES, ...kernel.notes }, kernel.owner);
  return writeElf({
    bits: kernel.bits ?? 64,
    machine: kernel.machine,
    entry: kernel.entry ?? 0xffffffff81000000n,
    segments: [...segments, { type: PT_NOTE, data: notes }],
    symbols: kernel.symbols,
  });
}

/** A bzImage of boot protocol 2.15 whose payload is `packed` and the size, as Linux's build appends it. */
export function testBzImage(packed: Uint8Array, unpackedSize: number): Uint8Array {
  const setupSectors = 2;
  const payloadOffset = 0x40;
  const start = (setupSectors + 1) * 512 + payloadOffset;
  const image = new Uint8Array(start + packed.length + 4 + 100);
  const view = new DataView(image.buffer);
  image[0x1f1] = setupSectors;
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, 0x20f, true);
  view.setUint32(0x248, payloadOffset, true);
  view.setUint32(0x24c, packed.length + 4, true);
  image.set(packed, start);
  view.setUint32(start + packed.length, unpackedSize, true);
  return image;
}

/** An LZ4 legacy frame of literals only. */
export function lz4Literals(text: Uint8Array, blockSize = 0x4000): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x02, 0x21, 0x4c, 0x18)];
  for (let at = 0; at < text.length; at += blockSize) {
    const literals = text.subarray(at, at + blockSize);
    parts.push(lz4Block(literalSequence(literals)));
  }
  return concatenate(...parts);
}

export function lz4Block(sequences: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, sequences.length, true);
  return concatenate(length, sequences);
}

function literalSequence(literals: Uint8Array): Uint8Array {
  if (literals.length < 15) return concatenate(Uint8Array.of(literals.length << 4), literals);
  const rest = literals.length - 15;
  const lengths = new Uint8Array(Math.floor(rest / 255) + 1).fill(255);
  lengths[lengths.length - 1] = rest % 255;
  return concatenate(Uint8Array.of(0xf0), lengths, literals);
}
