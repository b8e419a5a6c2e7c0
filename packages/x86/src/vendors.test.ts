/**
 * Where the manuals of AMD and Intel say different things of one encoding (`silicon/README.md`): the core's side, in
 * user mode. What a personality decides is judged there.
 */
import { Seg } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { CODE, createCore, DATA } from './testing/core.js';

const core = createCore();
const PAGE = 4096;
const STACK = DATA + 0x1800n;
/** At RBX, and where the stack begins. */
const WORDS = [0x112233445566n, 0x2bn];

function start(hex: string, mode: 64 | 32, at: number) {
  const vcpu = core.createVcpu();
  core.writeCode(
    Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16)),
    at,
  );
  const data = new Uint8Array(2 * PAGE);
  for (const offset of [0, Number(STACK - DATA)]) {
    WORDS.forEach((word, i) => new DataView(data.buffer).setBigUint64(offset + 8 * i, word, true));
  }
  core.writeData(data);
  vcpu.mode = mode;
  vcpu.selectors.set([0x2b, mode === 64 ? 0x33 : 0x23, 0x2b, 0x2b, 0, 0]);
  vcpu.regs[3] = DATA;
  vcpu.regs[4] = STACK;
  vcpu.rflags = 2;
  vcpu.rip = CODE + BigInt(at);
  return vcpu;
}
function outcome(hex: string, mode: 64 | 32 = 64, at = 0): string {
  const { reason, vector, errorCode, instruction } = start(hex, mode, at).run(1);
  if (reason === 'exception') return errorCode < 0 ? `${vector}` : `${vector}:${errorCode}`;
  return instruction?.mnemonic ?? reason;
}

describe('as Intel’s manual has it', () => {
  it.each([
    ['66 eb 10', CODE + 0x13n],
    ['66 e9 00 01 01 00', CODE + 0x10106n],
    ['66 0f 83 00 01 01 00', CODE + 0x10107n],
    ['66 e8 00 01 01 00', CODE + 0x10106n],
    ['66 ff e3', DATA],
    ['66 ff d3', DATA],
    ['66 c3', WORDS[0]],
  ])('the operand-size prefix does nothing to a near branch in 64-bit code: %s', (hex, rip) => {
    const vcpu = start(hex, 64, 0);
    vcpu.run(1);
    expect(vcpu.rip).toBe(rip);
    const moved = /e8|ff d3/.test(hex) ? -8n : hex === '66 c3' ? 8n : 0n;
    expect(vcpu.regs[4]).toBe(STACK + moved);
  });

  it('UD0 has operands, which are fetched first', () => {
    expect(outcome('0f ff', 64, PAGE - 2)).toBe('14:20');
    expect(outcome('0f ff c0')).toBe('6');
  });

  it('the pointers of the x87 are stored with or without a pending exception', () => {
    // FLD m32; FXSAVE.
    const vcpu = start('d9 03 0f ae 83 00 04 00 00', 64, 0);
    vcpu.run(2);
    const area = new DataView(core.readData().buffer, 0x400);
    expect(area.getUint16(2, true)).toBe(0x3800);
    expect([area.getBigUint64(8, true), area.getBigUint64(16, true)]).toEqual([CODE, DATA]);
  });
});

describe('as AMD’s manual has it', () => {
  it.each([
    ['0f bc c1', 64],
    ['0f bd c1', 64],
    ['48 0f bc c1', 64],
    ['0f bc c1', 32],
    ['66 0f bd c1', 32],
  ] as const)('a scan of zero leaves all of its destination: %s in %i-bit code', (hex, mode) => {
    const vcpu = start(hex, mode, 0);
    vcpu.regs[0] = ~0n;
    vcpu.regs[1] = 0n;
    vcpu.run(1);
    expect([vcpu.regs[0], vcpu.rflags & 0x40]).toEqual([0xffff_ffff_ffff_ffffn, 0x40]);
  });

  it.each([
    ['48 ff 2b', 'FAR_TRANSFER', 0],
    ['48 ff 1b', 'FAR_TRANSFER', 0],
    ['48 0f b2 03', 'LOAD_SEGMENT', Seg.ss],
    ['48 0f b4 03', 'LOAD_SEGMENT', Seg.fs],
    ['48 0f b5 03', 'LOAD_SEGMENT', Seg.gs],
  ])('REX.W does nothing to a far pointer in memory: %s', (hex, mnemonic, register) => {
    const pointer = { mnemonic, register, offset: 0x33445566n, selector: 0x1122, width: 32 };
    expect(start(hex, 64, 0).run(1).instruction).toMatchObject(pointer);
    expect(start(hex.slice(3), 64, 0).run(1).instruction).toMatchObject(pointer);
  });

  it('SYSCALL is there in 32-bit code', () => {
    expect([outcome('0f 05', 32), outcome('0f 05')]).toEqual(['syscall', 'syscall']);
  });

  it('PREFETCH and PREFETCHW come with long mode', () => {
    for (const hex of ['0f 0d 03', '0f 0d 0b']) expect([outcome(hex), outcome(hex, 32)]).toEqual(['budget', 'budget']);
  });

  it.each([
    ['LOCK MOV of CR0, for CR8', 'f0 0f 20 c0'],
    ['FEMMS', '0f 0e'],
    ['3DNow!', '0f 0f c0 9e'],
    ['EXTRQ', '66 0f 79 c1'],
    ['MOVNTSS', 'f3 0f 2b 03'],
    ['CLZERO', '0f 01 fc'],
    ['MONITORX', '0f 01 fa'],
    ['XOP', '8f e8 78 c0 c0 01'],
  ])('%s, of which CPUID says nothing, is undefined', (_, hex) => {
    expect(outcome(hex)).toBe('6');
  });
});
