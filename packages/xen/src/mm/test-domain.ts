/** For tests: a machine with domains that have memory and tables but no CPU. */
import { type Exit, PERSONAL_BYTES, type VcpuCore } from '@paravane/engine-api';
import { type AddressSpace, createMmu, emptySpace, FrameFlag, FrameType, type Mmu, Pte } from '@paravane/mmu';
import { type DomId, domId, type Maddr, type Mfn } from '@paravane/types';
import type { HypercallHandler, XenDomain, XenMachine, XenVcpu } from '../domain.js';
import { PersonalFields } from '../personal.js';
import { isXenSlot } from './page-type.js';
import { initialTables } from './roots.js';
import { allocatePage, createMm, createVcpuMm } from './state.js';

export interface TestMachine {
  readonly mmu: Mmu;
  readonly machine: XenMachine;
  domain(id: number, maxPages: number): TestDomain;
}

export interface TestDomain {
  readonly domain: XenDomain;
  readonly vcpu: XenVcpu;
  /** Machine frames in the order they were allocated: the domain's pfns. */
  readonly frames: Mfn[];
  crashes: string[];
  /** Builds tables that map `pages` pages at `BASE`, the tables themselves read-only, and loads them. */
  boot(pages: number): void;
  /** Frame of the table of each level on the way to `va`, L4 first. */
  path(va: bigint): Mfn[];
  call(handler: HypercallHandler, ...args: (bigint | number)[]): bigint | number;
  /** Address in guest memory of fresh scratch bytes holding these 64-bit words. */
  put(...words: bigint[]): bigint;
  peek(va: bigint): bigint;
  /** Calls made again because of pre-emption, in the last `call`. */
  reissued: number;
}

export const BASE = 0xffff_8880_0000_0000n;
export const vaOf = (pfn: number): bigint => BASE + BigInt(pfn * 4096);
export const pte = (mfn: number, flags: number): bigint => (BigInt(mfn) << 12n) | BigInt(flags);
export const RO = Pte.present | Pte.user | Pte.accessed | Pte.dirty;
export const RW = RO | Pte.rw;
/** Scratch space for arguments: these pages stay mapped writable. */
const SCRATCH_PFN = 8;
const SCRATCH_PAGES = 8;

export function createTestMachine(frames: number): TestMachine {
  const mmu = createMmu({ frames, coreBytes: 0x80000 });
  const domains = new Map<number, XenDomain>();
  const machine = {
    mmu,
    services: { now: () => 0 },
    domain: (id: number) => domains.get(id),
    domains: () => domains.values(),
  } as unknown as XenMachine;
  return {
    mmu,
    machine,
    domain(id, maxPages) {
      const made = createTestDomain(machine, domId(id), maxPages);
      domains.set(id, made.domain);
      return made;
    },
  };
}

function createTestDomain(machine: XenMachine, id: DomId, maxPages: number): TestDomain {
  const { mmu } = machine;
  const crashes: string[] = [];
  const vcpus: XenVcpu[] = [];
  const domain = {
    id,
    machine,
    mmu,
    is64: true,
    privileged: false,
    maxPages,
    totPages: 0,
    vcpus,
    vmAssist: 0,
    m2pStrict: false,
    sharedInfo: 0,
    dying: false,
    crash: (reason: string) => void crashes.push(reason),
    trace: null,
  } as unknown as XenDomain;
  (domain as { mm: unknown }).mm = createMm(domain);
  const spaces = [emptySpace(id), emptySpace(id)];
  const core: VcpuCore = {
    regs: new BigUint64Array(16),
    selectors: new Uint16Array(6),
    rip: 0n,
    rflags: 2,
    spaces,
    activeSpace: 0,
    get space(): AddressSpace {
      return spaces[core.activeSpace]!;
    },
    personal: new DataView(new ArrayBuffer(PERSONAL_BYTES)),
    debugTrap: () => 0,
    runEmulatingStore: (): Exit | null => null,
  } as unknown as VcpuCore;
  const fields = { id: 0, domain, kernelRoot: 0, userRoot: 0, mm: createVcpuMm() };
  const vcpu = Object.assign(new PersonalFields(core), fields) as unknown as XenVcpu;
  vcpus.push(vcpu);
  const frames: Mfn[] = [];
  let scratch = 0;

  const test: TestDomain = {
    domain,
    vcpu,
    frames,
    crashes,
    reissued: 0,
    boot(pages) {
      for (let pfn = 0; pfn < pages; pfn++) frames.push(allocatePage(domain) as Mfn);
      const tables: Mfn[] = [];
      const table = (): Mfn => {
        const mfn = allocatePage(domain) as Mfn;
        tables.push(mfn);
        return mfn;
      };
      const l4 = table();
      const l3 = table();
      const link = (from: Mfn, index: number, to: Mfn, flags: number): void =>
        mmu.writeU64((from * 4096 + index * 8) as Maddr, pte(to, flags));
      link(l4, Number((BASE >> 39n) & 511n), l3, RW);
      const l1s: Mfn[] = [];
      // The tables' own pages follow the others, mapped read-only.
      let l2: Mfn = 0 as Mfn;
      for (let n = 0; n * 512 < pages + 32 + pages / 256; n++) {
        if (n % 512 === 0) link(l3, n / 512, (l2 = table()), RW);
        const l1 = table();
        l1s.push(l1);
        link(l2, n % 512, l1, RW);
      }
      frames.forEach((mfn, pfn) => {
        link(l1s[pfn >> 9]!, pfn & 511, mfn, RW);
      });
      tables.forEach((mfn, i) => {
        const pfn = pages + i;
        link(l1s[pfn >> 9]!, pfn & 511, mfn, RO);
        frames.push(mfn);
      });
      const rc = initialTables(domain, l4);
      if (rc !== 0) throw new Error(`the test's own tables were refused: ${rc}`);
    },
    path(va) {
      const way: Mfn[] = [vcpu.kernelRoot];
      for (let shift = 39n; shift > 12n; shift -= 9n) {
        const entry = mmu.readU64((way.at(-1)! * 4096 + Number((va >> shift) & 511n) * 8) as Maddr);
        way.push(Number((entry >> 12n) & 0xffffffffffn) as Mfn);
      }
      return way;
    },
    call(handler, ...args) {
      let now = [0, 1, 2, 3, 4, 5].map((i) => BigInt.asUintN(64, BigInt(args[i] ?? 0)));
      for (test.reissued = 0; test.reissued < 1_000_000; test.reissued++) {
        const result = handler(vcpu, now);
        if (typeof result !== 'object') return result;
        now = result.args;
      }
      throw new Error('a hypercall was re-issued without end');
    },
    put(...words) {
      if (scratch + words.length > (SCRATCH_PAGES * 4096) / 8) scratch = 0;
      const va = vaOf(SCRATCH_PFN) + BigInt(scratch * 8);
      scratch += words.length;
      words.forEach((word, i) => {
        const at = va + BigInt(i * 8);
        const pfn = Number((at - BASE) >> 12n);
        mmu.writeU64((frames[pfn]! * 4096 + Number(at & 0xfffn)) as Maddr, BigInt.asUintN(64, word));
      });
      return va;
    },
    peek(va) {
      const maddr = mmu.translate(vcpu.core.space, va);
      if (maddr === null) throw new Error(`nothing at ${va.toString(16)}`);
      return mmu.readU64(maddr);
    },
  };
  return test;
}

/**
 * Checks the books of the whole machine against its tables: counts of references and types
 * as the present entries of validated tables, pins, roots and allocations make them, and
 * that no entry leads where it may not. Returns what is wrong.
 */
export function audit(machine: XenMachine): string[] {
  const { mmu } = machine;
  const { frames } = mmu;
  const { u32, frameBase } = mmu.machine;
  const refs = new Map<number, number>();
  const types = new Map<number, number>();
  const wrong: string[] = [];
  const ref = (mfn: number, typed: boolean): void => {
    refs.set(mfn, (refs.get(mfn) ?? 0) + 1);
    if (typed) types.set(mfn, (types.get(mfn) ?? 0) + 1);
  };
  for (const domain of machine.domains()) {
    const { mm } = domain;
    for (const mfn of mm.deferred) ref(mfn, true);
    for (const vcpu of domain.vcpus) {
      for (const mfn of [vcpu.kernelRoot, vcpu.userRoot]) if (mfn !== 0) ref(mfn, true);
      for (const mfn of [...vcpu.mm.gdtFrames, ...vcpu.mm.ldtFrames.values(), ...vcpu.mm.ahead]) ref(mfn, true);
    }
    for (let mfn = 1; mfn < frames.frames; mfn++) {
      if (frames.owner[mfn] !== domain.id) continue;
      if (mm.machine.shared[mfn]) ref(mfn, true);
      if (frames.flags[mfn]! & FrameFlag.allocated) ref(mfn, false);
      if (frames.flags[mfn]! & FrameFlag.pinned) ref(mfn, true);
      const level = frames.type[mfn]!;
      if (level < FrameType.l1 || level > FrameType.l4 || frames.typeCount[mfn] === 0) continue;
      for (let i = 0; i < 512; i++) {
        if (isXenSlot(mm, mfn, level, i)) continue;
        const word = (frameBase + mfn * 4096 + i * 8) >>> 2;
        const entry = u32[word]!;
        if (!(entry & 1)) continue;
        const to = (u32[word + 1]! & 0xfffff) * 0x100000 + (entry >>> 12);
        if (!(to > 0 && to < frames.frames)) wrong.push(`entry ${i} of ${mfn} leads to ${to}`);
        else if (frames.owner[to] !== domain.id) wrong.push(`entry ${i} of ${mfn} leads to ${to} of another owner`);
        if (to !== mfn || level === 1) ref(to, level > 1 || (entry & 2) !== 0);
        if (level > 1 && frames.type[to] !== level - 1 && frames.type[to] !== level) {
          wrong.push(`entry ${i} of ${mfn} (L${level}) leads to ${to} of type ${frames.type[to]}`);
        }
      }
    }
  }
  for (let mfn = 1; mfn < frames.frames; mfn++) {
    if (!machine.domain(frames.owner[mfn]!)) continue;
    if (frames.refCount[mfn] !== (refs.get(mfn) ?? 0)) {
      wrong.push(`frame ${mfn} has ${frames.refCount[mfn]} references, not ${refs.get(mfn) ?? 0}`);
    }
    if (frames.typeCount[mfn] !== (types.get(mfn) ?? 0)) {
      wrong.push(
        `frame ${mfn} has ${frames.typeCount[mfn]} uses as type ${frames.type[mfn]}, not ${types.get(mfn) ?? 0}`,
      );
    }
  }
  return wrong;
}
