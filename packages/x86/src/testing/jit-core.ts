/** Machines on which tests hold compiled code against the interpreter. */
import type { VcpuCore } from '@paravane/engine-api';
import { createMmu, Pte } from '@paravane/mmu';
import type { DomId, Maddr, Mfn } from '@paravane/types';
import { CORE_BYTES, createX86Engine, type EngineOptions } from '../index.js';

const GUEST = 1 as DomId;
export const CODE = 0x400000n;
export const DATA = 0x600000n;
export const DATA_PAGES = 64;

/** An engine with a flat machine: pages of code at `CODE`, of data at `DATA`. */
export function createCore(jit: boolean, codePages = 1, options: Partial<EngineOptions> = {}) {
  const mmu = createMmu({ frames: 128, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu, jit, compileAfter: 0, ...options });
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const [root, l3, l2] = [take(), take(), take()];
  const bits = BigInt(Pte.present | Pte.rw | Pte.user);
  const set = (table: Mfn, index: number, mfn: Mfn): void =>
    mmu.writeU64((table * 4096 + index * 8) as Maddr, (BigInt(mfn) << 12n) | bits);
  const codeFrames: Mfn[] = [];
  set(root, 0, l3);
  set(l3, 0, l2);
  for (const [base, pages] of [
    [CODE, codePages],
    [DATA, DATA_PAGES],
  ] as const) {
    const l1 = take();
    set(l2, Number(base >> 21n), l1);
    for (let i = 0; i < pages; i++) {
      const mfn = take();
      set(l1, (Number(base >> 12n) & 511) + i, mfn);
      if (base === CODE) codeFrames.push(mfn);
    }
  }
  const vcpu = engine.createVcpu();
  vcpu.space = { root, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
  return { mmu, engine, vcpu, codeFrames };
}

export const state = (vcpu: VcpuCore): unknown => [
  [...vcpu.regs],
  vcpu.rip,
  vcpu.rflags,
  vcpu.count,
  vcpu.readFxState(),
];
