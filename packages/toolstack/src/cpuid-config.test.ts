import { describe, expect, it } from 'vitest';
import { readCpuid } from './cpuid-config.js';
import { readDomainConfig } from './domain-config.js';

describe('readCpuid', () => {
  it('hides what is 0, by the last of its pairs', () => {
    expect(readCpuid('host,aes=0, sse4.2 = 0,rdrand=x')).toEqual({
      hidden: ['aes', 'sse4.2'],
      errors: [],
      warnings: [],
    });
    expect(readCpuid('host,aes=0,aes=1,sha=k,adx=0,').hidden).toEqual(['adx']);
    expect(readCpuid('host').hidden).toEqual([]);
  });
  it.each([
    ['aes=0', 'it begins with "host", such as "host,aes=0", not with "aes=0"'],
    ['host,aes', '"aes" is no pair: write feature=value, such as aes=0'],
    ['host,eas=0', 'unknown feature "eas"'],
    ['host,aes=2', 'aes takes 0, 1, x, k or s, not "2"'],
  ])('says what is wrong with %s', (text, message) => {
    expect(readCpuid(text).errors).toEqual([message]);
  });
  it('warns of numbers', () => {
    expect(readCpuid('host,family=6')).toMatchObject({
      warnings: ['"family" is not supported yet and has no effect'],
      errors: [],
    });
  });
});

describe('the key "cpuid"', () => {
  const read = (line: string) => readDomainConfig(`name = "a"\nkernel = "k"\n${line}`);
  it('gives the names of what is hidden', () => {
    expect(read('cpuid = "host,aes=0,xsave=0"').config?.hiddenFeatures).toEqual(['aes', 'xsave']);
    expect(read('').config).not.toHaveProperty('hiddenFeatures');
  });
  it('is complained about where it stands', () => {
    expect(read('cpuid = "host,eas=0"').diagnostics).toEqual([
      { severity: 'error', message: '"cpuid": unknown feature "eas"', line: 3, column: 9 },
    ]);
  });
  it('is not read in the old syntax of registers', () => {
    const { config, diagnostics } = read('cpuid = ["1:edx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0"]');
    expect(config).not.toHaveProperty('hiddenFeatures');
    expect(diagnostics).toMatchObject([{ severity: 'warning', line: 3 }]);
  });
});
