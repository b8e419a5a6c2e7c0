/** CPUID narrowed for a guest. What CR4 enables goes with its bit; other instructions run on, as on processors. */
import { CPU_FEATURE_DEPENDANTS, CPU_FEATURES } from '@paravane/abi-xen';
import type { CpuFeatures } from './cpuid.js';

/** `features` without those named, by xl's names, and without what Xen hides with them. */
export function narrowFeatures(features: CpuFeatures, hidden: readonly string[]): CpuFeatures {
  const words = { ...features };
  const seen = new Set<string>();
  const hide = (name: string): void => {
    const feature = CPU_FEATURES.get(name);
    if (!feature || seen.has(name)) return;
    seen.add(name);
    words[feature.word] = ((words[feature.word] ?? 0) & ~(1 << feature.bit)) >>> 0;
    CPU_FEATURE_DEPENDANTS[name]?.forEach(hide);
  };
  hidden.forEach(hide);
  if (seen.has('xsave')) words.xcr0 = 0;
  return words;
}
