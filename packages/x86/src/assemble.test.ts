import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assemble, assembleProgram, wishOf } from './assemble.js';
import { decode, type Instruction } from './decode.js';
import { disassemble } from './disassemble.js';
import { encode } from './encode.js';
import { type Entry, TABLE } from './notation.js';

const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');
const ADDRESS = 0x1000n;

/**
 * Bytes of an entry with any prefixes that it takes and any operands; many of them decode to the entry. A branch has
 * none, or its target might be out of reach without them.
 */
const encodingOf = (entry: Entry) =>
  fc
    .record({
      mode: fc.constantFrom(64 as const, 32 as const),
      p66: fc.boolean(),
      p67: fc.boolean(),
      segment: fc.constantFrom(0, 0, 0x64, 0x65, 0x2e),
      lock: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
      rex: fc.integer({ min: 0, max: 15 }),
      mod: fc.integer({ min: 0, max: 3 }),
      reg: fc.integer({ min: 0, max: 7 }),
      rm: fc.integer({ min: 0, max: 7 }),
      rest: fc.uint8Array({ minLength: 10, maxLength: 10 }),
    })
    .map((any) => {
      const isBranch = entry.operands[0]?.[0] === 'J';
      const v = isBranch ? { ...any, p66: false, p67: false, segment: 0, lock: false, rex: 0 } : any;
      const bytes: number[] = [];
      if (v.lock) bytes.push(0xf0);
      if (v.segment) bytes.push(v.segment);
      if (v.p67) bytes.push(0x67);
      if (entry.vex) {
        const pp = ['NP', '66', 'F3', 'F2'].indexOf(entry.prefix);
        const high = v.mode === 64 ? (~v.rex & 7) << 5 : 0xe0;
        bytes.push(0xc4, high | entry.map, ((v.rex & 8) << 4) | ((v.rest[9]! & 15) << 3) | pp);
      } else {
        if (v.p66) bytes.push(0x66);
        if (entry.prefix !== '' && entry.prefix !== 'NP') bytes.push(parseInt(entry.prefix, 16));
        if (v.mode === 64 && v.rex) bytes.push(0x40 | (entry.w < 0 ? v.rex : (v.rex & 7) | (entry.w << 3)));
        if (entry.map > 0) bytes.push(0x0f);
        if (entry.map > 1) bytes.push(entry.map === 2 ? 0x38 : 0x3a);
      }
      bytes.push(entry.opcode);
      if (entry.modrmByte >= 0) bytes.push(entry.modrmByte);
      else if (entry.hasModrm) {
        const mod = entry.form === 'reg' ? 3 : entry.form === 'mem' ? Math.min(v.mod, 2) : v.mod;
        bytes.push((mod << 6) | ((entry.digit < 0 ? v.reg : entry.digit) << 3) | v.rm);
      }
      bytes.push(...v.rest);
      const insn = decode(Uint8Array.from(bytes.slice(0, 15)), 0, 15, v.mode);
      return insn !== null && typeof insn !== 'string' && insn.entry === entry ? insn : null;
    });

function reread(bytes: Uint8Array, mode: 64 | 32): Instruction {
  const insn = decode(bytes, 0, bytes.length, mode);
  if (insn === null || typeof insn === 'string') throw new Error(`${hex(bytes)} decodes to ${insn}`);
  return insn;
}

describe('assembler and disassembler', () => {
  it('agree over every line of the table', () => {
    const unseen: string[] = [];
    for (const [i, entry] of TABLE.entries()) {
      const samples = fc.sample(encodingOf(entry), { numRuns: 100, seed: i }).filter((insn) => insn !== null);
      if (samples.length === 0) unseen.push(entry.line);
      for (const insn of samples) {
        const { mode } = insn;
        const text = disassemble(insn, ADDRESS);
        const byEntry = encode(entry, wishOf(text, mode), mode, ADDRESS);
        expect(byEntry && disassemble(reread(byEntry, mode), ADDRESS)).toBe(text);
        const bytes = assemble(text, { mode, address: ADDRESS });
        expect(disassemble(reread(bytes, mode), ADDRESS)).toBe(text);
        expect(bytes.length).toBeLessThanOrEqual(byEntry!.length);
      }
    }
    expect(unseen).toEqual([]);
  });
});

describe('assemble', () => {
  it.each([
    ['add rax, [rbx+rcx*4+8]', '48 03 44 8b 08'],
    ['mov eax, 1', 'b8 01 00 00 00'],
    ['mov rax, -1', '48 c7 c0 ff ff ff ff'],
    ['mov rax, 0x123456789abcdef0', '48 b8 f0 de bc 9a 78 56 34 12'],
    ['mov byte [r13], 5', '41 c6 45 00 05'],
    ['mov [rsp], ah', '88 24 24'],
    ['lock cmpxchg [rdi], r9', 'f0 4c 0f b1 0f'],
    ['rep movs qword', 'f3 48 a5'],
    ['jne 0x10', '75 0e'],
    ['jmp 0x1000', 'e9 fb 0f 00 00'],
    ['lea rdx, [rel 0x100]', '48 8d 15 f9 00 00 00'],
    ['mov rax, qword fs:[0]', '64 48 8b 04 25 00 00 00 00'],
    ['cqo', '48 99'],
    ['mov ds, ax', '8e d8'],
    ['mov cr3, rax', '0f 22 d8'],
    ['imul rcx', '48 f7 e9'],
    ['shl dword [rax], 1', 'd1 20'],
    ['pshufd xmm9, xmm1, 0x4e', '66 44 0f 70 c9 4e'],
    ['movss xmm1, [rax+r12]', 'f3 42 0f 10 0c 20'],
    ['andn rax, rbx, [rcx]', 'c4 e2 e0 f2 01'],
    ['fld tword [rdi]', 'db 2f'],
    ['fadd st0, st3', 'd8 c3'],
    ['xchg eax, eax', '87 c0'],
  ])('%s is %s', (text, bytes) => {
    expect(hex(assemble(text))).toBe(bytes);
  });
  it('knows 32-bit mode and 16-bit addresses', () => {
    expect(hex(assemble('inc eax', { mode: 32 }))).toBe('40');
    expect(hex(assemble('mov al, [bx+si+4]', { mode: 32 }))).toBe('67 8a 40 04');
    expect(hex(assemble('mov eax, [0x1000]', { mode: 32 }))).toBe('a1 00 10 00 00');
    expect(hex(assemble('mov eax, [eax]'))).toBe('67 8b 00');
  });
  it.each([
    ['inc [rax]', 'has no encoding'],
    ['mov sil, ah', 'has no encoding'],
    ['mov ds, eax', 'has no encoding'],
    ['frobnicate eax', 'no instruction is called "frobnicate"'],
    ['add eax, nowhere', '"nowhere" is no register, number or label'],
    ['add huge [rax], 1', '"huge" is no size'],
    ['mov eax, [rax+rbx+rcx]', 'more than a base and an index'],
    ['add al, 300', 'has no encoding'],
  ])('%s: %s', (text, message) => {
    expect(() => assemble(text)).toThrow(message);
  });
});

describe('assembleProgram', () => {
  it('resolves labels forwards and backwards, and takes long branches only where they are needed', () => {
    const { bytes, labels } = assembleProgram(
      `
      start:  mov ecx, 3        ; a comment
      again:  dec ecx
              jnz again
              jz done
              lea rax, [rel word]
              jmp far_away
      done:   ret
      word:   dq start, 7
              db ${Array(120).fill(1).join(',')}
      far_away: hlt`,
      0x400000n,
    );
    expect(labels.get('done')! - labels.get('start')!).toBe(0x17n);
    expect(hex(bytes.subarray(0, 0x20))).toBe(
      'b9 03 00 00 00 ff c9 75 fc 74 0c 48 8d 05 06 00 00 00 e9 89 00 00 00 c3 00 00 40 00 00 00 00 00',
    );
    expect(bytes.length).toBe(Number(labels.get('far_away')! - 0x400000n) + 1);
  });
  it('names the line of an error', () => {
    const message = 'line 2: no instruction is called "bogus": names are those of the Intel manual';
    expect(() => assembleProgram('nop\n  bogus eax\n', 0n)).toThrow(
      expect.objectContaining({ code: 'assembly', message, data: { line: 2 } }),
    );
  });
});
