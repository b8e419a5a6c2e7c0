import { start_info } from '@paravane/abi-xen';
import { PT_LOAD } from '@paravane/elf';
import { type Gva, type Maddr, type Mfn, mfn, PAGE_SIZE, type Port } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BuilderMemory, buildPvDomain, type EntryState } from './build.js';
import { hypercallPage64 } from './hypercall-page.js';
import { type KernelImage, readKernelImage } from './kernel-image.js';
import { neededMegabytes, type PvDomainOptions, type PvPlan, planPvDomain } from './plan.js';
import { testKernel } from './testing.js';

const MB = 256;

/** Frames full of rubbish until they are written, so that what is not cleared shows. */
class Frames implements BuilderMemory {
  readonly frames = new Map<Mfn, Uint8Array>();

  frame(mfn: Mfn): Uint8Array {
    const frame = this.frames.get(mfn) ?? new Uint8Array(PAGE_SIZE).fill(0xee);
    this.frames.set(mfn, frame);
    return frame;
  }

  write(mfn: Mfn, offset: number, bytes: Uint8Array): void {
    if (offset + bytes.length > PAGE_SIZE) throw new Error('a write past its frame');
    this.frame(mfn).set(bytes, offset);
  }

  clear(mfn: Mfn): void {
    this.frame(mfn).fill(0);
  }

  entry(mfn: Mfn, index: number): bigint {
    const frame = this.frame(mfn);
    return new DataView(frame.buffer).getBigUint64(index * 8, true);
  }
}

/** Scattered, descending, and none of them equal to its pfn. */
const scatter = (pages: number): Mfn[] => Array.from({ length: pages }, (_, pfn) => mfn(0x90000 + ((pages - pfn) ^ 5)));

interface Built {
  readonly plan: PvPlan;
  readonly memory: Frames;
  readonly p2m: readonly Mfn[];
  readonly entry: EntryState;
}

function build(image: KernelImage, options: PvDomainOptions): Built {
  const plan = planPvDomain(image, options);
  const memory = new Frames();
  const p2m = scatter(options.memoryPages);
  const place = { p2m, sharedInfo: 0x7777000 as Maddr, storePort: 1 as Port, consolePort: 2 as Port };
  return { plan, memory, p2m, entry: buildPvDomain(plan, memory, place) };
}

/** Walks the tables as the processor does: the leaf entry and the AND of the upper entries' bits. */
function walk({ memory, entry }: Built, vaddr: Gva): { leaf: bigint; mfn: Mfn; upper: bigint } | undefined {
  let table = entry.cr3;
  let upper = 0xfffn;
  for (const shift of [39n, 30n, 21n, 12n]) {
    const value = memory.entry(table, Number((vaddr >> shift) & 511n));
    if ((value & 1n) === 0n) return undefined;
    table = Number((value >> 12n) & 0xffffffffffn) as Mfn;
    if (shift === 12n) return { leaf: value & 0xfffn, mfn: table, upper };
    upper &= value;
  }
  return undefined;
}

function read(built: Built, vaddr: Gva, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) {
    const found = walk(built, vaddr + BigInt(at));
    if (found === undefined) throw new Error(`0x${(vaddr + BigInt(at)).toString(16)} is not mapped`);
    bytes[at] = built.memory.frame(found.mfn)[Number((vaddr + BigInt(at)) & 0xfffn)];
  }
  return bytes;
}

const linux = readKernelImage(testKernel());
const ramdisk = Uint8Array.from({ length: 5000 }, (_, index) => (index * 3) & 255);

describe('a domain of a Linux-like kernel', () => {
  const built = build(linux, { memoryPages: 32 * MB, ramdisk, cmdline: 'console=hvc0 grüße' });
  const { plan, p2m, memory, entry } = built;

  it('has its kernel where the notes say, and zeros where the file says nothing', () => {
    const text = linux.segments[0].data;
    expect(read(built, 0xffffffff81000000n, 0x1800)).toEqual(text);
    expect(read(built, 0xffffffff81001800n, 0x1800)).toEqual(new Uint8Array(0x1800));
    expect(read(built, 0xffffffff81003000n, 0x20)).toEqual(text.subarray(0, 0x20));
    expect(read(built, 0xffffffff81003020n, 0x2fe0)).toEqual(new Uint8Array(0x2fe0));
  });

  it('maps every page of the initial mapping to its frame, tables read-only and all else writable', () => {
    const tables = new Set(plan.tables.map(({ pfn }) => pfn as number));
    const { vaddr, pages } = plan.mappings[0];
    for (let page = 0; page < pages; page++) {
      const found = walk(built, vaddr + BigInt(page) * 0x1000n);
      expect(found).toEqual({ leaf: tables.has(page) ? 0x21n : 0x23n, mfn: p2m[page], upper: 0x67n });
    }
  });

  it('maps nothing else but the P2M list', () => {
    const { vaddr, pages } = plan.mappings[0];
    for (const other of [vaddr - 1n, vaddr + BigInt(pages) * 0x1000n, 0n, 0x8000000000n - 1n]) {
      expect(walk(built, BigInt.asUintN(64, other))).toBeUndefined();
    }
    expect(walk(built, 0x8000000000n + BigInt(plan.p2m.pages) * 0x1000n)).toBeUndefined();
  });

  it('shows its P2M list at INIT_P2M', () => {
    const list = read(built, 0x8000000000n, p2m.length * 8);
    const view = new DataView(list.buffer);
    expect(p2m.every((frame, pfn) => view.getBigUint64(pfn * 8, true) === BigInt(frame))).toBe(true);
  });

  it('has start_info, special pages and stack as public/xen.h lays them out', () => {
    expect(entry).toMatchObject({
      rip: 0xffffffff81000040n,
      rsi: plan.startInfo.vaddr,
      rsp: plan.bootStack.vaddr + 0x1000n,
      rflags: 0x200n,
      cr3: p2m[plan.pageTables.pfn],
    });
    const page = read(built, entry.rsi, PAGE_SIZE);
    expect(start_info.read(new DataView(page.buffer), 0, 64)).toEqual({
      magic: 'xen-3.0-x86_64',
      nr_pages: 32n * 256n,
      shared_info: 0x7777000n,
      flags: 24,
      store_mfn: BigInt(p2m[plan.xenstore.pfn]),
      store_evtchn: 1,
      console_mfn: BigInt(p2m[plan.console.pfn]),
      console_evtchn: 2,
      pt_base: plan.pageTables.vaddr,
      nr_pt_frames: BigInt(plan.pageTables.pages),
      mfn_list: 0x8000000000n,
      mod_start: BigInt(plan.ramdisk?.pfn ?? 0),
      mod_len: 8192n,
      cmd_line: 'console=hvc0 gr\xc3\xbc\xc3\x9fe',
      first_p2m_pfn: BigInt(plan.p2mFrames?.pfn ?? 0),
      nr_p2m_frames: BigInt(plan.p2mFrames?.pages ?? 0),
    });
    for (const { pfn } of [plan.xenstore, plan.console, plan.bootStack]) {
      expect(memory.frame(p2m[pfn])).toEqual(new Uint8Array(PAGE_SIZE));
    }
  });

  it('has its ramdisk in frames that are not mapped, the last one filled up with zeros', () => {
    const first = plan.ramdisk?.pfn ?? 0;
    expect(memory.frame(p2m[first])).toEqual(ramdisk.subarray(0, PAGE_SIZE));
    expect(memory.frame(p2m[first + 1]).subarray(0, 904)).toEqual(ramdisk.subarray(PAGE_SIZE));
    expect(
      memory
        .frame(p2m[first + 1])
        .subarray(904)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it('lists every table once, and each points only to tables one level below', () => {
    const levelOf = new Map(entry.tables.map(({ mfn, level }) => [mfn, level]));
    expect(levelOf.size).toBe(entry.tables.length);
    expect(entry.tables[0]).toMatchObject({ level: 4, mfn: entry.cr3 });
    const reached = new Set([entry.cr3]);
    for (const { mfn: table, level } of entry.tables.filter(({ level }) => level > 1)) {
      for (let index = 0; index < 512; index++) {
        const value = memory.entry(table, index);
        if (value === 0n) continue;
        const child = Number(value >> 12n) as Mfn;
        expect(levelOf.get(child)).toBe(level - 1);
        reached.add(child);
      }
    }
    expect(reached.size).toBe(entry.tables.length);
  });
});

describe('a kernel with a hypercall page and everything in one mapping', () => {
  const segments = [{ type: PT_LOAD, data: new Uint8Array(0x3000).fill(7), vaddr: 0n, memsz: 0x3000n }];
  const notes = { VIRT_BASE: 0n, ENTRY: 0n, HYPERCALL_PAGE: 0x1000n, INIT_P2M: null, MOD_START_PFN: null };
  const built = build(readKernelImage(testKernel({ segments, notes })), { memoryPages: 16 * MB, ramdisk });

  it('finds the stubs in the page, and its own bytes beside it', () => {
    expect(read(built, 0x1000n, PAGE_SIZE)).toEqual(hypercallPage64());
    expect(read(built, 0xfffn, 1)).toEqual(Uint8Array.of(7));
    expect(read(built, 0x2000n, 1)).toEqual(Uint8Array.of(7));
  });

  it('finds ramdisk and P2M list by their virtual addresses', () => {
    const info = start_info.read(new DataView(read(built, built.entry.rsi, PAGE_SIZE).buffer), 0, 64);
    expect(info).toMatchObject({ flags: 16, first_p2m_pfn: 0n, nr_p2m_frames: 0n, mod_start: 0x3000n });
    // Of one that is mapped the length is that of its bytes.
    expect(info.mod_len).toBe(BigInt(ramdisk.length));
    expect(read(built, info.mod_start, ramdisk.length)).toEqual(ramdisk);
    expect(read(built, info.mfn_list, 2)).toEqual(Uint8Array.of(built.p2m[0] & 255, (built.p2m[0] >> 8) & 255));
  });
});

describe('the hypercall page', () => {
  it('calls with the number in EAX, and keeps RCX and R11', () => {
    const page = hypercallPage64();
    expect([...page.subarray(29 * 32, 29 * 32 + 14)]).toEqual([
      0x51, 0x41, 0x53, 0xb8, 29, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
    ]);
    expect([...page.subarray(23 * 32, 23 * 32 + 11)]).toEqual([0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05]);
  });
});

describe('building', () => {
  it('reaches any page of any size of memory through the tables', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.nat(400), fc.boolean(), (memory, ramdiskPages, own) => {
        const image = readKernelImage(testKernel({ notes: own ? {} : { INIT_P2M: null, MOD_START_PFN: null } }));
        const disk = new Uint8Array(ramdiskPages * PAGE_SIZE);
        const memoryPages = Math.max(memory, neededMegabytes(image, { ramdisk: disk })) * MB;
        const built = build(image, { memoryPages, ramdisk: disk });
        for (const { vaddr, pfn, pages } of built.plan.mappings) {
          for (const page of [0, pages >> 1, pages - 1]) {
            expect(walk(built, vaddr + BigInt(page) * 0x1000n)?.mfn).toBe(built.p2m[pfn + page]);
          }
        }
        expect(built.p2m.length).toBe(memoryPages);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses fewer frames than were planned', () => {
    const plan = planPvDomain(linux, { memoryPages: 32 * MB });
    const place = { p2m: scatter(100), sharedInfo: 0 as Maddr, storePort: 1 as Port, consolePort: 2 as Port };
    expect(() => buildPvDomain(plan, new Frames(), place)).toThrow('only 100 frames were given');
  });
});
