import { concatenate, PT_LOAD, parseElf, SHT_STRTAB, SHT_SYMTAB, terminated, writeElf, writeNote } from '@paravane/elf';
import { isParavaneError } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadKernelImage, readKernelImage } from './kernel-image.js';
import { lz4Literals, testBzImage, testKernel } from './testing.js';

const word = (value: number): Uint8Array => Uint8Array.of(value & 255, value >> 8, 0, 0);

describe('a kernel with Xen notes', () => {
  it('is read with all that it says', async () => {
    const file = testKernel({
      notes: {
        HV_START_LOW: 0xffff800000000000n,
        SUPPORTED_FEATURES: 0x8801n,
        L1_MFN_VALID: new Uint8Array(16).fill(1, 0, 1).fill(1, 8, 9),
      },
    });
    const image = await loadKernelImage(testBzImage(lz4Literals(file), file.length));
    expect(image.notes).toMatchObject({
      source: 'notes',
      xenVersion: 'xen-3.0',
      guestOs: 'linux',
      entry: 0xffffffff81000040n,
      virtBase: 0xffffffff80000000n,
      initP2m: 0x8000000000n,
      modStartPfn: true,
      hvStartLow: 0xffff800000000000n,
      l1MfnValid: { mask: 1n, value: 1n },
      features: { required: 1, supported: 0x8811 },
    });
    expect(image.notes.hypercallPage).toBeUndefined();
  });

  it('has its segments placed by physical address, whatever their own virtual ones are', () => {
    const image = readKernelImage(testKernel());
    expect(image.segments.map(({ vaddr, memsz }) => [vaddr, memsz])).toEqual([
      [0xffffffff81000000n, 0x1800n],
      [0xffffffff81003000n, 0x2010n],
    ]);
    expect([image.virtStart, image.virtEnd]).toEqual([0xffffffff81000000n, 0xffffffff81005010n]);
  });

  it.each([64, 32] as const)(
    'with BSD_SYMTAB has its symbols behind it as an ELF file of their own (%i bits)',
    (bits) => {
      const low = { ENTRY: 0xc0000040n, VIRT_BASE: 0xc0000000n, INIT_P2M: null, PAE_MODE: 'yes' };
      const symbols = [
        { name: 'start', value: 0xc0000040n, type: 2 },
        { name: 'finish', value: 0xc0000080n, size: 4n, type: 1 },
      ];
      const data = new Uint8Array(0x101).fill(0x90);
      const segments = [{ type: PT_LOAD, data, vaddr: 0xc0000000n, paddr: 0n, memsz: 0x1ffdn }];
      const kernel = (BSD_SYMTAB: string) =>
        readKernelImage(testKernel({ bits, segments, symbols, notes: { ...low, BSD_SYMTAB } }));
      expect(kernel('no').virtEnd).toBe(0xc0001ffdn);
      const image = kernel('yes');
      const start = 0xc0002000n;
      const memory = new Uint8Array(Number(image.virtEnd - start));
      for (const segment of image.segments.slice(1)) memory.set(segment.data, Number(segment.vaddr - start));
      expect(new DataView(memory.buffer).getUint32(0, true)).toBe(memory.length - 4);
      const inner = parseElf(memory.subarray(4));
      expect(inner).toMatchObject({ bits, machine: image.elf.machine, programHeaders: [] });
      expect(inner.sections().map(({ type, link, entsize }) => [type, link, entsize])).toEqual([
        [0, 0, 0n],
        [SHT_SYMTAB, 2, bits === 64 ? 24n : 16n],
        [SHT_STRTAB, 0, 0n],
      ]);
      expect([...inner.symbols()]).toEqual([...image.elf.symbols()]);
      // Where Xen's builder puts them.
      expect(image.segments.slice(1).map(({ vaddr }) => vaddr - start)).toEqual([
        0n,
        bits === 64 ? 264n : 260n,
        bits === 64 ? 336n : 308n,
      ]);
    },
  );

  it('with BSD_SYMTAB and no symbols has nothing behind it', () => {
    expect(readKernelImage(testKernel({ notes: { BSD_SYMTAB: 'yes' } })).segments).toHaveLength(2);
    const damaged = testKernel({ notes: { BSD_SYMTAB: 'yes' }, symbols: [{ name: 'a', value: 1n }] });
    new DataView(damaged.buffer, damaged.byteOffset).setBigUint64(40, 0xffffffffn, true);
    expect(readKernelImage(damaged).segments).toHaveLength(2);
  });

  it('at virtual address 0 without FEATURES or PADDR_OFFSET is a kernel too (as GRUB is)', () => {
    const segments = [{ type: PT_LOAD, data: new Uint8Array(0x100), vaddr: 0n, memsz: 0x41e1f0n }];
    const notes = {
      GUEST_OS: 'GRUB',
      ENTRY: 0n,
      VIRT_BASE: 0n,
      PADDR_OFFSET: null,
      FEATURES: null,
      INIT_P2M: null,
      MOD_START_PFN: null,
    };
    const image = readKernelImage(testKernel({ segments, notes }));
    expect(image.notes).toMatchObject({ entry: 0n, virtBase: 0n, paddrOffset: 0n, modStartPfn: false });
  });

  it('takes its entry from the ELF header where there is no note', () => {
    expect(readKernelImage(testKernel({ notes: { ENTRY: null } })).notes.entry).toBe(0xffffffff81000000n);
  });

  it('may carry the notes in a section only', () => {
    const notes = concatenate(writeNote('Xen', 5, 'xen-3.0'), writeNote('Xen', 8, 'generic'));
    const segments = [{ type: PT_LOAD, data: new Uint8Array(16), vaddr: 0x1000n }];
    const file = writeElf({ bits: 64, entry: 0x1004n, segments, sections: [{ name: '.note.Xen', data: notes }] });
    expect(readKernelImage(file).notes).toMatchObject({ xenVersion: 'xen-3.0', entry: 0x1004n });
  });
});

describe('the older section __xen_guest', () => {
  const guest =
    'GUEST_OS=GNU Mach,GUEST_VERSION=1.8,XEN_VER=xen-3.0,VIRT_BASE=0xC0000000,ELF_PADDR_OFFSET=0xC0000000,HYPERCALL_PAGE=0x2,PAE=yes[extended-cr3],LOADER=generic';
  const mach = (text: string): Uint8Array =>
    writeElf({
      bits: 32,
      entry: 0xc0000000n,
      segments: [{ type: PT_LOAD, data: new Uint8Array(0x4000), vaddr: 0xc0000000n }],
      sections: [
        { name: '.note.Xen', data: writeNote('name', 1, 1n) },
        { name: '__xen_guest', data: terminated(text) },
      ],
    });

  it('is read where all notes belong to another owner, its hypercall page a frame number', () => {
    const image = readKernelImage(mach(guest));
    expect(image.bits).toBe(32);
    expect(image.notes).toMatchObject({
      source: '__xen_guest',
      guestOs: 'GNU Mach',
      paeMode: 'yes[extended-cr3]',
      hypercallPage: 0xc0002000n,
      paddrOffset: 0xc0000000n,
      entry: 0xc0000000n,
    });
  });

  it('with a word for a number is refused', () => {
    expect(() => readKernelImage(mach(guest.replace('0x2', 'two')))).toThrow(
      'HYPERCALL_PAGE=two, which is not a number',
    );
  });
});

describe('what is wrong with a kernel is said', () => {
  const kernelAt = (vaddr: bigint, memsz: bigint) => [{ type: PT_LOAD, data: new Uint8Array(16), vaddr, memsz }];

  it.each([
    ['notes of a wrong owner', { owner: 'name' }, /neither notes of the owner "Xen" nor a section __xen_guest/],
    ['no XEN_VERSION', { notes: { XEN_VERSION: null } }, /XEN_VERSION is missing/],
    ['another XEN_VERSION', { notes: { XEN_VERSION: 'xen-2.0' } }, /XEN_VERSION is "xen-2.0"/],
    ['PVH only', { notes: { XEN_VERSION: null, PHYS32_ENTRY: word(16) } }, /only a PVH entry/],
    ['another loader', { notes: { LOADER: 'mine', GUEST_OS: 'mine' } }, /LOADER is "mine"/],
    ['an unknown required feature', { notes: { FEATURES: '!levitation|dom0' } }, /levitation/],
    ['a required feature that Xen has no name for', { notes: { FEATURES: '!highmem_assist' } }, /highmem_assist/],
    ['the control domain required', { notes: { FEATURES: '!dom0' } }, /control domain only/],
    ['another machine', { machine: 183 }, /for AArch64/],
    ['an entry outside', { notes: { ENTRY: 0x1000n } }, /ENTRY 0x1000 is outside its segments, 0xffffffff81000000/],
    ['a hypercall page outside', { notes: { HYPERCALL_PAGE: 0xffffffff82000000n } }, /HYPERCALL_PAGE .* outside/],
    ['a hypercall page askew', { notes: { HYPERCALL_PAGE: 0xffffffff81000800n } }, /not the start of a page/],
    [
      'a VIRT_BASE above',
      { notes: { VIRT_BASE: 0xffffffff90000000n, PADDR_OFFSET: 0x10000000n, ENTRY: null } },
      /VIRT_BASE/,
    ],
    [
      'a VIRT_BASE askew',
      { notes: { VIRT_BASE: 0xffffffff80000800n, ENTRY: 0xffffffff81000840n } },
      /not the start of a page/,
    ],
    ['PADDR_OFFSET alone', { notes: { VIRT_BASE: null } }, /but not VIRT_BASE/],
    ['INIT_P2M inside', { notes: { INIT_P2M: 0xffffffff81001000n } }, /INIT_P2M .* inside/],
    ['a number of three bytes', { notes: { ENTRY: new Uint8Array(3) } }, /ENTRY has 3 bytes/],
    ['nothing to load', { segments: [] }, /nothing to load/],
    ['more memory than there is', { segments: kernelAt(0x1000n, 1n << 62n) }, /past the last address/],
    ['addresses that wrap', { segments: kernelAt(0x7fff_ffffn, 0xffff_0000n) }, /past the last address|more than 4 GB/],
  ])('%s', (_, kernel, words) => {
    expect(() => readKernelImage(testKernel(kernel))).toThrow(words);
  });

  it('for damage anywhere, and always as a ParavaneError', () => {
    const file = testKernel();
    const interesting = fc.oneof(fc.nat(400), fc.nat(file.length - 1));
    const flips = fc.array(fc.tuple(interesting, fc.nat(255)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(flips, (changes) => {
        const damaged = file.slice();
        for (const [at, value] of changes) damaged[at] = value;
        let result: unknown;
        try {
          result = readKernelImage(damaged).bits;
        } catch (error) {
          result = error;
        }
        expect(result === 64 || result === 32 || isParavaneError(result)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
