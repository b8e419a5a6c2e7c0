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
