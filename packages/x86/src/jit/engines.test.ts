import type { DomId, Maddr, Mfn } from '@paravane/types';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA, DATA_PAGES, state } from '../testing/jit-core.js';

/** Endless loops that mix what compiled code does inline with what it leaves by side exits. */
const BODIES = [
  'add rax, rcx; dec rcx; test rcx, rcx',
  'mov rdx, [rsi+rcx*8]; add rdx, rax; mov [rdi+rcx*8], rdx; inc rcx; and rcx, 0x3fff',
  'movzx edx, byte [rsi+rcx]; xor eax, edx; rol eax, 7; add ecx, 1; and ecx, 0xffff',
  'imul rax, rcx; adc rax, 5; sbb rdx, rax; shl rdx, 3; lea rcx, [rcx+rax*2+1]',
  'mov ah, cl; add cl, dh; bt rax, 11; setc dl; cmovc rbx, rax; inc rcx',
  'movups xmm0, [rsi]; paddd xmm1, xmm0; movups [rdi], xmm1; add rax, 1',
  'mov r8, rax; or r8, 1; xor edx, edx; div r8; add rax, rcx; add rcx, 3',
  'mov [rsi+4093], rax; mov rdx, [rsi+4093]; add rax, rdx; inc rax',
  'ror word [rsi], 3; add rax, [rsi]; inc rcx',
  'push rax; pop rdx; add rdx, rcx; xchg rdx, rcx; neg rax; sar rax, 1',
  'push rdi; push rcx; and ecx, 0x3ff; rep stos qword; pop rcx; pop rdi; add rax, 3',
  'push rsi; push rdi; push rcx; and ecx, 0xfff; rep movs byte; pop rcx; pop rdi; pop rsi; inc rcx',
  'push rsi; push rdi; push rcx; lea rdi, [rsi+19]; and ecx, 0x7f; rep movs dword; pop rcx; pop rdi; pop rsi; inc rcx',
  'push rdi; push rcx; std; and ecx, 0x1f; rep stos dword; cld; pop rcx; pop rdi; add rcx, rax',
  'lods qword; sub rsi, 8; add rcx, rax; stos word; sub rdi, 2; movs byte; dec rsi; dec rdi',
  'pushfq; pop rbx; and bl, 0x55; push rbx; popfq; setc dl; cmovs rax, rcx; adc rcx, rbx',
  'rdtsc; add rcx, rax; mov ebx, ss; add rbx, rdx; rdtscp; and ecx, 0xffff',
  'mov rbx, rcx; db 0x48, 0x0f, 0xc7, 0x0e; pushfq; pop r8; xor rdx, r8; serialize; inc rcx',
];

describe('compiled code and the interpreter', () => {
  it('agree on registers, flags, memory and counts at every stop', () => {
    const cores = [true, false].map((jit) => createCore(jit, 1, { limits: { regions: 4 } }));
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...BODIES), { minLength: 1, maxLength: 3 }),
        fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 3, maxLength: 4 }),
        fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { minLength: 4, maxLength: 4 }),
        (bodies, budgets, values) => {
          const inner = bodies.map(
            (body, i) => `l${i}: ${body}; sub r${9 + i}, 1; jnz l${i}; mov r${9 + i}, 0x${(37 + i * 50).toString(16)}`,
          );
          const code = assembleProgram(
            `start: ${inner.join('; ')}; jmp start`.replaceAll('; ', '\n').replaceAll(': ', ':\n'),
            CODE,
          ).bytes;
          for (const { mmu, vcpu, codeFrames } of cores) {
            mmu.write(codeFrames[0]!, 0, code);
            vcpu.rip = CODE;
            vcpu.rflags = 2;
            vcpu.regs.set([
              values[0]!,
              5n,
              values[1]!,
              values[2]!,
              DATA + 0x3f000n,
              0n,
              DATA,
              DATA + 0x20000n,
              values[3]!,
              9n,
              7n,
              3n,
            ]);
          }
          for (const budget of [1_200_000, ...budgets]) {
            const [a, b] = cores.map(({ vcpu }) => vcpu.run(budget).reason);
            expect(a).toBe(b);
            expect(state(cores[0]!.vcpu)).toEqual(state(cores[1]!.vcpu));
            if (a !== 'budget') break;
          }
          const [compiled, plain] = cores.map(({ mmu, vcpu }) => mmu.readVirtual(vcpu.space, DATA, DATA_PAGES * 4096));
          expect(compiled).toEqual(plain);
        },
      ),
      { numRuns: 12, seed: 7, endOnFailure: true },
    );
    expect(cores[0]!.engine.stats().compiledRegions).toBeGreaterThan(3);
    expect(cores[0]!.engine.stats().regionEvictions).toBeGreaterThan(1);
    expect(cores[1]!.engine.stats().compiledRegions).toBeUndefined();
  });
});

it('a repetition that runs into a page that is not there has registers and count exact, however it is interrupted', () => {
  const past = DATA + BigInt(DATA_PAGES * 4096);
  const fits = 3000n;
  const cores = [true, false].map((jit) => createCore(jit));
  for (const mnemonic of ['rep stos qword', 'rep stos byte', 'rep movs qword', 'rep movs byte']) {
    const size = mnemonic.endsWith('byte') ? 1n : 8n;
    const code = assembleProgram(`mov ecx, 0x10000\n${mnemonic}\nhlt`, CODE).bytes;
    const results = [1_000_000, 61, 997].flatMap((budget) =>
      cores.map(({ mmu, vcpu, codeFrames }) => {
        mmu.write(codeFrames[0]!, 0, code);
        mmu.writeVirtual(vcpu.space, past - 0x8000n, new Uint8Array(0x8000));
        vcpu.rip = CODE;
        vcpu.rflags = 2;
        vcpu.regs[0] = 0x0101010101010101n;
        vcpu.regs[6] = DATA;
        vcpu.regs[7] = past - fits * size;
        const before = vcpu.count;
        let exit = vcpu.run(budget);
        while (exit.reason === 'budget') exit = vcpu.run(budget);
        expect([exit.reason, exit.vector, exit.address]).toEqual(['exception', 14, past]);
        expect([vcpu.regs[1], vcpu.regs[7], vcpu.rip]).toEqual([0x10000n - fits, past, CODE + 5n]);
        // MOV, the repetitions, and the one that faults.
        expect(vcpu.count - before).toBe(1 + Number(fits) + 1);
        return mmu.readVirtual(vcpu.space, past - 0x8000n, 0x8000)!;
      }),
    );
    for (const memory of results) expect(Buffer.compare(memory, results[0]!)).toBe(0);
  }
});

it('see a change of code that was compiled without having been run', () => {
  // A loop with a branch that is not taken at first, to code in the same page that has not been run then.
  const program = assembleProgram(
    ['again:', 'add rax, 1', 'test rcx, rcx', 'jnz seldom', 'jmp again', 'seldom:', 'jmp away'].join('\n') +
      `\n${'nop\n'.repeat(256)}away:\nadd rbx, 1\njmp again\n`,
    CODE,
  ).bytes;
  for (const jit of [true, false]) {
    const { mmu, engine, vcpu, codeFrames } = createCore(jit);
    mmu.write(codeFrames[0]!, 0, program);
    vcpu.rip = CODE;
    vcpu.regs.fill(0n);
    vcpu.run(1_500_000);
    expect(engine.stats().compiledRegions).toBe(jit ? 1 : undefined);
    // add rbx, 1 becomes add rbx, 5; the jump behind it has five bytes.
    mmu.write(codeFrames[0]!, program.length - 6, Uint8Array.of(5));
    vcpu.regs[1] = 1n;
    vcpu.run(6_000);
    // Six instructions in each turn.
    expect(vcpu.regs[3]).toBe(5_000n);
  }
});

it.each([
  ['behind an instruction that ends the page', 0xff0, 3],
  ['with its first instruction over both', 0xffe, 1],
])('see changes of code and mapping in the second page of a loop over two, %s', (_, offset, changed) => {
  const start = CODE + BigInt(offset);
  const adds = 'add rax, 1\n'.repeat(6);
  const loop = assembleProgram(`again:\n${adds}jmp again\n`, start).bytes;
  for (const jit of [true, false]) {
    const { mmu, engine, vcpu, codeFrames } = createCore(jit, 3);
    const [first, second, other] = codeFrames as [Mfn, Mfn, Mfn];
    mmu.write(first, offset, loop.subarray(0, 4096 - offset));
    for (const mfn of [second, other]) mmu.write(mfn, 0, loop.subarray(4096 - offset));
    vcpu.rip = start;
    vcpu.regs.fill(0n);
    const added = (): bigint => {
      const before = vcpu.regs[0]!;
      expect(vcpu.run(70_000).reason).toBe('budget');
      return vcpu.regs[0]! - before;
    };
    const compiled = (): number => engine.stats().compiledRegions ?? 0;
    vcpu.run(1_400_000);
    const before = compiled();
    expect(before > 0).toBe(jit);
    expect(added()).toBe(60_000n);
    mmu.write(second, changed, Uint8Array.of(5));
    expect(added()).toBe(100_000n);
    vcpu.run(1_400_000);
    expect(compiled() > before).toBe(jit);
    // The third frame takes the second's place; its code is as it was.
    const l1 = Number(mmu.readU64((vcpu.space.root * 4096) as Maddr) >> 12n);
    const l2 = Number(mmu.readU64((l1 * 4096) as Maddr) >> 12n);
    const table = Number(mmu.readU64((l2 * 4096 + Number(CODE >> 21n) * 8) as Maddr) >> 12n);
    const at = (table * 4096 + (Number(CODE >> 12n) & 511) * 8 + 8) as Maddr;
    mmu.writeU64(at, (mmu.readU64(at) & 0xfffn) | (BigInt(other) << 12n));
    mmu.tlb.flushAll();
    expect(added()).toBe(60_000n);
  }
});

it('keep linear addresses of 32-bit code in 32 bits, where a segment has a base', () => {
  // again: mov eax, fs:[ecx]; add ebx, eax; mov eax, fs:[0xffffff00]; add edx, eax; jmp again
  const code = Uint8Array.from([0x64, 0x8b, 0x01, 1, 0xc3, 0x64, 0xa1, 0, 255, 255, 255, 1, 0xc2, 0xeb, 0xf1]);
  for (const jit of [true, false]) {
    const { mmu, vcpu, codeFrames } = createCore(jit);
    mmu.write(codeFrames[0]!, 0, code);
    mmu.writeVirtual(vcpu.space, DATA, Uint8Array.of(7));
    vcpu.mode = 32;
    vcpu.rip = CODE;
    vcpu.fsBase = DATA + 0x100n;
    vcpu.regs[1] = 0xffffff00n;
    vcpu.regs[2] = 0n;
    vcpu.regs[3] = 0n;
    expect(vcpu.run(500_000).reason).toBe('budget');
    expect([vcpu.regs[2], vcpu.regs[3], vcpu.rip]).toEqual([700_000n, 700_000n, CODE]);
  }
});

it('get on where code, stack and data share an entry of the TLB', () => {
  const program = assembleProgram(
    [
      'again:\ncall look\nsub r9, 1\njmp again',
      'look:\ncmp byte [rdi], 0\njz none\nmov rax, rdi\nnext:\nadd rax, 1\ncmp byte [rax], 0\njnz next\nsub rax, rdi\nret',
      'none:\nmov eax, 0\nret',
    ].join('\n'),
    CODE,
  ).bytes;
  const look = CODE + BigInt(program.indexOf(0x80));
  const compiled: number[] = [];
  const ends = [true, false].map((jit) => {
    const { mmu, engine, vcpu, codeFrames } = createCore(jit);
    const below = (table: number, index: number): number => {
      const at = (table * 4096 + index * 8) as Maddr;
      if (mmu.readU64(at) === 0n) mmu.writeU64(at, (BigInt(mmu.frames.allocate(1 as DomId)) << 12n) | 7n);
      return Number(mmu.readU64(at) >> 12n);
    };
    // As far from the code as the TLB is long, and twice as far.
    const [stack, data] = [CODE + 0x1000000n, CODE + 0x2000000n];
    for (const address of [stack, data]) {
      const l2 = below(below(vcpu.space.root, 0), 0);
      below(below(l2, Number(address >> 21n)), Number(address >> 12n) & 511);
    }
    mmu.write(codeFrames[0]!, 0, program);
    vcpu.rip = CODE;
    vcpu.regs[4] = DATA + 0x800n;
    vcpu.regs[7] = DATA + 0x1000n;
    mmu.writeVirtual(vcpu.space, DATA + 0x1000n, Uint8Array.of(1, 2, 3, 0));
    expect(vcpu.run(1_500_000).reason).toBe('budget');
    compiled.push(engine.stats().compiledRegions ?? 0);
    vcpu.rip = look;
    vcpu.regs[4] = stack + 0x800n;
    vcpu.regs[7] = data;
    const back = new Uint8Array(8);
    new DataView(back.buffer).setBigUint64(0, CODE + 5n, true);
    mmu.writeVirtual(vcpu.space, vcpu.regs[4], back);
    mmu.writeVirtual(vcpu.space, data, Uint8Array.of(1, 2, 0));
    expect(vcpu.run(300_000).reason).toBe('budget');
    return state(vcpu);
  });
  expect(compiled[0]).toBeGreaterThan(0);
  expect(ends[0]).toEqual(ends[1]);
});
