import { hypercall } from '@paravane/abi-xen';
import type { Maddr } from '@paravane/types';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createTestGuest } from '../testing/test-machine.js';
import { descriptor, segmentOf } from './segments.js';

const anyDescriptor = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

it('the hidden part of a register is what the descriptor scatters', () => {
  fc.assert(
    fc.property(anyDescriptor, (value) => {
      const limit = Number((value & 0xffffn) | ((value >> 32n) & 0xf0000n));
      expect(segmentOf(value)).toEqual({
        base: ((value >> 16n) & 0xffffffn) | ((value >> 32n) & 0xff000000n),
        limit: (value >> 55n) & 1n ? limit * 4096 + 4095 : limit,
        rights: Number((value >> 40n) & 0xf0ffn),
      });
    }),
  );
});

it('a descriptor is as the table has it now, also where another or none was there', () => {
  const guest = createTestGuest();
  const { mmu } = guest.hypervisor;
  const gdt = guest.page();
  expect(guest.call(hypercall.update_va_mapping, gdt.address, (gdt.frame << 12) | 5, 0, 2)).toBe(0n);
  expect(guest.call(hypercall.set_gdt, guest.put(gdt.frame), 64)).toBe(0n);
  const change = fc.tuple(fc.integer({ min: 1, max: 63 }), fc.oneof(anyDescriptor, fc.constantFrom(0n, 0xffffffffn)));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      for (const [index, value] of changes) {
        mmu.writeU64((gdt.frame * 4096 + index * 8) as Maddr, value);
        for (const asked of [index, index ^ 16]) {
          const there = asked === 0 ? null : mmu.readU64((gdt.frame * 4096 + asked * 8) as Maddr);
          expect(descriptor(guest.vcpu, asked * 8 + 3)).toBe(there);
        }
      }
    }),
  );
});
