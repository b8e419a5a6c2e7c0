import { describe, expect, it } from 'vitest';
import { CPU_FEATURE_DEPENDANTS, CPU_FEATURES } from './cpu-features.js';

describe('the features of processors', () => {
  it('have their bits of CPUID', () => {
    expect(CPU_FEATURES.get('sse2')).toEqual({ word: 'leaf1Edx', bit: 26 });
    expect(CPU_FEATURES.get('sse4.2')).toEqual(CPU_FEATURES.get('sse4_2'));
    expect(CPU_FEATURES.get('lm')).toEqual({ word: 'extendedEdx', bit: 29 });
    expect(CPU_FEATURES.get('xsavec')).toEqual({ word: 'leafD1Eax', bit: 1 });
  });
  it('have no bit twice but by a second spelling', () => {
    const seen = new Map<string, string>();
    for (const [name, { word, bit }] of CPU_FEATURES) {
      expect(bit).toBeGreaterThanOrEqual(0);
      expect(bit).toBeLessThan(32);
      const other = seen.get(`${word} ${bit}`);
      expect(other?.replace('_', '.') ?? name).toBe(name);
      seen.set(`${word} ${bit}`, name);
    }
  });
  it('depend on features that there are', () => {
    const named = Object.entries(CPU_FEATURE_DEPENDANTS).flat(2);
    expect(named.filter((name) => !CPU_FEATURES.has(name))).toEqual([]);
  });
});
