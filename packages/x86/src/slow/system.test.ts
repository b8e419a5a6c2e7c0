import { Flag, Seg } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA } from '../testing/core.js';

const core = createCore();
const vcpu = core.createVcpu();

/** Runs one line of assembly in 64- or 32-bit mode. */
function run(text: string, mode: 64 | 32 = 64) {
  core.writeCode(assembleProgram(text, CODE, mode).bytes);
  vcpu.mode = mode;
  vcpu.rip = CODE;
  vcpu.regs[3] = DATA;
  return vcpu.run(1);
}
const stopped = (text: string, mode?: 64 | 32) => {
  const { reason, instruction } = run(text, mode);
  return { reason, ...instruction };
};

describe('instructions on tables that the core does not own', () => {
  it.each(['sgdt', 'sidt'])('%s stops with the place it stores to', (name) => {
    const expected = { reason: 'privileged', mnemonic: name.toUpperCase(), gpr: -1, offset: DATA + 16n };
    expect(stopped(`${name} tword [rbx+16]`)).toMatchObject(expected);
    expect(vcpu.rip).toBe(CODE);
  });
  it.each(['sldt', 'str', 'smsw'])('%s stops with its register, or the place it stores to', (name) => {
    const mnemonic = name.toUpperCase();
    expect(stopped(`${name} r9d`)).toMatchObject({ reason: 'privileged', mnemonic, gpr: 9, width: 32 });
    expect(stopped(`${name} dword [rbx+8]`)).toMatchObject({ mnemonic, gpr: -1, offset: DATA + 8n });
  });
  it('LAR and LSL stop with the selector asked about and the register for the answer', () => {
    vcpu.regs[1] = 0x12340033n;
    expect(stopped('lar rax, cx')).toMatchObject({ mnemonic: 'LAR', selector: 0x33, gpr: 0, width: 64, length: 4 });
    core.writeData(Uint8Array.of(0x7b, 0xe0));
    expect(stopped('lsl edx, word [rbx]')).toMatchObject({ mnemonic: 'LSL', selector: 0xe07b, gpr: 2, width: 32 });
  });
  it('VERR and VERW stop with the selector, and fault where they can not read it', () => {
    vcpu.regs[1] = 0x2bn;
    expect(stopped('verr cx')).toMatchObject({ mnemonic: 'VERR', selector: 0x2b });
    expect(stopped('verw cx')).toMatchObject({ mnemonic: 'VERW', selector: 0x2b });
    expect(run('verw word [rbx+0x10000]')).toMatchObject({ reason: 'exception', vector: 14, errorCode: 4 });
  });
});

describe('CLAC and STAC', () => {
  it.each(['clac', 'stac'])('%s is undefined above CPL 0', (name) => {
    vcpu.selectors[Seg.cs] = 0x33;
    expect(run(name)).toMatchObject({ reason: 'exception', vector: 6, errorCode: -1 });
  });
});

describe('ARPL', () => {
  const arpl = (destination: bigint, source: bigint): [bigint, boolean] => {
    vcpu.rflags = Flag.CF | Flag.ZF;
    vcpu.regs[0] = destination;
    vcpu.regs[1] = source;
    expect(run('arpl ax, cx', 32).reason).toBe('budget');
    expect(vcpu.rflags & Flag.CF).toBe(Flag.CF);
    return [vcpu.regs[0]!, (vcpu.rflags & Flag.ZF) !== 0];
  };
  it('raises the RPL of the destination to that of the source', () => {
    expect(arpl(0xabcd0008n, 0x13n)).toEqual([0xabcd000bn, true]);
    expect(arpl(0x000an, 0x11n)).toEqual([0x000an, false]);
    expect(arpl(0x000bn, 0x13n)).toEqual([0x000bn, false]);
  });
});
