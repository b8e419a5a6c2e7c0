import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA } from '../testing/jit-core.js';

/** Condition codes in their order (Intel SDM vol. 1, appendix B), by the flags that PUSHF pushes. */
const CONDITIONS: [string, (flag: (bit: number) => boolean) => boolean][] = [
  ['o', (flag) => flag(11)],
  ['b', (flag) => flag(0)],
  ['e', (flag) => flag(6)],
  ['be', (flag) => flag(0) || flag(6)],
  ['s', (flag) => flag(7)],
  ['p', (flag) => flag(2)],
  ['l', (flag) => flag(7) !== flag(11)],
  ['le', (flag) => flag(7) !== flag(11) || flag(6)],
];
const NAMES = CONDITIONS.flatMap(([name]) => [name, name === 'p' ? 'np' : `n${name}`]);

/** What sets flags, in each of the forms in which they are kept; A and D are the two operands. */
const SOURCES = ['add', 'sub', 'cmp', 'and', 'adc', 'sbb', 'xor', 'test'].map((name) => `${name} A, D`);
const SINGLE = ['inc', 'dec', 'neg'].map((name) => `${name} A`);
const TURNS = ['shl', 'shr', 'sar', 'rol', 'ror'].map((name) => `${name} A, 3`);
const REGISTERS: Record<number, [string, string]> = {
  8: ['al', 'dl'],
  16: ['ax', 'dx'],
  32: ['eax', 'edx'],
  64: ['rax', 'rdx'],
};
const EDGES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 63n,
  (1n << 64n) - 1n,
];

/** CF for ADC and SBB comes from R10. */
function program(source: string): Uint8Array {
  const once = `mov rax, r8\nmov rdx, r9\nbt r10, 1\n${source}\n`;
  const conditions = NAMES.map((name, i) => `${once}set${name} byte [rdi+${i}]\n`).join('');
  // The flags are changed on one way only, and their kind is known on neither behind it.
  const joined = NAMES.map(
    (name, i) => `${once}bt r10, 0\njc j${i}\n${once}j${i}:\nset${name} byte [rdi+${i + 16}]\n`,
  ).join('');
  return assembleProgram(`start:\n${once}pushfq\npop rbx\n${conditions}${joined}sub r11, 1\njnz start\nhlt`, CODE)
    .bytes;
}

describe.each([true, false])('conditions, compiled: %s', (jit) => {
  it.each([8, 16, 32, 64])('of %i bits are those of the flags, whatever set them', (width) => {
    const { vcpu, mmu, codeFrames, engine } = createCore(jit, 2, { compileAfter: 1 });
    const [a, d] = REGISTERS[width]!;
    const sources = [...SOURCES, ...SINGLE, ...TURNS, ...(width === 8 ? [] : ['bt A, 5', 'imul A, D'])];
    let seed = 7n;
    for (const source of sources) {
      const code = program(source.replace('A', a).replace('D', d));
      for (const [i, mfn] of codeFrames.entries()) mmu.write(mfn, 0, code.subarray(i * 4096, (i + 1) * 4096));
      const run = (x: bigint, y: bigint, z: bigint, times: bigint): void => {
        vcpu.rip = CODE;
        vcpu.rflags = 2;
        vcpu.regs.set([0n, 0n, 0n, 0n, DATA + 0x3f000n, 0n, DATA, DATA, x, y, z, times]);
        let exit = vcpu.run(1_000_000);
        while (exit.reason === 'budget') exit = vcpu.run(1_000_000);
      };
      run(1n, 2n, 3n, 1000n);
      for (let i = 0; i < 40; i++) {
        seed = (seed * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
        const pick = (by: bigint): bigint => {
          const n = Number((seed >> by) & 0x1fn);
          return EDGES[n] ?? seed >> (BigInt(n) + 8n);
        };
        const [x, y, z] = [pick(59n), pick(50n), (seed >> 40n) & 3n];
        run(x, y, z, 1n);
        const flags = vcpu.regs[3]!;
        const found = [...mmu.readVirtual(vcpu.space, DATA, 32)!];
        const wanted = CONDITIONS.flatMap(([, holds]) => {
          const value = holds((bit) => ((flags >> BigInt(bit)) & 1n) === 1n) ? 1 : 0;
          return [value, 1 - value];
        });
        // Where BT has found CF set, it jumps over what sets all flags again: B and BE hold, the others are as they were.
        const skips = (z & 1n) === 1n;
        const behind = wanted.map((value, n) => (skips && /^n?be?$/.test(NAMES[n]!) ? 1 - (n & 1) : value));
        expect(found, `${source}, ${width} bits, ${x.toString(16)} ${y.toString(16)} ${z}`).toEqual([
          ...wanted,
          ...behind,
        ]);
      }
    }
    const { compiledRegions = 0 } = engine.stats();
    expect(compiledRegions > sources.length).toBe(jit);
  });
});
