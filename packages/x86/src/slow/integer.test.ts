import { Flag, Gpr } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { assembleProgram } from '../assemble.js';
import { CODE, createCore, DATA } from '../testing/core.js';

const core = createCore();
const vcpu = core.createVcpu();
const programs = new Map<string, { at: number; instructions: number }>();
let free = 0;

/** Runs 32-bit code, lines separated by `;`, from the registers given. */
function run(text: string, registers: Partial<Record<keyof typeof Gpr, number>> = {}) {
  let program = programs.get(text);
  if (!program) {
    const lines = text.split(';');
    const { bytes } = assembleProgram(lines.join('\n'), CODE + BigInt(free), 32);
    core.writeCode(bytes, free);
    program = { at: free, instructions: lines.length };
    programs.set(text, program);
    free += bytes.length;
  }
  vcpu.mode = 32;
  vcpu.rip = CODE + BigInt(program.at);
  vcpu.rflags = 0;
  vcpu.regs[Gpr.rbx] = DATA;
  for (const [name, value] of Object.entries(registers)) vcpu.regs[Gpr[name as keyof typeof Gpr]] = BigInt(value);
  return vcpu.run(program.instructions);
}
const eax = (): number => Number(vcpu.regs[0]! & 0xffffffffn);
const flag = (bit: number): boolean => (vcpu.rflags & bit) !== 0;

describe('decimal arithmetic', () => {
  const packed = (n: number): number => (Math.floor(n / 10) << 4) | (n % 10);
  const digits = Array.from({ length: 100 }, (_, i) => i);

  it('DAA makes an addition of packed decimals right, with the carry', () => {
    for (const a of digits) {
      for (const b of digits) {
        run('add al, cl;daa', { rax: packed(a), rcx: packed(b) });
        expect([eax(), flag(Flag.CF), flag(Flag.ZF)]).toEqual([packed((a + b) % 100), a + b > 99, (a + b) % 100 === 0]);
      }
    }
  });
  it('DAS makes a subtraction right, with the borrow', () => {
    for (const a of digits) {
      for (const b of digits) {
        run('sub al, cl;das', { rax: packed(a), rcx: packed(b) });
        expect([eax(), flag(Flag.CF)]).toEqual([packed((a - b + 100) % 100), a < b]);
      }
    }
  });
  it('AAA and AAS carry a digit into AH', () => {
    for (let a = 0; a < 10; a++) {
      for (let b = 0; b < 10; b++) {
        run('add al, cl;aaa', { rax: 0x300 | a, rcx: b });
        expect([eax(), flag(Flag.CF), flag(Flag.AF)]).toEqual([
          0x300 + (a + b > 9 ? 0x100 : 0) + ((a + b) % 10),
          a + b > 9,
          a + b > 9,
        ]);
        run('sub al, cl;aas', { rax: 0x300 | a, rcx: b });
        expect([eax(), flag(Flag.CF)]).toEqual([0x300 - (a < b ? 0x100 : 0) + ((a - b + 10) % 10), a < b]);
      }
    }
  });
  it('AAM splits a number into digits, and AAD joins them again', () => {
    for (const n of digits) {
      run('aam 10', { rax: n });
      expect(eax()).toBe((Math.floor(n / 10) << 8) | (n % 10));
      run('aad 10', { rax: eax() });
      expect(eax()).toBe(n);
    }
    expect(run('aam 0')).toMatchObject({ reason: 'exception', vector: 0 });
  });
});

describe('32-bit instructions', () => {
  const registers = { rax: 1, rcx: 2, rdx: 3, rbp: 5, rsi: 6, rdi: 7, rsp: Number(DATA) + 0x1800 };
  it('PUSHA stores all registers, the stack pointer as it was, and POPA skips that one', () => {
    run('pushad', registers);
    expect(vcpu.regs[4]).toBe(DATA + 0x17e0n);
    const words = new Uint32Array(core.readData().buffer, 0x17e0, 8);
    expect([...words]).toEqual([7, 6, 5, registers.rsp, Number(DATA), 3, 2, 1]);
    vcpu.regs.fill(0n, 0, 4).fill(0n, 5, 8);
    vcpu.mode = 32;
    run('popad', {});
    expect([...vcpu.regs.subarray(0, 8)]).toEqual([1n, 2n, 3n, DATA, DATA + 0x1800n, 5n, 6n, 7n]);
    run('pushaw', registers);
    expect(vcpu.regs[4]).toBe(DATA + 0x17f0n);
  });
  it('BOUND raises #BR outside of the bounds only', () => {
    core.writeData(Uint8Array.from([0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0]));
    for (const inside of [0xfffffffe, 0, 3]) expect(run('bound eax, [ebx]', { rax: inside }).reason).toBe('budget');
    for (const outside of [0xfffffffd, 4]) {
      expect(run('bound eax, [ebx]', { rax: outside })).toMatchObject({ reason: 'exception', vector: 5 });
    }
  });
  it('SALC fills AL with the carry', () => {
    run('stc;salc', { rax: 0x1234 });
    expect(eax()).toBe(0x12ff);
    run('clc;salc', { rax: 0x1234 });
    expect(eax()).toBe(0x1200);
  });
  it('INC and DEC have one-byte forms, INTO traps on overflow', () => {
    run('inc ecx;dec edx', { rcx: 0xffffffff, rdx: 0 });
    expect([vcpu.regs[1], vcpu.regs[2]]).toEqual([0n, 0xffffffffn]);
    expect(run('into').reason).toBe('budget');
    expect(run('add al, cl;into', { rax: 0x7f, rcx: 1 })).toMatchObject({ reason: 'interrupt', vector: 4 });
  });
  it("far pointers and segment registers are the personality's", () => {
    core.writeData(Uint8Array.from([0x78, 0x56, 0x34, 0x12, 0x2b, 0]));
    const fields = { mnemonic: 'LOAD_SEGMENT', selector: 0x2b, offset: 0x12345678n, gpr: 0 };
    expect(run('les eax, fword [ebx]').instruction).toMatchObject({ ...fields, register: 0 });
    expect(run('lds eax, fword [ebx]').instruction).toMatchObject({ ...fields, register: 3 });
    expect(run('lss eax, fword [ebx]').instruction).toMatchObject({ ...fields, register: 2 });
    expect(run('jmp far fword [ebx]').instruction).toMatchObject({
      mnemonic: 'FAR_TRANSFER',
      selector: 0x2b,
      offset: 0x12345678n,
    });
    expect(run('call far 0x2b12345678').instruction).toMatchObject({
      mnemonic: 'FAR_TRANSFER',
      selector: 0x2b,
      offset: 0x12345678n,
    });
    vcpu.selectors[3] = 0x2b;
    run('push ds', registers);
    expect(run('pop es').instruction).toMatchObject({ mnemonic: 'LOAD_SEGMENT', register: 0, selector: 0x2b });
  });
});
