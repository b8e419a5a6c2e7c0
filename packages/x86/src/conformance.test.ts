/**
 * Facts that test suites of processors check, each a line: bytes, and the exception that they raise in user mode with
 * RBX at a page of data and RCX at an address that is not canonical.
 */
import { describe, expect, it } from 'vitest';
import { CODE, createCore, DATA } from './testing/core.js';

const core = createCore();

interface Setup {
  mode?: 64 | 32;
  regs?: Record<number, bigint>;
  cr0?: number;
  cr4?: number;
  data?: Record<number, number[]>;
  mxcsr?: number;
  steps?: number;
  rflags?: number;
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.trim().split(/\s+/), (byte) => parseInt(byte, 16));

function start(hex: string, { mode = 64, regs = {}, cr0, cr4, data = {}, mxcsr, rflags = 2 }: Setup = {}) {
  const vcpu = core.createVcpu();
  const code = new Uint8Array(64).fill(0x90);
  code.set(bytesOf(hex));
  core.writeCode(code);
  const memory = new Uint8Array(8192);
  for (const [at, bytes] of Object.entries(data)) memory.set(bytes, Number(at));
  core.writeData(memory);
  vcpu.mode = mode;
  vcpu.selectors.set([0x2b, mode === 64 ? 0x33 : 0x23, 0x2b, 0x2b, 0, 0]);
  vcpu.regs[3] = DATA;
  vcpu.regs[1] = 1n << 62n;
  for (const [n, value] of Object.entries(regs)) vcpu.regs[Number(n)] = value;
  vcpu.xcr0 = 3;
  if (cr0 !== undefined) vcpu.cr0 = cr0;
  if (cr4 !== undefined) vcpu.cr4 = cr4;
  vcpu.rflags = rflags;
  if (mxcsr !== undefined) {
    const fx = vcpu.readFxState();
    new DataView(fx.buffer).setUint32(24, mxcsr, true);
    vcpu.writeFxState(fx);
  }
  return vcpu;
}

/** `done +n` with the length, or the exception as `vector:errorCode`, or why the core stopped. */
function outcome(hex: string, setup: Setup = {}): string {
  const vcpu = start(hex, setup);
  const { reason, vector, errorCode, instruction } = vcpu.run(setup.steps ?? 1);
  if (reason === 'budget') return `done +${vcpu.rip - CODE}`;
  if (reason === 'exception') return errorCode < 0 ? `${vector}` : `${vector}:${errorCode}`;
  return reason === 'privileged' ? `privileged ${instruction!.mnemonic}` : reason;
}

const UD = '6';
const GP = '13:0';
const lines = (text: string): [string, string][] =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim())
    .map((line) => {
      const [hex, expected] = line.split(/ {2,}/);
      return [hex!, expected!.replace(/ *#.*/, '')] as [string, string];
    });

describe('opcodes without an instruction raise #UD', () => {
  it.each(
    [
      '0f 0b',
      '0f b9 c0',
      '0f ff c0', // UD2, UD1, UD0
      '06',
      '07',
      '0e',
      '16',
      '17',
      '1e',
      '1f',
      '27',
      '2f',
      '37',
      '3f',
      '60',
      '61',
      '62 c0',
      '82 c0 00',
      '9a 00 00 00 00 00 00',
      'ce',
      'd4 0a',
      'd5 0a',
      'd6',
      'ea 00 00 00 00 00 00',
      '0f 04',
      '0f 0a',
      '0f 0c',
      '0f 0e',
      '0f 0f c0 00',
      '0f 24 c0',
      '0f 26 c0',
      '0f 36',
      '0f 39',
      '0f 3b',
      '0f 3c',
      '0f 3f',
      '0f a6 c0',
      '0f a7 c0',
      '0f 7a c0',
      '0f 7b c0',
      '0f 78 c0',
      '0f 79 c0',
      'fe d0',
      'fe d8',
      'fe e0',
      'ff f8',
      'ff 38',
      'c6 c8 00',
      'c7 c8 00 00 00 00',
      'c6 f8 00',
      'c7 f8 00 00 00 00',
      '8f c8',
      '0f ba c0 00',
      '0f ba d8 00',
      '0f 71 c0 00',
      '66 0f 71 d8 00',
      '0f 72 c0 00',
      '0f 73 d8 00',
      '0f 73 f8 00',
      '0f c7 c0',
      '0f c7 c8',
      '48 0f c7 c8',
      '0f 00 f0',
      '0f 00 f8',
      '0f 01 c2',
      '0f 01 c3',
      '0f 01 c4',
      '0f 01 d4',
      '0f 01 d5',
      '0f 01 d6',
      '0f 01 28',
      '0f ae d0',
      '0f ae c0',
      '0f 12 00 66',
      '8d c0',
      '0f b2 c0',
      '0f b4 c0',
      '0f b5 c0',
      '0f c3 c0',
      '0f e7 c0',
      '66 0f e7 c0',
      '0f 2b c0',
      '66 0f 2b c0',
      'f2 0f f0 c0',
      '0f 50 00',
      '66 0f 50 00',
      '66 0f d7 00',
      'f3 0f d6 00',
      'f2 0f d6 00',
      '0f f7 00',
      'd9 d1',
      'd9 d8 f0',
      'd9 e2',
      'd9 e6',
      'd9 ef',
      'da e0',
      'da e8',
      'db e5',
      'db f8',
      'dd f0',
      'dd 28',
      'd9 08',
      'db 20',
      'db 30',
      'de d8',
      'de da',
      'df e1',
      'df f8',
      '8c f0',
      '8c f8',
      '8e f0',
      '8e f8',
      '8e c8',
      '8e 0b',
      '66 0f 38 f8 00',
      '0f 38 f2 c0',
      '0f 3a 00 c0 00',
      '66 0f 3a 00 c0 00',
      '0f 38 0c c0',
      'f3 0f 38 00 c0',
      'f3 0f 58 c0 f0 90 f0',
    ].filter((hex) => !/(66|f0)$/.test(hex)),
  )('%s', (hex) => {
    expect(outcome(hex)).toBe(UD);
  });
});

describe('LOCK', () => {
  it.each([
    'f0 90',
    'f0 01 c0',
    'f0 39 03',
    'f0 3b 03',
    'f0 03 03',
    'f0 89 03',
    'f0 8b 03',
    'f0 85 03',
    'f0 f7 03 00 00 00 00',
    'f0 0f a3 03',
    'f0 0f ba 23 00',
    'f0 c1 03 00',
    'f0 d1 03',
    'f0 8d 03',
    'f0 ff 33',
    'f0 ff 13',
    'f0 ff 23',
    'f0 f7 23',
    'f0 50',
    'f0 a4',
    'f0 cc',
    'f0 0f 05',
    'f0 0f a2',
    'f0 0f af 03',
    'f0 0f 40 03',
    'f0 0f c7 f0',
    'f0 d8 03',
    'f0 0f 58 03',
    'f0 0f ae e8',
    'f0 eb 00',
    'f0 e8 00 00 00 00',
    'f0 f4',
    'f0 9b',
    'f0 0f 38 f0 03',
    'f0 0f c3 03',
    'f0 0f 31',
    'f0 0f 1f 00',
    'f0 0f 18 00',
    'f0 0f 0b',
    'f0 c4 e2 78 f2 03',
    'f0 87 c0',
    'f0 0f b1 c0',
    'f0 0f c1 c0',
  ])('%s raises #UD', (hex) => {
    expect(outcome(hex)).toBe(UD);
  });
  it.each([
    'f0 01 03',
    'f0 11 03',
    'f0 21 03',
    'f0 83 03 01',
    'f0 80 33 01',
    'f0 ff 03',
    'f0 ff 0b',
    'f0 f7 13',
    'f0 f7 1b',
    'f0 fe 03',
    'f0 0f ab 03',
    'f0 0f b3 03',
    'f0 0f bb 03',
    'f0 0f ba 2b 01',
    'f0 0f b1 03',
    'f0 0f b0 03',
    'f0 0f c1 03',
    'f0 0f c0 03',
    'f0 0f c7 0b',
    'f0 48 0f c7 0b',
    'f0 87 03',
    'f0 86 03',
    '87 03',
  ])('%s is an instruction', (hex) => {
    expect(outcome(hex, { regs: { 1: 0n } })).toMatch(/^done/);
  });
});

describe('hints are instructions without an effect', () => {
  it.each([
    '0f 0d 03',
    '0f 0d 0b',
    '0f 0d 13',
    '0f 18 03',
    '0f 18 0b',
    '0f 18 13',
    '0f 18 1b',
    '0f 18 23',
    '0f 18 3b',
    '0f 18 c0',
    '0f 19 03',
    '0f 1a 03',
    '0f 1b c0',
    '0f 1c 03',
    '0f 1d c0',
    '0f 1e 03',
    '0f 1f 03',
    '0f 1f c0',
    '66 0f 1f 44 00 00',
    'f3 0f 1e fa',
    'f3 0f 1e fb',
    'f3 0f 1e c8',
    'f3 48 0f 1e c8',
    'f3 90',
    '66 90',
    '48 90',
    '66 2e 0f 1f 84 00 00 00 00 00',
    '2e 75 00',
    '3e 74 00',
    'f2 c3 f2'.slice(0, 0) || 'f2 90',
    '40 90',
    '66 66 66 90',
  ])('%s', (hex) => {
    expect(outcome(hex)).toBe(`done +${bytesOf(hex).length}`);
  });
  it('touch no memory', () => {
    for (const hex of ['0f 1f 01', '0f 18 09', '0f 0d 09', '0f 1e 01']) expect(outcome(hex)).toBe('done +3');
  });
});

describe('length', () => {
  const padded = (count: number): string => `${'66 '.repeat(count)}90`;
  it('of 15 bytes is the most', () => {
    expect(outcome(padded(14))).toBe('done +15');
    expect(outcome(padded(15))).toBe(GP);
    expect(outcome(`${'2e '.repeat(10)}48 b8 00 00 00 00`)).toBe(GP);
    expect(outcome(`${'2e '.repeat(11)}05 00 00 00 00`)).toBe(GP);
    expect(outcome(`${'2e '.repeat(10)}05 00 00 00 00`)).toBe('done +15');
    // Invalid only behind its fifteenth byte, and before it.
    expect(outcome(`${'66 '.repeat(15)}06`)).toBe(GP);
    expect(outcome(`${'66 '.repeat(14)}06`)).toBe(UD);
  });
  it('counts a REX that another prefix makes void', () => {
    const vcpu = start('48 66 b8 34 12', { regs: { 0: 0x1111_2222_3333_4444n } });
    vcpu.run(1);
    expect([vcpu.regs[0], vcpu.rip]).toEqual([0x1111_2222_3333_1234n, CODE + 5n]);
  });
});

describe('VEX', () => {
  it.each(
    lines(`
      c4 e2 78 f2 c3              done +5   # ANDN
      66 c4 e2 78 f2 c3           6
      f3 c4 e2 78 f2 c3           6
      f2 c4 e2 78 f2 c3           6
      48 c4 e2 78 f2 c3           6
      f0 c4 e2 78 f2 c3           6
      c4 e2 7c f2 c3              6         # VEX.L
      c4 e3 7b f0 c3 01           done +6   # RORX
      c4 e3 73 f0 c3 01           6         # and a register in VEX.vvvv that it has none for
      c4 e2 79 f2 c3              6
      c4 e0 78 f2 c3              6
      c4 e4 78 f2 c3              6
      c4 e2 78 f3 c3              6         # group 17 without /1 to /3
      c4 e2 78 f3 cb              done +5
      c5 f8 58 c0                 6         # VADDPS: no AVX
      c5 f8 77                    6
    `),
  )('%s: %s', (hex, expected) => {
    expect(outcome(hex)).toBe(expected);
  });
  it('in 32-bit code has eight registers and 32 bits', () => {
    const at = (hex: string): bigint[] => {
      const vcpu = start(hex, { mode: 32, regs: { 0: 0xffff_0000n, 2: 0x1234_5678n, 1: 0xfn } });
      expect(vcpu.run(1).reason).toBe('budget');
      return [vcpu.regs[0]!, vcpu.regs[2]!];
    };
    // ANDN EAX, ECX, EDX with the upper bit of VEX.vvvv either way, and with VEX.W.
    expect(at('c4 e2 70 f2 c2')).toEqual([0x1234_5670n, 0x1234_5678n]);
    expect(at('c4 e2 30 f2 c2')).toEqual([0x1234_5670n, 0x1234_5678n]);
    expect(at('c4 e2 f0 f2 c2')).toEqual([0x1234_5670n, 0x1234_5678n]);
  });
});

describe('an address that is not canonical', () => {
  it.each(
    lines(`
      8b 01                       13:0
      89 01                       13:0
      01 01                       13:0
      8b 04 0c                    12:0      # RSP as base
      8b 44 0d 00                 12:0      # RBP as base
      64 8b 01                    13:0
      0f 10 01                    13:0
      0f 28 01                    13:0
      dd 01                       13:0
      0f ae 01                    13:0
      0f c7 09                    13:0
      0f 18 01                    done +3
      ff 21                       13:0
      ff e1                       13:0
      ff d1                       13:0
      66 0f e7 01                 13:0
      0f ae 39                    13:0      # CLFLUSH
    `),
  )('%s: %s', (hex, expected) => {
    expect(outcome(hex, { regs: { 4: DATA + 0x1800n, 5: DATA } })).toBe(expected);
  });
  it('in RSP raises #SS', () => {
    for (const hex of ['50', '58', 'c3', 'e8 00 00 00 00', '9c', '9d', 'c8 00 00 00', '6a 00', 'ff 33', '8f 03'])
      expect([hex, outcome(hex, { regs: { 4: 1n << 62n } })]).toEqual([hex, '12:0']);
    expect(outcome('c9', { regs: { 5: 1n << 62n } })).toBe('12:0');
  });
  it('is one that reaches over the end of the lower half', () => {
    const regs = { 1: 0x7fff_ffff_fffcn };
    expect(outcome('48 8b 01', { regs })).toBe(GP);
    expect(outcome('0f 10 01', { regs })).toBe(GP);
  });
});

describe('misaligned operands', () => {
  const regs = { 3: DATA + 8n };
  it.each([
    '0f 28 03',
    '0f 29 03',
    '66 0f 6f 03',
    '66 0f 7f 03',
    '0f 2b 03',
    '66 0f e7 03',
    '66 0f 38 2a 03',
    '0f 58 03',
    '66 0f fe 03',
    '66 0f 38 00 03',
    '0f ae 03',
    '0f ae 0b',
    '0f ae 23',
    '0f ae 2b',
    '48 0f c7 0b',
    'f0 48 0f c7 0b',
    '66 0f 38 dc 03',
    '66 0f 3a 0f 03 01',
    '0f c6 03 00',
    '66 0f 3a 44 03 00',
  ])('%s raises #GP', (hex) => {
    expect(outcome(hex, { regs, cr4: 0x40660 })).toBe(GP);
  });
  it.each([
    '0f 10 03',
    'f3 0f 6f 03',
    'f2 0f f0 03',
    '66 0f 3a 60 03 00',
    '66 0f 3a 63 03 00',
    'f3 0f 58 03',
    '0f c7 0b',
    'f3 0f e6 03',
  ])('%s is allowed', (hex) => {
    expect(outcome(hex, { regs })).toMatch(/^done/);
  });
});

describe('the state of CR0 and CR4', () => {
  const EM = 0x80050037;
  const TS = 0x8005003b;
  const MP_TS = 0x8005003b;
  it.each(
    lines(`
      0f 58 c0                    6         # SSE with CR0.EM
      0f ae 03                    7
      d9 c0                       7
      0f fc c0                    6         # MMX with CR0.EM
      0f 0b                       6
      0f 18 03                    done +3
      0f c3 03                    done +3   # MOVNTI is no SSE register instruction
      0f ae e8                    done +3
      f3 0f b8 c0                 done +4   # POPCNT
      f2 0f 38 f1 c0              done +5   # CRC32
    `),
  )('EM: %s: %s', (hex, expected) => {
    expect(outcome(hex, { cr0: EM })).toBe(expected);
  });
  it.each(
    lines(`
      0f 58 c0                    7
      d9 c0                       7
      0f fc c0                    7
      9b                          7         # WAIT with MP and TS
      0f ae 03                    7
      0f ae 13                    7         # LDMXCSR
      f0 0f 58 03                 6         # #UD goes first
      0f 28 01                    7         # #NM before #GP
      0f ae 07                    7
    `),
  )('TS: %s: %s', (hex, expected) => {
    expect(outcome(hex, { cr0: TS })).toBe(expected);
  });
  it('TS without MP lets WAIT pass', () => {
    expect(outcome('9b', { cr0: MP_TS & ~2 })).toBe('done +1');
  });
  it('OSFXSR clear makes SSE undefined, but not MMX and FXSAVE', () => {
    const cr4 = 0x660 & ~0x200;
    expect(outcome('0f 58 c0', { cr4 })).toBe(UD);
    expect(outcome('0f ae 13', { cr4 })).toBe(UD);
    expect(outcome('0f fc c0', { cr4 })).toMatch(/^done/);
    expect(outcome('0f ae 03', { cr4 })).toMatch(/^done/);
  });
  it('OSXMMEXCPT clear turns #XM into #UD', () => {
    const regs = {};
    expect(outcome('0f 5e c1', { regs, mxcsr: 0x1f80 & ~0x80 })).toBe('19');
    expect(outcome('0f 5e c1', { regs, mxcsr: 0x1f80 & ~0x80, cr4: 0x260 })).toBe(UD);
  });
  it('OSXSAVE clear makes XSAVE, XRSTOR and XGETBV undefined', () => {
    for (const hex of ['0f ae 23', '0f ae 2b', '0f 01 d0', '0f c7 23', '0f ae 33'])
      expect([hex, outcome(hex)]).toEqual([hex, UD]);
    expect(outcome('0f 01 d0', { cr4: 0x40660, regs: { 1: 0n } })).toMatch(/^done/);
    expect(outcome('0f 01 d0', { cr4: 0x40660, regs: { 1: 2n } })).toBe(GP);
  });
  it('FSGSBASE clear makes the instructions on bases undefined', () => {
    expect(outcome('f3 0f ae c0')).toBe(UD);
    expect(outcome('f3 48 0f ae d1', { cr4: 0x10660 })).toBe(GP);
    expect(outcome('f3 48 0f ae d1', { cr4: 0x10660, regs: { 1: 5n } })).toMatch(/^done/);
    expect(outcome('f3 0f ae c0', { cr4: 0x10660, mode: 32 })).toBe(UD);
  });
  it('TSD keeps the time-stamp counter from user mode', () => {
    expect(outcome('0f 31', { cr4: 0x664 })).toBe(GP);
    expect(outcome('0f 01 f9', { cr4: 0x664 })).toBe(GP);
    expect(outcome('0f 31')).toMatch(/^done/);
  });
  it('UMIP keeps descriptor-table registers and the machine status word from user mode', () => {
    for (const hex of ['0f 01 03', '0f 01 0b', '0f 00 03', '0f 00 0b', '0f 01 23', '0f 01 e0', '0f 00 c0', '0f 00 c8'])
      expect([hex, outcome(hex, { cr4: 0xe60 })]).toEqual([hex, GP]);
    expect(outcome('0f 01 e0')).toBe('privileged SMSW');
  });
});

describe('what reads and then writes', () => {
  // Registers and an operand whose second byte lies on a page that is not there.
  const regs = { 0: 0n, 1: 0n, 2: 0n, 3: DATA + 0x1fffn };
  it.each(['0f ab 0b', '67 0f ab 0b', '67 66 0f b3 0b', '67 48 0f bb 0b', 'f0 67 0f ab 0b'])(
    '%s says W=1 of a fault on the second page of its operand',
    (hex) => {
      expect(outcome(hex, { regs })).toBe('14:6');
    },
  );
  it('of BT says W=0', () => {
    expect(outcome('67 0f a3 0b', { regs })).toBe('14:4');
  });
});

describe('reserved bits', () => {
  const word = (value: number): number[] => [
    value & 255,
    (value >> 8) & 255,
    (value >> 16) & 255,
    (value >>> 24) & 255,
  ];
  it('of MXCSR raise #GP where they are loaded', () => {
    expect(outcome('0f ae 13', { data: { 0: word(0x1f80) } })).toMatch(/^done/);
    for (const bit of [16, 17, 24, 31]) {
      expect(outcome('0f ae 13', { data: { 0: word(0x1f80 | (1 << bit)) } })).toBe(GP);
      expect(outcome('0f ae 0b', { data: { 24: word(0x1f80 | (1 << bit)) } })).toBe(GP);
    }
  });
  it('of an XSAVE header raise #GP', () => {
    const xrstor = (data: Record<number, number[]>): string =>
      outcome('0f ae 2b', { cr4: 0x40660, regs: { 0: 7n, 2: 0n }, data: { 24: word(0x1f80), ...data } });
    expect(xrstor({ 512: [3] })).toMatch(/^done/);
    expect(xrstor({ 512: [7] })).toBe(GP);
    expect(xrstor({ 519: [0x80] })).toBe(GP);
    expect(xrstor({ 520: [1] })).toBe(GP);
    expect(xrstor({ 528: [1] })).toBe(GP);
    expect(xrstor({ 575: [1] })).toMatch(/^(done|13)/);
  });
});

describe('RDRAND and RDSEED', () => {
  it.each(['66 0f c7 f0', '66 0f c7 f8'])('%s write 16 bits and set CF alone', (hex) => {
    const vcpu = start(hex, { regs: { 0: 0x1111_2222_3333_0000n }, rflags: 0x8d7 });
    expect(vcpu.run(1).reason).toBe('budget');
    expect(vcpu.rip).toBe(CODE + 4n);
    expect(vcpu.regs[0]! >> 16n).toBe(0x1111_2222_3333n);
    expect(vcpu.rflags).toBe(3);
  });
  it.each(['f2 0f c7 f0', 'f3 0f c7 f0', 'f2 0f c7 f8', 'f3 0f c7 f8'])('%s is undefined', (hex) => {
    expect(outcome(hex)).toBe(UD);
  });
});
