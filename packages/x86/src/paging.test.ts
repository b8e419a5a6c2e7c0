/** Code that runs in 32-bit paging without PAE (Intel SDM vol. 3, 4.3): translations, their faults, and what CR4.PSE changes. */
import { createMmu, Pte } from '@paravane/mmu';
import { domId, type Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from './assemble.js';
import { CORE_BYTES, createX86Engine } from './index.js';
import type { X86Vcpu } from './vcpu.js';

const GUEST = domId(1);
const CODE = 0x0040_0000n;
const DATA = 0xc080_1000n;
const { present: P, rw: W, user: U, pse: PS } = Pte;

function world(program: string) {
  const mmu = createMmu({ frames: 2048, coreBytes: CORE_BYTES });
  const vcpu = createX86Engine({ mmu }).createVcpu() as X86Vcpu;
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const [directory, table, code, data] = [take(), take(), take(), take()];
  const set = (to: Mfn, index: number, entry: number): void =>
    mmu.write(to, index * 4, new Uint8Array(Uint32Array.of(entry).buffer));
  const link = (va: bigint, page: Mfn, flags: number): void => {
    set(directory, Number(va >> 22n), table * 4096 + (P | W | U));
    set(table, Number((va >> 12n) & 1023n), page * 4096 + flags);
  };
  link(CODE, code, P | U);
  link(DATA, data, P | W | U);
  mmu.write(code, 0, assembleProgram(program, CODE, 32).bytes);
  vcpu.space = { root: directory, domid: GUEST, paging: '32-bit', user: true, wp: true, nxe: true, physical: null };
  vcpu.mode = 32;
  vcpu.rip = CODE;
  vcpu.regs[3] = DATA;
  return { mmu, vcpu, directory, data, set, link };
}
const u32 = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

describe('32-bit paging', () => {
  it('runs code and reaches data', () => {
    const { mmu, vcpu, data } = world('mov dword [ebx+8], 0x12345678\nmov eax, [ebx+8]\nhlt');
    expect(vcpu.run(10)).toMatchObject({ reason: 'privileged' });
    expect(vcpu.regs[0]).toBe(0x12345678n);
    expect(u32(mmu.read(data, 8, 4))).toBe(0x12345678);
  });
  it('reports a page fault with its address and what was tried', () => {
    const { vcpu, link, data, mmu } = world('mov [ebx+4], eax');
    link(DATA, data, P | U);
    expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 14, errorCode: 7, address: DATA + 4n });
    link(DATA, data, 0);
    mmu.tlb.flushAll();
    vcpu.rip = CODE;
    expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 14, errorCode: 6, address: DATA + 4n });
  });
  it('follows CR4.PSE with the next instruction', () => {
    const { mmu, vcpu, directory, set } = world('mov eax, [ebx]');
    // As a table, frame 1024 says that the page is frame 1026; as a page of 4 MiB it is that page's second frame.
    while (mmu.frames.freeCount > 0) mmu.frames.allocate(GUEST);
    const [as, page] = [1024 as Mfn, 1026 as Mfn];
    set(directory, Number(DATA >> 22n), as * 4096 + (P | W | U | PS));
    set(as, Number((DATA >> 12n) & 1023n), page * 4096 + (P | W | U));
    mmu.write(page, 0, Uint8Array.of(0x11, 0, 0, 0));
    mmu.write(1025 as Mfn, 0, Uint8Array.of(0x22, 0, 0, 0));
    const read = (pse: boolean): bigint => {
      vcpu.space = { ...vcpu.space, pse };
      vcpu.rip = CODE;
      expect(vcpu.run(1).reason).toBe('budget');
      return vcpu.regs[0]!;
    };
    expect([read(false), read(true), read(false)]).toEqual([0x11n, 0x22n, 0x11n]);
  });
  it('is another address space than the same frame as the root of PAE tables', () => {
    const { vcpu } = world('mov eax, [ebx]');
    expect(vcpu.run(1).reason).toBe('budget');
    vcpu.space = { ...vcpu.space, paging: 'pae' };
    vcpu.rip = CODE;
    expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 14, errorCode: 0x14, address: CODE });
  });
});
