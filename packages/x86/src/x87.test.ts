import { createMmu, Pte } from '@paravane/mmu';
import type { DomId, Mfn } from '@paravane/types';
import { describe, expect, it } from 'vitest';
import { decode } from './decode.js';
import { CORE_BYTES, createX86Engine } from './index.js';

const GUEST = 1 as DomId;
const CODE = 0x400000n;
const DATA = 0x401000n;
const CR0 = 0x80050033;
const CR4 = 0x50670;
const [ES, B, IE, ZE, SF] = [0x80, 0x8000, 1, 4, 0x40];
const LDMXCSR_RDI = [0x0f, 0xae, 0x17];
const FXSAVE64_RDI = [0x48, 0x0f, 0xae, 0x07];
const FXRSTOR64_RDI = [0x48, 0x0f, 0xae, 0x0f];

/** A vCPU with code at CODE and one writable page at DATA, to which RDI points. */
function machine(...code: number[][]) {
  const mmu = createMmu({ frames: 64, coreBytes: CORE_BYTES });
  const vcpu = createX86Engine({ mmu }).createVcpu();
  const take = (): Mfn => mmu.frames.allocate(GUEST) as Mfn;
  const [l4, l3, l2, l1, codeFrame, data] = [take(), take(), take(), take(), take(), take()];
  const flags = BigInt(Pte.present | Pte.rw | Pte.user);
  const set = (table: Mfn, index: number, mfn: Mfn): void =>
    mmu.writeU64((table * 4096 + index * 8) as never, (BigInt(mfn) << 12n) | flags);
  set(l4, 0, l3);
  set(l3, 0, l2);
  set(l2, 2, l1);
  set(l1, 0, codeFrame);
  set(l1, 1, data);
  const bytes = code.flat();
  mmu.write(codeFrame, 0, Uint8Array.from([...bytes, 0xf4]));
  vcpu.space = { root: l4, domid: GUEST, paging: 'long', user: true, wp: true, nxe: true, physical: null };
  vcpu.rip = CODE;
  vcpu.regs[7] = DATA;
  vcpu.cr0 = CR0;
  vcpu.cr4 = CR4;
  const memory = new DataView(new ArrayBuffer(4096));
  const run = (): typeof memory => {
    vcpu.run(1000);
    const content = mmu.readVirtual(vcpu.space, DATA, 4096);
    new Uint8Array(memory.buffer).set(content!);
    return memory;
  };
  const fx = (): DataView => new DataView(vcpu.readFxState().buffer);
  return { vcpu, mmu, data, run, fx };
}
const exception = (vcpu: ReturnType<typeof machine>['vcpu']): { vector: number; errorCode: number; rip: bigint } => {
  const exit = vcpu.run(1000);
  expect(exit.reason).toBe('exception');
  return { vector: exit.vector, errorCode: exit.errorCode, rip: vcpu.rip };
};

const FNINIT = [0xdb, 0xe3];
const FLD1 = [0xd9, 0xe8];
const FLDZ = [0xd9, 0xee];
const FLDPI = [0xd9, 0xeb];
const FWAIT = [0x9b];

describe('FSTP of the encoding D9 D8+i', () => {
  const state = (...code: number[][]) => {
    const { fx, run } = machine(FNINIT, ...code);
    run();
    return { fsw: fx().getUint16(2, true), ftw: fx().getUint8(4), st1: fx().getUint16(32 + 16 + 8, true) };
  };
  it('stores and pops as the other does', () => {
    // π from ST(0) to ST(2), which is ST(1) then.
    const code = [FLD1, FLDZ, FLDPI];
    expect(state(...code, [0xd9, 0xda])).toEqual(state(...code, [0xdd, 0xda]));
    expect(state(...code, [0xd9, 0xda])).toMatchObject({ fsw: 6 << 11, ftw: 0xc0, st1: 0x4000 });
  });
  it('of an empty register only pops', () => {
    expect(state([0xd9, 0xda])).toMatchObject({ fsw: 1 << 11, ftw: 0 });
    expect(state([0xdd, 0xda])).toMatchObject({ fsw: (1 << 11) | IE | SF, ftw: 4 });
  });
});

describe('x87 encodings', () => {
  /** ModRM bytes C0…FF of each opcode that name no instruction (Intel SDM vol. 2, A.5; with the aliases that processors have). */
  const invalid: [number, number[]][] = [
    [0xd8, []],
    [0xd9, [0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xe2, 0xe3, 0xe6, 0xe7, 0xef]],
    [0xda, [...span(0xe0, 0xe8), ...span(0xea, 0xff)]],
    [0xdb, [0xe5, 0xe6, 0xe7, ...span(0xf8, 0xff)]],
    [0xdc, []],
    [0xdd, span(0xf0, 0xff)],
    [0xde, [0xd8, ...span(0xda, 0xdf)]],
    [0xdf, [...span(0xe1, 0xe7), ...span(0xf8, 0xff)]],
  ];
  function span(first: number, last: number): number[] {
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }
  it.each(invalid)('of %i are all there are', (opcode, expected) => {
    const found = span(0xc0, 0xff).filter((modrm) => {
      const bytes = Uint8Array.from([opcode, modrm, ...Array.from({ length: 14 }, () => 0x90)]);
      return decode(bytes, 0, bytes.length, 64) === null;
    });
    expect(found).toEqual(expected);
  });
});

describe('x87', () => {
  it('adds and stores', () => {
    // fninit; fld1; fldpi; faddp; fstp qword [rdi]
    const { run, fx } = machine(FNINIT, FLD1, FLDPI, [0xde, 0xc1], [0xdd, 0x1f]);
    expect(run().getFloat64(0, true)).toBe(Math.PI + 1);
    expect(fx().getUint8(4)).toBe(0);
    expect(fx().getUint16(2, true) & 0x3f).toBe(0x20);
  });
  it('raises #NM when TS is set, and #MF on the next waiting instruction only', () => {
    // fninit; fldcw [rdi]; fldz; fld1; fdiv st0, st1; fneni; fndisi; fnsetpm; fnstsw ax; fwait
    const NO_WAIT = [0xdb, 0xe0, 0xdb, 0xe1, 0xdb, 0xe4, 0xdf, 0xe0];
    const { vcpu, mmu, data } = machine(FNINIT, [0xd9, 0x2f], FLDZ, FLD1, [0xd8, 0xf1], NO_WAIT, FWAIT);
    mmu.write(data, 0, Uint8Array.of(0x7b, 0x03));
    vcpu.cr0 = CR0 | 8;
    expect(exception(vcpu)).toEqual({ vector: 7, errorCode: -1, rip: CODE });
    vcpu.cr0 = CR0;
    expect(exception(vcpu)).toEqual({ vector: 16, errorCode: -1, rip: CODE + 18n });
    expect(Number(vcpu.regs[0]) & (ES | B | 0x3f)).toBe(ES | B | ZE);
    const fx = new DataView(vcpu.readFxState().buffer);
    // The operands are as they were; FOP, FIP name the division.
    expect(fx.getUint16(32 + 8, true)).toBe(0x3fff);
    expect(fx.getUint16(6, true)).toBe(0x0f1);
    expect(fx.getBigUint64(8, true)).toBe(CODE + 8n);
  });
  it('answers a stack fault with the indefinite NaN and C1', () => {
    const loads = Array.from({ length: 9 }, () => FLD1);
    const { run, fx } = machine(FNINIT, ...loads);
    run();
    expect(fx().getUint16(2, true)).toBe((7 << 11) | 0x200 | SF | IE);
    expect(fx().getUint16(32 + 8, true)).toBe(0xffff);
    expect(fx().getBigUint64(32, true)).toBe(0xc000000000000000n);
  });
  it('leaves no trace of an instruction whose operand faults', () => {
    const { vcpu, fx } = machine(FNINIT, [0xdd, 0x07]);
    vcpu.regs[7] = 0x700000n;
    expect(exception(vcpu)).toMatchObject({ vector: 14, rip: CODE + 2n });
    expect(fx().getUint8(4)).toBe(0);
    expect(fx().getUint16(2, true)).toBe(0);
  });
  it('saves the environment in both sizes and masks exceptions', () => {
    // fninit; fldz; fld1; fnstenv [rdi]; data16 fnstenv [rdi+64]; fnstcw [rdi+128]
    const { run, vcpu } = machine(
      FNINIT,
      [0xd9, 0x6f, 0x20],
      FLDZ,
      FLD1,
      [0xd9, 0x37],
      [0x66, 0xd9, 0x77, 0x40],
      [0xd9, 0xbf, 128, 0, 0, 0],
    );
    vcpu.regs[7] = DATA;
    const memory = run();
    const tags = (0xffff & ~(3 << 14) & ~(3 << 12)) | (1 << 14);
    expect(memory.getUint32(4, true)).toBe(0xffff3000);
    expect(memory.getUint32(8, true)).toBe((0xffff0000 | tags) >>> 0);
    expect(memory.getUint32(12, true)).toBe(Number(CODE) + 7);
    expect(memory.getUint16(64 + 4, true)).toBe(tags);
    expect(memory.getUint16(128, true) & 0x3f).toBe(0x3f);
  });
  it('keeps a value through FNSAVE and FRSTOR', () => {
    // fninit; fldpi; fnsave [rdi]; frstor [rdi]; fstp qword [rdi+128]
    const { run } = machine(FNINIT, FLDPI, [0xdd, 0x37], [0xdd, 0x27], [0xdd, 0x9f, 128, 0, 0, 0]);
    expect(run().getFloat64(128, true)).toBe(Math.PI);
  });
  it('stores packed decimals and loads them again', () => {
    // fninit; fild dword [rdi]; fbstp [rdi+16]; fbld [rdi+16]; fistp dword [rdi+32]
    const { run, mmu, data } = machine(FNINIT, [0xdb, 0x07], [0xdf, 0x77, 16], [0xdf, 0x67, 16], [0xdb, 0x5f, 32]);
    const value = new DataView(new ArrayBuffer(4));
    value.setInt32(0, -12345678, true);
    mmu.write(data, 0, new Uint8Array(value.buffer));
    const memory = run();
    expect(Array.from({ length: 10 }, (_, i) => memory.getUint8(16 + i))).toEqual([
      0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0, 0x80,
    ]);
    expect(memory.getInt32(32, true)).toBe(-12345678);
  });
});

describe('FXSAVE and FXRSTOR', () => {
  it('show a new vCPU nothing of another (XSA-165)', () => {
    const engine = createX86Engine({ mmu: createMmu({ frames: 64, coreBytes: CORE_BYTES }) });
    const one = engine.createVcpu();
    const full = new Uint8Array(512).fill(0xa5);
    full.set([0x7f, 3, 0, 0, 0xff, 0], 0);
    full.set([0x80, 0x1f, 0, 0], 24);
    one.writeFxState(full);
    expect(one.readFxState().subarray(160, 416)).toEqual(full.subarray(160, 416));
    // FCW and MXCSR have their defaults, all else is 0; MXCSR_MASK is not the vCPU’s.
    const expected = new Uint8Array(512);
    expected.set([0x7f, 3], 0);
    expected.set([0x80, 0x1f], 24);
    const fresh = engine.createVcpu().readFxState();
    fresh.fill(0, 28, 32);
    expect(fresh).toEqual(expected);
  });

  it('move the state and drop what is reserved', () => {
    const { vcpu, run, fx } = machine(FNINIT, FLDPI, FXSAVE64_RDI, FNINIT, FXRSTOR64_RDI);
    vcpu.writeFxState(vcpu.readFxState());
    const memory = run();
    expect(memory.getUint16(0, true)).toBe(0x37f);
    expect(memory.getUint16(2, true)).toBe(7 << 11);
    expect(memory.getUint8(4)).toBe(0x80);
    expect(memory.getBigUint64(8, true)).toBe(CODE + 2n);
    expect(memory.getUint32(28, true)).toBe(0xffff);
    expect(memory.getBigUint64(32, true)).toBe(0xc90fdaa22168c235n);
    expect(fx().getBigUint64(32, true)).toBe(0xc90fdaa22168c235n);
  });
  it('need an address on a 16-byte boundary, no reserved bit of MXCSR, and TS clear', () => {
    const misaligned = machine(FXSAVE64_RDI);
    misaligned.vcpu.regs[7] = DATA + 8n;
    expect(exception(misaligned.vcpu)).toMatchObject({ vector: 13, errorCode: 0 });
    const reserved = machine(FXRSTOR64_RDI);
    reserved.mmu.write(reserved.data, 24, Uint8Array.of(0, 0, 1, 0));
    expect(exception(reserved.vcpu)).toMatchObject({ vector: 13, errorCode: 0 });
    const switched = machine(FXSAVE64_RDI);
    switched.vcpu.cr0 = CR0 | 8;
    expect(exception(switched.vcpu)).toMatchObject({ vector: 7 });
    const mxcsr = machine(LDMXCSR_RDI);
    mxcsr.mmu.write(mxcsr.data, 0, Uint8Array.of(0, 0, 1, 0));
    expect(exception(mxcsr.vcpu)).toMatchObject({ vector: 13, errorCode: 0 });
  });
});

describe('MMX', () => {
  const MOVQ_MM1_RDI = [0x0f, 0x6f, 0x0f];
  const PADDW_MM1_RDI = [0x0f, 0xfd, 0x0f];
  const MOVQ_RDI_MM1 = [0x0f, 0x7f, 0x0f];
  const EMMS = [0x0f, 0x77];

  it('adds words and marks the x87 registers as used', () => {
    const { run, fx, mmu, data } = machine(FNINIT, FLD1, MOVQ_MM1_RDI, PADDW_MM1_RDI, MOVQ_RDI_MM1);
    mmu.write(data, 0, Uint8Array.of(0xff, 0xff, 1, 0, 0, 0x80, 0x34, 0x12));
    expect(run().getBigUint64(0, true)).toBe(0x246800000002fffen);
    expect(fx().getUint16(2, true)).toBe(0);
    expect(fx().getUint8(4)).toBe(0xff);
    expect(fx().getUint16(32 + 16 + 8, true)).toBe(0xffff);
  });
  it('is left by EMMS', () => {
    const { run, fx } = machine(FNINIT, MOVQ_MM1_RDI, EMMS);
    run();
    expect(fx().getUint8(4)).toBe(0);
  });
  it('raises #UD, #NM or #MF where it can not be used', () => {
    const { vcpu } = machine(MOVQ_MM1_RDI);
    vcpu.cr0 = CR0 | 4;
    expect(exception(vcpu)).toMatchObject({ vector: 6 });
    vcpu.cr0 = CR0 | 8;
    expect(exception(vcpu)).toMatchObject({ vector: 7 });
    vcpu.cr0 = CR0;
    const image = vcpu.readFxState();
    image.set([0, 0, ES | ZE, B >> 8], 0);
    vcpu.writeFxState(image);
    expect(exception(vcpu)).toMatchObject({ vector: 16 });
  });
});
