import { Seg, timeStamp } from '@paravane/engine-api';
import { expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA } from '../testing/jit-core.js';

it.each([true, false])('the time-stamp counter follows the count of instructions to the one (compiled: %s)', (jit) => {
  const { mmu, engine, vcpu, codeFrames } = createCore(jit);
  const loop = 'again:\nrdtscp\nshl rdx, 32\nor rax, rdx\nmov [rdi], rax\nadd rbx, rcx\njmp again';
  mmu.write(codeFrames[0]!, 0, assembleProgram(loop, CODE).bytes);
  vcpu.rip = CODE;
  vcpu.regs.fill(0n);
  vcpu.regs.set([DATA + 0x3f000n, 0n, 0n, DATA], 4);
  vcpu.tscRatio = 2.75;
  vcpu.tscOffset = 2 ** 40 + 0.5;
  vcpu.tscAux = 0xfedc_ba98;
  let turns = 0;
  for (const more of [1, 2, 7, 200_000, 300_000, 1]) {
    turns += more;
    // To behind the store of the last turn.
    vcpu.run(6 * turns - 2 - vcpu.count);
    expect(vcpu.count).toBe(6 * turns - 2);
    const stored = new DataView(mmu.readVirtual(vcpu.space, DATA, 8)!.buffer).getBigUint64(0, true);
    const { tscRatio, tscOffset } = vcpu;
    expect(stored).toBe(timeStamp({ count: 6 * (turns - 1), tscRatio, tscOffset }));
    expect(vcpu.regs[1]).toBe(0xfedc_ba98n);
  }
  expect((engine.stats().doneInCompiledCode ?? 0) > 500_000).toBe(jit);
  // With CR4.TSD it is for TypeScript, which refuses above CPL 0.
  vcpu.cr4 = 4;
  vcpu.selectors[Seg.cs] = 0x33;
  const exit = vcpu.run(100);
  expect([exit.reason, exit.vector, exit.errorCode]).toEqual(['exception', 13, 0]);
  vcpu.selectors[Seg.cs] = 0;
  vcpu.regs[1] = 0n;
  const ticks = timeStamp(vcpu);
  expect(vcpu.run(4).reason).toBe('budget');
  expect(new DataView(mmu.readVirtual(vcpu.space, DATA, 8)!.buffer).getBigUint64(0, true)).toBe(ticks);
  expect(vcpu.regs[1]).toBe(0xfedc_ba98n);
});

it('a selector is read into a register of any width', () => {
  const { mmu, vcpu, codeFrames } = createCore(false);
  mmu.write(codeFrames[0]!, 0, assembleProgram('mov ax, ds\nmov ecx, es\nmov rdx, gs\nmov [rdi], fs\nhlt', CODE).bytes);
  vcpu.rip = CODE;
  vcpu.regs.fill(0xffff_ffff_ffff_ffffn);
  vcpu.regs[7] = DATA;
  vcpu.selectors.set([0x1111, vcpu.selectors[1]!, vcpu.selectors[2]!, 0x3333, 0x4444, 0x5555]);
  vcpu.run(4);
  expect([0, 1, 2].map((n) => vcpu.regs[n])).toEqual([0xffff_ffff_ffff_3333n, 0x1111n, 0x5555n]);
  expect([...mmu.readVirtual(vcpu.space, DATA, 3)!]).toEqual([0x44, 0x44, 0]);
});
