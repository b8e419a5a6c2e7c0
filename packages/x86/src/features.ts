/**
 * What CPUID may say of this core: the instructions of the table, in CPUID's own feature words (Intel SDM vol. 2,
 * CPUID; AMD APM vol. 3, appendix E). A personality takes away what its guests are not to use.
 */

/** Bits by their position in a feature word. */
const word = (...bits: number[]): number => bits.reduce((sum, bit) => sum | (1 << bit), 0) >>> 0;

export const CORE_FEATURES = {
  /** FPU DE TSC MSR PAE MCE CX8 APIC MCA CMOV PAT CLFSH MMX FXSR SSE SSE2. */
  leaf1Edx: word(0, 2, 4, 5, 6, 7, 8, 9, 14, 15, 16, 19, 23, 24, 25, 26),
  /** SSE3 PCLMULQDQ SSSE3 CMPXCHG16B SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE RDRAND. */
  leaf1Ecx: word(0, 1, 9, 13, 19, 20, 22, 23, 25, 26, 30),
  /**
   * FSGSBASE BMI1 BMI2 RDSEED ADX SHA. Not ERMS: REP MOVSB is as fast as any REP here, but a repetition counts as an
   * instruction, and eight times as many make eight times the guest's time.
   */
  leaf7Ebx: word(0, 3, 8, 18, 19, 29),
  leaf7Ecx: 0,
  /** SERIALIZE: Linux patches its code by the ten thousand, and has IRET for this where there is no such instruction. */
  leaf7Edx: word(14),
  /** SYSCALL NX RDTSCP LM. */
  extendedEdx: word(11, 20, 27, 29),
  /** LAHF_LM LZCNT. */
  extendedEcx: word(0, 5),
  /** x87, SSE. */
  xcr0: word(0, 1),
  /** XSAVEOPT, XGETBV with ECX = 1. */
  leafD1Eax: word(0, 2),
} as const;
