import { Flag, Seg, type Segment } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from './assemble.js';
import { CODE, createCore, DATA } from './testing/core.js';

const core = createCore();
const FLAT = 0xffffffff;
const data = (base: bigint, limit: number, rights = 0x40f3): Segment => ({ base, limit, rights });
const READ_ONLY = 0x40f1;
const EXPAND_DOWN = 0x40f7;
const EXECUTE_ONLY = 0x40f9;
const CODE16 = 0x00fb;
const NULL = data(0n, 0, 0);

function vcpuFor(bytes: Uint8Array | number[]) {
  const vcpu = core.createVcpu();
  core.writeCode(Uint8Array.from(bytes));
  core.writeData(new Uint8Array(8192));
  vcpu.mode = 32;
  vcpu.regs[3] = DATA;
  return vcpu;
}
const program = (text: string) => vcpuFor(assembleProgram(text, CODE, 32).bytes);
type Vcpu = ReturnType<typeof vcpuFor>;
const word = (at: number): number => new DataView(core.readData().buffer).getUint32(at, true);
const outcome = (vcpu: Vcpu, budget = 1) => {
  const { reason, vector, errorCode } = vcpu.run(budget);
  return reason === 'budget' ? 'done' : reason === 'exception' ? `${vector}:${errorCode}` : reason;
};

describe('data segments with a base', () => {
  it('move every form of access', () => {
    const vcpu = program(
      'mov [ebx+4], eax\n push eax\n pop ecx\n mov edx, [esp-4]\n xchg [ebx+8], eax\n db 0xa5\n hlt',
    );
    vcpu.setSegment(Seg.ds, 7, data(DATA, 0xfff));
    vcpu.setSegment(Seg.es, 0xf, data(DATA + 0x100n, 0xfff));
    vcpu.setSegment(Seg.ss, 0x17, data(DATA + 0x1000n, 0xfff));
    vcpu.regs[3] = 0x10n;
    vcpu.regs[0] = 0x11223344n;
    vcpu.regs[4] = 0x800n;
    vcpu.regs[6] = 0x14n;
    vcpu.regs[7] = 0x20n;
    expect(vcpu.run(6).reason).toBe('budget');
    expect(word(0x14)).toBe(0x11223344);
    expect(word(0x17fc)).toBe(0x11223344);
    expect(word(0x120)).toBe(0x11223344);
    expect(word(0x18)).toBe(0x11223344);
    expect([vcpu.regs[1], vcpu.regs[2], vcpu.regs[4]]).toEqual([0x11223344n, 0x11223344n, 0x800n]);
    expect(vcpu.count).toBe(6);
  });
  it('wrap around at 4 GiB', () => {
    const vcpu = program('mov al, [ebx]');
    vcpu.setSegment(Seg.ds, 7, data(DATA, FLAT));
    core.writeData(Uint8Array.of(0x5a));
    vcpu.regs[3] = 0n;
    expect(outcome(vcpu)).toBe('done');
    vcpu.setSegment(Seg.ds, 7, data(0xfffff000n, FLAT));
    vcpu.regs[3] = DATA + 0x1000n;
    vcpu.rip = CODE;
    vcpu.regs[0] = 0n;
    expect(outcome(vcpu)).toBe('done');
    expect(vcpu.regs[0]).toBe(0x5an);
  });
});

describe('code at the end of 4 GiB (XSA-186)', () => {
  const at = (offset: bigint, ...bytes: number[]): Vcpu => {
    const vcpu = program('nop');
    core.writeCode(Uint8Array.from(bytes), 0xf - Number(0xffffffffn - offset));
    vcpu.setSegment(Seg.cs, 7, { base: CODE + 0x10n, limit: 0xffffffff, rights: 0xc0fb });
    vcpu.rip = offset;
    return vcpu;
  };
  it('goes on at offset 0, in 32 bits', () => {
    for (const bytes of [
      [0xb0, 0x5a],
      [0xeb, 0x00],
      [0x74, 0x00],
    ]) {
      const vcpu = at(0xfffffffen, ...bytes);
      expect([outcome(vcpu), vcpu.rip]).toEqual(['done', 0n]);
    }
    // A jump over the end and back.
    const vcpu = at(0xfffffffen, 0xeb, 0x02, 0x90, 0x90, 0xeb, 0xfa);
    expect([outcome(vcpu), vcpu.rip]).toEqual(['done', 2n]);
    expect([outcome(vcpu), vcpu.rip]).toEqual(['done', 0xfffffffen]);
    expect([outcome(vcpu, 1001), vcpu.rip]).toEqual(['done', 2n]);
  });
  it('faults where an instruction lies across it', () => {
    const vcpu = at(0xffffffffn, 0xb0, 0x5a);
    expect([outcome(vcpu), vcpu.rip, vcpu.regs[0]]).toEqual(['13:0', 0xffffffffn, 0n]);
  });
});

describe('limits and rights', () => {
  const access = (segment: Segment, text: string, offset: bigint): string => {
    const vcpu = program(text);
    vcpu.setSegment(Seg.ds, 7, segment);
    vcpu.regs[3] = offset;
    return outcome(vcpu);
  };
  const LOAD = 'mov eax, [ebx]';
  const STORE = 'mov [ebx], eax';
  it('of a segment that grows up: the last byte must lie within', () => {
    const segment = data(DATA, 0xff);
    expect(access(segment, LOAD, 0xfcn)).toBe('done');
    expect(access(segment, LOAD, 0xfdn)).toBe('13:0');
    expect(access(segment, STORE, 0xfdn)).toBe('13:0');
    expect(access(segment, LOAD, 0xffffffffn)).toBe('13:0');
    expect(access(segment, 'mov al, [ebx]', 0xffn)).toBe('done');
  });
  it('of one that grows down: the first byte must lie beyond', () => {
    const segment = data(DATA, 0xff, EXPAND_DOWN);
    expect(access(segment, LOAD, 0x100n)).toBe('done');
    expect(access(segment, LOAD, 0xffn)).toBe('13:0');
    const small = data(DATA - 0xf000n, 0xefff, EXPAND_DOWN & ~0x4000);
    expect(access(small, LOAD, 0xfffcn)).toBe('done');
    expect(access(small, LOAD, 0xfffdn)).toBe('13:0');
    expect(access(small, LOAD, 0x10000n)).toBe('13:0');
  });
  it('to read and to write', () => {
    expect(access(data(DATA, FLAT, READ_ONLY), LOAD, 0n)).toBe('done');
    expect(access(data(DATA, FLAT, READ_ONLY), STORE, 0n)).toBe('13:0');
    expect(access(data(DATA, FLAT, READ_ONLY), 'add [ebx], eax', 0n)).toBe('13:0');
    expect(access(data(DATA, FLAT, EXECUTE_ONLY), LOAD, 0n)).toBe('13:0');
    expect(access(NULL, LOAD, 0n)).toBe('13:0');
  });
  it('come before page faults, in strings element by element', () => {
    const vcpu = vcpuFor([0xf3, 0xaa, 0xf4]);
    vcpu.setSegment(Seg.es, 7, data(DATA, 3));
    vcpu.regs[1] = 10n;
    vcpu.regs[7] = 0n;
    expect(outcome(vcpu, 100)).toBe('13:0');
    expect(vcpu.regs[1]).toBe(6n);
    expect(vcpu.regs[7]).toBe(4n);
  });
  it('of the stack raise #SS, also for operands through EBP', () => {
    const stack = data(DATA, 0x7f);
    const on = (text: string, change: (vcpu: Vcpu) => void): string => {
      const vcpu = program(text);
      vcpu.setSegment(Seg.ss, 7, stack);
      vcpu.regs[4] = 0x40n;
      change(vcpu);
      return outcome(vcpu);
    };
    expect(on('push eax', () => undefined)).toBe('done');
    expect(on('push eax', (vcpu) => void (vcpu.regs[4] = 2n))).toBe('12:0');
    expect(on('push eax', (vcpu) => void (vcpu.regs[4] = 0x100n))).toBe('12:0');
    expect(on('mov eax, [ebp+8]', (vcpu) => void (vcpu.regs[5] = 0x78n))).toBe('12:0');
    expect(on('ret', (vcpu) => void (vcpu.regs[4] = 0x7en))).toBe('12:0');
  });
});

describe('code segments with a base', () => {
  /** call +1; hlt; mov eax, 5; ret */
  const FN = [0xe8, 1, 0, 0, 0, 0xf4, 0xb8, 5, 0, 0, 0, 0xc3];
  it('run with an instruction pointer that is an offset', () => {
    const vcpu = vcpuFor(FN);
    vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: 0xfff, rights: 0x40fb });
    vcpu.setSegment(Seg.ss, 7, data(DATA, 0xfff));
    vcpu.rip = 0n;
    vcpu.regs[4] = 0x100n;
    expect(vcpu.codeAddress).toBe(CODE);
    expect(vcpu.run(1).reason).toBe('budget');
    expect(word(0xfc)).toBe(5);
    expect(vcpu.rip).toBe(6n);
    expect(vcpu.run(100).reason).toBe('privileged');
    expect(vcpu.rip).toBe(5n);
    expect(vcpu.regs[0]).toBe(5n);
  });
  it('fault where control leaves their limit, and where bytes lie beyond it', () => {
    const vcpu = vcpuFor([0xeb, 0x40, 0x90, 0xb8, 1, 2, 3, 4]);
    vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: 5, rights: 0x40fb });
    vcpu.rip = 0n;
    expect(outcome(vcpu)).toBe('13:0');
    expect(vcpu.rip).toBe(0n);
    vcpu.rip = 2n;
    expect(outcome(vcpu)).toBe('done');
    expect(outcome(vcpu)).toBe('13:0');
    expect(vcpu.rip).toBe(3n);
    vcpu.rip = 6n;
    expect(outcome(vcpu)).toBe('13:0');
  });
  it('report faults of fetching by linear address', () => {
    const vcpu = vcpuFor([]);
    vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: FLAT, rights: 0x40fb });
    vcpu.rip = 0x2000n;
    expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 14, address: CODE + 0x2000n });
  });
});

describe('16-bit code', () => {
  const small = (bytes: number[]): Vcpu => {
    const vcpu = vcpuFor(bytes);
    vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: 0xffff, rights: CODE16 });
    vcpu.setSegment(Seg.ss, 0x17, data(DATA, 0xffff, 0x00f3));
    vcpu.setSegment(Seg.ds, 0x1f, data(DATA, 0xffff, 0x00f3));
    vcpu.rip = 0n;
    vcpu.regs[4] = 0xabcd1000n;
    vcpu.regs[3] = 0x10n;
    vcpu.regs[6] = 0x20n;
    return vcpu;
  };
  it('has operands, addresses and a stack pointer of 16 bits', () => {
    // mov ax, 0x1234; push ax; mov [bx+si+2], ax; add eax, eax (66); mov cl, [esi] (67); pop dx
    const vcpu = small([0xb8, 0x34, 0x12, 0x50, 0x89, 0x40, 2, 0x66, 0x01, 0xc0, 0x67, 0x8a, 0x0e, 0x5a, 0xf4]);
    vcpu.regs[0] = 0xffff0000n;
    vcpu.regs[2] = 0n;
    expect(vcpu.run(2).reason).toBe('budget');
    expect(vcpu.regs[4]).toBe(0xabcd0ffen);
    expect(word(0xffc) >>> 16).toBe(0x1234);
    expect(vcpu.run(4).reason).toBe('budget');
    expect(word(0x30) >>> 16).toBe(0x1234);
    expect(vcpu.regs[0]).toBe(0xfffe2468n);
    expect(vcpu.regs[2]).toBe(0x1234n);
    expect(vcpu.regs[4]).toBe(0xabcd1000n);
  });
  it('branches, calls and loops within 64 KiB', () => {
    // mov cx, 3; again: inc ax; loop again; call +1; hlt; ret
    const vcpu = small([0xb9, 3, 0, 0x40, 0xe2, 0xfd, 0xe8, 1, 0, 0xf4, 0xc3]);
    vcpu.regs[0] = 0xffffn;
    vcpu.regs[1] = 0x50000n;
    expect(vcpu.run(100).reason).toBe('privileged');
    expect(vcpu.rip).toBe(9n);
    expect(vcpu.regs[0]).toBe(2n);
    expect(vcpu.regs[1]).toBe(0x50000n);
    const back = small([0xe9, 0xf0, 0xff]);
    back.rip = 0n;
    expect(outcome(back)).toBe('done');
    expect(back.rip).toBe(0xfff3n);
  });
  it('steps and saves flags of 16 bits', () => {
    const vcpu = small([0x9c, 0x9d, 0xf4]);
    vcpu.rflags = Flag.TF | Flag.CF | 2;
    expect(vcpu.run(10)).toMatchObject({ vector: 1, dr6: 0x4000 });
    expect(vcpu.regs[4]).toBe(0xabcd0ffen);
    expect(vcpu.run(10)).toMatchObject({ vector: 1, dr6: 0x4000 });
    expect(vcpu.regs[4]).toBe(0xabcd1000n);
  });
});

describe('16-bit code has instructions without an operand size', () => {
  it.each([
    ['emms', [0x0f, 0x77]],
    ['movd mm1, eax', [0x0f, 0x6e, 0xc8]],
    ['movd eax, mm1', [0x0f, 0x7e, 0xc8]],
    ['movd xmm1, eax', [0x66, 0x0f, 0x6e, 0xc8]],
    ['pinsrd xmm1, eax, 1', [0x66, 0x0f, 0x3a, 0x22, 0xc8, 1]],
    ['pextrd eax, xmm1, 1', [0x66, 0x0f, 0x3a, 0x16, 0xc8, 1]],
    ['lfence', [0x0f, 0xae, 0xe8]],
    ['mfence', [0x0f, 0xae, 0xf0]],
    ['sfence', [0x0f, 0xae, 0xf8]],
    ['paddb mm1, mm0', [0x0f, 0xfc, 0xc8]],
  ] satisfies [string, number[]][])('%s', (_, bytes) => {
    const vcpu = vcpuFor(bytes);
    vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: 0xffff, rights: CODE16 });
    vcpu.rip = 0n;
    vcpu.regs[0] = 0x12345678n;
    expect([outcome(vcpu), vcpu.rip]).toEqual(['done', BigInt(bytes.length)]);
  });
  it('and moves 32 bits with them', () => {
    // movd xmm1, eax; pextrd ecx, xmm1, 0
    const vcpu = vcpuFor([0x66, 0x0f, 0x6e, 0xc8, 0x66, 0x0f, 0x3a, 0x16, 0xc9, 0]);
    vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: 0xffff, rights: CODE16 });
    vcpu.rip = 0n;
    vcpu.regs[0] = 0x12345678n;
    expect(vcpu.run(2).reason).toBe('budget');
    expect(vcpu.regs[1]).toBe(0x12345678n);
  });
});

describe('the x87 unit', () => {
  const FCW = 0;
  const [FSW, FOP] = [2, 6];
  const withUnit = (bytes: number[], fcw: number, fsw = 0): Vcpu => {
    const vcpu = vcpuFor(bytes);
    const fx = vcpu.readFxState();
    const view = new DataView(fx.buffer, fx.byteOffset);
    view.setUint16(FCW, fcw, true);
    view.setUint16(FSW, fsw, true);
    vcpu.writeFxState(fx);
    return vcpu;
  };
  const field = (vcpu: Vcpu, at: number): number => {
    const fx = vcpu.readFxState();
    return new DataView(fx.buffer, fx.byteOffset).getUint16(at, true);
  };
  it.each([0x40fb, CODE16, EXECUTE_ONLY])(
    'notes the opcode of an unmasked exception in code with a base (%i)',
    (rights) => {
      // fadd st0, st2 of an empty stack
      const vcpu = withUnit([0xd8, 0xc2], 0x37e);
      vcpu.setSegment(Seg.cs, 0xf, { base: CODE, limit: 0xfff, rights });
      vcpu.setSegment(Seg.ds, 0x17, NULL);
      vcpu.rip = 0n;
      expect([outcome(vcpu), vcpu.rip]).toEqual(['done', 2n]);
      expect([field(vcpu, FSW), field(vcpu, FOP)]).toEqual([0x80c1, 0xc2]);
    },
  );
  it('raises a pending exception before a segment is looked at', () => {
    // fsub dword fs:[ebx]; paddsb mm2, qword fs:[ebx]; and fnstenv fs:[ebx], which does not wait
    const setup = (bytes: number[]): string => {
      const vcpu = withUnit(bytes, 0x37e, 0x8081);
      vcpu.setSegment(Seg.fs, 0, NULL);
      return outcome(vcpu);
    };
    expect(setup([0x64, 0xd8, 0x23])).toBe('16:-1');
    expect(setup([0x64, 0x0f, 0xec, 0x13])).toBe('16:-1');
    expect(setup([0x64, 0xd9, 0x33])).toBe('13:0');
  });
  it('does not store what an unmasked exception stops, so that no segment forbids it', () => {
    // fstp dword cs:[ebx]; fistp word fs:[ebx]
    for (const bytes of [
      [0x2e, 0xd9, 0x1b],
      [0x64, 0xdf, 0x1b],
    ]) {
      const stopped = withUnit(bytes, 0x37e);
      stopped.setSegment(Seg.fs, 7, data(DATA, FLAT, READ_ONLY));
      expect([outcome(stopped), field(stopped, FSW)]).toEqual(['done', 0x80c1]);
      const stores = withUnit(bytes, 0x37f);
      stores.setSegment(Seg.fs, 7, data(DATA, FLAT, READ_ONLY));
      expect(outcome(stores)).toBe('13:0');
    }
  });
});

describe('bits far from the operand', () => {
  it('lie within 4 GiB', () => {
    // bts [ebx], ecx
    const vcpu = vcpuFor([0x0f, 0xab, 0x0b]);
    vcpu.regs[3] = 0xfffffff0n;
    vcpu.regs[1] = BigInt(Number(DATA) + 0x14) * 8n + 5n;
    expect(outcome(vcpu)).toBe('done');
    expect(word(4)).toBe(32);
    // bt [ebx], ecx
    const below = vcpuFor([0x0f, 0xa3, 0x0b]);
    below.regs[3] = 0x10n;
    below.regs[1] = 0xffffff00n;
    expect(below.run(1)).toMatchObject({ vector: 14, address: 0xfffffff0n });
  });
  it('are what a limit is for', () => {
    // bt fs:[ebx], ecx
    const vcpu = vcpuFor([0x64, 0x0f, 0xa3, 0x0b]);
    vcpu.setSegment(Seg.fs, 7, data(DATA, 0xff));
    vcpu.regs[3] = 0x200n;
    vcpu.regs[1] = 0xfffff000n;
    expect(outcome(vcpu)).toBe('done');
    vcpu.rip = CODE;
    vcpu.regs[3] = 0x10n;
    vcpu.regs[1] = 0x800n;
    expect(outcome(vcpu)).toBe('13:0');
  });
});

it('a segment without a limit has no end that an access could go over', () => {
  // mov eax, cs:[ebx]
  const vcpu = vcpuFor([0x2e, 0x8b, 0x03]);
  vcpu.regs[3] = 0xfffffffen;
  expect(vcpu.run(1)).toMatchObject({ vector: 14, address: 0xfffffffen });
});

it('a stack pointer of 16 bits keeps its upper half at loads of segment registers', () => {
  // pop es of a 16-bit stack; les sp, [ebx]
  const popped = vcpuFor([0x07]);
  popped.setSegment(Seg.ss, 7, data(DATA, 0xffff, 0x00f3));
  popped.regs[4] = 0xabcd1000n;
  expect(popped.run(1).instruction).toMatchObject({ gpr: 4, offset: 0xabcd1004n });
  const loaded = vcpuFor([0x66, 0xc4, 0x23]);
  core.writeData(Uint8Array.of(0x34, 0x12));
  loaded.regs[4] = 0xabcd1000n;
  expect(loaded.run(1).instruction).toMatchObject({ gpr: 4, width: 16, offset: 0xabcd1234n });
});

it('PUSHA of 32 bits stores all of ESP, on a 16-bit stack, too', () => {
  const vcpu = vcpuFor([0x60]);
  vcpu.setSegment(Seg.ss, 7, data(DATA, 0xffff, 0x00f3));
  vcpu.regs[4] = 0xabcd1000n;
  expect(outcome(vcpu)).toBe('done');
  expect([word(0xfec), vcpu.regs[4]]).toEqual([0xabcd1000, 0xabcd0fe0n]);
});

it('ENTER of 32 bits takes all of ESP for a frame, on a 16-bit stack, too', () => {
  // enter 16, 1
  const vcpu = vcpuFor([0xc8, 0x10, 0, 1]);
  vcpu.setSegment(Seg.ss, 7, data(DATA, 0xffff, 0x00f3));
  vcpu.regs[4] = 0xabcd1000n;
  vcpu.regs[5] = 0x12341800n;
  expect(outcome(vcpu)).toBe('done');
  expect([vcpu.regs[4], vcpu.regs[5]]).toEqual([0xabcd0fe8n, 0xabcd0ffcn]);
  expect([word(0xffc), word(0xff8)]).toEqual([0x12341800, 0xabcd0ffc]);
});

describe('FS and GS in code that is flat otherwise', () => {
  const LOOP = 'again: mov eax, fs:[ebx]\n dec ecx\n jnz again\n hlt';
  it('have limits, also in compiled loops', () => {
    const vcpu = program(LOOP);
    vcpu.setSegment(Seg.fs, 7, data(DATA, 0xff));
    vcpu.regs[3] = 0x10n;
    vcpu.regs[1] = 100_000n;
    expect(vcpu.run(10_000_000).reason).toBe('privileged');
    vcpu.setSegment(Seg.fs, 7, data(DATA, 0x12));
    vcpu.rip = CODE;
    vcpu.regs[1] = 10n;
    expect(outcome(vcpu, 100)).toBe('13:0');
    expect(vcpu.rip).toBe(CODE);
    vcpu.setSegment(Seg.fs, 7, data(DATA, FLAT));
    expect(vcpu.run(10_000).reason).toBe('privileged');
  });
  it('fault when they are null, and only where they are used', () => {
    const vcpu = program('nop\n mov eax, gs:[ebx]');
    vcpu.setSegment(Seg.gs, 0, NULL);
    expect(outcome(vcpu)).toBe('done');
    expect(outcome(vcpu)).toBe('13:0');
  });
  it('and CS can not be written through', () => {
    expect(outcome(program('mov cs:[ebx], eax'))).toBe('13:0');
    expect(outcome(program('mov eax, cs:[ebx]'))).toBe('done');
    expect(outcome(program('cmp cs:[ebx], eax'))).toBe('done');
  });
});

it('saved and restored with the rest of the state', () => {
  const vcpu = program('mov [ebx], eax');
  vcpu.setSegment(Seg.ds, 7, data(DATA, 3));
  const saved = vcpu.save();
  vcpu.setSegment(Seg.ds, 0x2b, data(0n, FLAT, 0xc0f3));
  expect(vcpu.segmented).toBe(false);
  vcpu.restore(saved);
  expect(vcpu.segmented).toBe(true);
  expect(outcome(vcpu)).toBe('13:0');
});

it('a null selector is loaded in 64-bit code without asking anybody, but not into SS', () => {
  // mov fs, eax; mov ds, eax; mov ss, eax
  const vcpu = vcpuFor([0x8e, 0xe0, 0x8e, 0xd8, 0x8e, 0xd0]);
  vcpu.mode = 64;
  vcpu.fsBase = 0x1234n;
  vcpu.setSegment(Seg.ds, 7, data(DATA, 0xfff));
  vcpu.regs[0] = 3n;
  expect([outcome(vcpu), outcome(vcpu), outcome(vcpu)]).toEqual(['done', 'done', 'privileged']);
  expect([vcpu.selectors[Seg.fs], vcpu.fsBase, vcpu.segment(Seg.fs)]).toEqual([3, 0n, NULL]);
  expect([vcpu.selectors[Seg.ds], vcpu.segment(Seg.ds)]).toEqual([3, NULL]);
});
