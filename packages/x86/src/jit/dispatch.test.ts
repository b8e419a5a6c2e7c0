import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA, state } from '../testing/jit-core.js';
import { perfectHash } from './dispatch.js';

it('finds a table in which no two targets share a place', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: -4096, max: 8191 }), { minLength: 4, maxLength: 64 }), (targets) => {
      const { multiplier, bits, table } = perfectHash(targets);
      expect(table.length).toBe(2 ** bits);
      targets.forEach((target, i) => expect(table[Math.imul(target, multiplier) >>> (32 - bits)]).toBe(i));
    }),
  );
});

const NEXT = 'movzx eax, byte [rsi+rcx]\ninc ecx\nand ecx, 0x3fff\nand eax, 15\nshl eax, 6\nadd rax, r15\njmp rax';
const BODIES = [
  'add rdx, rcx',
  'xor rdx, 0x55',
  'rol edx, 3',
  'mov [rdi], rdx',
  'add rdx, [rdi]',
  'lea rbx, [rbx+rdx+1]',
  'imul rbx, rdx',
  'cmp rdx, rbx\ncmovb rdx, rbx',
];
const HANDLERS = 16;
const HANDLER_BYTES = 64;

describe('jumps to where a register says', () => {
  /** Interpreters of sixteen operations, whose code lies over a page's end; `threaded` ones jump on from each operation. */
  const write = (core: ReturnType<typeof createCore>, at: number, text: string): void => {
    const { bytes } = assembleProgram(text, CODE + BigInt(at));
    bytes.forEach((byte, i) => core.mmu.write(core.codeFrames[(at + i) >> 12]!, (at + i) & 4095, Uint8Array.of(byte)));
  };
  it.each([
    ['from one place', false, 0x1000 - 0x200],
    ['from every operation', true, 0x1000 - 0x230],
    ['within a page', true, 0x400],
  ])('%s stay in compiled code, and do what the interpreter does', (_, threaded, first) => {
    const cores = [true, false].map((jit) => createCore(jit, 2));
    const start = first - 0x40;
    const handler = (i: number, body: string): string =>
      `${body}\n${threaded && i % 3 !== 0 ? NEXT : `jmp ${(CODE + BigInt(start)).toString()}`}`;
    for (const core of cores) {
      write(core, start, NEXT);
      for (let i = 0; i < HANDLERS; i++) write(core, first + i * HANDLER_BYTES, handler(i, BODIES[i % BODIES.length]!));
      const bytes = Uint8Array.from({ length: 0x4000 }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 13) & 255);
      core.mmu.writeVirtual(core.vcpu.space, DATA, bytes);
      core.vcpu.regs.fill(0n);
      core.vcpu.regs.set([DATA + 0x3f000n, 0n, DATA, DATA + 0x8000n], 4);
      core.vcpu.regs[15] = CODE + BigInt(first);
      core.vcpu.rip = CODE + BigInt(start);
    }
    const compare = (budgets: readonly number[]): void => {
      for (const budget of budgets) {
        for (const { vcpu } of cores) expect(vcpu.run(budget).reason).toBe('budget');
        expect(state(cores[0]!.vcpu)).toEqual(state(cores[1]!.vcpu));
      }
    };
    compare([3_000_000, 1, 17, 100_001]);
    const done = (): number => cores[0]!.engine.stats().doneInCompiledCode!;
    const before = done();
    compare([1_000_000]);
    expect(done() - before).toBeGreaterThan(980_000);
    // The operations that the compiled code knows are others now.
    for (const core of cores) write(core, first + 5 * HANDLER_BYTES, handler(5, 'sub rdx, 0x1234'));
    compare([1_000_000, 999, 500_000]);
  });
});
