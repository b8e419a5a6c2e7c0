/**
 * Features of processors: the names that xl.cfg(5) gives them, their bits in CPUID's words
 * (public/arch-x86/cpufeatureset.h), and which of them make no sense without which others (xen/tools/gen-cpuid.py).
 */

/** A word of CPUID: leaf, sub-leaf where it matters, register. */
export type CpuFeatureWord =
  | 'leaf1Edx'
  | 'leaf1Ecx'
  | 'leaf7Ebx'
  | 'leaf7Edx'
  | 'extendedEdx'
  | 'extendedEcx'
  | 'leafD1Eax';

export interface CpuFeatureBit {
  readonly word: CpuFeatureWord;
  readonly bit: number;
}

/** By word, names at their bits; those that have two are separated by a stroke. */
const NAMES: Readonly<Record<CpuFeatureWord, string>> = {
  leaf1Edx: `fpu:0 vme:1 de:2 pse:3 tsc:4 msr:5 pae:6 mce:7 cmpxchg8:8 apic:9 sysenter:11 mtrr:12 pge:13 mca:14 cmov:15
    pat:16 pse36:17 psn:18 clfsh:19 ds:21 acpi:22 mmx:23 fxsr:24 sse:25 sse2:26 ss:27 htt:28 tm:29 ia64:30 pbe:31`,
  leaf1Ecx: `sse3:0 pclmulqdq:1 dtes64:2 monitor:3 dscpl:4 vmx:5 smx:6 est:7 tm2:8 ssse3:9 cntxid:10 fma:12 cmpxchg16:13
    xtpr:14 pdcm:15 pcid:17 dca:18 sse4_1|sse4.1:19 sse4_2|sse4.2:20 x2apic:21 movbe:22 popcnt:23 tsc-deadline:24 aes:25
    xsave:26 osxsave:27 avx:28 f16c:29 rdrand:30 hypervisor:31`,
  leaf7Ebx: `fsgsbase:0 tsc_adjust:1 bmi1:3 hle:4 avx2:5 smep:7 bmi2:8 erms:9 invpcid:10 rtm:11 cmt:12 mpx:14 rdseed:18
    adx:19 smap:20 clflushopt:23 clwb:24 sha:29`,
  leaf7Edx: `avx512-4vnniw:2 avx512-4fmaps:3 md-clear:10 serialize:14 cet-ibt:20 ibrsb:26 stibp:27 l1d-flush:28
    arch-caps:29 core-caps:30 ssbd:31`,
  extendedEdx: 'syscall:11 nx:20 mmxext:22 ffxsr:25 page1gb:26 rdtscp:27 lm:29 3dnowext:30 3dnow:31',
  extendedEcx: `lahfsahf:0 cmplegacy:1 svm:2 extapic:3 altmovcr8:4 abm:5 sse4a:6 misalignsse:7 3dnowprefetch:8 osvw:9
    ibs:10 xop:11 skinit:12 wdt:13 lwp:15 fma4:16 nodeid:19 tbm:21 topoext:22 perfctr_core:23 perfctr_nb:24`,
  leafD1Eax: 'xsaveopt:0 xsavec:1 xgetbv1:2 xsaves:3',
};

export const CPU_FEATURES: ReadonlyMap<string, CpuFeatureBit> = new Map(
  (Object.entries(NAMES) as [CpuFeatureWord, string][]).flatMap(([word, names]) =>
    names.split(/\s+/).flatMap((entry): [string, CpuFeatureBit][] => {
      const [alike = '', bit] = entry.split(':');
      return alike.split('|').map((name) => [name, { word, bit: Number(bit) }]);
    }),
  ),
);

/** Features that Xen hides as well where it hides this one. */
export const CPU_FEATURE_DEPENDANTS: Readonly<Record<string, readonly string[]>> = {
  fpu: ['mmx'],
  pse: ['pse36'],
  pae: ['lm', 'nx'],
  tsc: ['tsc-deadline', 'rdtscp', 'tsc_adjust'],
  apic: ['x2apic', 'tsc-deadline', 'extapic'],
  mmx: ['mmxext', '3dnow'],
  fxsr: ['ffxsr', 'sse'],
  sse: ['sse2', 'misalignsse'],
  sse2: ['sse3', 'lm', 'aes', 'pclmulqdq', 'sha'],
  sse3: ['ssse3', 'sse4a'],
  ssse3: ['sse4_1'],
  sse4_1: ['sse4_2'],
  'sse4.1': ['sse4_2'],
  xsave: ['xsaveopt', 'xsavec', 'xgetbv1', 'xsaves', 'avx', 'mpx', 'lwp'],
  avx: ['fma', 'fma4', 'f16c', 'avx2', 'xop'],
  nx: ['smap'],
  lm: ['cmpxchg16', 'pcid', 'lahfsahf', 'page1gb'],
  '3dnow': ['3dnowext'],
};
