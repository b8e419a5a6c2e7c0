import { PT_LOAD, parseElf, writeElf } from '@paravane/elf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findKallsyms } from './kallsyms.js';
import { readKernelImage } from './kernel-image.js';
import { elfSymbols, kernelSymbols } from './kernel-symbols.js';
import { testKernel } from './testing.js';

interface Symbol {
  readonly text: string;
  readonly address: bigint;
}

const BASE = 0xffffffff81000000n;
const END = 0xffffffff82000000n;
/** Printable characters are their own tokens, the others stand for two or three. */
const tokens = Array.from({ length: 256 }, (_, token) =>
  token > 0x20 && token < 0x7f ? String.fromCharCode(token) : `x${token.toString(36)}`.padEnd(3, '_'),
);

class Table {
  readonly bytes: number[] = [];

  align(): number {
    while (this.bytes.length % 8 !== 0) this.bytes.push(0);
    return this.bytes.length;
  }

  add(values: Iterable<bigint | number>, width: number): void {
    this.align();
    for (const value of values) {
      for (let at = 0; at < width; at++) this.bytes.push(Number((BigInt(value) >> BigInt(8 * at)) & 0xffn));
    }
  }
}

function packName(text: string): number[] {
  const packed: number[] = [];
  for (let at = 0; at < text.length; ) {
    const token = tokens.findIndex((candidate) => candidate.length > 1 && text.startsWith(candidate, at));
    packed.push(token >= 0 ? token : text.charCodeAt(at));
    at += token >= 0 ? tokens[token].length : 1;
  }
  const { length } = packed;
  return length < 128 ? [length, ...packed] : [128 | (length & 127), length >> 7, ...packed];
}

type Version = 'to 6.3' | '6.2' | 'from 6.4' | 'absolute';

/** The tables as scripts/kallsyms.c writes them, with something else before and after. */
function kallsyms(symbols: readonly Symbol[], version: Version): Uint8Array {
  const out = new Table();
  out.add([0x1122334455667788n, 3n, 0n, 77n], 8);
  const percpu = symbols.some(({ address }) => address < BASE);
  const offsets = symbols.map(({ address }) =>
    percpu && address >= BASE ? BASE - 1n - address : address < BASE ? address : address - BASE,
  );
  const addresses = (): void => {
    if (version === 'absolute')
      return out.add(
        symbols.map(({ address }) => address),
        8,
      );
    out.add(offsets, 4);
    out.add([BASE], 8);
  };
  if (version !== 'from 6.4') addresses();
  out.add([symbols.length], 4);
  const packed = symbols.map(({ text }) => packName(text));
  out.add(packed.flat(), 1);
  let at = 0;
  const markers: number[] = [];
  packed.forEach((name, index) => {
    if (index % 256 === 0) markers.push(at);
    at += name.length;
  });
  out.add(markers, 4);
  if (version === '6.2') out.add(new Uint8Array(symbols.length * 3).fill(0x5a), 1);
  out.add(
    [...tokens.join('\0'), '\0'].map((character) => character.charCodeAt(0)),
    1,
  );
  let start = 0;
  out.add(
    tokens.map((token) => (start += token.length + 1) - token.length - 1),
    2,
  );
  if (version === 'from 6.4') addresses();
  out.add([0x99n, 0n, 12345n], 8);
  return Uint8Array.from(out.bytes);
}

const named = (count: number): Symbol[] =>
  Array.from({ length: count }, (_, index) => ({ text: `Tfn_${index}x7b`, address: BASE + BigInt(index * 48) }));

describe.each(['to 6.3', '6.2', 'from 6.4', 'absolute'] as const)('kallsyms as Linux has it (%s)', (version) => {
  it('names every address', () => {
    const symbols = findKallsyms(kallsyms(named(700), version), END);
    expect(symbols?.size).toBe(700);
    expect(symbols?.lookup(BASE + 48n * 300n + 5n)).toEqual({
      name: 'fn_300x7b',
      address: BASE + 48n * 300n,
      offset: 5,
      code: true,
    });
    expect(symbols?.lookup(BASE - 1n)).toBeUndefined();
    expect(symbols?.lookup(END)).toBeUndefined();
    expect(symbols?.addressOf('fn_699x7b')).toBe(BASE + 48n * 699n);
    expect(symbols?.addressOf('fn_700x7b')).toBeUndefined();
  });
});

describe('kallsyms', () => {
  it('keeps long names, data, and per-CPU symbols whose address is an offset', () => {
    const long = 'n'.repeat(300);
    const symbols = findKallsyms(
      kallsyms(
        [{ text: 'Apercpu', address: 0x100n }, ...named(20), { text: `d${long}`, address: BASE + 0x10000n }],
        'to 6.3',
      ),
      END,
    );
    expect(symbols?.lookup(BASE + 0x10010n)).toMatchObject({ name: long, offset: 16, code: false });
    expect(symbols?.lookup(0x104n)).toMatchObject({ offset: 4, code: false });
    expect(symbols?.lookup(BASE + 49n)).toMatchObject({ offset: 1, code: true });
  });

  it('is found in a kernel file', () => {
    const data = kallsyms(named(40), 'to 6.3');
    const segments = [{ type: PT_LOAD, data, vaddr: BASE, paddr: 0x1000000n, memsz: 0x100000n }];
    const symbols = kernelSymbols(readKernelImage(testKernel({ segments, notes: { ENTRY: BASE } })));
    expect(symbols?.lookup(BASE + 100n)).toMatchObject({ offset: 4 });
  });

  it('is not found where there is none, or half of one', () => {
    expect(findKallsyms(new Uint8Array(0x10000), END)).toBeUndefined();
    const whole = kallsyms(named(300), 'to 6.3');
    for (let cut = 0; cut < whole.length; cut += 40) {
      expect([300, undefined]).toContain(findKallsyms(whole.slice(cut - (cut % 8)), END)?.size);
      expect([300, undefined]).toContain(findKallsyms(whole.slice(0, cut), END)?.size);
    }
  });

  it('with any damage gives names or none, and never fails', () => {
    const whole = kallsyms(named(300), 'from 6.4');
    const flips = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(flips, (changes) => {
        const damaged = whole.slice();
        for (const [at, value] of changes) damaged[at] = value;
        const symbols = findKallsyms(damaged, END);
        const hit = symbols?.lookup(BASE + 1000n);
        expect(typeof (hit?.name ?? '')).toBe('string');
        expect([300, undefined]).toContain(symbols?.size);
      }),
      { numRuns: 500 },
    );
  });

  it('gives up in memory that was made to be searched for ever', () => {
    const memory = new Uint8Array(1 << 20);
    const words = new DataView(memory.buffer);
    for (let at = 0; at < memory.length; at += 8) words.setUint32(at, 1000, true);
    memory.set(kallsyms(named(20), 'to 6.3').slice(200), memory.length - 0x2000);
    expect(findKallsyms(memory, END)).toBeUndefined();
  });
});

describe('an ELF symbol table', () => {
  const elf = (symbols: { name: string; value: bigint; type?: number }[]): Uint8Array =>
    writeElf({ bits: 64, sections: [{ name: '.text', data: new Uint8Array(4) }], symbols });

  it('names addresses in any order; of two at one place the first is the name', () => {
    const file = parseElf(
      elf([
        { name: 'later', value: 0x2000n, type: 2 },
        { name: 'first', value: 0x1000n, type: 2 },
        { name: 'alias', value: 0x1000n, type: 2 },
        { name: 'file.c', value: 0x1800n, type: 4 },
      ]),
    );
    const symbols = elfSymbols(file, 0x3000n);
    expect(symbols?.size).toBe(3);
    expect(symbols?.lookup(0x1900n)).toEqual({ name: 'first', address: 0x1000n, offset: 0x900, code: false });
    expect(symbols?.lookup(0x2fffn)).toMatchObject({ name: 'later' });
    expect(symbols?.lookup(0x3000n)).toBeUndefined();
    expect(symbols?.addressOf('alias')).toBe(0x1000n);
  });

  it('of a stripped file, or a damaged one, is none', () => {
    const file = testKernel();
    expect(elfSymbols(parseElf(file))).toBeUndefined();
    new DataView(file.buffer).setUint32(40, 0x7fffff00, true);
    expect(kernelSymbols(readKernelImage(file))).toBeUndefined();
  });
});
