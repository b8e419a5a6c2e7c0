/**
 * Which of several faults an instruction raises (Intel SDM vol. 3, 6.9), in user mode. Where the manual leaves the order
 * to the processor, it is that of the processors whose answers are stored.
 */
import { describe, expect, it } from 'vitest';
import { CODE, createCore, DATA } from './testing/core.js';

const core = createCore();
const PAGE = 4096;
const BEYOND = CODE + BigInt(PAGE);
const NOT_CANONICAL = 1n << 62n;
const AC = 0x40000;

interface Setup {
  mode?: 64 | 32;
  regs?: Record<number, bigint>;
  rflags?: number;
  /** Where in its page the code begins. The page behind it is not there. */
  at?: number;
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.trim().split(' '), (byte) => parseInt(byte, 16));

function start(hex: string, { mode = 64, regs = {}, rflags = 2, at = 0 }: Setup = {}) {
  const vcpu = core.createVcpu();
  core.writeCode(bytesOf(hex), at);
  core.writeData(new Uint8Array(2 * PAGE));
  vcpu.mode = mode;
  vcpu.selectors.set([0x2b, mode === 64 ? 0x33 : 0x23, 0x2b, 0x2b, 0, 0]);
  vcpu.regs[3] = DATA;
  for (const [n, value] of Object.entries(regs)) vcpu.regs[Number(n)] = value;
  vcpu.rflags = rflags;
  vcpu.rip = CODE + BigInt(at);
  return vcpu;
}

/** `vector`, `vector:errorCode` or `14:errorCode@address`, or why the core stopped. */
function outcome(hex: string, setup: Setup = {}): string {
  const { reason, vector, errorCode, address } = start(hex, setup).run(1);
  if (reason !== 'exception') return reason;
  return errorCode < 0 ? `${vector}` : `${vector}:${errorCode}${vector === 14 ? `@${address.toString(16)}` : ''}`;
}
/** The same where the bytes are the last ones of their page. */
const atEnd = (hex: string, setup: Setup = {}): string => outcome(hex, { ...setup, at: PAGE - hex.split(' ').length });

const FETCH = `14:20@${BEYOND.toString(16)}`;

describe('an instruction is undefined only once all of its bytes are there', () => {
  it.each([
    ['f0 73', '00'], // LOCK JAE
    ['f0 05 ea 00', '00 00'], // LOCK ADD EAX, imm32
    ['f0 48 bc 00 00', '00 00 00 00 00 00'], // LOCK MOV RSP, imm64
    ['f0 0f 57', 'c0'], // LOCK XORPS
    ['f0 84 b7 00 00', '00 00'], // LOCK TEST [RDI+disp32], DH
    ['0f 38 b7', 'c0'], // nothing, but with ModRM
    ['0f 38 b7 84', '24 00 00 00 00'], // ... SIB and displacement
    ['0f 3a 3f c0', '00'], // ... and an immediate byte
    ['0f 3a 3f 40 00', '00'],
    ['66 0f 38 fc 40', '00'],
    ['0f c5 40 00', '00'], // PEXTRW of memory
    ['0f 71 c0', '00'], // group 12 /0
    ['0f f7 40', '00'], // MASKMOVQ of memory
  ])('%s|%s', (first, rest) => {
    expect(atEnd(first)).toBe(FETCH);
    expect(atEnd(`${first} ${rest}`)).toBe('6');
  });
  it('with 16-bit addresses', () => {
    expect(atEnd('67 0f 38 b7 86 00', { mode: 32 })).toBe(FETCH);
    expect(atEnd('67 0f 38 b7 86 00 00', { mode: 32 })).toBe('6');
  });
  it('or at once where its opcode says all', () => {
    for (const hex of ['06', '0f 0b', '0f 04', '0f 0a', 'd6']) expect([hex, atEnd(hex)]).toEqual([hex, '6']);
  });
  it('and one of more than 15 bytes is #GP before it is undefined', () => {
    expect(outcome(`${'66 '.repeat(11)}f0 0f 57 c0`)).toBe('6');
    expect(outcome(`${'66 '.repeat(12)}f0 0f 57 c0`)).toBe('13:0');
    expect(outcome(`${'66 '.repeat(12)}0f 38 b7 c0`)).toBe('13:0');
    expect(outcome(`${'66 '.repeat(10)}0f 3a 3f c0 00`)).toBe('6');
    expect(outcome(`${'66 '.repeat(11)}0f 3a 3f c0 00`)).toBe('13:0');
  });
});

describe('an address that is not canonical', () => {
  it.each([
    '8b 01',
    '01 01',
    '0f 6f 01',
    'f2 0f 2d 01',
    'dd 01',
    'db 39',
    'f0 0f c1 01',
    '0f bb 01',
    '67 0f bb 01', // within 4 GiB, where the page is not there
  ])('comes before the alignment of an operand: %s', (hex) => {
    const regs = { 1: NOT_CANONICAL + 1n, 0: 0n };
    const expected = hex.startsWith('67') ? '17:0' : '13:0';
    expect(outcome(hex, { regs, rflags: AC | 2 })).toBe(expected);
    expect(outcome(hex, { regs: { 0: 0n, 1: DATA + 1n }, rflags: AC | 2 })).toBe('17:0');
  });
  it('comes before the alignment of the stack, as #SS', () => {
    expect(outcome('58', { regs: { 4: NOT_CANONICAL + 1n }, rflags: AC | 2 })).toBe('12:0');
    expect(outcome('c9', { regs: { 5: NOT_CANONICAL + 1n }, rflags: AC | 2 })).toBe('12:0');
  });
  it('in RBP raises #SS where ENTER copies frame pointers', () => {
    const regs = { 4: DATA + 0x1800n, 5: NOT_CANONICAL };
    expect(outcome('c8 10 00 00', { regs })).toBe('budget');
    expect(outcome('c8 10 00 02', { regs })).toBe('12:0');
  });
  it.each(['c3', 'c2 10 00', 'ff d1', '36 c3'])('as the target of %s leaves RSP, also at the end of a page', (hex) => {
    const length = hex.split(' ').length;
    for (const at of [0, PAGE - 15, PAGE - length]) {
      const vcpu = start(hex, { regs: { 1: NOT_CANONICAL, 4: DATA + 0x800n }, at });
      const data = new Uint8Array(2 * PAGE);
      data[0x807] = 0x40;
      core.writeData(data);
      expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 13, errorCode: 0 });
      expect([vcpu.rip, vcpu.regs[4]]).toEqual([CODE + BigInt(at), DATA + 0x800n]);
    }
  });
});

describe('what reads and then writes its operand', () => {
  // Bit 2^29 counts from an operand whose page is there to one that is not.
  const regs = { 5: 0x2000_0000n };
  it.each(['0f bb 2b', '67 0f bb 2b', '67 48 0f ab 2b', 'f0 67 0f b3 2b'])('%s says W=1 of a fault', (hex) => {
    const expected = `14:6@${(DATA + 0x400_0000n).toString(16)}`;
    expect(outcome(hex, { regs })).toBe(expected);
    expect(outcome(hex, { regs, rflags: AC | 2 })).toBe(expected);
  });
  it('CMPXCHG16B, too, while operands have to be aligned', () => {
    const beyond = { 3: DATA + 2n * BigInt(PAGE) };
    expect(outcome('48 0f c7 0b', { regs: beyond, rflags: AC | 2 })).toMatch(/^14:6/);
  });
});

describe('undefined', () => {
  it('are MOVBE with F3, and MOV of DR8 to DR15 whatever the privilege', () => {
    expect(outcome('f3 0f 38 f0 03')).toBe('6');
    expect(outcome('f3 0f 38 f1 03')).toBe('6');
    expect(outcome('f3 66 0f 38 f1 03')).toBe('6');
    expect(outcome('66 0f 38 f1 03')).toBe('budget');
    for (const hex of ['44 0f 21 c8', '44 0f 23 c8']) expect(outcome(hex)).toBe('6');
    for (const hex of ['0f 21 c8', '0f 23 f8', '41 0f 21 c8']) expect(outcome(hex)).toBe('privileged');
  });
});

describe('32-bit code', () => {
  const END = DATA + BigInt(2 * PAGE);
  const FAULT = `14:4@${END.toString(16)}`;
  it('compares with the lower bound before it reads the upper one', () => {
    expect(outcome('62 03', { mode: 32, regs: { 0: 0xffff_ffffn, 3: END - 4n } })).toBe('5');
    expect(outcome('62 03', { mode: 32, regs: { 0: 0n, 3: END - 4n } })).toBe(FAULT);
  });
  it('keeps what POPA took before a fault, and the stack pointer', () => {
    const vcpu = start('61', { mode: 32, regs: { 4: END - 8n, 5: 5n, 6: 6n, 7: 7n } });
    expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 14, address: END });
    expect([4, 5, 6, 7].map((n) => vcpu.regs[n])).toEqual([END - 8n, 5n, 0n, 0n]);
  });
  it('reads the stack before it finds that POP can not write through CS', () => {
    expect(outcome('2e 8f 03', { mode: 32, regs: { 4: END } })).toBe(FAULT);
    expect(outcome('2e 8f 03', { mode: 32, regs: { 4: DATA } })).toBe('13:0');
  });
  it('reads through CS, and does not write', () => {
    // MUL, IMUL, DIV by zero, PUSH, CLFLUSH; INC, SETAE
    for (const [hex, told] of [
      ['2e f6 23', 'budget'],
      ['2e f6 2b', 'budget'],
      ['2e f7 33', '0'],
      ['2e ff 33', 'budget'],
      ['2e 0f ae 3b', 'budget'],
      ['2e ff 03', '13:0'],
      ['2e 0f 93 03', '13:0'],
    ])
      expect([hex, outcome(hex!, { mode: 32, regs: { 4: DATA + 64n } })]).toEqual([hex, told]);
  });
});

describe('what is read of the stack', () => {
  const end = DATA + BigInt(2 * PAGE);
  it.each([64, 32] as const)('by POP of a segment register is the selector, in %i-bit code', (mode) => {
    const popped = (hex: string, rsp: bigint, rflags = 2): string => outcome(hex, { mode, regs: { 4: rsp }, rflags });
    for (const hex of mode === 64 ? ['0f a1'] : ['0f a1', '07', '17', '66 1f']) {
      expect(popped(hex, end - 2n)).toBe('privileged');
      expect(popped(hex, end - 1n)).toBe(`14:4@${end.toString(16)}`);
      expect(popped(hex, end - 14n, AC | 2)).toBe('privileged');
      expect(popped(hex, end - 13n, AC | 2)).toBe('17:0');
    }
  });
  it('by a new frame of ENTER is aligned', () => {
    const entered = (hex: string, rsp: bigint): string => outcome(hex, { regs: { 4: rsp }, rflags: AC | 2 });
    expect(entered('c8 10 00 00', DATA + 0x800n)).toBe('budget');
    expect(entered('c8 11 00 00', DATA + 0x800n)).toBe('17:0');
    expect(entered('c8 11 00 00', DATA + 8n)).toBe('17:0');
  });
});

it('the first word of an x87 environment has to be aligned, before its page is looked at', () => {
  const at = (hex: string, address: bigint): string => outcome(hex, { regs: { 1: address }, rflags: AC | 2 });
  // FLDENV, FNSTENV, FRSTOR, FNSAVE, and with words of 16 bits
  for (const hex of ['d9 21', 'd9 31', 'dd 21', 'dd 31']) {
    expect(at(hex, 0x1002n)).toBe('17:0');
    expect(at(hex, DATA + 4n)).toBe('budget');
    expect(at(`66 ${hex}`, DATA + 1n)).toBe('17:0');
    expect(at(`66 ${hex}`, DATA + 2n)).toBe('budget');
  }
});
