/** 16-bit code whose selectors are paragraphs: real-address and virtual-8086 mode (Intel SDM vol. 3, chapter 21). */
import { Flag, Seg, type Segment } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { CODE, createCore, DATA } from './testing/core.js';

const core = createCore();
const V86 = { cr0: 0x80050033, rflags: Flag.VM | 2 };
const REAL = { cr0: 0x80050032, rflags: 2 };
const MODES = [
  ['virtual-8086 mode', V86],
  ['real-address mode', REAL],
] as const;

const segment = (base: bigint, rights: number): Segment => ({ base, limit: 0xffff, rights });

function start(bytes: readonly number[], { cr0, rflags }: typeof V86 = V86) {
  const vcpu = core.createVcpu();
  core.writeCode(Uint8Array.from([...bytes, 0xf4]));
  core.writeData(Uint8Array.from({ length: 8192 }, (_, i) => i & 0xff));
  vcpu.mode = 32;
  vcpu.setSegment(Seg.cs, Number(CODE >> 4n) & 0xffff, segment(CODE, 0x00fb));
  for (const register of [Seg.ss, Seg.ds, Seg.es, Seg.fs, Seg.gs])
    vcpu.setSegment(register, Number(DATA >> 4n) & 0xffff, segment(DATA, 0x00f3));
  vcpu.cr0 = cr0;
  vcpu.cr4 = 0x660;
  vcpu.rflags = rflags;
  vcpu.rip = 0n;
  vcpu.regs[4] = 0x100n;
  vcpu.regs[3] = 0x20n;
  return vcpu;
}

function outcome(bytes: readonly number[], setup: typeof V86 = V86): string {
  const { reason, vector, errorCode, instruction } = start(bytes, setup).run(1);
  if (reason === 'exception') return errorCode < 0 ? `${vector}` : `${vector}:${errorCode}`;
  if (reason === 'interrupt') return `interrupt ${vector}`;
  return reason === 'privileged' ? `privileged ${instruction!.mnemonic}` : reason;
}

describe.each(MODES)('%s', (_name, setup) => {
  it.each([
    ['ARPL', [0x63, 0xc0]],
    ['SLDT', [0x0f, 0x00, 0xc0]],
    ['STR', [0x0f, 0x00, 0xc8]],
    ['LLDT', [0x0f, 0x00, 0xd0]],
    ['LTR', [0x0f, 0x00, 0xd8]],
    ['VERR', [0x0f, 0x00, 0xe0]],
    ['VERW', [0x0f, 0x00, 0xe8]],
    ['LAR', [0x0f, 0x02, 0xc0]],
    ['LSL', [0x0f, 0x03, 0xc0]],
    ['ANDN by VEX', [0xc4, 0xe2, 0x78, 0xf2, 0xc3]],
  ])('has no %s', (_mnemonic, bytes) => {
    expect(outcome(bytes, setup)).toBe('6');
  });
  it('keeps the machine status word readable', () => {
    expect(outcome([0x0f, 0x01, 0xe0], setup)).toBe('privileged SMSW');
  });
  it('leaves loads of segments and far transfers to the personality', () => {
    expect(outcome([0x8e, 0xd8], setup)).toBe('privileged LOAD_SEGMENT');
    expect(outcome([0xc5, 0x07], setup)).toBe('privileged LOAD_SEGMENT');
    expect(outcome([0xea, 0, 0, 0, 0], setup)).toBe('privileged FAR_TRANSFER');
  });
  it('addresses by 16 bits that wrap around, and faults beyond the end of a segment', () => {
    const vcpu = start([0x8b, 0x40, 0x10], setup);
    vcpu.regs[3] = 0xfff8n;
    vcpu.regs[6] = 0x18n;
    expect(vcpu.run(1).reason).toBe('budget');
    expect(vcpu.regs[0]! & 0xffffn).toBe(0x2120n);
    const over = start([0x67, 0x8b, 0x03], setup);
    over.regs[3] = 0xffffn;
    expect(over.run(1)).toMatchObject({ reason: 'exception', vector: 13, errorCode: 0 });
    const stack = start([0x67, 0x8b, 0x45, 0x00], setup);
    stack.regs[5] = 0xffffn;
    expect(stack.run(1)).toMatchObject({ reason: 'exception', vector: 12, errorCode: 0 });
  });
  it('takes 32-bit operands and addresses by prefixes', () => {
    const vcpu = start([0x66, 0x67, 0x8b, 0x44, 0x8b, 0x04], setup);
    vcpu.regs[1] = 2n;
    expect(vcpu.run(1).reason).toBe('budget');
    expect(vcpu.regs[0]).toBe(0x2f2e2d2cn);
  });
});

describe('virtual-8086 mode', () => {
  const SENSITIVE: [string, number[]][] = [
    ['PUSHF', [0x9c]],
    ['POPF', [0x9d]],
    ['PUSHFD', [0x66, 0x9c]],
    ['INT n', [0xcd, 0x21]],
  ];
  it.each(SENSITIVE)('with IOPL below 3 keeps %s from the program', (_name, bytes) => {
    expect(outcome(bytes)).toBe('13:0');
    expect(outcome(bytes, { ...V86, rflags: V86.rflags | 0x2000 })).toBe('13:0');
  });
  it('lets INT3 pass at any IOPL, and INT n at 3', () => {
    expect(outcome([0xcc])).toBe('interrupt 3');
    expect(outcome([0xcd, 0x21], { ...V86, rflags: V86.rflags | 0x3000 })).toBe('interrupt 33');
  });
  it('hides VM and RF from PUSHF, and changes IF but not IOPL by POPF, at IOPL 3', () => {
    const vcpu = start([0x66, 0x9c, 0x66, 0x9d], { ...V86, rflags: V86.rflags | 0x3000 | Flag.CF });
    expect(vcpu.run(1).reason).toBe('budget');
    const pushed = new DataView(core.readData().buffer).getUint32(0xfc, true);
    expect(pushed).toBe(0x3003);
    core.writeData(Uint8Array.from({ length: 8192 }, (_, i) => [0xd5, 0x02][i - 0xfc] ?? 0));
    expect(vcpu.run(1).reason).toBe('budget');
    expect(vcpu.rflags).toBe(Flag.VM | 0x3000 | 0x2d7);
  });
  it('is ring 3: UMIP and alignment checks hold', () => {
    const umip = start([0x0f, 0x01, 0xe0]);
    umip.cr4 = 0xe60;
    expect(umip.run(1)).toMatchObject({ vector: 13, errorCode: 0 });
    const aligned = start([0x8b, 0x47, 0x01], { ...V86, rflags: V86.rflags | Flag.AC });
    aligned.cr0 = V86.cr0 | 0x40000;
    expect(aligned.run(1)).toMatchObject({ reason: 'exception', vector: 17, errorCode: 0 });
  });
});

describe('real-address mode', () => {
  it('is ring 0: POPF changes IOPL and IF, UMIP and alignment checks do not hold', () => {
    const vcpu = start([0x9d], REAL);
    core.writeData(Uint8Array.from({ length: 8192 }, (_, i) => [0x02, 0x32][i - 0x100] ?? 0));
    expect(vcpu.run(1).reason).toBe('budget');
    expect(vcpu.rflags).toBe(0x3202);
    const umip = start([0x0f, 0x01, 0xe0], REAL);
    umip.cr4 = 0xe60;
    expect(umip.run(1).reason).toBe('privileged');
    const aligned = start([0x8b, 0x47, 0x01], { ...REAL, rflags: 2 | Flag.AC });
    aligned.cr0 = REAL.cr0 | 0x40000;
    expect(aligned.run(1).reason).toBe('budget');
  });
});
