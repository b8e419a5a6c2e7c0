import { PT_LOAD } from '@paravane/elf';
import { isParavaneError, PAGE_SIZE } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type KernelImage, readKernelImage } from './kernel-image.js';
import { neededMegabytes, planPvDomain } from './plan.js';
import { type NoteValues, testKernel } from './testing.js';

const MB = 256;

/** A kernel of which nothing but its place in memory is real. */
function kernelAt(first: bigint, end: bigint, notes: NoteValues = {}): KernelImage {
  const paddr = first - (notes.VIRT_BASE === undefined ? 0xffffffff80000000n : (notes.VIRT_BASE as bigint));
  const segments = [{ type: PT_LOAD, data: new Uint8Array(16), vaddr: first, paddr, memsz: end - first }];
  return readKernelImage(testKernel({ segments, notes: { ENTRY: first, ...notes } }));
}
const debian = kernelAt(0xffffffff81000000n, 0xffffffff83e00000n);
const grubNotes: NoteValues = {
  VIRT_BASE: 0n,
  PADDR_OFFSET: null,
  INIT_P2M: null,
  MOD_START_PFN: null,
  FEATURES: null,
};
const grub = kernelAt(0n, 0x613dc8n, grubNotes);

describe('the layout', () => {
  it('of Debian 6.1 in 128 MB is the one that Xen 4.17 was seen to make', () => {
    const plan = planPvDomain(debian, { memoryPages: 128 * MB, ramdisk: new Uint8Array(0x213000 - 9) });
    expect(plan.kernel).toEqual({ pfn: 0x1000, pages: 0x2e00, vaddr: 0xffffffff81000000n });
    expect(plan.startInfo.pfn).toBe(0x3e00);
    expect(plan.xenstore.pfn).toBe(0x3e01);
    expect(plan.console.pfn).toBe(0x3e02);
    expect(plan.pageTables).toEqual({ pfn: 0x3e03, pages: 35, vaddr: 0xffffffff83e03000n });
    expect(plan.bootStack).toEqual({ pfn: 0x3e26, pages: 1, vaddr: 0xffffffff83e26000n });
    expect(plan.ramdisk).toEqual({ pfn: 0x4000, pages: 0x213 });
    expect(plan.p2m).toEqual({ pfn: 0x4213, pages: 64, vaddr: 0x8000000000n });
    expect(plan.p2mFrames).toEqual({ pfn: 0x4213, pages: 67 });
    expect(plan.mappings).toEqual([
      { vaddr: 0xffffffff80000000n, pfn: 0, pages: 0x4000 },
      { vaddr: 0x8000000000n, pfn: 0x4213, pages: 64 },
    ]);
  });

  it('of GRUB in 64 MB is the one that Xen 4.17 was seen to make, with the P2M list after the kernel', () => {
    const plan = planPvDomain(grub, { memoryPages: 64 * MB });
    expect(plan.p2m).toEqual({ pfn: 0x614, pages: 32, vaddr: 0x614000n });
    expect([plan.startInfo.pfn, plan.xenstore.pfn, plan.console.pfn, plan.pageTables.pfn]).toEqual([
      0x634, 0x635, 0x636, 0x637,
    ]);
    expect(plan.pageTables.pages).toBe(7);
    expect(plan.p2mFrames).toBeUndefined();
    expect(plan.endPfn).toBe(0x800);
  });

  it('of a 32-bit kernel has three levels of tables, the last L2 always, and a P2M list of 32-bit words', () => {
    const low = { ...grub, bits: 32 as const, notes: { ...grub.notes, paeMode: 'yes' } };
    const plan = planPvDomain(low, { memoryPages: 64 * MB });
    expect(plan.p2m).toEqual({ pfn: 0x614, pages: 16, vaddr: 0x614000n });
    // L3, two L2s, four L1s for 8 MiB.
    expect(plan.tables.map(({ level, index }) => [level, index])).toEqual([
      [3, 0],
      [2, 0],
      [2, 3],
      [1, 0],
      [1, 1],
      [1, 2],
      [1, 3],
    ]);
    const high = kernelAt(0xc0000000n, 0xc00b0bd0n, { ...grubNotes, VIRT_BASE: 0xc0000000n, PADDR_OFFSET: 0n });
    const mach = { ...high, bits: 32 as const, notes: { ...high.notes, paeMode: 'yes[extended-cr3]' } };
    expect(planPvDomain(mach, { memoryPages: 64 * MB }).tables.map(({ level, index }) => [level, index])).toEqual([
      [3, 0],
      [2, 3],
      [1, 0x600],
      [1, 0x601],
    ]);
  });

  it('maps the ramdisk below the tables for a kernel without MOD_START_PFN', () => {
    const plan = planPvDomain(grub, { memoryPages: 64 * MB, ramdisk: new Uint8Array(5000) });
    expect(plan.ramdisk).toEqual({ pfn: 0x614, pages: 2, vaddr: 0x614000n });
    expect(plan.p2m.pfn).toBe(0x616);
  });

  it('ignores an INIT_P2M that is no page or not below the kernel, as Xen does', () => {
    for (const INIT_P2M of [0x8000000001n, 0xffffffff90000000n]) {
      const image = kernelAt(0xffffffff81000000n, 0xffffffff81100000n, { INIT_P2M });
      expect(planPvDomain(image, { memoryPages: 64 * MB }).p2m.vaddr).toBe(0xffffffff81100000n);
    }
  });

  it('is consistent at every size', () => {
    const anyKernel = fc.record({
      startPage: fc.nat(0x2000),
      pages: fc.integer({ min: 1, max: 0x4000 }),
      ramdiskPages: fc.nat(0x1800),
      ownP2m: fc.boolean(),
      modStartPfn: fc.boolean(),
      base: fc.constantFrom(0n, 0x3ff000n, 0x7000000000n, 0xffffffff80000000n, 0xffff888000123000n),
      memory: fc.integer({ min: 1, max: 2048 }),
    });
    fc.assert(
      fc.property(anyKernel, ({ startPage, pages, ramdiskPages, ownP2m, modStartPfn, base, memory }) => {
        const first = base + BigInt(startPage) * 0x1000n;
        const image = kernelAt(first, first + BigInt(pages) * 0x1000n - 5n, {
          VIRT_BASE: base,
          INIT_P2M: ownP2m && base >= 0x9000000000n ? 0x8000000000n : null,
          MOD_START_PFN: modStartPfn ? 1n : null,
        });
        const ramdisk = new Uint8Array(ramdiskPages * PAGE_SIZE);
        const memoryPages = Math.max(memory, neededMegabytes(image, { ramdisk })) * MB;
        const plan = planPvDomain(image, { memoryPages, ramdisk });
        const regions = [plan.kernel, plan.startInfo, plan.xenstore, plan.console, plan.pageTables, plan.bootStack];
        regions.push(
          ...([plan.ramdisk, plan.p2mFrames ?? plan.p2m].filter((region) => region !== undefined) as typeof regions),
        );
        regions.sort((a, b) => a.pfn - b.pfn);
        for (let index = 1; index < regions.length; index++) {
          expect(regions[index].pfn).toBeGreaterThanOrEqual(regions[index - 1].pfn + regions[index - 1].pages);
        }
        expect(plan.endPfn).toBeLessThanOrEqual(memoryPages);
        const mapped = plan.mappings[0].pages;
        expect((base + BigInt(mapped) * 0x1000n) % 0x400000n).toBe(0n);
        expect(mapped - plan.bootStack.pfn - 1).toBeGreaterThanOrEqual(128);
        expect(new Set(plan.tables.map(({ level, index }) => `${level}:${index}`)).size).toBe(plan.tables.length);
        expect(plan.tables[0]).toEqual({ level: 4, index: 0, pfn: plan.pageTables.pfn });
      }),
      { numRuns: 300 },
    );
  });
});

describe('what does not fit is said', () => {
  it('too little memory, with how much is needed; and that much is enough', () => {
    const ramdisk = new Uint8Array(3 << 20);
    expect(() => planPvDomain(debian, { memoryPages: 64 * MB, ramdisk })).toThrow('need 68 MB, the domain has 64 MB');
    expect(() => planPvDomain(debian, { memoryPages: 67 * MB, ramdisk })).toThrow('memory = 68');
    expect(planPvDomain(debian, { memoryPages: 68 * MB, ramdisk }).endPfn).toBeLessThanOrEqual(68 * MB);
  });

  it.each([
    ['no memory', 0, {}, /cannot have 0 pages/],
    ['half a page', 1.5, {}, /cannot have 1.5 pages/],
    ['more than 4 GB', 0x100001, {}, /1 MB to 4096 MB/],
    ['a long command line', 64 * MB, { cmdline: 'x'.repeat(1024) }, /has 1024 bytes; start_info holds 1023/],
    ['a NUL', 64 * MB, { cmdline: 'a\0b' }, /NUL/],
  ])('%s', (_, memoryPages, options, words) => {
    expect(() => planPvDomain(debian, { memoryPages, ...options })).toThrow(words);
  });

  it.each([
    ["Xen's own addresses", 0xffff800000000000n, /overlaps the hypervisor's own addresses/],
    ['no canonical address', 0x800000000000n, /not in the address space/],
    ['the end of the address space', 0xfffffffffff90000n, /not in the address space/],
  ])('a kernel at %s', (_, base, words) => {
    const image = kernelAt(base, base + 0x1000n, { VIRT_BASE: base, INIT_P2M: null });
    expect(() => planPvDomain(image, { memoryPages: 64 * MB })).toThrow(words);
  });

  it('a P2M list that would reach the kernel or Xen', () => {
    const below = { memoryPages: 2048 * MB };
    const nearKernel = kernelAt(0xffffffff81000000n, 0xffffffff81001000n, { INIT_P2M: 0xffffffff7ffff000n });
    expect(() => planPvDomain(nearKernel, below)).toThrow('would reach its VIRT_BASE');
    const inXen = kernelAt(0xffffffff81000000n, 0xffffffff81001000n, { INIT_P2M: 0xffff810000000000n });
    expect(() => planPvDomain(inXen, below)).toThrow("hypervisor's own");
  });

  it('a kernel far above its VIRT_BASE, and a 32-bit one without PAE', () => {
    const far = kernelAt(0x7f0000000000n, 0x7f0000001000n, { VIRT_BASE: 0n, INIT_P2M: null });
    expect(() => planPvDomain(far, { memoryPages: 64 * MB })).toThrow('more than 4 GB above its VIRT_BASE');
    const narrow = { ...debian, bits: 32 as const };
    expect(() => planPvDomain(narrow, { memoryPages: 64 * MB })).toThrow('32-bit kernel without PAE');
  });

  it('whatever the notes claim, always as a ParavaneError', () => {
    const address = fc.oneof(fc.bigInt(0n, 0xffff_ffff_ffff_ffffn), fc.bigInt(0n, 1n << 33n));
    fc.assert(
      fc.property(address, address, address, fc.nat(1 << 20), (VIRT_BASE, INIT_P2M, first, memoryPages) => {
        let result: unknown;
        try {
          const image = kernelAt(VIRT_BASE + first, VIRT_BASE + first + 0x2000n, {
            VIRT_BASE: VIRT_BASE & -0x1000n,
            INIT_P2M,
          });
          result = planPvDomain(image, { memoryPages }).endPfn;
        } catch (error) {
          result = error;
        }
        expect(typeof result === 'number' || isParavaneError(result)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});
