import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA, DATA_PAGES, state } from '../testing/jit-core.js';

/** What functions are made of, each of them a line: they keep r15 (the data), r14 (the depth) and rsp. */
const STATEMENTS = [
  'add rax, rcx',
  'sub ecx, 0x77',
  'imul edx, eax',
  'xor rbx, rdx',
  'mov [r15+0x40], rax',
  'add rdx, [r15+0x48]',
  'mov [r15+0x44], ecx',
  'mov rsi, [rsp+8]',
  'mov [rsp], rbx',
  'movzx edi, byte [r15+0x45]',
  'add dl, ah',
  'inc ebx',
  'dec rcx',
  'cmp eax, ecx; setl bl',
  'test rdx, rdx; cmovs rax, rbx',
  'lea rcx, [rax+rdx*2+7]',
  'adc rax, rbx',
  'shl ecx, cl',
  'push rdx; mov rdx, [rsp]; pop rsi',
  'movups xmm1, [r15+0x100]; paddd xmm1, xmm0; movups [r15+0x110], xmm1',
];

interface Shape {
  body: string[];
  /** Number of the function that is called, how, and on which condition. */
  calls: { callee: number; how: 'direct' | 'register' | 'memory'; when: string }[];
  /** Instead of returning: jumps to the next function's end, or returns to an address that it has pushed. */
  end: 'return' | 'jump' | 'push';
}

const shape = fc.record({
  body: fc.array(fc.constantFrom(...STATEMENTS), { minLength: 1, maxLength: 6 }),
  calls: fc.array(
    fc.record({
      callee: fc.nat(5),
      how: fc.constantFrom('direct', 'register', 'memory'),
      when: fc.constantFrom('z', 'nz', 'l', 'b', 's'),
    }),
    { maxLength: 2 },
  ),
  end: fc.constantFrom('return', 'return', 'jump', 'push'),
}) as fc.Arbitrary<Shape>;

/** Functions over several pages that call each other up to a depth, and a loop that calls the first one for ever. */
function source(functions: Shape[], depth: number): string {
  const place = (i: number): number => Number(CODE) + 0x100 + i * 0xd00;
  const lines = ['start:', `mov r14d, 0x${depth.toString(16)}`, `call 0x${place(0).toString(16)}`, 'jmp start'];
  const parts = [lines.join('\n')];
  functions.forEach((fn, i) => {
    const out = [`f${i}:`, 'sub rsp, 24', 'sub r14d, 1', `js e${i}`, ...fn.body.flatMap((line) => line.split('; '))];
    fn.calls.forEach(({ callee, how, when }, n) => {
      const target = `0x${place(callee % functions.length).toString(16)}`;
      out.push(`j${when} s${i}x${n}`);
      if (how === 'direct') out.push(`call ${target}`);
      else if (how === 'register') out.push(`mov r11, ${target}`, 'call r11');
      else out.push(`mov r11, ${target}`, 'mov [r15+0x80], r11', 'call qword [r15+0x80]');
      out.push(`s${i}x${n}:`, fn.body[0]!.split('; ')[0]!);
    });
    out.push(`e${i}:`, 'add r14d, 1', 'add rsp, 24');
    if (fn.end === 'jump') out.push(`lea r10, [rel l${i}]`, 'jmp r10', `l${i}:`, 'ret');
    else if (fn.end === 'push') out.push(`lea r10, [rel l${i}]`, 'push r10', 'ret', `l${i}:`, 'ret');
    else out.push('ret');
    parts.push(out.join('\n'));
  });
  return parts.join('\n---\n');
}

describe('compiled calls and the interpreter', () => {
  const cores = [true, false].map((jit) => createCore(jit, 6));
  it('agree for functions that call each other, at any depth and wherever the stack lies', () => {
    fc.assert(
      fc.property(
        fc.array(shape, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(3, 9, 40, 900),
        fc.nat(0x1fff),
        fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 2, maxLength: 3 }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (functions, depth, stack, budgets, value) => {
          const bytes = new Uint8Array(6 * 4096).fill(0x90);
          source(functions, depth)
            .split('\n---\n')
            .forEach((text, i) => {
              const at = i === 0 ? 0 : 0x100 + (i - 1) * 0xd00;
              bytes.set(assembleProgram(text, CODE + BigInt(at)).bytes, at);
            });
          for (const { mmu, vcpu, codeFrames } of cores) {
            codeFrames.forEach((mfn, i) => mmu.write(mfn, 0, bytes.subarray(i * 4096, (i + 1) * 4096)));
            mmu.writeVirtual(vcpu.space, DATA, new Uint8Array(DATA_PAGES * 4096));
            vcpu.rip = CODE;
            vcpu.rflags = 2;
            vcpu.regs.fill(value);
            vcpu.regs[4] = DATA + 0x3c000n + BigInt(stack & ~7);
            vcpu.regs[15] = DATA + BigInt(stack);
          }
          for (const budget of [1_500_000, ...budgets]) {
            const [a, b] = cores.map(({ vcpu }) => vcpu.run(budget).reason);
            expect(a).toBe(b);
            expect(state(cores[0]!.vcpu)).toEqual(state(cores[1]!.vcpu));
            if (a !== 'budget') break;
          }
          const [compiled, plain] = cores.map(({ mmu, vcpu }) => mmu.readVirtual(vcpu.space, DATA, DATA_PAGES * 4096));
          expect(compiled).toEqual(plain);
        },
      ),
      { numRuns: Number(process.env.PARAVANE_CALLS_RUNS ?? 12), seed: 11, endOnFailure: true },
    );
    expect(cores[0]!.engine.stats().compiledRegions).toBeGreaterThan(10);
  });
});
