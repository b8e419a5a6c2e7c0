/** A machine without a hypervisor: flat page tables for the areas of a workload, and one vCPU in them. */
import type { VcpuCore } from '@paravane/engine-api';
import { createMmu, Pte } from '@paravane/mmu';
import type { DomId, Maddr, Mfn } from '@paravane/types';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { CODE, DATA, EXIT, STACK_BYTES, STACK_TOP, type Workload } from './workload.js';

const GUEST = 1 as DomId;
const PAGE = 4096;
/** Instructions that the core runs between two looks at the world, as under the hypervisor. */
const SLICE = 1_000_000;

export interface BenchmarkMachine {
  readonly vcpu: VcpuCore;
  /** Puts the entry registers, stack and data back. */
  reset(): void;
  /** Sets the entry registers and stack only. */
  enter(): void;
  /** Runs until the code has returned. */
  finish(): void;
  data(): Uint8Array;
  stats(): Record<string, number>;
}

/** The interpreter alone, or with hot code compiled. */
export type Core = 'interpreter' | 'compiler';

export function createBenchmarkMachine(workload: Workload, core: Core = 'interpreter'): BenchmarkMachine {
  const pages = (bytes: number): number => Math.ceil(bytes / PAGE);
  const total = pages(workload.code.length) + pages(workload.dataBytes) + pages(STACK_BYTES) + 1;
  const mmu = createMmu({ frames: total + pages(total * 8) + 64, coreBytes: CORE_BYTES });
  const options = { mmu, jit: core === 'compiler' };
  const engine = createX86Engine(options);
  const vcpu = engine.createVcpu();
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const tables = BigInt(Pte.present | Pte.rw | Pte.user);
  const entry = (table: Mfn, index: number): Maddr => (table * PAGE + index * 8) as Maddr;
  const below = (table: Mfn, index: number): Mfn => {
    const at = entry(table, index);
    if (mmu.readU64(at) === 0n) mmu.writeU64(at, (BigInt(take()) << 12n) | tables);
    return Number(mmu.readU64(at) >> 12n) as Mfn;
  };
  const root = take();
  const map = (address: number, bytes: number): Mfn[] =>
    Array.from({ length: pages(bytes) }, (_, i) => {
      const va = address + i * PAGE;
      const l1 = below(below(below(root, 0), va >>> 30), (va >>> 21) & 511);
      const mfn = take();
      mmu.writeU64(entry(l1, (va >>> 12) & 511), (BigInt(mfn) << 12n) | tables);
      return mfn;
    });
  const fill = (frames: Mfn[], bytes: Uint8Array): void =>
    frames.forEach((mfn, i) => {
      const page = new Uint8Array(PAGE);
      page.set(bytes.subarray(i * PAGE, (i + 1) * PAGE));
      mmu.write(mfn, 0, page);
    });
  fill(map(CODE, workload.code.length), workload.code);
  const data = map(DATA, workload.dataBytes);
  const stack = map(STACK_TOP - STACK_BYTES, STACK_BYTES);
  fill(map(EXIT, 1), Uint8Array.of(0xcc));
  vcpu.space = { root, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
  vcpu.cr0 = 0x80050033;
  vcpu.cr4 = 0x620;

  function enter(): void {
    vcpu.regs.fill(0n);
    for (const [register, value] of Object.entries(workload.regs)) vcpu.regs[Number(register)] = value!;
    vcpu.regs[4] = BigInt(STACK_TOP - 8);
    vcpu.rip = BigInt(CODE + workload.entry);
    vcpu.rflags = 2;
    mmu.writeU64((stack.at(-1)! * PAGE + PAGE - 8) as Maddr, BigInt(EXIT));
  }
  return {
    vcpu,
    enter,
    reset() {
      fill(data, workload.data);
      fill(stack, new Uint8Array());
      enter();
    },
    finish() {
      for (;;) {
        const exit = vcpu.run(SLICE);
        if (exit.reason === 'budget' || (exit.reason === 'syscall' && workload.syscalls)) continue;
        if (exit.reason === 'interrupt' && vcpu.rip === BigInt(EXIT + 1)) return;
        const at = vcpu.rip;
        const { text } = engine.disassemble(vcpu, at);
        throw new Error(
          `${workload.name} stopped at ${at.toString(16)} (${text}): ${exit.reason}, vector ${exit.vector}, address ${exit.address.toString(16)}`,
        );
      }
    },
    data() {
      const bytes = new Uint8Array(workload.dataBytes);
      data.forEach((mfn, i) => bytes.set(mmu.read(mfn, 0, Math.min(PAGE, bytes.length - i * PAGE)), i * PAGE));
      return bytes;
    },
    stats: () => engine.stats(),
  };
}
