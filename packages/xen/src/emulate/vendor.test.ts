/** Where AMD's processors and Intel's differ in what Xen's part of the core decides: the side of the one that CPUID shows. */
import { hypercall } from '@paravane/abi-xen';
import { Flag } from '@paravane/engine-api';
import { Pte } from '@paravane/mmu';
import { describe, expect, it } from 'vitest';
import { compatImage } from '../testing/compat-image.js';
import { createTestGuest, type TestGuest } from '../testing/test-machine.js';

function cpuid(guest: TestGuest, leaf: number, subLeaf = 0): number[] {
  const { regs } = guest.core;
  regs[0] = BigInt(leaf);
  regs[1] = BigInt(subLeaf);
  guest.exit({ reason: 'cpuid', length: 2 });
  return [0, 3, 1, 2].map((register) => Number(regs[register]));
}

describe('CPUID', () => {
  it('names the vendor in both ranges', () => {
    const guest = createTestGuest();
    const name = [0x68747541, 0x444d4163, 0x69746e65];
    for (const leaf of [0, 0x80000000]) expect(cpuid(guest, leaf).slice(1)).toEqual(name);
  });

  it('has nothing in leaves that are Intel’s alone or beyond the last one', () => {
    const guest = createTestGuest();
    const [highest] = cpuid(guest, 0) as [number];
    for (const leaf of [2, 4, 0xa, highest + 1, 0x1f, 0x3fffffff]) expect(cpuid(guest, leaf)).toEqual([0, 0, 0, 0]);
    const [last] = cpuid(guest, 0x80000000) as [number];
    for (const leaf of [last + 1, 0x8fffffff]) expect(cpuid(guest, leaf)).toEqual([0, 0, 0, 0]);
  });

  it('says that LFENCE waits and that a null selector clears the base, which it does', () => {
    const guest = createTestGuest();
    expect(cpuid(guest, 0x80000021)[0]! & 0x44).toBe(0x44);
    guest.core.fsBase = 0x1234n;
    guest.privileged({ mnemonic: 'LOAD_SEGMENT', register: 4, selector: 0, length: 2 });
    expect(guest.core.fsBase).toBe(0n);
  });
});

describe('in long mode', () => {
  /** Descriptors of each type of system segments and gates, not present, DPL 3. */
  const system = Array.from({ length: 16 }, (_, type) => 0x40n | (BigInt(0x60 | type) << 40n));

  it.each([
    ['LAR', [2, 9, 0xb, 0xc]],
    ['LSL', [2, 9, 0xb]],
    ['VERR', []],
    ['VERW', []],
  ] as const)('%s knows LDT, TSS and call gate, and none of 16 bits, nor task gates', (mnemonic, known) => {
    const guest = createTestGuest({ image: compatImage() });
    const { address, frame } = guest.page();
    guest.hypervisor.mmu.write(frame as never, 8, new Uint8Array(BigUint64Array.from(system).buffer));
    expect(guest.call(hypercall.update_va_mapping, address, (frame << 12) | Pte.present, 0, 2)).toBe(0n);
    expect(guest.call(hypercall.set_gdt, guest.put(frame), 512)).toBe(0n);
    guest.core.selectors[1] = 0xe01b;
    const found = system.flatMap((_, type) => {
      guest.privileged({ mnemonic, selector: 8 * (type + 1) + 3, gpr: 0, width: 32, length: 3 });
      return guest.core.rflags & Flag.ZF ? [type] : [];
    });
    expect(found).toEqual(known);
  });

  it('SYSENTER and SYSEXIT are undefined in programs', () => {
    for (const mnemonic of ['SYSENTER', 'SYSEXIT'] as const) {
      const guest = createTestGuest();
      const handler = 0xffffffff80001000n;
      guest.call(hypercall.set_trap_table, guest.put(6n | (0xe033n << 16n), handler, 0, 0));
      guest.core.regs[4] = guest.page().address + 4096n;
      guest.privileged({ mnemonic });
      expect([mnemonic, guest.core.rip]).toEqual([mnemonic, handler]);
    }
  });
});
