import { describe, expect, it } from 'vitest';
import { createTestGuest } from '../testing/test-machine.js';
import { BASELINE_FEATURES, type CpuFeatures, cpuid } from './cpuid.js';
import { narrowFeatures } from './narrow-features.js';

const [OSXSAVE, FSGSBASE] = [0x40000, 0x10000];
const ALL: CpuFeatures = {
  leaf1Edx: 0x0789c3f5,
  leaf1Ecx: 0x46d82203,
  leaf7Ebx: 0x200c0109,
  leaf7Ecx: 0,
  leaf7Edx: 0,
  extendedEdx: 0x28100800,
  extendedEcx: 0x21,
  xcr0: 3,
  leafD1Eax: 5,
};
/** What a guest of these features gets of CR4 when it asks for both. */
function cr4Of(features: CpuFeatures): number {
  const guest = createTestGuest({ features });
  guest.core.regs[0] = BigInt(0x660 | OSXSAVE | FSGSBASE);
  guest.privileged({ mnemonic: 'MOV_TO_CR', register: 4, gpr: 0, length: 3 });
  return guest.core.cr4 & (OSXSAVE | FSGSBASE);
}

describe('narrowFeatures', () => {
  it('takes away what is named and no more', () => {
    expect(narrowFeatures(ALL, ['rdrand', 'sha'])).toEqual({ ...ALL, leaf1Ecx: 0x06d82203, leaf7Ebx: 0x000c0109 });
    expect(narrowFeatures(ALL, ['avx2', 'no such feature'])).toEqual(ALL);
    expect(narrowFeatures(ALL, [])).toEqual(ALL);
  });
  it('takes away what needs it, as Xen does', () => {
    // SSSE3, SSE4.1 and SSE4.2; not POPCNT.
    expect(narrowFeatures(ALL, ['ssse3']).leaf1Ecx).toBe(ALL.leaf1Ecx & ~0x180200);
    expect(narrowFeatures(ALL, ['sse2'])).toMatchObject({
      leaf7Ebx: ALL.leaf7Ebx & ~(1 << 29),
      extendedEdx: 0x08100800,
    });
  });
  it('of XSAVE takes the state components and the leaf', () => {
    const features = narrowFeatures(ALL, ['xsave']);
    expect(features).toMatchObject({ xcr0: 0, leafD1Eax: 0 });
    const { vcpu } = createTestGuest({ features });
    expect(cpuid(vcpu, 0, 0)[0]).toBe(7);
    expect(cpuid(vcpu, 1, 0)[2] & 0x0c00_0000).toBe(0);
    expect(cpuid(vcpu, 0xd, 0)).toEqual([0, 0, 0, 0]);
  });
  it('comes from all features to the least that 64-bit kernels take', () => {
    const names = 'sse3 cmpxchg16 movbe popcnt rdrand xsave fsgsbase bmi1 bmi2 rdseed adx rdtscp abm lahfsahf';
    const least = narrowFeatures(ALL, names.split(' '));
    expect({ ...least, leafD1Eax: 0 }).toEqual({
      ...BASELINE_FEATURES,
      leaf1Ecx: 2 | (1 << 25),
      leaf7Ebx: 1 << 29,
      extendedEcx: 0,
      leafD1Eax: 0,
    });
  });
});

describe('a guest of a narrowed CPUID', () => {
  it('cannot enable what is hidden, whose instructions are undefined then', () => {
    expect(cr4Of(ALL)).toBe(OSXSAVE | FSGSBASE);
    expect(cr4Of(narrowFeatures(ALL, ['xsave']))).toBe(FSGSBASE);
    expect(cr4Of(narrowFeatures(ALL, ['fsgsbase']))).toBe(OSXSAVE);
  });
  it('may not write XCR0 without XSAVE', () => {
    const guest = createTestGuest({ features: narrowFeatures(ALL, ['xsave']) });
    guest.core.regs.fill(0n, 0, 3);
    guest.core.regs[0] = 3n;
    const rip = guest.core.rip;
    guest.privileged({ mnemonic: 'XSETBV', length: 3 });
    expect(guest.core.rip).not.toBe(rip + 3n);
  });
});
