/** A vCPU in 64-bit mode with a page of code, and two pages of data that are also its stack. */
import { createMmu, Pte } from '@paravane/mmu';
import type { DomId, Maddr, Mfn } from '@paravane/types';
import { CORE_BYTES, createX86Engine } from '../index.js';
import type { X86Vcpu } from '../vcpu.js';

const GUEST = 1 as DomId;
export const CODE = 0x400000n;
export const DATA = 0x500000n;
export const DATA_BYTES = 8192;

export function createCore() {
  const mmu = createMmu({ frames: 64, coreBytes: CORE_BYTES });
  const engine = createX86Engine({ mmu });
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const [root, l3, l2, l1, code, ...data] = Array.from({ length: 7 }, take);
  const entry = (table: Mfn, index: bigint, mfn: Mfn): void =>
    mmu.writeU64(
      (table * 4096 + Number(index & 511n) * 8) as Maddr,
      (BigInt(mfn) << 12n) | BigInt(Pte.present | Pte.rw | Pte.user),
    );
  entry(root!, 0n, l3!);
  entry(l3!, 0n, l2!);
  entry(l2!, CODE >> 21n, l1!);
  entry(l2!, DATA >> 21n, l1!);
  entry(l1!, CODE >> 12n, code!);
  data.forEach((mfn, i) => entry(l1!, (DATA >> 12n) + BigInt(i), mfn));
  const createVcpu = (): X86Vcpu => {
    const vcpu = engine.createVcpu() as X86Vcpu;
    vcpu.space = { root: root!, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
    vcpu.cr0 = 0x80050033;
    vcpu.cr4 = 0x660;
    vcpu.rip = CODE;
    vcpu.regs[4] = DATA + 0x1800n;
    return vcpu;
  };
  return {
    mmu,
    engine,
    createVcpu,
    /** TLB tag of the address space in 64-bit user mode. */
    tag: (): bigint => BigInt(mmu.tlb.tag(root!, 1 | 4 | 8)),
    writeCode: (bytes: Uint8Array, at = 0): void => mmu.write(code!, at, bytes),
    writeData: (bytes: Uint8Array): void =>
      data.forEach((mfn, i) => mmu.write(mfn, 0, bytes.subarray(i * 4096, i * 4096 + 4096))),
    readData: (): Uint8Array => Uint8Array.from(data.flatMap((mfn) => [...mmu.read(mfn, 0, 4096)])),
  };
}
