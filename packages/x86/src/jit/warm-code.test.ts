import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA, state } from '../testing/jit-core.js';

/** Instructions after which a loop is compiled, and in which there are samples. */
const LONG = 1_500_000;
const FEW = 400_000;
type Core = ReturnType<typeof createCore>;

const loopAt = (page: number, value: number): Uint8Array =>
  assembleProgram(
    `again:\nadd rax, 0x${value.toString(16)}\nxor rcx, rax\nrol rcx, 3\nmov [rsi], rcx\nsub rdx, 1\njmp again`,
    CODE + BigInt(page * 4096),
  ).bytes;
/** A loop over the border of two pages. */
const overBorder = (): Uint8Array =>
  assembleProgram(
    `again:\n${'add rax, 0x11\nxor rcx, rax\nrol rcx, 5\n'.repeat(6)}sub rdx, 1\njmp again`,
    CODE + 4096n - 24n,
  ).bytes;

function load({ mmu, vcpu, codeFrames }: Core, page: number, offset: number, bytes: Uint8Array): void {
  const here = Math.min(bytes.length, 4096 - offset);
  mmu.write(codeFrames[page]!, offset, bytes.subarray(0, here));
  if (here < bytes.length) mmu.write(codeFrames[page + 1]!, 0, bytes.subarray(here));
  vcpu.regs[4] = DATA + 0x8000n;
  vcpu.regs[6] = DATA;
}
function run({ vcpu }: Core, rip: bigint, budget = LONG): unknown {
  vcpu.rip = rip;
  expect(vcpu.run(budget).reason).toBe('budget');
  return state(vcpu);
}
const stat = ({ engine }: Core, name: string): number | undefined => engine.stats()[name];

/** What an engine compiles of a loop, for later ones. */
function codeOf(bytes: Uint8Array, offset = 0): Uint8Array {
  const core = createCore(true, 3, { code: null });
  load(core, 0, offset, bytes);
  run(core, CODE + BigInt(offset));
  expect(stat(core, 'compiledRegions')).toBeGreaterThan(0);
  return core.engine.compiledCode()!;
}
const interpreter = createCore(false, 3);
/** An engine that has such code, and a processor of one that interprets. */
function both(code: Uint8Array | null, options: Parameters<typeof createCore>[2] = {}): { warm: Core; plain: Core } {
  const vcpu = interpreter.engine.createVcpu();
  vcpu.space = interpreter.vcpu.space;
  return { warm: createCore(true, 3, { ...options, code }), plain: { ...interpreter, vcpu } };
}

describe('compiled code of an earlier run', () => {
  it('runs once a sample has met it where the same bytes are again, in whatever page', () => {
    const code = codeOf(loopAt(0, 7));
    for (const page of [0, 2]) {
      const { warm, plain } = both(code);
      for (const core of [warm, plain]) load(core, page, 0, loopAt(page, 7));
      const start = CODE + BigInt(page * 4096);
      expect(run(warm, start, FEW)).toEqual(run(plain, start, FEW));
      expect(stat(warm, 'warmRegions')).toBe(1);
      expect(stat(warm, 'doneInCompiledCode')).toBeGreaterThan(FEW / 2);
      expect(run(warm, start)).toEqual(run(plain, start));
      expect(stat(warm, 'compiledRegions')).toBe(0);
      expect(warm.engine.compiledCode()).toBeNull();
    }
  });

  it('does not run for other bytes', () => {
    const { warm, plain } = both(codeOf(loopAt(0, 7)));
    for (const core of [warm, plain]) load(core, 0, 0, loopAt(0, 8));
    expect(run(warm, CODE)).toEqual(run(plain, CODE));
    expect(stat(warm, 'warmRegions')).toBe(0);
    expect(stat(warm, 'compiledRegions')).toBe(1);
  });

  it('goes when the bytes change, and is there again with them', () => {
    const { warm, plain } = both(codeOf(loopAt(0, 7)));
    for (let round = 0; round < 10; round++) {
      for (const value of [7, 8]) {
        for (const core of [warm, plain]) load(core, 0, 0, loopAt(0, value));
        expect(run(warm, CODE, FEW)).toEqual(run(plain, CODE, FEW));
      }
      expect(stat(warm, 'warmRegions')).toBe(round + 1);
    }
    // The other loop has become hot meanwhile, too.
    expect(stat(warm, 'liveRegions')).toBe(1 + stat(warm, 'compiledRegions')!);
  });

  it('stands for code in two pages where both have the bytes, until either changes', () => {
    const code = codeOf(overBorder(), 4096 - 24);
    const start = CODE + 4096n - 24n;
    const { warm, plain } = both(code);
    for (const core of [warm, plain]) {
      load(core, 0, 4096 - 24, overBorder());
    }
    expect(run(warm, start)).toEqual(run(plain, start));
    expect(stat(warm, 'warmRegions')).toBeGreaterThan(0);
    expect(stat(warm, 'compiledRegions')).toBe(0);
    for (const core of [warm, plain]) {
      const changed = overBorder();
      changed[30] = changed[30]! ^ 1;
      load(core, 0, 4096 - 24, changed);
    }
    expect(run(warm, start, FEW)).toEqual(run(plain, start, FEW));
  });

  it('stands for one block at a time, and a copy of the code is compiled', () => {
    const { warm, plain } = both(codeOf(loopAt(0, 7)));
    for (const page of [0, 1]) {
      for (const core of [warm, plain]) load(core, page, 0, loopAt(page, 7));
      const start = CODE + BigInt(page * 4096);
      expect(run(warm, start)).toEqual(run(plain, start));
    }
    expect(run(warm, CODE)).toEqual(run(plain, CODE));
    expect(stat(warm, 'warmRegions')).toBe(1);
    expect(stat(warm, 'compiledRegions')).toBe(1);
  });

  it('is dropped and put back within the bounds of what may live', () => {
    const first = createCore(true, 3, { code: null });
    for (const page of [0, 1, 2]) {
      load(first, page, page * 64, loopAt(page, page + 7));
      // Each becomes a module of its own.
      run(first, CODE + BigInt(page * 4096 + page * 64), 4 * LONG);
    }
    expect(stat(first, 'compiledModules')).toBe(3);
    const { warm, plain } = both(first.engine.compiledCode(), { limits: { modules: 2 } });
    for (let round = 0; round < 3; round++) {
      for (const page of [0, 1, 2]) {
        const start = CODE + BigInt(page * 4096 + page * 64);
        for (const core of [warm, plain]) load(core, page, page * 64, loopAt(page, page + 7));
        expect(run(warm, start, FEW)).toEqual(run(plain, start, FEW));
        expect(stat(warm, 'liveModules')).toBeLessThanOrEqual(2);
      }
    }
    expect(stat(warm, 'droppedRegions')).toBeGreaterThan(1);
    expect(stat(warm, 'compiledRegions')).toBe(0);
  });

  it('is kept with what was compiled since, those first of which something ran', () => {
    const warm = createCore(true, 3, { code: codeOf(loopAt(0, 7)) });
    load(warm, 0, 0, loopAt(0, 9));
    run(warm, CODE);
    const code = warm.engine.compiledCode()!;
    for (const value of [7, 9]) {
      const next = createCore(true, 3, { code });
      load(next, 0, 0, loopAt(0, value));
      run(next, CODE, FEW);
      expect(stat(next, 'warmRegions')).toBe(1);
    }
  });

  it('is kept up to half of what may live, however long the run', () => {
    const limits = { bytes: 12_000 };
    const core = createCore(true, 3, { code: null, limits });
    const lengths = new Set<number>();
    for (let value = 1; value < 12; value++) {
      load(core, 0, 0, loopAt(0, value));
      run(core, CODE);
      lengths.add(core.engine.compiledCode()!.length);
    }
    expect(stat(core, 'compiledRegions')).toBe(11);
    expect(lengths.size).toBeGreaterThan(1);
    expect(Math.max(...lengths)).toBeLessThan(limits.bytes / 2 + 300);
  });

  it('counts as none where it is damaged or of another build, and broken modules are left alone', () => {
    const code = codeOf(loopAt(0, 7));
    const otherBuild = code.map((byte, i) => (i === 6 ? byte ^ 1 : byte));
    const head = 4 + new DataView(code.buffer).getUint32(0, true) + 4 + 8;
    const brokenModule = code.map((byte, i) => (i === head + 9 ? 0xff : byte));
    for (const damaged of [new Uint8Array(), code.subarray(0, code.length - 1), otherBuild, brokenModule]) {
      const { warm, plain } = both(damaged);
      for (const core of [warm, plain]) load(core, 0, 0, loopAt(0, 7));
      expect(run(warm, CODE)).toEqual(run(plain, CODE));
      expect(stat(warm, 'warmRegions')).toBe(0);
      expect(stat(warm, 'compiledRegions')).toBe(1);
    }
  });

  it('is neither looked for nor kept where it is not asked for', () => {
    const core = createCore(true, 1);
    load(core, 0, 0, loopAt(0, 7));
    run(core, CODE);
    expect(stat(core, 'warmRegions')).toBeUndefined();
    expect(core.engine.compiledCode()).toBeNull();
  });
});
