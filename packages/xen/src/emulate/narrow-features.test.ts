import { hypercall } from '@paravane/abi-xen';
import { createMmu } from '@paravane/mmu';
import { CORE_BYTES, createX86Engine } from '@paravane/x86';
import { describe, expect, it } from 'vitest';
import { createTestGuest, createTestHypervisor } from '../testing/test-machine.js';
import { BASELINE_FEATURES, type CpuFeatures, cpuid } from './cpuid.js';
import { narrowFeatures } from './narrow-features.js';
import { setGuestCr4 } from './privileged.js';

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

/** The vector that an instruction of a kernel on the real core raises after it has asked for all of CR4, or `done`. */
function onRealCore(hidden: readonly string[]): (...code: number[]) => number | string {
  const mmu = createMmu({ frames: 4096, coreBytes: CORE_BYTES });
  const machine = createTestHypervisor({ mmu, engine: createX86Engine({ mmu }) });
  const guest = createTestGuest({ features: narrowFeatures(ALL, hidden) }, machine);
  const { core, vcpu } = guest;
  const { address, frame } = guest.page();
  setGuestCr4(vcpu, 0x660 | OSXSAVE | FSGSBASE);
  return (...code) => {
    mmu.write(frame as never, 0, Uint8Array.from(code));
    core.rip = address;
    core.regs.fill(0n, 0, 4);
    const { reason, vector } = core.run(1);
    return reason === 'exception' ? vector : reason === 'budget' ? 'done' : reason;
  };
}

describe('instructions of a guest of a narrowed CPUID', () => {
  const XGETBV = [0x0f, 0x01, 0xd0];
  const RDFSBASE = [0xf3, 0x48, 0x0f, 0xae, 0xc0];
  /** RDRAND, POPCNT, ANDN, AESENC, PSHUFB, SHA1NEXTE, LZCNT. */
  const OTHERS = [
    [0x0f, 0xc7, 0xf0],
    [0xf3, 0x0f, 0xb8, 0xc1],
    [0xc4, 0xe2, 0x78, 0xf2, 0xc1],
    [0x66, 0x0f, 0x38, 0xdc, 0xc1],
    [0x66, 0x0f, 0x38, 0x00, 0xc1],
    [0x0f, 0x38, 0xc8, 0xc1],
    [0xf3, 0x0f, 0xbd, 0xc1],
  ];
  it('are undefined where CR4 enables them', () => {
    const all = onRealCore([]);
    expect([all(...XGETBV), all(...RDFSBASE)]).toEqual(['done', 'done']);
    const none = onRealCore(['xsave', 'fsgsbase']);
    expect([none(...XGETBV), none(...RDFSBASE)]).toEqual([6, 6]);
  });
  it('run on elsewhere, as nothing on a processor could forbid them', () => {
    const none = onRealCore(['rdrand', 'popcnt', 'bmi1', 'aes', 'ssse3', 'sha', 'abm', 'xsave']);
    expect(OTHERS.map((code) => none(...code))).toEqual(OTHERS.map(() => 'done'));
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

describe('IA32_TSC_AUX', () => {
  const TSC_AUX = 0xc0000103n;
  const KERNEL = 0xffffffff80000100n;
  const HANDLER = 0xffffffff80001000n;
  /** Whether RDMSR, WRMSR, and RDTSCP with CR4.TSD are carried out for a kernel of these features. */
  function allowed(features: CpuFeatures): boolean[] {
    const guest = createTestGuest({ features });
    const { core } = guest;
    guest.call(hypercall.set_trap_table, guest.put(13n | (0xe033n << 16n), HANDLER, 0, 0));
    core.regs[4] = guest.page().address + 4096n;
    const isDone = (instruction: () => void): boolean => {
      core.rip = KERNEL;
      core.regs[1] = TSC_AUX;
      core.regs[0] = 77n;
      core.regs[2] = 0n;
      instruction();
      return core.rip !== HANDLER;
    };
    setGuestCr4(guest.vcpu, 4);
    return [
      isDone(() => guest.privileged({ mnemonic: 'RDMSR', length: 2 })),
      isDone(() => guest.privileged({ mnemonic: 'WRMSR', length: 2 })),
      isDone(() => {
        core.rip = guest.putBytes(Uint8Array.of(0x0f, 0x01, 0xf9));
        guest.exit({ reason: 'exception', vector: 13, errorCode: 0 });
      }),
    ];
  }
  it('is there with RDTSCP or RDPID, and not without', () => {
    expect(allowed(ALL)).toEqual([true, true, true]);
    const without = narrowFeatures(ALL, ['rdtscp']);
    expect(without.extendedEdx).toBe(ALL.extendedEdx & ~(1 << 27));
    expect(allowed(without)).toEqual([false, false, false]);
    expect(allowed({ ...without, leaf7Ecx: 1 << 22 })).toEqual([true, true, true]);
  });
});
