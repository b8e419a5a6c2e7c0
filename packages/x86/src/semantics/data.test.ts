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

it.each([true, false])('CLD and null into FS and GS (compiled: %s)', (jit) => {
  const { mmu, engine, vcpu, codeFrames } = createCore(jit);
  const loop = 'again:\ncld\nmov fs, bx\nmov gs, dx\nlods byte\ninc rcx\njmp again';
  mmu.write(codeFrames[0]!, 0, assembleProgram(loop, CODE).bytes);
  vcpu.rip = CODE;
  vcpu.regs.fill(0n);
  [vcpu.regs[3], vcpu.regs[2], vcpu.regs[4]] = [0xffff_0001n, 3n, DATA + 0x3f000n];
  const segment = (n: number): unknown => [vcpu.selectors[n], vcpu.segment(n)];
  const empty = { base: 0n, limit: 0, rights: 0 };
  for (const [turn, flags] of [0x402, 2, 0x402, 2].entries()) {
    vcpu.rflags = flags;
    // As they are at first, and as a program's base leaves them.
    vcpu.setSegment(Seg.fs, 0x2b, turn < 2 ? { base: 5n, limit: 0xffff_ffff, rights: 0xc0f3 } : { ...empty, base: 7n });
    vcpu.setSegment(Seg.gs, 1, { ...empty, base: DATA });
    vcpu.regs[6] = DATA + 0x100n;
    const { count } = vcpu;
    expect(vcpu.run(6 * 180_000).reason).toBe('budget');
    expect(vcpu.count - count).toBe(6 * 180_000);
    expect(vcpu.regs[6]).toBe(DATA + 0x100n + 180_000n);
    expect(vcpu.rflags & 0x400).toBe(0);
    expect([segment(Seg.fs), segment(Seg.gs)]).toEqual([
      [1, empty],
      [3, empty],
    ]);
    expect(vcpu.fsBase | vcpu.gsBase).toBe(0n);
  }
  expect((engine.stats().doneInCompiledCode ?? 0) > 2_000_000).toBe(jit);
  // Others are loaded by whoever has the descriptors, and SS can't be null here.
  for (const [text, what] of [
    ['mov fs, cx', 'privileged'],
    ['mov ss, ax', 'privileged'],
    ['mov cs, ax', 'exception'],
  ]) {
    const bytes = text === 'mov cs, ax' ? [0x8e, 0xc8] : assembleProgram(text!, CODE).bytes;
    mmu.write(codeFrames[0]!, 0x800, Uint8Array.from(bytes));
    vcpu.rip = CODE + 0x800n;
    vcpu.regs[1] = 0x2bn;
    expect(vcpu.run(1).reason).toBe(what);
  }
});
